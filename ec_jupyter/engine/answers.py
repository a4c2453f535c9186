"""A person's answer to what a socket asks: the result of a request that no worker has, once."""

from __future__ import annotations

import time

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.recovery import job_from_disk
from ec_jupyter.engine.suspects import REQUEST
from ec_jupyter.errors import AnswerError, RequestNotFoundError, nearest
from ec_jupyter.flow.states import ENDED
from ec_jupyter.nodes.values import small
from ec_jupyter.wire import Header, Value

STREAM = "answer"  # under which what was answered, and by whom, stands in the output of a request


def answer(core: Core, header: Header, value: Value | None, who: str) -> None:
    """Make what a person said the result of a request.

    Raises RequestNotFoundError: there is no such request; AnswerError: it asks nobody, or no more; or its socket offers
    no such choice. Says who answered, and when.
    """
    core.journal.commit()
    request = header["request"]
    row = core.store.one("standing_of", (request,))
    if row is None:
        raise RequestNotFoundError(f"no request {request} in this flow")
    socket, state, finished = row
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
    """Why a request cannot be answered."""
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
