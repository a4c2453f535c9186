"""Marks that come to joins, and when they mean that nothing else will. Pure.

An argument is dead at a path when every plug that can still reach it has sent a mark there, or at
what is around it. A mark beside a value is dropped; one above something deeper decides nothing by
itself but counts for the elements below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from heapq import heappop, heappush

from ec_jupyter.flow.calls import Calls, Spot
from ec_jupyter.flow.decision import Fire
from ec_jupyter.flow.join_state import ELEMENT, ArgumentValue, Arrival, JoinState, Slot
from ec_jupyter.flow.party import Party
from ec_jupyter.flow.reach import Positions
from ec_jupyter.flow.tag import Path, Tag, path, united
from ec_jupyter.model import Plug


class Marks:
    """Decides marks.

    Parameters
    ----------
    calls : Calls
        What it decides for.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def pump(self) -> None:
        """Deliver the marks that are on their way, and those they lead to."""
        marks = self.calls.marks
        while marks:
            self._take(marks.popleft())

    def _take(self, mark: Arrival) -> None:
        party = self.calls.parties.find(mark.party)
        if mark.plug in self.calls.topology.simple and not (party and mark.socket in party.join_states):
            self.calls.skip_simple(mark, party)
            return
        if party is None:
            raise RuntimeError(f"party {mark.party} comes to a join and was never adopted")
        self._join(party, party.join_states.setdefault(mark.socket, JoinState(mark.socket)), mark)

    def _join(self, party: Party, join_state: JoinState, mark: Arrival) -> None:
        slot = mark.slot
        here = join_state.marks.setdefault(slot, {})
        again = mark.plug in here
        if not again:
            here[mark.plug] = mark
        void = join_state.note(slot, mark.plug)
        if again or self._moot(join_state, slot):
            void.append(mark)
        for one in void:
            self.calls.turn(one, "dropped", None)
        if mark.state == "waiting":
            self._examine(party, join_state, slot)
        for below in self._below(party, join_state, slot):
            self._examine(party, join_state, below)

    def _moot(self, join_state: JoinState, slot: Slot) -> bool:
        """Whether a mark at a slot has nothing to decide."""
        return bool(
            slot in join_state.dead
            or join_state.is_skipped(slot[1])
            or join_state.is_vacant(slot[1])
            or join_state.has(slot)
            or join_state.deeper.get(slot)
        )

    def _below(self, party: Party, join_state: JoinState, slot: Slot) -> list[Slot]:
        """Undecided slots of elements that a mark covers."""
        argument, at = slot
        if argument.endswith("[]") or not join_state.deeper.get(slot):
            return []
        names = (argument, argument + "[]")
        return sorted(
            (name, where)
            for socket, name, where in self.calls.undecided.get(party.id, ())
            if socket == join_state.socket and name in names and where[: len(at)] == at and where != at
        )

    def _plugs(self, join_state: JoinState, slot: Slot) -> list[Plug]:
        """Plugs that may bring something to a slot."""
        into = self.calls.topology.into
        if slot[0].endswith("[]"):
            return [p for p in into.get((join_state.socket, slot[0][:-2]), ()) if p.gather]
        return into.get((join_state.socket, slot[0]), [])

    def _rest(self, join_state: JoinState, slot: Slot) -> list[Plug]:
        """Of those, the ones that may not have said all they have to say there."""
        sent, repeats = join_state.sent(slot), self.calls.topology.repeats
        return [p for p in self._plugs(join_state, slot) if p.id not in sent or p.source in repeats]

    def _examine(self, party: Party, join_state: JoinState, slot: Slot) -> None:
        if self._parked(join_state) or self._rest(join_state, slot):
            self.calls.look_again(party, join_state.socket, *slot)
        else:
            self._decide(party, join_state, slot)

    def _decide(self, party: Party, join_state: JoinState, slot: Slot) -> None:
        marks = join_state.open_marks(slot)
        if not marks:
            return
        for mark in marks:
            self.calls.turn(mark, "decided", None)
        empty = [m for m in marks if m.kind == "vacant" and m.lag == 0]
        if slot[0].endswith("[]"):
            join_state.dead.add(slot)
            self.calls.element(party, join_state, marks[0])
        elif empty:
            party.waiting += 1
            self.calls.keep(party, join_state, slot[0], ArgumentValue(empty[0].tag, [], gathered=True, mark=empty[0]))
        else:
            self._end_slot(party, join_state, slot, _together(marks))

    def _end_slot(self, party: Party, join_state: JoinState, slot: Slot, mark: Arrival) -> None:
        where = slot[1]
        if mark.kind == "vacant":
            self.calls.vacate(party, join_state, mark)
            return
        join_state.dead.add(slot)
        if mark.lag > 0 or len(where) >= self.calls.depth(party, join_state.socket):
            self.calls.skip(party, join_state, mark.tag, mark.run, mark)
            return
        # one value would have been shared by elements: each is skipped as the rest of it comes
        for at in join_state.under(where):
            self.calls.attempt(party, join_state, at)

    def bury(self, party: Party, join_state: JoinState, arrival: Arrival) -> None:
        """A waiting arrival was thrown away: what it was for will not be."""
        slot = arrival.slot
        if not join_state.waits.get(arrival.argument, {}).get(slot[1]):
            self._end_slot(party, join_state, slot, replace(arrival, kind="dead", lag=0, silent=False))

    # -- later looks ---------------------------------------------------------
    def settle(self, party: Party, tokens: Iterable[tuple[int, Tag]], failed: Iterable[tuple[int, Tag]] = ()) -> None:
        """Decide what can be decided, now that a party's unfinished calls stand at `tokens`."""
        stand, lost = list(tokens), set(failed)
        if self.calls.topology.patient and lost:
            made = len(self.calls.out.calls)
            self._forgo(party, Positions(self.calls.topology, [t for t in stand if t not in lost]), sorted(lost))
            self.pump()
            stand += self._made(party, made)
        while self._look(party, stand):
            pass
        if self.calls.topology.patient:
            # whatever fails next may be all that a list waits for
            self.calls.undecided.setdefault(party.id, set())

    def _made(self, party: Party, first: int) -> list[tuple[int, Tag]]:
        """Where calls stand that were made since: they are unfinished too."""
        calls = self.calls.out.calls[first:]
        return [(call.socket, call.tag) for call in calls if isinstance(call, Fire) and call.party == party.id]

    def _look(self, party: Party, tokens: list[tuple[int, Tag]]) -> bool:
        """Look at everything once, from the roots down; whether that changed anything.

        What is undecided at one join may still send a mark to the next, so nothing is decided before
        what is above it has been, and the marks which that led to have come.
        """
        positions = Positions(self.calls.topology, [*tokens, *self._waiting(party)])
        left: set[Spot] = set()
        changed = False
        todo = self._spots(party, [])
        while todo:
            _, (socket, argument, where) = heappop(todo)
            before, made = self._progress(), len(self.calls.out.calls)
            join_state = party.join_states.get(socket)
            if join_state is not None and not self._settled(party, join_state, (argument, where), positions):
                left.add((socket, argument, where))
            self.pump()
            changed = changed or self._progress() != before
            for token in self._made(party, made):
                tokens.append(token)
                positions.add(*token)
            self._spots(party, todo)
        if left:
            self.calls.undecided[party.id] = left
        return changed

    def _spots(self, party: Party, todo: list[tuple[int, Spot]]) -> list[tuple[int, Spot]]:
        """What is to be looked at, added to `todo`: a heap with the highest in the flow first."""
        rank = self.calls.topology.rank
        for spot in self.calls.undecided.pop(party.id, ()):
            heappush(todo, (rank.get(spot[0], 0), spot))
        return todo

    def _forgo(self, party: Party, positions: Positions, failed: list[tuple[int, Tag]]) -> None:
        """Complete lists that wait for failed elements only, where their plug says so."""
        for plug in self.calls.topology.patient:
            for base, tags in self.lost(party, plug, positions, failed).items():
                self._leave_out(party, plug, base, tags)

    def lost(
        self, party: Party, plug: Plug, positions: Positions, failed: list[tuple[int, Tag]]
    ) -> dict[Path, dict[int, Tag]]:
        """By list, the elements that a gathering plug does not bring to it because calls have `failed`.

        `positions` are those of the calls that go on.
        """
        topology = self.calls.topology
        deep = self.calls.depth(party, plug.source) + topology.task(plug.source).generator + plug.map
        lost: dict[Path, dict[int, Tag]] = {}
        for socket, tag in failed:
            kept = topology.ways(socket, len(tag)).get(plug.id, (0, 0))[1]
            at = path(tag)[:deep]
            if 0 < deep <= kept and not positions.reach([plug], at, element=True):
                lost.setdefault(at[:-1], {})[at[-1]] = tag[:deep]
        return lost

    def _leave_out(self, party: Party, plug: Plug, base: Path, tags: dict[int, Tag]) -> None:
        join_state = party.join_states.setdefault(plug.target, JoinState(plug.target))
        splits = {split for tag in tags.values() for split in tag[-1][0]}
        missing = join_state.lacking(plug.argument, base, splits, party.fans)
        if not missing or not missing <= tags.keys():
            return
        for index in sorted(missing):
            self.leave_out(party, join_state, plug.argument, tags[index], plug.id)

    def leave_out(self, party: Party, join_state: JoinState, argument: str, tag: Tag, plug: int | None = None) -> None:
        """Let a list go without the element of that tag."""
        mark = self._decided(party, join_state, argument, tag, plug, ELEMENT)
        join_state.give_up(mark)
        self.calls.element(party, join_state, mark)

    def end_list(self, party: Party, join_state: JoinState, argument: str, tag: Tag) -> None:
        """Let there be no list at a tag: what it was for will not be."""
        self._end_slot(
            party, join_state, (argument, path(tag)), self._decided(party, join_state, argument, tag, None, 0)
        )

    def _decided(
        self, party: Party, join_state: JoinState, argument: str, tag: Tag, plug: int | None, lag: int
    ) -> Arrival:
        """The mark of what will not come, though no call has sent it."""
        run = min(party.runs, default=party.id)
        mark = Arrival(
            self.calls.new_arrival(), join_state.socket, argument, party.id, run, tag, "dead", None, None, -1, plug,
            lag, state="decided",
        )  # fmt: skip
        self.calls.out.arrivals.append(mark)
        return mark

    def _progress(self) -> tuple[int, int, int]:
        out = self.calls.out
        return len(out.calls), len(out.arrivals), self.calls.turned

    def _parked(self, join_state: JoinState) -> bool:
        """Whether a socket was removed: its plugs are back with it, and until then nothing is decided."""
        return self.calls.topology.sockets[join_state.socket].parked

    def _settled(self, party: Party, join_state: JoinState, slot: Slot, positions: Positions) -> bool:
        if self._parked(join_state):
            return False
        marks = join_state.open_marks(slot)
        if not marks:
            return self._useful(party, join_state, slot, positions)
        rest = self._rest(join_state, slot)
        spoke = join_state.deeper.get(slot, set())
        if self._moot(join_state, slot) or any(p.id in spoke for p in rest):
            for mark in marks:
                self.calls.turn(mark, "dropped", None)
        elif positions.reach(rest, slot[1], element=slot[0].endswith("[]")):
            return False
        else:
            self._decide(party, join_state, slot)
        return True

    def _useful(self, party: Party, join_state: JoinState, slot: Slot, positions: Positions) -> bool:
        """Drop what waits to be shared by elements none of which can come; False while some can."""
        argument, where = slot
        argument_values = join_state.waits.get(argument, {}).get(where)
        if not argument_values or where not in join_state.closed or not any(p.counted for p in argument_values):
            return True
        if join_state.under(where) or any(base[: len(where)] == where for _, base in join_state.buffers):
            return False
        others = [n for n in self.calls.topology.matched.get(join_state.socket, ()) if n != argument]
        if positions.reach(
            [p for n in others for p in self.calls.topology.into.get((join_state.socket, n), ())], where
        ):
            return False
        self.calls.unshare(party, join_state, argument, where)
        return True

    @staticmethod
    def _waiting(party: Party) -> Iterator[tuple[int, Tag]]:
        """Where waiting arrivals stand; what is kept after its first use follows others that do."""
        for join_state in party.join_states.values():
            for _, _, argument_value in join_state.argument_values():
                if argument_value.counted:
                    yield join_state.socket, argument_value.tag
            for element in join_state.pending():
                yield join_state.socket, element.tag[:-1]


def _together(marks: list[Arrival]) -> Arrival:
    """What marks of several plugs say, whichever came first."""
    vacant = [m for m in marks if m.kind == "vacant"]
    return replace(
        marks[0],
        kind="vacant" if vacant else "dead",
        tag=united([m.tag for m in marks]),
        run=min(m.run for m in marks),
        source=min((m.source for m in marks if m.source is not None), default=None),
        lag=max(m.lag for m in marks),
        silent=all(m.silent for m in marks),
    )
