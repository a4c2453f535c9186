"""What comes to an argument: values, and tombstones that say that no value will come; and what joins decide. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ec_jupyter.flow.tag import Path, Tag, path

NOBODY: frozenset[int] = frozenset()

ANYBODY = 0  # the request that a value brought by hand stands in for: whichever it is
_STORED = {"value": "value", "tombstone": "dead", "empty": "vacant"}
_KINDS = {stored: kind for kind, stored in _STORED.items()}


class Slot(NamedTuple):
    """A place for what comes: an argument of the calls at a path, or the `element` at a path of a list for it."""

    argument: str
    element: bool
    path: Path


@dataclass(slots=True, eq=False)
class Arrival:
    """One value, or one tombstone, that came to one argument."""

    id: int
    # socket, argument: where it came to
    socket: int
    argument: str
    # party, run, tag: where it comes from: party, run, and place in the run's splits
    party: int
    run: int
    tag: Tag
    kind: str  # "value"; "tombstone": no value will come; "empty": a tombstone of a split without elements
    value: object = None  # what came; opaque here
    # source, index, plug: the request, which of its yields (-1 for a tombstone), and the plug it came by; None when
    # supplied by hand
    source: int | None = None
    index: int = 0
    plug: int | None = None
    lag: int = 0  # of a tombstone: how many levels its tag is short of the calls it is for
    # it is for a list that a plug gathers: one element of it, or, where nothing was split, the only one
    gathers: bool = False
    silent: bool = False  # of a tombstone: what it skips leaves no request
    # "waiting", "shared" (used, and may be again by other elements), "used", "decided" (a tombstone that took effect),
    # "dropped" (its join was skipped, or a value made a tombstone void), "held" (used, and may be again by any later
    # call), "superseded", "discarded", "left" (discarded with its run), "routing" (a worker has yet to evaluate its
    # plug)
    state: str = "waiting"
    request: int | None = None  # the call that took it
    # from a request that had failed for good and was retried since, or from a call that such a result led to
    late: bool = False
    key: object = None  # of a value for a join by key: its key
    # late_of, rescue_of: the failed requests whose late success it came of, and those whose failure; not stored,
    # because they follow from plugs and sources
    late_of: frozenset[int] = NOBODY
    rescue_of: frozenset[int] = NOBODY

    @property
    def element(self) -> bool:
        """Whether it is for one element of a list."""
        return self.gathers and bool(self.tag)

    @property
    def slot(self) -> Slot:
        """The place it comes to."""
        return Slot(self.argument, self.element, path(self.tag))


def to_column(arrival: Arrival) -> str | None:
    """What the store's column ``mark`` says of an arrival; None of a plain value.

    Kind, lag (-1 where it gathers), and ``s`` where it is silent. The column has a tombstone as ``dead`` and an empty
    split as ``vacant``.
    """
    if arrival.kind == "value" and not arrival.gathers:
        return None
    return f"{_STORED[arrival.kind]}+{-1 if arrival.gathers else arrival.lag}{'s' if arrival.silent else ''}"


def from_column(mark: str | None) -> tuple[str, int, bool, bool]:
    """Kind and lag of an arrival whose column ``mark`` `to_column` wrote; whether it gathers, and is silent."""
    if mark is None:
        return "value", 0, False, False
    stored, _, rest = mark.partition("+")
    lag = int(rest.rstrip("s"))
    return _KINDS[stored], max(lag, 0), lag < 0, rest.endswith("s")


@dataclass(slots=True, eq=False)
class ArgumentValue:
    """What one argument of one call gets: a value, or the list of the elements that were gathered for it.

    It counts as waiting in its party until its first use. An empty list stands for the tombstone that made it.
    """

    tag: Tag
    arrivals: list[Arrival]
    gathered: bool = False
    counted: bool = True
    tombstone: Arrival | None = None


# -- decisions ------------------------------------------------------------------
@dataclass(slots=True)
class _Call:
    """A call, and where it belongs."""

    request: int  # its identity, or that of the request that waited for its arguments
    socket: int
    party: int
    run: int
    tag: Tag


@dataclass(slots=True)
class Fire(_Call):
    """A call that has all it needs."""

    arguments: dict[str, ArgumentValue]  # what each argument gets
    waited: bool = False  # the request existed before, as `waiting`
    # further requests that waited for this very call, and end as it does
    followers: list[int] = field(default_factory=list)
    begins: bool = False  # it begins a new run
    missing: tuple[str, ...] = ()  # arguments that have not come in time: the call fails at once


@dataclass(slots=True)
class Skip(_Call):
    """A call that will never be; `request` is its record."""

    waited: bool = False
    followers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Source(_Call):
    """The call that a plug carries something from."""

    late: bool = False  # it had failed for good before


class Decisions:
    """What one event led to, in order."""

    __slots__ = ("arrivals", "calls", "changed", "ended", "merged", "unshared")

    def __init__(self) -> None:
        self.calls: list[Fire | Skip] = []  # requests that were made or completed
        self.arrivals: list[Arrival] = []  # new ones, each in its last state
        self.changed: list[Arrival] = []  # older ones whose state changed
        self.merged: list[tuple[int, int]] = []  # parties that went into an older one
        self.ended: list[int] = []  # parties in which nothing more can happen
        # of those, the ones with values that are shared: no element will use them any more
        self.unshared: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.calls or self.arrivals or self.changed or self.ended or self.merged)
