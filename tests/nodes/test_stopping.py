"""Cancelling, time-outs, memory limits, and what is handed back."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ec_jupyter.wire import Call
from tests.nodes.rig import Gate, Rig, gone, number_in, wait_until
from tests.nodes.tasks import hold, ident, mark

if TYPE_CHECKING:  # tasks of these tests are found on hosts that have not the engine
    from ec_jupyter.nodes.agents import NodeAgent

pytestmark = pytest.mark.every_node
IN_C = pytest.mark.not_on("inline", "dask", why="a thread that is in C hears of an exception when it comes back")
NOT_OURS = pytest.mark.not_on("inline", "dask", why="the process is not ours to end")


def said(path, text):
    with open(path, "a") as file:
        file.write(f"{text}\n")


def turning(path=None):
    if path is not None:
        said(path, 1)
    while True:
        time.sleep(0.005)


async def begun(rig: Rig, agent: NodeAgent, call: Call) -> None:
    """Wait until a call that is turning does, and is known to."""
    await wait_until(lambda: number_in(rig.folder / "turning"))
    await wait_until(lambda: list(agent.running()) == [call.request])


def slumber(path):
    said(path, 1)
    time.sleep(300)


def loop_in_c():
    # one call into C that holds the GIL for minutes
    return sum(range(10**12))


async def adrift(path):
    said(path, 1)
    await asyncio.sleep(300)


def tenacious(path):
    while True:
        try:
            said(path, 1)
            time.sleep(300)
        except KeyboardInterrupt:
            said(f"{path}.caught", 1)


def in_finally(path):
    try:
        said(path, 1)
        time.sleep(300)
    finally:
        said(f"{path}.caught", 1)
        time.sleep(300)


def polite(path):
    try:
        turning(path)
    except KeyboardInterrupt:
        said(path, "caught")
    return "as if nothing had been"


async def test_cancel_of_a_queued_call_ends_it_without_running(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    running, queued = rig.call(hold, {"gate": str(gate)}), rig.call(mark, {"path": str(rig.folder / "mark")})
    single.assign("main", [running, queued])
    await gate.reached(0)
    single.cancel(queued.request)
    await rig.done([queued])
    outcome = rig.ear.outcomes[queued.request]
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert (outcome.error["kind"], outcome.error["type"]) == ("cancelled", "RequestCancelledError")
    gate.open()
    await rig.done([running])
    await rig.run(single, rig.call(ident))
    assert not (rig.folder / "mark").exists()


async def test_cancel_ends_a_running_call_and_its_worker_goes_on(rig: Rig, single: NodeAgent) -> None:
    before, after = rig.call(ident), rig.call(ident)
    call = rig.call(turning, {"path": str(rig.folder / "turning")}, socket="slow")
    await rig.run(single, before)
    single.assign("main", [call])
    await begun(rig, single, call)
    single.cancel(call.request)
    await rig.done([call])
    error = rig.ear.outcomes[call.request].error
    assert error is not None
    assert (error["kind"], error["message"]) == ("cancelled", "'slow' was cancelled")
    await rig.run(single, after)
    assert rig.result(before.request) == rig.result(after.request)
    assert not rig.ear.dead


@pytest.mark.not_on("dask", why="the outcome is told before the thread has heard of it")
async def test_call_that_was_cancelled_shows_where_it_was(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(turning, {"path": str(rig.folder / "turning")})
    single.assign("main", [call])
    await begun(rig, single, call)
    single.cancel(call.request)
    await rig.done([call])
    error = rig.ear.outcomes[call.request].error
    assert error is not None
    assert "time.sleep(0.005)" in error["traceback"]
    assert "ec_jupyter" not in error["traceback"]


@IN_C
async def test_cancel_interrupts_a_call_that_waits_in_c(rig: Rig, single: NodeAgent) -> None:
    before, after = rig.call(ident), rig.call(ident)
    await rig.run(single, before)
    for function, line in ((slumber, "time.sleep(300)"), (adrift, "KeyboardInterrupt")):
        path = rig.folder / function.__name__
        call = rig.call(function, {"path": str(path)})
        single.assign("main", [call])
        # a worker that has got to the call may still import what the function stands on
        await wait_until(lambda path=path: number_in(path))
        await wait_until(lambda call=call: single.running().get(call.request))
        single.cancel(call.request)
        await rig.done([call])
        error = rig.ear.outcomes[call.request].error
        assert error is not None
        assert error["kind"] == "cancelled"
        assert line in error["traceback"]
        assert "ec_jupyter" not in error["traceback"]
    await rig.run(single, after)
    assert rig.result(before.request) == rig.result(after.request)


async def test_call_that_catches_the_interrupt_and_returns_was_cancelled_all_the_same(
    rig: Rig, single: NodeAgent
) -> None:
    path = rig.folder / "turning"
    call = rig.call(polite, {"path": str(path)})
    single.assign("main", [call])
    await begun(rig, single, call)
    single.cancel(call.request)
    await rig.done([call])
    outcome = rig.ear.outcomes[call.request]
    assert outcome.error is not None
    assert outcome.error["kind"] == "cancelled"
    assert outcome.value is None
    await wait_until(lambda: path.read_text() == "1\ncaught\n")
    assert (await rig.run(single, rig.call(ident))).state == "done"


@NOT_OURS
async def test_call_that_goes_on_after_the_interrupt_is_killed_after_the_grace(rig: Rig, agent: NodeAgent) -> None:
    paths = [rig.folder / "tenacious", rig.folder / "in_finally"]
    tasks = zip((tenacious, in_finally), paths, strict=True)
    calls = [rig.call(function, {"path": str(path)}) for function, path in tasks]
    agent.assign("main", calls)
    await wait_until(lambda: all(number_in(path) for path in paths))
    for call in calls:
        agent.cancel(call.request)
    await rig.done(calls)
    for call, path in zip(calls, paths, strict=True):
        error = rig.ear.outcomes[call.request].error
        assert error is not None
        assert error["kind"] == "cancelled"
        assert "SIGKILL" in error["exit"]
        assert number_in(Path(f"{path}.caught")) == 1
    assert not rig.ear.dead


@NOT_OURS
async def test_cancel_ends_a_loop_in_c(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(loop_in_c)
    single.assign("main", [call])
    await wait_until(lambda: call.request in single.running())
    single.cancel(call.request)
    await rig.done([call])
    error = rig.ear.outcomes[call.request].error
    assert error is not None
    assert error["kind"] == "cancelled"
    assert (await rig.run(single, rig.call(ident))).state == "done"


def grandchild(path):
    child = subprocess.Popen(["sh", "-c", "sleep 300 & echo $! > " + path + "; wait"])
    with open(path + ".ready", "w") as file:
        file.write("1\n")
    while True:
        with suppress(KeyboardInterrupt):
            child.wait()


async def test_time_out_ends_the_call_and_its_worker_goes_on(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(turning, timeout=0.3))
    assert outcome.error is not None
    assert (outcome.error["kind"], outcome.error["type"]) == ("timeout", "RequestTimeoutError")
    assert outcome.error["message"] == "'turning' ran longer than 0.3 s"
    assert (await rig.run(single, rig.call(ident, timeout=20.0))).state == "done"


@NOT_OURS
async def test_time_out_fails_the_call_and_kills_a_grandchild(rig: Rig, single: NodeAgent) -> None:
    path = rig.folder / "pid"
    # time enough for what it starts to write down its number
    call = rig.call(grandchild, {"path": str(path)}, timeout=3.0)
    outcome = await rig.run(single, call)
    assert outcome.error is not None
    assert (outcome.error["kind"], outcome.error["type"]) == ("timeout", "RequestTimeoutError")
    assert outcome.error["message"] == "'grandchild' ran longer than 3 s"
    pid = number_in(path)
    assert pid is not None
    await wait_until(lambda: gone(pid))


def maybe_slow(x):
    while x == 5:
        time.sleep(0.01)
    return x


async def test_time_out_in_a_batch_leaves_its_mates_alone(rig: Rig, single: NodeAgent) -> None:
    task = rig.task(maybe_slow)
    for _ in range(8):
        await rig.run(single, rig.call(task, {"x": 1}))
    # time enough for the others
    calls = [rig.call(task, {"x": x}, timeout=3.0, socket="maybe_slow") for x in range(12)]
    single.assign("main", calls)
    await rig.done(calls)
    assert [rig.ear.outcomes[call.request].state for call in calls] == ["done"] * 5 + ["failed"] + ["done"] * 6
    assert not rig.ear.back


def eat(count):
    held = bytearray(count)
    time.sleep(300)
    return len(held)


@NOT_OURS
async def test_call_over_its_memory_is_killed_and_named(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(eat, {"count": 400 << 20}, memory=200 << 20)
    outcome = await rig.run(single, call)
    assert outcome.error is not None
    assert (outcome.error["kind"], outcome.error["type"]) == ("memory", "MemoryLimitError")
    assert "'eat' grew to" in outcome.error["message"]
    assert "(limit 200.0 MiB)" in outcome.error["message"]
    assert (await rig.run(single, rig.call(ident))).state == "done"


async def test_recall_hands_back_what_has_not_begun_and_lets_the_rest_run(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    task = rig.task(hold)
    calls = [rig.call(task, {"gate": str(gate), "x": x}) for x in range(600)]
    single.assign("main", calls)
    first, *others = [call.request for call in calls]
    await gate.reached(0)
    single.recall([first, *others])
    await rig.ear.until(lambda: len(rig.ear.back) == len(others))
    assert sorted(rig.ear.back) == others
    gate.open()
    await rig.done(calls[:1])
    assert rig.result(first) == 0
    # what was handed back can come again
    single.assign("main", calls[1:])
    await rig.done(calls)


async def batch(rig: Rig, agent: NodeAgent, count: int) -> tuple[Gate, list[Call]]:
    """Calls that are known to be short, the first of which then is not; it has begun."""
    gate = rig.gate()
    gate.open()
    task = rig.task(hold)
    for _ in range(8):
        await rig.run(agent, rig.call(task, {"gate": str(gate)}))
    gate.shut()
    calls = [rig.call(task, {"gate": str(gate), "x": x}) for x in range(count)]
    agent.assign("main", calls)
    await gate.reached(0)
    return gate, calls


@pytest.mark.not_on("dask", why="Dask does not give back what shares a task of its")
async def test_recall_hands_back_what_has_not_begun_of_the_batch_in_the_worker(rig: Rig, single: NodeAgent) -> None:
    gate, (first, *others) = await batch(rig, single, 600)
    single.recall([first.request, *(call.request for call in others)])
    await rig.ear.until(lambda: len(rig.ear.back) == len(others))
    gate.open()
    await rig.done([first])
    assert sorted(rig.ear.back) == [call.request for call in others]
    assert rig.result(first.request) == 0


async def test_cancel_of_a_batch_mate_that_waits_in_the_worker(rig: Rig, single: NodeAgent) -> None:
    gate, calls = await batch(rig, single, 4)
    single.cancel(calls[2].request)
    await rig.done(calls[2:3])
    gate.open()
    await rig.done(calls)
    states = [rig.ear.outcomes[call.request].state for call in calls]
    assert states == ["done", "done", "failed", "done"]


@pytest.mark.not_on("inline", why="it has no neighbour")
@pytest.mark.not_on("dask", why="Dask does not give back what shares a task of its")
async def test_call_stuck_behind_a_long_one_moves_to_an_idle_neighbour(rig: Rig, agent: NodeAgent) -> None:
    gate = rig.gate()
    task = rig.task(hold)
    free = str(rig.folder / "no such gate")
    for _ in range(8):
        await rig.run(agent, rig.call(task, {"gate": free}))
    calls = [rig.call(task, {"gate": str(gate) if x == 0 else free, "x": x}) for x in range(8)]
    agent.assign("main", calls)
    await rig.done(calls[1:])
    assert calls[0].request not in rig.ear.outcomes
    assert not rig.ear.back
    gate.open()
    await rig.done(calls[:1])
