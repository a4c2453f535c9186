"""Options of what is declared: what each takes, checked wherever a person or a program gives one. Pure."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ec_jupyter.errors import ArgumentsError, DeclarationError, nearest
from ec_jupyter.flow.kept import ALWAYS, FOREVER, SHARED
from ec_jupyter.flow.rate import per_second
from ec_jupyter.wire import MOST_AT_ONCE

_T = TypeVar("_T")
MOST_CPUS = 1_000_000
LEAST_PART = 0.1  # of a CPU that a call takes: so many calls share one
MOST_TIMES = 1_000_000_000
LONGEST_SECONDS = 10 * 365 * 86_400.0
LATEST = 1e11  # seconds since the epoch
MOST_BYTES = 1 << 60
MOST_HELD = 50_000  # the highest limit of a socket: as much of it as is kept in memory
HEAVIEST = 1000
HIGHEST = 100  # the highest priority
FARTHEST = 1e9
LONGEST_NAME = 100  # characters: a name is shown on a card, and one of a flow is a folder's
LONGEST_NOTE = 4000
LONGEST_URL = 2_000

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)\s*([smhdw])\s*)+", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_IN = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Option:
    """What an option takes, in words, and its reader, which raises `ValueError` or `TypeError` for anything else."""

    takes: str
    read: Callable[[Any], Any]
    none: bool = True  # None is taken, too

    def __call__(self, value: Any, whose: str, word: str) -> Any:
        """The value as a record holds it. Raises DeclarationError: the option does not take it; says what it takes."""
        if value is None and self.none:
            return None
        try:
            return self.read(value)
        except (ValueError, TypeError, OverflowError):
            raise DeclarationError(f"{whose}: {word}= takes {self.takes}, not {shown(value)}") from None


def shown(value: object) -> str:
    """A value in a message: its repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# -- kinds of values ---------------------------------------------------------------
def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
        if not least <= number <= most:
            raise ValueError
        return number

    return read


def _number(value: Any) -> float:
    # text and truth values are refused, whatever float() makes of them
    if isinstance(value, (bool, str, bytes)):
        raise TypeError
    number = float(value)
    return int(value) if number == value and isinstance(value, int) else number


def _seconds(value: Any, *, zero: bool = True) -> float:
    number = _number(value)
    if not (number >= 0 if zero else number > 0) or number > LONGEST_SECONDS:
        raise ValueError
    return number


def _limit(value: Any) -> float | None:
    return None if _number(value) == math.inf else _seconds(value, zero=False)


def _span(value: Any, *, zero: bool = False) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, str):
        if _TIME.fullmatch(value.strip()) is None:
            raise ValueError
        value = sum(float(n) * _IN[unit.lower()] for n, unit in _PART.findall(value))
    return _seconds(value, zero=zero)


def _period(value: Any) -> float:
    seconds = _span(value)
    if seconds < 1:
        raise ValueError
    return seconds


def _cron(value: Any) -> str:
    from cronsim import CronSim, CronSimError

    text = " ".join(_text(value).split())
    try:
        # one that never comes is none
        next(CronSim(text, datetime(2000, 1, 1)))
    except (CronSimError, StopIteration):
        raise ValueError from None
    return text


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(_text(value)).key
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


def _moment(value: Any) -> float:
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    # one without a time zone is of this machine's
    number = float(value.timestamp() if isinstance(value, datetime) else _number(value))
    if not 0 <= number < LATEST:
        raise ValueError
    return number


def _size(value: Any) -> int:
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if found is None:
            raise ValueError
        count, prefix, binary = found.groups()
        value = round(float(count) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))
    return _whole(1, MOST_BYTES)(value)


def is_url(value: Any) -> bool:
    """Whether a callback may have this address."""
    if not (isinstance(value, str) and len(value) <= LONGEST_URL and value.isprintable() and " " not in value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _url(value: Any) -> str:
    if not is_url(value):
        raise ValueError(value)
    return str(value)


def _rate(value: Any) -> str:
    per_second(_text(value))
    return "".join(str(value).split())


def _cache(value: Any) -> str | None:
    if value is False:
        return None
    if value is True or value in (ALWAYS, SHARED):
        return SHARED if value == SHARED else ALWAYS
    if isinstance(value, str) and value.rstrip().upper().endswith("B"):
        return f"{_size(value)}B"
    return _age(value)


def _age(value: Any) -> str:
    """A time as a record holds it: ``"2592000s"``, which is one that a person may write."""
    return f"{_span(value):.6f}".rstrip("0").rstrip(".") + "s"


def _kept(value: Any) -> str | None:
    if value is False:
        return None
    if value == FOREVER:
        return FOREVER
    if isinstance(value, timedelta) or (isinstance(value, str) and not value.strip().isdecimal()):
        return _age(value)
    return str(_whole(1, MOST_TIMES)(int(value) if isinstance(value, str) else value))


def _flag(value: Any) -> bool:
    if value not in (True, False):
        raise ValueError
    return bool(value)


def _texts(value: Any) -> list[str]:
    texts = list(value)
    if isinstance(value, (str, bytes, Mapping)) or not all(isinstance(text, str) for text in texts):
        raise TypeError
    return texts


def _names(value: Any) -> list[str]:
    return _texts(value.replace(",", " ").split() if isinstance(value, str) else value)


def _one_of(*words: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        for word in words:
            if type(value) is type(word) and value == word:
                return word
        raise ValueError

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def checked_name(kind: str, name: object) -> str:
    """A name: text that is not too long to be shown. Raises DeclarationError: it is neither."""
    if not isinstance(name, str):
        raise DeclarationError(f"the name of a {kind} is a text, not {shown(name)}")
    if len(name) > LONGEST_NAME:
        raise DeclarationError(f"the name {shown(name)} of a {kind} has {len(name)} characters; {LONGEST_NAME} at most")
    return name


def _position(value: Any) -> list[float]:
    x, y = map(_number, value) if not isinstance(value, (str, Mapping)) else (math.nan, math.nan)
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST):
        raise ValueError
    return [x, y]


def _note_text(value: Any) -> str:
    text = _text(value)
    if not 0 < len(text.strip()) <= LONGEST_NOTE:
        raise ValueError
    return text


def _threads(value: Any) -> float:
    number = _number(value)
    if LEAST_PART <= number < 1:
        return round(number, 3)
    whole = int(number)
    if whole != number:
        raise ValueError
    return _whole(1, MOST_CPUS)(whole)


def _weight(value: Any) -> float:
    number = _number(value)
    if not 1 / HEAVIEST <= number <= HEAVIEST:
        raise ValueError
    return float(number)


def _affinity(value: Any) -> list[int]:
    if isinstance(value, (str, bytes, Mapping)):
        raise TypeError
    return [_whole(0, MOST_CPUS)(cpu) for cpu in value]


def _nodes(value: Any) -> dict[str, int | None]:
    wanted = {value: None} if isinstance(value, str) else value
    wanted = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
    read = _whole(0, MOST_CPUS)
    return {_text(name): None if cpus is None else read(cpus) for name, cpus in wanted.items()}


_CPUS = Option("a whole number of CPUs, at least 1", _whole(1, MOST_CPUS))
_LIMIT = Option("seconds over 0, or None for no limit", _limit)
_MEMORY = Option("bytes, or a size like '512 MiB' or '1GB'", _size)
_FLAG = Option("True or False", _flag, none=False)
_CALLBACK = Option("an address by http or https, or None for none", _url)
_NAMES = Option("names of arguments", _names)
PRIORITY = Option(f"a whole number from -{HIGHEST} to {HIGHEST}", _whole(-HIGHEST, HIGHEST))
_ON = Option("'result' or 'error'", _one_of("result", "error"))

KEEP = {
    "time": Option("a time such as '30d', or None", _span),
    "runs": Option("a whole number of runs, 1 or more, or None", _whole(1, MOST_TIMES)),
    "size": Option("a size such as '2 GB', or None", _size),
    "failed": Option("a time such as '90d', or None", _span),
}
"""What of a flow's ended runs stays."""

OPTIONS: dict[str, dict[str, Option]] = {
    "socket": {
        "processor": Option("the name of a processor", _text),
        "cpus": _CPUS,
        "threads": Option(f"a whole number of CPUs for one call, or a part of one, from {LEAST_PART}", _threads),
        "concurrent": Option(f"a whole number of calls, from 1 to {MOST_AT_ONCE}", _whole(1, MOST_AT_ONCE)),
        "retries": Option("a whole number of further tries, 0 or more", _whole(0, MOST_TIMES)),
        "backoff": Option("seconds, 0 or more", _seconds),
        "timeout": _LIMIT,
        "wait": _LIMIT,
        "memory": _MEMORY,
        "once": _FLAG,
        "fresh": _FLAG,
        "priority": PRIORITY,
        "limit": Option(
            f"a whole number of calls and waiting values, from 1 to {MOST_HELD}, or None for no limit",
            _whole(1, MOST_HELD),
        ),
        "full": Option("'block', 'error' or 'drop-oldest'", _one_of("block", "error", "drop-oldest")),
        "rate": Option("a text such as '10/s', '90/m', '5/h' or '1/30s', or None for no limit", _rate),
        "cache": Option("True, 'shared', a time such as '7d' or a size such as '2 GB'; False for nothing", _cache),
        "callback": _CALLBACK,
        "keep": Option("a time such as '7d', a number of runs, or 'forever'; False for what the flow says", _kept),
        "on": _NAMES,
        "hold": _NAMES,
    },
    "processor": {
        "cpus": Option("a whole number of CPUs, 0 or more", _whole(0, MOST_CPUS)),
        "memory": _MEMORY,
        "affinity": Option("numbers of CPUs, such as [0, 1]", _affinity),
        "weight": Option(f"a number from {1 / HEAVIEST:g} to {HEAVIEST}", _weight),
        "nodes": Option("a node's name, several, or {name: CPUs}", _nodes),
    },
    "plug": {
        "map": _FLAG,
        "gather": Option("True, False or 'done'", _one_of(True, False, "done")),
        "on": _ON,
        "cycle": _FLAG,
        "hops": Option("a whole number of calls in a row, at least 1", _whole(1, MOST_TIMES)),
    },
    "unplug": {"on": _ON},
    "replug": {"on": _ON, "to_on": _ON, "cycle": _FLAG},
    "node": {
        "cpus": _CPUS,
        "lease": Option("seconds, 0 or more", _seconds),
        "python": Option("the path of a Python", _text),
        "ssh": Option("a list: the command and its options", _texts),
        "requirements": Option("a list of packages, as pip takes them", _texts),
        "tls": Option("a list: the files of the authority, the certificate and its key", _texts),
        "ask": _FLAG,
    },
    "rename": {"to": Option("a name", _text, none=False)},
    "schedule": {
        "every": Option("a time such as '90s', '5m', '2h' or '1d', at least 1 s", _period),
        "cron": Option("five fields as cron has them, such as '0 6 * * 1-5'", _cron),
        "zone": Option("the name of a time zone, such as 'Europe/Berlin'", _zone),
        "missed": Option("'once', 'all' or 'skip'", _one_of("once", "all", "skip")),
        "paused": _FLAG,
    },
    "note": {
        "text": Option(f"a text of 1 to {LONGEST_NOTE} characters", _note_text, none=False),
        "place": Option("x and y, two numbers", _position, none=False),
    },
}
"""By kind of edit: the options whose values are checked."""

POSITION = Option("x and y, two numbers, or None", _position)


def checked(change: Mapping[str, Any]) -> dict[str, Any]:
    """A change with its options as records hold them. Raises DeclarationError: names whose option takes what."""
    change = dict(change)
    kind = str(change.get("op", ""))
    whose = _whose(kind, change)
    for word, option in OPTIONS.get(kind, {}).items():
        if word in change:
            change[word] = option(change[word], whose, word)
    if kind == "position" and isinstance(change.get("positions"), Mapping):
        change["positions"] = {n: POSITION(p, "place", n) for n, p in change["positions"].items()}
    by_node = change.get("nodes") or {}
    if kind == "processor" and change.get("cpus") is not None and any(cpus is not None for cpus in by_node.values()):
        raise DeclarationError(f"{whose}: cpus= and nodes={{...}} both say how many CPUs; give them by node")
    return change


def _whose(kind: str, change: Mapping[str, Any]) -> str:
    if kind in ("plug", "unplug", "replug"):
        return f"{kind} '{change.get('source')} -> {change.get('target')}'"
    whose = change.get("name", change.get("id"))
    return f"{kind} {whose!r}" if whose is not None else kind


# -- arguments of calls ---------------------------------------------------------------
_SPANS = "seconds, or a time such as '90s', '5m', '2h' or '1d'"
DELAY = Option(_SPANS, partial(_span, zero=True))
SPAN = Option(f"{_SPANS}, over 0", _span, none=False)
AT = Option("a datetime, its text such as '2030-01-31 06:00', or seconds since the epoch", _moment)


def later(delay: Any, at: Any, now: float) -> float | None:
    """When a call may start, in seconds since the epoch, or None. Raises ArgumentsError: no time, or both given."""
    after: float | None = _of_submit(DELAY, delay, "delay")
    then: float | None = _of_submit(AT, at, "at")
    if None not in (after, then):
        raise ArgumentsError("a submit: delay= and at= both say when it may start; give one")
    return then if after is None else now + after


def priority_of(value: Any) -> int:
    """The priority of a submit as a person gave it. Raises ArgumentsError: it is none."""
    return _of_submit(PRIORITY, value, "priority") or 0


def callback_of(value: Any) -> str | None:
    """The address that is told of a request's end; None for none. Raises ArgumentsError: it is no address."""
    url: str | None = _of_submit(_CALLBACK, value, "callback")
    return url


def _of_submit(option: Option, value: Any, word: str) -> Any:
    try:
        return option(value, "a submit", word)
    except DeclarationError as error:
        raise ArgumentsError(str(error)) from None


def time_limit(value: Any) -> float | None:
    """Seconds to wait; None is no limit, and so is infinity. Raises ArgumentsError: it is no number of seconds."""
    try:
        number = None if value is None else _number(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if number is not None and math.isnan(number):
        raise ArgumentsError(f"timeout= takes seconds, or None for no limit, not {shown(value)}")
    return None if number is None or number > LONGEST_SECONDS else max(0.0, number)


def number_of(value: Any, what: str) -> int:
    """A request's or run's number as a person gave it. Raises ArgumentsError: it is no whole number."""
    try:
        return _whole(0, (1 << 63) - 1)(value)
    except (ValueError, TypeError, OverflowError):
        raise ArgumentsError(f"{what} takes a request or its number, not {shown(value)}") from None


def several(value: Any, what: str) -> list[Any]:
    """What a person gave as several things, in a list. Raises ArgumentsError: it is a text, or not several."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ArgumentsError(f"{what} is asked for, not {shown(value)}")
    return list(value)


_OF = {bool: "True or False", str: "a text"}


def checked_kind(value: Any, word: str, kind: type[_T]) -> _T:
    """What a person gave for `word`. Raises ArgumentsError: it is of another kind."""
    if not isinstance(value, kind):
        raise ArgumentsError(f"{word}= takes {_OF[kind]}, not {shown(value)}")
    return value


def word_of(value: Any, word: str, known: Iterable[str]) -> str:
    """One of some words. Raises ArgumentsError: it is none of them."""
    known = list(known)
    if value not in known:
        raise ArgumentsError(f"unknown {word}={shown(value)}; {nearest(str(value), known)}")
    return str(value)
