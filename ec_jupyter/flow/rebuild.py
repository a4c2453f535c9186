"""Rebuilds the join table from the rows of what it decided. Pure.

What was decided stays decided: nothing here makes a call or a tombstone, and a flow goes on from here as it would
have without the restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ec_jupyter.flow.arrival import ELEMENT, ArgumentValue, Arrival
from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.join_state import JoinState
from ec_jupyter.flow.party import Party
from ec_jupyter.flow.tag import Path, Tag, brought, path, united
from ec_jupyter.flow.topology import Root

Parties = Iterable[tuple[int, dict[int, Root], int]]


def restore(
    table: JoinTable,
    parties: Parties,
    arrivals: Iterable[Arrival],
    skipped: Iterable[tuple[int, int, Tag]],
    fans: Iterable[tuple[int, str, int]],
    given: Iterable[tuple[int, int, int, int, Tag]],
) -> None:
    """Put parties back into a table, with all that came in them.

    Parameters
    ----------
    table : JoinTable
        One that has the topology in force and does not know these parties.
    parties : iterable of (int, dict of int to Root, int)
        Identity, runs and number of unfinished requests of each.
    arrivals : iterable of Arrival
        All that came to arguments in them, in whatever state; the table keeps these objects.
    skipped : iterable of (int, int, Tag)
        Socket, party and tag of each skipped request.
    fans : iterable of (int, str, int)
        Party, split and size of each split that has closed.
    given : iterable of (int, int, int, int, Tag)
        Request, run, socket, party and tag of each request that waits for arguments.
    """
    rows = list(parties)
    for party, runs, live in rows:
        table.adopt(party, dict(runs), live)
    records = {party: table.parties.all[party] for party, _, _ in rows}
    owner = {run: party for party, runs, _ in rows for run in runs}
    for party, split, n in fans:
        if party in records:
            records[party].fans[split] = n
    builder = _Builder(table)
    for arrival in sorted(arrivals, key=lambda a: a.id):
        arrival.party = owner.get(arrival.run, arrival.party)
        if arrival.party in records and (arrival.socket, arrival.argument) not in table.topology.run_independent:
            builder.add(records[arrival.party], arrival)
    for socket, party, tag in skipped:
        join = records[party].joins.get(socket) if party in records else None
        # if something waits there, the skip was made when nothing had to be kept at this socket
        if join is not None and not join.waits_from(path(tag)):
            join.rule_out(path(tag))
    _give(table, given)
    builder.share()
    for record in records.values():
        builder.complete(record)


def _give(table: JoinTable, given: Iterable[tuple[int, int, int, int, Tag]]) -> None:
    for request, run, socket, party, tag in given:
        if not table.topology.by_run(socket):
            table.policies.partial.setdefault(socket, {})[run] = (request, party)
            continue
        join = table.parties.all[party].join(socket)
        join.partial.setdefault(path(tag), deque()).append((request, run))


class _Builder:
    """Puts arrivals back where they were."""

    def __init__(self, table: JoinTable) -> None:
        self._table = table
        self._calls = table.calls
        self._shared: dict[tuple[int, int, str, Path, int | None], list[Arrival]] = {}

    # -- one arrival ---------------------------------------------------------
    def add(self, party: Party, arrival: Arrival) -> None:
        plug = self._table.topology.plugs.get(arrival.plug) if arrival.plug is not None else None
        if arrival.kind == "value":
            n = brought(arrival.tag[-1][0][0]) if arrival.source is None and arrival.tag else None
            if n is not None:
                party.fans[arrival.tag[-1][0][0]] = n
            if n is not None or (plug is not None and plug.gather):
                arrival.lag = ELEMENT
            party.trace(arrival, failure=plug is not None and plug.on == "error")
            if arrival.request is not None and arrival.state in ("used", "shared"):
                party.inherit(arrival, arrival.request)
        if arrival.plug in self._table.topology.simple and arrival.state != "waiting":
            return
        join = party.join(arrival.socket)
        join.note(arrival.slot, arrival.plug)
        if arrival.kind == "value":
            self._value(party, join, arrival)
        else:
            self._tombstone(party, join, arrival)

    def _value(self, party: Party, join: JoinState, arrival: Arrival) -> None:
        state = arrival.state
        if state in ("superseded", "left"):
            return
        slot = join.see(arrival)
        if slot[0].endswith("[]"):
            self._element(party, join, arrival)
        elif state in ("waiting", "shared"):
            join.keep(
                arrival.argument, ArgumentValue(arrival.tag, [arrival], arrival.lag == ELEMENT, state == "waiting")
            )
            party.waiting += state == "waiting"
        elif state == "discarded":
            join.absent.add(slot)

    def _element(self, party: Party, join: JoinState, arrival: Arrival) -> None:
        base, (splits, index) = path(arrival.tag)[:-1], arrival.tag[-1]
        buffer = join.buffer(arrival.argument, base, splits)
        if arrival.state == "waiting":
            buffer.add(arrival)
            party.waiting += 1
            return
        buffer.splits.update(splits)
        if arrival.state == "discarded":
            buffer.left_out[index] = arrival
        else:
            buffer.made = True
            join.seen.add((arrival.argument, base))
        if arrival.state == "shared":
            key = (party.id, arrival.socket, arrival.argument, base, arrival.request)
            self._shared.setdefault(key, []).append(arrival)

    def _tombstone(self, party: Party, join: JoinState, arrival: Arrival) -> None:
        slot = arrival.slot
        join.tombstones.setdefault(slot, {}).setdefault(arrival.plug, arrival)
        if arrival.state == "waiting":
            self._calls.decide_later(party, join.socket, *slot)
        elif arrival.state == "decided" and slot[0].endswith("[]"):
            if arrival.source is None:
                join.leave_out(arrival)
            join.absent.add(slot)
            join.buffer(arrival.argument, slot[1][:-1], arrival.tag[-1][0]).add(arrival)
        elif arrival.state == "decided":
            self._decided(party, join, arrival)

    def _decided(self, party: Party, join: JoinState, arrival: Arrival) -> None:
        slot = arrival.slot
        if arrival.kind == "tombstone":
            join.absent.add(slot)
            # a skip has a request that records it, whatever the wiring is now; a silent one has this row only
            if arrival.silent and (arrival.lag > 0 or len(slot[1]) >= self._calls.depth(party, join.socket)):
                join.rule_out(slot[1])
        elif arrival.lag > 0:
            join.rule_out(slot[1], empty=True)
        elif slot not in join.seen:
            join.seen.add(slot)
            self._list(party, join, arrival.argument, ArgumentValue(arrival.tag, [], gathered=True, tombstone=arrival))

    def _list(self, party: Party, join: JoinState, argument: str, value: ArgumentValue) -> None:
        """Let a list wait, unless its call was made."""
        used = value.tombstone is not None and value.tombstone.request is not None
        if not used:
            join.keep(argument, value)
            party.waiting += 1
        elif len(value.tag) < self._calls.depth(party, join.socket):
            value.counted = False
            join.keep(argument, value)

    def share(self) -> None:
        """Keep the lists that some elements have used and others may."""
        for (party, socket, argument, _, _), members in self._shared.items():
            members.sort(key=lambda a: a.tag[-1][1])
            tag = united([a.tag[:-1] for a in members])
            join = self._table.parties.all[party].joins[socket]
            join.keep(argument, ArgumentValue(tag, members, gathered=True, counted=False))

    # -- one party -----------------------------------------------------------
    def complete(self, party: Party) -> None:
        """Make the lists that were complete, and note the slots that are to be decided."""
        for join in party.joins.values():
            for (argument, base), buffers in list(join.buffers.items()):
                for buffer in list(buffers):
                    for split in buffer.splits - party.fans.keys():
                        party.closing.setdefault(split, []).append((join.socket, argument, base))
                    while (value := buffer.take(party.fans)) is not None:
                        party.waiting -= len(value.arrivals)
                        self._list(party, join, argument, value)
            self._sweep(party, join)

    def _sweep(self, party: Party, join: JoinState) -> None:
        """Take out what a skip ruled out; what waits above one may be of no use to any element."""
        for argument, where, value in list(join.waiting()):
            join.absent.discard((argument, where))
            if join.is_skipped(where):
                join.remove(argument, where, value)
                self._calls.uncount(party, value)
            elif value.counted and where in join.above_skipped:
                self._calls.decide_later(party, join.socket, argument, where)
