"""Plug evaluation: workers evaluate conditions, parts, maps and keys of plugs where the call itself did not.

A call takes the conditions, parts and maps in force with it and answers them with its result. Where a plug
was changed since, or a generator yields, the value waits as ``routing`` until a worker has evaluated the plug.

An evaluation that raises, or kills its worker too often, fails the request whose result it is about. The value stays
until that request is run again, which evaluates the plug again, or is given up.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ec_jupyter.engine.failures import MOST_LOSSES
from ec_jupyter.engine.job import Ended, StoredValue, argument_value
from ec_jupyter.engine.side_calls import EVALUATE, CallId
from ec_jupyter.flow.arrival import Source
from ec_jupyter.flow.states import Event, Named
from ec_jupyter.flow.tag import Tag, deeper, to_text
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug, from_json
from ec_jupyter.wire import Call, Fate, Outcome, same

if TYPE_CHECKING:
    from ec_jupyter.engine.core import Core

SAME = pickle.dumps(same)  # the task of a call that only evaluates a plug: it returns the value as it is
EVALUATE_NAME = "evaluate"
ELEMENTS = 1 << 20  # deliveries of one yield are numbered from here on: yield * ELEMENTS + element


@dataclass(slots=True)
class Origin:
    """A request of whose results some are on their way."""

    state: str  # "running" until it has ended, then how it did; "fault": it was done, and then failed by a plug
    routes: int = 0  # how many are on their way
    stuck: list[Route] = field(default_factory=list)  # of those, the ones whose evaluation has failed


@dataclass(slots=True)
class Route:
    """A value on its way through a plug: from which call, which of its yields, and its row."""

    arrival: int
    source: Source
    plug: int
    stored: StoredValue
    at: int | None
    losses: int = 0
    asked: int = 0  # the plug that a worker evaluates
    hops: int = 0  # how many calls led to what comes of it

    @property
    def place(self) -> Source:
        """The call, or the element of it, that the value is of."""
        if self.at is None:
            return self.source
        return replace(self.source, tag=deeper(self.source.tag, str(self.source.request), self.at))


class PlugEvaluation:
    """Values that wait for a worker to evaluate their plug."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.pending: list[Route] = []  # those that no agent has yet
        self.out: dict[int, Route] = {}  # those that an agent has, by arrival
        self.origins: dict[int, Origin] = {}  # the requests whose results they are

    def ask(
        self, source: Source, plug: Plug, stored: StoredValue, at: int | None = None, *, state: str | None = None
    ) -> None:
        """Let a value, or the failure of a request in that `state`, wait until its plug is evaluated."""
        core = self.core
        route = Route(core.new_arrival(), source, plug.id, stored, at, hops=core.hops)
        core.journal.add(
            "add_arrival",
            (route.arrival, plug.target, plug.argument, source.party, source.run, to_text(route.place.tag), stored.id,
             source.request, self._number(route, 0), plug.id, None, "routing", None, int(source.late), core.now, None),
        )  # fmt: skip
        self.adopt(route, state or ("running" if source.request in core.jobs else "done"))

    def adopt(self, route: Route, state: str, *, stuck: bool = False) -> None:
        """Take a value of a request in that `state`; `stuck`: its evaluation failed before a restart."""
        self.core.joins.begun(route.source.party)
        origin = self.origins.setdefault(route.source.request, Origin(state))
        origin.routes += 1
        (origin.stuck if stuck else self.pending).append(route)

    def tokens(self, party: int) -> list[tuple[int, Tag]]:
        """Where values of a party stand that are on their way through a plug."""
        return [(route.source.socket, route.place.tag) for route in self.routes if route.source.party == party]

    @property
    def routes(self) -> list[Route]:
        """All values whose plug waits to be evaluated, is being evaluated, or failed to be."""
        stuck = [route for origin in self.origins.values() for route in origin.stuck]
        return [*self.pending, *self.out.values(), *stuck]

    @property
    def busy(self) -> bool:
        """Whether any value waits for an evaluation."""
        return bool(self.pending or self.out)

    def calls(self) -> dict[str, list[Call]]:
        """Evaluations to start now, by processor."""
        core = self.core
        table: dict[str, list[Call]] = {}
        pending, self.pending = self.pending, []
        for route in pending:
            plug = core.topology.plugs.get(route.plug)
            if plug is None or plug.id not in core.topology.examined:
                self._settle(route, True if plug else None)
                continue
            route.asked = route.plug
            self.out[route.arrival] = route
            evaluation = CallId(EVALUATE, route.arrival)
            attempt = core.side_calls.send(evaluation, partial(self._evaluated, route))
            if attempt is None:
                continue
            socket = core.topology.sockets[route.source.socket]
            how, parts = argument_value("v", [route.stored])
            call = Call.of(
                evaluation.number, attempt, route.source.run, [("value", how, [one.value for one in parts])],
                task=EVALUATE_NAME, socket=socket.name, routes=((plug.id, *core.topology.examined[plug.id]),),
            )  # fmt: skip
            table.setdefault(core.topology.processor(route.source.socket).name, []).append(call)
        return table

    def _evaluated(self, route: Route, outcome: Outcome | None) -> None:
        """The value goes on as a worker says, or a tombstone does, or its request fails; or it is evaluated again."""
        core = self.core
        if outcome is not None and outcome.value is not None:
            core.values.drop_files([outcome.value])
        if self.out.pop(route.arrival, None) is not route:
            # the flow was emptied
            return
        error = outcome.error or {} if outcome is not None else {}
        if outcome is None or route.plug != route.asked:
            # it was not run, or the plug was drawn anew meanwhile
            self.pending.append(route)
        elif error.get("lost") and route.losses < MOST_LOSSES:
            # the file is fetched before another try
            route.losses += 1
            core.miss([error["lost"]])
            self.pending.append(route)
        elif outcome.state == "failed":
            self._fail(route, {"plug": route.plug, **error})
        else:
            self._settle(route, outcome.routed.get(route.plug), outcome.keys.get(route.plug))

    def _settle(self, route: Route, fate: Fate | None, keys: list[str] | None = None) -> None:
        core = self.core
        # on disk since the tick that asked; what takes its place is written with the same commit
        core.journal.add("drop_arrival", (route.arrival,))
        origin = self.origins[route.source.request]
        origin.routes -= 1
        if not origin.routes:
            del self.origins[route.source.request]
        plug = core.topology.plugs.get(route.plug)
        if plug is None or plug not in core.topology.out[plug.source]:
            # it is out of force: once it is back it finds what it has missed since this revision
            core.journal.step("met", (core.topology.revision, route.source.request))
        elif fate is not None:
            self.carry(route, plug, fate, keys)
        core.joins.finished(route.source.party)
        core.touched.add(route.source.party)
        before, core.hops = core.hops, route.hops
        core.absorb()
        core.hops = before

    # -- evaluations that fail -----------------------------------------------
    def _fail(self, route: Route, error: dict[str, Any]) -> None:
        """An evaluation has failed for good: the value stays, and the request fails with the error."""
        core, source = self.core, route.source
        facts = {"traceback": "", "kind": "task", **explained(core, error)}
        origin = self.origins[source.request]
        origin.stuck.append(route)
        core.journal.step("stick_arrival", (route.arrival,))
        core.journal.add("add_event", (core.now, "routing", str(route.arrival), facts.get("message", "")))
        if origin.state == "running":
            core.halt(source.request, facts)
        elif origin.state == "done":
            self.fault(source, facts)

    def fault(self, source: Source, error: dict[str, Any]) -> None:
        """Let a request fail that was done; its result stays, to be evaluated again."""
        core = self.core
        self.origins[source.request].state = "fault"
        text = json.dumps({**error, "ended": True})
        core.journal.step("fail_done", {"error": text, "now": core.now, "request": source.request})
        self.core.joins.begun(source.party)
        self._move(source, "done", "refused")
        core.ended.append(Ended(source.request, source.socket, 0, "failed", None, error, None))

    def ended(self, request: int, state: str) -> None:
        """A request came to its end, or is to run again: ``"running"``."""
        if request in self.origins:
            self.origins[request].state = state

    def again(self, request: int) -> bool:
        """Evaluate again what is stuck of a request that is retried; whether it is done by that, as it was before."""
        stuck, done = self._unstuck(request)
        for route in stuck:
            route.losses = 0
            self.core.side_calls.allow(CallId(EVALUATE, route.arrival))
            # what came of its failure meanwhile is known by this
            route.source = replace(route.source, late=route.source.late or not done)
            self.core.journal.step("free_arrival", (int(route.source.late), route.arrival))
        self.pending += stuck
        if done:
            self._done_again(stuck[0].source)
        return done

    def give_up(self, request: int) -> bool:
        """Send tombstones in place of what is stuck of a request; whether it was done, and is again."""
        stuck, done = self._unstuck(request)
        for route in stuck:
            self._settle(route, False)
        if done:
            self._done_again(stuck[0].source)
        return done

    def _unstuck(self, request: int) -> tuple[list[Route], bool]:
        """Take out what is stuck of a request; and whether the request was done but for that."""
        origin = self.origins.get(request, Origin("done"))
        stuck, origin.stuck = origin.stuck, []
        return stuck, origin.state == "fault"

    def _done_again(self, source: Source) -> None:
        self.ended(source.request, "done")
        self.core.journal.step("done_again", {"request": source.request})
        self._move(source, "failed", "taken after all")
        self.core.joins.finished(source.party)

    def _move(self, source: Source, before: str, event: Event) -> None:
        """A request that had ended is another's again."""
        self.core.states.move(Named(source.request, source.socket, before), event)
        self.core.touched.add(source.party)

    def redrawn(self, old: Topology, new: Topology) -> None:
        """Let values on their way through a plug that was redrawn go through the new one."""
        ends = {(p.source, p.target, p.argument, p.on): p.id for p in new.live}
        gone = {p.id: ends.get((p.source, p.target, p.argument, p.on)) for p in old.live if p.id not in new.plugs}
        for route in self.routes:
            other = gone.get(route.plug)
            if other is None:
                continue
            number = self._number(route, 0)
            asked = {"source": route.source.request, "number": number, "plug": other}
            if self.core.store.one("carried_by", asked) is None:
                route.plug = other
                self.core.journal.step("redraw_arrival", (other, route.arrival))

    def merged(self, party: int, older: int) -> None:
        """A party went into an older one."""
        for route in self.routes:
            if route.source.party == party:
                route.source = replace(route.source, party=older)

    def clear(self) -> None:
        """Forget all of it: the flow is emptied."""
        self.pending.clear()
        self.out.clear()
        self.origins.clear()

    def carry(self, route: Route, plug: Plug, fate: Fate, keys: list[str] | None) -> None:
        """Let a value go on as a worker decided, or as it is where nothing had to be."""
        core, place = self.core, route.place
        if fate is False:
            core.joins.tombstone(place, plug, element=route.at)
        elif isinstance(fate, list):
            split = str(place.request) if route.at is None else f"{place.request}:{route.at}"
            for i, value in enumerate(fate):
                key = keys[i] if keys else None
                core.joins.element(place, plug, core.store_value(value), self._number(route, i), i, split, key)
            core.close(place, split, len(fate), [plug])
        else:
            key, stored = keys[0] if keys else None, route.stored if fate is True else core.store_value(fate)
            core.joins.result(place, plug, stored, self._number(route, 0), key=key)

    @staticmethod
    def _number(route: Route, element: int) -> int:
        return element if route.at is None else route.at * ELEMENTS + element


def explained(core: Core, error: dict[str, Any]) -> dict[str, Any]:
    """The facts of an error, with the plug that it is of as a person writes it: as it was when the call began."""
    number = error.get("plug")
    if number is None:
        return error
    plug, since = core.topology.plugs.get(number), ""
    if plug is None:
        plug = _former(core, number)
        ends = {(p.source, p.target, p.argument) for p in core.topology.live}
        since = " (drawn anew since)" if (plug.source, plug.target, plug.argument) in ends else " (taken away since)"
    label = plug_text(core.topology, plug, error.get("step"))
    return {**error, "message": f"plug {label}{since}: {error.get('message', '')}"}


def _former(core: Core, number: int) -> Plug:
    """A plug that is out of force, as it was last; its sockets stay known."""
    core.journal.commit()
    changes = [change for (text,) in core.store.rows("changes") for change in json.loads(text)]
    records = [r for kind, key, *some in changes if (kind, key) == ("plug", number) for r in some if r is not None]
    plug: Plug = from_json("plug", records[-1])
    return plug


def plug_text(topology: Topology, plug: Plug, step: str | None = None) -> str:
    """A plug as a person writes it, with what a worker does for it; or with that `step` of it alone."""
    sockets = topology.sockets
    key = sockets[plug.target].key
    steps = plug.steps | ({"key": f"key={key.text}"} if key else {})
    said = [text for name, text in steps.items() if step in (None, name)]
    return repr(", ".join([f"{sockets[plug.source].name} -> {sockets[plug.target].name}.{plug.argument}", *said]))
