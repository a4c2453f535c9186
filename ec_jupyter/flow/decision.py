"""What the join table is told, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from ec_jupyter.flow.arrival import ArgumentValue, Arrival
from ec_jupyter.flow.tag import Tag


@dataclass(slots=True)
class Fire:
    """A call that has all it needs.

    Attributes
    ----------
    request : int
        Its new identity, or that of the request that waited for the arguments.
    socket, party, run, tag : int, int, int, Tag
        Where it belongs.
    arguments : dict of str to ArgumentValue
        What each argument gets.
    waited : bool
        The request existed before, as ``waiting``.
    followers : list of int
        Further requests that waited for this very call, and end as it does.
    begins : bool
        It begins a new run.
    missing : tuple of str
        Arguments that have not come in time: the call fails at once.
    """

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    arguments: dict[str, ArgumentValue]
    waited: bool = False
    followers: list[int] = field(default_factory=list)
    begins: bool = False
    missing: tuple[str, ...] = ()


@dataclass(slots=True)
class Skip:
    """A call that will never be; `request` is its record."""

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    waited: bool = False
    followers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Source:
    """The call that a plug carries something from; `late` if it had failed for good before."""

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    late: bool = False


class Decisions:
    """What one event led to, in order.

    Attributes
    ----------
    calls : list of Fire or Skip
        Requests that were made or completed.
    arrivals : list of Arrival
        New ones, each in its last state.
    changed : list of Arrival
        Older ones whose state changed.
    merged : list of (int, int)
        Parties that went into an older one.
    ended : list of int
        Parties in which nothing more can happen.
    unshared : list of int
        Of those, the ones with values that are shared: no element will use them any more.
    """

    __slots__ = ("arrivals", "calls", "changed", "ended", "merged", "unshared")

    def __init__(self) -> None:
        self.calls: list[Fire | Skip] = []
        self.arrivals: list[Arrival] = []
        self.changed: list[Arrival] = []
        self.merged: list[tuple[int, int]] = []
        self.ended: list[int] = []
        self.unshared: list[int] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.calls or self.arrivals or self.changed or self.ended or self.merged)
