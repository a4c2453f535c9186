"""One revision of a flow's wiring, and what follows from it.

Pure and immutable: an edit makes a new `Topology`, so nobody ever reads half of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from ec_jupyter.flow.graph import led_to, tied
from ec_jupyter.flow.kept import Cached, Keep, cached
from ec_jupyter.flow.rate import per_second
from ec_jupyter.model import MAIN, Node, Note, Plug, Processor, Schedule, Socket, Task

Key = tuple[int, str]  # one argument of one socket
Root = tuple[int, frozenset[str] | None]
"""Where a run begins: a socket, and the arguments given if the others are to come by plugs."""

Examined = tuple[str | None, str | None, bool, str | None]
"""What a worker evaluates of a plug: hash of its condition, whether it splits, hash of its key function."""

MOST_HOPS = 10_000  # so many calls in a row may lead to one in a cycle, unless one of its plugs says otherwise
DEEPEST = 64  # how many nested splits are counted; only a map in a cycle has more


@dataclass(frozen=True)
class Topology:
    """Sockets, plugs and processors at one revision."""

    revision: int = 0  # number of the last edit
    # sockets, plugs, processors, tasks, nodes, notes, schedules: records by id (processors and nodes by name)
    sockets: dict[int, Socket] = field(default_factory=dict)
    plugs: dict[int, Plug] = field(default_factory=dict)
    processors: dict[str, Processor] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    notes: dict[int, Note] = field(default_factory=dict)
    schedules: dict[int, Schedule] = field(default_factory=dict)

    @cached_property
    def names(self) -> dict[str, int]:
        """Ids of the sockets that are not parked, by name."""
        return {s.name: s.id for s in self.sockets.values() if not s.parked}

    @cached_property
    def groups(self) -> dict[str, list[Socket]]:
        """Sockets by the name of their group; of those that are in one."""
        found: dict[str, list[Socket]] = {}
        for socket in self.sockets.values():
            if socket.group is not None and not socket.parked:
                found.setdefault(socket.group, []).append(socket)
        return found

    def task(self, socket: int) -> Task:
        """The current version of a socket's task."""
        return self.tasks[self.sockets[socket].task]

    def processor(self, socket: int) -> Processor:
        """The processor that runs a socket's calls; `main` if that of a removed socket is gone."""
        found = self.processors.get(self.sockets[socket].processor) or self.processors.get(MAIN)
        return found or Processor(MAIN)

    @cached_property
    def unworked(self) -> dict[int, dict[str, Any]]:
        """What sockets wait for whose calls no worker runs: an answer, or a time."""
        found = {s.id: self.tasks[s.task].ask for s in self.sockets.values() if not s.parked}
        return {socket: ask for socket, ask in found.items() if ask}

    @cached_property
    def asking(self) -> dict[int, dict[str, Any]]:
        """What sockets ask a person; of those that do."""
        return {socket: ask for socket, ask in self.unworked.items() if "prompt" in ask}

    @cached_property
    def sleeping(self) -> dict[int, float]:
        """For how many seconds calls of sockets wait; of those that sleep."""
        return {socket: float(ask["sleep"]) for socket, ask in self.unworked.items() if "sleep" in ask}

    @cached_property
    def priorities(self) -> dict[int, int]:
        """Priorities of sockets; of those that have one."""
        return {s.id: s.priority for s in self.sockets.values() if s.priority}

    @cached_property
    def overlapping(self) -> dict[int, float]:
        """Which part of a place in a worker a call of a socket takes; of those whose calls share one."""
        return {s.id: 1 / s.concurrent for s in self.sockets.values() if s.concurrent > 1}

    @cached_property
    def callbacks(self) -> dict[int, str]:
        """Addresses that are told of each end of a socket's requests; of those that have one."""
        return {s.id: s.callback for s in self.sockets.values() if s.callback}

    @cached_property
    def keeps(self) -> dict[int, Keep]:
        """How long runs stay that begin at a socket; of those that say so."""
        return {s.id: Keep.of(s.keep) for s in self.sockets.values() if s.keep}

    @cached_property
    def rates(self) -> dict[int, float]:
        """How many calls of a socket may start in a second; of those where that is bounded."""
        return {s.id: per_second(s.rate) for s in self.sockets.values() if s.rate}

    @cached_property
    def cached(self) -> dict[int, Cached]:
        """Which results of sockets are used again; of those of which any are."""
        found = {s.id: cached(s, self.tasks[s.task], self._nodes(s)) for s in self.sockets.values() if s.cache}
        return {socket: kept for socket, kept in found.items() if kept is not None}

    def kept(self, socket: int) -> list[Cached]:
        """Which results of a socket may have been kept, of any version of its task."""
        record = self.sockets[socket]
        found = [cached(record, task, self._nodes(record)) for task in self.tasks.values() if task.socket == socket]
        return [kept for kept in found if kept is not None]

    def _nodes(self, socket: Socket) -> list[Node]:
        return [self.nodes[name] for name in self.processor(socket.id).nodes if name in self.nodes]

    @cached_property
    def live(self) -> list[Plug]:
        """Plugs in force: both ends are there."""
        there = {s.id for s in self.sockets.values() if not s.parked}
        return [p for p in sorted(self.plugs.values(), key=lambda p: p.id) if p.source in there and p.target in there]

    @cached_property
    def out(self) -> dict[int, list[Plug]]:
        """Plugs that leave each socket, oldest first."""
        table: dict[int, list[Plug]] = {s: [] for s in self.sockets}
        for plug in self.live:
            table[plug.source].append(plug)
        return table

    @cached_property
    def results(self) -> dict[int, list[Plug]]:
        """Of those, the ones that carry results."""
        return {s: [p for p in plugs if p.on == "result"] for s, plugs in self.out.items()}

    @cached_property
    def errors(self) -> dict[int, list[Plug]]:
        """Of those, the ones that carry failures."""
        return {s: [p for p in plugs if p.on == "error"] for s, plugs in self.out.items()}

    @cached_property
    def into(self) -> dict[Key, list[Plug]]:
        """Plugs that feed each argument."""
        table: dict[Key, list[Plug]] = {}
        for plug in self.live:
            table.setdefault((plug.target, plug.argument), []).append(plug)
        return table

    @cached_property
    def needed(self) -> dict[int, tuple[str, ...]]:
        """Arguments a join of each socket waits for: plugged, or without a default and not fixed."""
        return {socket: self.needs(socket) for socket in self.sockets}

    def needs(self, socket: int) -> tuple[str, ...]:
        """The same of one socket."""
        task = self.task(socket)
        lacking = task.lacking(self.sockets[socket].fixed)
        return tuple([name for name in task.arguments if name in lacking or (socket, name) in self.into])

    @cached_property
    def run_independent(self) -> frozenset[Key]:
        """Arguments whose values are matched regardless of run: those of joins by zip, latest or key, and held ones.

        A value that comes there leaves its run; a call that such a join makes begins a new run.
        """
        return frozenset(
            (s.id, p.name)
            for s in self.sockets.values()
            for p in self.task(s.id).signature
            if s.join != "run" or p.name in s.hold
        )

    @cached_property
    def within(self) -> dict[int, list[Plug]]:
        """Plugs that leave each socket and stay in the run."""
        if not self.run_independent:
            return self.out
        return {
            s: [p for p in plugs if (p.target, p.argument) not in self.run_independent] for s, plugs in self.out.items()
        }

    @cached_property
    def matched(self) -> dict[int, tuple[str, ...]]:
        """Of the arguments a join waits for, those that are not held."""
        held = {s.id: s.hold for s in self.sockets.values()}
        return {socket: tuple(n for n in names if n not in held[socket]) for socket, names in self.needed.items()}

    @cached_property
    def open_joins(self) -> dict[int, tuple[str, ...]]:
        """The same of the sockets that are not parked."""
        return {socket: names for socket, names in self.matched.items() if not self.sockets[socket].parked}

    @cached_property
    def held(self) -> dict[int, tuple[str, ...]]:
        """Of the arguments a join waits for, those that are held; for sockets that have some."""
        return {
            socket: tuple(n for n in names if n in self.sockets[socket].hold)
            for socket, names in self.needed.items()
            if self.sockets[socket].hold
        }

    @cached_property
    def examined(self) -> dict[int, Examined]:
        """Plugs for which a worker has to evaluate the result: by condition, part, map, or key."""
        table: dict[int, Examined] = {}
        for plug in self.live:
            key = self.sockets[plug.target].key
            if plug.map or plug.when or plug.pick or key:
                when, pick, named = (one.sha256 if one else None for one in (plug.when, plug.pick, key))
                table[plug.id] = (when, pick, plug.map, named)
        return table

    def by_run(self, socket: int) -> bool:
        """Whether arrivals at a socket are matched by their runs."""
        return self.sockets[socket].join == "run"

    @cached_property
    def repeats(self) -> frozenset[int]:
        """Sockets that one element may call more than once: behind an argument with several plugs, or in a cycle."""
        several = {key[0] for key, plugs in self.into.items() if len(plugs) > 1 and key not in self.run_independent}
        seeds = several | {s for s in self.sockets if any(socket == s for socket, _ in self._reach[s])}
        return frozenset(seeds | {s for seed in seeds if seed in self._reach for s, _ in self._reach[seed]})

    @cached_property
    def simple(self) -> frozenset[int]:
        """Plugs each of whose arrivals makes a call at once: nothing else ever comes to their target.

        A plug from a socket in `repeats` is not among them: of one element it may carry a value after a tombstone. Nor
        is one that picks a part, which is a value of its own.
        """
        return frozenset(
            p.id
            for p in self.live
            if not p.gather
            and not p.pick
            and (p.target, p.argument) not in self.run_independent
            and not self.sockets[p.target].hold
            and self.needed[p.target] == (p.argument,)
            and len(self.into[p.target, p.argument]) == 1
            and p.source not in self.repeats
        )

    @cached_property
    def ignores_silent(self) -> frozenset[int]:
        """Plugs to the only argument of a socket that feeds no other: a silent tombstone on them changes nothing."""
        return frozenset(
            p.id
            for p in self.live
            if not p.gather and not self.out[p.target] and self.needed[p.target] == (p.argument,)
        )

    @cached_property
    def gathers_done_only(self) -> list[Plug]:
        """Plugs that gather without waiting for failed elements (``gather="done"``)."""
        return [p for p in self.live if p.gather == "done"]

    # -- depth ---------------------------------------------------------------
    @cached_property
    def splitting(self) -> bool:
        """Whether anything in the flow makes elements."""
        return any(p.map or self.task(p.source).generator for p in self.live)

    def _depths(self, roots: frozenset[Root]) -> dict[int, int]:
        inside = {socket for socket, _ in roots} | {socket for socket, _ in self._union(roots)}
        known = dict.fromkeys((s for s in inside if s in self.sockets), 0)
        todo = deque(known)
        while todo:
            socket = todo.popleft()
            for plug in self.within[socket]:
                level = max(0, known[socket] + self.task(socket).generator + plug.map - bool(plug.gather))
                if plug.target in known and known[plug.target] < level <= DEEPEST:
                    known[plug.target] = level
                    todo.append(plug.target)
        return known

    @cached_property
    def depths(self) -> Callable[[frozenset[Root]], dict[int, int]]:
        """How many splits deep the calls of each socket stand in a party with these roots."""
        return cache(self._depths)

    # -- reach ---------------------------------------------------------------
    @cached_property
    def _reach(self) -> dict[int, frozenset[Key]]:
        after = {socket: [p.target for p in plugs] for socket, plugs in self.within.items()}
        within = {socket: {socket} | led_to([socket], after) for socket in self.sockets}
        return {s: frozenset((p.target, p.argument) for t in led for p in self.within[t]) for s, led in within.items()}

    @cached_property
    def rank(self) -> dict[int, int]:
        """A number for each socket, lower than those of all sockets that it can reach (except in cycles)."""
        return {socket: -len(found) for socket, found in self._reach.items()}

    def reach(self, root: Root) -> frozenset[Key]:
        """Arguments that a run from `root` can come to, error plugs included."""
        socket, given = root
        found = self._reach.get(socket, frozenset())
        return found if given is None else found | ({(socket, name) for name in given} - self.run_independent)

    def reaches(self, source: int, target: int) -> bool:
        """Whether something of a run can get from `source` to `target` without leaving the run."""
        return any(socket == target for socket, _ in self._reach[source])

    def leads(self, source: int, target: int) -> bool:
        """Whether any path of plugs leads from `source` to `target`."""
        return target in led_to([source], self._targets)

    # -- cycles --------------------------------------------------------------
    @cached_property
    def cycles(self) -> dict[int, frozenset[int]]:
        """For each socket of a cycle, all those that it leads to and that lead to it: itself among them."""
        inside = {s: [t for t in self._targets[s] if t in self._knot] for s in self._knot}
        after = {socket: led_to([socket], inside) for socket in inside}
        return {s: frozenset(t for t in found if s in after[t]) for s, found in after.items() if s in found}

    @cached_property
    def _knot(self) -> set[int]:
        """Sockets without those that no cycle leads to, and those that lead to none."""
        ends = [(plug.source, plug.target) for plug in self.live]
        return tied(tied(self.sockets, ends), [(target, source) for source, target in ends])

    @cached_property
    def hops(self) -> dict[int, int]:
        """How many calls in a row may lead to a call of a socket; of those in cycles."""
        given = [p for p in self.live if p.hops is not None and p.target in self.cycles.get(p.source, ())]
        return {
            socket: min([p.hops or 0 for p in given if p.source in ring], default=MOST_HOPS)
            for socket, ring in self.cycles.items()
        }

    # -- limits --------------------------------------------------------------
    @cached_property
    def limited(self) -> dict[int, Socket]:
        """Sockets with a limit."""
        return {s.id: s for s in self.sockets.values() if s.limit is not None and not s.parked}

    @cached_property
    def bounded(self) -> dict[int, int]:
        """Limits of those that hold back what feeds them; a socket comes after those that it leads to."""
        some = {socket: s.limit for socket, s in self.limited.items() if s.full == "block" and s.limit is not None}
        return dict(sorted(some.items(), key=lambda item: (len(led_to([item[0]], self._targets)), item[0])))

    @cached_property
    def trimmed(self) -> dict[int, Socket]:
        """Those that let go of what is too much."""
        return {socket: s for socket, s in self.limited.items() if s.full != "block"}

    @cached_property
    def measured(self) -> frozenset[int]:
        """Sockets whose loads say what may start, and what is too much: those with a limit, and all that lead there."""
        return frozenset(self.limited) | led_to(self.bounded, self._sources)

    @cached_property
    def limited_joins(self) -> frozenset[int]:
        """Sockets with a limit at which values wait for company."""
        return frozenset(s for s in self.limited if len(self.matched[s]) > 1 or any(
            plug.id not in self.simple for plug in self.live if plug.target == s
        ))  # fmt: skip

    @cached_property
    def feeding(self) -> dict[int, tuple[int, ...]]:
        """The sockets that feed each of those, without those of its own cycle."""
        return {
            socket: tuple({p.source: None for p in self.live if p.target == socket and p.source not in ring})
            for socket in self.bounded
            for ring in [self.cycles.get(socket, ())]
        }

    @cached_property
    def leading_to(self) -> Callable[[int, str], frozenset[int]]:
        """The sockets from which plugs lead to an argument."""
        return cache(self._leading_to)

    def _leading_to(self, socket: int, name: str) -> frozenset[int]:
        last = [plug.source for plug in self.into.get((socket, name), ())]
        return frozenset(last) | led_to(last, self._sources)

    @cached_property
    def _targets(self) -> dict[int, list[int]]:
        return {socket: [plug.target for plug in plugs] for socket, plugs in self.out.items()}

    @cached_property
    def _sources(self) -> dict[int, list[int]]:
        table: dict[int, list[int]] = {}
        for plug in self.live:
            table.setdefault(plug.target, []).append(plug.source)
        return table

    @cached_property
    def _complex(self) -> frozenset[int]:
        within = (plug for plugs in self.within.values() for plug in plugs)
        knots = {plug.target for plug in within if plug.id not in self.simple}
        return frozenset(s for s in self.sockets if any(socket in knots for socket, _ in self._reach[s]))

    def joins(self, root: Root) -> bool:
        """Whether a run from `root` can come to a socket where arrivals have to be kept."""
        return root[1] is not None or root[0] in self._complex

    def complete(self, roots: Iterable[Root]) -> bool:
        """Whether runs from `roots` bring every argument of every join that they come to."""
        keys = self._union(roots)
        targets = {socket for socket, _ in keys}
        return all((t, name) in keys for t in targets for name in self.matched.get(t, ()))

    def _union(self, roots: Iterable[Root]) -> set[Key]:
        return {key for root in roots for key in self.reach(root)}

    def meet(self, root: Root, roots: Iterable[Root]) -> bool:
        """Whether a run from `root` meets those from `roots` at a join, and nowhere before it.

        They meet at a join when each reaches an argument of it that the other does not; before it
        (its own arguments included) they may have no argument in common.
        """
        mine, theirs = self.reach(root), self._union(roots)
        common = mine & theirs
        for join in {s for s, _ in mine} & {s for s, _ in theirs}:
            ours = {a for s, a in mine if s == join}
            other = {a for s, a in theirs if s == join}
            if not (ours - other and other - ours):
                continue
            if not any(s == join or self.reaches(s, join) for s, _ in common):
                return True
        return False

    # -- what can still come -------------------------------------------------
    @cached_property
    def ways(self) -> Callable[[int, int], dict[int, tuple[int, int]]]:
        """Plugs that a call and its descendants may send by, and how much of the call's path is certain there.

        Takes the call's socket and depth. Gives, by plug, how many of its first indices an arrival keeps in any case;
        and the same for one element, if the plug gathers.
        """
        return cache(self._ways)

    def _ways(self, socket: int, depth: int) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        todo = [(socket, depth, depth)]
        seen = set(todo)
        while todo:
            here, deep, kept = todo.pop()
            for plug in self.within.get(here, ()):
                split = min(deep + self.task(here).generator + plug.map, DEEPEST)
                # a gather forgets the innermost index; what a later map adds is not the call's own
                reached = max(0, split - bool(plug.gather))
                state = (plug.target, reached, min(kept, reached))
                own, element = found.get(plug.id, (depth, depth))
                found[plug.id] = (min(own, state[2]), min(element, kept))
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
        return found
