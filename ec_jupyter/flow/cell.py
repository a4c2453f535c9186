"""What has come to one slot of a join, and the lists that are gathered for it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ec_jupyter.flow.arrival import ANYBODY, NOBODY, ArgumentValue, Arrival
from ec_jupyter.flow.tag import ROOT, united

Plugs = frozenset[int | None]  # plugs by id; None stands for what was brought by hand
NONE: Plugs = frozenset()


@dataclass(slots=True, eq=False)
class GatherBuffer:
    """Elements of one split on their way into one list."""

    # by index, those that are in no list yet; a second one of an index is for the next list
    items: dict[int, deque[Arrival]] = field(default_factory=dict)
    left_out: dict[int, Arrival] = field(default_factory=dict)  # by index, the tombstones of elements that are left out
    splits: set[str] = field(default_factory=set)  # the splits they belong to
    made: bool = False  # a list was made of it

    def add(self, arrival: Arrival) -> None:
        """Take in an element, or its tombstone."""
        splits, index = arrival.tag[-1]
        self.splits.update(splits)
        if arrival.kind == "value":
            self.items.setdefault(index, deque()).append(arrival)
        else:
            self.left_out.setdefault(index, arrival)

    def pending(self) -> Iterator[Arrival]:
        """Its elements that are in no list yet."""
        for queue in self.items.values():
            yield from queue

    def absorb(self, other: GatherBuffer) -> None:
        """Take over elements of the same list."""
        self.splits |= other.splits
        self.left_out.update(other.left_out)
        for index, queue in other.items.items():
            self.items.setdefault(index, deque()).extend(queue)

    def withdraw(self, arrival: Arrival, *, leave_out: bool) -> bool:
        """Take an element out, as if it had not come or to make the list without it; False if it is not here."""
        index = arrival.tag[-1][1]
        queue = self.items.get(index)
        if queue is None or arrival not in queue:
            return False
        queue.remove(arrival)
        if not queue:
            del self.items[index]
            if leave_out:
                self.left_out.setdefault(index, arrival)
        return True

    def take(self, fans: dict[str, int]) -> ArgumentValue | None:
        """The list, once it is complete; its elements leave the buffer."""
        if not self.splits or any(split not in fans for split in self.splits):
            return None
        n = min(fans[split] for split in self.splits)
        # counts first: looking at every element for every arrival would be quadratic
        if len(self.items) + len(self.left_out) < n or (self.made and not self.items):
            return None
        if not all(i in self.items or i in self.left_out for i in range(n)):
            return None
        return self.listed(n)

    def listed(self, n: int) -> ArgumentValue | None:
        """The list of those of the first `n` elements that came."""
        members = [self._pop(i) for i in range(n) if i in self.items]
        if self.made and not members:
            return None
        self.made = True
        tags = [a.tag[:-1] for a in members] or [a.tag[:-1] for _, a in sorted(self.left_out.items())]
        tombstone = None if members or not self.left_out else self.left_out[min(self.left_out)]
        return ArgumentValue(united(tags) if tags else ROOT, members, gathered=True, tombstone=tombstone)

    def _pop(self, index: int) -> Arrival:
        queue = self.items[index]
        arrival = queue.popleft()
        if not queue:
            del self.items[index]
        return arrival


class Cell:
    """What has come to one slot."""

    __slots__ = ("absent", "below", "late", "lists", "rescued", "seen", "tombstones", "values")

    def __init__(self) -> None:
        self.values: list[ArgumentValue] = []  # those that wait, oldest first
        # seen: a value has come, whatever became of it
        # absent: no value will come: its tombstones are decided
        self.seen = self.absent = False
        # by plug, the tombstone that it sent, whatever its state is now
        self.tombstones: dict[int | None, Arrival] = {}
        self.below: Plugs = NONE  # plugs that have sent something to deeper slots of the argument
        # late, rescued: requests from whose late success a value came; those from whose failure one came, or for which
        # a person supplied one
        self.late: frozenset[int] = NOBODY
        self.rescued: frozenset[int] = NOBODY
        self.lists: list[GatherBuffer] = []  # lists that are being gathered, one for each split

    def see(self, arrival: Arrival) -> None:
        """Remember that a value has come."""
        self.seen = True
        self.absent = False
        if arrival.late_of:
            self.late |= arrival.late_of
        if arrival.rescue_of or arrival.source is None:
            self.rescued |= arrival.rescue_of or {ANYBODY}

    def supersedes(self, arrival: Arrival) -> bool:
        """Whether something has come in place of this value: for a late success a stand-in, or the reverse."""
        late, rescue = arrival.late_of, arrival.rescue_of
        if not (late or rescue):
            return False
        if late and (ANYBODY in self.rescued or not late.isdisjoint(self.rescued)):
            return True
        return not rescue.isdisjoint(self.late)

    def leave_out(self, tombstone: Arrival) -> None:
        """Leave an element out although its request may yet be retried: the retry's result is superseded."""
        self.tombstones.setdefault(tombstone.plug, tombstone)
        self.absent = True
        self.rescued |= {ANYBODY}

    def undecided(self) -> list[Arrival]:
        """Tombstones that are not decided."""
        return [t for t in self.tombstones.values() if t.state == "waiting"]

    # -- lists -----------------------------------------------------------------
    def buffer(self, splits: Iterable[str]) -> GatherBuffer:
        """The buffer that elements of these splits belong to."""
        ours = [b for b in self.lists if not b.splits.isdisjoint(splits)]
        if not ours:
            self.lists.append(GatherBuffer())
            return self.lists[-1]
        for other in ours[1:]:
            # an element of both splits shows that they are one list
            self.lists.remove(other)
            ours[0].absorb(other)
        return ours[0]

    def lacking(self, splits: Iterable[str], fans: dict[str, int]) -> set[int] | None:
        """Elements that a list still lacks; None while it is not known how many there are."""
        found = [b for b in self.lists if not b.splits.isdisjoint(splits)]
        every = set(splits).union(*(b.splits for b in found))
        if any(split not in fans for split in every) or any(b.made for b in found):
            return None
        there = {i for b in found for i in (*b.items, *b.left_out)}
        return set(range(min(fans[split] for split in every))) - there

    def waits(self) -> Iterator[Arrival]:
        """Arrivals that no call has taken, those on their way into lists included."""
        for value in self.values:
            for arrival in value.arrivals:
                if arrival.state == "waiting":
                    yield arrival
        if self.lists:
            yield from self.pending()

    def pending(self) -> Iterator[Arrival]:
        """Elements on their way into lists."""
        for buffer in self.lists:
            yield from buffer.pending()

    # -- edits -----------------------------------------------------------------
    def withdraw(self, arrival: Arrival, *, leave_out: bool = False) -> ArgumentValue | None:
        """Take an arrival out of its list; or else the value that it is part of, which stays. Raises LookupError."""
        for buffer in list(self.lists) if arrival.element else ():
            if buffer.withdraw(arrival, leave_out=leave_out):
                if not (buffer.items or buffer.left_out or buffer.made):
                    self.lists.remove(buffer)
                return None
        for value in self.values:
            if arrival is value.tombstone or arrival in value.arrivals:
                return value
        raise LookupError(f"arrival {arrival.id} does not wait")

    def absorb(self, other: Cell) -> None:
        """Take over what came to the same slot of another party."""
        self.values += other.values
        self.seen, self.absent = self.seen or other.seen, self.absent or other.absent
        self.tombstones = other.tombstones | self.tombstones
        self.below |= other.below
        self.late |= other.late
        self.rescued |= other.rescued
        self.lists += other.lists
