"""What one party has brought to one socket. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ec_jupyter.flow.tag import ROOT, Path, Tag, path, united

ELEMENT = -1
"""`lag` of what comes by a gathering plug: one element of a list."""

NOBODY: frozenset[int] = frozenset()

ANYBODY = 0
"""Whom a value brought by hand stands in for."""

Slot = tuple[str, Path]
"""An argument and where its calls stand; of one element of a list, the argument's name ends in ``[]``."""


@dataclass(slots=True, eq=False)
class Arrival:
    """One value, or mark, that came to one argument.

    Attributes
    ----------
    id : int
        Identity.
    socket, argument : int, str
        Where it came to.
    party, run, tag : int, int, Tag
        Whose it is.
    kind : str
        ``"value"``; ``"dead"``: no value will come; ``"vacant"``: of a split without elements.
    value : object
        What came; opaque here.
    source, index, plug : int or None, int, int or None
        The request, which of its yields (-1 for a mark), and the plug it came by; None when supplied by hand.
    lag : int
        How many levels its tag is short of the calls it is for: 0 or more for a mark, 0 for a value, and
        `ELEMENT` for one element of a list that a gathering plug makes.
    silent : bool
        Of a mark: what it skips leaves no request.
    state : str
        ``"waiting"``, ``"shared"`` (used, and may be again by other elements), ``"used"``,
        ``"decided"`` (a mark that took effect), ``"dropped"`` (its join was skipped, or a value made a mark void),
        ``"held"`` (used, and may be again by any later call), ``"superseded"``, ``"discarded"``, ``"left"``
        (discarded with its run), ``"routing"`` (a worker has yet to evaluate its plug).
    request : int or None
        The call that took it.
    late : bool
        From a request that had failed for good and was retried since, or from what came of one.
    key : object
        Of a value for a join by key: its key.
    late_of, rescue_of : frozenset of int
        The failed requests whose late success, and whose failure, it came of; not persisted, for they follow
        from plugs and sources.
    """

    id: int
    socket: int
    argument: str
    party: int
    run: int
    tag: Tag
    kind: str
    value: object = None
    source: int | None = None
    index: int = 0
    plug: int | None = None
    lag: int = 0
    silent: bool = False
    state: str = "waiting"
    request: int | None = None
    late: bool = False
    key: object = None
    late_of: frozenset[int] = NOBODY
    rescue_of: frozenset[int] = NOBODY

    @property
    def slot(self) -> Slot:
        """The argument and path it is for."""
        where = path(self.tag)
        return (self.argument + "[]", where) if where and self.lag == ELEMENT else (self.argument, where)


@dataclass(slots=True, eq=False)
class ArgumentValue:
    """What one argument of one call gets: a value, or the elements that were gathered for it.

    It counts among what waits in its party until its first use. An empty list stands on a mark.
    """

    tag: Tag
    arrivals: list[Arrival]
    gathered: bool = False
    counted: bool = True
    mark: Arrival | None = None


@dataclass(slots=True, eq=False)
class GatherBuffer:
    """Elements of one split on their way into one list.

    Attributes
    ----------
    items : dict of int to deque of Arrival
        By index, those that are in no list yet; what comes a second time is for the next list.
    dead : dict of int to Arrival
        By index, marks of elements that are left out.
    splits : set of str
        The splits they belong to.
    made : bool
        A list was made of it.
    """

    items: dict[int, deque[Arrival]] = field(default_factory=dict)
    dead: dict[int, Arrival] = field(default_factory=dict)
    splits: set[str] = field(default_factory=set)
    made: bool = False

    def add(self, arrival: Arrival) -> None:
        """Take in one element, or the mark of one."""
        splits, index = arrival.tag[-1]
        self.splits.update(splits)
        if arrival.kind == "value":
            self.items.setdefault(index, deque()).append(arrival)
        else:
            self.dead.setdefault(index, arrival)

    def forget(self, arrival: int) -> Arrival | None:
        """Leave an element out; None if it is not here."""
        for index, queue in self.items.items():
            for mine in queue:
                if mine.id == arrival:
                    queue.remove(mine)
                    if not queue:
                        del self.items[index]
                        self.dead.setdefault(index, mine)
                    return mine
        return None

    def withdraw(self, arrival: Arrival) -> bool:
        """Forget an element, as if it had not come; False if it is not here."""
        for index, queue in self.items.items():
            if arrival in queue:
                queue.remove(arrival)
                if not queue:
                    del self.items[index]
                return True
        return False

    def take(self, fans: dict[str, int]) -> ArgumentValue | None:
        """The list, once all of it is in; its elements are in the bundle no longer."""
        if not self.splits or any(split not in fans for split in self.splits):
            return None
        n = min(fans[split] for split in self.splits)
        # the counts first: a look at each element for each element would be a square
        if len(self.items) + len(self.dead) < n or (self.made and not self.items):
            return None
        if not all(i in self.items or i in self.dead for i in range(n)):
            return None
        return self.listed(n)

    def listed(self, n: int) -> ArgumentValue | None:
        """What there is of the first `n` elements, as a list."""
        members = [self._pop(i) for i in range(n) if i in self.items]
        if self.made and not members:
            return None
        self.made = True
        tags = [a.tag[:-1] for a in members] or [a.tag[:-1] for _, a in sorted(self.dead.items())]
        mark = None if members or not self.dead else self.dead[min(self.dead)]
        return ArgumentValue(united(tags) if tags else ROOT, members, gathered=True, mark=mark)

    def _pop(self, index: int) -> Arrival:
        queue = self.items[index]
        arrival = queue.popleft()
        if not queue:
            del self.items[index]
        return arrival


@dataclass(slots=True)
class JoinState:
    """The arrivals of one party at one socket.

    Attributes
    ----------
    waits : dict
        Per argument and path, the parcels that wait, oldest first.
    seen : set of Slot
        Where a value has come, whatever became of it.
    late, rescued : dict of Slot to set of int
        Where it came of a request's late success; where of its failure, or a person stood in for it.
    marks : dict
        Per slot and plug, the mark that the plug sent, whatever became of it.
    deeper : dict
        Per slot, the plugs that have sent something to elements below it.
    dead : set of Slot
        Where nothing will come.
    skipped, vacant : set of Path
        Calls that will never be, those of elements below included: one of their arguments is dead; a split
        had no elements.
    closed : set of Path
        Everything above a skipped or vacant path.
    buffers : dict
        Per argument and path of the list, the gathers under way, one for each split.
    given : dict of Path to deque of (int, int)
        Requests (and their runs) that were submitted with arguments missing, or put back by a new signature.
    below : dict of Path to set of Path
        Deeper paths at which something has waited.
    """

    socket: int
    waits: dict[str, dict[Path, deque[ArgumentValue]]] = field(default_factory=dict)
    seen: set[Slot] = field(default_factory=set)
    late: dict[Slot, set[int]] = field(default_factory=dict)
    rescued: dict[Slot, set[int]] = field(default_factory=dict)
    marks: dict[Slot, dict[int | None, Arrival]] = field(default_factory=dict)
    deeper: dict[Slot, set[int | None]] = field(default_factory=dict)
    dead: set[Slot] = field(default_factory=set)
    skipped: set[Path] = field(default_factory=set)
    vacant: set[Path] = field(default_factory=set)
    closed: set[Path] = field(default_factory=set)
    buffers: dict[Slot, list[GatherBuffer]] = field(default_factory=dict)
    given: dict[Path, deque[tuple[int, int]]] = field(default_factory=dict)
    below: dict[Path, set[Path]] = field(default_factory=dict)

    # -- what waits ----------------------------------------------------------
    def keep(self, argument: str, argument_value: ArgumentValue) -> Path:
        """Let a parcel wait for company; the path it waits at."""
        where = path(argument_value.tag)
        here = self.waits.setdefault(argument, {})
        if where not in here:
            here[where] = deque()
            for depth in range(len(where)):
                self.below.setdefault(where[:depth], set()).add(where)
        here[where].append(argument_value)
        self.seen.add((argument, where))
        return where

    def find(self, argument: str, at: Path) -> ArgumentValue | None:
        """The parcel for a call at `at`: its own, or the nearest from before a split."""
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
        places = [where for _, where, argument_value in self.argument_values() if argument_value.counted]
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

    def argument_values(self) -> Iterator[tuple[str, Path, ArgumentValue]]:
        """Everything that waits for company, with its argument and path."""
        for argument, here in self.waits.items():
            for where, queue in here.items():
                for argument_value in queue:
                    yield argument, where, argument_value

    def pending(self) -> Iterator[Arrival]:
        """Elements on their way into lists."""
        for buffers in self.buffers.values():
            for buffer in buffers:
                for queue in buffer.items.values():
                    yield from queue

    def remove(self, argument: str, where: Path, argument_value: ArgumentValue) -> None:
        """Take a parcel out."""
        queue = self.waits[argument][where]
        queue.remove(argument_value)
        if not queue:
            del self.waits[argument][where]

    def take(self, argument_values: dict[str, ArgumentValue], at: Path) -> None:
        """Use up what is this call's own; what is from before a split stays for the other elements."""
        for argument, argument_value in argument_values.items():
            if len(argument_value.tag) == len(at):
                self.remove(argument, at, argument_value)

    def empty(self, at: Path) -> tuple[list[ArgumentValue], list[Arrival]]:
        """Take out everything at a path and below it: parcels, and elements on their way into lists."""
        argument_values: list[ArgumentValue] = []
        for where in [at, *self.under(at)]:
            for here in self.waits.values():
                argument_values.extend(here.pop(where, ()))
        elements = []
        for argument, base in [slot for slot in self.buffers if slot[1][: len(at)] == at]:
            for buffer in self.buffers.pop((argument, base)):
                elements += [a for queue in buffer.items.values() for a in queue]
        return argument_values, elements

    def buffer(self, argument: str, base: Path, splits: Iterable[str]) -> GatherBuffer:
        """The gather of an argument that elements of these splits belong to."""
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
            first.dead.update(other.dead)
            for index, queue in other.items.items():
                first.items.setdefault(index, deque()).extend(queue)
        return first

    def lacking(self, argument: str, base: Path, splits: set[str], fans: dict[str, int]) -> set[int] | None:
        """Elements that a list still lacks; None while it is not known how many there are."""
        found = [b for b in self.buffers.get((argument, base), ()) if not b.splits.isdisjoint(splits)]
        every = splits.union(*(b.splits for b in found))
        if any(split not in fans for split in every) or any(b.made for b in found):
            return None
        there = {i for b in found for i in (*b.items, *b.dead)}
        return set(range(min(fans[split] for split in every))) - there

    # -- what has come, what will not ------------------------------------------
    def see(self, arrival: Arrival) -> Slot:
        """Remember that a value has come."""
        slot = arrival.slot
        self.seen.add(slot)
        self.dead.discard(slot)
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

    def give_up(self, mark: Arrival) -> None:
        """An element is left out though its call may yet be retried: what would come of that is too late."""
        slot = mark.slot
        self.marks.setdefault(slot, {}).setdefault(mark.plug, mark)
        self.dead.add(slot)
        self.rescued.setdefault(slot, set()).add(ANYBODY)

    def is_dead(self, argument: str, at: Path) -> bool:
        """Whether nothing will come to an argument of a call at `at`."""
        return any((argument, at[:depth]) in self.dead for depth in range(len(at) + 1))

    def shut(self, where: Path, *, vacant: bool = False) -> None:
        """No call will ever be at a path, nor below it."""
        (self.vacant if vacant else self.skipped).add(where)
        self.closed.update(where[:depth] for depth in range(len(where)))

    def is_skipped(self, at: Path) -> bool:
        """Whether a call was skipped, by itself or with all around it."""
        return bool(self.skipped) and any(at[:depth] in self.skipped for depth in range(len(at) + 1))

    def is_vacant(self, at: Path) -> bool:
        """Whether a call is of a split without elements."""
        return bool(self.vacant) and any(at[:depth] in self.vacant for depth in range(len(at) + 1))

    # -- marks ---------------------------------------------------------------
    def note(self, slot: Slot, plug: int | None) -> list[Arrival]:
        """Remember that something came to a slot; the undecided marks above it that this makes void."""
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
            void += self.open_marks(one)
        return void

    def open_marks(self, slot: Slot) -> list[Arrival]:
        """Marks at a slot that are not decided."""
        marks = self.marks.get(slot)
        return [m for m in marks.values() if m.state == "waiting"] if marks else []

    def sent(self, slot: Slot) -> set[int | None]:
        """Plugs whose mark covers a slot: at it, or at what is around it."""
        argument, where = slot
        plugs = set(self.marks.get(slot, ()))
        if argument.endswith("[]"):
            argument, where = argument[:-2], where[:-1]
        for depth in range(len(where) + 1):
            plugs.update(self.marks.get((argument, where[:depth]), ()))
        return plugs

    # -- edits ---------------------------------------------------------------
    def withdraw(self, arrival: Arrival) -> int:
        """Forget something that waits; how much less waits then."""
        argument, where = arrival.slot
        self.seen.discard(arrival.slot)
        self.marks.get(arrival.slot, {}).pop(arrival.plug, None)
        for depth in range(len(where) + 1):
            self.deeper.get((arrival.argument, where[:depth]), set()).discard(arrival.plug)
        element = argument.endswith("[]")
        lists = self.buffers.get((arrival.argument, where[:-1]), []) if element else []
        for buffer in lists:
            if buffer.withdraw(arrival):
                if not (buffer.items or buffer.dead or buffer.made):
                    lists.remove(buffer)
                return 1
        for name, at, argument_value in list(self.argument_values()):
            if arrival is not argument_value.mark and arrival not in argument_value.arrivals:
                continue
            self.remove(name, at, argument_value)
            self.seen.discard((name, at))
            rest = [a for a in argument_value.arrivals if a is not arrival]
            if element:
                self._unmake(name, at, arrival, rest)
            return 1 - len(rest)
        raise LookupError(f"arrival {arrival.id} does not wait")

    def _unmake(self, argument: str, base: Path, arrival: Arrival, rest: list[Arrival]) -> None:
        """A list that waited is under way again, without one of its elements."""
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
        self.dead |= other.dead
        self.skipped |= other.skipped
        self.vacant |= other.vacant
        self.closed |= other.closed
        for slot, marks in other.marks.items():
            self.marks[slot] = marks | self.marks.get(slot, {})
        for slot, plugs in other.deeper.items():
            self.deeper.setdefault(slot, set()).update(plugs)
        for where, entries in other.given.items():
            self.given.setdefault(where, deque()).extend(entries)
        for key, buffers in other.buffers.items():
            self.buffers.setdefault(key, []).extend(buffers)
        for argument, _, argument_value in other.argument_values():
            self.keep(argument, argument_value)

    def arrivals(self) -> Iterator[Arrival]:
        """Every arrival that is still of use here."""
        for _, _, argument_value in self.argument_values():
            yield from argument_value.arrivals
        yield from self.pending()
        for marks in self.marks.values():
            yield from marks.values()
