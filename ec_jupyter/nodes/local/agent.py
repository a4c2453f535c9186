"""The agent: owns a node's CPUs and runs calls on them in worker processes.

It lives in an event loop and belongs to that loop's thread: every method is called there, and so
is every method of its listener. Each call it is given comes back once: as an outcome, as the
culprit of its worker's death, or handed back unharmed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ec_jupyter.errors import ProcessorNotFoundError, by_name
from ec_jupyter.flow.ledger import Ledger
from ec_jupyter.nodes import cpus as machine
from ec_jupyter.nodes.agents import Listener
from ec_jupyter.nodes.cpu_locks import CpuLocks
from ec_jupyter.nodes.cpus import Pins
from ec_jupyter.nodes.local.agent_context import AgentContext, Modules
from ec_jupyter.nodes.local.handles import Handles
from ec_jupyter.nodes.local.limits import Watch
from ec_jupyter.nodes.local.pool import Pool
from ec_jupyter.nodes.local.slot import Heard, Slot, WorkerConnection, at_once
from ec_jupyter.nodes.worker.setup import Setup
from ec_jupyter.wire import Call

JOIN_SECONDS = 5.0  # how long `Agent.close` waits for the threads of its slots


class Agent:
    """Runs calls on one node."""

    def __init__(  # noqa: PLR0913 - what a node is, by name
        self,
        listener: Listener,  # told what becomes of the calls
        *,
        name: str,
        cpus: int,  # those that the node lends; what runs together never takes more
        folder: Path,  # the flow's; values are files in its `values`
        runtime: Path,  # an existing private folder with a short name, for the socket and the mapped files
        epoch: int,  # the engine's, part of the names of value files
        workdir: Path,  # where workers run, and import modules from first
        idle: float = 300.0,  # seconds after which a worker with nothing to do ends
        sync: bool = False,  # whether value files are synced to the disk
        modules: Modules | None = None,  # finds modules that are not here; None: nobody can
        # whether all agents of the user on this machine that say so run no more calls together than it has CPUs; it
        # counts as having as many as the agent lends, if those are more
        shared: bool = False,
        heard: Heard = at_once,  # called with what takes the bytes that a worker has sent, and with them
    ) -> None:
        self.name, self.cpus = name, cpus
        loop = asyncio.get_running_loop()
        self._heard = heard
        self._plan = Setup(str(folder / "values"), str(workdir), epoch, sync, modules is not None)
        self._locks = CpuLocks(cpus, self._again, loop) if shared else None
        self._address = runtime / f"{secrets.token_hex(4)}.sock"
        self._pools: dict[str, Pool] = {}
        self._server: asyncio.AbstractServer | None = None
        self._turns: list[Slot] = []
        self._transports: set[asyncio.Transport] = set()
        self._keeps: Pool | None = None
        self.handles = Handles(self._slots, lambda slot: self._pools[slot.processor].spare(slot))
        self._context = AgentContext(
            listener=listener, ledger=Ledger(cpus, self._locks), locks=self._locks, loop=loop, runtime=runtime,
            idle=idle, setup=self._setup, granted=self._granted, replan=self._replan, watch=Watch(loop),
            modules=modules or (lambda _, answer: answer(None)), handles=self.handles,
        )  # fmt: skip

    async def start(self) -> None:
        """Listen for workers; to be awaited before anything else."""
        slots, transports, heard = self._context.by_token, self._transports, self._heard
        self._server = await self._context.loop.create_unix_server(
            lambda: WorkerConnection(slots, transports, heard), str(self._address)
        )
        self._address.chmod(0o600)

    async def look_after(self, runtime: Path) -> None:
        """Listen for workers again, in `runtime`, if the socket was removed."""
        if self._address.exists() or self._server is None:
            return
        old, self._address = self._server, runtime / f"{secrets.token_hex(4)}.sock"
        self._context.runtime = runtime
        await self.start()
        old.close()

    def processor(self, name: str, cpus: int, affinity: str | Sequence[int] = "auto", weight: float = 1.0) -> None:
        """Make a processor, or change it: it grows at once, and shrinks as running calls end."""
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = Pool(name, self._context)
        pool.processes.affinity = affinity
        pool.removed = False
        self._context.ledger.weigh(name, weight)
        pool.resize(cpus)
        self._replan()
        pool.pump()

    def remove(self, name: str) -> None:
        """Take a processor away: what it has not begun is handed back, what runs goes on."""
        pool = self._pool(name)
        pool.removed = True
        pool.recall([call.request for call in pool.queue])
        pool.resize(0)
        self._replan()

    @property
    def processors(self) -> set[str]:
        """Names of those that were not removed."""
        return {name for name, pool in self._pools.items() if not pool.removed}

    def warm(self, name: str) -> None:
        """Start a worker of the processor before there is a call for it."""
        self._pool(name).warm()

    def room(self, name: str) -> float:
        """How many more calls keep the processor's slots busy; 0 when it is full."""
        pool = self._pools.get(name)
        return 0 if pool is None or pool.removed else pool.room()

    def assign(self, name: str, calls: list[Call]) -> None:
        """Append calls to the processor's queue; they start in this order. Raises ProcessorNotFoundError."""
        self._pool(name).add(calls)

    def start_now(self, name: str, call: Call) -> tuple[float, int, int] | None:
        """Assign a call whose worker keeps its CPUs until `let_go`: when, slot and process, if it begins at once."""
        pool = self._pool(name)
        if pool is not self._keeps:
            self.let_go()
            self._keeps = pool
        return pool.start(call)

    def let_go(self) -> None:
        """Let CPUs be anybody's that a worker has kept for the next call."""
        if self._keeps is not None:
            self._keeps.let_go()
            self._keeps = None

    def recall(self, requests: Collection[int]) -> None:
        """Hand back those that have not begun; the others run on."""
        for pool in self._pools.values():
            pool.recall(requests)

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        """End a call, running or not; an outcome of that kind follows. Unknown ones are no error."""
        any(pool.cancel(request, kind) for pool in self._pools.values())

    def used(self) -> list[tuple[str, int, float, int]]:
        """Of each process: its processor, identity, the CPU seconds that it has used so far, and the bytes it holds."""
        slots = [(name, slot.pid) for name, pool in self._pools.items() for slot in pool.slots if slot.pid]
        return [(name, pid, *machine.used_by(pid)) for name, pid in slots]

    def running(self) -> dict[int, float]:
        """Requests that run now, and for how many seconds."""
        now = time.monotonic()
        found: dict[int, float] = {}
        for pool in self._pools.values():
            for slot in pool.slots:
                if running := slot.all_running():
                    found |= {request: now - began for request, began in running.items()}
                else:
                    # said to have begun as they were sent, though their worker has yet to get its turn
                    found |= dict.fromkeys(slot.announced, 0.0)
        return found

    @property
    def busy(self) -> float:
        """CPUs that calls use now."""
        return self._context.ledger.used

    @property
    def others(self) -> int:
        """CPUs of this machine that the user's other flows use now."""
        return self._locks.others() if self._locks is not None else 0

    async def close(self) -> None:
        """Kill every worker and all it has started; outcomes of remaining calls are not reported."""
        loop = asyncio.get_running_loop()
        slots = list(self._slots())
        for pool in self._pools.values():
            pool.close()
        self._context.watch.close()
        holders = [slot.holder for slot in slots if slot.holder.is_alive()]
        await asyncio.gather(*(loop.run_in_executor(None, holder.join, JOIN_SECONDS) for holder in holders))
        # not before: a connection that was just taken would never be served, nor closed
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        for transport in list(self._transports):
            transport.abort()
        for slot in slots:
            slot.forget()
        if self._locks is not None:
            self._locks.close()
        self._address.unlink(missing_ok=True)

    def _pool(self, name: str) -> Pool:
        return by_name(self._pools, name, ProcessorNotFoundError)

    def _slots(self) -> Iterator[Slot]:
        return (slot for pool in self._pools.values() for slot in pool.slots)

    def _setup(self, token: str, blame: str, pins: Pins) -> Setup:
        limits = tuple(machine.thread_limits(1))
        return replace(self._plan, token=token, address=str(self._address), blame=blame, pins=pins, limits=limits)

    def _again(self) -> None:
        """The machine may have a free CPU."""
        self._context.granted(self._context.ledger.grant())

    def _granted(self, slots: Iterable[Slot]) -> None:
        """Let slots go on that were granted CPUs; a grant may lead to further ones."""
        waiting = bool(self._turns)
        self._turns.extend(slots)
        if waiting:
            return  # further up this stack the list is gone through
        while self._turns:
            slot = self._turns[0]
            self._pools[slot.processor].granted(slot)
            self._turns.pop(0)

    def _replan(self) -> None:
        """Spread the node's CPUs over the slots anew."""
        wanted = {}
        for name, pool in self._pools.items():
            alone = pool.processes.threads == 1 or not isinstance(pool.processes.affinity, str)
            slots = [slot.index for slot in pool.slots if not slot.draining] if alone else []
            wanted[name] = (slots, pool.processes.affinity)
        lent = machine.available()[: self.cpus]
        crowded = sum(pool.cpus for pool in self._pools.values()) > len(lent)
        if crowded:
            wanted = {n: (s, a) for n, (s, a) in wanted.items() if not isinstance(a, str)}
        self._context.pins = machine.plan(wanted, lent)
        for pool in self._pools.values():
            pool.refresh()
