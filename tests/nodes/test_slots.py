"""Resizing, idle exit, CPU limits, and the order in which calls leave."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import numpy
import psutil
import pytest

from ec_jupyter.nodes.local import handles, processes
from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.nodes.values import load
from ec_jupyter.nodes.worker.invoke import TASKS_KEPT
from ec_jupyter.wire import Outcome
from tests.nodes.rig import Ear, Rig, gone, slots, wait_until
from tests.nodes.tasks import echo, hold, ident, logged


async def test_slot_too_many_ends_after_the_call_it_runs(rig: Rig, agent: Agent) -> None:
    gate = rig.gate()
    calls = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(6)]
    agent.assign("main", calls)
    await gate.reached(0, 1)
    assert agent.busy == 2
    agent.processor("main", 1)
    gate.open()
    await rig.done(calls)
    await wait_until(lambda: len(slots(agent)) == 1)
    await wait_until(lambda: agent.busy == 0)


async def test_batches_survive_resizing_under_load(rig: Rig, agent: Agent) -> None:
    task = rig.task(echo)
    calls = [rig.call(task, {"x": x}) for x in range(6000)]
    for x in range(0, 6000, 600):
        agent.assign("main", calls[x : x + 600])
        agent.processor("main", (x // 600) % 3)
        await rig.ear.until(lambda x=x: len(rig.ear.outcomes) >= x // 2 or (x // 600) % 3 == 0)
    agent.processor("main", 2)
    await rig.ear.until(lambda: len(rig.ear.outcomes) == 6000)
    assert [rig.result(call.request) for call in calls[::97]] == list(range(0, 6000, 97))
    assert not rig.ear.back


async def test_worker_keeps_its_cpu_between_lone_calls_until_another_processor_wants_it_or_it_is_let_go(
    rig: Rig,
) -> None:
    agent = await rig.start(cpus=1)
    for name in ("main", "other"):
        agent.processor(name, 1)
    for name in ("main", "other"):
        await rig.run(agent, rig.call(ident), name)
    assert agent.busy == 0
    task = rig.task(ident)
    for name in ("main", "main", "other", "main"):
        call = rig.call(task)
        began = agent.start_now(name, call)
        await rig.done([call])
        # at once, whoever had the one CPU before
        assert began is not None
        assert began[2] == rig.result(call.request)
        assert agent.busy == 1
    call = rig.call(task)
    agent.assign("other", [call])
    assert call.request not in rig.ear.outcomes
    agent.let_go()
    await rig.done([call])
    await wait_until(lambda: agent.busy == 0)


async def test_idle_worker_ends_and_the_next_call_starts_another(rig: Rig) -> None:
    agent = await rig.start(idle=0.05)
    agent.processor("main", 1)
    pids = set()
    for _ in range(3):
        call = rig.call(ident)
        await rig.run(agent, call)
        pids.add(rig.result(call.request))
        await wait_until(lambda: slots(agent)[0].state == "cold")
    assert len(pids) == 3
    for pid in pids:
        await wait_until(lambda pid=pid: gone(pid))
    assert not rig.ear.back
    assert not rig.ear.troubles


async def test_call_that_meets_the_idle_exit_is_not_lost(rig: Rig) -> None:
    agent = await rig.start(idle=0.02)
    agent.processor("main", 1)
    for _ in range(4):
        await rig.run(agent, rig.call(ident))
        await wait_until(lambda: slots(agent)[0].state != "ready")
        await rig.run(agent, rig.call(ident))
    assert len(rig.ear.outcomes) == 8
    assert not rig.ear.back


async def test_warm_starts_a_worker_before_there_is_a_call(rig: Rig, agent: Agent) -> None:
    agent.warm("main")
    await wait_until(lambda: [slot.state for slot in slots(agent)] == ["ready", "cold"])
    await rig.run(agent, rig.call(ident))
    assert rig.ear.outcomes[1].pid == slots(agent)[0].pid


def limits():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return [os.environ.get(name) for name in names], sorted(os.sched_getaffinity(0)), os.getcwd()


async def test_each_slot_has_its_own_cpu_and_libraries_one_thread(
    rig: Rig, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "7")  # set by the user, hence left alone
    cpus = sorted(os.sched_getaffinity(0))[:2]
    gate = rig.gate()
    blocker = rig.call(hold, {"gate": str(gate)})
    agent.assign("main", [blocker])
    await rig.ear.until(lambda: rig.ear.begun)
    call = rig.call(limits)
    await rig.run(agent, call)
    gate.open()
    await rig.ear.until(lambda: blocker.request in rig.ear.outcomes)
    environment, pinned, folder = rig.result(call.request)
    assert environment == ["1", "1", "7"]
    assert pinned == [cpus[1]]
    assert folder == str(rig.folder)


async def test_slots_are_not_pinned_where_processors_overlap_and_always_where_the_user_says(rig: Rig) -> None:
    agent = await rig.start()
    every = sorted(os.sched_getaffinity(0))
    agent.processor("main", 2)
    alone = rig.call(limits)
    await rig.run(agent, alone)
    assert rig.result(alone.request)[1] == every[:1]
    agent.processor("other", 2)
    agent.processor("fixed", 1, affinity=[every[-1]])
    shared, fixed = rig.call(limits), rig.call(limits)
    await rig.run(agent, shared)
    await rig.run(agent, fixed, "fixed")
    assert rig.result(shared.request)[1] == every
    assert rig.result(fixed.request)[1] == every[-1:]


async def test_call_of_two_threads_gets_two_and_takes_two_cpus(rig: Rig, agent: Agent) -> None:
    await rig.run(agent, rig.call(ident))
    wide = rig.call(limits, threads=2)
    await rig.run(agent, wide)
    environment, pinned, _ = rig.result(wide.request)
    assert environment[0] == "2"
    assert pinned == sorted(os.sched_getaffinity(0))


def blas_threads():
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    with open("/proc/self/maps") as file:
        (path,) = {line.split()[-1] for line in file if "openblas" in line}
    library = ctypes.CDLL(path)
    names = [f"{h}openblas_get_num_threads{t}" for h in ("", "scipy_") for t in ("", "64_", "_64")]
    (count,) = [getattr(library, name)() for name in names if hasattr(library, name)]
    return os.getpid(), count, os.environ["OMP_NUM_THREADS"]


async def test_call_has_as_many_blas_threads_as_it_takes_whatever_ran_before_in_its_process(
    rig: Rig, agent: Agent
) -> None:
    calls = [rig.call(blas_threads, threads=threads) for threads in (2, 1, 1, 2, 1)]
    for call in calls:
        await rig.run(agent, call)
    results = [rig.result(call.request) for call in calls]
    assert [(count, variable) for _, count, variable in results] == [(n, str(n)) for n in (2, 1, 1, 2, 1)]
    assert len({pid for pid, _, _ in results}) < len(calls)


async def test_running_calls_of_all_processors_never_take_more_cpus_than_the_node_has(rig: Rig) -> None:
    agent = await rig.start(cpus=2)
    threads = {"a": 1, "b": 1, "c": 2}
    for name in threads:
        agent.processor(name, 2)
    log = rig.folder / "log"
    calls = []
    for _ in range(12):
        for name, count in threads.items():
            calls.append(rig.call(logged, {"log": str(log), "x": count}, threads=count))
            agent.assign(name, calls[-1:])
    await rig.ear.until(lambda: len(rig.ear.outcomes) == len(calls))
    running = peak = 0
    for line in log.read_text().split():
        running += int(line)
        peak = max(peak, abs(running))
    # a line is +n where a call begins and -n where it ends
    assert peak == 2
    assert agent.busy == 0


async def test_room_grows_with_short_calls_and_is_told(rig: Rig, agent: Agent) -> None:
    assert agent.room("main") == 4
    assert agent.room("nowhere") == 0
    task = rig.task(echo)
    # on a busy machine one of them may take long
    for _ in range(1000):
        await rig.run(agent, rig.call(task, {"x": 1}))
        if agent.room("main") > 100:
            break
    assert agent.room("main") > 100
    assert rig.ear.rooms > 0


def nested(n):
    from loky import get_reusable_executor

    return sorted(get_reusable_executor(max_workers=2).map(abs, range(-n, 0)))


def forked(n):
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, range(-n, 0))


@pytest.mark.parametrize("function", [nested, forked])
async def test_task_may_use_a_pool_of_its_own(rig: Rig, single: Agent, function: object) -> None:
    call = rig.call(function, {"n": 3})
    await rig.run(single, call)
    assert sorted(rig.result(call.request)) == [1, 2, 3]


async def test_call_too_large_for_a_frame_fails_and_the_slot_goes_on(
    rig: Rig, single: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.run(single, rig.call(ident))
    monkeypatch.setattr("ec_jupyter.wire.MAX_FRAME_BYTES", 20_000)
    outcome = await rig.run(single, rig.call(echo, {"x": b"x" * 30_000}))
    assert outcome.error is not None
    assert "over the limit of 20000" in outcome.error["message"]
    assert (await rig.run(single, rig.call(ident))).state == "done"
    assert single.busy == 0


async def test_worker_that_connects_while_the_agent_ends_hears_of_the_end(rig: Rig) -> None:
    agent = await rig.start()
    (address,) = rig.runtime.glob("*.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.setblocking(False)
        line.connect(str(address))
        # the connection is taken, and nobody has looked at it
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await agent.close()
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(line, 1) == b""


async def test_worker_that_had_to_forget_a_task_gets_it_once_more(rig: Rig, single: Agent) -> None:
    def task(number: int) -> str:
        return rig.task(lambda: number)

    first = task(-1)
    for sha256 in (first, *map(task, range(TASKS_KEPT + 1)), first, first):
        await rig.run(single, rig.call(sha256))
    assert rig.ear.asked.count(first) == 2


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """Leaves this process open files for so many workers."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave(workers: int) -> None:
        files = len(os.listdir("/dev/fd")) + workers * handles.SLOT_HANDLES + 2
        most = next(n for n in range(files, 4 * files) if n - min(handles.RESERVE, n // 8) >= files)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))

    yield leave
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_idle_workers_give_their_files_to_those_who_need_them(rig: Rig, room: Callable[[int], None]) -> None:
    agent = await rig.start()
    for n in range(6):
        agent.processor(f"p{n}", 1)
    room(2)
    for _ in range(2):
        for n in range(6):
            await rig.run(agent, rig.call(ident), f"p{n}")
    assert len(rig.ear.outcomes) == 12
    assert not rig.ear.dead
    assert not rig.ear.back
    states = [slot.state for n in range(6) for slot in slots(agent, f"p{n}")]
    assert states.count("cold") >= 4


async def test_used_worker_gives_its_files_to_that_of_a_fresh_call(rig: Rig, room: Callable[[int], None]) -> None:
    agent = await rig.start()
    agent.processor("main", 2)
    room(1)
    calls = [rig.call(ident, fresh=fresh) for fresh in (False, True, False)]
    for call in calls:
        await rig.run(agent, call)
    assert len({rig.result(call.request) for call in calls}) == 3


async def test_calls_that_find_no_files_for_a_worker_wait_and_say_so(rig: Rig, room: Callable[[int], None]) -> None:
    agent = await rig.start()
    agent.processor("busy", 1)
    agent.processor("late", 1)
    gate = rig.gate()
    room(1)
    held, waits = rig.call(hold, {"gate": str(gate), "x": 0}), rig.call(ident)
    agent.assign("busy", [held])
    await gate.reached(0)
    agent.assign("late", [waits])
    await rig.ear.until(lambda: rig.ear.troubles)
    assert re.search(r"all \d+ files are open .*ulimit -n.*; its calls wait", rig.ear.troubles[0])
    gate.open()
    await rig.done([held, waits])
    assert len(rig.ear.troubles) == 1


async def test_calls_that_find_no_memory_for_a_worker_wait_and_say_so(rig: Rig) -> None:
    agent = await rig.start()
    agent.processor("main", 1)
    call = rig.call(ident)
    before = resource.getrlimit(resource.RLIMIT_AS)
    # enough for anything but the stack of another thread
    threading.stack_size(256 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (64 << 20), before[1]))
    try:
        agent.assign("main", [call])
        await rig.ear.until(lambda: rig.ear.troubles)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        threading.stack_size(0)
    assert re.search(r"no memory for another process: .* \(ulimit -v\); its calls wait", rig.ear.troubles[0])
    await rig.done([call])


async def test_a_worker_that_has_no_process_takes_no_open_file_and_no_thread(rig: Rig) -> None:
    agent = await rig.start(idle=0.05)
    before = len(os.listdir("/dev/fd")), threading.active_count()
    for n in range(20):
        agent.processor(f"p{n}", 2)
    assert (len(os.listdir("/dev/fd")), threading.active_count()) == before


async def test_a_process_that_finds_no_open_file_says_that(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await rig.start()
    agent.processor("main", 1)
    call = rig.call(ident)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # as where something else has taken them since they were counted
    monkeypatch.setattr(handles, "left", lambda: 1000)
    taken = {int(fd) for fd in os.listdir("/dev/fd")}
    # four are free, whatever else this process has open
    most = [fd for fd in range(max(taken) + 6) if fd not in taken][4]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        agent.assign("main", [call])
        await rig.ear.until(lambda: rig.ear.troubles)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "Too many open files" in rig.ear.troubles[0]
    assert "UnboundLocalError" not in rig.ear.troubles[0]


async def test_a_process_that_does_not_come_up_and_does_not_end_is_told_of(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a Python that waits in its start-up, as on a disk that does not answer
    gate = rig.folder / "start"
    os.mkfifo(gate)
    (rig.folder / "sitecustomize.py").write_text(f"open({str(gate)!r}).close()")
    monkeypatch.setattr(processes, "SLOW_SECONDS", 0.2)
    monkeypatch.setenv("PYTHONPATH", str(rig.folder))
    agent = await rig.start()
    agent.processor("main", 1)
    call = rig.call(ident)
    agent.assign("main", [call])
    await rig.ear.until(lambda: rig.ear.troubles)
    assert "has been starting for 0.2 s and says nothing" in rig.ear.troubles[0]
    both_ends = os.open(gate, os.O_RDWR)  # whoever waits goes on
    (rig.folder / "shut").touch()
    (rig.folder / "shut").replace(gate)
    os.close(both_ends)
    await rig.done([call])


def leaking():
    os.chdir("/")
    os.environ["EC_TEST_LEAK"] = "1"
    os.environ.pop("HOME", None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def found():
    return os.getpid(), os.getcwd(), os.environ.get("EC_TEST_LEAK"), "HOME" in os.environ


async def test_call_finds_folder_environment_and_signal_as_they_were_before_another_changed_them(
    rig: Rig, agent: Agent
) -> None:
    before, after, endless = rig.call(found), rig.call(found), rig.call(hold, {"gate": str(rig.gate()), "x": 0})
    agent.processor("main", 1)
    for call in (before, rig.call(leaking), after):
        await rig.run(agent, call)
    assert rig.result(after.request) == rig.result(before.request)
    agent.assign("main", [endless])
    await wait_until(lambda: endless.request in agent.running())
    agent.cancel(endless.request)
    await rig.ear.until(lambda: endless.request in rig.ear.outcomes)
    # interrupted, not killed: the process is the same
    last = rig.call(found)
    await rig.run(agent, last)
    assert rig.result(last.request) == rig.result(before.request)


def forks(how):
    pid = os.fork()
    if pid == 0:
        if how == "raises":
            raise LookupError("in the child")
        return numpy.zeros(100_000) if how == "large" else "child"
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("large", 0), ("raises", 1)])
async def test_child_that_a_task_forks_and_that_returns_ends_without_a_word(
    rig: Rig, agent: Agent, how: str, code: int
) -> None:
    agent.processor("main", 1)
    call, after = rig.call(forks, {"how": how}), rig.call(ident)
    await rig.run(agent, call)
    assert rig.result(call.request) == code
    await rig.run(agent, after)
    assert rig.result(after.request) == rig.ear.outcomes[call.request].pid
    assert len(rig.ear.outcomes) == 2


def forks_while_it_yields(how):
    yield "before"
    if os.fork() == 0:
        if how == "raises":
            raise LookupError("in the child")
        if how == "yields":
            yield "in the child"
        return
    yield os.waitstatus_to_exitcode(os.wait()[1])


async def forks_while_others_wait(how):
    yield "before"
    ended = asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.2)
    if os.fork() == 0:
        if how == "raises":
            raise LookupError("in the child")
        if how == "yields":
            yield "in the child"
        return
    await ended
    yield os.waitstatus_to_exitcode(os.wait()[1])


@pytest.mark.parametrize("function", [forks_while_it_yields, forks_while_others_wait])
@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("yields", 0), ("raises", 1)])
async def test_child_that_a_generator_forks_ends_without_a_word(
    rig: Rig, single: Agent, function: Any, how: str, code: int
) -> None:
    call, after = rig.call(function, {"how": how}), rig.call(ident)
    await rig.run(single, call)
    assert [load(value, rig.values) for _, value in rig.ear.yields[call.request]] == ["before", code]
    assert rig.ear.outcomes[call.request].emitted == 2
    await rig.run(single, after)
    assert rig.result(after.request) == rig.ear.outcomes[call.request].pid


def patricide():
    os.kill(os.getppid(), signal.SIGKILL)


async def test_task_that_would_kill_what_its_worker_belongs_to_fails(rig: Rig, agent: Agent) -> None:
    call = rig.call(patricide)
    await rig.run(agent, call)
    assert "a task cannot end process" in rig.ear.outcomes[call.request].error["message"]


async def test_results_of_quick_calls_do_not_wait_for_a_slow_one_that_left_with_them(rig: Rig, single: Agent) -> None:
    open_gate, gate = str(rig.folder / "open"), rig.gate()
    for x in range(5):
        # known to be quick, so that those that follow leave together
        await rig.run(single, rig.call(hold, {"gate": open_gate, "x": x}))
    quick = [rig.call(hold, {"gate": open_gate, "x": x}) for x in range(5)]
    slow, behind = rig.call(hold, {"gate": str(gate), "x": 9}), rig.call(hold, {"gate": open_gate, "x": 10})
    single.assign("main", [*quick, slow, behind])
    await rig.done(quick)
    assert slow.request not in rig.ear.outcomes
    gate.open()
    await rig.done([slow, behind])
    assert [rig.result(call.request) for call in (*quick, slow, behind)] == [0, 1, 2, 3, 4, 9, 10]


async def test_calls_of_several_sockets_that_leave_together_run_in_the_order_they_came(rig: Rig, single: Agent) -> None:
    warm, log = rig.folder / "warm", rig.folder / "log"
    for x in range(5):
        await rig.run(single, rig.call(logged, {"log": str(warm), "x": x}, socket="ab"[x % 2]))
    calls = [rig.call(logged, {"log": str(log), "x": x}, socket="aab"[x % 3]) for x in range(20)]
    single.assign("main", calls)
    await rig.done(calls)
    assert [rig.result(call.request) for call in calls] == list(range(20))
    assert log.read_text().split() == [f"{sign}{x}" for x in range(20) for sign in "+-"]


class Anew(Ear):
    """Takes the end of an attempt that was given up, and of the one after it."""

    def finished(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.outcomes.pop(outcome.request, None)
        super().finished(outcomes)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_end_of_an_attempt_that_was_given_up_does_not_take_the_next_one_off(rig: Rig, fails: bool) -> None:
    rig.ear = Anew()
    agent = await rig.start(1)
    agent.processor("main", 1)
    gate, broken = rig.gate(), rig.folder / "broken"

    def passed(shut: str, broken: Any) -> str:
        while os.path.exists(shut):
            time.sleep(0.01)
        if broken.exists():
            broken.unlink()
            raise ValueError("the first attempt")
        return "done"

    given = {"shut": str(gate), "broken": broken}
    gate.open()
    short = [rig.call(passed, given) for _ in range(50)]
    agent.assign("main", short)
    await rig.done(short)
    # of calls that are known to be short the worker has the next one while it runs one
    gate.shut()
    if fails:
        broken.touch()
    first = rig.call(passed, given)
    again = copy(first)
    again.attempt = 2
    agent.assign("main", [first])
    await rig.ear.until(lambda: first.request in rig.ear.begun)
    agent.assign("main", [again])
    gate.open()
    await rig.ear.until(lambda: first.request in rig.ear.outcomes and rig.ear.outcomes[first.request].attempt == 2)
    assert rig.result(again.request) == "done"
