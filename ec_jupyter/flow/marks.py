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
from ec_jupyter.flow.meeting import ELEMENT, Arrival, Meeting, Parcel, Slot
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
        if mark.plug in self.calls.topology.simple and not (party and mark.socket in party.meetings):
            self.calls.skip_simple(mark, party)
            return
        if party is None:
            raise RuntimeError(f"party {mark.party} comes to a join and was never adopted")
        self._join(party, party.meetings.setdefault(mark.socket, Meeting(mark.socket)), mark)

    def _join(self, party: Party, meeting: Meeting, mark: Arrival) -> None:
        slot = mark.slot
        here = meeting.marks.setdefault(slot, {})
        again = mark.plug in here
        if not again:
            here[mark.plug] = mark
        void = meeting.note(slot, mark.plug)
        if again or self._moot(meeting, slot):
            void.append(mark)
        for one in void:
            self.calls.turn(one, "dropped", None)
        if mark.state == "waiting":
            self._examine(party, meeting, slot)
        for below in self._below(party, meeting, slot):
            self._examine(party, meeting, below)

    def _moot(self, meeting: Meeting, slot: Slot) -> bool:
        """Whether a mark at a slot has nothing to decide."""
        return bool(
            slot in meeting.dead
            or meeting.is_skipped(slot[1])
            or meeting.is_vacant(slot[1])
            or meeting.has(slot)
            or meeting.deeper.get(slot)
        )

    def _below(self, party: Party, meeting: Meeting, slot: Slot) -> list[Slot]:
        """Undecided slots of elements that a mark covers."""
        argument, at = slot
        if argument.endswith("[]") or not meeting.deeper.get(slot):
            return []
        names = (argument, argument + "[]")
        return sorted(
            (name, where)
            for socket, name, where in self.calls.undecided.get(party.id, ())
            if socket == meeting.socket and name in names and where[: len(at)] == at and where != at
        )

    def _plugs(self, meeting: Meeting, slot: Slot) -> list[Plug]:
        """Plugs that may bring something to a slot."""
        into = self.calls.topology.into
        if slot[0].endswith("[]"):
            return [p for p in into.get((meeting.socket, slot[0][:-2]), ()) if p.gather]
        return into.get((meeting.socket, slot[0]), [])

    def _rest(self, meeting: Meeting, slot: Slot) -> list[Plug]:
        """Of those, the ones that may not have said all they have to say there."""
        sent, repeats = meeting.sent(slot), self.calls.topology.repeats
        return [p for p in self._plugs(meeting, slot) if p.id not in sent or p.source in repeats]

    def _examine(self, party: Party, meeting: Meeting, slot: Slot) -> None:
        if self._parked(meeting) or self._rest(meeting, slot):
            self.calls.look_again(party, meeting.socket, *slot)
        else:
            self._decide(party, meeting, slot)

    def _decide(self, party: Party, meeting: Meeting, slot: Slot) -> None:
        marks = meeting.open_marks(slot)
        if not marks:
            return
        for mark in marks:
            self.calls.turn(mark, "decided", None)
        empty = [m for m in marks if m.kind == "vacant" and m.lag == 0]
        if slot[0].endswith("[]"):
            meeting.dead.add(slot)
            self.calls.element(party, meeting, marks[0])
        elif empty:
            party.waiting += 1
            self.calls.keep(party, meeting, slot[0], Parcel(empty[0].tag, [], gathered=True, mark=empty[0]))
        else:
            self._end_slot(party, meeting, slot, _together(marks))

    def _end_slot(self, party: Party, meeting: Meeting, slot: Slot, mark: Arrival) -> None:
        where = slot[1]
        if mark.kind == "vacant":
            self.calls.vacate(party, meeting, mark)
            return
        meeting.dead.add(slot)
        if mark.lag > 0 or len(where) >= self.calls.depth(party, meeting.socket):
            self.calls.skip(party, meeting, mark.tag, mark.run, mark)
            return
        # one value would have been shared by elements: each is skipped as the rest of it comes
        for at in meeting.under(where):
            self.calls.attempt(party, meeting, at)

    def bury(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        """A waiting arrival was thrown away: what it was for will not be."""
        slot = arrival.slot
        if not meeting.waits.get(arrival.argument, {}).get(slot[1]):
            self._end_slot(party, meeting, slot, replace(arrival, kind="dead", lag=0, silent=False))

    # -- later looks ---------------------------------------------------------
    def settle(
        self, party: Party, tokens: Iterable[tuple[int, Tag]], failed: Iterable[tuple[int, Tag]] = ()
    ) -> None:
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
            meeting = party.meetings.get(socket)
            if meeting is not None and not self._settled(party, meeting, (argument, where), positions):
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
        meeting = party.meetings.setdefault(plug.target, Meeting(plug.target))
        splits = {split for tag in tags.values() for split in tag[-1][0]}
        missing = meeting.lacking(plug.argument, base, splits, party.fans)
        if not missing or not missing <= tags.keys():
            return
        for index in sorted(missing):
            self.leave_out(party, meeting, plug.argument, tags[index], plug.id)

    def leave_out(self, party: Party, meeting: Meeting, argument: str, tag: Tag, plug: int | None = None) -> None:
        """Let a list go without the element of that tag."""
        mark = self._decided(party, meeting, argument, tag, plug, ELEMENT)
        meeting.give_up(mark)
        self.calls.element(party, meeting, mark)

    def end_list(self, party: Party, meeting: Meeting, argument: str, tag: Tag) -> None:
        """Let there be no list at a tag: what it was for will not be."""
        self._end_slot(party, meeting, (argument, path(tag)), self._decided(party, meeting, argument, tag, None, 0))

    def _decided(
        self, party: Party, meeting: Meeting, argument: str, tag: Tag, plug: int | None, lag: int
    ) -> Arrival:
        """The mark of what will not come, though no call has sent it."""
        run = min(party.runs, default=party.id)
        mark = Arrival(
            self.calls.new_arrival(), meeting.socket, argument, party.id, run, tag, "dead", None, None, -1, plug, lag,
            state="decided",
        )  # fmt: skip
        self.calls.out.arrivals.append(mark)
        return mark

    def _progress(self) -> tuple[int, int, int]:
        out = self.calls.out
        return len(out.calls), len(out.arrivals), self.calls.turned

    def _parked(self, meeting: Meeting) -> bool:
        """Whether a socket was removed: its plugs are back with it, and until then nothing is decided."""
        return self.calls.topology.sockets[meeting.socket].parked

    def _settled(self, party: Party, meeting: Meeting, slot: Slot, positions: Positions) -> bool:
        if self._parked(meeting):
            return False
        marks = meeting.open_marks(slot)
        if not marks:
            return self._useful(party, meeting, slot, positions)
        rest = self._rest(meeting, slot)
        spoke = meeting.deeper.get(slot, set())
        if self._moot(meeting, slot) or any(p.id in spoke for p in rest):
            for mark in marks:
                self.calls.turn(mark, "dropped", None)
        elif positions.reach(rest, slot[1], element=slot[0].endswith("[]")):
            return False
        else:
            self._decide(party, meeting, slot)
        return True

    def _useful(self, party: Party, meeting: Meeting, slot: Slot, positions: Positions) -> bool:
        """Drop what waits to be shared by elements none of which can come; False while some can."""
        argument, where = slot
        parcels = meeting.waits.get(argument, {}).get(where)
        if not parcels or where not in meeting.closed or not any(p.counted for p in parcels):
            return True
        if meeting.under(where) or any(base[: len(where)] == where for _, base in meeting.bundles):
            return False
        others = [n for n in self.calls.topology.matched.get(meeting.socket, ()) if n != argument]
        if positions.reach([p for n in others for p in self.calls.topology.into.get((meeting.socket, n), ())], where):
            return False
        self.calls.unshare(party, meeting, argument, where)
        return True

    @staticmethod
    def _waiting(party: Party) -> Iterator[tuple[int, Tag]]:
        """Where waiting arrivals stand; what is kept after its first use follows others that do."""
        for meeting in party.meetings.values():
            for _, _, parcel in meeting.parcels():
                if parcel.counted:
                    yield meeting.socket, parcel.tag
            for element in meeting.pending():
                yield meeting.socket, element.tag[:-1]


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
