"""Rebuilds the join table from the rows of what it decided. Pure.

What was decided stays decided: nothing here makes a call or a tombstone, and a flow goes on from here as it would
have without the restart.
"""

from __future__ import annotations

from collections.abc import Iterable

from ec_jupyter.flow.arrival import ArgumentValue, Arrival, Slot
from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.party import Party
from ec_jupyter.flow.tag import Path, Tag, brought, united
from ec_jupyter.flow.topology import Root
from ec_jupyter.flow.tree import Node, Tree

Parties = Iterable[tuple[int, dict[int, Root], int]]


def restore(
    table: JoinTable,  # one that has the topology in force and does not know these parties
    parties: Parties,  # identity, runs and number of unfinished requests of each
    arrivals: Iterable[Arrival],  # all that came to arguments in them, in whatever state; the table keeps these objects
    skipped: Iterable[tuple[int, int, Tag]],  # socket, party and tag of each skipped request
    fans: Iterable[tuple[int, str, int]],  # party, split and size of each split that has closed
    # request, run, socket, party and tag of each request that waits for arguments
    given: Iterable[tuple[int, int, int, int, Tag]],
    alone: Iterable[int] = (),  # parties that take no further run
) -> None:
    """Put parties back into a table, with all that came in them."""
    rows = list(parties)
    for party, runs, live in rows:
        table.adopt(party, dict(runs), live)
    records = {party: table.parties.all[party] for party, _, _ in rows}
    owner = {run: party for party, runs, _ in rows for run in runs}
    for party, split, n in fans:
        if party in records:
            records[party].fans[split] = n
    for party in records.keys() & set(alone):
        records[party].alone = True
    builder = _Builder(table)
    for arrival in sorted(arrivals, key=lambda a: a.id):
        arrival.party = owner.get(arrival.run, arrival.party)
        if arrival.party in records and (arrival.socket, arrival.argument) not in table.topology.run_independent:
            builder.add(records[arrival.party], arrival)
    for socket, party, tag in skipped:
        builder.skip(records.get(party), socket, tag)
    for one in given:
        table.wait(*one)
    builder.share()
    for record in records.values():
        builder.complete(record)


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
                arrival.gathers = True
            party.trace(arrival, failure=plug is not None and plug.on == "error")
            if arrival.request is not None and arrival.state in ("used", "shared"):
                party.inherit(arrival, arrival.request)
        if arrival.plug in self._table.topology.simple and arrival.state != "waiting":
            return
        party.shares = party.shares or arrival.state == "shared"
        tree = party.tree(arrival.socket)
        tree.at(arrival.tag).note(arrival.argument, arrival.plug)
        if arrival.kind == "value":
            self._value(party, tree, arrival)
        else:
            self._tombstone(party, tree, arrival)

    @staticmethod
    def skip(party: Party | None, socket: int, tag: Tag) -> None:
        tree = party.trees.get(socket) if party is not None else None
        # if something waits there, the skip was made when nothing had to be kept at this socket
        if tree is not None and not tree.waits_from(tree.at(tag)):
            tree.rule_out(tree.at(tag))

    def _value(self, party: Party, tree: Tree, arrival: Arrival) -> None:
        state = arrival.state
        if state in ("superseded", "left"):
            return
        cell = tree.at(arrival.tag).cell(arrival.argument, element=arrival.element)
        cell.see(arrival)
        if arrival.element:
            self._element(party, tree, arrival)
        elif state in ("waiting", "shared"):
            value = ArgumentValue(arrival.tag, [arrival], arrival.gathers, state == "waiting")
            tree.keep(tree.at(arrival.tag), arrival.argument, value)
            party.waiting += state == "waiting"
        elif state == "discarded":
            tree.end(cell)

    def _element(self, party: Party, tree: Tree, arrival: Arrival) -> None:
        splits, index = arrival.tag[-1]
        node, cell = tree.place(arrival)
        buffer = node.buffer(arrival.argument, splits)
        if arrival.state == "waiting":
            buffer.add(arrival)
            party.waiting += 1
            return
        buffer.splits.update(splits)
        if arrival.state == "discarded":
            buffer.left_out[index] = arrival
        else:
            buffer.made = cell.seen = True
        if arrival.state == "shared":
            key = (party.id, arrival.socket, arrival.argument, node.path, arrival.request)
            self._shared.setdefault(key, []).append(arrival)

    def _tombstone(self, party: Party, tree: Tree, arrival: Arrival) -> None:
        node = tree.at(arrival.tag)
        cell = node.cell(arrival.argument, element=arrival.element)
        cell.tombstones.setdefault(arrival.plug, arrival)
        if arrival.state == "waiting":
            self._calls.decide_later(party, tree.socket, arrival.slot)
        elif arrival.state == "decided" and arrival.element:
            if arrival.source is None:
                cell.leave_out(arrival)
            cell.absent = True
            tree.place(arrival)[0].buffer(arrival.argument, arrival.tag[-1][0]).add(arrival)
        elif arrival.state == "decided":
            self._decided(party, tree, node, arrival)

    def _decided(self, party: Party, tree: Tree, node: Node, arrival: Arrival) -> None:
        cell = node.cell(arrival.argument)
        if arrival.kind == "tombstone":
            tree.end(cell)
            # a skip has a request that records it, whatever the wiring is now; a silent one has this row only
            if arrival.silent and (arrival.lag > 0 or len(node.path) >= self._calls.depth(party, tree.socket)):
                tree.rule_out(node)
        elif arrival.lag > 0:
            tree.rule_out(node, empty=True)
        elif not cell.seen:
            cell.seen = True
            value = ArgumentValue(arrival.tag, [], gathered=True, tombstone=arrival)
            self._list(party, tree, arrival.argument, value)

    def _list(self, party: Party, tree: Tree, argument: str, value: ArgumentValue) -> None:
        """Let a list wait, unless its call was made."""
        used = value.tombstone is not None and value.tombstone.request is not None
        if not used:
            tree.keep(tree.at(value.tag), argument, value)
            party.waiting += 1
        elif len(value.tag) < self._calls.depth(party, tree.socket):
            value.counted = False
            tree.keep(tree.at(value.tag), argument, value)

    def share(self) -> None:
        """Keep the lists that some elements have used and others may."""
        for (party, socket, argument, _, _), members in self._shared.items():
            members.sort(key=lambda a: a.tag[-1][1])
            tag = united([a.tag[:-1] for a in members])
            tree = self._table.parties.all[party].trees[socket]
            tree.keep(tree.at(tag), argument, ArgumentValue(tag, members, gathered=True, counted=False))

    # -- one party -----------------------------------------------------------
    def complete(self, party: Party) -> None:
        """Make the lists that were complete, and note the slots that are to be decided."""
        for tree in party.trees.values():
            for argument, node, buffer in list(tree.lists()):
                for split in buffer.splits - party.fans.keys():
                    party.closing.setdefault(split, []).append((tree.socket, argument, node.path))
                while (value := buffer.take(party.fans)) is not None:
                    party.waiting -= len(value.arrivals)
                    self._list(party, tree, argument, value)
            self._sweep(party, tree)

    def _sweep(self, party: Party, tree: Tree) -> None:
        """Take out what a skip ruled out; what waits above one may be of no use to any element."""
        for argument, node, value in list(tree.waiting()):
            node.cell(argument).absent = False
            if node.is_skipped():
                node.remove(argument, value)
                self._calls.uncount(party, value)
            elif value.counted and node.ruled_below:
                self._calls.decide_later(party, tree.socket, Slot(argument, False, node.path))
