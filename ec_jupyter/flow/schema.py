"""The frames that an engine takes: the fields of each frame, the type and range of each field. Pure.

One table for all who speak to one: notebook, picture, command line, HTTP. What it lets pass acts; nothing else does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ec_jupyter.errors import DeclarationError, FrameError
from ec_jupyter.flow.options import HIGHEST, is_url, shown
from ec_jupyter.model import FUNCTIONS

MOST_ID = 1 << 62
DEEPEST = 64  # levels of lists and objects within a frame
LONGEST_NAME = 200
LONGEST_PROMPT = 2_000
MOST_CHOICES = 100


class Kind(NamedTuple):
    """A type with its range."""

    says: str  # what is asked for, as an error says it
    fits: Callable[[Any], bool]  # whether a value is of it
    sample: Any  # one that is


Fields = Mapping[str, Kind]


def _whole(low: int, high: int, says: str) -> Kind:
    return Kind(says, lambda v: type(v) is int and low <= v <= high, max(low, 1))


def _one_of(*words: Any) -> Kind:
    says = " or ".join(map(repr, words))
    known = {(type(word), word) for word in words}
    return Kind(says, lambda v: isinstance(v, (str, bool)) and (type(v), v) in known, words[0])


def _list(of: Kind, says: str) -> Kind:
    return Kind(says, lambda v: isinstance(v, list) and all(map(of.fits, v)), [of.sample])


def _map(of: Kind, says: str) -> Kind:
    return Kind(says, lambda v: isinstance(v, dict) and all(map(of.fits, v.values())), {"x": of.sample})


def _or_none(kind: Kind) -> Kind:
    return Kind(f"{kind.says}, or None", lambda v: v is None or kind.fits(v), kind.sample)


def _tuple(*parts: Kind, says: str) -> Kind:
    def fits(v: Any) -> bool:
        return isinstance(v, list) and len(v) == len(parts) and all(p.fits(x) for p, x in zip(parts, v, strict=True))

    return Kind(says, fits, [part.sample for part in parts])


def _record(needed: Fields, more: Fields, says: str, *, only: bool = False) -> Kind:
    """An object with these fields, and `only` these."""

    def fits(v: Any) -> bool:
        return (
            isinstance(v, dict)
            and all(name in v and kind.fits(v[name]) for name, kind in needed.items())
            and all(kind.fits(v[name]) for name, kind in more.items() if name in v)
            and not (only and v.keys() - needed.keys() - more.keys())
        )

    return Kind(says, fits, {name: kind.sample for name, kind in needed.items()})


def _plain(v: Any) -> bool:
    # a value's file is one of the flow's own folder
    return isinstance(v, str) and 0 < len(v) < LONGEST_NAME and "/" not in v and "\0" not in v and v not in (".", "..")


ID = _whole(0, MOST_ID, "a whole number")
COUNT = _whole(0, 10_000_000, "a whole number from 0 to 10000000")
LIMIT = _or_none(_whole(1, MOST_ID, "a whole number from 1 on"))
FLAG = Kind("True or False", lambda v: isinstance(v, bool), True)
TEXT = Kind("a text", lambda v: isinstance(v, str), "x")
NAME = Kind(f"a name of up to {LONGEST_NAME} characters", lambda v: isinstance(v, str) and len(v) <= LONGEST_NAME, "x")
NAMES = _list(NAME, "a list of names")
IDS = _list(ID, "a list of whole numbers")
SIGNED = Kind("a number", lambda v: type(v) in (int, float) and math.isfinite(v) and abs(v) <= 1e9, 1.5)
PRIORITY = _whole(-HIGHEST, HIGHEST, f"a whole number from -{HIGHEST} to {HIGHEST}")
TIME = Kind("seconds since the epoch", lambda v: type(v) in (int, float) and math.isfinite(v) and 0 <= v < 1e12, 1.5)
BYTES = Kind("a number of bytes", lambda v: type(v) is int and 0 <= v <= 1 << 60, 1)
FILE = Kind("the name of a value file", _plain, "in.x.1")
HEAD = _tuple(_or_none(FILE), ID, TEXT, says="a value's file, bytes and type")
SUPPLIED = _map(HEAD, "values by argument")
RANGES = _list(_tuple(ID, COUNT, says="a first number and how many"), "a list of ranges")
PLACE = _or_none(_tuple(SIGNED, SIGNED, says="two numbers"))

_BLOB = _or_none(COUNT)
PARAMETER = _record(
    {"name": NAME, "kind": NAME._replace(sample="POSITIONAL_OR_KEYWORD"), "required": FLAG},
    {"default": _or_none(TEXT), "annotation": _or_none(TEXT)},
    "a parameter",
    only=True,
)
CHOICE = Kind("a text, a number, True or False", lambda v: isinstance(v, (str, bool, int)) or SIGNED.fits(v), "x")
PROMPT = Kind(
    f"a text of 1 to {LONGEST_PROMPT} characters", lambda v: isinstance(v, str) and 0 < len(v) <= LONGEST_PROMPT, "x"
)


def _choices(v: Any) -> bool:
    known = {(type(choice), choice) for choice in v} if isinstance(v, list) and all(map(CHOICE.fits, v)) else set()
    short = all(len(str(choice)) <= LONGEST_NAME for _, choice in known)
    return short and 0 < len(known) <= MOST_CHOICES and len(known) == len(v)


CHOICES = Kind(f"1 to {MOST_CHOICES} different texts of up to {LONGEST_NAME} characters, or numbers", _choices, ["x"])
_QUESTION = _record({"prompt": PROMPT, "choices": _or_none(CHOICES)}, {}, "a prompt and its choices", only=True)
_SLEEP = _record({"sleep": Kind("seconds", lambda v: TIME.fits(v) and v > 0, 1.5)}, {}, "seconds to sleep", only=True)
ASK = Kind(f"{_QUESTION.says}, or {_SLEEP.says}", lambda v: v == {} or _QUESTION.fits(v) or _SLEEP.fits(v), {})
TASK = _record(
    {"identity": TEXT, "sha256": TEXT, "signature": _list(PARAMETER, "a list of parameters")},
    {
        "source": TEXT, "file": TEXT, "captured": _list(TEXT, "a list of names"), "generator": FLAG, "ask": ASK,
        "coroutine": FLAG, "outputs": _map(TEXT, "types of its result's parts"),
    },
    "a task",
)  # fmt: skip
FUNCTION = _or_none(_record({"sha256": TEXT}, {"text": TEXT, "blob": _BLOB}, "a function"))
FIXED = Kind("a value", lambda v: COUNT.fits(v) or HEAD.fits(v), 0)

EDITS: dict[str, tuple[Fields, Fields]] = {
    "socket": (
        {"name": NAME, "task": TASK},
        {"join": _or_none(TEXT), "key": FUNCTION, "blob": _BLOB, "client": _or_none(TEXT)},
    ),
    "remove": ({"name": NAME}, {"force": FLAG}),
    "rename": ({"name": NAME, "to": NAME}, {}),
    "position": ({"positions": _map(PLACE, "places by socket")}, {}),
    "move": ({"socket": NAME, "processor": NAME}, {}),
    "stale": ({"socket": NAME, "names": _list(TEXT, "a list of names")}, {}),
    "processor": ({"name": NAME}, {}),
    "remove_processor": ({"name": NAME}, {}),
    "node": (
        {"name": NAME},
        {"host": _or_none(TEXT), "kind": _or_none(NAME), "tls": _or_none(_list(TEXT, "a list of files"))},
    ),
    "remove_node": ({"name": NAME}, {}),
    "plug": ({"source": NAME, "target": NAME}, {"argument": _or_none(NAME), "when": FUNCTION, "pick": FUNCTION}),
    "unplug": ({"source": NAME, "target": NAME}, {"argument": _or_none(NAME), "on": _or_none(TEXT)}),
    "replug": (
        {"source": NAME, "target": NAME, "argument": NAME},
        {"to_target": _or_none(NAME), "to_argument": _or_none(NAME)},
    ),
    "fix": ({"socket": NAME, "argument": NAME, "value": FIXED}, {"type": TEXT, "text": TEXT}),
    "unfix": ({"socket": NAME, "argument": NAME}, {}),
    "schedule": ({"socket": NAME}, {"name": _or_none(NAME)}),
    "unschedule": ({"name": NAME}, {}),
    "group": ({"name": NAME, "sockets": NAMES}, {}),
    "ungroup": ({"name": NAME}, {"sockets": _or_none(NAMES)}),
    "rename_group": ({"name": NAME, "to": NAME}, {}),
    "note": ({}, {"id": _or_none(ID)}),
    "remove_note": ({"id": ID}, {}),
}
"""Of each change that an edit may hold: the fields that it needs, and those that it may have beside its `options`."""

_SOCKET = {"socket": _or_none(NAME)}
_CHOSEN: dict[str, Kind] = {"ids": _or_none(IDS), "run": _or_none(ID), **_SOCKET, "all": FLAG}
_NAMED: dict[str, Kind] = {"sockets": NAMES, "processors": NAMES}
_FILTER: dict[str, Kind] = {
    **_CHOSEN, "state": _or_none(TEXT), "by": _or_none(_one_of("id", "started")), "newest": _or_none(FLAG),
    "limit": LIMIT, "before": _or_none(ID), "after": _or_none(ID), "met": _or_none(FLAG),
}  # fmt: skip

_BY: dict[str, Kind] = {"by": _or_none(_one_of("code", "picture"))}
_PLACE: dict[str, Kind] = {
    "run": _or_none(ID), "party": _or_none(ID), "tag": _or_none(TEXT), "element": _or_none(IDS),
}  # fmt: skip

_PLACES = _map(ID, "places in the log")

QUERIES: dict[str, tuple[Fields, Fields]] = {
    "counts": ({}, {}),
    "requests": ({}, _FILTER),
    "arguments": ({"id": ID}, {}),
    "task": ({"id": ID}, {}),
    "result": ({"id": ID}, {}),
    "beside": ({"socket": NAME}, {"id": _or_none(ID), "run": _or_none(ID)}),
    "results": ({}, {**_FILTER, "complete": FLAG}),
    "output": ({"id": ID}, {}),
    "attempts": ({"id": ID}, {}),
    "lineage": ({"id": ID}, {"limit": LIMIT}),
    "waiting": ({}, {**_SOCKET, "limit": LIMIT}),
    "value": ({"arrival": ID}, {}),
    "tree": ({}, {}),
    "schedules": ({}, {}),
    "versions": ({"socket": NAME}, {}),
    "run": ({"id": ID}, {}),
    "rates": ({}, {}),
    "runs": ({}, {"before": _or_none(ID), "limit": LIMIT, "find": _or_none(NAME), "state": _or_none(TEXT)}),
    "way": ({"id": ID}, {}),
    "spans": ({}, {"before": _or_none(ID), "run": _or_none(ID), "limit": LIMIT}),
    "began": ({}, {}),
    "wiring": ({"time": TIME}, {}),
    "past": ({"time": TIME}, {"request": _or_none(ID), "arrival": _or_none(ID)}),
    "log": (
        {},
        {
            **_SOCKET, "run": _or_none(ID), "request": _or_none(ID), "text": _or_none(TEXT),
            "level": _or_none(_one_of("info", "warning", "error")), "older": _or_none(_PLACES),
            "newer": _or_none(_PLACES), "limit": LIMIT,
        },
    ),
    "statistics": (
        {},
        {
            "by": _or_none(_one_of("socket", "processor", "node")), "name": _or_none(NAME), "pulse": _or_none(FLAG),
            "course": _or_none(FLAG),
        },
    ),
}  # fmt: skip
"""The same of each query."""

FRAMES: dict[str, tuple[Fields, Fields]] = {
    "hello": ({"client": NAME}, {"name": _or_none(TEXT), "python": _or_none(TEXT), "executable": _or_none(TEXT)}),
    "log": ({"mapped": FLAG, "end": ID, "since": ID}, {}),
    "wait": ({}, {"ids": IDS, "ranges": RANGES}),
    "edit": (
        {"changes": _list(Kind("a change", lambda v: isinstance(v, dict), {}), "a list of changes")},
        {"dry": _or_none(FLAG)},
    ),
    "undo": ({}, _BY),
    "redo": ({}, _BY),
    "history": ({}, {}),
    "pause": ({}, _NAMED),
    "resume": ({}, _NAMED),
    "query": ({"what": NAME}, {}),
    "preview": (
        {},
        {
            "request": _or_none(ID), "arrival": _or_none(ID), "argument": _or_none(NAME), "json": _or_none(FLAG),
            "rich": _or_none(FLAG), **_SOCKET, "element": _or_none(ID), "find": _or_none(NAME), "run": _or_none(ID),
            "before": _or_none(ID), "after": _or_none(ID),
        },
    ),
    "bring": ({"files": _list(FILE, "a list of value files")}, {}),
    "subscribe": ({"kinds": NAMES}, {}),
    "drained": ({}, {}),
    "reach": ({"node": NAME}, {"note": _or_none(TEXT)}),
    "admit": ({"socket": NAME, "calls": COUNT}, {"wait": FLAG}),
    "answer": ({"question": ID}, {"text": _or_none(TEXT)}),
    "supply": (
        {"socket": NAME, "values": SUPPLIED}, {**_PLACE, **_BY},
    ),
    "discard": (
        {},
        {
            "arrival": _or_none(ID), "arrivals": IDS, "request": _or_none(ID),
            **_SOCKET, "argument": _or_none(NAME), **_PLACE, **_BY,
        },
    ),
    "respond": (
        {"request": ID},
        {"choice": _or_none(CHOICE), "value": _or_none(HEAD), "text": _or_none(TEXT), "who": _or_none(NAME), **_BY},
    ),
    "cancel": ({}, {**_CHOSEN, "running": _or_none(FLAG), **_BY}),
    "retry": ({}, {**_CHOSEN, "arrivals": _or_none(IDS)}),
    "replay": ({}, {**_SOCKET, "request": _or_none(ID), "run": _or_none(ID)}),
    "notify": (
        {"to": _one_of("lab", "browser"), "when": _list(_one_of("end", "failure"), "a list of 'end' and 'failure'")},
        {},
    ),
    "keep": (
        {},
        {"seconds": _or_none(TIME), "runs": _or_none(COUNT), "bytes": _or_none(BYTES), "failed": _or_none(TIME),
         "only": _or_none(FLAG)},
    ),
    "gc": ({}, {"dry": _or_none(FLAG)}),
    "clear_cache": ({"sockets": NAMES}, {}),
    "clear": ({}, _BY),
    "stop": ({}, {}),
    "ping": ({}, {}),
    "probe": ({}, {}),
}  # fmt: skip
"""The same of each frame but ``submit``, which is checked as it is taken because submits are many and large."""


UNANSWERED = frozenset({"wait", "subscribe", "log"})  # frames that a client may send without a number


def check(header: Mapping[str, Any], buffers: int = 0) -> None:
    """Check a frame before anything is done for it. Raises FrameError, DeclarationError: names a wrong field."""
    kind = header["k"]
    if not ID.fits(header.get("n", 0 if kind in UNANSWERED else None)) or not ID.fits(header.get("done") or 0):
        raise FrameError(f"a {kind!r} frame's number is to be a whole number")
    if kind not in FRAMES:
        return
    _check_fields(f"a {kind!r} frame", header, FRAMES[kind])
    if kind == "preview" and all(header.get(key) is None for key in ("request", "arrival", "socket")):
        raise FrameError("a 'preview' frame lacks a request, an arrival or a socket")
    if kind == "discard" and header.get("argument") is not None and header.get("socket") is None:
        raise FrameError("a 'discard' frame names an argument and no socket")
    if kind == "query" and header["what"] in QUERIES:
        check_query(f"a question for {header['what']!r}", header["what"], header)
    for change in header["changes"] if kind == "edit" else ():
        operation = change.get("op")
        if isinstance(operation, str) and operation in EDITS:
            name = change.get("name") if isinstance(change.get("name"), str) else None
            _check_fields(f"{operation} {name!r}" if name else operation, change, EDITS[operation], DeclarationError)
        elif not isinstance(operation, str):
            raise FrameError("a change is to name its op")
    _check_plain(header, 0)
    if any(index >= buffers for index in _named_buffers(header)):
        raise FrameError(f"a {kind!r} frame names a buffer that it does not bring")


def check_query(whose: str, what: str, given: Mapping[str, Any]) -> None:
    """Check what a question is asked with. Raises FrameError: names what is wrong with it, `whose` before it."""
    _check_fields(whose, given, QUERIES[what])


def _named_buffers(header: Mapping[str, Any]) -> Iterator[int]:
    if header["k"] == "supply":
        yield sum(head[0] is None for head in header["values"].values()) - 1
    if header["k"] == "respond" and header.get("value") is not None and header["value"][0] is None:
        yield 0
    for change in header["changes"] if header["k"] == "edit" else ():
        places = [change.get("blob"), change.get("value")]
        places += [change[word].get("blob") for word in (*FUNCTIONS, "key") if isinstance(change.get(word), dict)]
        yield from (place for place in places if type(place) is int)


def _check_fields(
    whose: str, given: Mapping[str, Any], fields: tuple[Fields, Fields], error: type[Exception] = FrameError
) -> None:
    needed, more = fields
    for name, kind in needed.items():
        if name not in given:
            raise error(f"{whose} lacks {name}, {kind.says}")
    for name, value in given.items():
        asked = needed.get(name) or more.get(name)
        if asked is not None and not asked.fits(value):
            raise error(f"{whose}: {name} is to be {asked.says}, not {shown(value)}")


def _check_plain(value: Any, depth: int) -> None:
    """Refuse what JSON can write but no database or frame can hold: too deep, too large, not a number, not text."""
    if isinstance(value, (dict, list)):
        if depth == DEEPEST:
            raise FrameError(f"lists and objects are nested more than {DEEPEST} levels deep")
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            # nearly all of it
            if not (part.__class__ is str and part.isascii()):
                _check_plain(part, depth + 1)
    elif isinstance(value, str) and not is_text(value):
        raise FrameError("a text holds half a character (a lone surrogate)")
    elif type(value) is int and not -(1 << 63) <= value < 1 << 63:
        raise FrameError("a whole number has more than 64 bits")
    elif type(value) is float and not math.isfinite(value):
        raise FrameError(f"{value} is no number that a frame may hold")


def check_submit(header: Mapping[str, Any], buffers: int) -> None:
    """Check a submit before a row of it is taken. Raises FrameError: it is none; names what is wrong with it."""
    if not ID.fits(header.get("revision", 0)):
        raise FrameError("a submit's revision is to be a whole number")
    if "at" in header and (not TIME.fits(header["at"]) or header.get("partial")):
        raise FrameError(f"a submit's at is to be {TIME.says}, and all of its arguments are to be given")
    if not PRIORITY.fits(header.get("priority", 0)):
        raise FrameError(f"a submit's priority is to be {PRIORITY.says}")
    if header.get("callback") is not None and not is_url(header["callback"]):
        raise FrameError(f"a submit's callback is to be an address by http or https, not {shown(header['callback'])}")
    wanted = _check_rows(header.get("rows"))
    if wanted != buffers:
        raise FrameError(f"a submit has {buffers} values inline, and names {wanted}")


def check_shape(header: Mapping[str, Any]) -> None:
    """Check what calls in columns have in common. Raises FrameError: names what is wrong with it."""
    names: Any = header.get("names")
    types: Any = header.get("types")
    if not (ID.fits(header.get("revision", 0)) and TEXT.fits(header.get("socket")) and NAMES.fits(names)):
        raise FrameError("calls in columns are to have a socket, names of arguments and a revision")
    if not (isinstance(types, list) and len(types) == len(names) and all(map(is_text, types))):
        raise FrameError("calls in columns are to have the types of their values")
    if not PRIORITY.fits(header.get("priority", 0)):
        raise FrameError(f"the priority of calls in columns is to be {PRIORITY.says}")


def is_text(value: Any) -> bool:
    """Whether a value is text that can be encoded: JSON can spell lone surrogates, which UTF-8 cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _check_rows(rows: Any) -> int:
    inline = 0
    row: Any
    for row in rows if isinstance(rows, list) else [None]:
        whole = isinstance(row, list) and len(row) in (2, 3) and isinstance(row[0], str) and isinstance(row[1], dict)
        if not whole or (len(row) == 3 and row[2] is not None and not is_text(row[2])):
            raise FrameError("a row of a submit is to be a socket, its arguments and perhaps an id")
        for name, head in row[1].items():
            if not (HEAD.fits(head) and is_text(head[2]) and is_text(name)):
                raise FrameError(f"argument {shown(name)} of a submit is to be a value's file, bytes and type")
            inline += head[0] is None
    return inline
