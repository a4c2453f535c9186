"""Agents that drive a Dask cluster, as the engine starts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ec_jupyter.model import Node
from ec_jupyter.nodes.dask.agent import DaskAgent
from tests.nodes.rig import Rig


class DaskRig(Rig):
    """Agents under test that run calls on a cluster."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder, folder)
        self.address = address

    def make(self, cpus: int | None = None, epoch: int = 7, tls: tuple[str, ...] = ()) -> DaskAgent:
        """An agent that is not started yet."""
        record = Node("cluster", self.address, cpus, kind="dask", tls=tls)
        agent = DaskAgent(record, self.ear, self.home(epoch))
        self.ear.agents["cluster"] = agent
        self.agents.append(agent)
        return agent

    async def start(self, cpus: int | None = None, **options: Any) -> DaskAgent:
        """An agent whose cluster is there."""
        agent = self.make(cpus, **options)
        await agent.start()
        return agent

    def used(self, agent: DaskAgent) -> float:
        return agent.facts()["used"]

    async def finish(self) -> None:
        """End the agents; nothing of them is left with the workers."""
        for agent in self.agents:
            agent.release(self.ear.stayed)
            await agent.close()
