"""The running cell's id, where the front end gives one."""

from __future__ import annotations

from typing import Any

_now: list[str | None] = [None]


def begin(info: Any) -> None:
    """A cell begins; called by IPython."""
    _now[0] = getattr(info, "cell_id", None)


def running() -> str | None:
    """Id of the cell that runs, or None where the front end gives none."""
    return _now[0]
