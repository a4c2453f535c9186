"""What comes to an argument: values, and tombstones that say that no value will come. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ec_jupyter.flow.tag import ROOT, Path, Tag, path, united

ELEMENT = -1
"""`lag` of what comes by a gathering plug: one element of a list."""

NOBODY: frozenset[int] = frozenset()

ANYBODY = 0
"""The request that a value brought by hand stands in for: whichever it is."""

Slot = tuple[str, Path]
"""An argument and the path of its calls; of one element of a list, the argument's name ends in ``[]``."""

_STORED = {"value": "value", "tombstone": "dead", "empty": "vacant"}
_KINDS = {stored: kind for kind, stored in _STORED.items()}


@dataclass(slots=True, eq=False)
class Arrival:
    """One value, or one tombstone, that came to one argument.

    Attributes
    ----------
    id : int
        Identity.
    socket, argument : int, str
        Where it came to.
    party, run, tag : int, int, Tag
        Where it comes from: party, run, and place in the run's splits.
    kind : str
        ``"value"``; ``"tombstone"``: no value will come; ``"empty"``: a tombstone of a split without elements.
    value : object
        What came; opaque here.
    source, index, plug : int or None, int, int or None
        The request, which of its yields (-1 for a tombstone), and the plug it came by; None when supplied by hand.
    lag : int
        How many levels its tag is short of the calls it is for: 0 or more for a tombstone, 0 for a value, and
        `ELEMENT` for one element of a list that a gathering plug makes.
    silent : bool
        Of a tombstone: what it skips leaves no request.
    state : str
        ``"waiting"``, ``"shared"`` (used, and may be again by other elements), ``"used"``,
        ``"decided"`` (a tombstone that took effect), ``"dropped"`` (its join was skipped, or a value made a
        tombstone void), ``"held"`` (used, and may be again by any later call), ``"superseded"``, ``"discarded"``,
        ``"left"`` (discarded with its run), ``"routing"`` (a worker has yet to evaluate its plug).
    request : int or None
        The call that took it.
    late : bool
        From a request that had failed for good and was retried since, or from a call that such a result led to.
    key : object
        Of a value for a join by key: its key.
    late_of, rescue_of : frozenset of int
        The failed requests whose late success it came of, and those whose failure; not stored, because they follow
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
    def element(self) -> bool:
        """Whether it is for one element of a list."""
        return self.lag == ELEMENT and bool(self.tag)

    @property
    def slot(self) -> Slot:
        """The argument and path it is for."""
        where = path(self.tag)
        return (self.argument + "[]", where) if where and self.lag == ELEMENT else (self.argument, where)


def to_column(arrival: Arrival) -> str | None:
    """What the store's column ``mark`` says of an arrival; None of a plain value.

    Kind, lag, and ``s`` where it is silent. The column has a tombstone as ``dead`` and an empty split as ``vacant``.
    """
    if arrival.kind == "value" and not arrival.lag:
        return None
    return f"{_STORED[arrival.kind]}+{arrival.lag}{'s' if arrival.silent else ''}"


def from_column(mark: str | None) -> tuple[str, int, bool]:
    """Kind, lag and silence of an arrival whose column ``mark`` `to_column` wrote."""
    if mark is None:
        return "value", 0, False
    stored, _, rest = mark.partition("+")
    return _KINDS[stored], int(rest.rstrip("s")), rest.endswith("s")


@dataclass(slots=True, eq=False)
class ArgumentValue:
    """What one argument of one call gets: a value, or the list of the elements that were gathered for it.

    It counts as waiting in its party until its first use. An empty list stands for the tombstone that made it.
    """

    tag: Tag
    arrivals: list[Arrival]
    gathered: bool = False
    counted: bool = True
    tombstone: Arrival | None = None


@dataclass(slots=True, eq=False)
class GatherBuffer:
    """Elements of one split on their way into one list.

    Attributes
    ----------
    items : dict of int to deque of Arrival
        By index, those that are in no list yet; a second one of an index is for the next list.
    left_out : dict of int to Arrival
        By index, the tombstones of elements that are left out.
    splits : set of str
        The splits they belong to.
    made : bool
        A list was made of it.
    """

    items: dict[int, deque[Arrival]] = field(default_factory=dict)
    left_out: dict[int, Arrival] = field(default_factory=dict)
    splits: set[str] = field(default_factory=set)
    made: bool = False

    def add(self, arrival: Arrival) -> None:
        """Take in an element, or its tombstone."""
        splits, index = arrival.tag[-1]
        self.splits.update(splits)
        if arrival.kind == "value":
            self.items.setdefault(index, deque()).append(arrival)
        else:
            self.left_out.setdefault(index, arrival)

    def forget(self, arrival: int) -> Arrival | None:
        """Leave an element out; None if it is not here."""
        for index, queue in self.items.items():
            for mine in queue:
                if mine.id == arrival:
                    queue.remove(mine)
                    if not queue:
                        del self.items[index]
                        self.left_out.setdefault(index, mine)
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
