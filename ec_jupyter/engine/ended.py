"""How requests ended, as those who wait for them are told. Read-only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Ended, StoredValue
from ec_jupyter.engine.rows import id_list
from ec_jupyter.wire import Header, encode


def heads(values: Iterable[StoredValue], buffers: list[bytes]) -> list[list[Any]]:
    """Values as headers name them; what is inline is appended to `buffers`."""
    found = []
    for stored in values:
        found.append([*stored.value.head(), stored.place])
        if stored.value.data is not None:
            buffers.append(stored.value.data)
        elif stored.value.file is None:
            buffers.append(b"")
    return found


def head(stored: StoredValue | None, buffers: list[bytes]) -> list[Any] | None:
    """The same for one value, or none."""
    return heads([stored], buffers)[0] if stored is not None else None


def ended_row(core: Core, ended: Ended) -> tuple[dict[str, Any], list[bytes]]:
    """How a request ended, with the result that its caller waits for."""
    buffers: list[bytes] = []
    row: dict[str, Any] = {"id": ended.id, "state": ended.state, "attempt": ended.job.attempt}
    row["socket"] = core.topology.sockets[ended.job.socket].name
    if ended.value is not None:
        row["value"] = head(ended.value, buffers)
    if ended.error is not None:
        row["error"] = ended.error
        row["exception"] = head(ended.exception, buffers)
    if ended.value is None and ended.state == "done":
        row["values"] = heads(core.values.emitted(ended.id) if ended.job.emitted else (), buffers)
    return row, buffers


class PlainResults:
    """Calls that went well and whose results are small, in columns, for one client."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._types: list[str] = []
        self._values: list[bytes] = []

    def add(self, ids: Iterable[int], values: Iterable[bytes], types: Iterable[str]) -> None:
        """Add some."""
        self.ids += ids
        self._values += values
        self._types += types

    def frame(self) -> bytes:
        """The frame that tells of them."""
        return encode(_results(self.ids, self._types), self._values)


def _results(ids: list[int], types: list[str]) -> Header:
    one = set(types)
    return {"k": "results", "ids": ids, "types": one.pop() if len(one) == 1 else types}


def small_results(core: Core, requests: list[int]) -> tuple[Header, list[bytes]]:
    """The same frame of those requests of which the database has such results."""
    wanted = set(requests)
    ends = core.journal.ends.results(len(wanted), among=(min(wanted), max(wanted)))
    rows = [row for part in ends for row in zip(*part, strict=True) if row[0] in wanted]
    rows += core.store.rows("small_results", (id_list(requests),))
    return _results([key for key, _, _ in rows], [kind for _, _, kind in rows]), [data for _, data, _ in rows]


def finished(core: Core, requests: list[int]) -> tuple[list[dict[str, Any]], list[bytes], list[int]]:
    """Rows of those requests that have ended, their buffers, and the requests that have not.

    What ended with others and has no row is none of them: `small_results` has it.
    """
    rows: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    unfinished: list[int] = []
    # who is queued here has not been looked for: what is asked of has a row, or there is no such request
    found = core.store.connection.execute(
        "SELECT id, socket, state, attempt, result, error, exception, bytes, type FROM request "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (id_list(requests),),
    ).fetchall()
    values = core.values.of_results([(r[4], *r[7:]) for r in found])
    values |= core.values.load({r[6] for r in found if r[6] is not None})
    for key, socket, state, attempt, result, error, exception, *_ in found:
        if state in ("waiting", "queued", "running"):
            unfinished.append(key)
            continue
        name = core.topology.sockets[socket].name
        row: dict[str, Any] = {"id": key, "state": state, "attempt": attempt, "socket": name}
        if result is not None:
            row["value"] = head(values[result], buffers)
        elif state == "done":
            row["values"] = heads(core.values.emitted(key), buffers)
        if error is not None and state in ("failed", "skipped"):
            row["error"] = json.loads(error)
            row["exception"] = head(values.get(exception), buffers)
        rows.append(row)
    known = {r[0] for r in found}
    rows += [{"id": i, "state": "unknown"} for i in requests if i not in known]
    return rows, buffers, unfinished
