"""Flows of one user on one machine: together they run no more calls than it has CPUs, and none starves."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from ec_jupyter.nodes import cpu_locks
from ec_jupyter.nodes.cpu_locks import EXTRA, VARIABLE
from tests.nodes import neighbour
from tests.nodes.far import FarRig
from tests.nodes.neighbour import counted, inside, peak, some
from tests.nodes.rig import Rig, wait_until
from tests.nodes.tasks import add, hold

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine has two CPUs, whatever it has."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    cloudpickle.register_pickle_by_value(neighbour)
    yield
    cloudpickle.unregister_pickle_by_value(neighbour)


@pytest.fixture
def another() -> Iterator[Callable[[str, Path], subprocess.Popen[str]]]:
    """Starts agents of other flows; they end with the test."""
    started = []

    def start(what: str, log: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.nodes.neighbour", what, str(log)]
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate(timeout=60)


async def flow(rig: Rig, cpus: int = 2, **options: Any) -> Any:
    agent = await rig.start(cpus, shared=True)
    agent.processor("main", cpus, **options)
    return agent


async def test_two_flows_together_run_no_more_than_the_machine_has_cpus_and_both_get_on(
    rig: Rig, another: Callable[..., subprocess.Popen[str]]
) -> None:
    log = rig.folder / "log"
    process = another("some", log)
    await wait_until(log.exists)
    agent = await flow(rig)
    calls = some(rig, log, 60)
    agent.assign("main", calls)
    await rig.done(calls, 60)
    assert process.stdout is not None
    # not on the loop, which has yet to give the last call's CPUs back
    assert json.loads(await asyncio.to_thread(process.stdout.readline)) == ["done"] * 60
    assert peak(log) == 2
    assert len(log.read_text().split()) == 240


async def test_call_begins_when_that_of_another_flow_ends_and_it_is_known_why_it_waits(rig: Rig) -> None:
    first, second = await flow(rig), await flow(rig)
    gate = rig.gate()
    calls = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(2)]
    first.assign("main", calls)
    await gate.reached(0, 1)
    late = rig.call(add, {"one": 1})
    second.assign("main", [late])
    await wait_until(lambda: waits(second))
    assert (second.busy, second.others, unshared(second)) == (0, 2, None)
    assert (first.others, waits(first)) == (0, False)
    assert not second.running()
    gate.open()
    await rig.done([*calls, late])
    await wait_until(lambda: second.others == first.others == 0)
    assert not waits(second)


async def test_killed_flow_leaves_its_cpus(rig: Rig, another: Callable[..., subprocess.Popen[str]]) -> None:
    log = rig.folder / "log"
    process = another("inside", log)
    agent = await flow(rig)
    await wait_until(lambda: agent.others == 2)
    os.kill(process.pid, signal.SIGKILL)
    await wait_until(lambda: agent.others == 0)
    call = rig.call(add, {"one": 1}, threads=2)
    await rig.run(agent, call)
    assert rig.result(call.request) == 11


def waits(agent: Any) -> bool:
    """Whether calls there wait for CPUs that other agents use."""
    return bool(agent._locks._waits and unshared(agent) is None)


def unshared(agent: Any) -> str | None:
    """Why an agent shares no CPUs; None where it does."""
    trouble: str | None = agent._locks.trouble
    return trouble


def opened():
    """Lock files that are open here, in a process this one starts, and in one it forks."""
    import subprocess
    import sys
    from multiprocessing import get_context

    def here():
        links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
        return [link for link in links if link.startswith(os.environ["EC_CPUS_SHARED"])]

    code = "import os; print([os.path.realpath('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd')])"
    started = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    reader, writer = get_context("fork").Pipe(duplex=False)
    forked = get_context("fork").Process(target=lambda: writer.send(here()))
    forked.start()
    found = reader.recv() if reader.poll(60) else None
    forked.join(60)
    return len(here()), started.count(os.environ["EC_CPUS_SHARED"]), found


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not say which files are open")
async def test_lock_lasts_as_long_as_a_worker_of_the_agent_and_not_as_what_that_has_started(rig: Rig) -> None:
    agent = await flow(rig)
    call = rig.call(opened)
    await rig.run(agent, call)
    assert rig.result(call.request) == (2, 0, [])


async def test_call_of_two_threads_is_not_starved_by_another_flow_of_single_ones(
    rig: Rig, another: Callable[..., subprocess.Popen[str]]
) -> None:
    log = rig.folder / "log"
    another("inside", log)
    agent = await flow(rig)
    await wait_until(lambda: agent.others == 2)
    for _ in range(3):
        call = rig.call(inside, {"log": str(log), "x": 2}, threads=2)
        agent.assign("main", [call])
        await rig.done([call], 60)
    assert peak(log) == 2


async def test_flow_of_endless_short_calls_gives_way_and_goes_on(
    rig: Rig, another: Callable[..., subprocess.Popen[str]]
) -> None:
    log = rig.folder / "log"
    log.touch()
    another("endless", log)
    agent = await flow(rig)
    await wait_until(lambda: log.stat().st_size > 1000)
    for x in range(5):
        call = rig.call(add, {"one": x})
        agent.assign("main", [call])
        await rig.done([call], 60)
    size = log.stat().st_size
    await wait_until(lambda: log.stat().st_size > size + 1000)


async def test_what_stands_behind_a_long_call_lets_another_flow_go_first(rig: Rig) -> None:
    first, second = await flow(rig), await flow(rig)
    gate = rig.gate()
    gate.open()
    task = rig.task(hold)
    for _ in range(8):  # until it is known for a short one
        await rig.run(first, rig.call(task, {"gate": str(gate)}))
    gate.shut()
    calls = [rig.call(task, {"gate": str(gate), "x": x}) for x in range(40)]
    first.assign("main", calls)
    await wait_until(lambda: len(first.running()) == 2)
    other = rig.call(counted, {"log": str(rig.folder / "log")})
    second.assign("main", [other])
    # all but what runs is back in the queue
    await wait_until(lambda: len(first._pools["main"].queue) == 38)
    assert other.request not in rig.ear.outcomes
    gate.open()
    await rig.done([other, *calls])
    assert not rig.ear.back


async def test_flows_that_lend_more_than_the_machine_has_run_as_many_together_as_one_of_them(rig: Rig) -> None:
    log = rig.folder / "log"
    agents = [await flow(rig, 4), await flow(rig, 4)]
    gate = rig.gate()
    held = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(8)]
    for agent, calls in zip(agents, (held[:4], held[4:]), strict=True):
        agent.assign("main", calls)
    await wait_until(lambda: sum(len(agent.running()) for agent in agents) == 4)
    await wait_until(lambda: any(map(waits, agents)))
    assert sum(len(agent.running()) for agent in agents) == 4
    gate.open()
    await rig.done(held)
    calls = [some(rig, log, 30), some(rig, log, 31)]
    for agent, mine in zip(agents, calls, strict=True):
        agent.assign("main", mine)
    await rig.done([*calls[0], *calls[1]], 60)
    assert peak(log) <= 4


async def test_flow_that_lends_less_leaves_the_rest_to_others(rig: Rig) -> None:
    agents = [await flow(rig, 1), await flow(rig, 1), await flow(rig, 1)]
    gate = rig.gate()
    calls = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(3)]
    for agent, call in zip(agents, calls, strict=True):
        agent.assign("main", [call])
    await wait_until(lambda: sum(len(agent.running()) for agent in agents) == 2)
    await wait_until(lambda: sum(map(waits, agents)) == 1)
    gate.open()
    await rig.done(calls)


@pytest.mark.parametrize(
    ("named", "why"),
    [("/dev/null/locks", "Not a directory"), ("0", "EC_CPUS_SHARED=0"), ("locks", "neither 0 nor an absolute path")],
)
async def test_flow_without_a_folder_for_locks_shares_nothing_and_says_why(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: str, why: str
) -> None:
    monkeypatch.setenv(VARIABLE, named)
    with caplog.at_level(logging.WARNING):
        agents = [await flow(rig), await flow(rig)]
    gate = rig.gate()
    calls = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(4)]
    agents[0].assign("main", calls[:2])
    agents[1].assign("main", calls[2:])
    await gate.reached(0, 1, 2, 3)
    for agent in agents:
        assert why in str(unshared(agent))
        assert agent.others == 0
    assert [why in record.message for record in caplog.records] == [True, True]
    gate.open()
    await rig.done(calls)


def test_folder_of_locks_that_is_open_to_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "open"))
    with pytest.raises(OSError, match="not private"):
        cpu_locks.folder()


def test_agents_find_one_folder_whatever_session_they_are_started_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    found = set()
    for name in ("TMPDIR", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, "/nowhere")
        found.add(cpu_locks.folder())
    assert len(found) == 1


def test_extra_cpus_come_after_those_of_the_machine() -> None:
    assert [number for number in cpu_locks.numbers(4) if number >= EXTRA] == list(range(EXTRA, EXTRA + 4))[
        : 4 - len(cpu_locks.numbers(1))
    ]
    assert len(cpu_locks.numbers(4)) == 4
    assert cpu_locks.numbers(1) == cpu_locks.numbers(2)


def bound():
    return sorted(os.sched_getaffinity(0))


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one CPU, or no way to bind to it"
)
async def test_worker_is_bound_to_the_cpu_it_was_lent_unless_the_person_named_one(rig: Rig) -> None:
    cpus = sorted(os.sched_getaffinity(0))[:2]
    first, second, named = await flow(rig, 1), await flow(rig, 1), await flow(rig, 1, affinity=cpus[:1])
    gate = rig.gate()
    held = rig.call(hold, {"gate": str(gate)})
    first.assign("main", [held])
    await gate.reached(0)
    for agent, expected in ((second, cpus[1:]), (named, cpus[:1])):
        call = rig.call(bound)
        await rig.run(agent, call)
        assert rig.result(call.request) == expected
    gate.open()
    await rig.done([held])
    await wait_until(lambda: second.others == 0)
    again = rig.call(bound)
    await rig.run(second, again)
    assert rig.result(again.request) == cpus[:1]


async def test_agents_of_two_flows_on_one_host_share_its_cpus(far: FarRig) -> None:
    first, second = [await far.start(2, name=name) for name in ("one", "two")]
    for agent in (first, second):
        agent.processor("main", 2)
    gate = far.gate()
    inside = [far.call(hold, {"gate": str(gate), "x": x}) for x in (1, 2)]
    first.assign("main", inside)
    await gate.reached(1, 2)
    waiting = [far.call(add, {"one": x, "two": x}) for x in (3, 4)]
    second.assign("main", waiting)
    await wait_until(lambda: second.facts()["others"] == 2)
    assert not second.running()
    gate.open()
    await far.done([*inside, *waiting])
    assert [far.result(call.request) for call in waiting] == [6, 8]
