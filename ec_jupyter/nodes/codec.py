"""Outcomes that are more than a small result, values and facts as they come in frames.

What is read here comes from another machine, so every field is checked before it is used; a wrong one
is a `FrameError`. Nothing is unpickled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ec_jupyter.errors import FrameError
from ec_jupyter.wire import Buffer, Call, Fate, Header, Outcome, Value

FILE_NAME = re.compile(r"[^./\0][^/\0]{0,200}\Z")  # what may name a file in either side's folder of values
_STATES = ("done", "skipped", "failed")
WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration, OverflowError)


def files_of(values: Iterable[Value | None]) -> list[tuple[str, int]]:
    """Names and sizes of those that are files."""
    return [(value.file, value.size) for value in values if value is not None and value.file is not None]


def files_in(call: Call) -> list[tuple[str, int]]:
    """Names and sizes of the value files among a call's arguments."""
    return files_of(call.files())


def values_of(outcome: Outcome) -> Iterator[Value]:
    """Every value an outcome holds."""
    if outcome.value is not None:
        yield outcome.value
    if outcome.exception is not None:
        yield outcome.exception
    for fate in outcome.routed.values():
        if not isinstance(fate, bool):
            yield from [fate] if isinstance(fate, Value) else fate


# outcomes


def pack_outcomes(outcomes: Iterable[Outcome]) -> tuple[Header, list[Buffer]]:
    """The ``ended`` frame of these outcomes; small results alone travel in blocks (`lots.pack_block`)."""
    buffers: list[Buffer] = []
    rows = [
        [o.request, o.attempt, round(o.started, 6), round(o.seconds, 6), o.slot, o.pid, _rest(o, buffers)]
        for o in outcomes
    ]
    return {"k": "ended", "o": rows}, buffers


def _rest(outcome: Outcome, buffers: list[Buffer]) -> dict[str, Any]:
    def head(value: Value | None) -> list[Any] | None:
        if value is None:
            return None
        if value.file is None:
            buffers.append(value.data or b"")
        return value.head()

    def told(fate: Fate) -> Any:
        if isinstance(fate, Value):
            return {"v": head(fate)}
        return fate if isinstance(fate, bool) else [head(value) for value in fate]

    # dicts go through in this order on both sides, for the buffers lie in it
    return {
        "s": outcome.state,
        "v": head(outcome.value),
        "e": head(outcome.exception),
        "r": [[plug, told(fate)] for plug, fate in outcome.routed.items()],
        "q": list(outcome.keys.items()),
        "error": outcome.error,
        "emitted": outcome.emitted,
    }


def unpack_outcomes(header: Header, buffers: list[bytes]) -> list[Outcome]:
    """The outcomes of an ``ended`` frame. Raises FrameError: it is none."""
    try:
        rest = iter(buffers)
        found = []
        for request, attempt, started, seconds, slot, pid, more in header["o"]:
            outcome = _odd(request, attempt, more, rest)
            outcome.started, outcome.seconds = _real(started), max(0.0, _real(seconds))
            outcome.slot, outcome.pid = _count(slot), _count(pid)
            found.append(outcome)
    except WRONG as error:
        raise FrameError(f"outcomes cannot be read: {type(error).__name__}: {error}") from error
    return found


def _odd(request: Any, attempt: Any, rest: dict[str, Any], buffers: Iterator[bytes]) -> Outcome:
    if rest["s"] not in _STATES:
        raise ValueError(f"no state {rest['s']!r}")
    outcome = Outcome(_number(request), _count(attempt), rest["s"])
    outcome.value = _value(rest["v"], buffers)
    outcome.exception = _value(rest["e"], buffers)
    for plug, fate in rest["r"]:
        outcome.routed[_count(plug)] = _fate(fate, buffers)
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


def _fate(fate: Any, buffers: Iterator[bytes]) -> Fate:
    if isinstance(fate, dict):
        return _known(fate["v"], buffers)
    return fate if isinstance(fate, bool) else [_known(head, buffers) for head in fate]


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
        data = next(buffers)
        return Value(data, None, len(data), _text(kind))
    return Value(None, file_name(file), _count(size), _text(kind))


def unpack_values(heads: Any, buffers: list[bytes]) -> list[Value]:
    """The values that these heads and buffers stand for. Raises FrameError: they do not fit."""
    try:
        rest = iter(buffers)
        return [_known(head, rest) for head in heads]
    except WRONG as error:
        raise FrameError(f"values cannot be read: {type(error).__name__}: {error}") from error


# checks


def checked(header: Header, **kinds: Callable[[Any], Any]) -> list[Any]:
    """These fields of a header, each of its kind, or as a function reads it. Raises FrameError: one is wrong."""
    found = []
    for name, kind in kinds.items():
        value = header.get(name)
        try:
            found.append(_is.get(kind, kind)(value))
        except WRONG as error:
            raise FrameError(f"{header['k']!r} has no proper {name!r}: {error}") from error
    return found


def only(buffers: list[bytes]) -> bytes:
    """The one buffer of a frame."""
    if len(buffers) != 1:
        raise FrameError(f"a frame has {len(buffers)} buffers where one is due")
    return buffers[0]


def numbers(header: Header, name: str) -> list[int]:
    """A field that is a list of whole numbers."""
    found: list[int] = checked(header, **{name: _numbers})[0]
    return found


def used_in(header: Header) -> list[tuple[str, int, float, int]]:
    """What processes have used: of each its processor, identity, CPU seconds and bytes."""
    found: list[tuple[str, int, float, int]] = checked(header, uses=_uses)[0]
    return found


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


def _numbers(values: Any) -> list[int]:
    return list(map(_number, _list(values)))


def _uses(rows: Any) -> list[tuple[str, int, float, int]]:
    return [(_text(name), _number(pid), _real(cpu), _number(held)) for name, pid, cpu, held in map(_list, _list(rows))]


_is: dict[Any, Callable[[Any], Any]] = {int: _number, float: _real, str: _text, list: _list}
