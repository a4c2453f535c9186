"""The seam of all kinds of nodes: what the agent of a node can do, and what it reports to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ec_jupyter.wire import Block, Call, Outcome, Value

Used = tuple[str, int, float, int]
"""A process: its processor (empty where it is no one's alone), identity, CPU seconds so far, and bytes it holds."""


class Listener(Protocol):
    """What an agent reports to; every method is called on the loop's thread."""

    def blob(self, sha256: str) -> bytes:
        """The code of a task or condition by its hash."""

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> None:
        """A call runs, since `at` on the wall clock."""

    def finished(self, outcomes: list[Outcome]) -> None:
        """Calls have come to something."""

    def done(self, block: Block) -> None:
        """Calls have ended well, each with a small result and nothing else to say of it."""

    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None:
        """A generator has yielded these, from index `first` on."""

    def returned(self, requests: list[int]) -> None:
        """Calls are handed back, not charged: queue them again."""

    def died(self, request: int, attempt: int, text: str) -> None:
        """A call has killed its worker; `text` says how that ended."""

    def output(self, request: int, stream: str, text: str) -> None:
        """A call has printed; `stream` is ``stdout``, ``stderr`` or ``log``."""

    def progress(self, request: int, done: float, total: float | None, text: str) -> None:
        """A call says how far it is."""

    def room(self, processor: str) -> None:
        """A processor may take more calls than before."""

    def trouble(self, processor: str, text: str) -> None:
        """A processor has workers that cannot start."""


class NodeListener(Listener, Protocol):
    """What the agent of a node reports to."""

    def node(self, name: str) -> None:
        """The state or another fact of the node has changed."""

    def killed(self, name: str, ran: dict[int, bool]) -> None:
        """The agent there was killed while these calls ran, of which some had started programs; `lost` follows."""

    def lost(self, name: str, requests: list[int]) -> None:
        """Attempts there are surely over, and nobody knows what came of them."""

    def stays(self, file: str) -> None:
        """A value of this name is there and not here."""


class OpenListener(NodeListener, Protocol):
    """What a node's agent gets from the engine when it is opened."""

    def after(self, effect: Callable[[], None]) -> None:
        """Call `effect` once what was reported so far is on disk."""

    async def ask(self, text: str) -> str | None:
        """What a person answers to a question of the login; None where nobody does."""


class NodeAgent(Protocol):
    """What the engine asks of the agent of a node, of whatever kind that is."""

    name: str
    cpus: int

    @property
    def state(self) -> str:
        """``starting``, ``up``, ``away`` (what it has may run) or ``down``."""

    async def start(self) -> None:
        """Begin to reach the node; awaited before anything else but `adopt`."""

    async def close(self) -> None:
        """End what runs there."""

    def adopt(self, calls: Mapping[int, tuple[int, str]]) -> None:
        """Expect these, by request attempt and processor: an engine before this one has given them away."""

    def retry(self) -> None:
        """Try to reach the node now."""

    def processor(self, name: str, cpus: int, affinity: str | Sequence[int] = "auto", weight: float = 1.0) -> None:
        """Make or change a processor; `weight`: its share of the turns where its calls and others' wait for CPUs."""

    def remove(self, name: str) -> None:
        """Take a processor away."""

    def room(self, name: str) -> float:
        """How many more calls it takes: places, of which calls that share a worker take parts."""

    def assign(self, name: str, calls: list[Call]) -> None:
        """Give it calls."""

    def recall(self, requests: Collection[int]) -> None:
        """Ask for those back that have not begun."""

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        """End a call."""

    def running(self) -> dict[int, float]:
        """What runs, and for how many seconds."""

    def used(self) -> list[Used]:
        """What its processes have used so far, as far as that is known."""

    def facts(self) -> dict[str, Any]:
        """What there is to know of the node."""


class StoringAgent(NodeAgent, Protocol):
    """An agent whose large results stay on the node until they are needed elsewhere."""

    def holds(self, file: str) -> bool:
        """Whether the node has a value file."""

    async def bring(self, file: str) -> bool:
        """Copy a value file into the flow's folder; False if the node has it no more."""

    def release(self, files: Iterable[str]) -> None:
        """Drop value files that nothing refers to any more."""


@dataclass(frozen=True)
class Home:
    """Where the engine is, for those who open nodes."""

    flow: str  # identity of the flow
    folder: Path  # the flow's
    runtime: Path  # a short private folder, for sockets
    workdir: Path  # where modules are looked for
    epoch: int  # the engine's
    sync: bool  # whether value files are synced to the disk
