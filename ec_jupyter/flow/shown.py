"""The difference between two wirings that a client sees: after one edit of a thousand sockets it is one row.

Pure: two wirings as clients see them in, the difference out, and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ec_jupyter.flow.rows import View

_TABLES = ("sockets", "processors", "plugs")


def changes(old: View, new: View) -> dict[str, Any]:
    """The difference from which `merged` makes the new wiring; rows that are the same object are not compared."""
    found: dict[str, Any] = {}
    for key, value in new.items():
        if key in _TABLES:
            before, after = _table(old[key]), _table(value)
            rows = {k: row for k, row in after.items() if before.get(k) is not row and before.get(k) != row}
            if [*before, *(k for k in rows if k not in before)] != [*after]:
                found[f"{key}_left"] = [*after]
            if rows:
                found[key] = list(rows.values()) if key == "plugs" else rows
        elif old[key] != value:
            found[key] = value
    return found


def merged(old: View, changed: View) -> dict[str, Any]:
    """The new wiring; the old one is left as it is."""
    new = {**old}
    for key, value in changed.items():
        if key in _TABLES:
            new[key] = _untable(key, {**_table(old[key]), **_table(value)})
        elif not key.endswith("_left"):
            new[key] = value
    for key in _TABLES:
        left = changed.get(f"{key}_left")
        if left is not None:
            table = _table(new[key])
            new[key] = _untable(key, {k: table[k] for k in left})
    return new


def _table(rows: Any) -> dict[Any, Any]:
    return dict(rows) if isinstance(rows, Mapping) else {row["id"]: row for row in rows}


def _untable(key: str, table: dict[Any, Any]) -> Any:
    return list(table.values()) if key == "plugs" else table
