"""What one party has brought to one socket, and which calls that makes. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ec_jupyter.flow.tag import Path, Tag, path


@dataclass(slots=True)
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
        The request, which of its yields, and the plug it came by; None when supplied by hand.
    lag : int
        Of a mark: how many levels its tag is short of the calls it stands for.
    silent : bool
        Of a mark: what it skips leaves no request.
    state : str
        ``"waiting"``, ``"shared"`` (used, and may be again by other elements), ``"used"``,
        ``"decided"`` (a mark that took effect), ``"dropped"`` (its join was skipped, or a value made a mark
        void), ``"superseded"``, ``"discarded"``, ``"left"`` (discarded with its run), ``"routing"`` (a worker has
        yet to evaluate its plug).
    request : int or None
        The call that took it.
    late : bool
        From a request that had failed for good and was retried since.
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


@dataclass(slots=True)
class Parcel:
    """What one argument of one call gets: a value, or the elements that were gathered for it.

    It counts among what waits in its party until its first use.
    """

    tag: Tag
    arrivals: list[Arrival]
    gathered: bool = False
    counted: bool = True


@dataclass(slots=True)
class Bundle:
    """Elements of one split on their way into one list."""

    items: dict[int, Arrival] = field(default_factory=dict)
    dead: dict[int, Arrival] = field(default_factory=dict)
    splits: set[str] = field(default_factory=set)
    done: bool = False

    def complete(self, fans: dict[str, int]) -> int | None:
        """How many elements there are, once all of them are in."""
        if self.done or not self.splits or any(split not in fans for split in self.splits):
            return None
        n = min(fans[split] for split in self.splits)
        return n if all(i in self.items or i in self.dead for i in range(n)) else None


Slot = tuple[str, Path]
"""An argument and the element it is for."""


@dataclass(slots=True)
class Meeting:
    """The arrivals of one party at one socket.

    Attributes
    ----------
    waits : dict
        Per argument and path, the parcels that wait, oldest first.
    seen : set of Slot
        Where a value has come, whatever became of it.
    marks : dict
        Per slot, the marks of plugs that will send nothing there, not yet decided.
    dead : set of Slot
        Where nothing will come.
    skipped : set of Path
        Calls that will never be.
    bundles : dict
        Per slot, the gather under way.
    given : dict of Path to deque of (int, int)
        Requests (and their runs) that were submitted with arguments missing, or put back by a new signature.
    """

    socket: int
    waits: dict[str, dict[Path, deque[Parcel]]] = field(default_factory=dict)
    seen: set[Slot] = field(default_factory=set)
    marks: dict[Slot, list[Arrival]] = field(default_factory=dict)
    dead: set[Slot] = field(default_factory=set)
    skipped: set[Path] = field(default_factory=set)
    bundles: dict[Slot, Bundle] = field(default_factory=dict)
    given: dict[Path, deque[tuple[int, int]]] = field(default_factory=dict)

    def keep(self, argument: str, parcel: Parcel) -> None:
        """Let a parcel wait for company."""
        where = path(parcel.tag)
        self.waits.setdefault(argument, {}).setdefault(where, deque()).append(parcel)
        self.seen.add((argument, where))

    def find(self, argument: str, at: Path) -> Parcel | None:
        """The parcel for a call at `at`: its own, or the nearest from before a split."""
        here = self.waits.get(argument)
        if not here:
            return None
        for depth in range(len(at), -1, -1):
            queue = here.get(at[:depth])
            if queue:
                return queue[0]
        return None

    def is_dead(self, argument: str, at: Path) -> bool:
        """Whether nothing will come to an argument of a call at `at`."""
        return bool(self.dead) and any((argument, at[:depth]) in self.dead for depth in range(len(at) + 1))

    def candidates(self, at: Path) -> list[Path]:
        """Calls that a parcel at `at` may complete: its own, and those of deeper elements that wait."""
        depth = len(at)
        below = {p for here in self.waits.values() for p, q in here.items() if q and len(p) > depth and p[:depth] == at}
        return [at, *sorted(below)] if below else [at]

    def paths(self) -> list[Path]:
        """Every element for which something waits."""
        return sorted({p for here in self.waits.values() for p, queue in here.items() if queue})

    def take(self, parcels: dict[str, Parcel], at: Path) -> None:
        """Use up what is this call's own; what is from before a split stays for the other elements."""
        for argument, parcel in parcels.items():
            where = path(parcel.tag)
            if where == at:
                queue = self.waits[argument][where]
                queue.popleft()
                if not queue:
                    del self.waits[argument][where]
