"""What is set aside, as a person sees it, and the ways out: to try it again, to give it up, to declare it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ec_jupyter.engine import recovery
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.rows import id_list
from ec_jupyter.engine.suspects import KINDS, NODE, PARTY, PLUG, PROCESSOR, SOCKET, TASK, VALUE, unit_of
from ec_jupyter.errors import RequestNotFoundError, StoreDamagedError
from ec_jupyter.flow.tag import from_text, path
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL, Record

Renewed = tuple[str, Any, Record | None]  # kind, identity and record of what was declared anew
_WAYS = {
    "request": "flow.retry({key}) tries it again, flow.discard(flow.request({key})) gives it up",
    "party": "flow.retry and flow.discard take its requests, and what of it flow.waiting() shows",
    "value": "flow.retry and flow.discard take what flow.waiting() shows of it",
    "socket": "to declare {name} again takes it back",
    "task": "to declare {name} again takes it back",
    "plug": "to draw it again takes it back",
    "processor": "flow.processor({name}, ...) declares it again",
    "node": "flow.node({name}, ...) declares it again",
}


def shown(core: Core) -> dict[str, str]:
    """What is set aside, by the names that people use, with the reason and the way out."""
    if not core.suspects.aside:
        return {}
    plugs = {key: f"{source} -> {end}.{port}" for key, source, end, port, *_ in core.store.rows("plug_columns")}
    table = {}
    for unit, why in core.suspects.aside.items():
        kind, _, key = unit.partition(" ")
        label, name = unit, key
        if kind == "socket" and int(key) in core.topology.sockets:
            name = repr(core.topology.sockets[int(key)].name)
            label = f"socket {name}"
        elif kind == "task" and int(key) in core.topology.tasks:
            task = core.topology.tasks[int(key)]
            name = repr(core.topology.sockets[task.socket].name)
            label = f"task of {name}"
        elif kind == "plug" and int(key) in plugs:
            label = f"plug {plugs[int(key)]!r}"
        table[label] = f"{why}; {_WAYS[kind].format(key=key, name=name)}" if kind in _WAYS else why
    return table


def of_socket(core: Core, socket: int, table: Mapping[str, str]) -> str | None:
    """What is set aside so that nothing of a socket starts, and why, as `shown` says it; None where nothing is."""
    if not table:
        return None
    record, processor = core.topology.sockets[socket], core.topology.processor(socket)
    things: list[tuple[int, int | str]] = [
        (SOCKET, socket), (TASK, record.task), (PROCESSOR, processor.name), *((NODE, name) for name in processor.nodes)
    ]  # fmt: skip
    out = [thing for thing in things if core.suspects.out(*thing)]
    if not out or (out[0][0] == NODE and LOCAL in processor.nodes):
        return None
    words = {SOCKET: f"socket {record.name!r}", TASK: f"task of {record.name!r}"}
    label = words.get(out[0][0]) or unit_of(*out[0])
    return f"{label} is set aside: {table[label]}"


# -- values ------------------------------------------------------------------------
def mark(core: Core, rows: list[dict[str, Any]], wanted: str | None) -> None:
    """Say in rows of what waits which of it is set aside, and why; add what the joins do not know for that reason."""
    table = {row[0]: row for row in _values(core)}
    for row in rows if table else ():
        for part in row["arguments"].values():
            for arrival in part["arrivals"]:
                if arrival["id"] in table:
                    row["aside"] = _why(core, table.pop(arrival["id"]))
    for value in table.values():
        socket = core.topology.sockets.get(value[1])
        if socket is not None and not socket.parked and wanted in (None, socket.name):
            rows.append(_row(core, socket.name, value))


def _values(core: Core) -> list[Any]:
    """Values that are set aside, or wait in a party that is."""
    values, parties = core.suspects.keys(VALUE), core.suspects.keys(PARTY)
    if not (values or parties):
        return []
    core.journal.commit()
    return list(core.store.rows("arrivals_aside", {"values": id_list(values), "parties": id_list(parties)}))


def _why(core: Core, value: Sequence[Any]) -> str:
    return core.suspects.why((VALUE, value[0]), (PARTY, value[3])) or ""


def _row(core: Core, name: str, value: Sequence[Any]) -> dict[str, Any]:
    arrival, _, argument, party, run, tag, request, since, source, key = value
    stored = core.values.load([key]).get(key)
    kind, size = (stored.value.type, stored.value.size) if stored is not None else ("", 0)
    try:
        element = list(path(from_text(tag)))
    except ValueError:
        # it may be what cannot be read
        tag, element = "", []
    one = {"id": arrival, "source": source or "", "request": request, "since": since, "type": kind, "size": size}
    return {
        "socket": name, "run": run, "party": party, "tag": tag, "element": element, "stranded": False, "request": None,
        "lacks": {}, "arguments": {argument: {"state": "arrived", "arrivals": [one]}}, "aside": _why(core, value),
    }  # fmt: skip


def retry(core: Core, arrivals: Iterable[int]) -> None:
    """Let values wait again that were set aside, and their party; refuses others, and what still cannot be read."""
    table = {row[0]: row[3] for row in _values(core)}
    for arrival in arrivals:
        if arrival not in table:
            raise RequestNotFoundError(f"no value {arrival} is set aside in this flow")
    for arrival in arrivals:
        # what the party was set aside for may have come back with one of those before it
        if core.suspects.out(PARTY, table[arrival]):
            _again(core, PARTY, table[arrival], lambda party: recovery.adopt(core, [party]))
        if core.suspects.out(VALUE, arrival):
            _again(core, VALUE, arrival, lambda value: recovery.load_value(core, value))
    core.absorb()
    core.journal.commit()
    core.expiry.reload()


def _again(core: Core, kind: int, key: int, load: Callable[[int], None]) -> None:
    why, before = core.suspects.why((kind, key)) or "", core.journal.position
    core.suspects.take_back(kind, key)
    try:
        load(key)
    except Exception as error:
        core.suspects.set_aside(kind, key, why)
        if core.journal.grown(before):
            # done by half: the next engine begins anew
            raise
        text = f"{unit_of(kind, key)} still cannot be read ({type(error).__name__}: {error}); flow.discard gives it up"
        raise StoreDamagedError(text) from error


def discard(core: Core, arrivals: Iterable[int]) -> list[int]:
    """Give up values that were set aside, for good; those of the given ones that are with their joins are left."""
    given, known = list(arrivals), {arrival.id for arrival in core.joins.all_waiting()}
    table = {row[0]: row[3] for row in _values(core)}
    for arrival in given:
        core.suspects.take_back(VALUE, arrival)
        if arrival in table and arrival not in known:
            core.journal.step("drop_arrival", (arrival,))
    core.journal.commit()
    left = {row[3] for row in _values(core)}
    for party in {table[arrival] for arrival in given if arrival in table} - left:
        if core.suspects.out(PARTY, party) and not core.store.one("unfinished_of_party", {"party": party}):
            core.suspects.take_back(PARTY, party)
    return [arrival for arrival in given if arrival in known or arrival not in table]


# -- declared anew ---------------------------------------------------------------
def renew(core: Core, top: Topology, changes: Iterable[Mapping[str, Any]]) -> list[Renewed]:
    """Take back what a person has declared anew, or removed; records of the new wiring that replace the old ones."""
    found: list[Renewed] = []
    for change in changes if core.suspects.aside else ():
        name = str(change.get("name"))
        match change["op"]:
            case "processor" | "remove_processor":
                found += _declared(core, PROCESSOR, name, top.processors)
            case "node":
                found += _declared(core, NODE, name, top.nodes)
            case "socket" | "remove":
                found += _renewed(core, top, [s.id for s in top.sockets.values() if s.name == name])
            case "plug":
                _redrawn(core, change)
    return found


def _declared(core: Core, kind: int, name: str, records: Mapping[str, Record]) -> list[Renewed]:
    if not core.suspects.out(kind, name):
        return []
    core.suspects.take_back(kind, name)
    return [(KINDS[kind], name, records.get(name))]


def _renewed(core: Core, top: Topology, sockets: list[int]) -> list[Renewed]:
    suspects = core.suspects
    found: list[Renewed] = []
    for key in sockets:
        if suspects.out(SOCKET, key):
            suspects.take_back(SOCKET, key)
            found.append(("socket", key, top.sockets[key]))
        for task in [t for t in top.tasks.values() if t.socket == key and suspects.out(TASK, t.id)]:
            # what its columns told stands for it from now on: requests that ran it name it
            suspects.take_back(TASK, task.id)
            core.journal.step("drop_task", (task.id,))
            found.append(("task", task.id, task))
    return found


def _redrawn(core: Core, change: Mapping[str, Any]) -> None:
    ends = (change["source"], change["target"])
    for key, source, target, argument, *_ in core.store.rows("plug_columns"):
        if core.suspects.out(PLUG, key) and (source, target) == ends and change.get("argument") in (None, argument):
            core.suspects.take_back(PLUG, key)
            core.journal.step("drop_plug", (key,))
