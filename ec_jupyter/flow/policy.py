"""Joins that do not match by run: by order, by the newest value, by key; and held arguments. Pure.

A value that comes to such an argument leaves its run and its party: values of any two runs may be matched there,
and a call that they make begins a new run. Tombstones have no effect on such arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ec_jupyter.flow.arrival import ArgumentValue, Arrival, Fire
from ec_jupyter.flow.calls import Calls
from ec_jupyter.flow.tag import ROOT
from ec_jupyter.flow.topology import Key, Root, Topology

Queues = list[list[Arrival]]  # what waits at each argument of a join, oldest first; none of them is empty


def _by_order(queues: Queues) -> list[Arrival] | None:
    """The oldest of each."""
    return [queue[0] for queue in queues]


def _by_key(queues: Queues) -> list[Arrival] | None:
    """The first ones with a key that all have: those whose last one came first."""
    firsts: list[dict[object, Arrival]] = [{a.key: a for a in reversed(queue)} for queue in queues]
    rows = [[first[key] for first in firsts] for key in set(firsts[0]).intersection(*firsts[1:])]
    return min(rows, key=lambda row: max(a.id for a in row), default=None)


PAIRINGS = {"zip": _by_order, "key": _by_key}
"""By join, which of the values that wait make a call, one for each argument; None if no call can be made yet."""


class Policies:
    """What has come to the arguments of a flow that are `Topology.run_independent`."""

    def __init__(self, calls: Calls, begin: Callable[[int, Root], int]) -> None:
        self.calls = calls  # what makes the calls
        self.begin = begin  # takes a new run in, by its identity and root; gives its party
        # per argument, what waits there, oldest first; with `join="latest"` the newest alone
        self.queues: dict[Key, list[Arrival]] = {}
        # per socket and run, the request that was submitted with arguments missing, or put back; and its party
        self.partial: dict[int, dict[int, tuple[int, int]]] = {}

    @property
    def topology(self) -> Topology:
        """The wiring in force."""
        return self.calls.topology

    def take(self, arrival: Arrival) -> list[int]:
        """Take in a value and make the calls it completes; sockets at which others may wait for it as a held value."""
        if arrival.kind != "value":
            self.calls.set_state(arrival, "dropped", None)
            return []
        socket, name = arrival.socket, arrival.argument
        record = self.topology.sockets[socket]
        if name in record.hold:
            table = self.calls.held.setdefault(socket, {})
            before, table[name] = table.get(name), arrival
            if before is not None:
                self._replaced(before)
            self.attempt(socket)
            return [socket] if record.join == "run" else []
        if record.join == "latest":
            self._newest(arrival)
        else:
            self.queues.setdefault((socket, name), []).append(arrival)
            self.attempt(socket)
        return []

    def _replaced(self, before: Arrival) -> None:
        """A newer value has come in place of this one."""
        self.calls.set_state(before, "used" if before.state == "held" else "superseded", before.request)

    # -- calls -------------------------------------------------------------------
    def attempt(self, socket: int, newest: str | None = None) -> None:
        """Make what calls there can be at a socket; `newest`: the argument to which a value has just come."""
        record = self.topology.sockets[socket]
        if record.parked or not self.topology.matched.get(socket):
            return
        if record.join in PAIRINGS:
            while (row := self._row(socket)) is not None:
                self._fire(socket, row)
        elif record.join == "latest" and (row := self._known(socket)) is not None:
            first = all(a.state == "waiting" for a in row.values())
            if first or (newest is not None and (not record.on or newest in record.on)):
                self._fire(socket, row)

    def _newest(self, arrival: Arrival) -> None:
        socket, name = arrival.socket, arrival.argument
        before = self.queues.get((socket, name))
        self.queues[socket, name] = [arrival]
        if before:
            self._replaced(before[0])
        self.attempt(socket, name)

    def _known(self, socket: int) -> dict[str, Arrival] | None:
        """The newest value of each argument, once there is one of all."""
        row = {}
        for name in self.topology.matched[socket]:
            queue = self.queues.get((socket, name))
            if not queue:
                return None
            row[name] = queue[0]
        return row if self.calls.held_for(socket) is not None else None

    def _row(self, socket: int) -> dict[str, Arrival] | None:
        """The next values that make a call."""
        names = self.topology.matched[socket]
        queues = [self.queues.get((socket, name), []) for name in names]
        if not all(queues) or self.calls.held_for(socket) is None:
            return None
        row = PAIRINGS[self.topology.sockets[socket].join](queues)
        return dict(zip(names, row, strict=True)) if row is not None else None

    def _fire(self, socket: int, row: dict[str, Arrival], missing: tuple[str, ...] = ()) -> None:
        calls, runs = self.calls, sorted({a.run for a in row.values()})
        newest = self.topology.sockets[socket].join == "latest"
        table = self.partial.get(socket, {})
        waited = [(run, *table.pop(run)) for run in runs if run in table]
        if waited:
            run, request, party = waited[0]
        else:
            run = request = calls.new_request()
            party = self.begin(run, (socket, None))
        for name, arrival in row.items():
            if not newest:
                self.queues[socket, name].remove(arrival)
            calls.set_state(arrival, "held" if newest else "used", request)
        record = calls.parties.find(party)
        arguments = {name: ArgumentValue(ROOT, [arrival]) for name, arrival in row.items()}
        arguments |= calls.hold(socket, request)
        followers = [request for _, request, _ in waited[1:]]
        for _, _, other in waited[1:]:
            self._leave(other)
        owner = record.id if record is not None else party
        calls.out.calls.append(
            Fire(request, socket, owner, run, ROOT, arguments, bool(waited), followers, not waited, missing)
        )

    def _leave(self, party: int) -> None:
        """A follower no longer counts as live by itself: it ends with the call it follows."""
        record = self.calls.parties.find(party)
        if record is not None:
            record.live -= 1

    # -- what waits ----------------------------------------------------------------
    def waiting(self) -> Iterator[Arrival]:
        """Values that no call has taken."""
        for key in sorted(self.queues):
            yield from (a for a in self.queues[key] if a.state == "waiting")
        for socket in sorted(self.calls.held):
            yield from (a for a in self.calls.held[socket].values() if a.state == "waiting")

    def rows(self, socket: int) -> list[dict[str, Arrival]]:
        """What waits at a socket, call by call, as far as it is known what will be one."""
        names = self.topology.task(socket).arguments
        queues = {n: [a for a in self.queues.get((socket, n), ()) if a.state == "waiting"] for n in names}
        if self.topology.sockets[socket].join != "key":
            deepest = max(map(len, queues.values()), default=0)
            return [{n: q[i] for n, q in queues.items() if i < len(q)} for i in range(deepest)]
        table: dict[object, list[dict[str, Arrival]]] = {}
        for name, queue in queues.items():
            seen: dict[object, int] = {}
            for arrival in queue:
                some = table.setdefault(arrival.key, [])
                at = seen[arrival.key] = seen.get(arrival.key, -1) + 1
                if at == len(some):
                    some.append({})
                some[at][name] = arrival
        rows = [row for some in table.values() for row in some]
        return sorted(rows, key=lambda row: min(a.id for a in row.values()))

    def forget(self, arrival: Arrival, state: str) -> None:
        """Take a value out, and say what became of it."""
        self.remove(arrival)
        self.calls.set_state(arrival, state, arrival.request)

    def remove(self, arrival: Arrival) -> None:
        """Take a value out."""
        queue = self.queues.get((arrival.socket, arrival.argument), [])
        if arrival in queue:
            queue.remove(arrival)
        elif self.calls.held.get(arrival.socket, {}).get(arrival.argument) is arrival:
            del self.calls.held[arrival.socket][arrival.argument]

    def leave(self, socket: int, run: int) -> list[Arrival]:
        """Take out what a waiting request has brought, and the request."""
        if self.partial.get(socket, {}).pop(run, None) is None:
            return []
        mine = [a for a in self.waiting() if a.socket == socket and a.run == run and a.source is None]
        for arrival in mine:
            self.forget(arrival, "left")
        return mine

    def expire(self, arrival: Arrival) -> None:
        """A value has waited too long: its call fails with the arguments that have come."""
        row = next((row for row in self.rows(arrival.socket) if arrival in row.values()), None)
        if row is not None:
            there = row.keys() | self.calls.held.get(arrival.socket, {}).keys()
            self._fire(arrival.socket, row, tuple(n for n in self.topology.needed[arrival.socket] if n not in there))

    # -- edits and restarts ----------------------------------------------------------
    def revise(self) -> list[int]:
        """Follow a new topology; sockets that others may wait at for a held value."""
        for one in list(self._kept()):
            record = self.topology.sockets.get(one.socket)
            if record is not None and one.argument not in record.hold and record.join != "latest":
                self.forget(one, "used")
        for socket in sorted(self.topology.sockets):
            if not self.topology.by_run(socket):
                self.attempt(socket)
        return sorted(self.topology.held)

    def _kept(self) -> Iterator[Arrival]:
        """Values that calls have used and later ones may."""
        yield from (a for queue in self.queues.values() for a in queue if a.state == "held")
        yield from (a for table in self.calls.held.values() for a in table.values() if a.state == "held")

    def restore(self, arrivals: Iterable[Arrival]) -> None:
        """Put back what waits or is held; what was decided stays decided."""
        for arrival in sorted(arrivals, key=lambda a: a.id):
            if arrival.argument in self.topology.sockets[arrival.socket].hold:
                self.calls.held.setdefault(arrival.socket, {})[arrival.argument] = arrival
            else:
                self.queues.setdefault((arrival.socket, arrival.argument), []).append(arrival)
