"""Whatever happens, each call comes back exactly once for each time it was assigned."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from ec_jupyter.wire import Call, Outcome
from tests.nodes.rig import Ear, Rig, wait_until

if TYPE_CHECKING:  # tasks of these tests are found on hosts that have not the engine
    from ec_jupyter.nodes.agents import NodeAgent

pytestmark = pytest.mark.every_node


def listening(*pids: int) -> set[int]:
    """Network ports that these processes listen on."""
    lines = psutil.net_connections("inet")
    return {line.laddr.port for line in lines if line.status == psutil.CONN_LISTEN and line.pid in pids}


def above():
    """This process, and the one it belongs to."""
    return os.getpid(), os.getppid()


async def test_this_end_of_a_node_listens_on_no_network_port(rig: Rig) -> None:
    before = listening(os.getpid())
    agent = await rig.start()
    agent.processor("main", 1)
    await rig.run(agent, rig.call(above))
    assert listening(os.getpid()) == before


@pytest.mark.not_on("dask", why="its workers are Dask's, which listen")
async def test_the_other_end_of_a_node_listens_on_no_network_port(rig: Rig, single: NodeAgent) -> None:
    before, call = listening(os.getpid()), rig.call(above)
    await rig.run(single, call)
    assert listening(*rig.result(call.request)) <= before


class Strict(Ear):
    """Counts what is out; refuses anything about a call that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.out: set[int] = set()

    def finished(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.out.remove(outcome.request)
        super().finished(outcomes)

    def returned(self, requests: list[int]) -> None:
        for request in requests:
            self.out.remove(request)
        super().returned(requests)

    def died(self, request: int, attempt: int, text: str) -> None:
        self.out.remove(request)
        super().died(request, attempt, text)

    def lost(self, name: str, requests: list[int]) -> None:
        # whoever shared a process with the culprit, where it cannot be told who that was: it comes again
        self.returned(requests)


def anything(x, deadly):
    if deadly:
        os._exit(1)
    if x % 29 == 28:
        raise ValueError(x)
    if x % 17 == 16:
        time.sleep(0.02)
    if x % 37 == 36:
        return b"x" * 100_000
    return x


def several(x):
    yield from range(x % 5)


def made(rig: Rig, chance: random.Random) -> Call:
    """A call of anything; as many kill their worker as the kind of node bears."""
    if chance.random() < 0.1:
        return rig.call(several, {"x": chance.randrange(1000)})
    deadly = rig.deaths > 0 and chance.random() < 0.01
    rig.deaths -= deadly
    return rig.call(anything, {"x": chance.randrange(1000), "deadly": deadly})


def assign(rig: Rig, agent: NodeAgent, calls: list[Call]) -> None:
    assert isinstance(rig.ear, Strict)
    rig.ear.out.update(call.request for call in calls)
    agent.assign("main", calls)


async def disturb(rig: Rig, agent: NodeAgent, chance: random.Random, calls: dict[int, Call]) -> None:
    """One random thing that happens to a flow."""
    ear = rig.ear
    assert isinstance(ear, Strict)
    what = chance.choice(["resize", "recall", "cancel", "kill", "resend", "resend", "wait", "wait"])
    if what == "resize":
        agent.processor("main", chance.randrange(4))
    elif what == "recall":
        agent.recall(chance.sample(sorted(ear.out), min(50, len(ear.out))))
    elif what == "cancel" and ear.out:
        agent.cancel(chance.choice(sorted(ear.out)), chance.choice(["cancelled", "timeout"]))
    elif what == "kill" and rig.deaths > 0:
        rig.deaths -= 1
        with suppress(IndexError, ProcessLookupError):  # none is there, or it has just gone
            os.kill(chance.choice(rig.pids(agent)), signal.SIGKILL)
    elif what == "resend" and ear.back:
        back, ear.back = ear.back, []
        assign(rig, agent, [calls[request] for request in back])
    await asyncio.sleep(chance.random() * 0.03)


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_call_comes_back_exactly_once(rig: Rig, seed: int) -> None:
    chance = random.Random(seed)
    ear = rig.ear = Strict()
    agent = await rig.start(cpus=2, idle=0.1)
    agent.processor("main", 2)
    calls: dict[int, Call] = {}
    for _ in range(12):
        some = [made(rig, chance) for _ in range(50)]
        calls.update((call.request, call) for call in some)
        assign(rig, agent, some)
        await disturb(rig, agent, chance, calls)
    agent.processor("main", 2)
    while len(ear.outcomes) + len(ear.dead) < len(calls):
        back, ear.back = ear.back, []
        assign(rig, agent, [calls[request] for request in back])
        out = len(ear.out)
        # a busy machine takes longer than a minute for all of them, not for one
        await ear.until(lambda out=out: ear.back or not ear.out or len(ear.out) < out)
    assert not ear.out
    assert set(ear.outcomes) | set(ear.dead) == set(calls)
    for request, outcome in ear.outcomes.items():
        if outcome.state == "done" and outcome.emitted is not None:
            indexes = {index for index, _ in ear.yields.get(request, ())}
            assert indexes == set(range(outcome.emitted))
    await wait_until(lambda: rig.used(agent) == 0)
