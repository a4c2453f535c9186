"""What a task can learn and say about its own call: `current`, `progress`, `out`, `SKIP`, `Failure`.

The module's name stands in pickled tasks that are on disk: it stays where it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

from ec_jupyter.errors import EcError
from ec_jupyter.wire import Call

_T = TypeVar("_T")

PROGRESS_SECONDS = 0.1
"""No more often than this does `progress` say how far it is."""


class Skip:
    """Type of `SKIP`."""

    def __reduce__(self) -> str:
        return "SKIP"

    def __repr__(self) -> str:
        return "SKIP"


SKIP = Skip()
"""What a task returns to have no result: what it feeds is skipped."""


@dataclass(frozen=True)
class Current:
    """The call a task runs as.

    Attributes
    ----------
    request_id : int
        The same in every attempt: makes side effects outside the flow idempotent.
    run_id : int
        What all calls that descend from one submit share.
    attempt : int
        1 in the first attempt.
    socket : str
        Name of the socket.
    """

    request_id: int
    run_id: int
    attempt: int
    socket: str


class Failure(SimpleNamespace):
    """What an error plug delivers: the failed call's facts and its arguments.

    Attributes
    ----------
    type, message, traceback : str
        Of the exception.
    arguments : dict
        The failed call's arguments by name.
    """


class Out(dict[str, Any]):
    """Results of one call by name, as `out` makes them."""

    def __repr__(self) -> str:
        return f"out({', '.join(f'{name}={value!r}' for name, value in self.items())})"


def out(**results: Any) -> Out:
    """Several results of one call, each by a name.

    A plug from ``"socket.name"`` carries the result of that name; where a call leaves it out, the plug carries
    nothing, as after `SKIP`. A plug from the socket itself carries them all, as a dict.

    Parameters
    ----------
    **results
        Results by name.

    Returns
    -------
    Out
        A dict of them, for the task to return.

    Examples
    --------
    ::

        %%ec_socket
        def split(numbers):
            return ec.out(big=[n for n in numbers if n > 10], small=[n for n in numbers if n <= 10])

        %ec_plug split.big -> store.rows
    """
    return Out(results)


class Part:
    """Takes a part out of a result: by name (a key or an attribute), by number, or a slice."""

    def __init__(self, place: str | int | slice) -> None:
        self.place = place

    @property
    def text(self) -> str:
        """The part as a person writes it."""
        if isinstance(self.place, slice):
            ends = [self.place.start, self.place.stop, *([] if self.place.step is None else [self.place.step])]
            return f"[{':'.join('' if end is None else str(end) for end in ends)}]"
        return self.place if isinstance(self.place, str) else f"[{self.place}]"

    def __call__(self, result: Any) -> Any:
        """The part; `SKIP` where a result of `out` lacks it."""
        if not isinstance(self.place, str):
            return result[self.place]
        if not isinstance(result, Mapping):
            return getattr(result, self.place)
        if self.place in result:
            return result[self.place]
        if isinstance(result, Out):
            return SKIP
        known = ", ".join(map(str, result)) or "none"
        raise LookupError(f"the result has no {self.place!r}; it has: {known}")


def rebuilt(plan: Any, leaf: Callable[[], Any]) -> Any:
    """What a plan describes: null is the next of the values, a list is a list, and a failure has facts and arguments.

    A failure's arguments are plans again, for one of them may be another failure, or a list of them.
    """
    if plan is None:
        return leaf()
    if isinstance(plan, list):
        return [rebuilt(one, leaf) for one in plan]
    arguments = {name: rebuilt(one, leaf) for name, one in plan["arguments"].items()}
    return Failure(**plan["facts"], arguments=arguments)


@dataclass
class _Place:
    """Where this process is: set by the worker before each call."""

    call: Callable[[], Call | None] | None = None
    say: Callable[[float, float | None, str], None] | None = None


place = _Place()


def current() -> Current:
    """The call that runs here.

    Raises
    ------
    EcError
        No task runs in this process.
    """
    call = place.call() if place.call is not None else None
    if call is None:
        raise EcError("current() has a meaning only inside a task")
    return Current(call.request, call.run, call.attempt, call.spec.socket)


def progress(iterable: Iterable[_T], total: float | None = None, text: str = "") -> Iterator[_T]:
    """The elements of `iterable`; shows how many have been taken.

    Parameters
    ----------
    iterable : iterable
        What to go through.
    total : float, optional
        How many there will be; the iterable's length where it has one.
    text : str
        Shown beside the bar.

    Notes
    -----
    Outside a task it only passes the elements on.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    said = float("-inf")
    done = 0
    _say(done, total, text)
    for element in iterable:
        yield element
        done += 1
        now = time.monotonic()
        if now - said >= PROGRESS_SECONDS:
            said = now
            _say(done, total, text)
    _say(done, total, text)


def _say(done: float, total: float | None, text: str) -> None:
    if place.say is not None:
        place.say(done, _number(total), str(text))


def _number(total: float | None) -> float | None:
    """`total` as JSON can carry it, whatever kind of number it is; None where there is no end."""
    if total is None or not math.isfinite(total):
        return None
    return int(total) if total == int(total) else float(total)
