"""What the join table is told, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from ec_jupyter.flow.arrival import ArgumentValue, Arrival
from ec_jupyter.flow.tag import Tag


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
