"""The wiring as it was: what is in force now, with every edit since then taken back. Pure.

What no revision holds (what was paused, places that nobody gave) is as it is now.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ec_jupyter.errors import RevisionError
from ec_jupyter.flow.draft import TABLES, Touched
from ec_jupyter.flow.edit import unchanged_by_revisions
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import from_json

STEP = 3  # what a row of the history is `undone` to, if it is an undo or a redo itself


class Row(NamedTuple):
    """A revision as the history has it."""

    n: int
    change: str
    text: str
    time: float
    undone: int


class _Step(NamedTuple):
    n: int
    change: str
    forward: bool


def wiring_at(topology: Topology, history: Sequence[Row], n: int) -> Topology:
    """The wiring of revision `n`; `history`: all, oldest first. Raises RevisionError: one cannot be read."""
    tables: dict[str, dict[Any, Any]] = {name: dict(getattr(topology, name)) for name in TABLES.values()}
    for step in reversed(_steps(history)):
        if step.n <= n:
            break
        for kind, key, before, after in _touched(step):
            table = tables[TABLES[kind]]
            record = unchanged_by_revisions(before if step.forward else after, table.get(key))
            if record is None:
                table.pop(key, None)
            else:
                table[key] = record
    return replace(topology, revision=n, **tables)


def revision_at(history: Sequence[Row], time: float) -> int:
    """Number of the revision that was in force at a time; 0 before the first."""
    return max((row.n for row in history if row.time <= time), default=0)


def _steps(history: Sequence[Row]) -> list[_Step]:
    """What each revision did, with undo and redo as what they took back or made again."""
    steps: list[_Step] = []
    done: list[Row] = []
    undone: list[Row] = []
    for row in history:
        if row.undone != STEP:
            steps.append(_Step(row.n, row.change, True))
            done.append(row)
            undone.clear()
            continue
        back = row.text.startswith("undo")
        here, there = (done, undone) if back else (undone, done)
        if here:
            there.append(here.pop())
            steps.append(_Step(row.n, there[-1].change, not back))
    return steps


def _touched(step: _Step) -> list[Touched]:
    """Records of a step, in the order in which they are to be put back."""
    try:
        found = [
            (kind, key, from_json(kind, before) if before else None, from_json(kind, after) if after else None)
            for kind, key, before, after in json.loads(step.change)
            if kind != "task"
        ]
    except (ValueError, TypeError, LookupError) as error:
        raise RevisionError(f"revision {step.n} cannot be read: {type(error).__name__}: {error}") from error
    return found[::-1] if step.forward else found
