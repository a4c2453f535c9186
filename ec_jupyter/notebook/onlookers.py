"""Who looks at a picture: views say so, and say so again; one that falls silent is taken to be gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SILENCE = 30.0
"""Seconds after which a view that has said nothing is asked after; a page says that it is there every ten."""

GRACE = 2.0
"""Seconds of a free loop in which what such a view has said meanwhile is read."""


class Onlookers:
    """The views that somebody looks at.

    Parameters
    ----------
    left : callable
        Called when a view was given up.
    """

    def __init__(self, left: Callable[[], None]) -> None:
        self._left = left
        self._views: dict[str, tuple[float, asyncio.AbstractEventLoop | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._views)

    def here(self, view: str) -> bool:
        """Somebody looks at a view; whether that is news. Called in the loop that reads what the page says."""
        new = view not in self._views
        self._views[view] = (time.monotonic(), _loop())
        return new

    def away(self, view: str) -> None:
        """Nobody looks at a view."""
        self._views.pop(view, None)

    def sweep(self) -> None:
        """Give up the views that a reload, a closed window or a lost network took away without a word."""
        now = time.monotonic()
        for view, (heard, loop) in list(self._views.items()):
            if now - heard < SILENCE:
                continue
            # what it said may wait behind a cell that computes: it is given up by the loop that would read it
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
