"""Lists that lack elements: which elements, and whether these still come by themselves. Read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.rows import id_list
from ec_jupyter.errors import ArgumentsError, RequestNotFoundError
from ec_jupyter.flow.reach import Reachability
from ec_jupyter.flow.standing import Gathering
from ec_jupyter.flow.tag import Path, Tag, from_text, path
from ec_jupyter.model import Plug

# by socket, argument and path of a list: tags of the elements that failed calls should have brought
Lost = dict[tuple[int, str, Path], dict[int, Tag]]


@dataclass(frozen=True)
class Gap:
    """The elements that one incomplete list lacks."""

    argument: str
    lead: Tag  # where the list stands
    splits: frozenset[str]  # splits whose elements it gathers
    missing: tuple[int, ...]  # elements that it lacks, as far as they are known
    lost: frozenset[int]  # of those, the ones that do not come by themselves
    begun: bool  # some of its elements are there
    stranded: bool  # it lacks what no call can bring any more, a failed one that is run again included

    def tag(self, index: int) -> Tag:
        """Tag of one element."""
        return (*self.lead, (tuple(sorted(self.splits)), index))


class Gaps:
    """The lists of a flow that lack elements, as of now."""

    def __init__(self, core: Core, socket: int = 0) -> None:
        self._core = core  # the flow; all that was decided in it is on disk
        self._socket = socket  # where a person looks for one of them
        self._reachability: dict[int, tuple[Reachability, Reachability]] = {}
        self._lost: dict[int, Lost] = {}

    def sockets(self, party: int) -> set[int]:
        """Sockets at which lists of a party lack elements of failed calls."""
        return {socket for socket, _, _ in self._lost_of(party)}

    def of(self, party: int, socket: int) -> list[Gap]:
        """Lists of a party at a socket that lack elements."""
        standing = self._core.joins.standing
        found, failed = [], {key: dict(tags) for key, tags in self._lost_of(party).items() if key[0] == socket}
        for some in standing.lists(party, socket):
            tags = failed.get((socket, some.argument, some.base), {})
            mine = {i: tags.pop(i) for i, tag in list(tags.items()) if not some.splits.isdisjoint(tag[-1][0])}
            found.append(self._gap(party, socket, some, mine))
        for (_, argument, base), tags in failed.items():
            if tags:
                splits = {split for tag in tags.values() for split in tag[-1][0]}
                found.append(self._gap(party, socket, standing.awaited(party, socket, argument, base, splits), tags))
        # nothing is said of a list whose elements are on their way
        return [gap for gap in found if gap.begun or (gap.missing and (gap.lost or gap.stranded))]

    def _gap(self, party: int, socket: int, some: Gathering, tags: dict[int, Tag]) -> Gap:
        plugs = [p for p in self._core.topology.into.get((socket, some.argument), ()) if p.gather]
        base, known = some.base, some.lacking
        missing = set() if some.made else tags.keys() if known is None else known
        ever, by_itself = self.stands(party)
        return Gap(
            some.argument,
            next((tag[:-1] for tag in [*some.tags, *tags.values()]), ()),
            some.splits,
            tuple(sorted(missing)),
            frozenset(i for i in missing if not by_itself.can_come_by(plugs, (*base, i), element=True)),
            some.begun,
            not ever.can_come_by(plugs, base)
            if known is None
            else any(not ever.can_come_by(plugs, (*base, i), element=True) for i in missing),
        )

    # -- what a person names ---------------------------------------------------
    def _found(self, parties: Iterable[int], name: str, base: Path) -> Iterator[tuple[int, Gap]]:
        for party in parties:
            for gap in self.of(party, self._socket):
                if gap.argument == name and path(gap.lead) == base:
                    yield party, gap

    def element(self, parties: list[int], name: str, at: Path, item: Path) -> tuple[int, Tag] | None:
        """Where an element belongs that a list lacks: the one `at` a path, or the first that `item`'s list does."""
        for party, gap in self._found(parties, name, (at or item)[:-1]) if at or item else ():
            index = at[-1] if at else min(gap.missing, default=-1)
            if index in gap.missing:
                return party, gap.tag(index)
        return None

    def absent(self, parties: list[int], name: str, at: Path) -> tuple[int, Tag]:
        """The place of an element that is to be left out: one that a list lacks, and that does not come by itself."""
        what = f"element {at[-1]} of {self._core.topology.sockets[self._socket].name}.{name}"
        found = [(p, gap) for p, gap in self._found(parties, name, at[:-1]) if at[-1] in gap.missing]
        if not found:
            raise RequestNotFoundError(f"no list that waits lacks {what}")
        for party, gap in found:
            if at[-1] in gap.lost:
                return party, gap.tag(at[-1])
        raise ArgumentsError(f"{what} is on its way; cancel the call that makes it first")

    def empty(self, parties: list[int], name: str, base: Path) -> tuple[int, Tag]:
        """The place of a list of which nothing has arrived. Raises RequestNotFoundError: none is awaited there."""
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

    def stands(self, party: int) -> tuple[Reachability, Reachability]:
        """Where a party stands: with all its unfinished calls, and with those that go on by themselves."""
        if party not in self._reachability:
            core = self._core
            rows = [(s, from_text(t), state) for s, t, state in core.store.rows("unfinished_of_party", (party,))]
            more = core.evaluation.tokens(party) + core.joins.standing.tokens(party)
            ever = [(s, tag) for s, tag, _ in rows]
            on = [(s, tag) for s, tag, state in rows if state not in ("failed", "cancelled")]
            self._reachability[party] = (
                Reachability(core.topology, ever + more),
                Reachability(core.topology, on + more),
            )
        return self._reachability[party]

    def _lost_of(self, party: int) -> Lost:
        if party not in self._lost:
            failed = self._failed.get(party, [])
            self._lost[party] = self._find_lost(party, failed) if failed else {}
        return self._lost[party]

    def _find_lost(self, party: int, failed: list[tuple[int, Tag]]) -> Lost:
        found: Lost = {}
        _, reachability = self.stands(party)
        for plug in self._plugs:
            for base, tags in self._core.joins.standing.lost(party, plug, reachability, failed).items():
                found.setdefault((plug.target, plug.argument, base), {}).update(tags)
        return found
