"""What a picture asks for, carried out by the engine: one function for every op of an editor.

The widget and the server's websocket answer with this. It loads no widget, no worker and no graph library.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from ec_jupyter.client import names, past, scene
from ec_jupyter.client.client import Client
from ec_jupyter.client.seen import checked, displayed
from ec_jupyter.client.source import described
from ec_jupyter.errors import (
    ArgumentsError,
    DeclarationError,
    EcError,
    EngineLostError,
    SocketNotFoundError,
    WiringError,
    by_name,
    nearest,
)
from ec_jupyter.flow.options import shown
from ec_jupyter.flow.schema import CHOICE
from ec_jupyter.wire import Value, unpacked

Fields = dict[str, Any]
Op = Callable[[Client, Fields], Fields]
MOST_VERSIONS = 100  # of a task, that are listed
PREVIEW_SECONDS = 30.0  # how long an answer waits for a worker that shows a value: the first has to start
_CHANGES = {
    "plug": ("source", "target", "argument", "on", "map", "gather", "cycle"),
    "unplug": ("source", "target", "argument", "on"),
    "replug": ("source", "target", "argument", "on", "to_on", "to_target", "to_argument"),
    "processor": ("name", "cpus", "nodes"),
    "remove_processor": ("name",),
    "rename": ("name", "to"),
    "remove": ("name", "force"),
    "position": ("positions",),
    "move": ("socket", "processor"),
    "fix": ("socket", "argument", "text"),
    "unfix": ("socket", "argument"),
    "schedule": ("socket", "name", "every", "cron", "zone", "missed", "paused"),
    "unschedule": ("name",),
    "group": ("name", "sockets"),
    "ungroup": ("name", "sockets"),
    "rename_group": ("name", "to"),
    "note": ("id", "text", "place"),
    "remove_note": ("id",),
}
"""Changes a picture may make, and the fields each takes; tasks come from cells only."""


_BY = {"by": "picture"}  # who does what no undo takes back: a picture says itself that it cannot be undone
LOOKS = (
    "history", "foretell", "waiting", "preview", "beside", "find_value", "requests", "request", "rates", "svg", "runs",
    "way", "lineage", "timeline", "past", "since", "statistics", "log", "versions",
)  # fmt: skip
"""What only looks: it starts no engine of a flow that somebody has stopped."""


class WrongCodeError(EcError, ValueError):
    """The code that was written in a picture is not Python, or does not run; `line`: of it, where that is known."""

    def __init__(self, text: str, line: int | None) -> None:
        super().__init__(text)
        self.line = line


def command(
    client: Client, op: str, args: Mapping[str, Any] | None = None, own: Mapping[str, Op] | None = None
) -> Fields:
    """Carry out an op of a picture; the fields of its answer. Raises EcError: it cannot be done, in one line.

    `own`: ops that whoever shows the picture carries out in their own way, whether an engine is there or not.
    """
    other = (own or {}).get(op)
    action = other or _OPS.get(op)
    if action is None:
        raise WiringError(f"a picture has no command {op!r}; {nearest(str(op), _OPS)}")
    if op in LOOKS and other is None and not client.connected:
        raise EngineLostError(f"flow {client.name!r} has no engine; to look does not start it")
    try:
        return action(client, dict(args or {}))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, EcError):
            raise
        # the page is ours, but anybody may write to a comm
        raise WiringError(f"command {op!r} cannot be read: {type(error).__name__}: {error}") from error
    except TimeoutError as error:
        raise EcError(str(error)) from error


def answer(
    client: Client, op: str, args: Mapping[str, Any] | None = None, own: Mapping[str, Op] | None = None
) -> Fields:
    """The answer to a page: ``{"ok": True, ...}``, or ``{"ok": False, "error": text}``."""
    try:
        return {"ok": True, **command(client, op, args, own)}
    except EcError as error:
        line = {"line": error.line} if isinstance(error, WrongCodeError) else {}
        return {"ok": False, "error": str(error), "type": type(error).__name__, **line}


def literal(text: str, what: str) -> Any:
    """The value that a person typed for `what`: JSON or a Python literal. Raises ArgumentsError: it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        shown = text if len(text) <= 40 else text[:39] + "…"
        hint = "; a text stands in quotes" if shown.replace(" ", "").replace("-", "").isalnum() else ""
        raise ArgumentsError(f"argument {what!r}: {shown!r} is no JSON and no Python literal{hint}") from None


_ITEM = re.compile(r"^[\w.]+\[(.*)\]$")
_EITHER = re.compile(r"(?:typing\.|t\.)?(?:Optional|Union)\[(.*)\]")


def typed(text: str, argument: str, annotation: str | None) -> Any:
    """The value that a person typed for an argument: where it takes a ``str``, what is no other literal is one."""
    bare = (annotation or "").strip("'\"")
    either = _EITHER.fullmatch(bare)
    kinds = {kind.strip() for kind in re.split(r"[|,]", either[1] if either else bare)}
    if "str" not in kinds:
        return literal(text, argument)
    try:
        value = literal(text, argument)
    except ArgumentsError:
        return text
    # of a text that reads like a number, it is the annotation that knows
    numbers = kinds - {"str", "None"}
    return value if isinstance(value, str) or numbers or (value is None and (either or "None" in kinds)) else text


def _typed(client: Client, socket: Any, argument: str, text: Any, *, element: bool = False) -> Any:
    known = {p["name"]: p for p in _socket(client, socket)["task"]["signature"]}
    annotation = known.get(argument, {}).get("annotation") or ""
    ends = [p for p in client.topology["plugs"] if (p["target"], p["argument"]) == (socket, argument)]
    if element and any(p["gather"] for p in ends):
        annotation = _ITEM.sub(r"\1", annotation.strip("'\""))
    return typed(str(text), argument, annotation)


def _given(args: Fields, *words: str) -> Fields:
    """Those of some arguments that were given."""
    return {word: args[word] for word in words if args.get(word) is not None}


def _socket(client: Client, name: Any) -> Fields:
    record: Fields = by_name(client.topology["sockets"], name, SocketNotFoundError)
    return record


# -- wiring ------------------------------------------------------------------
def _edit(client: Client, args: Fields, *, dry: bool = False) -> Fields:
    """Make an edit; or, `dry`, tell what it would do to what is under way."""
    buffers: list[bytes] = []
    changes = [change for given in args["changes"] for change in _changes(client, given, buffers)]
    return _revised(client, changes, buffers, dry=dry)


def _revised(client: Client, changes: list[Fields], buffers: list[bytes] | None = None, *, dry: bool = False) -> Fields:
    reply, _ = client.ask("edit", {"changes": changes} | ({"dry": True} if dry else {}), buffers or [])
    return {
        "revision": reply["revision"], "warnings": list(reply.get("warnings", ())), "receipt": dict(reply["receipt"])
    }  # fmt: skip


def _changes(client: Client, given: Mapping[str, Any], buffers: list[bytes]) -> list[Fields]:
    op = given.get("op", "")
    if op not in _CHANGES:
        raise WiringError(f"a picture makes no change {op!r}; {nearest(str(op), _CHANGES)}")
    change = {"op": op, **{key: given[key] for key in _CHANGES[op] if key in given}}
    if change.get("nodes") is not None:
        change["nodes"] = dict(change["nodes"])
    if op == "fix":
        return [_fix(client, change, buffers)]
    if op == "position":
        return [{**change, "positions": {**_present(client), **change["positions"]}}]
    return [change]


def _present(client: Client) -> dict[str, list[float]]:
    """Where every card that nobody has placed stands now: moving one must not move the others."""
    topology = client.topology
    boxes = scene.boxes(topology)
    return {name: [box[0], box[1]] for name, box in boxes.items() if not topology["sockets"][name].get("position")}


def _fix(client: Client, change: Fields, buffers: list[bytes]) -> Fields:
    value = literal(str(change.pop("text")), change["argument"])
    packed = client.dump(value)
    head: int | list[Any] = packed.head()
    if packed.data is not None:
        head = len(buffers)
        buffers.append(packed.data)
    return {**change, "value": head, "type": packed.type, "text": repr(value)[:200]}


def _tidy(client: Client, args: Fields) -> Fields:
    places = {name: [box[0], box[1]] for name, box in scene.boxes(client.topology, anew=True).items()}
    reply, _ = client.ask("edit", {"changes": [{"op": "position", "positions": places}]})
    return {"revision": reply["revision"]}


def _step(way: str, client: Client, args: Fields) -> Fields:
    reply = client.ask(way, _BY)[0]
    return {"revision": reply["revision"], "text": reply["text"], "receipt": dict(reply["receipt"])}


# -- nodes -------------------------------------------------------------------
def _node(client: Client, args: Fields) -> Fields:
    """Declare a node, change it, or try again to reach it: how that goes is for its state to tell."""
    given = {word: str(args[word]).strip() for word in ("host", "python") if args.get(word)}
    change: Fields = {"op": "node", "name": names.plain_name(str(args["name"]).strip(), "node"), **given}
    if "cpus" in args:
        change["cpus"] = None if args["cpus"] is None else int(args["cpus"])
    if args.get("requirements") is not None:
        if not isinstance(args["requirements"], list):
            raise TypeError("requirements are a list")
        change["requirements"] = [str(one) for one in args["requirements"]]
    return _revised(client, [change])


# -- calls -------------------------------------------------------------------
def _rest(verb: str, client: Client, args: Fields) -> Fields:
    client.ask(verb, {"sockets": list(args.get("sockets", ())), "processors": list(args.get("processors", ()))})
    return {}


def _submit(client: Client, args: Fields) -> Fields:
    name = args["socket"]
    known = {p["name"] for p in _socket(client, name)["task"]["signature"] if not p["kind"].startswith("VAR_")}
    values: dict[str, Value] = {}
    for argument, text in args.get("arguments", {}).items():
        if argument not in known:
            raise ArgumentsError(f"{name!r} has no argument {argument!r}; {nearest(argument, known)}")
        values[argument] = client.dump(_typed(client, name, argument, text))
    client.admit(name, 1, wait=False)
    return {"request": client.submit([(name, values)], partial=bool(args.get("partial")))[0]}


def _cancel(client: Client, args: Fields) -> Fields:
    reply, _ = client.ask("cancel", {**_chosen(args), **_BY})
    return {"cancelled": int(reply["cancelled"]) + int(reply.get("killed", 0))}


def _retry(client: Client, args: Fields) -> Fields:
    if args.get("arrivals") is not None:
        client.ask("retry", {"arrivals": [int(one) for one in args["arrivals"]]})
        return {"ids": []}
    reply, _ = client.ask("retry", _chosen(args))
    for request in reply["ids"]:
        client.forget(request)
    return {"ids": list(reply["ids"])}


def _chosen(args: Fields) -> Fields:
    if args.get("ids") is not None:
        return {"ids": [int(one) for one in args["ids"]]}
    word = "socket" if args.get("run") is None else "run"
    return {word: args[word]}


# -- what waits ----------------------------------------------------------------
_WHERE = ("party", "run", "tag", "element")


def _waiting(client: Client, args: Fields) -> Fields:
    asked = {"what": "waiting", "limit": 1000, **_given(args, "socket", "limit")}
    return {"rows": client.ask("query", asked)[0]["rows"]}


def _supply(client: Client, args: Fields) -> Fields:
    name, argument = args["socket"], args["argument"]
    value = client.dump(_typed(client, name, argument, args["text"], element=args.get("element") is not None))
    where = _given(args, *_WHERE)
    inline = [value.data] if value.data is not None else []
    client.ask("supply", {"socket": name, **where, "values": {argument: value.head()}, **_BY}, inline)
    return {}


def _discard(client: Client, args: Fields) -> Fields:
    if args.get("arrivals") is not None:
        chosen: Fields = {"arrivals": [int(one) for one in args["arrivals"]]}
    elif args.get("arrival") is not None:
        chosen = {"arrival": int(args["arrival"])}
    elif args.get("argument") is not None:
        chosen = {"socket": args["socket"], "argument": args["argument"], **_given(args, *_WHERE)}
    else:
        chosen = {"request": int(args["request"])}
    client.ask("discard", {**chosen, **_BY})
    return {}


def _respond(client: Client, args: Fields) -> Fields:
    """Answer what a request asks: by one of its choices, or in a text."""
    respond(client, int(args["request"]), args["answer"], args.get("who"), by="picture")
    return {}


def respond(client: Client, request: int, said: Any, who: str | None, *, by: str) -> None:
    """Give a person's answer to the engine: as a choice where its socket has some, else as a value."""
    asked: Fields = {"request": request, "who": who, "by": by}
    buffers: list[bytes] = []
    ask = client.topology["sockets"].get(client.row(request)["socket"], {}).get("task", {}).get("ask") or {}
    if ask.get("choices") is not None and CHOICE.fits(said):
        asked["choice"] = said
    else:
        packed = client.dump(said, "an answer")
        asked |= {"value": packed.head(), "text": shown(said)}
        buffers = [packed.data] if packed.data is not None else []
    client.ask("respond", asked, buffers)


# -- looking -------------------------------------------------------------------
_ASKED = ("arrival", "request", "argument", "result", "json", "socket", "rich", "element")
_REQUESTS = ("socket", "state", "run", "ids", "by", "newest", "before", "after", "met", "limit")
_TOLD = ("text", "type", "size", "json", "request", "element", "elements")


def _preview(client: Client, args: Fields) -> Fields:
    asked = _given(args, *_ASKED)
    reply, _ = client.ask("preview", asked, timeout=PREVIEW_SECONDS)
    shown: Fields = {key: reply[key] for key in _TOLD if key in reply}
    if "look" in reply:
        shown["look"] = checked(reply["look"])
    if asked.get("rich") and "socket" in asked and "argument" not in asked:
        client.seen.keep(asked["socket"], shown)
    return shown


def _find_value(client: Client, args: Fields) -> Fields:
    """The next result of a socket that shows a text, or how far it was looked for."""
    asked = {"find": str(args["find"]), **_given(args, "socket", "run", "before", "after")}
    reply, _ = client.ask("preview", asked, timeout=PREVIEW_SECONDS)
    return {key: reply[key] for key in ("request", "until", "large")}


def _requests(client: Client, args: Fields) -> Fields:
    asked = {"what": "requests", "limit": 100, **_given(args, *_REQUESTS)}
    reply, _ = client.ask("query", asked)
    return {"rows": unpacked(reply)}


def _request(client: Client, args: Fields) -> Fields:
    request = int(args["id"])
    row = client.row(request)
    fixed = client.topology["sockets"].get(row["socket"], {}).get("fixed", {})
    names = list(dict.fromkeys([*row["argument_names"], *fixed]))
    return {
        "row": row,
        "error": row["error"],
        "arguments": {name: _shown(client, request, name) for name in names},
        "output": [
            ["display", displayed(text)] if stream == "display" else [stream, text]
            for stream, text in client.ask("query", {"what": "output", "id": request})[0]["chunks"]
        ],
        "attempts": client.ask("query", {"what": "attempts", "id": request})[0]["rows"],
    }


def _shown(client: Client, request: int, argument: str) -> Fields:
    try:
        return _preview(client, {"request": request, "argument": argument})
    except (EcError, TimeoutError) as error:
        # the other facts of the request are worth showing without this one
        return {"text": f"cannot be shown: {error}", "type": "", "size": 0}


def _start(client: Client, args: Fields) -> Fields:
    client.ask("ping")
    return {}


# -- code ----------------------------------------------------------------------
def _versions(client: Client, args: Fields) -> Fields:
    """The newest versions of a socket's task, oldest first, each with its own lines of its cell."""
    name = str(args["socket"])
    rows = sorted(client.ask("query", {"what": "versions", "socket": name})[0]["rows"], key=lambda row: row["version"])
    kept = ("version", "created", "client", "file")
    listed = rows[-MOST_VERSIONS:]
    return {"rows": [{**{key: row[key] for key in kept}, "source": described(name, row)[2]} for row in listed]}


def _no_kernel(client: Client, args: Fields) -> NoReturn:
    """Refuse what only a kernel can do: no server runs the code that a page sends."""
    raise DeclarationError(
        "no kernel stands behind this picture, and Python is run by the kernel of the notebook that declared it: "
        "open the picture there, or change the cell and run it"
    )


# -- what happened -------------------------------------------------------------
def _lineage(client: Client, args: Fields) -> Fields:
    reply, _ = client.ask("query", {"what": "lineage", "id": int(args["id"]), "limit": 1000})
    return {"edges": reply["edges"], "sockets": {str(row["id"]): row["socket"] for row in reply["nodes"]}}


def _told(what: str, words: tuple[str, ...], client: Client, args: Fields) -> Fields:
    """The engine's answer to a question, as it is."""
    reply, _ = client.ask("query", {"what": what, **_given(args, *words)})
    return {key: value for key, value in reply.items() if key not in ("k", "n")}


# -- taking away ---------------------------------------------------------------
def _code(client: Client, args: Fields) -> Fields:
    from ec_jupyter.client.recipe import code

    return {"text": code(client.topology, client.name)}


def _save(client: Client, args: Fields) -> Fields:
    from ec_jupyter.client.recipe import saved

    return {"text": saved(client.topology, client.name)}


def _svg(client: Client, args: Fields) -> Fields:
    from ec_jupyter.client.drawing import svg

    counts, _ = client.ask("query", {"what": "counts"})
    folded = [str(one) for one in args.get("folded") or ()]
    return {"text": svg(client.topology, client.name, counts, seen=client.seen.looks, folded=folded)}


_OPS: dict[str, Op] = {
    "edit": _edit, "foretell": partial(_edit, dry=True), "tidy": _tidy, "node": _node,
    "undo": partial(_step, "undo"), "redo": partial(_step, "redo"),
    "history": lambda client, _: {"rows": client.ask("history")[0]["rows"]},
    "remove_node": lambda client, args: _revised(client, [{"op": "remove_node", "name": str(args["name"])}]),
    "pause": partial(_rest, "pause"), "resume": partial(_rest, "resume"),
    "submit": _submit, "cancel": _cancel, "retry": _retry,
    "waiting": _waiting, "supply": _supply, "discard": _discard, "respond": _respond,
    "preview": _preview, "find_value": _find_value, "requests": _requests, "request": _request,
    "beside": partial(_told, "beside", ("socket", "id", "run")),
    "rates": partial(_told, "rates", ()), "way": partial(_told, "way", ("id",)), "lineage": _lineage,
    "versions": _versions, **dict.fromkeys(("redefine", "when", "key"), _no_kernel),
    "runs": lambda client, args: past.runs(client, _given(args, "before", "find", "state", "limit")),
    "timeline": lambda client, args: past.timeline(client, _given(args, "before", "run", "limit")),
    "past": lambda client, args: past.at(client, float(args["time"])),
    "since": lambda client, _: past.since(client),
    "statistics": partial(_told, "statistics", ("by", "name", "pulse", "course")),
    "log": partial(_told, "log", ("socket", "run", "request", "level", "text", "older", "newer", "limit")),
    "start": _start, "code": _code, "save": _save, "svg": _svg,
}  # fmt: skip
