"""The processes of one processor: when another is worth it, and what is done where they do not start."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from ec_jupyter.nodes.local.agent_context import AgentContext
from ec_jupyter.nodes.local.handles import AGAIN_SECONDS, limit
from ec_jupyter.nodes.local.slot import Slot
from ec_jupyter.wire import Call

BEGUN_SECONDS = 0.01
"""How long a call may run before those that wait, of which nothing is known either, get a process of their own."""

SPAWN_SECONDS = 0.05  # work the ready slots have to have before short calls are worth another process
STARTS = 3  # how often a worker may fail to start before its calls are handed back
TROUBLE_SECONDS = 5.0
SLOW_SECONDS = 8.0  # a worker that takes longer to start is told of: a thread that found no memory ends without a word


class Processes:
    """Starts processes in the slots of a processor. `slots`: its slots at any time."""

    def __init__(self, name: str, slots: Sequence[Slot], context: AgentContext, pump: Callable[[], None]) -> None:
        self.affinity: str | Sequence[int] = "auto"  # the CPUs they are bound to, or how those are chosen
        self.threads = 1  # the most threads that a call is to have
        self.pump = pump  # sends calls that wait; called when a process may be started that could not be before
        self._name, self._slots, self._context = name, slots, context
        self._not_before: dict[Slot, float] = {}
        self._trouble_until = 0.0
        self._later: asyncio.TimerHandle | None = None

    @property
    def troubled(self) -> bool:
        """Whether they have failed to start, and none is tried for some time."""
        return time.monotonic() < self._trouble_until

    def stale(self, slot: Slot) -> bool:
        """Whether a slot's process has other CPUs or fewer threads than are planned now."""
        return slot.threads < self.threads or slot.pins != self._context.pins.get((self._name, slot.index), ())

    def spawn(self, queue: Sequence[Call], prompt: int) -> None:
        """Start processes for calls that wait, now or later; `prompt`: how many slots will soon take more."""
        seconds, now = self._context.durations.get(queue[0].spec.task), time.monotonic()
        if seconds is None and not queue[0].spec.fresh and any(self._begins(slot, now) for slot in self._slots):
            # most likely as long as that, of which much is known soon: before a process could have started
            return self._pump_in(BEGUN_SECONDS)
        seconds = seconds or SPAWN_SECONDS
        if prompt and seconds * len(queue) / prompt < SPAWN_SECONDS:
            return self._pump_in(SPAWN_SECONDS)
        wanted = math.ceil(len(queue) / queue[0].spec.concurrent)
        wanted -= sum(slot.state == "starting" for slot in self._slots)
        for slot in self._slots:
            if wanted <= 0 or slot.state != "cold" or slot.draining:
                continue
            delay = self._not_before.get(slot, 0.0) - now
            if delay > 0:
                self._pump_in(delay)
            elif why := self.start(slot):
                ready = self._some_ready()
                if self._context.handles.wait(self.pump) and not ready:
                    self._context.listener.trouble(self._name, f"{why}; its calls wait until others are done")
                return self._pump_in(AGAIN_SECONDS)
            else:
                wanted -= 1
        return None

    @staticmethod
    def _begins(slot: Slot, now: float) -> bool:
        return slot.state == "ready" and bool(slot.calls) and now - slot.since < BEGUN_SECONDS

    def _pump_in(self, seconds: float) -> None:
        loop = self._context.loop
        if self._later is not None:
            if self._later.when() <= loop.time() + seconds:
                return
            self._later.cancel()
        self._later = loop.call_later(seconds, self._pump_later)

    def _pump_later(self) -> None:
        self._later = None
        self.pump()

    def start(self, slot: Slot) -> str:
        """Start a slot's process; else, for what there is no room."""
        context = self._context
        if not context.handles.room():
            return f"all {limit()} files are open that this process may have (ulimit -n)"
        pins = context.pins.get((self._name, slot.index), ())
        slot.follows = isinstance(self.affinity, str)
        try:
            token = slot.start(context.setup, pins, self.threads, context.idle, context.runtime, context.fds)
        except MemoryError as error:
            return f"there is no memory for another process: {error} (ulimit -v)"
        context.by_token[token] = slot
        context.loop.call_later(SLOW_SECONDS, self._see_start, slot, token)
        return ""

    def _see_start(self, slot: Slot, token: str) -> None:
        """Tell of a process that does not come up and has not ended either."""
        starting = slot.state == "starting" and self._context.by_token.get(token) is slot
        if starting and not self._some_ready():
            self._context.listener.trouble(
                self._name,
                f"one has been starting for {SLOW_SECONDS:g} s and says nothing: "
                "too little memory (ulimit -v), or a Python that is slow to start here",
            )

    def _some_ready(self) -> bool:
        return any(slot.state == "ready" for slot in self._slots)

    def failed(self, slot: Slot, text: str) -> bool:
        """A process has ended and no call is to blame: the next is not started at once, or, if True, for long."""
        slot.failures += 1
        now = time.monotonic()
        self._not_before[slot] = now + min(TROUBLE_SECONDS, 0.1 * 2 ** (slot.failures - 1))
        if slot.failures < STARTS or self._some_ready():
            return False
        self._trouble_until = now + TROUBLE_SECONDS
        self._context.loop.call_later(TROUBLE_SECONDS, self._context.listener.room, self._name)
        self._context.listener.trouble(self._name, text)
        return True

    def forget(self, slot: Slot) -> None:
        """A slot is gone for good."""
        self._not_before.pop(slot, None)

    def close(self) -> None:
        """Start nothing later."""
        if self._later is not None:
            self._later.cancel()
