"""Values that wait for the other arguments of their call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ec_jupyter.client.texts import clock_text, missing
from ec_jupyter.errors import ArgumentsError
from ec_jupyter.flow.options import shown
from ec_jupyter.notebook.parts import Part

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.request import Run


PERSON = "a person"  # what a question lacks


class Waiting(Part):
    """A value that waits for the other arguments of its call, or a request or list of which nothing has come yet.

    Attributes
    ----------
    socket : str
        Where it waits.
    argument : str or None
        At which argument; None for a request to which nothing has come. Of a list whose elements have all failed, the
        one that gathers them.
    run : int or None
        Run it belongs to.
    since : float or None
        Wall clock at which it came.
    element : tuple of int
        Which element of the splits around it: ``(2,)`` is the third of a mapped list; empty outside of one.
    missing : list of str
        What has to come before the call can start; ``xs[2]`` is an element of a list that is gathered,
        ``more of xs`` elements of one of which nobody knows yet how many there are.
    stranded : bool
        What is missing can no longer come by itself.
    aside : str or None
        Why it is set aside, if it is: nothing comes of it before it is retried or discarded.
    """

    def __init__(self, flow: Flow, row: dict[str, Any], argument: str | None, arrival: dict[str, Any]) -> None:
        self.flow: Flow = flow
        self.socket: str = row["socket"]
        self.argument = argument
        self._run: int | None = row.get("run")
        self.party: int | None = row.get("party")
        self.tag: Any = row.get("tag")
        self.request: int | None = row.get("request")
        self.arrival: int | None = arrival.get("id")
        self.type: str = arrival.get("type") or ""
        self.size: int | None = arrival.get("size")
        self.source: str = arrival.get("source") or ""
        gone = row.get("arguments", {}).get(argument, {}).get("state") == "stranded"
        self._gone = f"{self.socket!r} has no {argument!r} any more" if gone else ""
        self.since: float | None = arrival.get("since")
        self._lacks: dict[str, list[int]] = row.get("lacks", {})
        self.missing = missing(row)
        levels = str(self.tag).split(";") if self.tag else []
        self.element = tuple(int(level.rpartition("/")[2]) for level in levels)
        self.stranded = bool(row.get("stranded"))
        self.aside: str | None = row.get("aside")

    @property
    def run(self) -> Run | None:
        """Run it belongs to."""
        return self.flow.run(self._run) if self._run is not None else None

    def value(self) -> Any:
        """The value itself, loaded here."""
        return self.flow._arrived(self.arrival)

    def discard(self, element: int | Sequence[int] | None = None) -> None:
        """Throw it away; as `Flow.discard`."""
        self.flow.discard(self, element=element)

    def retry(self) -> None:
        """Let it wait again, if it is set aside; as `Flow.retry`."""
        self.flow.retry(self)

    @property
    def _empty(self) -> bool:
        """Whether it is a list of which nothing has come."""
        return self.arrival is None and self.argument is not None

    @property
    def _list(self) -> str | None:
        """The argument whose list lacks elements: its own, or another of its call."""
        return self.argument if self.argument in self._lacks else next(iter(self._lacks), None)

    def _missing(self, element: int | Sequence[int] | None) -> dict[str, Any]:
        """What names, to the engine, an element that its list lacks; or the whole of an empty list.

        Raises
        ------
        ArgumentsError
            It waits for no list.
        """
        if self._list is None:
            raise ArgumentsError(f"{self!r} lacks no element of a list")
        where = {"socket": self.socket, "argument": self._list, "party": self.party, "tag": self.tag}
        return where if element is None else where | {"element": self._within(element, ())}

    def _within(self, element: int | Sequence[int] | None, names: Iterable[str]) -> list[int] | None:
        """Path of an element of its list: the one that a person names, or the first that an empty list lacks."""
        name = self._list
        if element is None and self._empty and name is not None and name in names:
            element = self._lacks[name][0]
        if not isinstance(element, int):
            return None if element is None else list(element)
        if name is None:
            return [element]
        return [*(self.element[:-1] if name == self.argument and not self._empty else self.element), element]

    def row(self) -> dict[str, Any]:
        """Its facts, for a table."""
        return {
            "socket": self.socket, "argument": self.argument, "type": self.type, "bytes": self.size, "run": self._run,
            "element": ", ".join(map(str, self.element)), "from": self.source, "since": clock_text(self.since),
            "missing": self.missing,
            "stranded": f"set aside: {self.aside}" if self.aside else self._gone or "stranded" * self.stranded,
        }  # fmt: skip

    def __repr__(self) -> str:
        at = f"{self.socket}.{self.argument}" if self.argument else self.socket
        what = "list" if self._empty else self.type or "request"
        if self.aside:
            return f"<{what} waiting at {at}, set aside: {self.aside}>"
        return f"<{what} waiting at {at} for {', '.join(self.missing) or 'nothing'}{self._gone and f'; {self._gone}'}>"


class Question(Waiting):
    """A request that waits for a person to answer.

    Attributes
    ----------
    socket, run, element, since
        As of `Waiting`.
    request : int
        Number of the request.
    prompt : str
        What is asked.
    choices : list or None
        The answers there are; None: any value.
    until : float or None
        Wall clock until which it may be answered.
    """

    request: int

    def __init__(self, flow: Flow, row: dict[str, Any]) -> None:
        super().__init__(flow, row, None, {"since": row["since"]})
        self.prompt: str = row["ask"]["prompt"]
        self.choices: list[Any] | None = row["ask"]["choices"]
        self.until: float | None = row["until"]
        self.missing = [PERSON]

    def value(self) -> Any:
        """What it is about: the value of its argument; of several, a dict by name."""
        values = self.flow.recall(self.request)
        return next(iter(values.values())) if len(values) == 1 else values

    def answer(self, value: Any, *, by: str | None = None) -> None:
        """Answer it; as `Flow.answer`."""
        self.flow.answer(self, value, by=by)

    def row(self) -> dict[str, Any]:
        """Its facts, for a table."""
        offered = "" if self.choices is None else f" ({', '.join(map(str, self.choices))})"
        return super().row() | {"type": f"{self.prompt}{offered}", "request": self.request}

    def __repr__(self) -> str:
        offered = "" if self.choices is None else f", {' or '.join(map(repr, self.choices))}"
        return f"<request {self.request} at {self.socket} waits for a person: {shown(self.prompt)}{offered}>"
