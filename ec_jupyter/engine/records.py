"""The wiring as it is on disk. A record that cannot be read is replaced by what its columns tell, and nothing starts.

A record that is set aside this way is in force again once a person declares it anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.suspects import KINDS, NODE, PLUG, PROCESSOR, SOCKET, TASK
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import MAIN, Node, Processor, Socket, Task, from_json

log = logging.getLogger(__name__)

# how the keys of records begin that stand among the facts of the flow
FACTS = {"note": "note:", "schedule": "schedule:"}


def nodes(core: Core) -> tuple[dict[str, Node], list[Node]]:
    """Nodes of the flow by name, and those that were taken away while calls ran there."""
    there, leaving = {}, []
    for name, spec, state in core.store.rows("all_nodes"):
        try:
            node = from_json("node", json.loads(spec))
        except Exception as error:  # noqa: BLE001 - whatever its row holds, the flow opens
            _unreadable(core, NODE, name, error)
            continue
        if state == "leaving":
            leaving.append(node)
        elif not core.suspects.out(NODE, name):
            there[name] = node
    return there, leaving


def load_topology(core: Core, revision: int) -> Topology:
    """The wiring as it stands on disk."""
    rows = core.store.rows
    tasks = {t.id: t for t in _records(core, TASK, rows("all_tasks"))}
    tasks |= {t.id: t for t in _standing_tasks(core, tasks)}
    sockets = {s.id: s for s in _records(core, SOCKET, rows("all_sockets"))}
    sockets |= {s.id: s for s in _standing_sockets(core, sockets)}
    sockets |= {s.id: s for s in _lost_sockets(core, sockets.keys(), tasks.keys())}
    plugs = _records(core, PLUG, rows("all_plugs"))
    processors = _processors(core)
    return Topology(
        revision,
        sockets,
        {p.id: p for p in plugs},
        {p.name: p for p in (Processor(MAIN), *processors)},
        tasks,
        nodes(core)[0],
        {note.id: note for note in _facts(core, "note")},
        {one.id: one for one in _facts(core, "schedule") if one.socket in sockets},
    )


def _facts(core: Core, kind: str) -> Iterator[Any]:
    """Notes on the canvas, or schedules. One that cannot be read is left out: nothing depends on it."""
    for key, text in core.store.meta.items():
        if key.startswith(FACTS[kind]):
            try:
                yield from_json(kind, json.loads(text))
            except (ValueError, TypeError, AttributeError) as error:
                log.error("%s %s cannot be read", kind, key, exc_info=error)


def _records(core: Core, kind: int, rows: Iterable[tuple[int, str]]) -> list[Any]:
    """Records of a kind, without those that are set aside."""
    suspects, found = core.suspects, []
    for key, text in rows:
        if not suspects.out(kind, key):
            suspects.begin(kind, key)
            found.append(from_json(KINDS[kind], json.loads(text)))
    suspects.end()
    return found


def _unreadable(core: Core, kind: int, name: str, error: Exception) -> None:
    if not core.suspects.out(kind, name):
        log.error("%s %r cannot be read", KINDS[kind], name, exc_info=error)
        core.suspects.set_aside(kind, name, f"it cannot be read ({type(error).__name__}: {error})")


def _standing_tasks(core: Core, tasks: dict[int, Task]) -> list[Task]:
    """Stand-ins for versions that are set aside: they take what the newest readable one of the socket takes."""
    found = []
    for key, socket, version, sha256 in core.store.rows("task_columns") if core.suspects.aside else ():
        if core.suspects.out(TASK, key):
            others = [task for task in tasks.values() if task.socket == socket]
            newest = max(others, key=lambda task: task.id, default=Task(0, socket, 0, "", "", "", "", ()))
            # no function has this identity, so that any that is declared is a new version
            found.append(replace(newest, id=key, version=version, identity="", sha256=sha256))
    return found


def _standing_sockets(core: Core, sockets: dict[int, Socket]) -> list[Socket]:
    """Stand-ins for sockets that are set aside, with their name, processor and task."""
    taken, found = {s.name for s in sockets.values() if not s.parked}, []
    for key, name, processor, task in core.store.rows("socket_columns") if core.suspects.aside else ():
        if core.suspects.out(SOCKET, key):
            found.append(Socket(key, name, processor, task, parked=name in taken))
    return found


def _lost_sockets(core: Core, sockets: Iterable[int], tasks: Iterable[int]) -> list[Socket]:
    """Sockets that tasks, and so requests, still name and that are not on disk; parked, as what is removed is."""
    there = set(tasks)
    newest = {socket: task for socket, task in core.store.rows("newest_tasks") if task in there}
    lost = {socket: task for socket, task in newest.items() if socket not in set(sockets)}
    if not lost:
        return []
    names = {record.id: record.name for record in recorded(core)}
    return [Socket(key, names.get(key, f"socket_{key}"), MAIN, task, parked=True) for key, task in lost.items()]


def recorded(core: Core) -> list[Socket]:
    """Every record of a socket in the history, oldest first."""
    changes = [change for (text,) in core.store.rows("changes") for change in json.loads(text)]
    return [
        from_json("socket", record)
        for kind, _, *records in changes
        if kind == "socket"
        for record in records
        if record is not None
    ]


def _processors(core: Core) -> list[Processor]:
    places: dict[str, dict[str, int | None]] = {}
    for name, node, cpus in core.store.rows("all_processor_nodes"):
        places.setdefault(name, {})[node] = cpus
    found = []
    for name, *row in core.store.rows("all_processors"):
        there = places.get(name, {})
        try:
            found.append(_processor(name, row, there))
        except Exception as error:  # noqa: BLE001 - whatever its row holds, the flow opens
            _unreadable(core, PROCESSOR, name, error)
            found.append(Processor(name, nodes={node: cpus for node, cpus in there.items() if _number(cpus)}))
    return found


def _processor(name: str, row: Sequence[Any], there: dict[str, int | None]) -> Processor:
    cpus, memory, affinity, paused, weight = row
    bound = tuple(json.loads(affinity)) if affinity else None
    strange = [value for value in (cpus, memory, *(bound or ()), *there.values()) if not _number(value)]
    strange += [weight] if not isinstance(weight, float) or weight <= 0 else []
    if strange:
        raise ValueError(f"{strange[0]!r} is no number")
    return Processor(name, cpus, memory, bound, bool(paused), there, weight)


def _number(value: object) -> bool:
    return value is None or (isinstance(value, int) and value >= 0)
