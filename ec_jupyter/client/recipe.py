"""A flow's wiring written down: as the code of one cell, and as JSON that can be loaded again."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from ec_jupyter.client.source import used
from ec_jupyter.errors import DeclarationError
from ec_jupyter.flow.graph import led_to
from ec_jupyter.model import FUNCTIONS, Node, Socket

FORMAT = "ec_jupyter flow"
VERSION = 2

Written = dict[str, Any]  # how a thing is written down: as `notebook.written` gives it
_UNKNOWN = "an earlier version did not keep its source; run its cell again"
# fields of a socket that are options of its declaration, but for the processor and the key
OPTIONS = [one.name for one in fields(Socket) if one.name not in (
    "id", "name", "processor", "task", "paused", "parked", "position", "fixed", "stale", "key", "group"
)]  # fmt: skip
_WORDS = ("cpus", "memory", "affinity")
_NODE_WORDS = ("host", "cpus", "python", "ssh", "ask", "lease", "requirements", "tls")
_KEPT = {"name", "code", "before", "text"}  # of how a thing is written
_PLUG = {"on": "result", "map": False, "gather": False, "hops": None}


def recipe(topology: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a wiring is made of, as JSON has it: settings that are not the default, and how all else is written.

    Raises DeclarationError: something in it cannot be written down; names all of it.
    """
    processors = topology["processors"]
    sockets = {n: _part(record) for n, record in topology["sockets"].items() if not record.get("parked")}
    plugs = list(_plugs(topology["plugs"]))
    pieces = list(_pieces(sockets, plugs))
    lost = [f"{what}: {one.get('why', _UNKNOWN)}" for what, one in pieces if "code" not in one]
    if lost:
        raise DeclarationError(f"flow {name!r} cannot be written down: {'; '.join(lost)}")
    unbound = list(dict.fromkeys(word for _, one in pieces for word in one.get("lacks", ())))
    for _, one in pieces:
        for word in one.keys() - _KEPT:
            del one[word]
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        # machines past this one
        "nodes": {node["name"]: _node(node["spec"]) for node in topology["nodes"] if node.get("spec")},
        # one without any settings comes with the first socket that names it
        "processors": {n: settings for n, facts in processors.items() if (settings := _processor(facts))},
        "unbound": unbound,  # names that the code uses and nothing binds
        "sockets": sockets,
        "plugs": plugs,
        "paused": [n for n, facts in processors.items() if facts.get("paused")],
        "groups": grouped(topology["sockets"]),
        "notes": [{"text": note["text"], "place": note["place"]} for note in topology.get("notes", ())],
        "schedules": [dict(_schedule(row)) for row in topology.get("schedules", ())],
    }


def grouped(sockets: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Names of sockets by their group; of the rows of those that are in one."""
    found: dict[str, list[str]] = {}
    for name, record in sockets.items():
        if record.get("group") is not None and not record.get("parked"):
            found.setdefault(record["group"], []).append(name)
    return found


def _pieces(sockets: Mapping[str, Any], plugs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Written]]:
    """Everything that was written down of a wiring, and what it is."""
    for name, part in sockets.items():
        yield f"the task of socket {name!r}", part["task"]
        if part["key"] is not None:
            yield f"key= of socket {name!r}", part["key"]
        for argument, value in part["fixed"].items():
            yield f"the fixed value of {name}.{argument}", value
    for plug in plugs:
        for word in _functions(plug):
            yield f"{word}= of plug '{plug['source']} -> {plug['target']}.{plug['argument']}'", plug[word]


def _processor(facts: Mapping[str, Any]) -> dict[str, Any]:
    settings = {word: facts[word] for word in _WORDS if facts.get(word) is not None}
    settings |= {"nodes": facts["nodes"]} if facts.get("nodes") else {}
    return settings | ({"weight": facts["weight"]} if facts.get("weight", 1) != 1 else {})


def _node(spec: Mapping[str, Any]) -> dict[str, Any]:
    usual = {option.name: option.default for option in fields(Node)} | {"host": spec["name"]}
    given = {word: tuple(spec[word]) if isinstance(spec[word], list) else spec[word] for word in _NODE_WORDS}
    return {word: list(v) if isinstance(v, tuple) else v for word, v in given.items() if v != usual[word]}


def _schedule(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    usual = {"name": row["socket"], "missed": "once", "paused": False}
    for word in ("socket", "every", "cron", "zone", "name", "missed", "paused"):
        if row[word] is not None and row[word] != usual.get(word):
            yield word, row[word]


def _part(record: Mapping[str, Any]) -> dict[str, Any]:
    key = record.get("key")
    return {
        "processor": record["processor"],
        "task": dict(record["task"].get("written") or {}),
        "options": dict(_options(record)),
        "key": _condition(key["text"], key.get("written")) if key else None,
        "fixed": {argument: dict(value.get("written") or {}) for argument, value in record["fixed"].items()},
        "position": list(record["position"]) if record.get("position") else None,
        "paused": bool(record["paused"]),
    }


def _options(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for option in fields(Socket):
        if option.name not in OPTIONS or option.name not in record:
            continue
        value = record[option.name]
        default = option.default if option.default is not MISSING else None
        if value not in (list(default) if isinstance(default, tuple) else default, "key"):
            yield option.name, value


def _condition(text: str, written: Written | None) -> Written:
    """How a condition or key is written; ``text`` where a person gave it as an expression."""
    written = dict(written or {})
    return written | {"text": text} if written.get("code") == text and not written.get("name") else written


def _plugs(plugs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    after: dict[str, set[str]] = {}
    for plug in plugs:
        source, target = plug["source"], plug["target"]
        row = {"source": source, "target": target, "argument": plug["argument"]}
        row |= {key: plug[key] for key, usual in _PLUG.items() if plug.get(key, usual) != usual}
        for word in _functions(plug):
            row[word] = _condition(plug[word], plug["written"].get(word))
        if source == target or source in led_to([target], after) or "hops" in row:
            row["cycle"] = True
        after.setdefault(source, set()).add(target)
        yield row


def _functions(plug: Mapping[str, Any]) -> list[str]:
    return [word for word in FUNCTIONS if plug.get(word)]


# -- as code ---------------------------------------------------------------------
def code(topology: Mapping[str, Any], name: str, opening: str | None = None) -> str:
    """The text of one cell that makes a flow of this wiring; `opening`: how, instead of by its name."""
    made, cell = recipe(topology, name), _Cell()
    sockets = made["sockets"]
    cell.add(f"import ec_jupyter as ec\n\nflow = {opening or f'ec.flow({name!r})'}")
    if made["unbound"]:
        cell.add(f"# the tasks use what is defined elsewhere: {', '.join(made['unbound'])}")
    rows = [f"flow.node({_call(repr(node), options)})" for node, options in made["nodes"].items()]
    rows += [f"flow.processor({_call(repr(p), settings)})" for p, settings in made["processors"].items()]
    cell.add("\n".join(rows))
    for socket, part in sockets.items():
        key = {"key": cell.function(part["key"])} if part["key"] is not None else {}
        cell.add(_declaration(cell, socket, part, key))
    for socket, part in sockets.items():
        for argument, value in part["fixed"].items():
            cell.edit(value, f"flow.fix({socket!r}, {argument}={value['code']})")
    for plug in made["plugs"]:
        cell.edit({}, _plugging(cell, plug))
    places = {socket: part["position"] for socket, part in sockets.items() if part["position"]}
    if places:
        placed = ", ".join(f"{socket}=({x:g}, {y:g})" for socket, (x, y) in places.items())
        lines = textwrap.wrap(f"flow.place({placed})", 110, subsequent_indent="    ", break_long_words=False)
        cell.edit({}, "\n".join(lines))
    for group, members in made["groups"].items():
        cell.edit({}, f"flow.group({', '.join(map(repr, (group, *members)))})")
    for note in made["notes"]:
        cell.edit({}, f"flow.note({note['text']!r}, ({note['place'][0]:g}, {note['place'][1]:g}))")
    for schedule in made["schedules"]:
        cell.edit({}, _ticking(schedule))
    paused = [*made["paused"], *(socket for socket, part in sockets.items() if part["paused"])]
    cell.add(f"flow.pause({', '.join(map(repr, paused))})" if paused else "")
    return cell.text


def script(topology: Mapping[str, Any], name: str) -> str:
    """The text of a program that makes a flow of this wiring, and waits until it has nothing to do.

    Raises DeclarationError: something in it cannot be written down, or its tasks use what only a notebook defines.
    """
    unbound = recipe(topology, name)["unbound"]
    if unbound:
        lacks = f"its tasks use what is defined elsewhere: {', '.join(unbound)}"
        raise DeclarationError(f"flow {name!r} cannot be a script: {lacks}; have them as arguments, or import them")
    return f"{code(topology, name)}\nprint(flow.wait())\n"


class _Cell:
    """A cell as it grows; knows what its names stand for."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._edits: list[str] = []
        self._bound: dict[str, str] = {}

    def add(self, block: str) -> None:
        """Add a block; an empty one is none."""
        self._close()
        if block:
            self._blocks.append(block)

    def edit(self, written: Written, line: str) -> None:
        """Add a change, to one edit with those before it where it needs no statement of its own."""
        self.need(written)
        self._edits.append(line)

    def need(self, written: Written) -> None:
        """Have names stand for what a piece of code needs."""
        new = {n: text for n, text in written.get("before", {}).items() if self._bound.get(n) != text}
        if new:
            self._bound |= new
            texts = list(dict.fromkeys(new.values()))
            self.add("".join(f"{text}\n\n" if "\n" in text else f"{text}\n" for text in texts).rstrip())

    def function(self, written: Written) -> str:
        """An expression for a function, which is defined first where it has a name."""
        self.need(written)
        if "text" in written:
            return repr(written["text"])
        if written["name"] and self._bound.get(written["name"]) != written["code"]:
            self._bound[written["name"]] = written["code"]
            self.add(written["code"])
        return str(written["name"] or written["code"])

    def defines(self, written: Written) -> None:
        """Take note of the name that a definition binds."""
        self._bound[written["name"]] = written["code"]

    def _close(self) -> None:
        if self._edits:
            self._blocks.append("with flow.edit():\n" + textwrap.indent("\n".join(self._edits), "    "))
            self._edits = []

    @property
    def text(self) -> str:
        self._close()
        return "\n\n".join(self._blocks) + "\n"


def _call(first: str, options: Mapping[str, Any], more: Mapping[str, str] | None = None) -> str:
    given = [f"{name}={value!r}" for name, value in options.items()]
    return ", ".join([*([first] if first else []), *given, *(f"{k}={v}" for k, v in (more or {}).items())])


def _declaration(cell: _Cell, socket: str, part: Mapping[str, Any], key: Mapping[str, str]) -> str:
    options = {**({"processor": part["processor"]} if part["processor"] != "main" else {}), **part["options"]}
    cell.need(part["task"])
    name, text = part["task"]["name"], part["task"]["code"]
    if not name:
        return f"flow.declare({text}, {_call(repr(socket), options, key)})"
    cell.defines(part["task"])
    if name in used(text):
        # it calls itself: its name has to be bound before it travels
        return f"{text}\n\nflow.declare({name}, {_call(repr(socket), options, key)})"
    given = _call(repr(socket) if socket != name else "", options, key)
    return f"@flow.socket{f'({given})' if given else ''}\n{text}"


def _plugging(cell: _Cell, plug: Mapping[str, Any]) -> str:
    options = {k: v for k, v in plug.items() if k not in ("source", "target", "argument", *FUNCTIONS)}
    given = {word: cell.function(plug[word]) for word in _functions(plug)}
    port = repr(f"{plug['target']}.{plug['argument']}")
    return f"flow.plug({plug['source']!r}, {_call(port, options, given)})"


def _ticking(schedule: Mapping[str, Any]) -> str:
    options = {word: value for word, value in schedule.items() if word in ("zone", "name", "missed", "paused")}
    kind = "every" if "every" in schedule else "cron"
    return f"flow.{kind}({schedule[kind]!r}, {_call(repr(schedule['socket']), options)})"


# -- as JSON ---------------------------------------------------------------------
def saved(topology: Mapping[str, Any], name: str) -> str:
    """The wiring as JSON that `ec_jupyter.load` takes; the texts of the tasks are in it, no value that waits.

    Raises DeclarationError: something in it cannot be written down.
    """
    return json.dumps(recipe(topology, name), indent=1, ensure_ascii=False) + "\n"
