"""Time and memory a running call may take."""

from __future__ import annotations

import asyncio
import time

from ec_jupyter.nodes.cpus import resident_bytes
from ec_jupyter.nodes.local.slot import Slot
from ec_jupyter.nodes.worker.output import amount
from ec_jupyter.wire import Call, CallSpec

MEMORY_SECONDS = 0.5  # how often the memory of a call that has a limit is looked at


class Watch:
    """Stops calls that are past their limits; looks only while such a call is in a slot."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[Slot, asyncio.TimerHandle] = {}

    def see(self, slot: Slot) -> None:
        """Look after the calls the slot holds; to be called when it gets one that is limited."""
        if slot not in self._timers:
            self._look(slot)

    def close(self) -> None:
        """Look no more."""
        for timer in self._timers.values():
            timer.cancel()

    def _look(self, slot: Slot) -> None:
        waits = [_pause(call.spec) for call in slot.calls.values() if call.spec.limited]
        if not waits:
            self._timers.pop(slot, None)
            return
        # a call that begins right after this look is over its time no earlier than the next one
        wait = min(waits)
        now = time.monotonic()
        for request, began in slot.all_running().items():
            if slot.calls[request].spec.limited:
                wait = min(wait, _checked(slot, slot.calls[request], now - began))
        self._timers[slot] = self._loop.call_later(wait, self._look, slot)


def _pause(spec: CallSpec) -> float:
    pauses = [] if spec.timeout is None else [max(spec.timeout, 0.001)]
    return min([*pauses, MEMORY_SECONDS]) if spec.memory is not None else pauses[0]


def _checked(slot: Slot, call: Call, seconds: float) -> float:
    """Stop the call if it is past a limit; when to look again."""
    if call.spec.memory is not None and call.request not in slot.stops:
        grown = resident_bytes(slot.pid)
        if grown > call.spec.memory and len(slot.began) > 1:
            # which of them has grown is not known: they run again, fewer together
            slot.kill(0)
        elif grown > call.spec.memory:
            message = f"{call.spec.socket!r} grew to {amount(grown)} (limit {amount(call.spec.memory)})"
            slot.stops[call.request] = ("memory", message)
            slot.kill(call.request)
    if call.spec.timeout is None or call.request in slot.stops:
        return MEMORY_SECONDS
    if seconds >= call.spec.timeout:
        slot.stop(call.request, "timeout", f"{call.spec.socket!r} ran longer than {call.spec.timeout:g} s")
        return MEMORY_SECONDS
    return call.spec.timeout - seconds
