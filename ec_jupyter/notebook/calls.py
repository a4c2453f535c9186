"""The half of a flow that calls: submit, map, cancel, retry, wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ec_jupyter.client.commands import respond
from ec_jupyter.client.rpc import LOOK_SECONDS
from ec_jupyter.client.submit import bounded
from ec_jupyter.client.texts import status_rows, troubled
from ec_jupyter.client.waits import Deadline, background, beating, wake
from ec_jupyter.errors import ArgumentsError
from ec_jupyter.flow.options import callback_of, checked_kind, later, number_of, priority_of, several, word_of
from ec_jupyter.flow.options import shown as shown_value
from ec_jupyter.nodes.values import plain, smalls
from ec_jupyter.notebook.binding import Binding
from ec_jupyter.notebook.notices import Notice, Notices
from ec_jupyter.notebook.outcome import going_on, overdue
from ec_jupyter.notebook.parts import Part, check_own
from ec_jupyter.notebook.progress import Bar
from ec_jupyter.notebook.queries import COUNTS, Queries
from ec_jupyter.notebook.request import Request, Run
from ec_jupyter.notebook.tables import Report
from ec_jupyter.notebook.views import Processor, Socket
from ec_jupyter.notebook.waiting import Question, Waiting
from ec_jupyter.wire import Value, unpacked

if TYPE_CHECKING:
    from ec_jupyter.notebook.executor import ProcessorExecutor

_BY = {"by": "code"}  # who does what no undo takes back, as the next undo is told
MOMENT = 1.0  # seconds in which an engine that is there says whether it has something to do


class Calls(Queries):
    """What `Flow` can do with requests."""

    name: str
    _bindings: dict[str, tuple[Mapping[str, Any], Binding]]

    # -- submitting ------------------------------------------------------------
    def submit(
        self,
        socket: str | Socket | Callable[..., Any],
        /,
        *values: Any,
        id: str | None = None,
        partial: bool = False,
        delay: float | str | timedelta | None = None,
        at: datetime | str | float | None = None,
        priority: int = 0,
        callback: str | None = None,
        **arguments: Any,
    ) -> Request:
        """One call of a socket; it is on disk when this returns.

        Parameters
        ----------
        socket : str, Socket or function
            What to call.
        *values, **arguments
            Its arguments.
        id : str, optional
            The same id at the same socket again is the same request. (A task's own argument of this
            name, or of one of the next, is given by position.)
        partial : bool
            Arguments are missing on purpose: the request waits for those that plugs, another submit or
            `supply` will bring.
        delay : float, str or timedelta, optional
            How long the call is to wait before it may start: seconds, or ``"90s"``, ``"5m"``, ``"2h"``, ``"1d"``.
            Until then it is ``delayed``: on disk, without a CPU.
        at : datetime, str or float, optional
            When it may start instead: a time, its text (``"2030-01-31 06:00"``), or seconds since the epoch. Without a
            time zone it is this machine's local time. One that is over starts at once.
        priority : int
            Of its run, from -100 to 100: it adds to that of each socket that the run comes to, and calls of a higher
            priority start first.
        callback : str, optional
            An address by http or https that the engine tells of the request's end by a ``POST``: at least once, over
            restarts, with a key that is the same for the same end.

        Raises
        ------
        SocketNotFoundError, ArgumentsError
            There is no such socket, or it has no such arguments, or lacks some, or one of the options is none;
            nothing was submitted.
        QueueFullError
            The socket is full, and says so (``full="error"``); where it says ``"block"``, this waits for room.
        TaskNotPicklableError
            An argument cannot travel; nothing was submitted.
        """
        name = self._in_force(socket)
        binding = self._binding(name)
        special = partial or priority or not (id is None and delay is None and at is None and callback is None)
        if not (arguments or special) and len(values) == binding.plain:
            packed = smalls(values)
            if packed is not None:
                return Request(self._flow, self._client.submit_one(binding.form, *packed), name)
        given, partial = binding.bind(values, arguments), checked_kind(partial, "partial", bool)
        start = None if delay is None and at is None else self._start(delay, at, partial=partial)
        key = None if id is None else checked_kind(id, "id", str)
        columns = {name: (value,) for name, value in given.items()}
        rank = priority_of(priority) if priority else 0
        submit = self._submit_as_fits if binding.bounded else self._submit
        told = None if callback is None else callback_of(callback)
        return submit(name, columns, 1, key, partial=partial, at=start, priority=rank, callback=told)[0]

    @staticmethod
    def _start(delay: Any, at: Any, *, partial: bool) -> float | None:
        """When a call may start that is submitted for later."""
        if partial:
            word = "delay" if at is None else "at"
            raise ArgumentsError(f"{word}= goes with a whole call: one that is partial starts when its arguments come")
        return later(delay, at, time.time())

    def map(
        self, socket: str | Socket | Callable[..., Any], /, *iterables: Iterable[Any], partial: bool = False,
        priority: int = 0,
    ) -> list[Request]:  # fmt: skip
        """A call for each element, or for each tuple of several iterables, as the built-in `map` takes them.

        All are accepted in one commit, every one or none; by a socket with a limit, as there is room. `partial` and
        `priority` as for `submit`.
        """
        __tracebackhide__ = True
        name = self._in_force(socket)
        binding, rank, partial = self._binding(name), priority_of(priority), checked_kind(partial, "partial", bool)
        rows = binding.rows(iterables)
        if not rows:
            return []
        submit = self._submit_as_fits if binding.bounded else self._submit
        return submit(name, binding.columns(rows), len(rows), partial=partial, priority=rank)

    def _binding(self, socket: str) -> Binding:
        record = self._client.topology["sockets"][socket]
        known = self._bindings.get(socket)
        if known is None or known[0] is not record:
            known = self._bindings[socket] = (record, Binding(socket, record["task"]["signature"], bounded(record)))
        return known[1]

    def _submit(
        self, socket: str, columns: Mapping[str, Sequence[Any]], calls: int, id: str | None = None, *,
        partial: bool, at: float | None = None, priority: int = 0, callback: str | None = None,
    ) -> list[Request]:  # fmt: skip
        alike = [packed for column in columns.values() if (packed := plain(column)) is not None]
        if id is None and at is None and callback is None and len(alike) == len(columns):
            ids = self._client.submit_alike(socket, tuple(columns), alike, calls, partial=partial, priority=priority)
        else:
            rows = [{name: column[at] for name, column in columns.items()} for at in range(calls)]
            calls_ = [(socket, self._packed(row, socket), id) for row in rows]
            ids = self._client.submit(calls_, partial=partial, at=at, priority=priority, callback=callback)
        return [Request(self._flow, ids, socket, at=at) for at in range(calls)]

    def _submit_as_fits(
        self, socket: str, columns: Mapping[str, Sequence[Any]], calls: int, id: str | None = None, **how: Any
    ) -> list[Request]:
        """So many calls of a socket with a limit, as there is room for them."""
        made: list[Request] = []
        while (done := len(made)) < calls:
            with going_on(lambda: _full(socket, len(made), calls)):
                n = self._client.admit(socket, calls - done)
            some = {name: column[done : done + n] for name, column in columns.items()}
            made.extend(self._submit(socket, some, n, id, **how))
        return made

    def _packed(self, values: dict[str, Any], socket: str) -> dict[str, Value]:
        dump = self._client.dump
        return {name: dump(value, f"argument {name!r} of {socket!r}") for name, value in values.items()}

    def executor(self, processor: str | Processor = "main") -> ProcessorExecutor:
        """A `concurrent.futures.Executor` whose calls this flow runs on a processor, durably."""
        from ec_jupyter.notebook.executor import ProcessorExecutor

        check_own(self._flow, [processor])
        name = processor if isinstance(processor, str) else str(getattr(processor, "name", processor))
        return ProcessorExecutor(self._flow, name)

    # -- what waits ------------------------------------------------------------
    def supply(
        self,
        socket: str | Socket | Callable[..., Any] | Waiting,
        /,
        *,
        run: Run | Request | int | None = None,
        element: int | Sequence[int] | None = None,
        **values: Any,
    ) -> None:
        """Give by hand what a socket waits for.

        Parameters
        ----------
        socket : str, Socket, function or Waiting
            Where; a waiting item names the very call as well.
        run : Run, Request or int, optional
            For which run; the one that has waited longest if left out.
        element : int or sequence of int, optional
            For which element of a split, as `Waiting.element` has it; the one that has waited longest if left out.
        **values
            Arguments and what they get.
        """
        asked: dict[str, Any] = {}
        if isinstance(socket, Waiting):
            check_own(self._flow, [socket])
            element = socket._within(element, values)
            asked |= {"party": socket.party, "tag": socket.tag} if run is None else {}
            socket = socket.socket
        name = self._in_force(socket)
        if not values:
            raise ArgumentsError(f"say what {name!r} gets: flow.supply({name!r}, argument=value)")
        self._binding(name).bind((), values)
        if run is not None:
            asked["run"] = self._run_id(run)
        if element is not None:
            asked["element"] = [element] if isinstance(element, int) else list(element)
        packed = self._packed(values, name)
        heads = {argument: value.head() for argument, value in packed.items()}
        inline = [value.data for value in packed.values() if value.data is not None]
        self._client.ask("supply", {"socket": name, **asked, "values": heads, **_BY}, inline)

    def discard(
        self, item: Waiting | Request | Iterable[Waiting | Request], *, element: int | Sequence[int] | None = None
    ) -> None:
        """Throw away what waits: a waiting item, a request, or several. Undo does not bring it back.

        Parameters
        ----------
        item : Waiting, Request or several of them
            Of a list of which nothing has come: the whole list, whose call is skipped.
        element : int or sequence of int, optional
            Only this element, which the item's list lacks and which does not come by itself: the list goes without it.
        """
        some = [item] if isinstance(item, (Waiting, Request)) else several(item, "something that waits, or a request,")
        check_own(self._flow, some)
        strange = [one for one in some if not isinstance(one, (Waiting, Request))]
        if strange:
            raise ArgumentsError(f"discard takes items of flow.waiting(), or requests, not {shown_value(strange[0])}")
        lists = [one for one in some if isinstance(one, Waiting) and (element is not None or one._empty)]
        if element is not None and len(lists) < len(some):
            raise ArgumentsError("discard takes element= with items of flow.waiting() whose list lacks it")
        arrivals = [one.arrival for one in some if isinstance(one, Waiting) and one.arrival is not None]
        if arrivals and element is None:
            self._client.ask("discard", {"arrivals": arrivals, **_BY}, timeout=None)
        # several lists of one call go with the first of them
        for asked in {(one.party, one.tag, one.socket): one._missing(element) for one in reversed(lists)}.values():
            self._client.ask("discard", {**asked, **_BY})
        for one in some:
            if isinstance(one, Request):
                self._client.ask("discard", {"request": one.id, **_BY})
            elif one.arrival is None and one not in lists:
                # a request to which nothing has come has nothing to throw away but itself
                self._client.ask("cancel", {"ids": [one.request], **_BY})

    def answer(self, request: Request | Question | int, value: Any, *, by: str | None = None) -> None:
        """Answer what a socket asks (`ec_jupyter.ask`): the answer is the result of the request, for good.

        Parameters
        ----------
        request : Request, Question or int
            Which; `waiting` lists those that ask.
        value : object
            One of the socket's choices; where it has none, any value.
        by : str, optional
            Who answers; this notebook if left out.

        Raises
        ------
        AnswerError
            It was answered before (the text says by whom, and when), asks nobody, or offers no such choice.
        """
        check_own(self._flow, [request])
        number = request.request if isinstance(request, Question) else self.request(request).id
        respond(self._client, number, value, checked_kind(by or "", "by", str) or None, by="code")
        self._client.forget(number)

    def _choices(self, request: Request | Question | int) -> list[Any] | None:
        """The answers that a request offers; None where it takes any, or asks nothing."""
        name = request.socket if isinstance(request, (Request, Question)) else self.request(request).socket
        ask: dict[str, Any] = self._client.topology["sockets"].get(name, {}).get("task", {}).get("ask") or {}
        return ask.get("choices")

    # -- stopping and starting -------------------------------------------------
    def pause(self, *targets: str | Socket | Processor) -> None:
        """Go on accepting, start nothing: of the sockets or processors named, or of all."""
        self._client.ask("pause", self._sorted(targets))

    def resume(self, *targets: str | Socket | Processor) -> None:
        """Start again, in order: the sockets or processors named, or all."""
        self._client.ask("resume", self._sorted(targets))

    def _sorted(self, targets: Sequence[str | Socket | Processor]) -> dict[str, list[str]]:
        known = self._client.topology
        check_own(self._flow, targets)
        if not targets:
            return {"sockets": list(known["sockets"]), "processors": list(known["processors"])}
        sorted_: dict[str, list[str]] = {"sockets": [], "processors": []}
        for target in targets:
            name = target if isinstance(target, str) else str(getattr(target, "name", target))
            is_socket = isinstance(target, Socket) or name in known["sockets"]
            if isinstance(target, Processor) or (not is_socket and name in known["processors"]):
                sorted_["processors"].append(name)
            else:
                sorted_["sockets"].append(self._in_force(name))
        return sorted_

    def cancel(self, target: Request | Run | int | str | Socket | Iterable[Request]) -> int:
        """Cancel what has not ended: a request, a run, or all of a socket; how many requests that was."""
        reply, _ = self._client.ask("cancel", {**self._chosen(target), **_BY})
        return int(reply["cancelled"]) + int(reply["killed"])

    def retry(
        self, target: Request | Run | int | str | Socket | Waiting | Iterable[Request | Waiting] | None = None
    ) -> list[Request]:
        """Run failed requests again, same arguments, newest code: a request, a run, a socket's, or all.

        What waits, and is set aside, waits again as any other does.
        """
        rest = self._let_wait(target)
        if rest == []:
            return []
        reply, _ = self._client.ask("retry", {"all": True} if rest is None else self._chosen(rest))
        for number in reply["ids"]:
            self._client.forget(number)
        if not reply["ids"]:
            return []
        found, _ = self._client.ask("query", {"what": "requests", "ids": reply["ids"], "limit": len(reply["ids"])})
        return [Request(self._flow, row["id"], row["socket"]) for row in unpacked(found)]

    def _let_wait(self, target: Any) -> Any:
        """Let those of the things to be retried wait again that wait; the others."""
        if isinstance(target, Waiting):
            target = [target]
        if isinstance(target, (str, Part)) or not isinstance(target, Iterable):
            return target
        some = list(target)
        values = [one for one in some if isinstance(one, Waiting)]
        if values:
            check_own(self._flow, some)
            self._client.ask("retry", {"arrivals": [one.arrival for one in values if one.arrival is not None]})
        return [one for one in some if not isinstance(one, Waiting)]

    def _chosen(self, target: Any) -> dict[str, Any]:
        """The fields by which a frame names requests, a run or a socket."""
        if isinstance(target, Run):
            return {"run": self._run_id(target)}
        if isinstance(target, (Request, int)):
            target = [target]
        if isinstance(target, (str, Socket)):
            return {"socket": self._in_force(target)}
        requests = several(target, "a request, a run, a socket, or several requests")
        check_own(self._flow, requests)
        return {"ids": [one.id if isinstance(one, Request) else number_of(one, "it") for one in requests]}

    def replay(self, target: Request | Run | int, *, from_: str | Socket | None = None) -> Run:
        """Run again, as a new run, what came of a request or run; the originals stay.

        Parameters
        ----------
        target : Request, Run or int
            What to run again; a number is a request's.
        from_ : str or Socket, optional
            Only this socket and what it feeds; what comes to it from others is taken as it was.
        """
        what = {"run": self._run_id(target)} if isinstance(target, Run) else {"request": self.request(target).id}
        socket = None if from_ is None else self._in_force(from_)
        reply, _ = self._client.ask("replay", {**what, "socket": socket})
        return Run(self._flow, reply["id"])

    def clear_cache(self, *sockets: str | Socket | Callable[..., Any]) -> dict[str, int]:
        """Forget the results that `cache=` has kept, of the sockets named or of all; how many, and their bytes.

        Calls made from then on are run. Of ``cache="shared"``, other flows lose them as well; results of requests stay.
        """
        reply, _ = self._client.ask("clear_cache", {"sockets": [self._in_force(one) for one in sockets]}, timeout=None)
        return {"results": reply["results"], "bytes": reply["bytes"]}

    # -- notices ---------------------------------------------------------------
    def notify(
        self, when: str | Iterable[str] | None = ("end", "failure"), to: str | Callable[[Notice], object] = "lab"
    ) -> None:
        """Be told when the flow has ended its work, or calls have failed; several that fail at a time are told once.

        Parameters
        ----------
        when : {"end", "failure"}, both, or None
            What is told; None: nothing any more.
        to : callable, "lab" or "browser"
            A function of this kernel, called in a thread of its own with a `Notice`; what happens while the kernel is
            away is not told to it. ``"lab"``: a notification of JupyterLab; ``"browser"``: one of the browser, which a
            click in JupyterLab allows. Both are kept with the flow and told by any JupyterLab on its folder that is
            open, whether a kernel runs or not; what happened while none was open is told once by the next one that is.

        Raises
        ------
        ArgumentsError
            It is none of these.
        """
        words = [] if when is None else [when] if isinstance(when, str) else several(when, "when=")
        chosen = tuple(word_of(word, "when", ("end", "failure")) for word in words)
        if callable(to):
            self._notices.add(to, chosen)
        else:
            self._client.ask("notify", {"to": word_of(to, "to", ("lab", "browser")), "when": list(chosen)})

    @cached_property
    def _notices(self) -> Notices:
        return Notices(self._client)

    # -- waiting ---------------------------------------------------------------
    def wait(self, timeout: float | None = None) -> Report:
        """What is left once nothing is queued or running any more; paused work does not count.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait.

        Raises
        ------
        TimeoutError
            Something is after `timeout` seconds; the flow goes on.
        """
        __tracebackhide__ = True
        deadline, news = Deadline(timeout), threading.Event()
        with self._watched(news.set) as (future, bar, latest):
            while not future.done():
                if not news.wait(deadline.left):
                    latest.update(self._now())
                    # where nothing is queued or running, the answer is there or on its way
                    if not (latest.get("idle") and wait([future], MOMENT).done):
                        said = troubled(latest)
                        raise overdue(f"flow {self.name!r} is at work after {timeout} s{said}; it goes on")
                news.clear()
                bar.show(latest)
            return self._left(future.result(), deadline)

    def _now(self) -> dict[str, Any]:
        """The flow's counts, as far as a moment tells: the caller's time limit is over."""
        if not self._client.connected:
            return {}
        try:
            counts, _ = self._client.ask("query", {"what": "counts"}, timeout=MOMENT)
        except TimeoutError:
            return {}
        return counts

    async def drained(self) -> Report:
        """Await the same as `wait` does, while the kernel's loop goes on."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        with beating(), self._watched(lambda: wake(loop, news.set)) as (future, bar, latest):
            while not future.done():
                await news.wait()
                news.clear()
                bar.show(latest)
            return self._left(future.result(), Deadline(None))

    @contextmanager
    def _watched(self, tell: Callable[[], object]) -> Iterator[tuple[Future[Any], Bar, dict[str, Any]]]:
        """A future of the drained flow, a progress bar, and the latest counts; `tell` is called at each change."""
        latest: dict[str, Any] = {}

        def counted(header: dict[str, Any], buffers: list[bytes]) -> None:
            latest.update(header)
            tell()

        undo = self._client.listen("counts", counted)
        try:
            with going_on(lambda: f"flow {self.name!r} goes on; %ec_wait waits again"), Bar(self.name, tell) as bar:
                future = background(lambda: self._client.ask("drained", timeout=None), "ec-drained")
                future.add_done_callback(lambda _: tell())
                yield future, bar, latest
        finally:
            undo()

    def _left(self, answer: tuple[dict[str, Any], list[bytes]], deadline: Deadline) -> Report:
        facts = {word: answer[0][word] for word in ("waiting", "failed", "paused")}
        facts |= {"asked": answer[0]["asked"]} if answer[0].get("asked") else {}
        # a moment at least: it has answered just now
        left = None if deadline.left is None else max(deadline.left, LOOK_SECONDS)
        counts, _ = self._client.ask("query", {"what": "counts"}, timeout=left)
        rows = status_rows(self._client.topology, counts)
        left_over = [row for row in rows if row["arrived"] or row["waiting"] or row["failed"] or row["note"]]
        said = ", ".join(f"{number} {word}" for word, number in facts.items())
        return Report(facts, left_over, ["socket", *COUNTS, "note"], f"nothing is queued or running; {said}")


def _full(socket: str, made: int, calls: int) -> str:
    """What became of calls that waited for room."""
    said = f"{made} of {calls} calls were submitted; flow.requests({socket!r}) has them"
    return f"{socket!r} is full; nothing was submitted" if not made else f"{socket!r} is full, and {said}"
