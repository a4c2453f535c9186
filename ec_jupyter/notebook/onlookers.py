"""The open views of a picture: each sends heartbeats, and one that falls silent is taken to be closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SILENCE = 30.0  # seconds without a heartbeat after which a view is checked; a page sends one every ten seconds
GRACE = 2.0  # seconds of a free loop in which heartbeats that are waiting are read


class Onlookers:
    """The open views."""

    def __init__(self, left: Callable[[], None]) -> None:
        self._left = left  # called when a view was given up
        self._views: dict[str, tuple[float, asyncio.AbstractEventLoop | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._views)

    def here(self, view: str) -> bool:
        """Note a heartbeat of a view; whether the view is new. Called in the loop that reads the page's messages."""
        new = view not in self._views
        self._views[view] = (time.monotonic(), _loop())
        return new

    def away(self, view: str) -> None:
        """Remove a view."""
        self._views.pop(view, None)

    def sweep(self) -> None:
        """Remove the views that a reload, a closed window or a lost network ended without a message."""
        now = time.monotonic()
        for view, (heard, loop) in list(self._views.items()):
            if now - heard < SILENCE:
                continue
            # its heartbeat may wait behind a cell that computes: the loop that would read it removes the view
            self._views[view] = (now, loop)
            try:
                if loop is None:
                    self._drop(view, now)
                else:
                    loop.call_soon_threadsafe(loop.call_later, GRACE, self._drop, view, now)
            except RuntimeError:
                # that loop is closed: the page's subshell is gone, and so is the page
                self._drop(view, now)

    def _drop(self, view: str, asked: float) -> None:
        if self._views.get(view, (None,))[0] == asked:
            self.away(view)
            self._left()


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
