"""The wiring as an edit that is not sent yet makes it, so that a block can use what it has just made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from ec_jupyter.flow import rows
from ec_jupyter.flow.draft import Draft, Limits
from ec_jupyter.flow.edit import apply
from ec_jupyter.flow.rows import View
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL, Node
from ec_jupyter.nodes.kinds import without_processes

NEW = 1 << 60  # identities of what is not in force yet begin here


class Drafted:
    """What changes make of a wiring, by the rules that the engine goes by.

    How many values wait is not known here: what depends on that is decided where the edit comes into force.
    """

    def __init__(self, base: View) -> None:
        self.base = base  # the wiring as the engine has shown it
        self.applied = 0
        lent = {row["name"]: row["cpus"] for row in base["nodes"] if row["cpus"]}
        limits = Limits(lent.pop(LOCAL, NEW), "", lambda socket: 0, nodes=lent, without_processes=without_processes)
        self._draft = Draft(rows.topology(base), count(NEW).__next__, limits)
        self._seen: tuple[Topology, View] | None = None

    def apply(self, changes: Sequence[dict[str, Any]]) -> None:
        """Make those of `changes` that are new; the first that cannot be is raised."""
        for change in changes[self.applied :]:
            # where its value will be is not known yet
            apply(self._draft, change | {"value_id": 0} if change["op"] == "fix" else change)
            self.applied += 1

    @property
    def view(self) -> View:
        """The wiring as a client would be shown it; rows are made when they are looked at."""
        wiring = self._draft.topology
        if self._seen is None or self._seen[0] is not wiring:
            self._seen = wiring, self._view(wiring)
        return self._seen[1]

    def _view(self, wiring: Topology) -> View:
        nodes = {row["name"]: row for row in self.base["nodes"] if row["name"] in (LOCAL, *wiring.nodes)}
        return {
            "revision": self.base["revision"],
            "processors": {p.name: rows.processor_row(p) for p in wiring.processors.values()},
            "sockets": _Table(wiring.names, lambda n: rows.socket_row(wiring, wiring.sockets[n], "")),
            "plugs": _Plugs(wiring),
            "notes": [{"id": n.id, "text": n.text, "place": list(n.place)} for n in wiring.notes.values()],
            "schedules": [rows.schedule_row(s, wiring.sockets[s.socket].name) for s in wiring.schedules.values()],
            "nodes": [*nodes.values(), *(_node_row(n) for n in wiring.nodes.values() if n.name not in nodes)],
        }


def _node_row(node: Node) -> dict[str, Any]:
    return {"name": node.name, "host": node.host, "cpus": node.cpus or 0, "state": ""}


class _Table(Mapping[str, dict[str, Any]]):
    """Rows by name, each made when it is looked at."""

    def __init__(self, numbers: Mapping[str, int], row: Callable[[int], dict[str, Any]]) -> None:
        self._numbers, self._row = numbers, row

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._row(self._numbers[name])

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class _Plugs(Iterable[dict[str, Any]]):
    """Rows of plugs, oldest first, each made when it is looked at; those not in force have no identity."""

    def __init__(self, wiring: Topology) -> None:
        self._wiring = wiring

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self._row, range(len(self._wiring.live)))

    def __reversed__(self) -> Iterator[dict[str, Any]]:
        return map(self._row, reversed(range(len(self._wiring.live))))

    def _row(self, at: int) -> dict[str, Any]:
        plug, sockets = self._wiring.live[at], self._wiring.sockets
        row = rows.plug_row(plug, sockets[plug.source].name, sockets[plug.target].name)
        return row | {"id": plug.id if plug.id < NEW else None}
