"""The workers of a Dask cluster: which there are, what files each has, and what runs in it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ec_jupyter.nodes.dask.cluster import Cluster, Cut
from ec_jupyter.wire import PROTOCOL, Call

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """A process of Dask, as long as this connection to its cluster lasts; `token` names this agent in it.

    `uses` are the CPU seconds that it had used when that was last told, and its bytes; `base` of the seconds were
    before it was ours.
    """

    cluster: Cluster
    address: str
    threads: int
    token: str
    pid: int
    base: float = 0.0
    uses: tuple[float, int] = (0.0, 0)
    used: int = 0
    blobs: set[str] = field(default_factory=set)
    files: OrderedDict[str, int] = field(default_factory=OrderedDict)
    batches: set[Batch] = field(default_factory=set)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    listener: asyncio.Task[None] | None = None

    async def act(self, word: str, *given: Any) -> Any:
        """Call a function of `nodes.dask.runtime` in it, beside what runs there. Raises SilentError, Cut."""
        return await self.cluster.act(self.address, word, self.token, *given)

    @property
    def free(self) -> int:
        """Threads that nothing of ours runs in."""
        return self.threads - self.used

    def has(self, names: Iterable[str]) -> int:
        """Bytes of these files that lie there."""
        return sum(self.files.get(name, 0) for name in names)

    @property
    def calls(self) -> int:
        """How many calls are in its hands."""
        return sum(len(batch.calls) for batch in self.batches if batch.sent)


@dataclass(eq=False)
class Batch:
    """Calls that share a task of Dask's; `heard` says how much of what each of them says has come."""

    processor: str
    calls: dict[int, Call]
    worker: Worker
    threads: int
    began: float
    task: asyncio.Task[None] | None = None
    sent: bool = False
    heard: dict[int, int] = field(default_factory=dict)
    yields: dict[int, int] = field(default_factory=dict)
    listening: asyncio.Lock = field(default_factory=asyncio.Lock)


class DaskWorkers:
    """The workers that calls can run in. `workdir`: where modules beside the notebook lie."""

    def __init__(self, flow: str, epoch: int, workdir: Path, most: int | None) -> None:
        self.cluster: Cluster | None = None  # the connection, while there is one
        self.by_address: dict[str, Worker] = {}
        self.refused: dict[str, str] = {}  # workers that cannot run our calls, and why
        # python, version: what they run
        self.python: str | None = None
        self.version: str | None = None
        self._given = (flow, epoch, str(workdir))
        self._most = most  # CPUs to use at most; None: a thread of a worker each

    @property
    def cpus(self) -> int:
        """CPUs they lend."""
        threads = sum(worker.threads for worker in self.by_address.values())
        return threads if self._most is None else min(self._most, threads)

    @property
    def used(self) -> int:
        """CPUs that are in use."""
        return sum(worker.used for worker in self.by_address.values())

    @property
    def batches(self) -> Iterator[Batch]:
        """All that was sent."""
        return itertools.chain.from_iterable(worker.batches for worker in self.by_address.values())

    async def enter(self, address: str, threads: int) -> tuple[Worker, dict[str, int]] | None:
        """Enter a worker: the worker and the sizes of the flow's files there, by name; None where that fails."""
        cluster = self.cluster
        assert cluster is not None
        token = secrets.token_hex(8)
        try:
            facts = await cluster.enter(address, token, *self._given)
        except Exception as error:
            # whatever the import of our package raises there
            if not cluster.connected:
                raise Cut(str(error)) from error
            log.info("worker %s: %s", address, error)
            return None
        if self.cluster is not cluster:
            raise Cut("the scheduler is gone")
        python = ".".join(map(str, facts["python"]))
        if facts["python"][:2] != list(sys.version_info[:2]) or facts["protocol"] != PROTOCOL:
            self.refused[address] = (
                f"worker {address} has Python {python} and ec_jupyter {facts['version']}; this notebook has Python "
                f"{sys.version_info[0]}.{sys.version_info[1]}: functions cannot travel between them"
            )
            return None
        self.python, self.version = python, facts["version"]
        worker = self.by_address[address] = Worker(cluster, address, threads, token, facts["pid"])
        worker.base, worker.uses = facts["used"][0], tuple(facts["used"])
        return worker, facts["files"]

    def choose(self, threads: int, names: Iterable[str]) -> Worker | None:
        """The worker with room for so many that has most of these files, and then most room."""
        names = list(names)
        fit = (worker for worker in self.by_address.values() if worker.free >= threads)
        return max(fit, key=lambda worker: (worker.has(names), worker.free), default=None)

    def holders(self, name: str) -> list[Worker]:
        """The workers that have a file."""
        return [worker for worker in self.by_address.values() if name in worker.files]
