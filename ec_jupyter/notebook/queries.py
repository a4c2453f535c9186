"""The part of a flow that answers questions: requests, results, counts, what waits."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from ec_jupyter.client.result_futures import unpack
from ec_jupyter.client.story import sentences
from ec_jupyter.client.texts import clock_text, error_text, headline, progress_text, seconds_text, shown, status_rows
from ec_jupyter.client.waits import Deadline
from ec_jupyter.errors import ArgumentsError, RequestNotFoundError
from ec_jupyter.flow.options import checked_kind, number_of, word_of
from ec_jupyter.flow.options import shown as shown_value
from ec_jupyter.flow.states import SHOWN, STATES
from ec_jupyter.nodes.current import rebuilt
from ec_jupyter.notebook.lookup import Lookup
from ec_jupyter.notebook.parts import check_own
from ec_jupyter.notebook.request import Request, Run
from ec_jupyter.notebook.tables import Lineage, Report, Story, Table, Tree, log_lines, statistics
from ec_jupyter.notebook.views import Socket
from ec_jupyter.notebook.waiting import Question, Waiting
from ec_jupyter.wire import unpacked

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow

COUNTS = ("arrived", *STATES)
"""What a socket's counts tell: values that wait for company, then requests by state.

Those that ask a person, or wait for their time, stand in the note of their socket.
"""

_ALL = 1 << 62
_AROUND = 100  # requests that a story looks at, each way
_COLUMNS = ["id", "socket", "state", "run", "attempt", "version", "node", "started", "seconds", "progress", "error"]
_WAITING = ["socket", "argument", "type", "bytes", "run", "element", "from", "since", "missing", "stranded"]


_TEXTS: dict[str, Callable[[Any], str]] = {
    "started": clock_text, "finished": clock_text, "seconds": seconds_text, "error": error_text,
    "progress": progress_text,
}  # fmt: skip


class Queries(Lookup):
    """What `Flow` can tell of its requests."""

    def requests(
        self,
        socket: str | Socket | Callable[..., Any] | None = None,
        *,
        state: str | None = None,
        run: Run | Request | int | None = None,
        by: str = "id",
        limit: int | None = 1000,
    ) -> Table:
        """The newest requests, oldest of them first; each item is a `Request`.

        Parameters
        ----------
        socket : str, Socket or function, optional
            Of this socket only.
        state : str, optional
            In this state only.
        run : Run, Request or int, optional
            Of this run only.
        by : {"id", "started"}
            Order of acceptance, or in which they started.
        limit : int or None
            How many at most; None is all.
        """
        asked: dict[str, Any] = {"by": word_of(by, "by", ("id", "started")), "limit": _most(limit), "newest": True}
        if state is not None:
            asked["state"] = word_of(state, "state", SHOWN)
        return self._requests(asked | self._of(socket, run))

    def results(
        self,
        socket: str | Socket | Callable[..., Any],
        *,
        run: Run | Request | int | None = None,
        limit: int | None = None,
    ) -> list[Any]:
        """Values of the done requests of a socket, in order of acceptance, in one question.

        Parameters
        ----------
        socket : str, Socket or function
            Whose results.
        run : Run, Request or int, optional
            Of this run only.
        limit : int, optional
            The newest so many only.
        """
        asked = {"what": "results", "limit": _most(limit), **self._of(socket, run)}
        return self._loaded(*self._client.ask("query", asked, timeout=None))

    def _results(self, socket: str, run: Run, deadline: Deadline) -> list[Any] | None:
        """Results of a run at a socket, in one question; None while it is at work, or the engine does not answer."""
        asked = {"what": "results", "socket": self._in_force(socket), "limit": _ALL, "run": run.id, "complete": True}
        try:
            reply, buffers = self._client.ask("query", asked, timeout=deadline.left)
        except TimeoutError:
            return None
        return None if reply.get("busy") else self._loaded(reply, buffers)

    def _loaded(self, reply: dict[str, Any], buffers: list[bytes]) -> list[Any]:
        rest, load = iter(buffers), self._client.load
        # small ones, as they are
        found = [*map(pickle.loads, islice(rest, len(reply["types"])))]
        for at, many, head in reply["odd"]:
            found.insert(at, [load(unpack(one, rest)) for one in head] if many else load(unpack(head, rest)))
        return found

    def _of(
        self, socket: str | Socket | Callable[..., Any] | None, run: Run | Request | int | None = None
    ) -> dict[str, Any]:
        """The fields that narrow a question to a socket, a run, or both."""
        found: dict[str, Any] = {} if socket is None else {"socket": self._in_force(socket)}
        return found if run is None else found | {"run": self._run_id(run)}

    def _requests(self, asked: dict[str, Any]) -> Table:
        reply, _ = self._client.ask("query", {"what": "requests", **asked})
        rows = unpacked(reply)
        if asked.get("newest"):
            rows.reverse()
        items = [Request(self._flow, row["id"], row["socket"], row) for row in rows]
        return Table(rows, _COLUMNS, items=items, text=lambda row: shown(row, **_TEXTS))

    def request(self, id: Request | int) -> Request:
        """The request of that number, or a request itself.

        Raises
        ------
        RequestNotFoundError
            The flow has none.
        """
        if isinstance(id, Request):
            check_own(self._flow, [id])
            return id
        request = Request(self._flow, number_of(id, "flow.request"), "")
        request.socket_name = request.socket
        return request

    def run(self, id: Run | Request | int) -> Run:
        """The run of that number, or of a request."""
        return Run(self._flow, self._run_id(id, "flow.run"))

    def waiting(self, socket: str | Socket | Callable[..., Any] | None = None) -> Table:
        """What waits for other arguments of its call, or for a person to answer; each item can be looked at.

        Questions (`Question`) come first, oldest first; a value (`Waiting`) can be discarded.
        """
        reply, _ = self._client.ask("query", {"what": "waiting", **self._of(socket)})
        items = [item for row in reply["rows"] for item in _waiting(self._flow, row)]
        return Table([item.row() for item in items], _WAITING, items=items)

    def status(self) -> Report:
        """Counts of every socket, processor and node, as of now.

        ``status["size"]`` has the bytes of the flow's files, as of some seconds ago: of its ``database``, ``values``
        and ``logs`` (all else), and in ``total``; None until those of a flow of very many have been counted.
        """
        counts, _ = self._client.ask("query", {"what": "counts"})
        columns = ["socket", "processor", *COUNTS, "progress", "note"]
        return Report(counts, status_rows(self._client.topology, counts), columns, headline(counts))

    def statistics(
        self,
        socket: str | Socket | Callable[..., Any] | None = None,
        *,
        by: str | None = None,
        course: bool = False,
    ) -> Table:
        """What sockets, processors and nodes have done in the last hour: rates, queues, times, CPUs and memory.

        Parameters
        ----------
        socket : str, Socket or function, optional
            Of this socket only.
        by : {"socket", "processor", "node"}, optional
            Of these only.
        course : bool
            A row for each half minute in which something was, instead of one for the hour.

        Returns
        -------
        Table
            A row each: ``ended`` and ``failed`` calls, calls ``per_second``, median and 95th percentile of their time
            (``p50``, ``p95``) and of how long they had waited when they began (``waited_p50``, ``waited_p95``), all in
            seconds and within 5 %; means over the time of what was ``queued`` and ``running``, ``most_queued``; the
            CPUs that its processes used on average (``cpu``), on whatever machine, and the most bytes they held
            (``memory``; of a node, what was used of its machine's, of a Dask cluster what its workers held).
            ``to_frame()`` has the numbers.

        Notes
        -----
        The engine keeps them over restarts. Of a very large and busy flow it keeps less than an hour.
        """
        asked: dict[str, Any] = {"course": checked_kind(course, "course", bool), "by": by}
        if by is not None:
            asked["by"] = word_of(by, "by", ("socket", "processor", "node"))
        if socket is not None:
            asked |= {"by": "socket", "name": self._in_force(socket)}
        return statistics(self._client.ask("query", {"what": "statistics", **asked})[0], course=course)

    def log(
        self,
        socket: str | Socket | Callable[..., Any] | None = None,
        *,
        run: Run | Request | int | None = None,
        level: str | None = None,
        text: str | None = None,
        limit: int | None = 1000,
    ) -> Table:
        """The newest lines of the log, oldest of them first: output, failures, deaths, retries, edits and notices.

        Parameters
        ----------
        socket : str, Socket or function, optional
            Of this socket's calls only.
        run : Run, Request or int, optional
            Of this run's calls only.
        level : {"info", "warning", "error"}, optional
            Of this level or a higher one.
        text : str, optional
            That hold this text, in whatever case.
        limit : int or None
            How many at most; None is all.
        """
        asked = {"text": checked_kind(text or "", "text", str), **self._of(socket, run)}
        if level is not None:
            asked["level"] = word_of(level, "level", ("info", "warning", "error"))
        return log_lines(self._log(asked, _most(limit)))

    def _log(self, asked: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        """The newest lines, asked for page by page."""
        pages: list[list[dict[str, Any]]] = []
        older, left = None, limit
        while left > 0:
            asked |= {"older": older, "limit": min(left, 5000)}
            reply, _ = self._client.ask("query", {"what": "log", **asked})
            pages.append(reply["lines"])
            left, older = left - len(reply["lines"]), reply["older"]
            if older is None:
                break
        return [line for page in reversed(pages) for line in page]

    def tree(self) -> Tree:
        """Nodes, agents, workers, processors, sockets, tasks and arguments, as an outline."""
        reply, _ = self._client.ask("query", {"what": "tree"})
        return Tree(reply["nodes"])

    def lineage(self, request: Request | int) -> Lineage:
        """What a request came from and what came of it."""
        return self.request(request).lineage()

    def story(self, request: Request | int) -> Story:
        """What happened to a request, in sentences: what it came from, each attempt, its end, what came of it."""
        found = self.request(request)
        row, asked = found.row(), {"id": found.id}
        attempts, _ = self._client.ask("query", {"what": "attempts", **asked})
        around, _ = self._client.ask("query", {"what": "lineage", **asked, "limit": _AROUND})
        row["behind"], row["waits"] = attempts["behind"], {}
        if row["state"] == "waiting":
            waiting, _ = self._client.ask("query", {"what": "waiting", "socket": row["socket"]})
            row["waits"] = next((one["arguments"] for one in waiting["rows"] if one["request"] == found.id), {})
        return Story(sentences(row, attempts["rows"], around["nodes"], around["edges"]))

    def recall(self, request: Request | int) -> dict[str, Any]:
        """The very arguments of a call, loaded in this kernel."""
        asked = {"what": "arguments", "id": self.request(request).id}
        reply, buffers = self._client.ask("query", asked)
        rest = iter(buffers)
        return {name: self._argument_value(part, rest) for name, part in reply["arguments"].items()}

    def debug(self, request: Request | int) -> Any:
        """Make a call once more, in this kernel: the code that it ran, with its very arguments; what it returns.

        What the task raises comes with its frames, so that ``%debug`` opens in them, days later and also for a call
        that ran on another machine. `%ec_debug` does both. The flow is left alone; side effects of the task happen
        again.

        Raises
        ------
        ArgumentsError
            It asks a person, or sleeps: it runs no code.
        Exception
            Whatever the task raises.
        """
        from ec_jupyter.notebook.debugging import call_again

        found = self.request(request)
        return call_again(self._client, found.row(), self.recall(found))

    def _argument_value(self, part: dict[str, Any], buffers: Iterator[bytes]) -> Any:
        values = [unpack(head, buffers) for head in part["values"]]
        if part["kind"] == "e":
            rest = iter(values[1:])
            return rebuilt(json.loads(values[0].data or b"{}"), lambda: self._client.load(next(rest)))
        loaded = [self._client.load(value) for value in values]
        return loaded if part["kind"] == "l" else loaded[0]

    def _arrived(self, arrival: int | None) -> Any:
        if arrival is None:
            raise RequestNotFoundError("nothing has come to this request yet")
        reply, buffers = self._client.ask("query", {"what": "value", "arrival": arrival})
        return self._argument_value(reply, iter(buffers))

    def _run_id(self, run: Run | Request | int, what: str = "run=") -> int:
        check_own(self._flow, [run])
        if isinstance(run, Request):
            return run.run.id
        return run.id if isinstance(run, Run) else number_of(run, what)


def _most(limit: int | None) -> int:
    """How many rows are asked for at most."""
    if limit is None:
        return _ALL
    said = f"limit= takes a whole number, 1 or more, or None for all, not {shown_value(limit)}"
    try:
        most = number_of(limit, "limit=")
    except ArgumentsError:
        raise ArgumentsError(said) from None
    if not most:
        raise ArgumentsError(said)
    return most


def _waiting(flow: Flow, row: dict[str, Any]) -> list[Waiting]:
    if row.get("ask"):
        return [Question(flow, row)]
    arrivals = [(name, one) for name, part in row["arguments"].items() for one in part.get("arrivals", ())]
    if not arrivals and row.get("request") is None:
        # lists whose elements have all failed
        arrivals = [(name, {}) for name in row.get("lacks", ())]
    return [Waiting(flow, row, name, one) for name, one in arrivals] or [Waiting(flow, row, None, {})]
