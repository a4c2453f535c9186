"""Every kind of node there is, each behind the same rig."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ec_jupyter.nodes.dask.agent import DaskAgent
from ec_jupyter.wire import Call, Outcome
from tests.nodes.dask_rig import DaskRig
from tests.nodes.inline import Inline
from tests.nodes.rig import Rig

KINDS = ("inline", "local", "ssh", "dask")


class InlineRig(Rig):
    """Agents that run calls in this process."""

    deaths = 0

    async def start(self, cpus: int = 2, **options: Any) -> Inline:
        agent = Inline(self.ear, name="inline", cpus=cpus, folder=self.folder, workdir=self.folder, epoch=7)
        await agent.start()
        self.agents.append(agent)
        return agent

    def facts(self, agent: Inline) -> dict[str, Any]:
        return agent.facts()


class SharedDaskRig(DaskRig):
    """Agents that run calls on a cluster which other tests use, too."""

    deaths = 2
    """Dask starts another worker for each, which takes it seconds."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        super().__init__(folder, "")

    async def start(self, cpus: int | None = 2, idle: float = 0.0, **options: Any) -> DaskAgent:
        # workers there do not end when they are idle
        return await asyncio.wait_for(super().start(cpus, **options), 30)

    async def run(self, agent: DaskAgent, call: Call, processor: str = "main") -> Outcome:
        outcome = await super().run(agent, call, processor)
        for file in self.ear.stayed:
            assert (self.values / file).exists() or await agent.bring(file)
        return outcome

    def facts(self, agent: DaskAgent) -> dict[str, Any]:
        return agent.facts()

    def pids(self, agent: DaskAgent) -> list[int]:
        return [worker.pid for worker in agent._workers.by_address.values()]
