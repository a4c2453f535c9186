"""What a call on the cluster says is heard while it runs, once and in order."""

# ruff: noqa: T201

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.nodes.current import progress
from ec_jupyter.nodes.values import load
from ec_jupyter.nodes.worker.output import RATE_BYTES
from ec_jupyter.wire import Value
from tests.nodes.dask_rig import DaskRig
from tests.nodes.rig import wait_until


@pytest.fixture
def rig(dask: DaskRig) -> DaskRig:
    return dask


@pytest.fixture
async def agent(rig: DaskRig) -> Any:
    agent = await rig.start()
    agent.processor("main", 2)
    return agent


def passing(gate):
    while os.path.exists(gate):
        pass


def talking(gates):
    for gate in gates:
        print("before", os.path.basename(gate))
        print("and", os.path.basename(gate), file=sys.stderr)
        passing(gate)
    print("end")


def stepping(gates):
    for gate in progress(gates, text="gates"):
        passing(gate)


def yielding(gates, size):
    for at, gate in enumerate(gates):
        yield at, os.getpid(), bytes(size)
        passing(gate)


def spinning(seconds):
    import time

    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def endless():
    while True:
        print("x" * 1023)


def gates(rig: DaskRig, count: int = 3) -> list[Path]:
    made = [rig.folder / f"gate{at}" for at in range(count)]
    for gate in made:
        gate.touch()
    return made


def begun(rig: DaskRig, agent: Any, function: Any, **given: Any) -> tuple[int, list[Path]]:
    """A call that stands at the first of three gates."""
    shut = gates(rig)
    call = rig.call(function, {"gates": [str(gate) for gate in shut], **given})
    agent.assign("main", [call])
    return call.request, shut


async def test_what_is_printed_is_heard_while_the_call_runs_and_once(rig: DaskRig, agent: Any) -> None:
    request, shut = begun(rig, agent, talking)
    text = errors = ""
    for gate in shut:
        text, errors = f"{text}before {gate.name}\n", f"{errors}and {gate.name}\n"
        await rig.ear.until(lambda errors=errors: rig.ear.printed.get((request, "stderr")) == errors)
        assert rig.ear.printed[request, "stdout"] == text
        assert request not in rig.ear.outcomes
        gate.unlink()
    await rig.ear.until(lambda: request in rig.ear.outcomes)
    assert rig.ear.printed[request, "stdout"] == f"{text}end\n"
    assert rig.ear.printed[request, "stderr"] == errors


async def test_how_far_it_is_is_heard_while_the_call_runs(rig: DaskRig, agent: Any) -> None:
    request, shut = begun(rig, agent, stepping)
    shut[0].unlink()
    await rig.ear.until(lambda: (request, 1, 3, "gates") in rig.ear.shown)
    assert request not in rig.ear.outcomes
    for gate in shut[1:]:
        gate.unlink()
    await rig.ear.until(lambda: request in rig.ear.outcomes)
    assert rig.ear.shown[-1] == (request, 3, 3, "gates")


async def test_what_the_workers_use_for_us_is_told(rig: DaskRig, agent: Any) -> None:
    assert all(cpu == 0 for _, _, cpu, _ in agent.used())
    await rig.run(agent, rig.call(spinning, {"seconds": 0.4}))
    await wait_until(lambda: sum(cpu for _, _, cpu, _ in agent.used()) > 0.05)
    # a thread of Dask's worker is for any processor
    assert {name for name, *_ in agent.used()} == {""}
    assert {pid for _, pid, *_ in agent.used()} == {worker.pid for worker in agent._workers.by_address.values()}
    assert min(held for *_, held in agent.used()) > 1 << 20


@pytest.mark.parametrize("size", [10, 200_000])
async def test_yields_come_while_the_generator_runs_in_order_and_once(rig: DaskRig, agent: Any, size: int) -> None:
    request, shut = begun(rig, agent, yielding, size=size)
    for at, gate in enumerate(shut, 1):
        await rig.ear.until(lambda at=at: len(rig.ear.yields.get(request, ())) == at)
        assert request not in rig.ear.outcomes
        gate.unlink()
    await rig.ear.until(lambda: request in rig.ear.outcomes)
    assert rig.ear.outcomes[request].emitted == 3
    assert [index for index, _ in rig.ear.yields[request]] == [0, 1, 2]
    assert [loaded(rig, value)[0] for _, value in rig.ear.yields[request]] == [0, 1, 2]


def loaded(rig: DaskRig, value: Value) -> Any:
    return load(value, rig.values)


async def test_a_generator_that_is_tried_again_goes_on_after_what_was_heard(rig: DaskRig, agent: Any) -> None:
    shut = gates(rig)
    call = rig.call(yielding, {"gates": [str(gate) for gate in shut], "size": 10})
    agent.assign("main", [call])
    shut[0].unlink()
    await rig.ear.until(lambda: len(rig.ear.yields.get(call.request, ())) == 2)
    os.kill(loaded(rig, rig.ear.yields[call.request][1][1])[1], signal.SIGKILL)
    await rig.ear.until(lambda: call.request in rig.ear.dead)
    call.attempt, call.skip = 2, 2
    agent.assign("main", [call])
    shut[1].unlink()
    await rig.ear.until(lambda: len(rig.ear.yields[call.request]) == 3)
    assert call.request not in rig.ear.outcomes
    shut[2].unlink()
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    assert rig.ear.outcomes[call.request].emitted == 3
    assert [index for index, _ in rig.ear.yields[call.request]] == [0, 1, 2]
    assert [loaded(rig, value)[0] for _, value in rig.ear.yields[call.request]] == [0, 1, 2]


async def test_a_call_that_prints_for_ever_is_cut_each_second_and_can_be_cancelled(rig: DaskRig, agent: Any) -> None:
    call = rig.call(endless)
    agent.assign("main", [call])
    await rig.ear.until(lambda: "MiB more" in rig.ear.printed.get((call.request, "stderr"), ""))
    assert len(rig.ear.printed[call.request, "stdout"]) <= 20 * RATE_BYTES
    agent.cancel(call.request)
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)


async def test_a_question_that_is_lost_on_its_way_back_loses_nothing_it_asked_for(
    rig: DaskRig, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = agent._workers.cluster
    listen, lost = cluster.listen, asyncio.Event()

    async def losing(*given: Any) -> Any:
        said = await listen(*given)
        if said and not lost.is_set():
            lost.set()
            raise OSError("the answer was lost")
        return said

    monkeypatch.setattr(cluster, "listen", losing)
    request, shut = begun(rig, agent, yielding, size=10)
    for gate in shut:
        gate.unlink()
    await rig.ear.until(lambda: request in rig.ear.outcomes)
    assert [loaded(rig, value)[0] for _, value in rig.ear.yields[request]] == [0, 1, 2]
    request, shut = begun(rig, agent, yielding, size=10)
    await asyncio.wait_for(lost.wait(), 60)
    for gate in shut:
        gate.unlink()
    await rig.ear.until(lambda: request in rig.ear.outcomes)
    assert [loaded(rig, value)[0] for _, value in rig.ear.yields[request]] == [0, 1, 2]
