"""Who waits for an engine that is stopped, dead or starting waits as long as they said, and gets what is theirs."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ec_jupyter.client.launch import running
from ec_jupyter.errors import EngineLostError, StoreError
from ec_jupyter.notebook.flow import Flow as Notebook
from ec_jupyter.notebook.request import Request
from tests.crash.flowkit import Flow, Gate, Marks, gone, kill, mark, passing, wait_until

LIMIT = 0.3
SLACK = 30.0
"""A loaded machine; what is claimed is that nobody waits for the minute that an answer may take."""

KILLS = 7


def echo(x: object) -> object:
    return x


def gated(x: object, gate: str) -> object:
    passing(gate)
    return x


@pytest.fixture
def notebook(flow: Flow) -> Notebook:
    """The flow as a person has it."""
    flow.socket(echo)
    return Notebook(flow.client)


@contextmanager
def held(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def no_engine(flow: Flow) -> Iterator[None]:
    """The engine is killed, and none can start meanwhile."""
    with open(flow.folder / "engine.lock", "rb") as lock:
        kill(flow.engine)
        fcntl.flock(lock, fcntl.LOCK_EX)
        wait_until(lambda: not flow.client.connected)
        yield


async def awaited(request: Request) -> Any:
    return await asyncio.wait_for(request, 60)


@pytest.mark.parametrize("wait", [lambda z: z.result(60), lambda z: asyncio.run(awaited(z))], ids=["result", "await"])
def test_a_result_comes_whenever_the_engine_is_killed_around_its_submit(
    flow: Flow, notebook: Notebook, wait: Callable[[Request], Any]
) -> None:
    for at in range(KILLS):
        assert notebook.submit("echo", -1).result(60) == -1
        # before the submit, with it, before the answer to it, before the result
        killer = threading.Timer(at * 0.0008, kill, [flow.engine])
        killer.start()
        request = notebook.submit("echo", at)
        killer.join()
        assert wait(request) == at
    assert len(flow.requests(socket="echo", state="done")) == 2 * KILLS


WAITS: dict[str, Callable[[Notebook, Request], object]] = {
    "result": lambda flow, request: request.result(timeout=LIMIT),
    "exception": lambda flow, request: request.exception(timeout=LIMIT),
    "wait": lambda flow, request: request.wait(timeout=LIMIT),
    "run": lambda flow, request: flow.run(1).wait(timeout=LIMIT),
    "results of a run": lambda flow, request: flow.run(1).results("echo", timeout=LIMIT),
    "flow": lambda flow, request: flow.wait(timeout=LIMIT),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_a_time_limit_is_kept_while_the_engine_is_stopped_or_starts(
    flow: Flow, notebook: Notebook, wait: Callable[[Notebook, Request], object]
) -> None:
    def claim(request: Request) -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            wait(notebook, request)
        assert time.monotonic() - began < LIMIT + SLACK

    with held(flow.engine):
        # its number is not known while the engine says nothing
        request = notebook.submit("echo", 1)
        claim(request)
    assert request.result(60) == 1
    flow.ask("pause", sockets=["echo"])
    request = notebook.submit("echo", 2)
    assert request.id
    with no_engine(flow):
        claim(request)
    flow.ask("resume", sockets=["echo"])
    assert request.result(60) == 2


def test_a_look_at_a_request_never_waits_for_the_engine(flow: Flow, notebook: Notebook) -> None:
    with held(flow.engine):
        request = notebook.submit("echo", 1)
        began = time.monotonic()
        assert repr(request) == "<request of 'echo'>"
        assert time.monotonic() - began < SLACK
    assert request.result(60) == 1
    assert repr(request) == f"<request {request.id} of 'echo'>"


def test_submits_to_a_stopped_engine_hold_up_nobody_else(flow: Flow, notebook: Notebook) -> None:
    known = notebook.submit("echo", 1)
    assert known.id
    with held(flow.engine):
        # more than fits into the line
        requests = notebook.map("echo", [bytes(60_000)] * 40)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            requests[-1].result(timeout=LIMIT)
        assert time.monotonic() - began < LIMIT + SLACK
    assert requests[-1].result(60) == bytes(60_000)


def test_who_only_listens_starts_the_next_engine_and_hears_that_the_last_is_gone(flow: Flow) -> None:
    heard: list[tuple[str, str]] = []
    flow.client.listen("engine", lambda header, buffers: heard.append((header["state"], header["text"])))
    first = flow.engine
    kill(first)
    wait_until(lambda: flow.client.connected and flow.engine != first)
    assert heard == [("starting", "the engine is gone, starting again"), ("running", "")]


def test_work_goes_on_after_a_kill_though_nobody_asks(flow: Flow, gate: Gate, marks: Marks) -> None:
    path, at = str(marks), str(gate)

    def leave(x: object) -> None:
        passing(at)
        mark(path, x)

    flow.socket(leave)
    flow.submit("leave", x=1)
    kill(flow.engine)
    gate.open()
    assert marks.reach(1) == ["1"]


def test_nobody_who_is_attached_starts_an_engine_that_was_stopped(flow: Flow, make_flow: Callable[..., Flow]) -> None:
    other, pid = make_flow(flow.folder), flow.engine
    Notebook(flow.client).stop()
    gone(pid)
    wait_until(lambda: other.client.life.state == "stopped")
    assert flow.client.life.state == "stopped"
    assert not running(flow.folder)
    # the next call does
    assert other.query("counts")["sockets"] == {}


def test_a_call_right_after_a_stop_is_accepted_and_served_once_by_the_next_engine(
    flow: Flow, notebook: Notebook
) -> None:
    for at in range(3):
        first = flow.engine
        notebook.stop()
        requests = [notebook.submit("echo", at * 10 + i) for i in range(5)]
        assert [request.result(60) for request in requests] == [at * 10 + i for i in range(5)]
        assert flow.engine != first
    assert sorted(flow.results("echo")) == sorted(at * 10 + i for at in range(3) for i in range(5))


def test_calls_of_another_client_while_the_flow_is_stopped_are_served_once(
    flow: Flow, notebook: Notebook, make_flow: Callable[..., Flow]
) -> None:
    other = Notebook(make_flow(flow.folder).client)
    stopping = threading.Thread(target=notebook.stop, daemon=True)
    stopping.start()
    requests = [other.submit("echo", i) for i in range(300)]
    stopping.join()

    def result(request: Request) -> int:
        try:
            return int(request.result(60))
        except EngineLostError:
            # the word of the stop came while this one was waited for; to ask again is the next call
            return int(request.result(60))

    assert [result(request) for request in requests] == list(range(300))
    assert len(flow.requests(socket="echo")) == 300


def test_who_waits_while_the_flow_is_stopped_is_told(flow: Flow, notebook: Notebook, gate: Gate) -> None:
    flow.socket(gated)
    request = notebook.submit("gated", 1, str(gate))
    assert request.id
    ended = flow.client.finished(request.id)
    notebook.stop()
    with pytest.raises(EngineLostError, match="was stopped; its requests stay on disk"):
        ended.result(60)
    gate.open()
    # to ask again is the next call
    assert request.result(60) == 1


def test_a_second_stop_does_nothing(flow: Flow, notebook: Notebook) -> None:
    pid = flow.engine
    notebook.stop()
    gone(pid)
    notebook.stop()
    assert not running(flow.folder)
    assert flow.client.life.state == "stopped"


def test_an_engine_that_cannot_start_is_tried_again_with_the_next_call(flow: Flow, notebook: Notebook) -> None:
    log, pid = flow.folder / "engine.log", flow.engine
    os.kill(pid, signal.SIGSTOP)
    request = notebook.submit("echo", 1)
    # nothing can be started where its log cannot be written
    log.unlink()
    log.mkdir()
    kill(pid)
    wait_until(lambda: flow.client.life.state == "failed")
    with pytest.raises(StoreError, match=r"engine\.log: Is a directory"):
        request.result(60)
    log.rmdir()
    # it was accepted, and is asked for again: not submitted twice
    assert request.result(60) == 1
    assert len(flow.requests(socket="echo")) == 1
