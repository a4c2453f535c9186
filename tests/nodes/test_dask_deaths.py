"""Workers of a cluster die, all of them and often: every call comes back exactly once, and the node goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.wire import Call
from tests.nodes.dask_cluster import Dask
from tests.nodes.dask_rig import DaskRig
from tests.nodes.rig import wait_until

WORKER_SECONDS = 90.0
"""So long may Dask take to start workers on a machine that is busy."""


@pytest.fixture
def rig(dask: DaskRig) -> DaskRig:
    return dask


def mortal(x, deadly):
    if deadly:
        os._exit(1)
    return 2 * x


def standing(gate):
    while os.path.exists(gate):
        pass
    return os.getpid()


async def settle(rig: DaskRig, agent: Any, calls: dict[int, Call]) -> None:
    """Until each call has ended or killed its worker; what came back unharmed is sent again, as the engine does."""
    ear = rig.ear
    while len(ear.outcomes) + len(ear.dead) < len(calls):
        again = ear.back + ear.gone
        ear.back, ear.gone = [], []
        assert len(again) == len(set(again))
        assert not set(again) & (ear.outcomes.keys() | ear.dead.keys())
        agent.assign("main", [calls[request] for request in again])
        await ear.until(lambda: ear.back or ear.gone or len(ear.outcomes) + len(ear.dead) == len(calls), WORKER_SECONDS)


async def test_each_call_that_kills_its_worker_is_charged_once_and_all_others_end(rig: DaskRig) -> None:
    agent = await rig.start()
    agent.processor("main", 2)
    some = [rig.call(mortal, {"x": x, "deadly": x % 50 == 49}, socket="mortal") for x in range(100)]
    calls = {call.request: call for call in some}
    agent.assign("main", some)
    await settle(rig, agent, calls)
    deadly = {call.request for x, call in enumerate(some) if x % 50 == 49}
    assert rig.ear.dead.keys() == deadly
    assert [rig.result(call.request) for call in some if call.request not in deadly] == [
        2 * x for x in range(100) if x % 50 != 49
    ]
    assert not rig.ear.back + rig.ear.gone
    await wait_until(lambda: agent.facts()["used"] == 0)


async def test_all_workers_die_at_once_and_the_node_goes_on_with_those_that_follow(rig: DaskRig) -> None:
    agent = await rig.start()
    agent.processor("main", 2)
    await rig.ear.until(lambda: agent.cpus == 2, WORKER_SECONDS)
    gate = rig.folder / "gate"
    gate.touch()
    some = [rig.call(standing, {"gate": str(gate)}) for _ in range(4)]
    calls = {call.request: call for call in some}
    agent.assign("main", some)
    await wait_until(lambda: len(agent.running()) == 2)
    before = {worker.pid for worker in agent._workers.by_address.values()}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await rig.ear.until(lambda: len(rig.ear.dead) == 2)
    assert set(rig.ear.dead) == {some[0].request, some[1].request}
    gate.unlink()
    await settle(rig, agent, calls)
    assert agent.state == "up"
    assert not before & {rig.result(call.request) for call in some[2:]}


async def test_of_calls_that_ran_beside_each_other_none_is_blamed_for_their_worker_at_once(
    by_value: None, tmp_path: Path
) -> None:
    wide = Dask(1, threads=2)
    rig = DaskRig(tmp_path, wide.address)
    try:
        agent = await rig.start()
        agent.processor("main", 2)
        gate = rig.folder / "gate"
        gate.touch()
        some = [rig.call(standing, {"gate": str(gate)}) for _ in range(2)]
        calls = {call.request: call for call in some}
        agent.assign("main", some)
        await wait_until(lambda: len(agent.running()) == 2)
        (worker,) = agent._workers.by_address.values()
        os.kill(worker.pid, signal.SIGKILL)
        await rig.ear.until(lambda: len(rig.ear.gone) + len(rig.ear.dead) == 2)
        assert sorted(rig.ear.gone) == sorted(calls)
        gate.unlink()
        await settle(rig, agent, calls)
        assert rig.ear.outcomes.keys() == calls.keys()
    finally:
        await rig.finish()
        wide.close()


@pytest.mark.parametrize("turns", range(5))
async def test_an_agent_that_is_just_being_told_news_closes_all_the_same(rig: DaskRig, turns: int) -> None:
    agent = await rig.start()
    agent.retry()
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(agent.close(), WORKER_SECONDS)
    assert not agent._tasks.running
