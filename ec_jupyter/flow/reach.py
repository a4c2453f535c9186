"""What a party's unfinished calls and waiting arrivals can still send, for many questions about one moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ec_jupyter.flow.tag import Path, Tag, path
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug


class Reachability:
    """What may still come in a party, and where; `tokens`: sockets and tags of what is unfinished, or waits.

    They are grouped by socket and depth: a question costs one look-up a group, however many elements are in it.
    """

    def __init__(self, topology: Topology, tokens: Iterable[tuple[int, Tag]]) -> None:
        self._topology = topology
        self._paths: dict[tuple[int, int], set[Path]] = {}
        self._prefixes: dict[tuple[int, int, int], set[Path]] = {}
        for socket, tag in tokens:
            self.add(socket, tag)

    def add(self, socket: int, tag: Tag) -> None:
        """Add a token."""
        group, at = (socket, len(tag)), path(tag)
        self._paths.setdefault(group, set()).add(at)
        for (*known, length), prefixes in self._prefixes.items():
            if tuple(known) == group:
                prefixes.add(at[:length])

    def can_come_by(self, plugs: Iterable[Plug], at: Path, *, element: bool = False) -> bool:
        """Whether something may still come by one of `plugs` at a path; `element`: as one element of a list."""
        wanted = list(plugs)
        return any(self._group(group, plug, at, element) for plug in wanted for group in self._paths)

    def _group(self, group: tuple[int, int], plug: Plug, at: Path, element: bool) -> bool:
        kept = self._topology.ways(*group).get(plug.id)
        if kept is None:
            return False
        length = min(kept[element], len(at))
        return not length or at[:length] in self._cut(group, length)

    def _cut(self, group: tuple[int, int], length: int) -> set[Path]:
        known = self._prefixes.get((*group, length))
        if known is None:
            known = self._prefixes[(*group, length)] = {p[:length] for p in self._paths[group]}
        return known
