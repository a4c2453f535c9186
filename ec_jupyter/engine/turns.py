"""Turns of the engine's event loop, and in which of them its ticks are."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from ec_jupyter.nodes.incoming import read_now


class Turns(selectors.DefaultSelector):
    """A selector that knows whether the loop has slept and was woken by one file alone.

    Attributes
    ----------
    lone : bool
        It was: nothing else has come in this turn, and nothing was being done before it.
    """

    lone = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events; as its base does."""
        found = super().select(timeout)
        # a loop that has something else to do does not wait
        self.lone = len(found) == 1 and timeout != 0
        if self.lone and found[0][1] == selectors.EVENT_READ and read_now(found[0][0].fd):
            # handled here, without the way through the loop: that is a third of what a short frame costs
            return []
        return found


class Ticks:
    """Has a tick follow what has come in: in the loop's next turn, or in this one where nothing else has come in.

    Parameters
    ----------
    alone : callable
        Whether what is handled now is all that has come in.
    tick : callable
        The tick; it takes `due` back.
    failed : callable
        Told of an error of a tick as an event loop tells of errors.

    Attributes
    ----------
    due : bool
        A tick is to follow.
    not_before : float
        While much comes in the next one is not before this time of the loop.
    """

    def __init__(
        self, alone: Callable[[], bool], tick: Callable[[], None], failed: Callable[[dict[str, Any]], None]
    ) -> None:
        self._alone, self._tick, self._failed = alone, tick, failed
        self._loop = asyncio.get_running_loop()
        self._held = self.due = False
        self.not_before = 0.0

    def rouse(self) -> None:
        """Have one, which takes what clients have logged."""
        if not self.due:
            self.due = True
            if not self._held:
                self._call()

    def heard(self, take: Callable[[bytes], None], data: bytes) -> None:
        """Take what a client or worker has sent; where nothing else has come in, the tick follows at once."""
        self._held = self._alone() and self._loop.time() >= self.not_before
        try:
            take(data)
        except BaseException:
            if self._held:
                # whether the engine goes on is decided first
                self._held = False
                self._call()
            raise
        if self._held:
            self._held = False
            try:
                self._run()
            except Exception as error:  # noqa: BLE001 - told as the loop tells of a tick that it calls itself
                self._failed({"message": "exception in a tick", "exception": error})

    def _call(self) -> None:
        if self._loop.time() < self.not_before:
            self._loop.call_at(self.not_before, self._run)
        else:
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        if self.due:
            self._tick()


def run(main: Callable[[Turns], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine in a loop whose turns it can ask about; what it returns."""
    turns = Turns()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(turns)) as runner:
        return runner.run(main(turns))
