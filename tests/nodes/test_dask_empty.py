"""A cluster that has no workers yet: the node is up, lends nothing and says why, and calls run once some have come."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from tests.crash.flowkit import Flow, opened_flows, wait_until
from tests.nodes.dask_cluster import Dask
from tests.nodes.dask_rig import DaskRig

WORKER_SECONDS = 90.0
"""So long may Dask take to start workers on a machine that is busy."""


@pytest.fixture
def cluster() -> Iterator[Dask]:
    cluster = Dask(0)
    yield cluster
    cluster.close()


@pytest.fixture
def rig(dask: DaskRig) -> DaskRig:
    return dask


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    with opened_flows(tmp_path) as make:
        yield make()


def double(x):
    return 2 * x


def pid():
    return os.getpid()


async def each_would_be_followed(cluster: Dask) -> None:
    """Return once Dask would start another worker in the place of each: not of one that dies while it starts."""
    async with Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        while set((await client.run(lambda dask_worker: dask_worker.status.name, nanny=True)).values()) != {"running"}:
            pass


@pytest.mark.parametrize("cpus", [None, 4])
async def test_the_node_is_up_lends_nothing_and_says_that_it_waits_for_workers(rig: DaskRig, cpus: int | None) -> None:
    agent = await rig.start(cpus)
    agent.processor("main", 2)
    known = agent.facts()
    assert (known["state"], known["cpus"], known["workers"], known["error"]) == ("up", 0, 0, None)
    assert "no workers" in known["note"]
    assert agent.room("main") == 0


def test_a_node_and_the_status_of_a_flow_say_that_there_are_no_workers(loaded: Any, cluster: Dask) -> None:
    loaded.run(f"flow = ec.flow()\nnode = flow.node('dask', {cluster.address!r})")
    says = "dask: the cluster has no workers yet; calls wait for them"
    assert (loaded.run("repr(node)"), says in loaded.run("repr(flow.status())")) == (says, True)


def test_a_value_that_went_with_its_workers_is_told_to_be_made_anew(loaded: Any, cluster: Dask) -> None:
    loaded.run(f"flow = ec.flow()\nflow.node('dask', {cluster.address!r})\nflow.processor('fit', nodes='dask')")
    loaded.run("@ec.socket(processor='fit')\ndef large(n): return bytes(n)")
    request = loaded.run("request = flow.submit('large', 3_000_000); request")
    cluster.scale(1)
    request.wait(WORKER_SECONDS)
    cluster.scale(0)
    wait_until(lambda: not loaded.run("flow.node('dask').cpus"))
    with pytest.raises(TimeoutError, match=r"the value did not come within .* flow.nodes says which are away"):
        request.result(0.5)


async def test_calls_that_wait_run_once_workers_come_and_again_after_the_last_has_died(
    rig: DaskRig, cluster: Dask
) -> None:
    agent = await rig.start()
    agent.processor("main", 2)
    calls = [rig.call(double, {"x": x}) for x in range(3)]
    agent.assign("main", calls)
    cluster.scale(1)
    await rig.ear.until(lambda: len(rig.ear.outcomes) == 3, WORKER_SECONDS)
    assert [rig.result(call.request) for call in calls] == [0, 2, 4]
    await rig.ear.until(lambda: agent.cpus == 1)
    assert agent.facts()["note"] is None
    (worker,) = agent._workers.by_address.values()
    await each_would_be_followed(cluster)
    os.kill(worker.pid, signal.SIGKILL)
    await rig.ear.until(lambda: agent.cpus == 0)
    assert "no workers" in agent.facts()["note"]
    call = rig.call(pid)
    agent.assign("main", [call])
    await rig.ear.until(lambda: call.request in rig.ear.outcomes, WORKER_SECONDS)
    assert rig.result(call.request) != worker.pid


def test_a_cluster_that_grows_with_its_work_gets_a_worker_as_soon_as_a_flow_has_calls(
    flow: Flow, cluster: Dask
) -> None:
    cluster.scale(None)
    flow.edit({"op": "node", "name": "cluster", "host": cluster.address, "kind": "dask", "tls": []})
    flow.edit({"op": "processor", "name": "fit", "nodes": {"cluster": None}})
    flow.socket(double, processor="fit")
    wait_until(lambda: facts(flow)["state"] == "up")
    assert facts(flow)["cpus"] == 0
    ids = flow.map("double", [{"x": x} for x in range(20)])
    wait_until(lambda: {row["state"] for row in flow.requests(ids=ids)} == {"done"}, WORKER_SECONDS)
    assert [flow.result(one) for one in ids] == [2 * x for x in range(20)]


def facts(flow: Flow) -> dict[str, Any]:
    return next(row for row in flow.query("counts")["nodes"] if row["name"] == "cluster")
