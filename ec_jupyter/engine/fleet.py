"""All nodes of a flow behind one interface: what the engine's loop gives calls to, and hears of them from.

The local node is always there. Any other is opened when it is declared, takes calls while it is up, keeps those it
has while it is away, and is closed once it was taken away and the last call there has ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, cast

from ec_jupyter.engine import failures, records
from ec_jupyter.engine.bounds import Bounds
from ec_jupyter.engine.cache import Cache
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.login_prompts import LoginPrompts
from ec_jupyter.engine.member import Member, Members
from ec_jupyter.engine.parts import Audience, Clock
from ec_jupyter.engine.quarantine import Quarantine
from ec_jupyter.engine.stale_filter import StaleFilter
from ec_jupyter.engine.starts import Starts, WorkStealing
from ec_jupyter.engine.value_locator import ValueLocator
from ec_jupyter.errors import DeclarationError, EcError
from ec_jupyter.flow.placement import caps
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL, Node, Processor
from ec_jupyter.nodes import kinds
from ec_jupyter.nodes.agents import Home, Listener, NodeAgent
from ec_jupyter.nodes.cpus import available
from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.nodes.tasks import Tasks

log = logging.getLogger(__name__)

LEASE_SHARE = 1.1  # clocks differ: what an agent may do for its lease is over for sure a tenth later
Opener = Callable[[Node, StaleFilter, Home], NodeAgent]


class Fleet:
    """The nodes of a flow. `opener`: makes the engine's end of any other node."""

    def __init__(
        self,
        core: Core,
        quarantine: Quarantine,
        clock: Clock,
        audience: Audience,
        listener: Listener,
        local: Agent,
        home: Home,
        opener: Opener,
    ) -> None:
        self.core, self._quarantine = core, quarantine
        self._clock, self._audience, self._listener = clock, audience, listener
        self.members = Members(core, local)
        self.work_stealing = WorkStealing(core, self.members)
        self.locator = ValueLocator(core, self.members, clock)
        self.bounds, self.cache = Bounds(core), Cache(core)
        self.starts = Starts(core, self.members, self.locator, quarantine, clock, self.bounds, self.cache)
        self.prompts = LoginPrompts(self.members, lambda: core.topology.nodes)
        self.core.reachable, self.core.stop, self.core.miss = self._reachable, self.cancel, self.locator.miss
        self.core.attempted = self.cache.ended
        self._home, self._opener, self._local = home, opener, local
        self._tasks = Tasks(self._failed)
        self._leaving: set[asyncio.Task[None]] = set()
        self._loose: set[str] = set()
        # processors whose workers do not start, and why; until a call of theirs does
        self.troubles: dict[str, str] = {}
        self._closing = False

    # -- coming and going ------------------------------------------------------
    async def start(self) -> None:
        """Make the local node ready."""
        await self.members[LOCAL].agent.start()

    def begin(self) -> None:
        """Open the other nodes, once the flow is in memory; ask them first for what they had been given."""
        self.locator.load()
        nodes, leaving = records.nodes(self.core)
        for spec in leaving:
            self._open(spec) if self.core.held.used(spec.name) else self._forget(spec.name)
        self.follow(nodes)
        for name in self.core.held.nodes - self.members.keys():
            self.lost(name, self.core.held.at(name), f"node {name!r} is no node of this flow any more")
        self.processors()

    async def close(self) -> None:
        """End all that runs."""
        self._closing = True
        self.work_stealing.close()
        self.locator.close()
        for task in self._tasks.running - self._leaving:
            task.cancel()
        # those that were leaving are not in `members` any more, and not gone either
        await asyncio.gather(*(member.agent.close() for member in self.members.values()), *self._leaving)

    def follow(self, nodes: dict[str, Node]) -> None:
        """Have these nodes: new ones are opened, and those that are none any more leave when they have nothing left."""
        for member in list(self.members.values()):
            if member.spec is not None:
                member.leaving = nodes.get(member.name) != member.spec
        for name, spec in nodes.items():
            if name not in self.members:
                self._open(spec)
        self.release()

    def reopen(self, name: str) -> None:
        """Try now to reach a node that is not there."""
        member = self.members.get(name)
        if member is None or member.spec is None or member.leaving or member.state == "up":
            return
        if member.ready:
            member.trying = True
            member.agent.retry()
        elif member.error:
            del self.members[name]
            self._leave(self._shut(member))
            self._open(member.spec)

    def release(self) -> None:
        """Close nodes that leave and have nothing left."""
        for member in [m for m in self.members.values() if m.leaving]:
            self._place(member)
            aside = self.core.side_calls.at(member.name)
            if not self.core.held.used(member.name) and not aside and self.locator.free(member):
                del self.members[member.name]
                self._forget(member.name)
                self._clock.after(partial(self.prompts.look, member.name))
                self._leave(self._end(member))

    def _forget(self, name: str) -> None:
        self.core.journal.step("drop_node", (name,))
        self._clock.schedule()

    async def _shut(self, member: Member) -> None:
        if member.prompts is not None:
            member.prompts.cancel()
        await member.agent.close()

    async def _end(self, member: Member) -> None:
        await self._shut(member)
        if self._closing:
            return
        # declared anew meanwhile: only now, for one machine has one agent of a name
        self.follow(self.core.topology.nodes)
        self.processors()
        self._clock.after(self._audience.topology)

    def _open(self, spec: Node) -> None:
        agent = self._opener(spec, StaleFilter(self, self._listener, self._clock, spec.name), self._home)
        member = self.members[spec.name] = Member(spec.name, agent, spec)
        member.prompts = self._tasks.spawn(self._reach(member))

    async def _reach(self, member: Member) -> None:
        assert member.spec is not None
        jobs, sockets = self.core.jobs, self.core.topology.sockets
        claims = {n: (jobs[n].attempt, sockets[jobs[n].socket].processor) for n in self.core.held.at(member.name)}
        try:
            if claims:
                member.agent.adopt(claims)
            await member.agent.start()
            member.ready = True
        except (EcError, OSError) as error:
            member.kind = type(error).__name__
            member.error = str(error) or member.kind
            if claims:
                # it may be at work all the same, for as long as its lease is
                loop = asyncio.get_running_loop()
                loop.call_later(LEASE_SHARE * member.spec.lease, self._gone, member, list(claims))
        self.changed(member.name)

    def _gone(self, member: Member, requests: list[int]) -> None:
        if not self._closing and self.members.get(member.name) in (None, member):
            self.lost(member.name, requests, f"node {member.name!r} was not reached again: {member.error}")

    def _leave(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.spawn(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _failed(self, error: BaseException) -> None:
        if not self._closing:
            self._clock.fall({"message": "a node cannot be opened or closed", "exception": error})

    # -- what becomes of them ----------------------------------------------------
    def changed(self, name: str) -> None:
        """A node's state or facts are new."""
        member = self.members.get(name)
        if member is None or self._closing:
            return
        member.known = member.known or member.state == "up"
        facts = member.facts()
        self.locator.changed()
        told = tuple(facts.get(word) for word in ("state", "cpus", "python", "error", "host", "note"))
        member.trying = member.trying and not facts.get("error")
        self._clock.after(lambda: self.prompts.look(name))
        if told == member.told:
            self._audience.look_at_counts()
            return
        if member.told[:1] != told[:1]:
            member.since = time.time()
            self._tell(member, member.told[0])
        if member.state == "up":
            # an agent that was started anew knows of none
            member.placed = {}
        member.told = told
        self._place(member)
        self._clock.after(self._audience.topology)

    def _tell(self, member: Member, before: str) -> None:
        state, error = member.state, member.facts().get("error")
        text = f"node {member.name!r} is {state}" + (f": {error}" if error else "")
        log.info("%s", text)
        self.core.journal.add("add_event", (time.time(), "node", member.name, json.dumps([state, error])))
        if state in ("away", "down") or before == "away":
            self._audience.notice(text, logged=True)

    def killed(self, name: str, ran: dict[int, bool]) -> None:
        """The agent of a node was killed while these calls ran there: one that is to blame fails."""
        if self._closing:
            return
        core = self.core
        core.now = time.time()
        for number, why in self._quarantine.charge(name, ran).items():
            if (job := core.jobs.get(number)) is not None:
                core.fail(job, failures.error("WorkerDiedError", "died", why))

    def lost(self, name: str, requests: Collection[int], text: str) -> None:
        """Attempts are over with their node: queue them again."""
        if self._closing:
            return
        self.core.now = time.time()
        for request in requests:
            if request < 0:
                self.core.side_calls.returned(request, name)
            self.core.lost(request, name, text)
        self._clock.schedule()

    # -- processors --------------------------------------------------------------
    def processors(self) -> None:
        """Tell every node how many CPUs each processor has there."""
        for member in self.members.values():
            self._place(member)

    def _bound(self, processor: Processor) -> str | list[int]:
        """The CPUs that workers of a processor are bound to on this machine."""
        named, here = processor.affinity or (), available()
        bound = [cpu for cpu in named if cpu in here or not here]
        if len(bound) < len(named) and processor.name not in self._loose:
            # declared where there were more of them
            self._loose.add(processor.name)
            wanted, found = (", ".join(map(str, cpus)) or "none" for cpus in (named, bound))
            text = (
                f"processor {processor.name!r} is bound to CPUs {wanted}, of which this machine has {found}; "
                f"flow.processor({processor.name!r}, affinity=...) changes that"
            )
            log.warning("%s", text)
            self._audience.notice(text)
        return bound or "auto"

    def _place(self, member: Member) -> None:
        if not member.ready:
            return
        lent, wanted = self.members.lent(), {}
        for processor in self.core.topology.processors.values() if not member.leaving else ():
            cpus = caps(processor, lent).get(member.name)
            if cpus is not None:
                # CPUs have the same numbers on another machine by chance at most
                bound = self._bound(processor) if member.spec is None else "auto"
                wanted[processor.name] = (cpus, bound, processor.weight)
        for name in member.placed.keys() - wanted.keys():
            member.agent.remove(name)
        for name, how in wanted.items():
            if member.placed.get(name) != how:
                member.agent.processor(name, *how)
        member.placed = wanted

    def revised(self, old: Topology, new: Topology) -> None:
        """Follow an edit: new limits at once, queued calls on the newest version."""
        if old.nodes != new.nodes:
            self.follow(new.nodes)
        if old.processors != new.processors or old.nodes != new.nodes:
            self.processors()
        for name in new.processors.keys() - old.processors.keys():
            if name in self.members[LOCAL].placed:
                self._local.warm(name)
        moved = {s.id for s in new.sockets.values() if old.sockets.get(s.id) not in (None, s)}
        self.take_back(moved)

    def take_back(self, sockets: Collection[int]) -> None:
        """Ask for calls of these sockets back that have not started."""
        jobs = self.core.jobs
        self.members.recall([request for request in self.core.held if jobs[request].socket in sockets])

    def cancel(self, request: int) -> None:
        """End a call, wherever it is."""
        job = self.core.jobs.get(request)
        member = self.members.get(job.node) if job is not None else None
        if member is not None and member.ready:
            member.agent.cancel(request)

    # -- calls -------------------------------------------------------------------
    def _reachable(self, processor: Processor) -> bool:
        return not processor.nodes or any(
            name in self.members and self.members[name].state != "down" for name in processor.nodes
        )

    def pump(self) -> None:
        """Give the nodes what may start now."""
        self.starts.everywhere()
        self.work_stealing.look()
        if any(member.leaving for member in self.members.values()):
            self.release()


# -- other nodes ---------------------------------------------------------------
def open_node(spec: Node, listener: StaleFilter, home: Home) -> NodeAgent:
    """The agent of a node."""
    try:
        return kinds.kind(spec.kind).open(spec, listener, home)
    except DeclarationError as error:
        # the flow was made where it was installed
        return cast(NodeAgent, _Missing(DeclarationError(f"node {spec.name!r}: {error}")))


class _Missing:
    """Stands for the agent of a node that cannot be opened: it does not start."""

    def __init__(self, error: DeclarationError) -> None:
        self._error = error

    def adopt(self, calls: Mapping[int, tuple[int, str]]) -> None:
        """Nothing: those are lost with their lease."""

    async def start(self) -> None:
        """Say why."""
        raise self._error

    async def close(self) -> None:
        """Nothing is open."""
