"""A flow's wiring written down: as the code of one cell, and as JSON that can be loaded again."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import ModuleType
from typing import Any

from ec_jupyter.model import Node, Socket
from ec_jupyter.notebook.source import Text, bindings, text_of

FORMAT = "ec_jupyter flow"
VERSION = 1

LITERAL_CHARACTERS = 200
"""Texts of fixed values are cut there: a longer one may be half a value."""

_NO_OPTIONS = {"id", "name", "processor", "task", "paused", "parked", "position", "fixed", "stale"}
_WORDS = ("cpus", "memory", "affinity")
_NODE_WORDS = ("host", "cpus", "python", "ssh", "ask", "lease", "requirements")
_PLUG = {"on": "result", "map": False, "gather": False}


@dataclass
class Part:
    """A socket as it can be made again.

    Attributes
    ----------
    name, processor : str
        What it is called, and whose CPUs it uses.
    text : Text or None
        Its task; None where the source is not known.
    options : dict
        Those that are not the default.
    fixed : dict of str to (str or None)
        Literals of the values fixed in the wiring; None for one that is no literal.
    position : list of float or None
        Its place in the picture.
    paused : bool
        Nothing of it starts.
    """

    name: str
    processor: str
    text: Text | None
    options: dict[str, Any]
    fixed: dict[str, str | None]
    position: list[float] | None
    paused: bool


@dataclass
class Recipe:
    """What a wiring is made of.

    Attributes
    ----------
    name : str
        Of the flow.
    processors : dict
        Settings of those that have any.
    before : list of str
        Statements the tasks need: imports, functions and values from their cells.
    unbound : list of str
        Names the tasks need that nothing here binds.
    parts : list of Part
        Sockets, each after those whose functions it uses.
    plugs : list of dict
        With ``cycle`` where one closes a cycle; a condition that is no expression is in ``function``.
    paused : list of str
        Processors of which nothing starts.
    nodes : dict
        Machines past this one, with what is not the default.
    """

    name: str
    processors: dict[str, dict[str, Any]]
    before: list[str] = field(default_factory=list)
    unbound: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    plugs: list[dict[str, Any]] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)


def recipe(topology: Mapping[str, Any], name: str, space: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a wiring; `space`: where names that no task's own cell binds may be looked up."""
    records = {n: r for n, r in topology["sockets"].items() if not r.get("parked")}
    made = Recipe(name, {})
    made.nodes = {node["name"]: _node(node["spec"]) for node in topology["nodes"] if node.get("spec")}
    for processor, facts in topology["processors"].items():
        settings = {word: facts[word] for word in _WORDS if facts.get(word) is not None}
        settings |= {"nodes": facts["nodes"]} if facts.get("nodes") else {}
        if settings:
            # one without any comes with the first socket that names it
            made.processors[processor] = settings
        if facts.get("paused"):
            made.paused.append(processor)
    parts = {n: _part(n, record) for n, record in records.items()}
    made.parts = _in_order(parts)
    made.before, made.unbound = _before(parts, records, space or {})
    made.plugs = list(_plugs(topology["plugs"]))
    return made


def _node(spec: Mapping[str, Any]) -> dict[str, Any]:
    usual = {option.name: option.default for option in fields(Node)} | {"host": spec["name"]}
    given = {word: tuple(spec[word]) if isinstance(spec[word], list) else spec[word] for word in _NODE_WORDS}
    return {word: list(v) if isinstance(v, tuple) else v for word, v in given.items() if v != usual[word]}


def _part(name: str, record: Mapping[str, Any]) -> Part:
    return Part(
        name,
        record["processor"],
        text_of(name, record["task"]),
        dict(_options(record)),
        {argument: _literal(value) for argument, value in record["fixed"].items()},
        list(record["position"]) if record.get("position") else None,
        bool(record["paused"]),
    )


def _options(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for option in fields(Socket):
        if option.name in _NO_OPTIONS or option.name not in record:
            continue
        value = record[option.name]
        # a function by which values are told apart is shown by its text
        value = value.get("text") if isinstance(value, Mapping) else value
        default = option.default if option.default is not MISSING else None
        if value != (list(default) if isinstance(default, tuple) else default):
            yield option.name, value


def _literal(value: Mapping[str, Any]) -> str | None:
    text = str(value["text"])
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    # cut, or the repr of something else that looks like one
    whole = len(text) < LITERAL_CHARACTERS and value["type"] == type(found).__qualname__
    return text if whole else None


def _plugs(plugs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    after: dict[str, set[str]] = {}
    for plug in plugs:
        source, target = plug["source"], plug["target"]
        row = {"source": source, "target": target, "argument": plug["argument"]}
        row |= {key: plug[key] for key, usual in _PLUG.items() if plug.get(key, usual) != usual}
        when = plug.get("when")
        if when:
            row["when" if is_expression(when) else "function"] = when
        if source in _reached(after, target):
            row["cycle"] = True
        after.setdefault(source, set()).add(target)
        yield row


def _reached(after: Mapping[str, set[str]], start: str) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        new = after.get(todo.pop(), set()) - seen
        seen |= new
        todo.extend(new)
    return seen


def is_expression(text: str) -> bool:
    """Whether the text of a condition is the condition, and not the name of a function that is."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return False
    return not isinstance(tree, ast.Name) or tree.id == "result"


# -- what comes before what ------------------------------------------------------
def _in_order(parts: Mapping[str, Part]) -> list[Part]:
    """Each part after those whose functions it uses, else as they were."""
    makers = {part.text.name: part for part in parts.values() if part.text and part.text.name}
    done: dict[str, Part] = {}
    open_: set[str] = set()

    def take(part: Part) -> None:
        if part.name in done or part.name in open_:
            return
        open_.add(part.name)
        for needed in part.text.needs if part.text else ():
            if needed in makers and makers[needed] is not part:
                take(makers[needed])
        done[part.name] = part

    for part in parts.values():
        take(part)
    return list(done.values())


def _before(
    parts: Mapping[str, Part], records: Mapping[str, Mapping[str, Any]], space: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Statements that bind what the tasks need, and the names that nothing binds."""
    own = {part.text.name for part in parts.values() if part.text}
    known: dict[str, tuple[str, tuple[str, ...]]] = {}
    for record in records.values():
        known = bindings(record["task"].get("source", "")) | known
    found: dict[str, str] = {}
    unbound: dict[str, None] = {}

    def bind(name: str) -> None:
        if name in found or name in unbound or name in own or hasattr(builtins, name):
            return
        text, needs = known.get(name) or _looked_up(name, space)
        if not text:
            unbound[name] = None
            return
        # marked before what it needs, for functions may need each other
        found[name] = ""
        for needed in needs:
            bind(needed)
        del found[name]
        found[name] = text

    for part in parts.values():
        for name in part.text.needs if part.text else ():
            bind(name)
    return list(dict.fromkeys(found.values())), list(unbound)


def _looked_up(name: str, space: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """A statement that binds a name to what it stands for in the notebook; empty where there is none."""
    if name not in space:
        return "", ()
    value = space[name]
    if isinstance(value, ModuleType):
        return (f"import {name}" if value.__name__ == name else f"import {value.__name__} as {name}"), ()
    origin = getattr(value, "__module__", None)
    if isinstance(origin, str) and origin != "__main__" and getattr(value, "__qualname__", "").isidentifier():
        return f"from {origin} import {value.__qualname__} as {name}".removesuffix(f" as {value.__qualname__}"), ()
    if inspect.isfunction(value) or inspect.isclass(value):
        try:
            text = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError):
            return "", ()
        return bindings(text).get(name, ("", ()))
    text = repr(value) if isinstance(value, (int, float, complex, str, bytes, tuple, list, dict, set)) else ""
    return bindings(f"{name} = {text}").get(name, ("", ())) if len(text) < 10 * LITERAL_CHARACTERS else ("", ())


# -- as code ---------------------------------------------------------------------
def code(
    topology: Mapping[str, Any], name: str, space: Mapping[str, Any] | None = None, opening: str | None = None
) -> str:
    """The text of one cell that makes a flow of this wiring.

    Parameters
    ----------
    topology : mapping
        The engine's snapshot.
    name : str
        Name of the flow.
    space : mapping, optional
        Where names that no task's own cell binds are looked up.
    opening : str, optional
        How to open the flow, instead of by its name.
    """
    made = recipe(topology, name, space)
    blocks = [f"import ec_jupyter as ec\n\nflow = {opening or f'ec.flow({name!r})'}"]
    if made.unbound:
        blocks.append(f"# the tasks use what is defined elsewhere: {', '.join(made.unbound)}")
    blocks += ["\n".join(made.before)] if made.before else []
    rows = [f"flow.node({_call(repr(node), options)})" for node, options in made.nodes.items()]
    rows += [f"flow.processor({_call(repr(p), settings)})" for p, settings in made.processors.items()]
    blocks += ["\n".join(rows)] if rows else []
    blocks += [_declaration(part) for part in made.parts]
    wiring = list(_wiring(made))
    if wiring:
        # a block of comments alone is no block
        wiring += [] if any(not line.startswith("#") for line in wiring) else ["pass"]
        blocks.append("with flow.edit():\n" + textwrap.indent("\n".join(wiring), "    "))
    paused = [*made.paused, *(part.name for part in made.parts if part.paused and part.text)]
    if paused:
        blocks.append(f"flow.pause({', '.join(map(repr, paused))})")
    return "\n\n".join(blocks) + "\n"


def _call(first: str, options: Mapping[str, Any]) -> str:
    return ", ".join([*([first] if first else []), *(f"{key}={value!r}" for key, value in options.items())])


def _declaration(part: Part) -> str:
    options = {**({"processor": part.processor} if part.processor != "main" else {}), **part.options}
    if part.text is None:
        declared = f"flow.declare(..., {_call(repr(part.name), options)})"
        return f"# {part.name}: the source of its task is not known; {declared}"
    if not part.text.name:
        return f"flow.declare({part.text.code}, {_call(repr(part.name), options)})"
    if part.text.name in part.text.needs:
        # it calls itself: its name has to be bound before it travels
        return f"{part.text.code}\n\nflow.declare({part.text.name}, {_call(repr(part.name), options)})"
    given = _call(repr(part.name) if part.name != part.text.name else "", options)
    return f"@flow.socket{f'({given})' if given else ''}\n{part.text.code}"


def _wiring(made: Recipe) -> Iterator[str]:
    there = {part.name for part in made.parts if part.text}
    for part in made.parts:
        for argument, text in part.fixed.items():
            line = f"flow.fix({part.name!r}, {argument}={text or '...'})"
            yield line if text and part.name in there else f"# {line}: its value is no literal"
    for plug in made.plugs:
        options = {k: v for k, v in plug.items() if k not in ("source", "target", "argument", "function")}
        port = f"{plug['target']}.{plug['argument']}"
        line = f"flow.plug({plug['source']!r}, {_call(repr(port), options)})"
        whole = {plug["source"], plug["target"]} <= there
        if "function" in plug:
            yield f"# {line}: its condition is the function {plug['function']}"
        else:
            yield line if whole else f"# {line}"
    placed = {part.name: part.position for part in made.parts if part.position and part.name in there}
    if placed:
        places = ", ".join(f"{name}=({x:g}, {y:g})" for name, (x, y) in placed.items())
        yield "\n".join(textwrap.wrap(f"flow.place({places})", 110, subsequent_indent="    ", break_long_words=False))


# -- as JSON ---------------------------------------------------------------------
def saved(topology: Mapping[str, Any], name: str, space: Mapping[str, Any] | None = None) -> str:
    """The wiring as JSON that `ec_jupyter.load` takes; the texts of the tasks are in it, no value that waits."""
    made = recipe(topology, name, space)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "nodes": made.nodes,
        "processors": made.processors,
        "before": made.before,
        "unbound": made.unbound,
        "sockets": {part.name: _saved_part(part) for part in made.parts},
        "plugs": made.plugs,
        "paused": made.paused,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _saved_part(part: Part) -> dict[str, Any]:
    return {
        "processor": part.processor,
        "function": part.text.name if part.text else None,
        "code": part.text.code if part.text else None,
        "options": part.options,
        "fixed": part.fixed,
        "position": part.position,
        "paused": part.paused,
    }
