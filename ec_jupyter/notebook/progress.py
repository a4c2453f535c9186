"""The bar that shows how far a flow is: one a flow, only where the wait is long."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from ec_jupyter.client.texts import progress_text
from ec_jupyter.flow.states import ENDED
from ec_jupyter.notebook.config import settings


class Bar:
    """Progress of a flow's requests since it was made; calls `tell` when it is due, if nothing else shows it then."""

    def __init__(self, name: str, tell: Callable[[], object]) -> None:
        self._name = name  # what stands before it
        delay = settings().progress_delay
        self._due = time.monotonic() + delay if delay >= 0 else math.inf
        self._timer = threading.Timer(delay, tell) if delay > 0 else None
        self._before: int | None = None
        self._bar: Any = None

    def show(self, counts: dict[str, Any]) -> None:
        """Update it from a flow's counts."""
        ended, open_ = tally(counts)
        if self._before is None:
            self._before = ended
        if self._bar is None and time.monotonic() >= self._due:
            self._bar = _made(self._name)
        if self._bar is not None:
            part, said = under_way(counts)
            self._bar.total = max(ended - self._before + open_, 1)
            self._bar.n = ended - self._before + part
            self._bar.set_postfix_str(said, refresh=False)
            self._bar.refresh()

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._bar is not None:
            if kind is None:
                # the last counts may not have come, and an unfinished bar is shown as a failure
                self._bar.n = self._bar.total
            self._bar.close()


def tally(counts: dict[str, Any]) -> tuple[int, int]:
    """Requests that have ended, and those queued or running."""
    states = counts.get("sockets", {}).values()
    ended = sum(state.get(word, 0) for state in states for word in ENDED)
    return ended, sum(state.get("queued", 0) + state.get("running", 0) for state in states)


def under_way(counts: dict[str, Any]) -> tuple[float, str]:
    """How much of the running calls is done, in calls, as their tasks report it; and the same as text."""
    said = {name: row["progress"] for name, row in counts.get("sockets", {}).items() if row.get("progress")}
    part = sum(one["calls"] * min(one["done"] / one["total"], 1.0) for one in said.values() if one["total"])
    return round(part, 2) or 0, ", ".join(f"{name}: {progress_text(one)}" for name, one in said.items())


def _made(name: str) -> Any:
    from tqdm.auto import tqdm

    in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    # None: nothing where there is no terminal either
    return tqdm(desc=name, total=1, leave=False, disable=False if in_notebook else None, unit="call")
