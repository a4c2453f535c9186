"""Questions to people, their answers, and sleeps: no worker runs such requests, they stay queued until either has come.

Nothing of them is anywhere but in the queue: no worker, no CPU, no engine has to be there while they wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ec_jupyter.engine import failures
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.recovery import job_from_disk
from ec_jupyter.engine.requests import record
from ec_jupyter.engine.suspects import REQUEST
from ec_jupyter.errors import AnswerError, nearest
from ec_jupyter.flow.states import ENDED
from ec_jupyter.nodes.values import small
from ec_jupyter.wire import Header, Value

STREAM = "answer"  # under which what was answered, and by whom, stands in the output of a request


class Questions:
    """The open questions of a flow that may wait only so long, `timeout=` of their socket, and its sleeps."""

    def __init__(self, core: Core) -> None:
        self._core, self._topology = core, core.topology
        # by socket, a time of the monotonic clock before which none of its questions is due
        self._next: dict[int, float] = {}

    @property
    def next(self) -> list[float]:
        """When one may be due, by the monotonic clock; empty if none can be."""
        if self._topology is not self._core.topology:
            self._topology = self._core.topology
            self._next.clear()
        lanes = self._core.dispatch.lanes
        limited = [socket for socket in self._limited() if socket in lanes and lanes[socket].members]
        for socket in self._next.keys() - set(limited):
            del self._next[socket]
        for socket in limited:
            if socket not in self._next:
                self._next[socket] = time.monotonic() + min(left for _, left in self._left(socket))
        # one that is asked later is due later: it changes nothing
        return [self._next[socket] for socket in limited]

    def clock_set(self) -> None:
        """The wall clock has been set, or the machine has slept: look anew when one is due."""
        self._next.clear()

    def due(self, now: float) -> None:
        """Let those fail that nobody has answered in time, and those be done that have slept."""
        core = self._core
        if not self.next:
            return
        ahead = max(0.0, now - time.monotonic())
        for socket in [one for one, at in self._next.items() if at <= now]:
            del self._next[socket]
            for request in sorted(request for request, left in self._left(socket) if left <= ahead):
                core.suspects.begin(REQUEST, request)
                job = core.jobs[request]
                core.dispatch.drop(socket, request)
                if socket in core.topology.sleeping:
                    core.slept(job)
                else:
                    core.fail(job, failures.unanswered(core.topology.sockets[socket]))
        core.suspects.end()

    def _limited(self) -> Iterator[int]:
        sockets = self._core.topology.sockets
        for socket in self._core.topology.unworked:
            if self._core.sleeps(socket) or sockets[socket].timeout is not None:
                yield socket

    def _left(self, socket: int) -> Iterator[tuple[int, float]]:
        """Questions of a socket that are in memory, and in how many seconds each is due."""
        core = self._core
        limit = core.topology.sleeping.get(socket) or core.topology.sockets[socket].timeout or 0.0
        for request in core.dispatch.lanes[socket].members:
            found: Any = core.jobs.peek(request)
            # never longer than it may take, wherever the wall clock has been set meanwhile
            yield request, min(limit, max(0.0, found.created + limit - time.time()))


# -- answers -------------------------------------------------------------------
def answer(core: Core, header: Header, value: Value | None, who: str) -> None:
    """Make what a person said the result of a request.

    Raises RequestNotFoundError: there is no such request; AnswerError: it asks nobody, or no more; or its socket offers
    no such choice. Says who answered, and when.
    """
    core.journal.commit()
    request = header["request"]
    socket, state, finished = record(core, request, "socket, state, finished")
    job = core.jobs.get(request)
    if state != "queued" or socket not in core.topology.asking or (job is not None and job.assigned):
        raise AnswerError(_why_not(core, request, socket, state, finished))
    given, said = _given(core, socket, header, value)
    core.suspects.begin(REQUEST, request)
    if job is None:
        job = job_from_disk(core, request)
        core.dispatch.lanes[socket].spilled -= 1
    core.dispatch.drop(socket, request)
    core.delayed.pop(request, None)
    core.journal.add("add_output", (request, STREAM, f"{who} answered {said}\n", core.now))
    core.answered(job, given)
    core.suspects.end()


def _given(core: Core, socket: int, header: Header, value: Value | None) -> tuple[Value, str]:
    """The value that an answer stands for, and its text."""
    name, choices = core.topology.sockets[socket].name, core.topology.asking[socket]["choices"]
    if choices is None:
        if value is None:
            raise AnswerError(f"{name!r} takes any value as its answer, and none is given")
        return value, header.get("text") or value.type
    choice = header.get("choice")
    if not any(type(one) is type(choice) and one == choice for one in choices):
        shown = header.get("text") if choice is None else repr(choice)
        offered = nearest(str(choice), map(str, choices))
        raise AnswerError(f"{shown or 'nothing'} is no answer that {name!r} takes; {offered}")
    given = small(choice)
    assert given is not None
    return given, repr(choice)


def _why_not(core: Core, request: int, socket: int, state: str, finished: float | None) -> str:
    record = core.topology.sockets[socket]
    what = f"request {request} of {record.name!r}"
    answers = [(text, at) for stream, text, at in core.store.rows("output_times", (request,)) if stream == STREAM]
    if state == "done" and answers:
        text, at = answers[-1]
        return f"{what} was answered before: {text.strip()}, {_clock(at)}; the first answer holds"
    if record.parked:
        return f"{what} cannot be answered: its socket was removed; undo brings it back"
    if state in ENDED:
        again = "; retry it, and it asks again" if state in ("failed", "cancelled") else ""
        return f"{what} asks no more: it is {state} since {_clock(finished)}{again}"
    if socket in core.topology.sleeping:
        return f"{what} asks nobody: it sleeps"
    if state == "waiting":
        return f"{what} does not ask yet: it waits for other arguments"
    return f"{what} asks nobody: a worker has it, or will"


def _clock(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
