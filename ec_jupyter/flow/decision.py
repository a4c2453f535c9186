"""What the join table is told and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ec_jupyter.flow.join_state import ArgumentValue, Arrival
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
    argument_values : dict of str to Parcel
        What each argument gets.
    waited : bool
        The request existed before, as ``waiting``.
    followers : list of int
        Further requests that waited for this very call, and come to what it comes to.
    begins : bool
        It begins a run of its own.
    missing : tuple of str
        Arguments that have not come in time: the call fails at once.
    """

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    argument_values: dict[str, ArgumentValue]
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
    """What a finished call is, to those it feeds; `late` if it had failed for good before."""

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    late: bool = False


@dataclass(slots=True)
class Decisions:
    """What one event led to, in order.

    Attributes
    ----------
    calls : list of Fire or Skip
        Requests that came to be, or were completed.
    arrivals : list of Arrival
        New ones, in the state they ended in.
    changed : list of Arrival
        Older ones whose state changed.
    merged : list of (int, int)
        Parties that went into an older one.
    ended : list of int
        Parties of which nothing is left to happen.
    """

    calls: list[Fire | Skip] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    changed: list[Arrival] = field(default_factory=list)
    merged: list[tuple[int, int]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
