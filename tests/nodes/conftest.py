"""Agents for tests; each ends with its test and leaves nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cloudpickle
import pytest

from ec_jupyter.nodes.agent import Agent
from tests.nodes.rig import Rig


@pytest.fixture
async def rig(tmp_path: Path, by_value: None) -> AsyncIterator[Rig]:
    # a socket's name has room for about 100 characters
    runtime = Path(tempfile.mkdtemp(prefix="ec"))
    rig = Rig(tmp_path, runtime)
    yield rig
    for agent in rig.agents:
        await agent.close()
    left = list(runtime.iterdir())
    shutil.rmtree(runtime)
    assert not left, "the agent left files in the runtime folder"


@pytest.fixture
async def agent(rig: Rig) -> Agent:
    """An agent with two CPUs and one processor that has both."""
    agent = await rig.start()
    agent.processor("main", 2)
    return agent


@pytest.fixture
async def single(rig: Rig) -> Agent:
    """An agent whose one processor has one slot."""
    agent = await rig.start()
    agent.processor("main", 1)
    return agent


@pytest.fixture
def by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Functions of the test's module travel by value, as a notebook's do."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)
