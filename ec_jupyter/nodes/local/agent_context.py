"""The state that the pools of one agent share, and the listener they report to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ec_jupyter.flow.ledger import Ledger
from ec_jupyter.nodes.cpu_locks import CpuLocks
from ec_jupyter.nodes.cpus import Pins
from ec_jupyter.nodes.durations import Durations
from ec_jupyter.nodes.local.handles import Handles
from ec_jupyter.nodes.local.limits import Watch
from ec_jupyter.nodes.local.slot import Slot
from ec_jupyter.nodes.worker.invoke import STOPPED
from ec_jupyter.nodes.worker.process import Setup
from ec_jupyter.wire import Call, Outcome, Value

Modules = Callable[[str, Callable[[bytes | None], None]], None]
"""Takes a module's name, and what is to be told when it has been found, or not."""


class Listener(Protocol):
    """What an agent reports to; every method is called on the loop's thread."""

    def blob(self, sha256: str) -> bytes:
        """The code of a task or condition by its hash."""

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> None:
        """A call runs, since `at` on the wall clock."""

    def finished(self, outcomes: list[Outcome]) -> None:
        """Calls have come to something."""

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

    def lost(self, name: str, requests: list[int]) -> None:
        """Attempts there are surely over, and nobody knows what came of them."""

    def stays(self, file: str) -> None:
        """A value of this name is there and not here."""


@dataclass
class AgentContext:
    """What the pools of one agent share."""

    listener: Listener
    ledger: Ledger
    loop: asyncio.AbstractEventLoop
    runtime: Path
    idle: float
    setup: Callable[[str, str, Pins], Setup]
    granted: Callable[[Iterable[Any]], None]
    replan: Callable[[], None]
    watch: Watch
    modules: Modules
    locks: CpuLocks | None
    handles: Handles
    by_token: dict[str, Slot] = field(default_factory=dict)
    pins: dict[tuple[str, int], Pins] = field(default_factory=dict)
    durations: Durations = field(default_factory=Durations)

    @property
    def fds(self) -> tuple[int, ...]:
        """What workers are to inherit: the locks of the CPUs they use."""
        return self.locks.fds if self.locks is not None else ()

    def forget(self, slot: Slot) -> None:
        """Expect no connection of a slot's process any more."""
        for token in [token for token, one in self.by_token.items() if one is slot]:
            del self.by_token[token]

    def due(self, slot: Slot) -> bool:
        """Whether a slot is to begin nothing more, for another flow waits for its CPUs."""
        return self.locks is not None and self.locks.due(slot)


def stop_text(call: Call, kind: str) -> str:
    """What to say of a call that was stopped."""
    return f"{call.socket!r} was cancelled" if kind == "cancelled" else f"{call.socket!r} was stopped: {kind}"


def failed(call: Call, kind: str, message: str, exit_text: str | None = None) -> Outcome:
    """The outcome of a call that was stopped."""
    error: dict[str, Any] = {"type": STOPPED.get(kind, "TaskError"), "message": message, "traceback": "", "kind": kind}
    if exit_text is not None:
        error["exit"] = exit_text
    return Outcome(call.request, call.attempt, "failed", error=error, started=time.time())
