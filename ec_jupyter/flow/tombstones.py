"""Tombstones that come to joins, and when they mean that an argument is absent. Pure.

An argument is absent at a path when every plug that can still bring something there has sent a tombstone to
that path or to one above it. A tombstone beside a value is dropped. One above elements that have come decides
nothing by itself, but counts for the elements below it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from heapq import heappop, heappush

from ec_jupyter.flow.arrival import ELEMENT, ArgumentValue, Arrival, Slot
from ec_jupyter.flow.calls import Calls, SocketSlot
from ec_jupyter.flow.decision import Fire
from ec_jupyter.flow.join_state import JoinState
from ec_jupyter.flow.party import Party
from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.tag import Path, Tag, path, united
from ec_jupyter.model import Plug


class Tombstones:
    """Delivers tombstones and decides what follows from them.

    Parameters
    ----------
    calls : Calls
        Whose calls it rules out.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def deliver(self) -> None:
        """Deliver the tombstones that are on their way, and those that they lead to."""
        tombstones = self.calls.undelivered
        while tombstones:
            self._deliver(tombstones.popleft())

    def _deliver(self, tombstone: Arrival) -> None:
        party = self.calls.parties.find(tombstone.party)
        if tombstone.plug in self.calls.topology.simple and not (party and tombstone.socket in party.joins):
            self.calls.skip_simple(tombstone, party)
            return
        if party is None:
            raise RuntimeError(f"party {tombstone.party} comes to a join and was never adopted")
        self._receive(party, party.join(tombstone.socket), tombstone)

    def _receive(self, party: Party, join: JoinState, tombstone: Arrival) -> None:
        slot = tombstone.slot
        here = join.tombstones.setdefault(slot, {})
        again = tombstone.plug in here
        if not again:
            here[tombstone.plug] = tombstone
        void = join.note(slot, tombstone.plug)
        if again or self._is_moot(join, slot):
            void.append(tombstone)
        for one in void:
            self.calls.set_state(one, "dropped", None)
        if tombstone.state == "waiting":
            self._examine(party, join, slot)
        for below in self._below(party, join, slot):
            self._examine(party, join, below)

    def _is_moot(self, join: JoinState, slot: Slot) -> bool:
        """Whether a tombstone at a slot has nothing to decide."""
        return bool(
            slot in join.absent
            or join.is_skipped(slot[1])
            or join.in_empty_split(slot[1])
            or join.has(slot)
            or join.deeper.get(slot)
        )

    def _below(self, party: Party, join: JoinState, slot: Slot) -> list[Slot]:
        """Undecided slots of elements below a tombstone."""
        argument, at = slot
        if argument.endswith("[]") or not join.deeper.get(slot):
            return []
        names = (argument, argument + "[]")
        return sorted(
            (name, where)
            for socket, name, where in self.calls.undecided.get(party.id, ())
            if socket == join.socket and name in names and where[: len(at)] == at and where != at
        )

    def _plugs(self, join: JoinState, slot: Slot) -> list[Plug]:
        """Plugs that may bring something to a slot."""
        into = self.calls.topology.into
        if slot[0].endswith("[]"):
            return [p for p in into.get((join.socket, slot[0][:-2]), ()) if p.gather]
        return into.get((join.socket, slot[0]), [])

    def _rest(self, join: JoinState, slot: Slot) -> list[Plug]:
        """Of those, the ones that may still send something there."""
        sent, repeats = join.sent(slot), self.calls.topology.repeats
        return [p for p in self._plugs(join, slot) if p.id not in sent or p.source in repeats]

    def _examine(self, party: Party, join: JoinState, slot: Slot) -> None:
        if self._parked(join) or self._rest(join, slot):
            self.calls.decide_later(party, join.socket, *slot)
        else:
            self._decide(party, join, slot)

    def _decide(self, party: Party, join: JoinState, slot: Slot) -> None:
        tombstones = join.open_tombstones(slot)
        if not tombstones:
            return
        for tombstone in tombstones:
            self.calls.set_state(tombstone, "decided", None)
        empty = [t for t in tombstones if t.kind == "empty" and t.lag == 0]
        if slot[0].endswith("[]"):
            join.absent.add(slot)
            self.calls.element(party, join, tombstones[0])
        elif empty:
            party.waiting += 1
            self.calls.keep(party, join, slot[0], ArgumentValue(empty[0].tag, [], gathered=True, tombstone=empty[0]))
        else:
            self._end_slot(party, join, slot, _combined(tombstones))

    def _end_slot(self, party: Party, join: JoinState, slot: Slot, tombstone: Arrival) -> None:
        where = slot[1]
        if tombstone.kind == "empty":
            self.calls.skip_empty(party, join, tombstone)
            return
        join.absent.add(slot)
        if tombstone.lag > 0 or len(where) >= self.calls.depth(party, join.socket):
            self.calls.skip(party, join, tombstone.tag, tombstone.run, tombstone)
            return
        # elements would have shared one value: each is skipped when its other arguments come
        for at in join.under(where):
            self.calls.attempt(party, join, at)

    def discarded(self, party: Party, join: JoinState, arrival: Arrival) -> None:
        """A person discarded a waiting arrival: its call will never be."""
        slot = arrival.slot
        if not join.waits.get(arrival.argument, {}).get(slot[1]):
            self._end_slot(party, join, slot, replace(arrival, kind="tombstone", lag=0, silent=False))

    # -- later looks ---------------------------------------------------------
    def settle(self, party: Party, tokens: Iterable[tuple[int, Tag]], failed: Iterable[tuple[int, Tag]] = ()) -> None:
        """Decide what can be decided, now that a party's unfinished calls stand at `tokens`."""
        stand, lost = list(tokens), set(failed)
        if self.calls.topology.gathers_done_only and lost:
            made = len(self.calls.out.calls)
            on = Reachability(self.calls.topology, [token for token in stand if token not in lost])
            self._go_without_failed(party, on, sorted(lost))
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
            _, (socket, argument, where) = heappop(todo)
            before, made = self._progress(), len(self.calls.out.calls)
            join = party.joins.get(socket)
            if join is not None and not self._settled(party, join, (argument, where), reachability):
                left.add((socket, argument, where))
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

    def _go_without_failed(self, party: Party, reachability: Reachability, failed: list[tuple[int, Tag]]) -> None:
        """Complete the lists of ``gather="done"`` plugs that wait for failed elements only."""
        for plug in self.calls.topology.gathers_done_only:
            for base, tags in self.lost_elements(party, plug, reachability, failed).items():
                self._leave_out(party, plug, base, tags)

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
        join = party.join(plug.target)
        splits = {split for tag in tags.values() for split in tag[-1][0]}
        missing = join.lacking(plug.argument, base, splits, party.fans)
        if not missing or not missing <= tags.keys():
            return
        for index in sorted(missing):
            self.leave_out(party, join, plug.argument, tags[index], plug.id)

    def leave_out(self, party: Party, join: JoinState, argument: str, tag: Tag, plug: int | None = None) -> None:
        """Complete a list without the element of that tag."""
        tombstone = self._decided(party, join, argument, tag, plug, ELEMENT)
        join.leave_out(tombstone)
        self.calls.element(party, join, tombstone)

    def end_list(self, party: Party, join: JoinState, argument: str, tag: Tag) -> None:
        """Rule a list out, and with it the call it was for."""
        self._end_slot(party, join, (argument, path(tag)), self._decided(party, join, argument, tag, None, 0))

    def _decided(self, party: Party, join: JoinState, argument: str, tag: Tag, plug: int | None, lag: int) -> Arrival:
        """A tombstone that takes effect at once and that no call has sent."""
        run = min(party.runs, default=party.id)
        tombstone = Arrival(
            self.calls.new_arrival(), join.socket, argument, party.id, run, tag, "tombstone", None, None, -1, plug,
            lag, state="decided",
        )  # fmt: skip
        self.calls.out.arrivals.append(tombstone)
        return tombstone

    def _progress(self) -> tuple[int, int, int]:
        out = self.calls.out
        return len(out.calls), len(out.arrivals), self.calls.state_changes

    def _parked(self, join: JoinState) -> bool:
        """Whether a socket is removed: its plugs may come back with it, so nothing is decided meanwhile."""
        return self.calls.topology.sockets[join.socket].parked

    def _settled(self, party: Party, join: JoinState, slot: Slot, reachability: Reachability) -> bool:
        if self._parked(join):
            return False
        tombstones = join.open_tombstones(slot)
        if not tombstones:
            return self._useful(party, join, slot, reachability)
        rest = self._rest(join, slot)
        spoke = join.deeper.get(slot, set())
        if self._is_moot(join, slot) or any(p.id in spoke for p in rest):
            for tombstone in tombstones:
                self.calls.set_state(tombstone, "dropped", None)
        elif reachability.can_come_by(rest, slot[1], element=slot[0].endswith("[]")):
            return False
        else:
            self._decide(party, join, slot)
        return True

    def _useful(self, party: Party, join: JoinState, slot: Slot, reachability: Reachability) -> bool:
        """Drop what waits to be shared by elements none of which can come; False while one can."""
        argument, where = slot
        values = join.waits.get(argument, {}).get(where)
        if not values or where not in join.above_skipped or not any(value.counted for value in values):
            return True
        if join.under(where) or any(base[: len(where)] == where for _, base in join.buffers):
            return False
        others = [n for n in self.calls.topology.matched.get(join.socket, ()) if n != argument]
        if reachability.can_come_by(
            [p for n in others for p in self.calls.topology.into.get((join.socket, n), ())], where
        ):
            return False
        self.calls.unshare(party, join, argument, where)
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
