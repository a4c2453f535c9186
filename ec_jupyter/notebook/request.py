"""One call, and all that descends from one: `Request` and `Run`."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ec_jupyter.client.rpc import LOOK_SECONDS, Accepted
from ec_jupyter.client.seen import displayed
from ec_jupyter.client.texts import (
    clock_text,
    error_line,
    error_text,
    held_back,
    progress_text,
    seconds_text,
    shown,
    troubled,
)
from ec_jupyter.client.waits import Deadline, awaited, until
from ec_jupyter.errors import EcError
from ec_jupyter.flow.states import ASKED, DELAYED, ENDED
from ec_jupyter.model import REUSED
from ec_jupyter.notebook.outcome import INTERRUPTS, error_of, going_on, interrupted, overdue, value_of
from ec_jupyter.notebook.parts import Part
from ec_jupyter.notebook.tables import Lineage, Table
from ec_jupyter.wire import Value, unpacked

if TYPE_CHECKING:
    from ec_jupyter.client.client import Client
    from ec_jupyter.notebook.flow import Flow


def _trouble(client: Client, socket: str | None = None) -> str:
    """Why nothing starts, of all processors, or of a socket: as far as a moment tells."""
    try:
        counts, _ = client.ask("query", {"what": "counts"}, timeout=LOOK_SECONDS)
    except (EcError, TimeoutError):
        return ""
    return held_back(client.topology, counts, socket) if socket else troubled(counts)


class Request(Part):
    """One call of a socket; nothing is asked of the engine until one of its facts is read.

    Parameters
    ----------
    flow : Flow
        Where it is.
    id : int or Accepted
        Its number in the flow, or what gets it when it is asked for.
    socket : str
        Name of the socket, for display.
    row : dict, optional
        What is known about it already.
    at : int
        Its place among the requests that were accepted together.

    Notes
    -----
    ``await request`` waits as `result` does, and lets the kernel go on meanwhile.
    """

    __slots__ = ("_at", "_known", "_number", "flow", "socket_name")

    def __init__(
        self, flow: Flow, id: int | Accepted, socket: str, row: dict[str, Any] | None = None, at: int = 0
    ) -> None:
        self.flow: Flow = flow
        self._number, self._at = id, at
        self.socket_name = socket
        self._known = row

    @property
    def id(self) -> int:
        """Its number in the flow, which the engine gives it as it takes it."""
        return self._id(None)

    def _id(self, timeout: float | None) -> int:
        if not isinstance(self._number, int):
            self._number = self._number.ids(timeout)[self._at]
        return self._number

    # -- waiting ---------------------------------------------------------------
    def _finished(self, timeout: float | None = None) -> Future[dict[str, Any]]:
        client, number = self.flow._client, self._id(timeout)
        future = client.finished(number)
        if future.done() and (future.exception() or future.result()["state"] != "done"):
            # a failed request may have been retried since, from here or from the picture
            client.forget(number)
            future = client.finished(number)
        return future

    def _ended(self, deadline: Deadline) -> dict[str, Any] | Value:
        """Its row once it has ended, or its result, where that is known and all there is to say."""
        __tracebackhide__ = True
        try:
            known = self.flow._client.known_result(self._id(deadline.left))
            return known or self._finished(deadline.left).result(deadline.left)
        except INTERRUPTS as error:
            interrupted(error, self._still())
            raise
        except TimeoutError:
            state, why = self._standing(self._seen())
            text = f"{self._named()} {state} after {deadline.seconds:g} s{why}"
        raise overdue(f"{text}; it stays in the flow")

    def _seen(self) -> int | None:
        """Its number, if that is known or comes in a moment."""
        return self._number if isinstance(self._number, int) else self._number.seen(self._at)

    def _named(self) -> str:
        number = self._seen()
        return f"request{'' if number is None else f' {number}'} of {self.socket_name!r}"

    def _standing(self, number: int | None) -> tuple[str, str]:
        """Its state and why it does not start, as far as a moment tells: the caller's time limit is over."""
        client = self.flow._client
        if number is not None and client.connected:
            try:
                asked = {"what": "requests", "ids": [number], "limit": 1}
                reply, _ = client.ask("query", asked, timeout=LOOK_SECONDS)
                row = unpacked(reply)[0]
                if row["state"] == ASKED:
                    return "waits for a person", ""
                if row["state"] == DELAYED:
                    return f"waits for its time, {clock_text(row['due'])}, and has not ended", ""
                if row["state"] == "waiting":
                    return "waits for other arguments", f"; flow.waiting({row['socket']!r}) tells which"
                return f"is {row['state']}", _trouble(client, row["socket"]) if row["state"] == "queued" else ""
            except (EcError, TimeoutError, LookupError):
                pass
        return f"has not ended ({client.trouble})", ""

    def _still(self) -> str:
        """What goes on after an interrupted wait, and how to wait again; asks the engine nothing."""
        if isinstance(self._number, int):
            one, again = f"request {self._number}", f"flow.request({self._number}).result()"
        else:
            one, again = "the request", ".result()"
        return f"{one} of {self.socket_name!r} goes on; {again} waits again"

    def result(self, timeout: float | None = None) -> Any:
        """Value of this very call; a list of the values for a generator.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait.

        Raises
        ------
        TimeoutError
            It has not ended yet; it stays in the flow.
        TaskError
            It failed without an exception that can be raised here: its worker died, it ran too
            long, it was cancelled or skipped. Else the task's own exception is raised.
        """
        __tracebackhide__ = True
        number = self._number if isinstance(self._number, int) else self._number.known(self._at)
        if number is not None:
            self._number, client = number, self.flow._client
            known = client.known_result(number)
            if known is not None:
                return client.load(known)
        deadline = Deadline(timeout)
        return self._opened(self._ended(deadline), deadline)

    def _opened(self, row: dict[str, Any] | Value, deadline: Deadline) -> Any:
        __tracebackhide__ = True
        if isinstance(row, Value):
            return self.flow._client.load(row)
        error = error_of(self.flow._client, row, deadline)
        if error is not None:
            raise error
        return value_of(self.flow._client, row, deadline)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait as `result` does, while the loop goes on."""
        __tracebackhide__ = True
        client = self.flow._client
        with going_on(self._still):
            if not isinstance(self._number, int):
                yield from awaited(self._number.when_answered(), client.reading())
            row = yield from awaited(self._finished(), client.reading())
        return self._opened(row, Deadline(None))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What `result` would raise, or None."""
        __tracebackhide__ = True
        deadline = Deadline(timeout)
        row = self._ended(deadline)
        return None if isinstance(row, Value) else error_of(self.flow._client, row, deadline)

    def wait(self, timeout: float | None = None) -> Request:
        """Return this request once it has ended, however it did."""
        __tracebackhide__ = True
        self._ended(Deadline(timeout))
        return self

    def done(self) -> bool:
        """Whether it has ended, however it did."""
        return self.state in ENDED

    # -- facts -----------------------------------------------------------------
    def row(self) -> dict[str, Any]:
        """All that is recorded of it, as of now."""
        # done is the one state that nothing changes any more
        if self._known is None or self._known["state"] != "done":
            self._known = self.flow._client.row(self.id)
        return self._known

    @property
    def socket(self) -> str:
        """Name of its socket."""
        return str(self.row()["socket"])

    @property
    def state(self) -> str:
        """``waiting``, ``queued``, ``running``, ``done``, ``failed``, ``cancelled`` or ``skipped``.

        ``asked``: it waits for a person to answer. ``delayed``: it waits for its time, `due`.
        """
        return str(self.row()["state"])

    @property
    def due(self) -> float | None:
        """Wall clock before which it does not start, while it is ``delayed``; else None."""
        due: float | None = self.row()["due"]
        return due

    @property
    def attempt(self) -> int:
        """How often it has been started."""
        return int(self.row()["attempt"])

    @property
    def task_version(self) -> int | None:
        """Version of the task it ran."""
        version: int | None = self.row()["version"]
        return version

    @property
    def revision(self) -> int | None:
        """Revision of the wiring under which its result went on."""
        revision: int | None = self.row()["revision"]
        return revision

    @property
    def reused(self) -> bool:
        """Whether its result was there already, by ``cache=``: no worker has run it."""
        return self.node == REUSED

    @property
    def node(self) -> str | None:
        """Node that ran it; ``"cache"``: none, its result was there already."""
        node: str | None = self.row()["node"]
        return node

    @property
    def pid(self) -> int | None:
        """Process that ran it."""
        pid: int | None = self.row()["pid"]
        return pid

    @property
    def started(self) -> float | None:
        """Wall clock at which its last attempt began."""
        started: float | None = self.row()["started"]
        return started

    @property
    def finished(self) -> float | None:
        """Wall clock at which it ended."""
        finished: float | None = self.row()["finished"]
        return finished

    @property
    def seconds(self) -> float | None:
        """How long its last attempt ran."""
        seconds: float | None = self.row()["seconds"]
        return seconds

    @property
    def progress(self) -> str | None:
        """How far its task says it is, while it runs: ``3 of 10 files``."""
        return progress_text(self.row().get("progress")) or None

    @property
    def error(self) -> str | None:
        """What it failed with: one line."""
        return error_line(self.row()["error"]) or None

    @property
    def run(self) -> Run:
        """All that descends from the submit it descends from."""
        return Run(self.flow, int(self.row()["run"]))

    @property
    def parents(self) -> list[Request]:
        """Requests whose results are its arguments."""
        ids = self.row().get("parents") or []
        return list(self.flow._requests({"ids": ids, "limit": len(ids)})) if ids else []

    @property
    def output(self) -> str:
        """What it has printed, so far; of a value that it displayed, the text."""
        reply, _ = self.flow._client.ask("query", {"what": "output", "id": self.id})
        parts = [displayed(text)["text"] + "\n" if stream == "display" else text for stream, text in reply["chunks"]]
        return "".join(parts)

    @property
    def arguments(self) -> dict[str, Any]:
        """The very arguments of the call, loaded here."""
        return dict(self.flow.recall(self))

    @property
    def attempts(self) -> Table:
        """Every time it was started, the last included."""
        reply, _ = self.flow._client.ask("query", {"what": "attempts", "id": self.id})
        ended, last = list(reply["rows"]), self.row()
        if last["started"] and last["attempt"] not in [row["attempt"] for row in ended]:
            ended.append(last)
        rows = [shown(row, error=error_text, started=clock_text, seconds=seconds_text) for row in ended]
        return Table(rows, ["attempt", "state", "error", "started", "seconds"])

    def lineage(self) -> Lineage:
        """What it came from and what came of it."""
        reply, _ = self.flow._client.ask("query", {"what": "lineage", "id": self.id})
        return Lineage(reply["nodes"], reply["edges"], self.id)

    # -- changing --------------------------------------------------------------
    def cancel(self) -> bool:
        """Cancel it, running or not; whether there was something to cancel."""
        return bool(self.flow.cancel(self))

    def _cancel_waiting(self) -> bool:
        """Cancel it unless it runs; whether there was something to cancel."""
        reply, _ = self.flow._client.ask("cancel", {"ids": [self.id], "running": False})
        return bool(reply["cancelled"])

    def retry(self) -> Request:
        """Run it again with the same arguments and the newest version of its task."""
        self.flow.retry(self)
        return self

    def answer(self, value: Any, *, by: str | None = None) -> Request:
        """Answer what it asks; as `Flow.answer`."""
        self.flow.answer(self, value, by=by)
        return self

    def replay(self, *, from_: str | None = None) -> Run:
        """Run again, as a new run, what came of it; as `Flow.replay`."""
        return self.flow.replay(self, from_=from_)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and (self.flow, self.id) == (other.flow, other.id)

    def __hash__(self) -> int:
        return hash((id(self.flow), self.id))

    def __repr__(self) -> str:
        state = f", {self._known['state']}" if self._known else ""
        return f"<{self._named()}{state}>"


class Run(Part):
    """Everything that descends from one submit.

    Parameters
    ----------
    flow : Flow
        Where it is.
    id : int
        Number of its first request.
    """

    def __init__(self, flow: Flow, id: int) -> None:
        self.flow: Flow = flow
        self.id = id

    def _look(self, timeout: float | None = 60) -> dict[str, Any]:
        reply, _ = self.flow._client.ask("query", {"what": "run", "id": self.id}, timeout=timeout)
        return dict(reply)

    @property
    def state(self) -> str:
        """The state of its requests as a whole."""
        return str(self._look()["state"])

    @property
    def counts(self) -> dict[str, int]:
        """How many of its requests are in each state."""
        return dict(self._look()["counts"])

    @property
    def requests(self) -> Table:
        """Its requests, in order of acceptance."""
        return self.flow.requests(run=self)

    def wait(self, timeout: float | None = None) -> Run:
        """Return this run once none of its requests is queued or running, or asks a person.

        Raises
        ------
        TimeoutError
            Some are after `timeout` seconds.
        """
        __tracebackhide__ = True
        deadline = Deadline(timeout)
        counts: dict[str, int] = {}

        def ended() -> bool | None:
            found = self._look(deadline.left)["counts"]
            counts.clear()
            counts.update(found)
            return True if not any(map(counts.get, ("queued", ASKED, "running"))) else None

        with going_on(self._still):
            through = until(self.flow._client, "counts", ended, deadline)
        if through is None:
            asked = f"{counts[ASKED]} asked, " if counts.get(ASKED) else ""
            busy = f"{asked}{counts.get('queued', 0)} queued and {counts.get('running', 0)} running"
            client = self.flow._client
            how = f"has {busy} requests" if counts else f"goes on ({client.trouble})"
            why = _trouble(client) if counts.get("queued") else ""
            raise overdue(f"run {self.id} {how} after {deadline.seconds:g} s{why}; they stay in the flow")
        return self

    def _still(self) -> str:
        """What goes on after an interrupted wait, and how to wait again."""
        return f"run {self.id} goes on; flow.run({self.id}).wait() waits again"

    def results(self, socket: str, timeout: float | None = None) -> list[Any]:
        """Values of its done requests at `socket`, in order of acceptance; waits for the run.

        Raises
        ------
        TimeoutError
            The run is not through after `timeout` seconds.
        """
        __tracebackhide__ = True
        deadline = Deadline(timeout)
        with going_on(self._still):
            found = self.flow._results(socket, self, deadline)
        if found is None:
            self.wait(deadline.left)
            found = self.flow.results(socket, run=self)
        return found

    def cancel(self) -> int:
        """Cancel what of it has not ended; how many requests that was."""
        return self.flow.cancel(self)

    def replay(self, *, from_: str | None = None) -> Run:
        """Run it again as a new run; as `Flow.replay`."""
        return self.flow.replay(self, from_=from_)

    def lineage(self) -> Lineage:
        """What came of its first request."""
        return Request(self.flow, self.id, "").lineage()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and (self.flow, self.id) == (other.flow, other.id)

    def __hash__(self) -> int:
        return hash((id(self.flow), "run", self.id))

    def __repr__(self) -> str:
        return f"<run {self.id}>"
