"""The join table as it was, from the rows of what it decided. Pure.

What was decided stays decided: nothing here makes a call or a mark, and going on from here leads to
the same as going on without the restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.join_state import ELEMENT, ArgumentValue, Arrival, JoinState
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
        join_state = records[party].join_states.get(socket) if party in records else None
        # what waits shows that the skip was of a time when nothing was kept there
        if join_state is not None and not join_state.waits_from(path(tag)):
            join_state.shut(path(tag))
    _give(table, given)
    builder.share()
    for record in records.values():
        builder.complete(record)


def _give(table: JoinTable, given: Iterable[tuple[int, int, int, int, Tag]]) -> None:
    for request, run, socket, party, tag in given:
        if not table.topology.by_run(socket):
            table.policies.given.setdefault(socket, {})[run] = (request, party)
            continue
        join_state = table.parties.all[party].join_states.setdefault(socket, JoinState(socket))
        join_state.given.setdefault(path(tag), deque()).append((request, run))


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
        join_state = party.join_states.setdefault(arrival.socket, JoinState(arrival.socket))
        join_state.note(arrival.slot, arrival.plug)
        if arrival.kind == "value":
            self._value(party, join_state, arrival)
        else:
            self._mark(party, join_state, arrival)

    def _value(self, party: Party, join_state: JoinState, arrival: Arrival) -> None:
        state = arrival.state
        if state in ("superseded", "left"):
            return
        slot = join_state.see(arrival)
        if slot[0].endswith("[]"):
            self._element(party, join_state, arrival)
        elif state in ("waiting", "shared"):
            join_state.keep(
                arrival.argument, ArgumentValue(arrival.tag, [arrival], arrival.lag == ELEMENT, state == "waiting")
            )
            party.waiting += state == "waiting"
        elif state == "discarded":
            join_state.dead.add(slot)

    def _element(self, party: Party, join_state: JoinState, arrival: Arrival) -> None:
        base, (splits, index) = path(arrival.tag)[:-1], arrival.tag[-1]
        buffer = join_state.buffer(arrival.argument, base, splits)
        if arrival.state == "waiting":
            buffer.add(arrival)
            party.waiting += 1
            return
        buffer.splits.update(splits)
        if arrival.state == "discarded":
            buffer.dead[index] = arrival
        else:
            buffer.made = True
            join_state.seen.add((arrival.argument, base))
        if arrival.state == "shared":
            key = (party.id, arrival.socket, arrival.argument, base, arrival.request)
            self._shared.setdefault(key, []).append(arrival)

    def _mark(self, party: Party, join_state: JoinState, arrival: Arrival) -> None:
        slot = arrival.slot
        join_state.marks.setdefault(slot, {}).setdefault(arrival.plug, arrival)
        if arrival.state == "waiting":
            self._calls.look_again(party, join_state.socket, *slot)
        elif arrival.state == "decided" and slot[0].endswith("[]"):
            if arrival.source is None:
                join_state.give_up(arrival)
            join_state.dead.add(slot)
            join_state.buffer(arrival.argument, slot[1][:-1], arrival.tag[-1][0]).add(arrival)
        elif arrival.state == "decided":
            self._decided(party, join_state, arrival)

    def _decided(self, party: Party, join_state: JoinState, arrival: Arrival) -> None:
        slot = arrival.slot
        if arrival.kind == "dead":
            join_state.dead.add(slot)
            # a skip has its request to tell of it, whatever the wiring is by now; a silent one has nothing else
            if arrival.silent and (arrival.lag > 0 or len(slot[1]) >= self._calls.depth(party, join_state.socket)):
                join_state.shut(slot[1])
        elif arrival.lag > 0:
            join_state.shut(slot[1], vacant=True)
        elif slot not in join_state.seen:
            join_state.seen.add(slot)
            self._list(party, join_state, arrival.argument, ArgumentValue(arrival.tag, [], gathered=True, mark=arrival))

    def _list(self, party: Party, join_state: JoinState, argument: str, argument_value: ArgumentValue) -> None:
        """Keep a list without elements, unless its call was made."""
        used = argument_value.mark is not None and argument_value.mark.request is not None
        if not used:
            join_state.keep(argument, argument_value)
            party.waiting += 1
        elif len(argument_value.tag) < self._calls.depth(party, join_state.socket):
            argument_value.counted = False
            join_state.keep(argument, argument_value)

    def share(self) -> None:
        """Keep the lists that some elements have used and others may."""
        for (party, socket, argument, _, _), members in self._shared.items():
            members.sort(key=lambda a: a.tag[-1][1])
            tag = united([a.tag[:-1] for a in members])
            join_state = self._table.parties.all[party].join_states[socket]
            join_state.keep(argument, ArgumentValue(tag, members, gathered=True, counted=False))

    # -- one party -----------------------------------------------------------
    def complete(self, party: Party) -> None:
        """Make the lists that were complete, and note what has to be looked at again."""
        for join_state in party.join_states.values():
            for (argument, base), buffers in list(join_state.buffers.items()):
                for buffer in list(buffers):
                    for split in buffer.splits - party.fans.keys():
                        party.closing.setdefault(split, []).append((join_state.socket, argument, base))
                    while (argument_value := buffer.take(party.fans)) is not None:
                        party.waiting -= len(argument_value.arrivals)
                        self._list(party, join_state, argument, argument_value)
            self._sweep(party, join_state)

    def _sweep(self, party: Party, join_state: JoinState) -> None:
        """Take out what a skip left nothing to wait for; the rest may be of no use to any element one day."""
        for argument, where, argument_value in list(join_state.argument_values()):
            join_state.dead.discard((argument, where))
            if join_state.is_skipped(where):
                join_state.remove(argument, where, argument_value)
                self._calls.uncount(party, argument_value)
            elif argument_value.counted and where in join_state.closed:
                self._calls.look_again(party, join_state.socket, argument, where)
