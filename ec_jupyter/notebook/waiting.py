"""What has come to an argument and waits for company."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ec_jupyter.notebook.parts import Part
from ec_jupyter.notebook.tables import clock_text

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.request import Run


class Waiting(Part):
    """One arrival that waits for company at an argument, or a request that waits for its first.

    Attributes
    ----------
    socket : str
        Where it waits.
    argument : str or None
        At which argument; None for a request to which nothing has come.
    run : int or None
        Run it belongs to.
    since : float or None
        Wall clock at which it came.
    element : tuple of int
        Which element of the splits around it: ``(2,)`` is the third of a mapped list; empty outside of one.
    missing : list of str
        What has to come before the call can start; ``xs[2]`` is an element of a list that is gathered.
    stranded : bool
        What is missing can no longer come by itself.
    """

    def __init__(self, flow: Flow, row: dict[str, Any], argument: str | None, arrival: dict[str, Any]) -> None:
        self.flow = flow
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
        self.since: float | None = arrival.get("since")
        self.missing = [name for name, part in row["arguments"].items() if part["state"] not in ("arrived", "held")]
        self.missing += [f"{name}[{i}]" for name, indices in row.get("lacks", {}).items() for i in indices]
        levels = str(self.tag).split(";") if self.tag else []
        self.element = tuple(int(level.rpartition("/")[2]) for level in levels)
        self.stranded = bool(row.get("stranded"))

    @property
    def run(self) -> Run | None:
        """Run it belongs to."""
        return self.flow.run(self._run) if self._run is not None else None

    def value(self) -> Any:
        """The value itself, loaded here."""
        return self.flow._arrived(self.arrival)

    def discard(self) -> None:
        """Throw it away; as `Flow.discard`."""
        self.flow.discard(self)

    def row(self) -> dict[str, Any]:
        """Its facts, for a table."""
        return {
            "socket": self.socket,
            "argument": self.argument,
            "type": self.type,
            "bytes": self.size,
            "run": self._run,
            "element": ", ".join(map(str, self.element)),
            "from": self.source,
            "since": clock_text(self.since),
            "missing": self.missing,
            "stranded": "stranded" if self.stranded else "",
        }

    def __repr__(self) -> str:
        at = f"{self.socket}.{self.argument}" if self.argument else self.socket
        what = self.type or "request"
        return f"<{what} waiting at {at} for {', '.join(self.missing) or 'nothing'}>"
