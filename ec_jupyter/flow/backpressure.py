"""How many calls of a socket may start though sockets that they feed are full. Pure.

A socket with a limit holds what is queued and runs there, and the values that have arrived. A full one holds back the
calls of those that feed it, and so on up the graph: their own queues fill then. No call is held back in vain, so no
flow stands still: `docs/join.md` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ec_jupyter.flow.topology import Topology


@dataclass(slots=True)
class Load:
    """What a socket has at present."""

    # queued, running: calls that wait to start, and calls that have
    queued: int = 0
    running: int = 0
    # those that are queued start once there is room for them, or when their time has come: it is not paused, say
    goes: bool = True
    arrived: Mapping[str, int] = field(default_factory=dict)  # values that wait for company, by argument
    head: int = 0  # the queued call that was accepted first

    @property
    def holds(self) -> int:
        """All of it."""
        return self.queued + self.running + sum(self.arrived.values())


NOTHING = Load()

Way = frozenset[int]  # sockets that lead to an argument of which a full join has no value


def room(topology: Topology, loads: Mapping[int, Load], promised: Mapping[int, int] = {}) -> dict[int, int]:
    """How many calls of each socket may start; of those not named, all. `promised`: submits that are yet to come."""
    left = {socket: _left(topology, loads, promised, socket) for socket in topology.bounded}
    ways = {socket: way for socket, n in left.items() if n <= 0 and (way := _lacking(topology, loads, socket))}
    while True:
        held = _held(topology, loads, left, ways)
        vain = [socket for socket, way in ways.items() if not any(_goes_on(loads, one, held) for one in way)]
        if not vain:
            return held
        # that join would wait for what cannot come either
        del ways[vain[0]]


def _load(loads: Mapping[int, Load], socket: int) -> Load:
    return loads.get(socket, NOTHING)


def _left(topology: Topology, loads: Mapping[int, Load], promised: Mapping[int, int], socket: int) -> int:
    """How many more calls of those that feed a socket may start: each that runs is about to bring something."""
    running = sum(_load(loads, source).running for source in topology.feeding[socket])
    return topology.bounded[socket] - _load(loads, socket).holds - promised.get(socket, 0) - running


def _lacking(topology: Topology, loads: Mapping[int, Load], socket: int) -> Way | None:
    """Of a full join of which nothing is queued or runs: who leads to an argument of which it has no value."""
    load = _load(loads, socket)
    if load.queued or load.running or not any(load.arrived.values()):
        # of which nothing has come either, what runs is about to bring something
        return None
    lacks = [name for name in topology.matched.get(socket, ()) if not load.arrived.get(name)]
    ways = [topology.leading_to(socket, name) for name in lacks]
    return next((way for way in ways if any(_goes_on(loads, one, {}) for one in way)), None)


def _goes_on(loads: Mapping[int, Load], socket: int, held: Mapping[int, int]) -> bool:
    load = _load(loads, socket)
    return load.running > 0 or (load.queued > 0 and load.goes and held.get(socket, 1) > 0)


def _held(
    topology: Topology, loads: Mapping[int, Load], left: Mapping[int, int], ways: Mapping[int, Way]
) -> dict[int, int]:
    """How many calls may start, where joins wait for what comes by these ways.

    What is nearest to the flow's end comes first: whether a socket is held back is known before it holds others back.
    """
    held: dict[int, int] = {}
    # by socket that is held back for a join alone: the ways by which that has to get what it lacks
    behind: dict[int, set[Way]] = {}
    for socket in left:
        if left[socket] > 0:
            continue
        load, sources = _load(loads, socket), topology.feeding[socket]
        if socket in ways:
            reasons = {ways[socket]}
        elif load.running or any(_load(loads, source).running for source in sources):
            reasons = set()
        elif load.queued:
            reasons = behind.get(socket, set())
        else:
            # a full join that may get what it lacks from any of them
            continue
        for source in sources:
            if not any(source in way for way in reasons):
                held[source] = 0
                behind.setdefault(source, set()).update(reasons)
    for socket, n in left.items():
        if n > 0:
            _share(n, topology.feeding[socket], loads, held)
    return held


def _share(left: int, sources: Iterable[int], loads: Mapping[int, Load], held: dict[int, int]) -> None:
    """Give each that may start calls the same; what is left over to those whose next call was accepted first."""
    wanting = [s for s in sources if _load(loads, s).queued and _load(loads, s).goes and held.get(s, 1) > 0]
    each, more = divmod(left, len(wanting) or 1)
    for at, source in enumerate(sorted(wanting, key=lambda s: _load(loads, s).head)):
        share = each + (at < more)
        held[source] = min(held.get(source, share), share)
