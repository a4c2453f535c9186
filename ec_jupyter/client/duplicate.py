"""The wiring of a flow made again in another: its tasks, conditions and fixed values as they are pickled; none is run.

Read from the flow's database, so that the flow may work on, or be stopped.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from ec_jupyter.client.client import Client
from ec_jupyter.client.recipe import OPTIONS, grouped
from ec_jupyter.engine.open_lots import reading
from ec_jupyter.errors import DeclarationError
from ec_jupyter.model import FUNCTIONS, MAIN, Task

Record = dict[str, Any]

# what the engine gives a version of a task by itself
_TASK = [one.name for one in fields(Task) if one.name not in ("id", "socket", "version", "client", "python")]
_PLAIN = [word for word in OPTIONS if word not in ("join", "on")]
_SCHEDULE = ("name", "every", "cron", "zone", "missed")
_NODE = ("name", "host", "cpus", "python", "ssh", "lease", "requirements", "kind", "tls")


def duplicate(folder: Path, made: Client) -> None:
    """Wire a new flow as the one in `folder` is; requests and waiting values stay there. One edit, one step of undo.

    Its schedules are paused.

    Raises DeclarationError: something of it cannot be read.
    """
    try:
        with closing(reading(folder, 10)) as db:
            copy = _Copy(folder, db)
            changes = list(copy.changes())
            paused = copy.paused()
    except (sqlite3.Error, OSError, ValueError, LookupError, TypeError) as error:
        raise DeclarationError(
            f"flow {folder.name!r} cannot be read for a copy ({type(error).__name__}: {error})"
        ) from error
    if changes:
        made.ask("edit", {"changes": changes}, copy.buffers)
    if any(paused.values()):
        made.ask("pause", paused)


class _Copy:
    """A flow's records as changes of an edit, with the bytes that go with them."""

    def __init__(self, folder: Path, db: sqlite3.Connection) -> None:
        self._folder, self._db = folder, db
        self.buffers: list[bytes] = []
        rows = db.execute("SELECT record FROM socket ORDER BY id").fetchall()
        self._sockets = [record for (text,) in rows if not (record := json.loads(text)).get("parked")]
        self._names = {record["id"]: record["name"] for record in self._sockets}

    def changes(self) -> Iterator[Record]:
        """Changes that make all of it, in an order in which each finds what it needs."""
        for (spec,) in self._db.execute("SELECT spec FROM node WHERE state IS NOT 'leaving'"):
            node = json.loads(spec)
            yield {"op": "node", **{key: node[key] for key in _NODE if node.get(key) is not None}}
        yield from self._processors()
        for socket in self._sockets:
            yield self._socket(socket)
        for (text,) in self._db.execute("SELECT record FROM plug ORDER BY id"):
            plug = json.loads(text)
            if plug["source"] in self._names and plug["target"] in self._names:
                yield self._plug(plug)
        for socket in self._sockets:
            yield from self._fixed(socket)
        yield from self._drawn()
        for (text,) in self._db.execute("SELECT value FROM meta WHERE key LIKE 'schedule:%'"):
            schedule = json.loads(text)
            if schedule["socket"] in self._names:
                told = {word: schedule[word] for word in _SCHEDULE}
                # two flows would do what one is to do
                yield {"op": "schedule", **told, "socket": self._names[schedule["socket"]], "paused": True}

    def paused(self) -> dict[str, list[str]]:
        processors = [name for (name,) in self._db.execute("SELECT name FROM processor WHERE paused")]
        return {"sockets": [record["name"] for record in self._sockets if record["paused"]], "processors": processors}

    def _drawn(self) -> Iterator[Record]:
        """What only a picture shows."""
        places = {record["name"]: record["position"] for record in self._sockets if record.get("position")}
        if places:
            yield {"op": "position", "positions": places}
        for name, sockets in grouped({record["name"]: record for record in self._sockets}).items():
            yield {"op": "group", "name": name, "sockets": sockets}
        for (text,) in self._db.execute("SELECT value FROM meta WHERE key LIKE 'note:%'"):
            note = json.loads(text)
            yield {"op": "note", "text": note["text"], "place": note["place"]}

    def _processors(self) -> Iterator[Record]:
        lent: dict[str, dict[str, int | None]] = {}
        for name, node, cpus in self._db.execute("SELECT processor, node, cpus FROM processor_node"):
            lent.setdefault(name, {})[node] = cpus
        query = "SELECT name, cpus, memory, affinity, weight FROM processor"
        for name, cpus, memory, affinity, weight in self._db.execute(query):
            given = {"memory": memory, "affinity": json.loads(affinity) if affinity else None}
            given |= {"weight": weight} if weight != 1 else {}
            # by node, where it is on several: both would say how many
            given |= {"nodes": lent[name]} if name in lent else {"cpus": cpus}
            told = {key: value for key, value in given.items() if value is not None}
            if told or name != MAIN:
                yield {"op": "processor", "name": name, **told}

    def _socket(self, record: Record) -> Record:
        (text,) = self._db.execute("SELECT record FROM task WHERE id = ?", (record["task"],)).fetchone()
        task = json.loads(text)
        change = {
            "op": "socket", "name": record["name"], "processor": record["processor"], "client": task.get("client"),
            "task": {key: task[key] for key in _TASK if key in task}, "blob": self._blob(task["sha256"]),
            **{key: record[key] for key in _PLAIN if record.get(key) not in (None, [])},
        }  # fmt: skip
        if record.get("join") == "key":
            return {**change, "key": self._function(record["key"])}
        return {**change, "join": record.get("join"), **({"on": record["on"]} if record.get("on") else {})}

    def _plug(self, record: Record) -> Record:
        ends = {"source": self._names[record["source"]], "target": self._names[record["target"]]}
        options = {key: record.get(key) for key in ("argument", "on", "map", "gather", "hops")}
        functions = {word: self._function(record[word]) for word in FUNCTIONS if record.get(word)}
        return {"op": "plug", **ends, **options, **functions, "cycle": True}

    def _fixed(self, socket: Record) -> Iterator[Record]:
        for argument, value in socket["fixed"].items():
            query = "SELECT bytes, file FROM value WHERE id = ?"
            data, file = self._db.execute(query, (value["value"],)).fetchone()
            if data is None:
                # a large one has buffers of its own, which are not one pickle
                raise ValueError(f"the fixed value of {socket['name']}.{argument} is in the file {file}")
            self.buffers.append(data)
            told = {key: value[key] for key in ("type", "text", "written") if key in value}
            yield {"op": "fix", "socket": socket["name"], "argument": argument, "value": len(self.buffers) - 1, **told}

    def _function(self, record: Record) -> Record:
        return {**record, "blob": self._blob(record["sha256"])}

    def _blob(self, sha256: str) -> int:
        (data,) = self._db.execute("SELECT bytes FROM blob WHERE sha256 = ?", (sha256,)).fetchone()
        self.buffers.append(data)
        return len(self.buffers) - 1
