"""What waits in the joins of a flow, and in which parties: to be shown, or looked up. Read-only; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ec_jupyter.flow.arrival import Arrival
from ec_jupyter.flow.cell import GatherBuffer
from ec_jupyter.flow.party import Parties, Shape
from ec_jupyter.flow.policy import Policies
from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.tag import Path, Tag
from ec_jupyter.flow.tombstones import Tombstones
from ec_jupyter.flow.tree import Tree
from ec_jupyter.model import Plug


class Gathering(NamedTuple):
    """A list that is being gathered, or would be if an element of it came."""

    # argument, base: what it is for, and the path of its call
    argument: str
    base: Path
    splits: frozenset[str]  # splits whose elements it gathers
    tags: tuple[Tag, ...]  # tags of what is there, elements that are left out included
    # begun, made: an element is there; a list was made of such elements before
    begun: bool
    made: bool
    lacking: set[int] | None  # elements that are not there; None while it is not known how many there are


class Standing:
    """What waits in a flow's joins as of now."""

    def __init__(self, parties: Parties, policies: Policies, tombstones: Tombstones) -> None:
        self._parties, self._policies, self._tombstones = parties, policies, tombstones

    # -- parties ---------------------------------------------------------------
    def parties(self) -> list[int]:
        """Parties in which something can still happen, oldest first."""
        return sorted(self._parties.all)

    def shape(self, party: int) -> Shape:
        """Where the runs of a party began."""
        return self._parties.all[party].shape

    def run(self, party: int) -> int:
        """The oldest run that is in a party."""
        return min(self._parties.all[party].runs, default=party)

    def sockets(self, party: int) -> list[int]:
        """Sockets to which something has come in a party."""
        return list(self._parties.all[party].trees)

    def tokens(self, party: int) -> list[tuple[int, Tag]]:
        """Sockets and tags at which something waits in a party that can still be part of a call."""
        return list(self._parties.all[party].tokens())

    # -- what waits ------------------------------------------------------------
    def waiting(self, party: int, socket: int | None = None) -> list[Arrival]:
        """Arrivals of a party (at one socket) that no call has taken, oldest first; none of a party that has ended."""
        record = self._parties.all.get(party)
        found = [a for a in record.waits() if socket in (None, a.socket)] if record else []
        return sorted(found, key=lambda a: a.id)

    def empty_lists(self) -> Iterator[Arrival]:
        """Tombstones of empty lists that no call has taken."""
        for party in self._parties.all.values():
            for tree in party.trees.values():
                values = (value for _, _, value in tree.waiting() if value.counted and not value.arrivals)
                yield from (value.tombstone for value in values if value.tombstone)

    def requests(self, party: int, socket: int) -> dict[Path, int]:
        """By path, the first request that waits at a socket for the arguments that it lacks."""
        tree = self._parties.all[party].trees.get(socket)
        return {node.path: node.partial[0][0] for node in tree.root.full() if node.partial} if tree else {}

    # -- lists -----------------------------------------------------------------
    def lists(self, party: int, socket: int) -> list[Gathering]:
        """Lists of a party that are being gathered at a socket."""
        tree = self._parties.all[party].trees.get(socket)
        lists = tree.lists() if tree is not None else ()
        return [self._gathering(party, socket, argument, node.path, buffer) for argument, node, buffer in lists]

    def awaited(self, party: int, socket: int, argument: str, base: Path, splits: set[str]) -> Gathering:
        """A list of elements of which none has come."""
        return self._gathering(party, socket, argument, base, GatherBuffer(splits=splits))

    def _gathering(self, party: int, socket: int, argument: str, base: Path, buffer: GatherBuffer) -> Gathering:
        record = self._parties.all[party]
        tree = record.trees.get(socket) or Tree(socket)
        return Gathering(
            argument,
            base,
            frozenset(buffer.splits),
            (*(queue[0].tag for queue in buffer.items.values()), *(a.tag for a in buffer.left_out.values())),
            bool(buffer.items),
            buffer.made,
            tree.on(base).cell(argument).lacking(buffer.splits, record.fans),
        )

    def gathers(self, party: int, keys: set[tuple[int, str]]) -> bool:
        """Whether elements of a list for one of these arguments have come, and not all of them."""
        record = self._parties.find(party)
        trees = record.trees.values() if record is not None else ()
        return any((a.socket, a.argument) in keys for tree in trees for a in tree.pending())

    def lost(
        self, party: int, plug: Plug, reachability: Reachability, failed: list[tuple[int, Tag]]
    ) -> dict[Path, dict[int, Tag]]:
        """By list, elements that a gathering plug will not bring because calls have `failed`.

        What has come all the same, or is ruled out, is none of them. `reachability` is that of the calls that go on.
        """
        record = self._parties.all[party]
        found = {}
        for base, tags in self._tombstones.lost_elements(record, plug, reachability, failed).items():
            tree = record.trees.get(plug.target)
            left = {i: tag for i, tag in tags.items() if not (tree and tree.decided(plug.argument, base, i))}
            if left:
                found[base] = left
        return found

    # -- regardless of run -----------------------------------------------------
    def independent(self) -> list[int]:
        """Sockets at which something waits regardless of run."""
        return sorted({arrival.socket for arrival in self._policies.waiting()})

    def rows(self, socket: int) -> list[dict[str, Arrival]]:
        """What waits at such a socket, call by call, as far as it is known what will be one."""
        return self._policies.rows(socket)

    def asked(self, socket: int) -> dict[int, int]:
        """By run, the request that waits at such a socket for the arguments that it lacks."""
        return {run: request for run, (request, _) in self._policies.partial.get(socket, {}).items()}

    def held(self, socket: int) -> set[str]:
        """Held arguments of a socket that have a value."""
        return set(self._policies.calls.held.get(socket, ()))
