"""Passes on what a remote node reports, without what is stale."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Protocol

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.login_prompts import LoginPrompts
from ec_jupyter.engine.member import Members
from ec_jupyter.engine.parts import Clock
from ec_jupyter.engine.value_locator import ValueLocator
from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Listener
from ec_jupyter.nodes.kinds import kind
from ec_jupyter.wire import Block, Outcome, Value

_NAMED = re.compile(r"No module named '(\w+)")
_FRAME = re.compile(r'^ *File ".*", line (\d+), in .*\n +(\S.*)$', re.MULTILINE)


class Nodes(Protocol):
    """The fleet, as one of its nodes speaks to it."""

    core: Core
    members: Members
    locator: ValueLocator
    prompts: LoginPrompts

    def changed(self, name: str) -> None:
        """A node's state or facts are new."""

    def killed(self, name: str, ran: dict[int, bool]) -> None:
        """The agent of a node was killed while these calls ran there."""

    def lost(self, name: str, requests: Collection[int], text: str) -> None:
        """Attempts are over with their node."""


class StaleFilter:
    """The listener of one remote node; what is said of a call that is elsewhere by now came late, and is nothing."""

    def __init__(self, nodes: Nodes, engine: Listener, clock: Clock, name: str) -> None:
        self._nodes, self._engine, self._core, self._name = nodes, engine, nodes.core, name
        self._clock = clock

    def _here(self, request: int) -> bool:
        if request < 0:
            return self._core.side_calls.node_of(request) == self._name
        job = self._core.jobs.get(request)
        return job is not None and job.assigned and job.node == self._name

    def blob(self, sha256: str) -> bytes:
        """The bytes of a task or condition."""
        return self._engine.blob(sha256)

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> None:
        """A call has begun."""
        if self._here(request):
            self._engine.started(request, attempt, at, slot, pid)

    def finished(self, outcomes: list[Outcome]) -> None:
        """Calls came to an end."""
        mine = []
        for outcome in outcomes:
            if self._here(outcome.request):
                self._explain(outcome)
                mine.append(outcome)
            else:
                self._core.late(outcome)
        member = self._nodes.members.get(self._name)
        if member is not None:
            member.hold(outcome.value.file for outcome in mine if outcome.value is not None)
        if mine:
            self._engine.finished(mine)

    def done(self, block: Block) -> None:
        """Calls ended well, with small results."""
        here = [self._here(request) for request in block.requests]
        if any(here):
            self._engine.done(block.only(here))

    def _explain(self, outcome: Outcome) -> None:
        """Say what a person can do about a failure that is the node's."""
        member = self._nodes.members.get(self._name)
        if outcome.error is not None and member is not None and member.spec is not None:
            text = hint(outcome.error, member.spec)
            if text is not None:
                outcome.error["message"] = outcome.error["hint"] = text

    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None:
        """A generator yielded."""
        if self._here(request):
            self._engine.yielded(request, attempt, first, values)
        else:
            self._core.values.drop_files(values)

    def returned(self, requests: list[int]) -> None:
        """Calls came back that never started."""
        mine = [request for request in requests if self._here(request)]
        if mine:
            self._engine.returned(mine)

    def died(self, request: int, attempt: int, text: str) -> None:
        """A worker died under a call."""
        if self._here(request):
            self._engine.died(request, attempt, text)

    def output(self, request: int, stream: str, text: str) -> None:
        """A task printed, logged or warned."""
        if self._here(request):
            self._engine.output(request, stream, text)

    def progress(self, request: int, done: float, total: float | None, text: str) -> None:
        """A task says how far it is."""
        if self._here(request):
            self._engine.progress(request, done, total, text)

    def room(self, processor: str) -> None:
        """The node may take more."""
        self._engine.room(processor)

    def trouble(self, processor: str, text: str) -> None:
        """Workers of a processor do not start there."""
        self._engine.trouble(processor, f"on node {self._name!r}: {text}")

    def after(self, effect: Callable[[], None]) -> None:
        """Do something once what was said so far is on disk: what is confirmed to a node is forgotten there."""
        self._clock.after(effect)

    def node(self, name: str) -> None:
        """Its state or facts are new."""
        self._nodes.changed(self._name)

    def killed(self, name: str, ran: dict[int, bool]) -> None:
        """The agent there was killed while these ran."""
        self._nodes.killed(self._name, {number: program for number, program in ran.items() if self._here(number)})

    def lost(self, name: str, requests: list[int]) -> None:
        """Attempts there are surely over."""
        member = self._nodes.members.get(self._name)
        facts = member.facts() if member is not None else {}
        why = facts.get("error") or (f"node {self._name!r}: {facts['note']}" if facts.get("note") else None)
        self._nodes.lost(self._name, requests, why or f"node {self._name!r} has lost it")

    def stays(self, file: str) -> None:
        """A result stayed on the node."""
        self._nodes.locator.stays(file)

    async def ask(self, text: str) -> str | None:
        """What a person answers whom the login asks for a passphrase; None where nobody does."""
        return await self._nodes.prompts.ask(self._name, text)


def hint(error: dict[str, Any], node: Node) -> str | None:
    """The package that a failed call missed on a node, the line that needs it, how to install it; None for others."""
    found = _NAMED.match(str(error.get("message", "")))
    if error.get("type") != "ModuleNotFoundError" or found is None:
        return None
    package = found[1]
    frames = _FRAME.findall(str(error.get("traceback", "")))
    line = f", which line {frames[-1][0]} needs ({frames[-1][1]})" if frames else ""
    return f"node {node.name!r} has no package {package!r}{line}; {kind(node.kind).missing(node, package)}"
