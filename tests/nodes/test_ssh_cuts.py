"""A node whose line is cut or slow, on a network of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ec_jupyter.nodes.ssh.transport import clock
from tests.nodes.far import FarRig, ended, tree
from tests.nodes.rig import number_in, wait_until
from tests.nodes.sshd import Network, Sshd, networks
from tests.nodes.tasks import echo, hold, mark

pytestmark = pytest.mark.skipif(not networks(), reason="no right to make a network")


@pytest.fixture
def rig(far: FarRig, distant: Sshd, network: Network) -> Iterator[FarRig]:
    far.login = distant.login
    yield far
    network.mend()


def length(data):
    return len(data)


async def test_short_cut_is_not_even_noticed(rig: FarRig, network: Network) -> None:
    agent = await rig.start(heartbeat=2.0)
    agent.processor("main", 1)
    gate = rig.gate()
    call = rig.call(hold, {"gate": str(gate), "x": 5})
    agent.assign("main", [call])
    await rig.ear.until(lambda: call.request in rig.ear.begun)
    network.cut()
    gate.open()
    transport = agent._session.transport
    await wait_until(lambda: clock() - transport._heard > 3.0)
    network.mend()
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    assert rig.result(call.request) == 5
    assert rig.ear.states == ["up"]


async def test_long_cut_is_an_absence_and_the_result_comes_after_it(rig: FarRig, network: Network) -> None:
    agent = await rig.start(lease=60.0)
    agent.processor("main", 1)
    gate = rig.gate()
    call = rig.call(hold, {"gate": str(gate), "x": 5})
    agent.assign("main", [call])
    await rig.ear.until(lambda: call.request in rig.ear.begun)
    host = rig.host_pid(agent)
    network.cut()
    await rig.ear.until(lambda: agent.state == "away")
    assert "silent for" in agent.facts()["error"]
    gate.open()
    network.mend()
    agent.retry()
    await rig.ear.until(lambda: call.request in rig.ear.outcomes, 60)
    assert rig.result(call.request) == 5
    assert rig.host_pid(agent) == host
    assert rig.ear.gone == []


async def test_cut_for_good_on_one_of_two_hosts_leaves_the_other_alone(
    rig: FarRig, network: Network, sshd: Sshd
) -> None:
    near = await rig.start(name="near", login=sshd.login(), lease=2.4)
    far = await rig.start(name="far", lease=2.4)
    for agent in (near, far):
        agent.processor("main", 1)
    path = rig.folder / "pid"
    stuck = rig.call(mark, {"path": str(path)})
    far.assign("main", [stuck])
    await wait_until(lambda: number_in(path))
    pids = tree(rig.host_pid(far))
    network.cut()
    task = rig.task(echo)
    load = [rig.call(task, {"x": x}) for x in range(500)]
    near.assign("main", load)
    await rig.ear.until(lambda: rig.ear.gone and len(rig.ear.outcomes) == 500)
    assert rig.ear.gone == [stuck.request]
    assert far.state == "down"
    assert near.state == "up"
    await ended(pids, 1.0)
    await near.close()


async def test_large_value_on_a_slow_line_holds_up_no_sign_of_life(rig: FarRig, network: Network) -> None:
    agent = await rig.start(heartbeat=0.4, lease=3.2)
    agent.processor("main", 1)
    await rig.run(agent, rig.call(echo, {"x": 1}))
    if not network.slow(20):
        pytest.skip("no way to slow a line here")
    call = rig.call(length, {"data": os.urandom(8 << 20)})
    await rig.run(agent, call)
    assert rig.result(call.request) == 8 << 20
    assert rig.ear.states == ["up"]
