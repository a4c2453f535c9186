"""Records in a frame, column by column: a name is written once, and a value that all have too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def packed(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Columns as a frame has them: how many `records`, the `same` in all of them, and `each` of the other columns."""
    n = len(next(iter(columns.values()), ()))
    same = {name: column[0] for name, column in columns.items() if n and column.count(column[0]) == n}
    return {"records": n, "same": same, "each": {name: column for name, column in columns.items() if name not in same}}


def unpacked(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of `packed` columns, one dict each."""
    same, names = table["same"], list(table["each"])
    if not names:
        return [dict(same) for _ in range(table["records"])]
    return [{**same, **dict(zip(names, values, strict=True))} for values in zip(*table["each"].values(), strict=True)]
