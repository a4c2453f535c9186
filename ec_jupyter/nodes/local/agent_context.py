"""The state that the pools of one agent share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ec_jupyter.flow.ledger import Ledger
from ec_jupyter.nodes.agents import Listener
from ec_jupyter.nodes.cpu_locks import CpuLocks
from ec_jupyter.nodes.cpus import Pins
from ec_jupyter.nodes.durations import Durations
from ec_jupyter.nodes.local.handles import Handles
from ec_jupyter.nodes.local.limits import Watch
from ec_jupyter.nodes.local.slot import Slot
from ec_jupyter.nodes.worker.invoke import STOPPED
from ec_jupyter.nodes.worker.setup import Setup
from ec_jupyter.wire import Call, Outcome

Modules = Callable[[str, Callable[[bytes | None], None]], None]
"""Takes a module's name and a callback, which gets its source, or None if it is not found."""


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
    """The message of a call that was stopped."""
    return f"{call.spec.socket!r} was cancelled" if kind == "cancelled" else f"{call.spec.socket!r} was stopped: {kind}"


def failed(call: Call, kind: str, message: str, exit_text: str | None = None) -> Outcome:
    """The outcome of a call that was stopped."""
    error: dict[str, Any] = {"type": STOPPED.get(kind, "TaskError"), "message": message, "traceback": "", "kind": kind}
    if exit_text is not None:
        error["exit"] = exit_text
    return Outcome(call.request, call.attempt, "failed", error=error)
