"""Cancelling, time-outs, memory limits, and what is handed back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from contextlib import suppress

import pytest

from ec_jupyter.nodes.agent import Agent
from tests.nodes.rig import Rig, gone, number_in, wait_until


def hold(gate, x=0):
    while os.path.exists(gate):
        time.sleep(0.005)
    return x


def ident():
    return os.getpid()


def slumber():
    time.sleep(300)


def loop_in_c():
    # one call into C that holds the GIL for minutes
    return sum(range(10**12))


async def adrift():
    await asyncio.sleep(300)


def tenacious(path):
    while True:
        try:
            time.sleep(300)
        except KeyboardInterrupt:
            with open(path, "a") as file:
                file.write("caught\n")


def in_finally(path):
    try:
        time.sleep(300)
    finally:
        with open(path, "a") as file:
            file.write("caught\n")
        time.sleep(300)


def polite(path):
    try:
        time.sleep(300)
    except KeyboardInterrupt:
        with open(path, "a") as file:
            file.write("caught\n")
    return "as if nothing had been"


async def test_cancel_of_a_queued_call_ends_it_without_running(rig: Rig, single: Agent) -> None:
    gate = rig.folder / "gate"
    gate.touch()
    running, queued = rig.call(hold, {"gate": str(gate)}), rig.call(ident)
    single.assign("main", [running, queued])
    await rig.ear.until(lambda: running.request in rig.ear.begun)
    single.cancel(queued.request)
    outcome = rig.ear.outcomes[queued.request]
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert (outcome.error["kind"], outcome.error["type"]) == ("cancelled", "RequestCancelledError")
    assert queued.request not in rig.ear.begun
    gate.unlink()
    await rig.ear.until(lambda: running.request in rig.ear.outcomes)


@pytest.mark.parametrize(("function", "line"), [(slumber, "time.sleep(300)"), (adrift, "KeyboardInterrupt")])
async def test_cancel_interrupts_a_running_call_and_its_worker_goes_on(
    rig: Rig, single: Agent, function: object, line: str
) -> None:
    before = rig.call(ident)
    await rig.run(single, before)
    call = rig.call(function, socket="slow")
    single.assign("main", [call])
    await wait_until(lambda: call.request in single.running())
    single.cancel(call.request)
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    error = rig.ear.outcomes[call.request].error
    assert error is not None
    assert (error["kind"], error["message"]) == ("cancelled", "'slow' was cancelled")
    assert line in error["traceback"]
    assert "ec_jupyter" not in error["traceback"]
    after = rig.call(ident)
    await rig.run(single, after)
    assert rig.result(before.request) == rig.result(after.request)


@pytest.mark.parametrize(("function", "killed"), [(tenacious, True), (in_finally, True), (polite, False)])
async def test_call_that_goes_on_after_the_interrupt_is_killed_after_the_grace(
    rig: Rig, single: Agent, function: object, killed: bool
) -> None:
    call = rig.call(function, {"path": str(rig.folder / "caught")})
    single.assign("main", [call])
    await wait_until(lambda: call.request in single.running())
    single.cancel(call.request)
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    outcome = rig.ear.outcomes[call.request]
    assert outcome.error is not None
    assert outcome.error["kind"] == "cancelled"
    assert ("SIGKILL" in outcome.error.get("exit", "")) == killed
    assert (rig.folder / "caught").read_text() == "caught\n"
    assert not rig.ear.dead


async def test_cancel_ends_a_loop_in_c(rig: Rig, single: Agent) -> None:
    call = rig.call(loop_in_c)
    single.assign("main", [call])
    await wait_until(lambda: call.request in single.running())
    single.cancel(call.request)
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
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


async def test_time_out_fails_the_call_and_kills_a_grandchild(rig: Rig, single: Agent) -> None:
    path = rig.folder / "pid"
    call = rig.call(grandchild, {"path": str(path)}, timeout=0.3)
    outcome = await rig.run(single, call)
    assert outcome.error is not None
    assert (outcome.error["kind"], outcome.error["type"]) == ("timeout", "RequestTimeoutError")
    assert outcome.error["message"] == "'grandchild' ran longer than 0.3 s"
    pid = number_in(path)
    assert pid is not None
    await wait_until(lambda: gone(pid))


def maybe_slow(x):
    if x == 5:
        time.sleep(300)
    return x


async def test_time_out_in_a_batch_leaves_its_mates_alone(rig: Rig, single: Agent) -> None:
    task = rig.task(maybe_slow)
    for _ in range(8):
        await rig.run(single, rig.call(task, {"x": 1}))
    calls = [rig.call(task, {"x": x}, timeout=0.3, socket="maybe_slow") for x in range(12)]
    single.assign("main", calls)
    await rig.ear.until(lambda: {call.request for call in calls} <= set(rig.ear.outcomes))
    assert [rig.ear.outcomes[call.request].state for call in calls] == ["done"] * 5 + ["failed"] + ["done"] * 6
    assert not rig.ear.back


def eat(count):
    held = bytearray(count)
    time.sleep(300)
    return len(held)


async def test_call_over_its_memory_is_killed_and_named(rig: Rig, single: Agent) -> None:
    call = rig.call(eat, {"count": 400 << 20}, memory=200 << 20)
    outcome = await rig.run(single, call)
    assert outcome.error is not None
    assert (outcome.error["kind"], outcome.error["type"]) == ("memory", "MemoryLimitError")
    assert "'eat' grew to" in outcome.error["message"]
    assert "(limit 200.0 MiB)" in outcome.error["message"]
    assert (await rig.run(single, rig.call(ident))).state == "done"


async def test_recall_hands_back_what_has_not_begun_and_lets_the_rest_run(rig: Rig, single: Agent) -> None:
    gate = rig.folder / "gate"
    task = rig.task(hold)
    for _ in range(8):
        await rig.run(single, rig.call(task, {"gate": str(gate)}))
    gate.touch()
    # one batch in the worker, and others in the agent's queue
    calls = [rig.call(task, {"gate": str(gate), "x": x}) for x in range(600)]
    single.assign("main", calls)
    first, *others = [call.request for call in calls]
    await wait_until(lambda: first in single.running())
    single.recall([first, *others])
    await rig.ear.until(lambda: len(rig.ear.back) == len(others))
    assert sorted(rig.ear.back) == others
    gate.unlink()
    await rig.ear.until(lambda: first in rig.ear.outcomes)
    assert rig.result(first) == 0
    # what was handed back can come again
    single.assign("main", calls[1:])
    await rig.ear.until(lambda: set(others) <= set(rig.ear.outcomes))


async def test_cancel_of_a_batch_mate_that_waits_in_the_worker(rig: Rig, single: Agent) -> None:
    gate = rig.folder / "gate"
    task = rig.task(hold)
    for _ in range(8):
        await rig.run(single, rig.call(task, {"gate": str(gate)}))
    gate.touch()
    calls = [rig.call(task, {"gate": str(gate), "x": x}) for x in range(4)]
    single.assign("main", calls)
    await wait_until(lambda: calls[0].request in single.running())
    single.cancel(calls[2].request)
    await rig.ear.until(lambda: calls[2].request in rig.ear.outcomes)
    gate.unlink()
    await rig.ear.until(lambda: {call.request for call in calls} <= set(rig.ear.outcomes))
    states = [rig.ear.outcomes[call.request].state for call in calls]
    assert states == ["done", "done", "failed", "done"]


async def test_call_stuck_behind_a_long_one_moves_to_an_idle_neighbour(rig: Rig, agent: Agent) -> None:
    gate = rig.folder / "gate"
    task = rig.task(hold)
    for _ in range(8):
        await rig.run(agent, rig.call(task, {"gate": str(gate)}))
    gate.touch()
    free = str(rig.folder / "no such gate")
    calls = [rig.call(task, {"gate": str(gate) if x == 0 else free, "x": x}) for x in range(8)]
    agent.assign("main", calls)
    await rig.ear.until(lambda: {call.request for call in calls[1:]} <= set(rig.ear.outcomes))
    assert calls[0].request not in rig.ear.outcomes
    assert not rig.ear.back
    gate.unlink()
    await rig.ear.until(lambda: calls[0].request in rig.ear.outcomes)
