"""Calls of an `async def` that run beside each other in one worker (`concurrent=`)."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ec_jupyter as ec
from ec_jupyter.nodes.worker.blame import calls_left
from ec_jupyter.wire import Call
from tests.nodes.rig import Gate, Rig, number_in, wait_until
from tests.nodes.tasks import echo, hold

if TYPE_CHECKING:  # tasks of these tests are found on hosts that have not the engine
    from ec_jupyter.nodes.agents import NodeAgent

pytestmark = [
    pytest.mark.every_node,
    pytest.mark.not_on("inline", "dask", why="calls there share no event loop of ours; a flow refuses the socket"),
]


async def stand(gate, x=0):
    """Stand at a gate until it is open; see `rig.Gate`."""
    if os.path.exists(gate):
        with open(f"{gate}-{x}", "w") as file:
            file.write(f"{os.getpid()}\n")
    while os.path.exists(gate):
        await asyncio.sleep(0.005)
    return x


async def quick(x=0):
    await asyncio.sleep(0)
    return x


def beside(rig: Rig, function: Any, given: dict[str, Any] | None = None, **options: Any) -> Call:
    return rig.call(function, given, **{"concurrent": 100, "socket": "fetch", **options})


def standing(rig: Rig, gate: Gate, n: int, **options: Any) -> list[Call]:
    task = rig.task(stand)
    return [beside(rig, task, {"gate": str(gate), "x": x}, **options) for x in range(n)]


async def test_as_many_as_may_run_at_once_in_one_process_and_results_come_as_they_are_ready(
    rig: Rig, single: NodeAgent
) -> None:
    gate = rig.gate()
    calls = standing(rig, gate, 40, concurrent=37)
    late = [beside(rig, quick, {"x": x}, concurrent=37) for x in range(3)]
    single.assign("main", calls)
    await gate.reached(*range(37))
    assert len({Path(f"{gate}-{x}").read_text() for x in range(37)}) == 1
    await rig.ear.until(lambda: len(single.running()) == 37)
    assert set(single.running()) == {call.request for call in calls[:37]}
    assert rig.ear.begun == [call.request for call in calls[:37]]
    single.cancel(calls[0].request)
    await rig.done(calls[:1])
    # its place is the next one's, while the others stand
    await gate.reached(37)
    single.assign("main", late)
    gate.open()
    await rig.done([*calls, *late])
    assert [rig.result(call.request) for call in calls[1:]] == list(range(1, 40))
    assert [rig.result(call.request) for call in late] == [0, 1, 2]


async def test_a_quick_call_does_not_wait_for_slow_ones_beside_it(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    slow = standing(rig, gate, 5)
    single.assign("main", slow)
    await gate.reached(*range(5))
    fast = beside(rig, quick, {"x": 7})
    await rig.run(single, fast)
    assert rig.result(fast.request) == 7
    assert not {call.request for call in slow} & rig.ear.outcomes.keys()
    gate.open()
    await rig.done(slow)


async def tells(x, wait):
    log = logging.getLogger("overlap")
    for step in range(10):
        print(f"{x}:{step}")  # noqa: T201
        log.warning("%s:%s", x, step)
        os.write(1, f"{x}.{step}\n".encode())
        await asyncio.sleep(wait)
    await asyncio.gather(*(part(x, step) for step in range(2)))
    await asyncio.to_thread(print, f"{x}:thread")
    for _ in ec.progress(range(3), text=f"of {x}"):
        await asyncio.sleep(wait)
    return ec.current()


async def part(x, step):
    await asyncio.sleep(0)
    print(f"{x}:part {step}")  # noqa: T201


async def test_what_overlapping_calls_say_is_told_apart(rig: Rig, single: NodeAgent) -> None:
    task = rig.task(tells)
    calls = [beside(rig, task, {"x": x, "wait": 0.001 * (x % 3)}) for x in range(20)]
    single.assign("main", calls)
    await rig.done(calls)
    for x, call in enumerate(calls):
        here = rig.result(call.request)
        assert (here.request_id, here.run_id, here.attempt, here.socket) == (call.request, call.run, 1, "fetch")
        said = rig.ear.printed[call.request, "stdout"].splitlines()
        steps = {f"{x}{mark}{step}" for step in range(10) for mark in ":."}
        assert sorted(said) == sorted(steps | {f"{x}:part 0", f"{x}:part 1", f"{x}:thread"})
        logged = rig.ear.printed[call.request, "log"].splitlines()
        assert logged == [f"WARNING overlap: {x}:{step}" for step in range(10)]
        shown = [text for request, _, _, text in rig.ear.shown if request == call.request]
        assert set(shown) == {f"of {x}"}


async def sleeps(path, x):
    try:
        await asyncio.sleep(0.05 if x else 300)
    except asyncio.CancelledError:
        with open(path, "a") as file:
            file.write(f"{x}\n")
        raise
    return x


async def test_a_call_that_takes_too_long_is_cancelled_alone(rig: Rig, single: NodeAgent) -> None:
    task, path = rig.task(sleeps), rig.folder / "cancelled"
    calls = [beside(rig, task, {"path": str(path), "x": x}, timeout=0.5) for x in range(10)]
    single.assign("main", calls)
    await rig.done(calls)
    error = rig.ear.outcomes[calls[0].request].error
    assert error is not None
    assert (error["kind"], error["type"]) == ("timeout", "RequestTimeoutError")
    assert path.read_text() == "0\n"
    assert [rig.result(call.request) for call in calls[1:]] == list(range(1, 10))
    assert len(rig.ear.pids) == 1


async def blocks(x):
    time.sleep(300)


async def test_a_cancelled_call_that_blocks_the_loop_is_interrupted(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    slow, block = standing(rig, gate, 3), beside(rig, blocks, {"x": 0})
    single.assign("main", [*slow, block])
    await gate.reached(*range(3))
    single.cancel(block.request)
    await rig.done([block])
    gate.open()
    await rig.done(slow)
    assert (rig.ear.outcomes[block.request].error or {})["kind"] == "cancelled"
    # the same process: none of the others has begun anew
    assert len(rig.ear.pids) == 1
    assert not rig.ear.dead


async def deaf(path):
    Path(path).write_text("1\n")
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(300)


async def test_a_call_that_cannot_be_cancelled_ends_with_its_worker_and_the_others_run_again_uncharged(
    rig: Rig, single: NodeAgent
) -> None:
    gate, path = rig.gate(), rig.folder / "deaf"
    slow, stuck = standing(rig, gate, 3), beside(rig, deaf, {"path": str(path)})
    single.assign("main", [*slow, stuck])
    await gate.reached(*range(3))
    await wait_until(path.exists)
    single.cancel(stuck.request)
    await rig.done([stuck])
    gate.open()
    await rig.done(slow)
    assert [rig.result(call.request) for call in slow] == [0, 1, 2]
    assert (rig.ear.outcomes[stuck.request].error or {})["kind"] == "cancelled"
    assert not rig.ear.dead
    assert not rig.ear.back


async def wrong(x):
    await asyncio.sleep(0)
    raise ValueError(f"no {x}")


async def leaves(path, x):
    asyncio.create_task(sleeps(path, 0))  # noqa: RUF006 - that is the point
    await asyncio.sleep(0)
    return x


async def exits(x):
    await asyncio.gather(quits(), return_exceptions=True)


async def quits():
    await asyncio.sleep(0)
    raise SystemExit(3)


async def large(x):
    await asyncio.sleep(0)
    return bytes([x]) * 3_000_000


async def counts(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i * n


async def test_each_call_has_its_own_result_or_failure(rig: Rig, single: NodeAgent) -> None:
    bad = [beside(rig, wrong, {"x": x}) for x in range(3)]
    left = rig.folder / "left"
    loose = [beside(rig, leaves, {"path": str(left), "x": x}) for x in range(3)]
    ended = [beside(rig, exits, {"x": x}) for x in range(2)]
    big = [beside(rig, large, {"x": x}) for x in range(3)]
    several = [beside(rig, counts, {"n": n}) for n in range(1, 4)]
    single.assign("main", [*bad, *loose, *ended, *big, *several])
    await rig.done([*bad, *loose, *ended, *big, *several])
    for x, call in enumerate(bad):
        error = rig.ear.outcomes[call.request].error or {}
        assert (error["type"], error["message"]) == ("ValueError", f"no {x}")
        assert "in wrong" in error["traceback"]
        assert "ec_jupyter" not in error["traceback"]
    assert [rig.result(call.request) for call in loose] == [0, 1, 2]
    # what they had begun and not awaited has ended with them
    assert left.read_text() == "0\n" * 3
    assert all(call.request in rig.ear.outcomes for call in ended)
    assert [rig.result(call.request) for call in big] == [bytes([x]) * 3_000_000 for x in range(3)]
    for n, call in enumerate(several, 1):
        assert rig.ear.outcomes[call.request].emitted == n
        assert [index for index, _ in rig.ear.yields[call.request]] == list(range(n))
    assert len(rig.ear.pids) == 1


async def crashes(how):
    await asyncio.sleep(0.01)
    if how == "exit":
        os._exit(3)
    ctypes.string_at(0)


@pytest.mark.parametrize("how", ["exit", "crash"])
async def test_a_call_that_ends_its_worker_is_charged_and_no_other(rig: Rig, single: NodeAgent, how: str) -> None:
    gate = rig.gate()
    slow = standing(rig, gate, 20)
    single.assign("main", slow)
    await gate.reached(*range(20))
    bad = beside(rig, crashes, {"how": how})
    single.assign("main", [bad])
    await rig.ear.until(lambda: bad.request in rig.ear.dead)
    gate.open()
    await rig.done(slow)
    assert list(rig.ear.dead) == [bad.request]
    assert [rig.result(call.request) for call in slow] == list(range(20))


async def kills(folder, x, bad):
    with open(f"{folder}/ran", "a") as file:
        file.write(f"{x}\n")
    if x == bad:
        # nobody sees who it was: it is killed from outside, while none of them has its turn
        program = f"sleep 0.1; kill -9 {os.getpid()}"
        subprocess.Popen(["sh", "-c", program], start_new_session=True)
        await asyncio.sleep(300)
    await asyncio.sleep(0.3)
    return x


async def test_who_ends_a_worker_unseen_is_found_by_halves_and_no_other_is_charged(rig: Rig, single: NodeAgent) -> None:
    task = rig.task(kills)
    calls = [beside(rig, task, {"folder": str(rig.folder), "x": x, "bad": 5}) for x in range(8)]
    single.assign("main", calls)
    await rig.done([call for x, call in enumerate(calls) if x != 5])
    await rig.ear.until(lambda: calls[5].request in rig.ear.dead)
    assert list(rig.ear.dead) == [calls[5].request]
    ran = (rig.folder / "ran").read_text().split()
    # with eight, with four, with two, alone
    assert ran.count("5") == 4


async def computes(gate, x=0):
    hold(gate, x)
    return x


async def test_a_call_that_computes_while_its_worker_is_killed_from_outside_is_not_charged(
    rig: Rig, single: NodeAgent
) -> None:
    gate = rig.gate()
    calls = [*standing(rig, gate, 2), beside(rig, computes, {"gate": str(gate), "x": 9})]
    single.assign("main", calls)
    await gate.reached(0, 1, 9)
    pid = int(Path(f"{gate}-9").read_text())
    os.kill(pid, signal.SIGKILL)
    # one after the other: half of three is one
    await wait_until(lambda: {number_in(Path(f"{gate}-{x}")) for x in (0, 1, 9)} - {None, pid})
    gate.open()
    await rig.done(calls)
    assert [rig.result(call.request) for call in calls] == [0, 1, 9]
    assert not rig.ear.dead


async def test_calls_that_must_not_run_twice_fail_with_their_worker(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    calls = standing(rig, gate, 3, once=True)
    single.assign("main", calls)
    await gate.reached(*range(3))
    os.kill(int(Path(f"{gate}-0").read_text()), signal.SIGKILL)
    await rig.ear.until(lambda: len(rig.ear.dead) == 3)
    gate.open()
    assert sorted(rig.ear.dead) == [call.request for call in calls]


async def grows(path, x, bad):
    kept = bytearray(200_000_000 if x == bad else 1000)
    kept[::4096] = b"x" * len(kept[::4096])
    await asyncio.sleep(2 if x == bad else 0.2)
    return x


async def test_of_calls_that_grow_too_large_together_the_one_that_does_alone_fails(rig: Rig, single: NodeAgent) -> None:
    task = rig.task(grows)
    limit = 150_000_000
    calls = [beside(rig, task, {"path": "", "x": x, "bad": 2}, memory=limit) for x in range(4)]
    single.assign("main", calls)
    await rig.done(calls)
    assert (rig.ear.outcomes[calls[2].request].error or {})["kind"] == "memory"
    assert [rig.result(call.request) for x, call in enumerate(calls) if x != 2] == [0, 1, 3]
    assert not rig.ear.dead


async def test_calls_of_another_socket_have_the_cpu_once_those_that_run_have_ended(rig: Rig, single: NodeAgent) -> None:
    await rig.run(single, rig.call(echo, {"x": 0}))
    gate = rig.gate()
    first = standing(rig, gate, 3)
    plain = rig.call(echo, {"x": 1})
    behind = standing(rig, gate, 2)
    single.assign("main", first)
    await gate.reached(*range(3))
    single.assign("main", [plain, *behind])
    gate.open()
    await rig.done([*first, plain, *behind])
    assert rig.ear.begun[1:] == [call.request for call in (*first, plain, *behind)]


async def test_a_processor_that_waits_for_the_cpu_has_its_turn_before_calls_that_came_later(rig: Rig) -> None:
    agent = await rig.start(cpus=1)
    agent.processor("main", 1)
    agent.processor("other", 1)
    await rig.run(agent, rig.call(echo, {"x": 0}), "other")
    gate = rig.gate()
    first, behind = standing(rig, gate, 3), standing(rig, gate, 3)
    plain = rig.call(echo, {"x": 1})
    agent.assign("main", first)
    await gate.reached(*range(3))
    agent.assign("other", [plain])
    agent.assign("main", behind)
    gate.open()
    await rig.done([*first, plain, *behind])
    assert rig.ear.begun[1:] == [call.request for call in (*first, plain, *behind)]


async def test_a_new_version_runs_beside_calls_of_the_old_one(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    old = standing(rig, gate, 3)
    single.assign("main", old)
    await gate.reached(*range(3))
    new = beside(rig, tells, {"x": 1, "wait": 0})
    await rig.run(single, new)
    assert not {call.request for call in old} & rig.ear.outcomes.keys()
    gate.open()
    await rig.done(old)


@pytest.mark.not_on("ssh", why="the files are that host's")
async def test_the_next_agent_knows_all_that_ran_and_which_has_started_a_program(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    calls = standing(rig, gate, 5)
    starts = beside(rig, starts_program, {"gate": str(gate)})
    single.assign("main", [*calls, starts])
    await gate.reached(*range(5), 77)
    assert calls_left(rig.runtime) == {call.request: call is starts for call in (*calls, starts)}
    gate.open()
    await rig.done([*calls, starts])
    await wait_until(lambda: not set(calls_left(rig.runtime)) & {call.request for call in calls})


async def starts_program(gate):
    await (await asyncio.create_subprocess_exec("true")).wait()
    await stand(gate, 77)
