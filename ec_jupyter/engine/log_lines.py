"""The log of a flow: output, failures, deaths, retries, edits and notices, in order of time. Read-only.

Each kind lies in a table of its own, in order of time; a page is a merge of their ends. What is sought is looked for
in so many rows at a time, so that a text which nobody has printed does not hold the engine up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.requests import filtered
from ec_jupyter.wire import Header

WINDOW = 20_000  # rows of each table that one question looks through
LIMIT = 200
MOST = 5_000
LONGEST = 4_000  # characters of a line; the request has all of them
LEVELS = ("info", "warning", "error")

# of each table: number and time of a row, kind, text, request, whom else it is about, level; and where it is read
_SOURCES = {
    "output": (
        "o.rowid", "o.time", "o.stream", "o.text", "o.request", "NULL",
        "CASE WHEN o.stream = 'stderr' THEN 1 WHEN o.stream <> 'log' THEN 0 WHEN o.text LIKE 'WARNING %' THEN 1 "
        "WHEN o.text LIKE 'ERROR %' OR o.text LIKE 'CRITICAL %' THEN 2 ELSE 0 END",
        "output o LEFT JOIN request r ON r.id = o.request",
    ),
    "event": (
        "e.seq", "e.time", "e.kind", "e.detail", "r.id", "e.subject",
        "CASE WHEN e.kind IN ('notice', 'dropped') THEN 1 WHEN e.kind = 'reused' THEN 0 WHEN e.kind <> 'node' THEN 2 "
        "WHEN e.detail LIKE '[\"down\"%' OR e.detail LIKE '[\"away\"%' THEN 1 ELSE 0 END",
        "event e LEFT JOIN request r "
        "ON e.kind IN ('died', 'failed', 'reused', 'dropped') AND r.id = CAST(e.subject AS INTEGER)",
    ),
    "attempt": (
        "a.rowid", "coalesce(a.time, a.started, 0)", "'retry'", "a.error", "a.request", "a.attempt", "1",
        "attempt a LEFT JOIN request r ON r.id = a.request",
    ),
    "revision": ("v.n", "v.time", "'edit'", "v.text", "NULL", "v.n", "0", "revision v LEFT JOIN request r ON 0"),
}  # fmt: skip


Row = tuple[Any, ...]


def lines(core: Core, header: Header) -> tuple[dict[str, Any], list[bytes]]:
    """Lines, oldest first: the newest; those before a place, `older` of a page; or those that came since, `newer`."""
    terms, parameters = _filter(core, header)
    limit = min(header.get("limit") or LIMIT, MOST)
    tops = {name: _top(core, name) for name in _SOURCES}
    if header.get("newer") is not None:
        found, newer = _since(core, header["newer"], tops, terms, parameters | {"limit": limit})
        return {"lines": list(_shown(core, found)), "newer": newer}, []
    before = header.get("older") or {name: top + 1 for name, top in tops.items()}
    found, older = _before(core, before, terms, parameters | {"limit": limit})
    more = any(at > 1 for at in older.values())
    return {"lines": list(_shown(core, found)), "older": older if more else None, "newer": tops}, []


def _filter(core: Core, header: Header) -> tuple[str, dict[str, Any]]:
    """What a row is to be, in terms of its columns and of its request `r`."""
    among, parameters = filtered(core, {word: header.get(word) for word in ("socket", "run")}, {})
    terms = [among]
    if header.get("request") is not None:
        terms.append("r.id = :request")
        parameters["request"] = header["request"]
    if header.get("level") is not None:
        terms.append("{level} >= :level")
        parameters["level"] = LEVELS.index(header["level"])
    if header.get("text"):
        terms.append("({text} LIKE :text ESCAPE '\\' OR {about} LIKE :text ESCAPE '\\')")
        escaped = "".join(f"\\{c}" if c in "\\%_" else c for c in header["text"])
        parameters["text"] = f"%{escaped}%"
    return " AND ".join(terms), parameters


def _top(core: Core, name: str) -> int:
    return int(core.store.db.execute(f"SELECT coalesce(max({_column(name)}), 0) FROM {name}").fetchone()[0])


def _column(name: str) -> str:
    return _SOURCES[name][0].partition(".")[2]


def _rows(core: Core, name: str, terms: str, between: dict[str, Any], *, newest: bool) -> list[Row]:
    key, time, kind, text, request, about, level, table = _SOURCES[name]
    where = terms.format(level=level, text=text, about=about)
    return core.store.db.execute(
        f"SELECT {key}, {time}, {kind}, {text}, {request}, {about}, {level}, r.socket, r.run FROM {table} "
        f"WHERE {key} > :low AND {key} <= :high AND {where} ORDER BY {key} {'DESC' if newest else 'ASC'} LIMIT :limit",
        between,
    ).fetchall()


def _since(
    core: Core, after: dict[str, int], tops: dict[str, int], terms: str, parameters: dict[str, Any]
) -> tuple[list[Row], dict[str, int]]:
    """Rows that came after a place, and the place after them."""
    found, newer = [], {}
    for name, top in tops.items():
        low = after.get(name, top)
        # of a flow that was cleared, numbers begin anew
        low = low if low <= top else 0
        high = min(top, low + WINDOW)
        rows = _rows(core, name, terms, {**parameters, "low": low, "high": high}, newest=False)
        newer[name] = rows[-1][0] if len(rows) == parameters["limit"] else high
        found += rows
    return sorted(found, key=lambda row: row[1]), newer


def _before(
    core: Core, before: dict[str, int], terms: str, parameters: dict[str, Any]
) -> tuple[list[Row], dict[str, int]]:
    """The newest rows before a place, and the place before them."""
    limit = parameters["limit"]
    pages: dict[str, tuple[list[tuple[float, Row]], int]] = {}
    horizon = 0.0
    for name in _SOURCES:
        high = before.get(name, 1) - 1
        # an index has the lines of one request
        low = 0 if "request" in parameters else max(0, high - WINDOW)
        rows = _rows(core, name, terms, {**parameters, "low": low, "high": high}, newest=True)
        page, order = [], float("inf")
        for row in rows:
            # its time, or that of a later row where a clock was set back between them
            order = min(order, row[1])
            page.append((order, row))
        read = rows[-1][0] if len(rows) == limit else low + 1
        pages[name] = page, read
        if read > 1:
            # nobody has looked yet at what is older
            horizon = max(horizon, order if len(rows) == limit else min(order, _time(core, name, read)))
    together = [(at, name, row) for name, (page, _) in pages.items() for at, row in page if at >= horizon]
    taken = sorted(together, key=lambda one: one[0], reverse=True)[:limit]
    older = {}
    for name, (page, read) in pages.items():
        mine = [row[0] for _, whose, row in taken if whose == name]
        older[name] = read if len(mine) == len(page) else min(mine, default=before.get(name, 1))
    return [row for *_, row in reversed(taken)], older


def _time(core: Core, name: str, key: int) -> float:
    """When the row of a number came, or the first one after it."""
    column, time = _column(name), _SOURCES[name][1]
    table = _SOURCES[name][-1].partition(" LEFT")[0]
    row = core.store.db.execute(f"SELECT {time} FROM {table} WHERE {column} >= ? ORDER BY {column} LIMIT 1", (key,))
    return float((row.fetchone() or (0.0,))[0])


def _shown(core: Core, found: list[Row]) -> Iterator[dict[str, Any]]:
    sockets = core.topology.sockets
    for _, time, kind, text, request, about, level, socket, run in found:
        yield {
            "time": time, "level": LEVELS[level], "kind": kind,
            "socket": sockets[socket].name if socket in sockets else None, "request": request, "run": run,
            "text": _text(kind, text or "", about)[:LONGEST],
        }  # fmt: skip


def _text(kind: str, text: str, about: Any) -> str:
    if kind == "display":
        return "displayed a value"
    if kind == "retry":
        error = json.loads(text) if text else {}
        return f"attempt {about} failed and is tried again: {error.get('type', '')}: {error.get('message', '')}"
    if kind == "node":
        state, error = json.loads(text)
        return f"node {about!r} is {state}" + (f": {error}" if error else "")
    if kind == "trouble":
        return f"workers of processor {about!r} do not start: {json.loads(text)}"
    words = {"refused": "a submit was refused: ", "aside": f"{about} is set aside: ", "routing": "a plug failed: "}
    return words.get(kind, "") + text
