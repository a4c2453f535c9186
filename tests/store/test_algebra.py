"""Whole flows in memory come to what the oracle says, whatever options their sockets, plugs and submits have.

Flows are drawn as for the join table. What a call gives are several outputs, of which each plug picks one. Sockets have
priorities, limits, rates, parts of CPUs, caches; runs have priorities and delays. Meanwhile options are edited, a
schedule ticks, engines end, calls are lost, workers die, and a person retries what has failed or gives it up.
"""

from __future__ import annotations

import inspect
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import ec_jupyter as ec
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job
from ec_jupyter.errors import QueueFullError
from ec_jupyter.flow.tag import path
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug, Socket
from tests.pure.drawing import Case, by_chance, flows
from tests.pure.oracle import Ambiguous, Oracle
from tests.pure.play import Play
from tests.pure.test_join_oracle import search
from tests.store.coreflow import CoreFlow
from tests.store.memoryflow import MemoryEngine, MemoryFlow
from tests.store.rig import agrees

FLOWS = 60
"""Flows that chance draws."""

OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {}, {"priority": 5}, {"priority": -5}, {"rate": "1/s"}, {"rate": None}, {"limit": 1}, {"limit": 2},
    {"limit": None}, {"threads": 0.5}, {"threads": 2}, {"processor": "pool"}, {"processor": "main"}, {"fresh": True},
    {"keep": "forever"}, {"cache": "always"}, {"cache": "always"}, {"cache": None}, {"wait": 1e6}, {"retries": 0},
)  # fmt: skip
TICKER = "ticker"


def tick() -> None:
    """Called by itself."""


class Whole(CoreFlow):
    """A flow in memory as a play sees it."""

    def __init__(self, flow: MemoryFlow) -> None:
        self.flow = flow

    @property
    def core(self) -> Core:  # type: ignore[override]
        return self.flow.client.engine.core  # type: ignore[attr-defined,no-any-return]

    @property
    def topology(self) -> Topology:  # type: ignore[override]
        return self.core.topology


class Algebra(Play):
    """A flow whose calls are run by its engine, to the fates they have.

    Its tasks run in this process: the newest play is theirs.
    """

    newest: Algebra
    times = 2  # how often it begins at each root

    def __init__(self, case: Case, flow: MemoryFlow, seed: int) -> None:
        wiring = case.topology()
        self.generators = {t.identity for t in wiring.tasks.values() if t.generator}
        # a generator has no result to skip
        ends = {
            name: tuple("v" if end == "s" and name in self.generators else end for end in letters)
            for name, letters in case.fates.outcomes.items()
        }
        super().__init__(wiring, replace(case.fates, outcomes=ends), Random(seed), flow=Whole(flow))
        self.flow, self.wiring, self.roots = flow, wiring, case.roots
        self.failures: set[int] = set()
        self.given: dict[int, dict[str, Any]] = {}  # what each call had when it ran last
        self.died: set[int] = set()
        self.ticks = 0
        Algebra.newest = self

    # -- what tasks do -----------------------------------------------------------
    def call(self, name: str, given: dict[str, Any]) -> tuple[int, tuple[int, ...], str]:
        """The request of the call that runs, its path, and what it is to come to."""
        engine = self.flow.client.engine  # type: ignore[attr-defined]
        request = engine.agent._call.request
        job = engine.core.jobs.peek(request)
        at = path(job.tag) if isinstance(job, Job) else ()
        self.given[request] = given
        return request, at, self.fates.outcome(name, at)

    def told(self, request: int, *place: Any) -> tuple[Any, ...]:
        """The value that a call gives: its socket, its path and, of an element, its index."""
        return place

    def come_to(self, name: str, given: dict[str, Any]) -> Any:
        request, at, outcome = self.call(name, given)
        self.fail(request, outcome)
        if outcome == "s":
            return ec.SKIP
        return ec.out(
            whole=self.told(request, name, at),
            each=[self.told(request, name, at, i) for i in range(self.fates.size(name, at))],
        )

    def elements(self, name: str, given: dict[str, Any]) -> Iterator[Any]:
        request, at, outcome = self.call(name, given)
        for i in range(self.fates.size(name, at)):
            yield self.told(request, name, at, i)
        self.fail(request, outcome)

    def fail(self, request: int, outcome: str) -> None:
        if outcome in ("d", "x") or (outcome == "f" and request not in self.failures):
            self.failures.add(request)
            raise ValueError(outcome)

    # -- the flow ------------------------------------------------------------------
    def wire(self) -> None:
        """The drawn flow, its sockets with options."""
        flow = self.flow
        flow.edit({"op": "processor", "name": "pool", "cpus": 2, "weight": self.random.choice([0.25, 1.0, 4.0])})
        for socket in self.wiring.sockets.values():
            self.declare(socket.name, **self.policy(socket))
        for plug in self.wiring.plugs.values():
            source, target = (self.wiring.sockets[end] for end in (plug.source, plug.target))
            options: dict[str, Any] = {"map": plug.map, "gather": plug.gather, "on": plug.on}
            if plug.on == "result" and source.name not in self.generators:
                options["pick"] = each if plug.map else whole
                if plug.when is not None:
                    options["when"] = condition(plug)
            flow.plug(source.name, f"{target.name}.{plug.argument}", **options)
        flow.socket(tick, TICKER)
        flow.edit({"op": "schedule", "socket": TICKER, "every": 3600.0})
        self.pace()

    def declare(self, name: str, **policy: Any) -> None:
        """Declare a socket, again with another option; the task and how it joins stay what they are."""
        signature = self.wiring.tasks[self.wiring.names[name]].signature
        options = self.random.choice(OPTIONS)
        gathers = any(p.gather for p in self.wiring.plugs.values() if self.wiring.sockets[p.target].name == name)
        # an empty list does not tell where it is, so another call may have the same; a generator has no result; a call
        # that is to fail at first does not where it finds what one alike came to later
        whole = not (gathers or name in self.generators or "f" in self.fates.outcomes.get(name, ()))
        refused = set() if whole else {"cache"}
        if self.wiring.sockets[self.wiring.names[name]].join == "latest":
            refused |= {"wait"}
        options = {word: value for word, value in options.items() if word not in refused}
        self.flow.socket(task(name, [p.name for p in signature], name in self.generators), name, **options, **policy)

    def policy(self, socket: Socket) -> dict[str, Any]:
        """How it joins, where that is not by run alone."""
        if socket.join == "run" and not socket.hold:
            return {}
        how = {"key": keyed} if socket.join == "key" else {"join": socket.join}
        return {**how, "on": list(socket.on), "hold": list(socket.hold)}

    def pace(self) -> None:
        self.flow.client.engine.pace = lambda: self.random.random() < 0.5  # type: ignore[attr-defined]

    # -- what happens ----------------------------------------------------------------
    def submit(self) -> dict[int, str]:
        """Begin at each root some times; the root of each request. What a full root refuses has not been."""
        made: dict[int, str] = {}
        for name in self.roots * self.times:
            how: dict[str, Any] = {"priority": self.random.choice([0, 0, 3, -3])}
            if self.random.random() < 0.4:
                how["at"] = time.time() + 3600
            with suppress(QueueFullError):
                made[self.flow.client.submit([(name, {})], **how)[0]] = name
            self.meanwhile()
        return made

    def meanwhile(self) -> None:
        doings = (self.edit, self.edit, self.restart, self.lose, self.die, self.person, self.pause, self.time)
        self.random.choice(doings)()
        agrees(self.simulation.core)

    def edit(self) -> None:
        self.declare(self.random.choice([*self.wiring.names]))

    def restart(self) -> None:
        """The engine ends; nothing is run before the next one is asked for something."""
        client: Any = self.flow.client
        client.engine = MemoryEngine(client.store, lambda: False)
        self.pace()

    def lose(self) -> None:
        """A call comes back that was never begun."""
        engine = self.flow.client.engine  # type: ignore[attr-defined]
        call = engine.agent.lose()
        if call is not None:
            engine.core.give_back([call.request])
            engine.tick()

    def die(self) -> None:
        """A worker dies under a call; one that ends several is not run again."""
        engine = self.flow.client.engine  # type: ignore[attr-defined]
        call = engine.agent.lose()
        if call is not None and (call.request < 0 or call.request in self.died):
            engine.core.give_back([call.request])
        elif call is not None:
            self.died.add(call.request)
            engine.core.died(call.request, call.attempt, "killed by signal 9")
        engine.tick()

    def pause(self) -> None:
        self.flow.ask(self.random.choice(["pause", "resume"]), sockets=[self.random.choice([*self.wiring.names])])

    def time(self) -> None:
        """An hour goes by for schedules."""
        engine = self.flow.client.engine  # type: ignore[attr-defined]
        engine.schedules.due(min(engine.schedules.times.values()))
        engine.tick()
        self.ticks += 1

    def person(self) -> bool:
        """Retry what is to be retried, give up what is to be given up; whether there was something."""
        failed = [c for c in self.simulation.calls.values() if c.state == "failed" and c.socket != TICKER]
        ends = {call.id: self.fates.outcome(call.socket, call.path) for call in failed}
        for request in [request for request, end in ends.items() if end in "fd"]:
            self.flow.ask("retry", ids=[request]) if ends[request] == "f" else self.flow.ask("discard", request=request)
        return any(end in "fd" for end in ends.values())

    def run(self) -> None:
        for _ in range(self.random.randrange(12)):
            self.meanwhile()
        self.flow.ask("resume", sockets=[*self.wiring.names, TICKER])
        self.flow.drained()
        while self.person():
            self.flow.drained()


def whole(given: Any) -> Any:
    return given["whole"]


def each(given: Any) -> Any:
    return given["each"]


def keyed(value: Any) -> int:
    """What values have in common that meet by key: the last of their numbers, by two."""
    return int(value[-1]) % 2


def condition(plug: Plug) -> Callable[[Any], bool]:
    def holds(given: Any) -> bool:
        from tests.store.test_algebra import Algebra

        return Algebra.newest.fates.when(plug, given["whole"][1])

    return holds


def task(name: str, arguments: list[str], generator: bool) -> Callable[..., Any]:
    """A task with these arguments, whose calls come to what the newest play says."""

    def elements(**values: Any) -> Iterator[Any]:
        from tests.store.test_algebra import Algebra

        yield from Algebra.newest.elements(name, values)

    def result(**values: Any) -> Any:
        from tests.store.test_algebra import Algebra

        return Algebra.newest.come_to(name, values)

    made = elements if generator else result
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    made.__signature__ = inspect.Signature([inspect.Parameter(one, kind) for one in arguments])  # type: ignore[attr-defined]
    return made


def drawable(case: Case) -> bool:
    """Whether a flow can be wired so: it has one plug from a socket to an argument."""
    ends = [(p.source, p.target, p.argument, p.on) for p in case.topology().plugs.values()]
    return len(set(ends)) == len(ends)


def comes_to_it(case: Case, seed: int) -> bool:
    """Play a flow to its end and compare; False where the oracle has no answer."""
    if not drawable(case):
        return False
    with tempfile.TemporaryDirectory() as folder:
        play = Algebra(case, MemoryFlow(Path(folder) / "flow"), seed)
        play.wire()
        runs = play.submit()
        parties: dict[int, list[int]] = {}
        for run in runs:
            parties.setdefault(play.simulation.calls[run].party, []).append(run)
        try:
            oracles = [Oracle(play.wiring, play.fates, [runs[run] for run in some]) for some in parties.values()]
        except Ambiguous:
            return False
        play.run()
        for some, oracle in zip(parties.values(), oracles, strict=True):
            assert play.calls(set(some)) == oracle.calls, (case, seed)
            assert play.skips(set(some)) == oracle.skips, (case, seed)
        done = Counter(call.socket for call in play.simulation.calls.values() if call.state == "done")
        assert done[TICKER] == play.ticks
    return True


@pytest.mark.parametrize("seed", range(FLOWS))
def test_options_and_whatever_happens_meanwhile_change_nothing_of_what_a_flow_comes_to(seed: int) -> None:
    comes_to_it(by_chance(seed), seed)


@search
@given(flows(), st.integers(0, 1_000))
def test_no_flow_with_options_is_found_of_which_the_oracle_says_something_else(case: Case, seed: int) -> None:
    assume(comes_to_it(case, seed))
