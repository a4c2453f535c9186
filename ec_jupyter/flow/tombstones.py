"""Tombstones that come to joins, and when they mean that an argument is absent. Pure.

An argument is absent at a path when every plug that can still bring something there has sent a tombstone to
that path or to one above it. A tombstone beside a value is dropped. One above elements that have come decides
nothing by itself, but counts for the elements below it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from heapq import heappop, heappush

from ec_jupyter.flow.arrival import ArgumentValue, Arrival, Fire, Slot
from ec_jupyter.flow.calls import Calls, SocketSlot
from ec_jupyter.flow.cell import Cell
from ec_jupyter.flow.party import Party
from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.tag import Path, Tag, path, united
from ec_jupyter.flow.tree import Node, Tree
from ec_jupyter.model import Plug


class Tombstones:
    """Delivers tombstones and decides what follows from them."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls  # whose calls it rules out

    def deliver(self) -> None:
        """Deliver the tombstones that are on their way, and those that they lead to."""
        tombstones = self.calls.undelivered
        while tombstones:
            self._deliver(tombstones.popleft())

    def _deliver(self, tombstone: Arrival) -> None:
        party = self.calls.parties.find(tombstone.party)
        if tombstone.plug in self.calls.topology.simple and not (party and tombstone.socket in party.trees):
            self.calls.skip_simple(tombstone, party)
            return
        party = party or self.calls.parties.known(tombstone.party)
        self._receive(party, party.tree(tombstone.socket), tombstone)

    def _receive(self, party: Party, tree: Tree, tombstone: Arrival) -> None:
        slot, node = tombstone.slot, tree.at(tombstone.tag)
        cell = node.cell(slot.argument, element=slot.element)
        again = tombstone.plug in cell.tombstones
        cell.tombstones.setdefault(tombstone.plug, tombstone)
        void = node.note(slot.argument, tombstone.plug)
        if again or self._is_moot(node, slot):
            void.append(tombstone)
        for one in void:
            self.calls.set_state(one, "dropped", None)
        if tombstone.state == "waiting":
            self._examine(party, tree, slot)
        for below in self._below(party, tree, slot, cell):
            self._examine(party, tree, below)

    def _is_moot(self, node: Node, slot: Slot) -> bool:
        """Whether a tombstone at a slot has nothing to decide."""
        cell = node.cell(slot.argument, element=slot.element)
        return bool(
            cell.absent
            or cell.below
            or node.is_skipped()
            or node.in_empty_split()
            or node.has(slot.argument, element=slot.element)
        )

    def _below(self, party: Party, tree: Tree, slot: Slot, cell: Cell) -> list[Slot]:
        """Undecided slots of elements below a tombstone."""
        if not cell.below:
            return []
        return sorted(
            other
            for socket, other in self.calls.undecided.get(party.id, ())
            if (socket, other.argument) == (tree.socket, slot.argument)
            and other.path[: len(slot.path)] == slot.path != other.path
        )

    def _rest(self, tree: Tree, slot: Slot) -> list[Plug]:
        """Plugs that may still send something to a slot."""
        topology = self.calls.topology
        sent = tree.on(slot.path).sent(slot.argument, element=slot.element)
        plugs = topology.into.get((tree.socket, slot.argument), ())
        return [
            p for p in plugs if (p.gather or not slot.element) and (p.id not in sent or p.source in topology.repeats)
        ]

    def _examine(self, party: Party, tree: Tree, slot: Slot) -> None:
        if self._parked(tree) or self._rest(tree, slot):
            self.calls.decide_later(party, tree.socket, slot)
        else:
            self._decide(party, tree, slot)

    def _decide(self, party: Party, tree: Tree, slot: Slot) -> None:
        cell = tree.on(slot.path).cell(slot.argument, element=slot.element)
        tombstones = cell.undecided()
        if not tombstones:
            return
        for tombstone in tombstones:
            self.calls.set_state(tombstone, "decided", None)
        empty = [t for t in tombstones if t.kind == "empty" and t.lag == 0]
        if slot.element:
            cell.absent = True
            self.calls.element(party, tree, tombstones[0])
        elif empty:
            party.waiting += 1
            value = ArgumentValue(empty[0].tag, [], gathered=True, tombstone=empty[0])
            self.calls.keep(party, tree, tree.on(slot.path), slot.argument, value)
        else:
            self._end_slot(party, tree, _combined(tombstones))

    def _end_slot(self, party: Party, tree: Tree, tombstone: Arrival) -> None:
        if tombstone.kind == "empty":
            self.calls.skip_empty(party, tree, tombstone)
            return
        node = tree.at(tombstone.tag)
        tree.end(node.cell(tombstone.argument, element=tombstone.element))
        if tombstone.lag > 0 or len(node.path) >= self.calls.depth(party, tree.socket):
            self.calls.skip(party, tree, tombstone.tag, tombstone.run, tombstone)
            return
        # elements would have shared one value: each is skipped when its other arguments come
        for below in node.under():
            self.calls.attempt(party, tree, below)

    def discarded(self, party: Party, tree: Tree, arrival: Arrival) -> None:
        """A person discarded a waiting arrival: its call will never be."""
        if not tree.at(arrival.tag).cell(arrival.argument).values:
            self._end_slot(party, tree, replace(arrival, kind="tombstone", lag=0, silent=False))

    # -- later looks ---------------------------------------------------------
    def settle(self, party: Party, tokens: Iterable[tuple[int, Tag]], failed: Iterable[tuple[int, Tag]] = ()) -> None:
        """Decide what can be decided, now that a party's unfinished calls stand at `tokens`."""
        stand, lost = list(tokens), set(failed)
        if self.calls.topology.gathers_done_only and lost:
            made = len(self.calls.out.calls)
            on = Reachability(self.calls.topology, [token for token in stand if token not in lost])
            for plug in self.calls.topology.gathers_done_only:
                for base, tags in self.lost_elements(party, plug, on, sorted(lost)).items():
                    self._leave_out(party, plug, base, tags)
            self.deliver()
            stand += self._made(party, made)
        while self._look(party, stand):
            pass
        if self.calls.topology.gathers_done_only:
            # the next failure may be all that a list waits for
            self.calls.undecided.setdefault(party.id, set())

    def _made(self, party: Party, first: int) -> list[tuple[int, Tag]]:
        """Where the calls stand that were made since: they are unfinished too."""
        calls = self.calls.out.calls[first:]
        return [(call.socket, call.tag) for call in calls if isinstance(call, Fire) and call.party == party.id]

    def _look(self, party: Party, tokens: list[tuple[int, Tag]]) -> bool:
        """Look at everything once, from the roots down; whether that changed anything.

        An undecided join may still send a tombstone to the next one, so nothing is decided before the joins above it
        are, and before the tombstones that they send have come.
        """
        reachability = Reachability(self.calls.topology, [*tokens, *party.tokens()])
        left: set[SocketSlot] = set()
        changed = False
        todo = self._spots(party, [])
        while todo:
            _, (socket, slot) = heappop(todo)
            before, made = self._progress(), len(self.calls.out.calls)
            tree = party.trees.get(socket)
            if tree is not None and not self._settled(party, tree, slot, reachability):
                left.add((socket, slot))
            self.deliver()
            changed = changed or self._progress() != before
            for token in self._made(party, made):
                tokens.append(token)
                reachability.add(*token)
            self._spots(party, todo)
        if left:
            self.calls.undecided[party.id] = left
        return changed

    def _spots(self, party: Party, todo: list[tuple[int, SocketSlot]]) -> list[tuple[int, SocketSlot]]:
        """The undecided slots, moved to `todo`: a heap with those nearest to the roots first."""
        rank = self.calls.topology.rank
        for spot in self.calls.undecided.pop(party.id, ()):
            heappush(todo, (rank.get(spot[0], 0), spot))
        return todo

    def lost_elements(
        self, party: Party, plug: Plug, reachability: Reachability, failed: list[tuple[int, Tag]]
    ) -> dict[Path, dict[int, Tag]]:
        """By list, the elements that a gathering plug does not bring to it because calls have `failed`.

        `reachability` is that of the calls that go on.
        """
        topology = self.calls.topology
        deep = self.calls.depth(party, plug.source) + topology.task(plug.source).generator + plug.map
        lost: dict[Path, dict[int, Tag]] = {}
        for socket, tag in failed:
            kept = topology.ways(socket, len(tag)).get(plug.id, (0, 0))[1]
            at = path(tag)[:deep]
            if 0 < deep <= kept and not reachability.can_come_by([plug], at, element=True):
                lost.setdefault(at[:-1], {})[at[-1]] = tag[:deep]
        return lost

    def _leave_out(self, party: Party, plug: Plug, base: Path, tags: dict[int, Tag]) -> None:
        tree = party.tree(plug.target)
        splits = {split for tag in tags.values() for split in tag[-1][0]}
        missing = tree.on(base).cell(plug.argument).lacking(splits, party.fans)
        if not missing or not missing <= tags.keys():
            return
        for index in sorted(missing):
            self.leave_out(party, tree, plug.argument, tags[index], plug.id)

    def leave_out(self, party: Party, tree: Tree, argument: str, tag: Tag, plug: int | None = None) -> None:
        """Complete a list without the element of that tag."""
        tombstone = self._decided(party, tree, argument, tag, plug, element=True)
        tree.at(tag).cell(argument, element=True).leave_out(tombstone)
        self.calls.element(party, tree, tombstone)

    def end_list(self, party: Party, tree: Tree, argument: str, tag: Tag) -> None:
        """Rule a list out, and with it the call it was for."""
        self._end_slot(party, tree, self._decided(party, tree, argument, tag, None, element=False))

    def _decided(
        self, party: Party, tree: Tree, argument: str, tag: Tag, plug: int | None, *, element: bool
    ) -> Arrival:
        """A tombstone that takes effect at once and that no call has sent."""
        run = min(party.runs, default=party.id)
        tombstone = Arrival(
            self.calls.new_arrival(), tree.socket, argument, party.id, run, tag, "tombstone", None, None, -1, plug,
            gathers=element, state="decided",
        )  # fmt: skip
        self.calls.out.arrivals.append(tombstone)
        return tombstone

    def _progress(self) -> tuple[int, int, int]:
        out = self.calls.out
        return len(out.calls), len(out.arrivals), self.calls.state_changes

    def _parked(self, tree: Tree) -> bool:
        """Whether a socket is removed: its plugs may come back with it, so nothing is decided meanwhile."""
        return self.calls.topology.sockets[tree.socket].parked

    def _settled(self, party: Party, tree: Tree, slot: Slot, reachability: Reachability) -> bool:
        if self._parked(tree):
            return False
        node = tree.on(slot.path)
        cell = node.cell(slot.argument, element=slot.element)
        tombstones = cell.undecided()
        if not tombstones:
            return slot.element or self._useful(party, tree, slot.argument, node, reachability)
        rest = self._rest(tree, slot)
        if self._is_moot(node, slot) or any(p.id in cell.below for p in rest):
            for tombstone in tombstones:
                self.calls.set_state(tombstone, "dropped", None)
        elif reachability.can_come_by(rest, slot.path, element=slot.element):
            return False
        else:
            self._decide(party, tree, slot)
        return True

    def _useful(self, party: Party, tree: Tree, argument: str, node: Node, reachability: Reachability) -> bool:
        """Drop what waits to be shared by elements none of which can come; False while one can."""
        values = node.cell(argument).values
        if not node.ruled_below or not any(value.counted for value in values):
            return True
        if node.under() or any(cell.lists for below in node.full() for cell in below.cells.values()):
            return False
        topology = self.calls.topology
        others = [n for n in topology.matched.get(tree.socket, ()) if n != argument]
        if reachability.can_come_by([p for n in others for p in topology.into.get((tree.socket, n), ())], node.path):
            return False
        self.calls.unshare(party, tree, argument, node)
        return True


def _combined(tombstones: list[Arrival]) -> Arrival:
    """One tombstone for those of several plugs, the same in whatever order they came."""
    empty = any(t.kind == "empty" for t in tombstones)
    return replace(
        tombstones[0],
        kind="empty" if empty else "tombstone",
        tag=united([t.tag for t in tombstones]),
        run=min(t.run for t in tombstones),
        source=min((t.source for t in tombstones if t.source is not None), default=None),
        lag=max(t.lag for t in tombstones),
        silent=all(t.silent for t in tombstones),
    )
