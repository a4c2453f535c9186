"""The join table as it was, from the rows of what it decided. Pure.

What was decided stays decided: nothing here makes a call or a mark, and going on from here leads to
the same as going on without the restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.meeting import ELEMENT, Arrival, Meeting, Parcel
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
    """Let a table know parties again, with all that came in them.

    Parameters
    ----------
    table : JoinTable
        One that has the topology in force and does not know these parties.
    parties : iterable of (int, dict of int to Root, int)
        Identity, runs and number of unfinished requests of each.
    arrivals : iterable of Arrival
        All that came to arguments in them, whatever became of it; the table keeps these objects.
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
        if arrival.party in records and (arrival.socket, arrival.argument) not in table.topology.apart:
            builder.add(records[arrival.party], arrival)
    for socket, party, tag in skipped:
        meeting = records[party].meetings.get(socket) if party in records else None
        # what waits shows that the skip was of a time when nothing was kept there
        if meeting is not None and not meeting.waits_from(path(tag)):
            meeting.shut(path(tag))
    _give(table, given)
    builder.share()
    for record in records.values():
        builder.complete(record)


def _give(table: JoinTable, given: Iterable[tuple[int, int, int, int, Tag]]) -> None:
    for request, run, socket, party, tag in given:
        if not table.topology.by_run(socket):
            table.policies.given.setdefault(socket, {})[run] = (request, party)
            continue
        meeting = table.parties.all[party].meetings.setdefault(socket, Meeting(socket))
        meeting.given.setdefault(path(tag), deque()).append((request, run))


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
        meeting = party.meetings.setdefault(arrival.socket, Meeting(arrival.socket))
        meeting.note(arrival.slot, arrival.plug)
        if arrival.kind == "value":
            self._value(party, meeting, arrival)
        else:
            self._mark(party, meeting, arrival)

    def _value(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        state = arrival.state
        if state in ("superseded", "left"):
            return
        slot = meeting.see(arrival)
        if slot[0].endswith("[]"):
            self._element(party, meeting, arrival)
        elif state in ("waiting", "shared"):
            meeting.keep(arrival.argument, Parcel(arrival.tag, [arrival], arrival.lag == ELEMENT, state == "waiting"))
            party.waiting += state == "waiting"
        elif state == "discarded":
            meeting.dead.add(slot)

    def _element(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        base, (splits, index) = path(arrival.tag)[:-1], arrival.tag[-1]
        bundle = meeting.bundle(arrival.argument, base, splits)
        if arrival.state == "waiting":
            bundle.add(arrival)
            party.waiting += 1
            return
        bundle.splits.update(splits)
        if arrival.state == "discarded":
            bundle.dead[index] = arrival
        else:
            bundle.made = True
            meeting.seen.add((arrival.argument, base))
        if arrival.state == "shared":
            key = (party.id, arrival.socket, arrival.argument, base, arrival.request)
            self._shared.setdefault(key, []).append(arrival)

    def _mark(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        slot = arrival.slot
        meeting.marks.setdefault(slot, {}).setdefault(arrival.plug, arrival)
        if arrival.state == "waiting":
            self._calls.look_again(party, meeting.socket, *slot)
        elif arrival.state == "decided" and slot[0].endswith("[]"):
            if arrival.source is None:
                meeting.give_up(arrival)
            meeting.dead.add(slot)
            meeting.bundle(arrival.argument, slot[1][:-1], arrival.tag[-1][0]).add(arrival)
        elif arrival.state == "decided":
            self._decided(party, meeting, arrival)

    def _decided(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        slot = arrival.slot
        if arrival.kind == "dead":
            meeting.dead.add(slot)
            # a skip has its request to tell of it, whatever the wiring is by now; a silent one has nothing else
            if arrival.silent and (arrival.lag > 0 or len(slot[1]) >= self._calls.depth(party, meeting.socket)):
                meeting.shut(slot[1])
        elif arrival.lag > 0:
            meeting.shut(slot[1], vacant=True)
        elif slot not in meeting.seen:
            meeting.seen.add(slot)
            self._list(party, meeting, arrival.argument, Parcel(arrival.tag, [], gathered=True, mark=arrival))

    def _list(self, party: Party, meeting: Meeting, argument: str, parcel: Parcel) -> None:
        """Keep a list without elements, unless its call was made."""
        used = parcel.mark is not None and parcel.mark.request is not None
        if not used:
            meeting.keep(argument, parcel)
            party.waiting += 1
        elif len(parcel.tag) < self._calls.depth(party, meeting.socket):
            parcel.counted = False
            meeting.keep(argument, parcel)

    def share(self) -> None:
        """Keep the lists that some elements have used and others may."""
        for (party, socket, argument, _, _), members in self._shared.items():
            members.sort(key=lambda a: a.tag[-1][1])
            tag = united([a.tag[:-1] for a in members])
            meeting = self._table.parties.all[party].meetings[socket]
            meeting.keep(argument, Parcel(tag, members, gathered=True, counted=False))

    # -- one party -----------------------------------------------------------
    def complete(self, party: Party) -> None:
        """Make the lists that were complete, and note what has to be looked at again."""
        for meeting in party.meetings.values():
            for (argument, base), bundles in list(meeting.bundles.items()):
                for bundle in list(bundles):
                    for split in bundle.splits - party.fans.keys():
                        party.closing.setdefault(split, []).append((meeting.socket, argument, base))
                    while (parcel := bundle.take(party.fans)) is not None:
                        party.waiting -= len(parcel.arrivals)
                        self._list(party, meeting, argument, parcel)
            self._sweep(party, meeting)

    def _sweep(self, party: Party, meeting: Meeting) -> None:
        """Take out what a skip left nothing to wait for; the rest may be of no use to any element one day."""
        for argument, where, parcel in list(meeting.parcels()):
            meeting.dead.discard((argument, where))
            if meeting.is_skipped(where):
                meeting.remove(argument, where, parcel)
                self._calls.uncount(party, parcel)
            elif parcel.counted and where in meeting.closed:
                self._calls.look_again(party, meeting.socket, argument, where)
