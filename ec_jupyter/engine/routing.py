"""Plugs whose fate a worker decides: conditions and maps, where the call itself did not decide them.

A call takes the conditions and maps in force with it and answers them with its result. Where a plug
was changed since, or a generator yields, the value waits as ``routing`` until a worker has looked at it.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ec_jupyter.engine.job import Kept
from ec_jupyter.flow.decision import Source
from ec_jupyter.flow.tag import Tag, deeper, to_text
from ec_jupyter.model import Plug
from ec_jupyter.wire import Call, Outcome, Value, same

if TYPE_CHECKING:
    from ec_jupyter.engine.core import Core

LOOK = pickle.dumps(same)
"""The task of a call that only looks at a value."""

LOOK_NAME = "look"
ELEMENTS = 1 << 20  # deliveries of one yield are numbered from here on: yield * ELEMENTS + element


@dataclass(slots=True)
class Route:
    """A value on its way through a plug: from which call, which of its yields, and its row."""

    arrival: int
    source: Source
    plug: int
    kept: Kept
    at: int | None
    attempt: int = 0
    node: str | None = None

    @property
    def place(self) -> Source:
        """The call, or the element of it, that the value is of."""
        if self.at is None:
            return self.source
        return replace(self.source, tag=deeper(self.source.tag, str(self.source.request), self.at))


class Routing:
    """Values that wait for a worker to look at them.

    Attributes
    ----------
    pending : list of Route
        Those that no agent has yet.
    out : dict of int to Route
        By the number of the look, those that an agent has.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.pending: list[Route] = []
        self.out: dict[int, Route] = {}

    def ask(self, source: Source, plug: Plug, kept: Kept, at: int | None = None) -> None:
        """Let a value wait for a look at it."""
        core = self.core
        route = Route(core.new_arrival(), source, plug.id, kept, at)
        core.journal.add(
            "add_arrival",
            (route.arrival, plug.target, plug.argument, source.party, source.run, to_text(route.place.tag), kept.id,
             source.request, self._number(route, 0), plug.id, None, "routing", None, int(source.late), core.now, None),
        )  # fmt: skip
        self.adopt(route)

    def adopt(self, route: Route) -> None:
        """Take a value that waited before a restart."""
        party = self.core.joins.parties.find(route.source.party)
        if party is not None:
            party.live += 1
        self.pending.append(route)

    def tokens(self, party: int) -> list[tuple[int, Tag]]:
        """Where values of a party stand that are on their way through a plug."""
        return [(route.source.socket, route.place.tag) for route in self.routes if route.source.party == party]

    @property
    def routes(self) -> list[Route]:
        """All values that wait for a look or are being looked at."""
        return [*self.pending, *self.out.values()]

    @property
    def busy(self) -> bool:
        """Whether any value waits for a look."""
        return bool(self.pending or self.out)

    def calls(self) -> dict[str, list[Call]]:
        """Looks to be taken now, by processor."""
        core = self.core
        table: dict[str, list[Call]] = {}
        pending, self.pending = self.pending, []
        for route in pending:
            plug = core.topology.plugs.get(route.plug)
            if plug is None or plug.id not in core.topology.examined:
                self._settle(route, True if plug else None)
                continue
            route.attempt += 1
            self.out[-route.arrival] = route
            socket = core.topology.sockets[route.source.socket]
            call = Call(
                -route.arrival, route.attempt, socket.name, route.source.run, LOOK_NAME,
                [("value", "v", [route.kept.value])], [(plug.id, *core.topology.examined[plug.id])],
            )  # fmt: skip
            table.setdefault(core.topology.processor(route.source.socket).name, []).append(call)
        return table

    def placed(self, request: int, node: str | None) -> None:
        """A look goes to a node, or to none yet."""
        if node is None:
            self.returned(request)
        else:
            self.out[request].node = node

    def node_of(self, request: int) -> str | None:
        """Where a look is taken."""
        route = self.out.get(request)
        return route.node if route is not None else None

    def at(self, node: str) -> list[int]:
        """Looks that are taken on a node."""
        return [request for request, route in self.out.items() if route.node == node]

    def returned(self, request: int, node: str | None = None) -> None:
        """A look was not taken, or was lost with this `node`: ask again."""
        if node in (None, self.node_of(request)) and request in self.out:
            self.pending.append(self.out.pop(request))

    def outcome(self, outcome: Outcome) -> None:
        """A worker has looked: the value goes on, or a mark does."""
        if outcome.value is not None:
            self.core.values.drop_files([outcome.value])
        route = self.out.get(outcome.request)
        if route is None or route.attempt != outcome.attempt:
            return
        del self.out[outcome.request]
        if outcome.state == "failed":
            # its source is done, and what it said elsewhere stands; here it waits for the plug to be changed
            message = (outcome.error or {}).get("message", "")
            self.core.journal.add("add_event", (self.core.now, "routing", str(route.arrival), message))
            return
        self._settle(route, outcome.routed.get(route.plug), outcome.keys.get(route.plug))

    def _settle(self, route: Route, fate: bool | list[Value] | None, keys: list[str] | None = None) -> None:
        core = self.core
        # on disk since the tick that asked; what takes its place is written with the same commit
        core.journal.add("drop_arrival", (route.arrival,))
        plug = core.topology.plugs.get(route.plug)
        if plug is not None and fate is not None:
            self.carry(route, plug, fate, keys)
        core.joins.finished(route.source.party)
        core.touched.add(route.source.party)
        core.absorb()

    def carry(self, route: Route, plug: Plug, fate: bool | list[Value], keys: list[str] | None) -> None:
        """Let a value go on as a worker, or nothing at all, decided."""
        core, place = self.core, route.place
        if fate is False:
            core.joins.dead(place, plug, element=route.at)
        elif isinstance(fate, list):
            split = str(place.request) if route.at is None else f"{place.request}:{route.at}"
            for i, value in enumerate(fate):
                key = keys[i] if keys else None
                core.joins.element(place, plug, core.keep(value), self._number(route, i), i, split, key)
            core.close(place, split, len(fate), [plug])
        else:
            key = keys[0] if keys else None
            core.joins.result(place, plug, route.kept, self._number(route, 0), key=key)

    @staticmethod
    def _number(route: Route, element: int) -> int:
        return element if route.at is None else route.at * ELEMENTS + element
