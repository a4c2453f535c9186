"""Nodes for tests; each ends with its test and leaves nothing.

A module marked ``every_node`` states what holds for any node: its tests run on each kind. What a kind cannot do is
said at the test, by ``not_on`` and the reason; there it is not run, nor counted as skipped.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from tests.nodes import tasks
from tests.nodes.dask_cluster import Dask
from tests.nodes.dask_rig import DaskRig
from tests.nodes.far import FarRig
from tests.nodes.kinds import KINDS, InlineRig, SharedDaskRig
from tests.nodes.rig import Rig
from tests.nodes.sshd import SSHD, Network, Sshd


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames and metafunc.definition.get_closest_marker("every_node"):
        barred = {kind for mark in metafunc.definition.iter_markers("not_on") for kind in _barred(metafunc, mark)}
        metafunc.parametrize("rig", [kind for kind in KINDS if kind not in barred], indirect=True)


def _barred(metafunc: pytest.Metafunc, mark: pytest.Mark) -> tuple[str, ...]:
    if not mark.kwargs.get("why") or not set(mark.args) < set(KINDS):
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: not_on takes some of {KINDS}, and why=")
    return mark.args


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A short folder: a socket's name has room for about 100 characters."""
    folder = Path(tempfile.mkdtemp(prefix="ec"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def rig(request: pytest.FixtureRequest, tmp_path: Path, runtime: Path, by_value: None) -> AsyncIterator[Rig]:
    """Agents on this machine; in a module of ``every_node`` those of each kind."""
    kind = getattr(request, "param", "local")
    rig: Any = {"inline": InlineRig, "local": Rig, "ssh": FarRig, "dask": SharedDaskRig}[kind](tmp_path, runtime)
    if kind == "ssh":
        rig.login = request.getfixturevalue("shared_sshd").login
    elif kind == "dask":
        rig.address = request.getfixturevalue("shared_cluster").address
    yield rig
    await asyncio.wait_for(rig.finish(), 60)


@pytest.fixture
async def far(tmp_path: Path, by_value: None) -> AsyncIterator[FarRig]:
    """Nodes behind a pipe."""
    rig = FarRig(tmp_path, tmp_path)
    yield rig
    await rig.finish()


@pytest.fixture
async def agent(rig: Rig) -> Any:
    """An agent with two CPUs and one processor that has both."""
    agent = await rig.start()
    agent.processor("main", 2)
    return agent


@pytest.fixture
async def single(rig: Rig) -> Any:
    """An agent whose one processor has one slot."""
    agent = await rig.start()
    agent.processor("main", 1)
    return agent


@pytest.fixture
def by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Functions of the test's module travel by value, as a notebook's do."""
    modules = (request.module, tasks)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Dask]:
    """Two workers for all tests that leave them as they were."""
    yield from _clustered()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Dask]:
    """Two workers of the module's own."""
    yield from _clustered()


@pytest.fixture
async def dask(tmp_path: Path, by_value: None, cluster: Dask) -> AsyncIterator[DaskRig]:
    """Agents that drive the module's cluster."""
    rig = DaskRig(tmp_path, cluster.address)
    yield rig
    await rig.finish()


@pytest.fixture(scope="session")
def shared_sshd() -> Iterator[Sshd]:
    """A server for all tests that leave it as it was."""
    yield from _served()


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of the test's own."""
    network = Network()
    yield network
    network.close()


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    """A server of the test's own."""
    yield from _served()


@pytest.fixture
def distant(network: Network) -> Iterator[Sshd]:
    """A server in that network."""
    yield from _served(network)


def _clustered() -> Iterator[Dask]:
    cluster = Dask()
    yield cluster
    cluster.close()


def _served(network: Network | None = None) -> Iterator[Sshd]:
    if SSHD is None:
        pytest.skip("no sshd here: apt-get install openssh-server")
    folder = Path(tempfile.mkdtemp(prefix="ec"))
    server = Sshd(folder) if network is None else Sshd(folder, network.name, network.address)
    yield server
    server.close()
    shutil.rmtree(folder)
