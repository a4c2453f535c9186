"""What an agent may do with a flow: tools with names, descriptions, schemas of their arguments, and what each does.

It knows no protocol; values come and go as JSON, and nothing is unpickled.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ec_jupyter.client import outside, scene
from ec_jupyter.client.client import Client
from ec_jupyter.client.commands import command
from ec_jupyter.client.source import described
from ec_jupyter.client.texts import headline, missing, status_rows
from ec_jupyter.errors import ArgumentsError, nearest
from ec_jupyter.flow.states import SHOWN
from ec_jupyter.wire import unpacked

ALLOWED = ("submit", "edit")  # what may be allowed beyond looking
MOST_SECONDS = 50  # how long a look at a request may wait for its end: agents give a call about a minute
CALL = "call_"  # before the name of a socket in the name of the tool that calls it
_NAME = re.compile(r"[A-Za-z0-9_-]{1,59}")
_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "list": "array", "tuple": "array",
          "dict": "object", "None": "null"}  # fmt: skip
_CHANGES = ("plug", "unplug", "rename", "remove", "move", "processor", "fix", "unfix", "group", "ungroup")

Fields = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """One thing that an agent may do."""

    # name, text: what it is called and what it is for
    name: str
    text: str
    properties: Mapping[str, Fields]  # JSON schemas of its arguments
    does: Callable[[Client, Fields], Any]  # does it: called with a client and the arguments
    required: tuple[str, ...] = ()  # arguments that it needs
    needs: str = ""  # what has to be allowed; empty for what only looks

    @property
    def schema(self) -> Fields:
        """The JSON schema of its arguments."""
        return {
            "type": "object", "properties": dict(self.properties), "required": list(self.required),
            "additionalProperties": False,
        }  # fmt: skip


def tools(topology: Mapping[str, Any], allow: Collection[str]) -> dict[str, Tool]:
    """The tools of a flow by name: those that look, and those that are allowed.

    `topology`: the wiring; empty where it is not known, which leaves out the tools of its sockets. `allow`: of
    ``"submit"`` (give work, retry, cancel, answer) and ``"edit"`` (wiring, pause, undo).
    """
    made = [*_FIXED, *(_socket_tools(topology) if topology else ())]
    return {tool.name: tool for tool in made if not tool.needs or tool.needs in allow}


def checked(words: str) -> tuple[str, ...]:
    """What is allowed, as a person gave it: words with commas between.

    Raises ArgumentsError: one of them is nothing that may be allowed.
    """
    found = tuple(word.strip() for word in words.split(",") if word.strip())
    for word in found:
        if word not in ALLOWED:
            raise ArgumentsError(f"allow takes {' and '.join(ALLOWED)}, not {word!r}; {nearest(word, ALLOWED)}")
    return found


# -- sockets -----------------------------------------------------------------------
def _socket_tools(topology: Mapping[str, Any]) -> Iterator[Tool]:
    for name, record in topology["sockets"].items():
        # a name that no protocol takes is called by 'submit'
        if not record.get("parked") and _NAME.fullmatch(name):
            yield _socket_tool(name, record)


def _socket_tool(name: str, record: Mapping[str, Any]) -> Tool:
    task = record["task"]
    returns, doc, _ = described(name, task)
    asks = task.get("ask")
    what = doc or (f"Asks a person: {asks['prompt']}" if asks else f"Calls {name}.")
    text = (
        f"{what} Gives the number of a request at once; 'request' tells its result{f' ({returns})' if returns else ''}."
    )
    plain = [p for p in task["signature"] if not p["kind"].startswith("VAR_")]
    properties = {p["name"]: _property(p) for p in plain}
    needed = tuple(p["name"] for p in plain if p["name"] in record.get("needed", ()))
    return Tool(f"{CALL}{name}", text, properties, partial(_call, name), needed, needs="submit")


def _property(parameter: Mapping[str, Any]) -> Fields:
    found = json_type(parameter.get("annotation"))
    default = parameter.get("default")
    return found | ({"description": f"default: {default}"} if default is not None else {})


def json_type(annotation: str | None) -> Fields:
    """The JSON schema of an annotation's text; an empty one, which any value fits, where it says nothing of JSON's."""
    with suppress(SyntaxError, ValueError):
        return _json_type(ast.parse((annotation or "").strip("'\""), mode="eval").body)
    return {}


def _json_type(node: ast.expr) -> Fields:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([node.left, node.right])
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value).rpartition(".")[2]
        inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer in ("Optional", "Union"):
            return _either([*inner, *([ast.Constant(None)] if outer == "Optional" else [])])
        if outer == "Literal" and all(isinstance(one, ast.Constant) for one in inner):
            return {"enum": [ast.literal_eval(one) for one in inner]}
        if outer in ("list", "List", "Sequence"):
            return {"type": "array", "items": _json_type(inner[0])}
        return _json_type(node.value)
    word = ast.unparse(node).rpartition(".")[2]
    return {"type": _TYPES[word]} if word in _TYPES else {}


def _either(nodes: list[ast.expr]) -> Fields:
    kinds = [_json_type(node) for node in nodes]
    return {"anyOf": kinds} if all(kinds) else {}


def _call(socket: str, client: Client, args: Fields) -> Fields:
    return {"request": outside.submit(client, socket, args)}


# -- looking -----------------------------------------------------------------------
def _status(client: Client, args: Fields) -> Fields:
    counts, _ = client.ask("query", {"what": "counts"})
    told = {"text": headline(counts), "idle": counts["idle"], "size": counts["size"]}
    return {**told, "sockets": status_rows(client.topology, counts)}


def _wiring(client: Client, args: Fields) -> Fields:
    found = scene.graph(client.topology, client.name)
    sockets = {
        name: {"doc": one["doc"], "returns": one["returns"], "processor": one["processor"], "group": one["group"],
               "paused": one["paused"], "arguments": one["task"]["signature"], "source": one["task"]["source"]}
        for name, one in found["sockets"].items()
    }  # fmt: skip
    return {"revision": found["revision"], "sockets": sockets, "plugs": found["plugs"]}


def _requests(client: Client, args: Fields) -> Fields:
    reply, _ = client.ask("query", {"what": "requests", "newest": True, "limit": 20, **args})
    return {"requests": [{name: row.get(name) for name in (*outside.SHOWN, "run")} for row in unpacked(reply)]}


def _request(client: Client, args: Fields) -> Fields:
    client.row(args["request"])
    with suppress(TimeoutError):
        client.finished(args["request"]).result(args.get("wait", 0))
    return outside.row(client, args["request"])


def _waiting(client: Client, args: Fields) -> Fields:
    rows = command(client, "waiting", args)["rows"]
    return {"waiting": [{**row, "missing": missing(row)} for row in rows]}


def _log(client: Client, args: Fields) -> Fields:
    return {"lines": command(client, "log", {"limit": 50, **args})["lines"]}


# -- acting ------------------------------------------------------------------------
def _submit(client: Client, args: Fields) -> Fields:
    given = args.get("arguments", {}), args.get("id")
    return {"request": outside.submit(client, args["socket"], *given, partial=args.get("partial", False))}


def _op(op: str, client: Client, args: Fields) -> Fields:
    return command(client, op, args)


def _named(description: str, kind: str = "string") -> Fields:
    return {"type": kind, "description": description}


_SOCKET = {"socket": _named("Of this socket only")}
_REQUEST = {"request": _named("Number of the request", "integer")}
_IDS = {"ids": {"type": "array", "items": {"type": "integer"}, "description": "Numbers of requests"}}
_LIMIT = {"limit": {"type": "integer", "minimum": 1, "maximum": 1000}}
_NAMES = {
    "sockets": {"type": "array", "items": {"type": "string"}},
    "processors": {"type": "array", "items": {"type": "string"}},
}
_FIXED = (
    Tool("status", "Counts of every socket of the flow: queued, running, done, failed, waiting.", {}, _status),
    Tool("wiring", "Sockets with their arguments, docstrings and code, and the plugs between them.", {}, _wiring),
    Tool(
        "requests", "The newest requests, newest first: state, times, error.",
        {**_SOCKET, "state": {"enum": list(SHOWN)},
         "run": _named("Of this run only: all that descends from one submit", "integer"), **_LIMIT}, _requests,
    ),
    Tool(
        "request", "One request: its state, its result, or its error with the traceback.",
        {**_REQUEST, "wait": {"type": "number", "minimum": 0, "maximum": MOST_SECONDS,
                              "description": "Seconds to wait for its end"}},
        _request, ("request",),
    ),
    Tool("waiting", "Values that wait for the rest of their call, and requests that ask a person.", _SOCKET, _waiting),
    Tool(
        "log", "Newest lines of the log, oldest first: output, failures, retries, edits.",
        {**_SOCKET, **_REQUEST, "level": {"enum": ["info", "warning", "error"]}, "text": _named("That hold this text"),
         **_LIMIT}, _log,
    ),
    Tool(
        "submit", "Gives a socket a request; its number comes at once, its result later with 'request'.",
        {"socket": _named("Which"), "arguments": {"type": "object", "description": "JSON values by argument"},
         "id": _named("The same id again is the same request"), "partial": _named("The rest comes later", "boolean")},
        _submit, ("socket",), needs="submit",
    ),
    Tool("retry", "Runs failed requests again.", _IDS, partial(_op, "retry"), ("ids",), needs="submit"),
    Tool("cancel", "Cancels requests that have not ended.", _IDS, partial(_op, "cancel"), ("ids",), needs="submit"),
    Tool(
        "answer", "Answers what a request asks a person; the answer is its result, once.",
        {**_REQUEST, "answer": {}, "who": _named("Who answers")}, partial(_op, "respond"), ("request", "answer"),
        needs="submit",
    ),
    Tool(
        "edit",
        "Changes, all or none: [{op: plug, source, target, argument}, {op: fix, socket, argument, text}, "
        "{op: group, name, sockets}]. "
        "Code of tasks cannot be changed.",
        {"changes": {"type": "array", "items": {"type": "object", "required": ["op"],
                                                "properties": {"op": {"enum": list(_CHANGES)}}}}},
        partial(_op, "edit"), ("changes",), needs="edit",
    ),
    Tool("undo", "Takes the last edit back.", {}, partial(_op, "undo"), needs="edit"),
    Tool("pause", "Lets sockets or processors start nothing.", _NAMES, partial(_op, "pause"), needs="edit"),
    Tool("resume", "Lets them start again.", _NAMES, partial(_op, "resume"), needs="edit"),
)  # fmt: skip
