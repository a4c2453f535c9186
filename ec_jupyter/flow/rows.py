"""The wiring as the rows that clients see, the topology of such rows, and the difference between two wirings.

Pure. What a row leaves out (identities, where values and functions are) is not to be had back, so what `topology`
makes of rows is good to decide by what may be edited, and no more. The difference after one edit of a thousand sockets
is one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ec_jupyter.flow.schedule import text
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import FUNCTIONS, LOCAL, Plug, Processor, Schedule, Socket, Task, from_json, to_json

View = Mapping[str, Any]
"""The wiring as clients see it; rows of `sockets` and `processors` by name, `plugs` and `nodes` in a list."""

OTHER = "other"
"""Python of a task that is parked, for it was registered under another than this flow runs; that one is ``""``."""

_LEFT_OUT = ("id", "name", "task", "fixed", "stale")


def processor_row(processor: Processor) -> dict[str, Any]:
    """A processor as clients see it."""
    return {word: value for word, value in to_json(processor).items() if word != "name"}


def socket_row(wiring: Topology, socket: Socket, python: str) -> dict[str, Any]:
    """A socket and its task as clients see them; `python` is the minor version that the flow runs under."""
    record = {key: value for key, value in to_json(socket).items() if key not in _LEFT_OUT}
    record["fixed"] = {k: {"type": f.type, "text": f.text, "written": f.written} for k, f in socket.fixed.items()}
    record["needed"] = list(wiring.needs(socket.id))
    return record | {"task": _task_row(wiring.tasks[socket.task], socket, python)}


def _task_row(task: Task, socket: Socket, python: str) -> dict[str, Any]:
    return {
        "version": task.version, "identity": task.identity, "sha256": task.sha256, "source": task.source,
        "file": task.file, "signature": [asdict(p) for p in task.signature], "captured": list(task.captured),
        "stale": list(socket.stale), "client": task.client, "generator": task.generator,
        "parked": task.python != python and not task.ask, "written": task.written, "ask": task.ask,
        "outputs": task.outputs,
    }  # fmt: skip


def plug_row(plug: Plug, source: str, target: str) -> dict[str, Any]:
    """A plug between sockets of these names as clients see it."""
    functions = {word: getattr(plug, word) for word in FUNCTIONS}
    texts = {word: one.text if one else None for word, one in functions.items()}
    written = {word: one.written for word, one in functions.items() if one}
    return to_json(plug) | {"source": source, "target": target, **texts, "written": written}


def schedule_row(schedule: Schedule, socket: str) -> dict[str, Any]:
    """A schedule of a socket of this name as clients see it."""
    return {**to_json(schedule), "socket": socket, "text": text(schedule)}


def topology(view: View) -> Topology:
    """What rows tell; sockets and tasks get numbers of their own."""
    numbers = {name: n for n, name in enumerate(view["sockets"], 1)}
    rows = [(numbers[name], name, row) for name, row in view["sockets"].items()]
    processors = (from_json("processor", {"name": name, **row}) for name, row in view["processors"].items())
    nodes = (from_json("node", row["spec"]) for row in view["nodes"] if row["name"] != LOCAL and "spec" in row)
    return Topology(
        view["revision"],
        {n: _socket(n, name, row) for n, name, row in rows},
        {row["id"]: plug for row, plug in _plugs(view, numbers)},
        {p.name: p for p in processors},
        {n: _task(n, row["task"]) for n, _, row in rows},
        {n.name: n for n in nodes},
        {row["id"]: from_json("note", row) for row in view.get("notes", ())},
        {row["id"]: _schedule(row, numbers) for row in view.get("schedules", ())},
    )


def _socket(n: int, name: str, row: dict[str, Any]) -> Socket:
    record = {key: value for key, value in row.items() if key != "needed"}
    fixed = {argument: {"value": 0, **value} for argument, value in row["fixed"].items()}
    changed = {"id": n, "name": name, "task": n, "fixed": fixed, "stale": row["task"]["stale"]}
    socket: Socket = from_json("socket", record | changed)
    return socket


def _task(n: int, row: dict[str, Any]) -> Task:
    record = {key: value for key, value in row.items() if key not in ("stale", "parked")}
    task: Task = from_json("task", record | {"id": n, "socket": n, "python": OTHER if row["parked"] else ""})
    return task


def _schedule(row: dict[str, Any], numbers: Mapping[str, int]) -> Schedule:
    record = {key: value for key, value in row.items() if key != "text"}
    schedule: Schedule = from_json("schedule", record | {"socket": numbers[row["socket"]]})
    return schedule


def _plugs(view: View, numbers: dict[str, int]) -> Iterator[tuple[dict[str, Any], Plug]]:
    for row in view["plugs"]:
        record = {key: value for key, value in row.items() if key != "written"}
        functions = {
            word: {"sha256": "", "text": row[word], "written": row["written"].get(word, {})}
            for word in FUNCTIONS
            if row.get(word) is not None
        }
        ends = {end: numbers[row[end]] for end in ("source", "target")}
        yield row, from_json("plug", record | ends | functions)


# -- differences ----------------------------------------------------------------
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
