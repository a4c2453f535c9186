"""Lists that lack elements: which elements, and whether these still come by themselves. Read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.store import id_list
from ec_jupyter.errors import ArgumentsError, RequestNotFoundError
from ec_jupyter.flow.arrival import GatherBuffer
from ec_jupyter.flow.join import JoinTable
from ec_jupyter.flow.join_state import JoinState
from ec_jupyter.flow.party import Party
from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.tag import Path, Tag, from_text, path
from ec_jupyter.model import Plug

Lost = dict[tuple[int, str, Path], dict[int, Tag]]
"""By socket, argument and path of a list: tags of the elements that failed calls should have brought."""


@dataclass(frozen=True)
class Gap:
    """The elements that one incomplete list lacks.

    Attributes
    ----------
    argument : str
        Argument that the list is for.
    lead : Tag
        Where the list stands.
    splits : frozenset of str
        Splits whose elements it gathers.
    missing : tuple of int
        Elements that it lacks, as far as they are known.
    lost : frozenset of int
        Of those, the ones that do not come by themselves.
    begun : bool
        Some of its elements are there.
    stranded : bool
        It lacks what no call can bring any more, a failed one that is run again included.
    """

    argument: str
    lead: Tag
    splits: frozenset[str]
    missing: tuple[int, ...]
    lost: frozenset[int]
    begun: bool
    stranded: bool

    def tag(self, index: int) -> Tag:
        """Tag of one element."""
        return (*self.lead, (tuple(sorted(self.splits)), index))


class Gaps:
    """The lists of a flow that lack elements, as of now.

    Parameters
    ----------
    core : Core
        The flow; all that was decided in it is on disk.
    socket : int, optional
        Where a person looks for one of them.
    """

    def __init__(self, core: Core, socket: int = 0) -> None:
        self._core = core
        self._socket = socket
        self._reachability: dict[int, tuple[Reachability, Reachability]] = {}
        self._lost: dict[int, Lost] = {}

    def sockets(self, party: Party) -> set[int]:
        """Sockets at which lists of a party lack elements of failed calls."""
        return {socket for socket, _, _ in self._lost_of(party)}

    def of(self, party: Party, socket: int) -> list[Gap]:
        """Lists of a party at a socket that lack elements."""
        join = party.joins.get(socket) or JoinState(socket)
        found, failed = [], {key: dict(tags) for key, tags in self._lost_of(party).items() if key[0] == socket}
        for (argument, base), buffers in join.buffers.items():
            tags = failed.get((socket, argument, base), {})
            for buffer in buffers:
                mine = {i: tags.pop(i) for i, tag in list(tags.items()) if not buffer.splits.isdisjoint(tag[-1][0])}
                found.append(self._gap(party, join, argument, base, buffer, mine))
        for (_, argument, base), tags in failed.items():
            if tags:
                buffer = GatherBuffer(splits={split for tag in tags.values() for split in tag[-1][0]})
                found.append(self._gap(party, join, argument, base, buffer, tags))
        # nothing is said of a list whose elements are on their way
        return [gap for gap in found if gap.begun or (gap.missing and (gap.lost or gap.stranded))]

    def _gap(
        self, party: Party, join: JoinState, argument: str, base: Path, buffer: GatherBuffer, tags: dict[int, Tag]
    ) -> Gap:
        plugs = [p for p in self._core.topology.into.get((join.socket, argument), ()) if p.gather]
        known = join.lacking(argument, base, buffer.splits, party.fans)
        missing = set() if buffer.made else tags.keys() if known is None else known
        ever, by_itself = self._stands(party)
        members = [*(queue[0].tag for queue in buffer.items.values()), *(a.tag for a in buffer.left_out.values())]
        return Gap(
            argument,
            next((tag[:-1] for tag in [*members, *tags.values()]), ()),
            frozenset(buffer.splits),
            tuple(sorted(missing)),
            frozenset(i for i in missing if not by_itself.can_come_by(plugs, (*base, i), element=True)),
            bool(buffer.items),
            not ever.can_come_by(plugs, base)
            if known is None
            else any(not ever.can_come_by(plugs, (*base, i), element=True) for i in missing),
        )

    # -- what a person names ---------------------------------------------------
    def _found(self, parties: Iterable[Party], name: str, base: Path) -> Iterator[tuple[Party, Gap]]:
        for party in parties:
            for gap in self.of(party, self._socket):
                if gap.argument == name and path(gap.lead) == base:
                    yield party, gap

    def element(self, parties: list[Party], name: str, at: Path, item: Path) -> tuple[Party, Tag] | None:
        """Where an element belongs that a list lacks: the one `at` a path, or the first that `item`'s list does."""
        for party, gap in self._found(parties, name, (at or item)[:-1]) if at or item else ():
            index = at[-1] if at else min(gap.missing, default=-1)
            if index in gap.missing:
                return party, gap.tag(index)
        return None

    def absent(self, parties: list[Party], name: str, at: Path) -> tuple[Party, Tag]:
        """The place of an element that is to be left out.

        Raises
        ------
        RequestNotFoundError
            No list lacks it.
        ArgumentsError
            It still comes by itself.
        """
        what = f"element {at[-1]} of {self._core.topology.sockets[self._socket].name}.{name}"
        found = [(p, gap) for p, gap in self._found(parties, name, at[:-1]) if at[-1] in gap.missing]
        if not found:
            raise RequestNotFoundError(f"no list that waits lacks {what}")
        for party, gap in found:
            if at[-1] in gap.lost:
                return party, gap.tag(at[-1])
        raise ArgumentsError(f"{what} is on its way; cancel the call that makes it first")

    def empty(self, parties: list[Party], name: str, base: Path) -> tuple[Party, Tag]:
        """The place of a list of which nothing has arrived.

        Raises
        ------
        RequestNotFoundError
            None is awaited there.
        """
        for party, gap in self._found(parties, name, base):
            if not gap.begun:
                return party, gap.lead
        name = f"{self._core.topology.sockets[self._socket].name}.{name}"
        raise RequestNotFoundError(f"no list of which nothing has come is awaited at {name}")

    # -- where calls stand -----------------------------------------------------
    @cached_property
    def _plugs(self) -> list[Plug]:
        return [p for p in self._core.topology.live if p.gather]

    @cached_property
    def _failed(self) -> dict[int, list[tuple[int, Tag]]]:
        """Calls that failed or were cancelled on the way to a list, by party."""
        topology, found = self._core.topology, defaultdict(list)
        sources = {p.source for p in self._plugs}
        ahead = [s for s in topology.sockets if s in sources or any(topology.leads(s, source) for source in sources)]
        for party, socket, tag in self._core.store.rows("failed_of", (id_list(ahead),)) if ahead else ():
            found[party].append((socket, from_text(tag)))
        return found

    def _stands(self, party: Party) -> tuple[Reachability, Reachability]:
        """Where a party stands: with all its unfinished calls, and with those that go on by themselves."""
        if party.id not in self._reachability:
            core = self._core
            rows = [(s, from_text(t), state) for s, t, state in core.store.rows("unfinished_of_party", (party.id,))]
            more = core.evaluation.tokens(party.id)
            more += [(a.socket, a.tag[:-1] if a.slot[0].endswith("[]") else a.tag) for a in JoinTable.waiting(party)]
            ever = [(s, tag) for s, tag, _ in rows]
            on = [(s, tag) for s, tag, state in rows if state not in ("failed", "cancelled")]
            self._reachability[party.id] = (
                Reachability(core.topology, ever + more),
                Reachability(core.topology, on + more),
            )
        return self._reachability[party.id]

    def _lost_of(self, party: Party) -> Lost:
        if party.id not in self._lost:
            failed = self._failed.get(party.id, [])
            self._lost[party.id] = self._find_lost(party, failed) if failed else {}
        return self._lost[party.id]

    def _find_lost(self, party: Party, failed: list[tuple[int, Tag]]) -> Lost:
        found: Lost = {}
        _, reachability = self._stands(party)
        for plug in self._plugs:
            for base, tags in self._core.joins.tombstones.lost_elements(party, plug, reachability, failed).items():
                open_ = {i: tag for i, tag in tags.items() if not self._decided(party, plug, base, i)}
                if open_:
                    found.setdefault((plug.target, plug.argument, base), {}).update(open_)
        return found

    @staticmethod
    def _decided(party: Party, plug: Plug, base: Path, index: int) -> bool:
        """Whether an element has arrived, or never will, or its list is gone."""
        join = party.joins.get(plug.target)
        if join is None:
            return False
        slot = (plug.argument + "[]", (*base, index))
        return (
            slot in join.seen
            or slot in join.absent
            or join.is_skipped(base)
            or join.is_absent(plug.argument, base)
            or any(b.made for b in join.buffers.get((plug.argument, base), ()))
        )
