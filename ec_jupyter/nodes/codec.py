"""Calls and outcomes as frames between machines: headers in columns, values as buffers or names of files.

What is read here comes from another machine, so every field is checked before it is used; a wrong one
is a `FrameError`. Nothing is unpickled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ec_jupyter.errors import FrameError
from ec_jupyter.wire import Buffer, Call, Header, Outcome, Value

FILE_NAME = re.compile(r"[^./\0][^/\0]{0,200}\Z")
"""What may name a file in either side's folder of values."""

_SLOT_STATES = ("cold", "starting", "ready", "ending")
_STATES = ("done", "skipped", "failed")
_WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration, OverflowError)


def files_of(values: Iterable[Value | None]) -> list[tuple[str, int]]:
    """Names and sizes of those that are files."""
    return [(value.file, value.size) for value in values if value is not None and value.file is not None]


def files_in(call: Call) -> Iterator[tuple[str, int]]:
    """Names and sizes of the value files among a call's arguments."""
    for _, _, values in call.arguments:
        for value in values:
            if value.file is not None:
                yield value.file, value.size


def values_of(outcome: Outcome) -> Iterator[Value]:
    """Every value an outcome holds."""
    if outcome.value is not None:
        yield outcome.value
    if outcome.exception is not None:
        yield outcome.exception
    for fate in outcome.routed.values():
        if not isinstance(fate, bool):
            yield from fate


# calls


def pack_calls(processor: str, calls: Sequence[Call], sources: dict[str, str]) -> tuple[Header, list[Buffer]]:
    """The ``assign`` frame of these calls; `sources` holds what the other side has, and grows."""
    lots: list[dict[str, Any]] = []
    buffers: list[Buffer] = []
    before: list[Any] | None = None
    for call in calls:
        traits = _traits(call)
        if traits != before:
            before = traits
            lots.append({"l": traits, "n": [], "a": [], "r": [], "k": [], "c": [], "f": [], "m": 0})
            if call.source is not None and sources.get(call.source[0]) != call.source[1]:
                sources[call.source[0]] = call.source[1]
                lots[-1]["x"] = call.source[1]
        lot = lots[-1]
        lot["n"].append(call.request)
        lot["a"].append(call.attempt)
        lot["r"].append(call.run)
        if call.skip:
            lot["k"].append([len(lot["n"]) - 1, call.skip])
        for _, kind, values in call.arguments:
            if kind != "v":
                lot["c"].append(len(values))
            for value in values:
                if value.file is None:
                    buffers.append(value.data or b"")
                else:
                    lot["f"].append([lot["m"], *value.head()])
                lot["m"] += 1
    return {"k": "assign", "p": processor, "g": lots}, buffers


def _traits(call: Call) -> list[Any]:
    """What neighbours have in common that may share a lot."""
    shape = [[name, kind] for name, kind, _ in call.arguments]
    routes = [list(route) for route in call.routes]
    source = None if call.source is None else call.source[0]
    return [
        call.task, call.socket, shape, routes, call.timeout, call.threads, call.fresh, call.memory, source, call.once
    ]  # fmt: skip


def unpack_calls(header: Header, buffers: list[bytes], sources: dict[str, str]) -> list[Call]:
    """The calls of an ``assign`` frame.

    Raises
    ------
    FrameError
        It is none.
    """
    try:
        rest = iter(buffers)
        return [call for lot in header["g"] for call in _calls(lot, rest, sources)]
    except _WRONG as error:
        raise FrameError(f"calls cannot be read: {type(error).__name__}: {error}") from error


def _calls(lot: dict[str, Any], rest: Iterator[bytes], sources: dict[str, str]) -> Iterator[Call]:
    task, socket, shape, routes, timeout, threads, fresh, memory, source, once = lot["l"]
    if "x" in lot:
        sources[source] = lot["x"]
    files = {index: Value(None, file_name(name), size, kind) for index, name, size, kind in lot["f"]}
    skips = dict(lot["k"])
    counts = iter(lot["c"])
    text = None if source is None else (source, sources.get(source, ""))
    at = 0
    for i, (request, attempt, run) in enumerate(zip(lot["n"], lot["a"], lot["r"], strict=True)):
        arguments = []
        for name, kind in shape:
            count = 1 if kind == "v" else next(counts)
            arguments.append((name, kind, [files.get(at + j) or _inline(next(rest)) for j in range(count)]))
            at += count
        yield Call(
            request, attempt, socket, run, task, arguments, [(p, w, m, k) for p, w, m, k in routes],
            skips.get(i, 0), timeout, threads, fresh, memory, text, once,
        )  # fmt: skip


def _inline(data: bytes, kind: str = "") -> Value:
    return Value(data, None, len(data), kind)


# outcomes


def pack_outcomes(outcomes: Sequence[Outcome]) -> tuple[Header, list[Buffer]]:
    """The ``done`` frame of these outcomes."""
    columns: Header = {"k": "done", "n": [], "a": [], "t": [], "d": [], "w": [], "y": [], "x": {}}
    buffers: list[Buffer] = []
    for i, outcome in enumerate(outcomes):
        columns["n"].append(outcome.request)
        columns["a"].append(outcome.attempt)
        columns["t"].append(round(outcome.started, 6))
        columns["d"].append(round(outcome.seconds, 6))
        columns["w"].append([outcome.slot, outcome.pid])
        value = outcome.value
        if value is not None and value.data is not None and _plain(outcome):
            columns["y"].append(value.type)
            buffers.append(value.data)
        else:
            columns["y"].append(None)
            columns["x"][str(i)] = _rest(outcome, buffers)
    return columns, buffers


def _plain(outcome: Outcome) -> bool:
    odd = outcome.routed or outcome.keys or outcome.emitted is not None or outcome.exception is not None
    return outcome.state == "done" and not odd


def _rest(outcome: Outcome, buffers: list[Buffer]) -> dict[str, Any]:
    def head(value: Value | None) -> list[Any] | None:
        if value is None:
            return None
        if value.file is None:
            buffers.append(value.data or b"")
        return value.head()

    # dicts go through in this order on both sides, for the buffers lie in it
    return {
        "s": outcome.state,
        "v": head(outcome.value),
        "e": head(outcome.exception),
        "r": [[p, fate if isinstance(fate, bool) else [head(v) for v in fate]] for p, fate in outcome.routed.items()],
        "q": list(outcome.keys.items()),
        "error": outcome.error,
        "emitted": outcome.emitted,
    }


def unpack_outcomes(header: Header, buffers: list[bytes]) -> list[Outcome]:
    """The outcomes of a ``done`` frame.

    Raises
    ------
    FrameError
        It is none.
    """
    try:
        rest = iter(buffers)
        columns = zip(header["n"], header["a"], header["t"], header["d"], header["w"], header["y"], strict=True)
        found = []
        for i, (request, attempt, started, seconds, (slot, pid), kind) in enumerate(columns):
            if kind is None:
                outcome = _odd(request, attempt, header["x"][str(i)], rest)
            else:
                outcome = Outcome(_number(request), _count(attempt), "done", _inline(next(rest), _text(kind)))
            outcome.started, outcome.seconds = _real(started), max(0.0, _real(seconds))
            outcome.slot, outcome.pid = _count(slot), _count(pid)
            found.append(outcome)
    except _WRONG as error:
        raise FrameError(f"outcomes cannot be read: {type(error).__name__}: {error}") from error
    return found


def _odd(request: Any, attempt: Any, rest: dict[str, Any], buffers: Iterator[bytes]) -> Outcome:
    if rest["s"] not in _STATES:
        raise ValueError(f"no state {rest['s']!r}")
    outcome = Outcome(_number(request), _count(attempt), rest["s"])
    outcome.value = _value(rest["v"], buffers)
    outcome.exception = _value(rest["e"], buffers)
    for plug, fate in rest["r"]:
        outcome.routed[_count(plug)] = fate if isinstance(fate, bool) else [_known(head, buffers) for head in fate]
    outcome.keys = {_count(plug): [_text(key) for key in keys] for plug, keys in rest["q"]}
    outcome.error = None if rest["error"] is None else _error(rest["error"])
    outcome.emitted = None if rest["emitted"] is None else _count(rest["emitted"])
    for plug, keys in outcome.keys.items():
        fate = outcome.routed.get(plug)
        if len(keys) != (len(fate) if isinstance(fate, list) else 1):
            raise ValueError("keys and what they are of differ in number")
    if (outcome.state == "failed") != (outcome.error is not None):
        raise ValueError("an error is where none may be, or missing")
    if outcome.state == "done" and outcome.value is None and outcome.emitted is None:
        raise ValueError("a result is missing")
    return outcome


def _error(error: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {name: _text(error[name]) for name in ("type", "message", "traceback", "kind")}
    if "exit" in error:
        facts["exit"] = _text(error["exit"])
    if "lost" in error:
        facts["lost"] = file_name(error["lost"])
    if "plug" in error:
        facts |= {"plug": _number(error["plug"]), "step": _text(error["step"])}
    return facts


def _value(head: Any, buffers: Iterator[bytes]) -> Value | None:
    return None if head is None else _known(head, buffers)


def _known(head: Any, buffers: Iterator[bytes]) -> Value:
    file, size, kind = head
    if file is None:
        return _inline(next(buffers), _text(kind))
    return Value(None, file_name(file), _count(size), _text(kind))


def unpack_values(heads: Any, buffers: list[bytes]) -> list[Value]:
    """The values that these heads and buffers stand for.

    Raises
    ------
    FrameError
        They do not fit.
    """
    try:
        rest = iter(buffers)
        return [_known(head, rest) for head in heads]
    except _WRONG as error:
        raise FrameError(f"values cannot be read: {type(error).__name__}: {error}") from error


# checks


def checked(header: Header, **kinds: type) -> list[Any]:
    """These fields of a header, each of its kind: a whole number, a finite one, text or a list.

    Raises
    ------
    FrameError
        One is missing, or something else.
    """
    found = []
    for name, kind in kinds.items():
        value = header.get(name)
        try:
            found.append(_is[kind](value))
        except _WRONG as error:
            raise FrameError(f"{header['k']!r} has no proper {name!r}: {error}") from error
    return found


def numbers(header: Header, name: str) -> list[int]:
    """A field that is a list of whole numbers."""
    (values,) = checked(header, **{name: list})
    try:
        return [_number(value) for value in values]
    except _WRONG as error:
        raise FrameError(f"{header['k']!r} has no proper {name!r}: {error}") from error


def slots_told(processors: object) -> dict[str, dict[str, Any]]:
    """What a node says of its processors, as far as it can be believed."""
    found = {}
    for name, facts in processors.items() if isinstance(processors, dict) else ():
        queued, slots = (facts.get("queued"), facts.get("slots")) if isinstance(facts, dict) else (None, None)
        if type(queued) is int and isinstance(slots, list) and all(map(_is_slot, slots)):
            found[name] = {"queued": queued, "slots": slots}
    return found


def _is_slot(facts: object) -> bool:
    if not isinstance(facts, dict) or facts.keys() != {"slot", "state", "pid", "running"}:
        return False
    figures = (facts["slot"], facts["pid"], facts["running"] or 0)
    return all(type(number) is int for number in figures) and facts["state"] in _SLOT_STATES


def file_name(name: object) -> str:
    """A name that is one of a file in the folder of values."""
    if not isinstance(name, str) or not FILE_NAME.match(name):
        raise FrameError(f"{name!r:.100} is no name of a value file")
    return name


def _number(number: Any) -> int:
    # those of requests may be negative
    if type(number) is not int or not -1 << 63 <= number < 1 << 63:
        raise ValueError(f"{number!r:.100} is no whole number")
    return number


def _count(number: Any) -> int:
    if _number(number) < 0:
        raise ValueError(f"{number!r:.100} is no count")
    return int(number)


def _real(number: Any) -> float:
    if type(number) not in (int, float) or not math.isfinite(number):
        raise ValueError(f"{number!r:.100} is no number")
    return float(number)


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r:.100} is no text")
    text.encode()  # raises where it has what no frame can carry on
    return text


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r:.100} is no list")
    return values


_is: dict[type, Callable[[Any], Any]] = {int: _number, float: _real, str: _text, list: _list}
