"""The nodes of a fleet."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.flow.placement import Spot, caps
from ec_jupyter.model import LOCAL, Node, Processor, to_json
from ec_jupyter.nodes import cpus as machine
from ec_jupyter.nodes.agents import Used
from ec_jupyter.version import VERSION

NEAR = 1000  # files of values a node is known to hold


@dataclass(slots=True, eq=False)
class Member:
    """A node of the fleet."""

    name: str
    agent: Any  # what runs calls there
    spec: Node | None  # how it was declared; None for the local one
    ready: bool = False  # its agent may be spoken to, whether it is there or not
    known: bool = False  # it has been there once
    trying: bool = False  # it is being tried again because somebody asked for it
    # error, kind: why its agent could not be made ready, and the name of that error's class
    error: str | None = None
    kind: str | None = None
    leaving: bool = False  # it was taken away or declared anew, and gets nothing more
    apart: bool = False  # a call runs alone there
    # CPUs, affinity and weight of the processors it has
    placed: dict[str, tuple[int, Any, float]] = field(default_factory=dict)
    near: dict[str, None] = field(default_factory=dict)  # files of values that it holds
    told: tuple[Any, ...] = ("starting",)
    prompts: asyncio.Task[None] | None = None
    since: float = field(default_factory=time.time)

    @property
    def state(self) -> str:
        """``starting``, ``up``, ``away`` or ``down``."""
        if self.spec is None:
            return "up"
        return ("down" if self.error else "starting") if not self.ready else str(self.agent.state)

    @property
    def cpus(self) -> int:
        """CPUs it lends, 0 while that is not known."""
        return int(self.agent.cpus) if self.known else 0

    @property
    def open(self) -> bool:
        """Whether it takes calls."""
        return self.state == "up" and not self.leaving and not self.apart

    @property
    def keeps(self) -> bool:
        """Whether results may stay there: its agent is a `StoringAgent` then."""
        return self.spec is not None and hasattr(self.agent, "holds")

    def holds(self, file: str) -> bool:
        """Whether it has a result that stayed there."""
        return self.keeps and self.ready and bool(self.agent.holds(file))

    def release(self, files: Collection[str]) -> None:
        """Nobody names these any more."""
        if self.keeps and self.ready:
            self.agent.release(files)

    def facts(self) -> dict[str, Any]:
        """What there is to know of it."""
        known: dict[str, Any] = {"since": self.since, "error": self.error, "type": self.kind}
        if self.spec is None:
            known |= _here() | {"others": self.agent.others}
        else:
            known |= {"host": self.spec.host, "spec": to_json(self.spec)}
            known |= self.agent.facts() if self.ready else {}
        return known | {"name": self.name, "state": self.state, "cpus": self.cpus, "leaving": self.leaving}

    def hold(self, files: Iterable[str | None]) -> None:
        """Note files of values that are there by now."""
        self.near.update((file, None) for file in files if file)
        while len(self.near) > NEAR:
            del self.near[next(iter(self.near))]


class Members(dict[str, Member]):
    """The nodes of a fleet by name, the local one first."""

    def __init__(self, core: Core, local: Any) -> None:
        super().__init__({LOCAL: Member(LOCAL, local, None, ready=True, known=True)})
        self._core = core

    def lent(self) -> dict[str, int]:
        """CPUs of the nodes that have said how many they lend."""
        return {member.name: member.cpus for member in self.values() if member.cpus and not member.leaving}

    def facts(self) -> list[dict[str, Any]]:
        """What there is to know of each node."""
        return [member.facts() for member in self.values()]

    def used(self) -> list[tuple[str, Used]]:
        """What the processes of each node have used."""
        return [(name, one) for name, member in self.items() if member.ready for one in member.agent.used()]

    def spots(self, processor: Processor) -> list[Spot]:
        """The nodes that take calls of a processor, the local one first."""
        held, found = self._core.held, []
        for name, cap in caps(processor, self.lent()).items():
            member = self.get(name)
            if member is not None and member.open:
                room, used = member.agent.room(processor.name), held.used(name, processor.name)
                found.append(Spot(name, cap, used, member.cpus - held.used(name), room))
        return found

    def running(self) -> dict[int, float]:
        """Requests that run now on any node, and for how many seconds."""
        found: dict[int, float] = {}
        for member in self.values():
            if member.ready:
                found |= member.agent.running()
            if member.state != "up":
                # as it was when it was heard of last
                jobs = [self._core.jobs[request] for request in self._core.held.at(member.name)]
                found |= {job.id: max(0.0, time.time() - job.started) for job in jobs if job.started is not None}
        return found

    def recall(self, requests: Iterable[int]) -> None:
        """Ask the agents for calls back that have not started."""
        table: dict[str, list[int]] = {}
        for request in requests:
            table.setdefault(self._core.jobs[request].node, []).append(request)
        for name, some in table.items():
            if name in self and self[name].ready:
                self[name].agent.recall(some)


def _here() -> dict[str, Any]:
    memory = machine.memory()
    return {
        "host": platform.node(), "python": platform.python_version(), "version": VERSION, "round_trip": None,
        "memory": None if memory is None else {"used": memory[0], "total": memory[1]},
    }  # fmt: skip
