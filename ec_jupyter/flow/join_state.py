"""What has come to one socket in one party. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ec_jupyter.flow.arrival import ANYBODY, NOBODY, ArgumentValue, Arrival, GatherBuffer, Slot
from ec_jupyter.flow.tag import Path, path


@dataclass(slots=True)
class JoinState:
    """What has come to one socket in one party, and which of its calls will never be.

    Attributes
    ----------
    waits : dict
        Per argument and path, the argument values that wait, oldest first.
    seen : set of Slot
        Where a value has come, whatever its state is now.
    late, rescued : dict of Slot to set of int
        By slot, the requests from whose late success a value came; those from whose failure one came, or for which a
        person supplied one.
    tombstones : dict
        Per slot and plug, the tombstone that the plug sent, whatever its state is now.
    deeper : dict
        Per slot, the plugs that have sent something to elements below it.
    absent : set of Slot
        Where no value will come: its tombstones are decided.
    skipped, empty_splits : set of Path
        Calls that will never be, with all elements below them: one of their arguments is absent; a split had no
        elements.
    above_skipped : set of Path
        Everything above a path that is skipped or of an empty split.
    buffers : dict
        Per argument and path of the list, the lists that are being gathered, one for each split.
    partial : dict of Path to deque of (int, int)
        Requests (and their runs) that were submitted with arguments missing, or put back by a new signature.
    below : dict of Path to set of Path
        Deeper paths at which something has waited.
    """

    socket: int
    waits: dict[str, dict[Path, deque[ArgumentValue]]] = field(default_factory=dict)
    seen: set[Slot] = field(default_factory=set)
    late: dict[Slot, set[int]] = field(default_factory=dict)
    rescued: dict[Slot, set[int]] = field(default_factory=dict)
    tombstones: dict[Slot, dict[int | None, Arrival]] = field(default_factory=dict)
    deeper: dict[Slot, set[int | None]] = field(default_factory=dict)
    absent: set[Slot] = field(default_factory=set)
    skipped: set[Path] = field(default_factory=set)
    empty_splits: set[Path] = field(default_factory=set)
    above_skipped: set[Path] = field(default_factory=set)
    buffers: dict[Slot, list[GatherBuffer]] = field(default_factory=dict)
    partial: dict[Path, deque[tuple[int, int]]] = field(default_factory=dict)
    below: dict[Path, set[Path]] = field(default_factory=dict)

    # -- what waits ----------------------------------------------------------
    def keep(self, argument: str, value: ArgumentValue) -> Path:
        """Let an argument value wait for the others of its call; the path it waits at."""
        where = path(value.tag)
        here = self.waits.setdefault(argument, {})
        if where not in here:
            here[where] = deque()
            for depth in range(len(where)):
                self.below.setdefault(where[:depth], set()).add(where)
        here[where].append(value)
        self.seen.add((argument, where))
        return where

    def find(self, argument: str, at: Path) -> ArgumentValue | None:
        """The value for a call at `at`: its own, or the nearest from before a split."""
        here = self.waits.get(argument)
        if not here:
            return None
        for depth in range(len(at), -1, -1):
            queue = here.get(at[:depth])
            if queue:
                return queue[0]
        return None

    def waits_at(self, at: Path) -> bool:
        """Whether anything waits at just this path."""
        return any(at in here for here in self.waits.values())

    def waits_from(self, at: Path) -> bool:
        """Whether anything waits at a path or below it, elements on their way into lists included."""
        places = [where for _, where, value in self.waiting() if value.counted]
        places += [path(a.tag) for a in self.pending()]
        return any(where[: len(at)] == at for where in places)

    def under(self, at: Path) -> list[Path]:
        """Paths of deeper elements at which something waits, in order."""
        known = self.below.get(at)
        if not known:
            return []
        gone = {p for p in known if not self.waits_at(p)}
        known -= gone
        return sorted(known)

    def paths(self) -> list[Path]:
        """Every element for which something waits."""
        return sorted({p for here in self.waits.values() for p in here})

    def waiting(self) -> Iterator[tuple[str, Path, ArgumentValue]]:
        """Every argument value that waits, with its argument and path."""
        for argument, here in self.waits.items():
            for where, queue in here.items():
                for value in queue:
                    yield argument, where, value

    def pending(self) -> Iterator[Arrival]:
        """Elements on their way into lists."""
        for buffers in self.buffers.values():
            for buffer in buffers:
                for queue in buffer.items.values():
                    yield from queue

    def remove(self, argument: str, where: Path, value: ArgumentValue) -> None:
        """Take an argument value out."""
        queue = self.waits[argument][where]
        queue.remove(value)
        if not queue:
            del self.waits[argument][where]

    def take(self, arguments: dict[str, ArgumentValue], at: Path) -> None:
        """Use up what is this call's own; what is from before a split stays for the other elements."""
        for argument, value in arguments.items():
            if len(value.tag) == len(at):
                self.remove(argument, at, value)

    def clear(self, at: Path) -> tuple[list[ArgumentValue], list[Arrival]]:
        """Take out everything at a path and below it: argument values, and elements on their way into lists."""
        values: list[ArgumentValue] = []
        for where in [at, *self.under(at)]:
            for here in self.waits.values():
                values.extend(here.pop(where, ()))
        elements = []
        for argument, base in [slot for slot in self.buffers if slot[1][: len(at)] == at]:
            for buffer in self.buffers.pop((argument, base)):
                elements += [a for queue in buffer.items.values() for a in queue]
        return values, elements

    def buffer(self, argument: str, base: Path, splits: Iterable[str]) -> GatherBuffer:
        """The buffer of an argument that elements of these splits belong to."""
        buffers = self.buffers.setdefault((argument, base), [])
        ours = [b for b in buffers if not b.splits.isdisjoint(splits)]
        if not ours:
            buffers.append(GatherBuffer())
            return buffers[-1]
        first = ours[0]
        for other in ours[1:]:
            # an element of both splits shows that they are one list
            buffers.remove(other)
            first.splits |= other.splits
            first.left_out.update(other.left_out)
            for index, queue in other.items.items():
                first.items.setdefault(index, deque()).extend(queue)
        return first

    def lacking(self, argument: str, base: Path, splits: set[str], fans: dict[str, int]) -> set[int] | None:
        """Elements that a list still lacks; None while it is not known how many there are."""
        found = [b for b in self.buffers.get((argument, base), ()) if not b.splits.isdisjoint(splits)]
        every = splits.union(*(b.splits for b in found))
        if any(split not in fans for split in every) or any(b.made for b in found):
            return None
        there = {i for b in found for i in (*b.items, *b.left_out)}
        return set(range(min(fans[split] for split in every))) - there

    # -- what has come, what will not ------------------------------------------
    def see(self, arrival: Arrival) -> Slot:
        """Remember that a value has come."""
        slot = arrival.slot
        self.seen.add(slot)
        self.absent.discard(slot)
        if arrival.late_of:
            self.late.setdefault(slot, set()).update(arrival.late_of)
        if arrival.rescue_of or arrival.source is None:
            self.rescued.setdefault(slot, set()).update(arrival.rescue_of or (ANYBODY,))
        return slot

    def supersedes(self, arrival: Arrival) -> bool:
        """Whether something has come in place of this value: for a late success a stand-in, or the reverse."""
        if not (arrival.late_of or arrival.rescue_of):
            return False
        slot = arrival.slot
        stood_in = self.rescued.get(slot, NOBODY)
        if arrival.late_of and (ANYBODY in stood_in or not arrival.late_of.isdisjoint(stood_in)):
            return True
        return not arrival.rescue_of.isdisjoint(self.late.get(slot, NOBODY))

    def has(self, slot: Slot) -> bool:
        """Whether a value has come to a slot, from before a split included."""
        argument, where = slot
        return slot in self.seen or any((argument, where[:depth]) in self.seen for depth in range(len(where)))

    def leave_out(self, tombstone: Arrival) -> None:
        """Leave an element out although its request may yet be retried: the retry's result is superseded."""
        slot = tombstone.slot
        self.tombstones.setdefault(slot, {}).setdefault(tombstone.plug, tombstone)
        self.absent.add(slot)
        self.rescued.setdefault(slot, set()).add(ANYBODY)

    def is_absent(self, argument: str, at: Path) -> bool:
        """Whether no value will come to an argument of a call at `at`."""
        return any((argument, at[:depth]) in self.absent for depth in range(len(at) + 1))

    def rule_out(self, where: Path, *, empty: bool = False) -> None:
        """No call will ever be at a path, nor below it."""
        (self.empty_splits if empty else self.skipped).add(where)
        self.above_skipped.update(where[:depth] for depth in range(len(where)))

    def is_skipped(self, at: Path) -> bool:
        """Whether a call was skipped, itself or as one of the elements of a skipped one."""
        return bool(self.skipped) and any(at[:depth] in self.skipped for depth in range(len(at) + 1))

    def in_empty_split(self, at: Path) -> bool:
        """Whether a call is of a split without elements."""
        return bool(self.empty_splits) and any(at[:depth] in self.empty_splits for depth in range(len(at) + 1))

    def decided(self, argument: str, base: Path, index: int) -> bool:
        """Whether an element of a list has come, or never will, or its list is gone."""
        slot = (argument + "[]", (*base, index))
        return (
            slot in self.seen
            or slot in self.absent
            or self.is_skipped(base)
            or self.is_absent(argument, base)
            or any(b.made for b in self.buffers.get((argument, base), ()))
        )

    # -- tombstones ----------------------------------------------------------
    def note(self, slot: Slot, plug: int | None) -> list[Arrival]:
        """Remember that something came to a slot; the undecided tombstones above it that this makes void."""
        argument, where = slot
        if not where:
            return []
        if argument.endswith("[]"):
            argument, where = argument[:-2], where[:-1]
            above = [(argument, where[:depth]) for depth in range(len(where) + 1)]
        else:
            above = [(argument, where[:depth]) for depth in range(len(where))]
        void = []
        for one in above:
            self.deeper.setdefault(one, set()).add(plug)
            void += self.open_tombstones(one)
        return void

    def open_tombstones(self, slot: Slot) -> list[Arrival]:
        """The tombstones at a slot that are not decided."""
        tombstones = self.tombstones.get(slot)
        return [t for t in tombstones.values() if t.state == "waiting"] if tombstones else []

    def sent(self, slot: Slot) -> set[int | None]:
        """Plugs whose tombstone covers a slot: at it, or at what is around it."""
        argument, where = slot
        plugs = set(self.tombstones.get(slot, ()))
        if argument.endswith("[]"):
            argument, where = argument[:-2], where[:-1]
        for depth in range(len(where) + 1):
            plugs.update(self.tombstones.get((argument, where[:depth]), ()))
        return plugs

    # -- edits ---------------------------------------------------------------
    def take_back(self, request: int, run: int, at: Path) -> list[ArgumentValue]:
        """Forget a request that waits for arguments, and take out the values that were brought by hand for it."""
        for place, queue in list(self.partial.items()):
            for entry in [e for e in queue if e[0] == request]:
                queue.remove(entry)
            if not queue:
                del self.partial[place]
        taken = []
        for argument, where, value in list(self.waiting()):
            one = value.arrivals[0] if len(value.arrivals) == 1 else None
            if one is not None and one.source is None and (one.run, where) == (run, at):
                self.remove(argument, where, value)
                self.seen.discard(one.slot)
                taken.append(value)
        return taken

    def withdraw(self, arrival: Arrival) -> int:
        """Forget something that waits, as if it had not come; by how much what waits in the party becomes less."""
        argument, where = arrival.slot
        self.seen.discard(arrival.slot)
        self.tombstones.get(arrival.slot, {}).pop(arrival.plug, None)
        for depth in range(len(where) + 1):
            self.deeper.get((arrival.argument, where[:depth]), set()).discard(arrival.plug)
        element = argument.endswith("[]")
        lists = self.buffers.get((arrival.argument, where[:-1]), []) if element else []
        for buffer in lists:
            if buffer.withdraw(arrival):
                if not (buffer.items or buffer.left_out or buffer.made):
                    lists.remove(buffer)
                return 1
        for name, at, value in list(self.waiting()):
            if arrival is not value.tombstone and arrival not in value.arrivals:
                continue
            self.remove(name, at, value)
            self.seen.discard((name, at))
            rest = [a for a in value.arrivals if a is not arrival]
            if element:
                self._unmake(name, at, arrival, rest)
            return 1 - len(rest)
        raise LookupError(f"arrival {arrival.id} does not wait")

    def _unmake(self, argument: str, base: Path, arrival: Arrival, rest: list[Arrival]) -> None:
        """A complete list is being gathered again, without one of its elements."""
        buffer = self.buffer(argument, base, arrival.tag[-1][0])
        buffer.made = False
        for element in rest:
            buffer.add(element)

    def absorb(self, other: JoinState) -> None:
        """Take over what another party brought to this socket."""
        self.seen |= other.seen
        for slot, requests in other.late.items():
            self.late.setdefault(slot, set()).update(requests)
        for slot, requests in other.rescued.items():
            self.rescued.setdefault(slot, set()).update(requests)
        self.absent |= other.absent
        self.skipped |= other.skipped
        self.empty_splits |= other.empty_splits
        self.above_skipped |= other.above_skipped
        for slot, tombstones in other.tombstones.items():
            self.tombstones[slot] = tombstones | self.tombstones.get(slot, {})
        for slot, plugs in other.deeper.items():
            self.deeper.setdefault(slot, set()).update(plugs)
        for where, entries in other.partial.items():
            self.partial.setdefault(where, deque()).extend(entries)
        for key, buffers in other.buffers.items():
            self.buffers.setdefault(key, []).extend(buffers)
        for argument, _, value in other.waiting():
            self.keep(argument, value)

    def arrivals(self) -> Iterator[Arrival]:
        """Every arrival that is still of use here."""
        for _, _, value in self.waiting():
            yield from value.arrivals
        yield from self.pending()
        for tombstones in self.tombstones.values():
            yield from tombstones.values()
