"""Values that come to joins, the calls they complete, and the calls that will never be. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ec_jupyter.flow.arrival import ELEMENT, ArgumentValue, Arrival
from ec_jupyter.flow.decision import Decisions, Fire, Skip, Source
from ec_jupyter.flow.join_state import JoinState
from ec_jupyter.flow.party import Parties, Party
from ec_jupyter.flow.tag import ROOT, Path, Tag, path, united
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug

SocketSlot = tuple[int, str, Path]
"""A socket and a slot of it that is not decided."""


class Calls:
    """Makes the calls that arrivals complete, and sends tombstones for those that will never be.

    Parameters
    ----------
    topology : Topology
        The wiring in force.
    parties : Parties
        Whose joins they are.
    new_request, new_arrival : callable
        Give the next identity of each kind.

    Attributes
    ----------
    out : Decisions
        What was decided and not yet drained.
    undelivered : deque of Arrival
        Tombstones on their way: a chain of skips of any length is a queue, not a recursion.
    undecided : dict of int to set of SocketSlot
        By party, the slots to decide once it is known what can still come.
    held : dict of int to dict of str to Arrival
        Per socket and held argument, the value for the calls to come.
    state_changes : int
        How many times an arrival got a new state.
    """

    def __init__(
        self, topology: Topology, parties: Parties, new_request: Callable[[], int], new_arrival: Callable[[], int]
    ) -> None:
        self.topology = topology
        self.parties = parties
        self.new_request = new_request
        self.new_arrival = new_arrival
        self.out = Decisions()
        self.undelivered: deque[Arrival] = deque()
        self.undecided: dict[int, set[SocketSlot]] = {}
        self.held: dict[int, dict[str, Arrival]] = {}
        self.state_changes = 0

    # -- records -------------------------------------------------------------
    def set_state(self, arrival: Arrival, state: str, request: int | None) -> None:
        """Give an arrival its new state."""
        self.state_changes += 1
        new = bool(self.out.arrivals) and self.out.arrivals[0].id <= arrival.id
        arrival.state, arrival.request = state, request
        if not new:
            self.out.changed.append(arrival)

    def send_tombstone(
        self, source: Source, plug: Plug, kind: str, lag: int = 0, *, silent: bool = False, index: int = -1
    ) -> None:
        """Send a tombstone along a plug; its tag is `lag` levels short of the source's own calls."""
        if (plug.target, plug.argument) in self.topology.run_independent:
            return
        # a call that would have split its result has no element to put the tombstone on
        lag += self.topology.task(plug.source).generator + plug.map
        if plug.gather and (lag or source.tag):
            lag -= 1
        arrival = Arrival(
            self.new_arrival(), plug.target, plug.argument, source.party, source.run, source.tag, kind, None,
            source.request or None, index, plug.id, lag, silent, late=source.late,
        )  # fmt: skip
        self.out.arrivals.append(arrival)
        self.undelivered.append(arrival)

    def pass_on(self, source: Source, kind: str, lag: int, *, silent: bool) -> None:
        """Send a tombstone along every plug of a call that will never be."""
        ignores = self.topology.ignores_silent
        for plug in self.topology.out.get(source.socket, ()):
            without_record = silent or plug.on == "error"
            if not (without_record and plug.id in ignores):
                self.send_tombstone(source, plug, kind, lag, silent=without_record)

    def depth(self, party: Party, socket: int) -> int:
        """How many splits deep the calls of a socket stand in a party."""
        return self.topology.depths(party.shape).get(socket, 0) if self.topology.splitting else 0

    def decide_later(self, party: Party, socket: int, argument: str, where: Path) -> None:
        """Decide about a slot once it is known what can still come."""
        self.undecided.setdefault(party.id, set()).add((socket, argument, where))

    def uncount(self, party: Party, value: ArgumentValue) -> None:
        """An argument value no longer counts as waiting."""
        if value.counted:
            value.counted = False
            party.waiting -= 1

    # -- values --------------------------------------------------------------
    def value(self, party: Party, join: JoinState, arrival: Arrival) -> None:
        """Take in a value, and make the calls it completes."""
        if join.supersedes(arrival) or (arrival.late and join.is_skipped(arrival.slot[1])):
            self.set_state(arrival, "superseded", None)
            return
        slot = join.see(arrival)
        for tombstone in [*join.open_tombstones(slot), *join.note(slot, arrival.plug)]:
            self.set_state(tombstone, "dropped", None)
        party.waiting += 1
        if arrival.lag == ELEMENT and slot[1]:
            self.element(party, join, arrival)
        else:
            # a value that was never split is a list of one
            self.keep(party, join, arrival.argument, ArgumentValue(arrival.tag, [arrival], arrival.lag == ELEMENT))

    def keep(self, party: Party, join: JoinState, argument: str, value: ArgumentValue) -> None:
        """Let an argument value wait, and make the calls it completes."""
        where = join.keep(argument, value)
        if where in join.above_skipped:
            self.decide_later(party, join.socket, argument, where)
        self.attempt(party, join, where)

    def element(self, party: Party, join: JoinState, arrival: Arrival) -> None:
        """Take in an element of a list, or its tombstone."""
        base, splits = path(arrival.tag)[:-1], arrival.tag[-1][0]
        if join.is_skipped(base):
            if arrival.kind == "value":
                party.waiting -= 1
                self.set_state(arrival, "dropped", None)
            return
        buffer = join.buffer(arrival.argument, base, splits)
        for split in splits:
            if split not in party.fans and split not in buffer.splits:
                party.closing.setdefault(split, []).append((join.socket, arrival.argument, base))
        buffer.add(arrival)
        self.gather(party, join, arrival.argument, base)

    def gather(self, party: Party, join: JoinState, argument: str, base: Path) -> None:
        """Make the lists that are complete."""
        for buffer in list(join.buffers.get((argument, base), ())):
            while (value := buffer.take(party.fans)) is not None:
                self.list_made(party, join, argument, value)

    def list_made(self, party: Party, join: JoinState, argument: str, value: ArgumentValue) -> None:
        """Let a complete list wait: it counts as waiting now, its elements no longer do."""
        party.waiting += 1 - len(value.arrivals)
        self.keep(party, join, argument, value)

    def close(self, party: Party, split: str, n: int) -> None:
        """A split has `n` elements: lists that lacked this number may be complete."""
        party.fans[split] = n
        for socket, argument, base in party.closing.pop(split, ()):
            self.gather(party, party.joins[socket], argument, base)

    # -- calls ---------------------------------------------------------------
    def attempt(self, party: Party, join: JoinState, at: Path) -> None:
        """Make what calls there can be at a path and below it."""
        while self._call(party, join, at):
            pass
        for where in join.under(at):
            while self._call(party, join, where):
                pass

    def _call(self, party: Party, join: JoinState, at: Path) -> bool:
        """Make one call at `at` if all its arguments are there, or skip it if one is absent."""
        topology, socket = self.topology, join.socket
        needed = topology.matched.get(socket)
        if needed is None or topology.sockets[socket].parked or not join.waits_at(at):
            return False
        if join.above_skipped or join.skipped or join.empty_splits:
            if join.is_skipped(at):
                self._drop(party, join, at, None)
                return False
            if join.in_empty_split(at):
                # a surplus element waits, visibly; what was to be shared by elements is of no use
                self._drop_shared(party, join, at) if at in join.empty_splits else None
                return False
        if join.absent and any(join.is_absent(name, at) for name in needed):
            if len(at) >= self.depth(party, socket):
                self._skip_waiting(party, join, at)
            return False
        arguments = self._arguments(join, needed, at)
        if arguments is None or all(len(value.tag) < len(at) for value in arguments.values()):
            return False
        if socket in topology.held and self.held_for(socket) is None:
            return False
        join.take(arguments, at)
        self._complete(party, join, arguments, at)
        return True

    def _skip_waiting(self, party: Party, join: JoinState, at: Path) -> None:
        own = [value for here in join.waits.values() for value in here.get(at, ())]
        runs = [a.run for value in own for a in value.arrivals]
        self.skip(party, join, united([value.tag for value in own]), min(runs, default=party.id), None)

    def _arguments(self, join: JoinState, needed: tuple[str, ...], at: Path) -> dict[str, ArgumentValue] | None:
        arguments = {}
        for name in needed:
            value = join.find(name, at)
            if value is None:
                return None
            arguments[name] = value
        if len(join.waits) > len(needed):
            task = self.topology.task(join.socket)
            for name in join.waits:
                given = join.find(name, at) if name not in arguments and task.parameter(name) else None
                if given is not None:
                    arguments[name] = given
        return arguments

    def _complete(
        self,
        party: Party,
        join: JoinState,
        arguments: dict[str, ArgumentValue],
        at: Path,
        missing: tuple[str, ...] = (),
    ) -> None:
        tag = united([value.tag for value in arguments.values()])
        runs = {a.run for value in arguments.values() for a in value.arrivals}
        if len(runs) > 1:
            party.bound |= runs
        for value in arguments.values():
            self.uncount(party, value)
        waited = self._take_partial(join, at, runs) if join.partial else ()
        fire = self.fire(join.socket, party, min(runs, default=party.id), tag, arguments, waited)
        fire.missing = missing
        # a follower no longer counts as live by itself: it ends with the call it follows
        party.live -= len(fire.followers)

    def held_for(self, socket: int) -> dict[str, Arrival] | None:
        """The held values of a call; None while one has never come."""
        held = self.held.get(socket, {})
        return held if all(name in held for name in self.topology.held.get(socket, ())) else None

    def hold(self, socket: int, request: int) -> dict[str, ArgumentValue]:
        """Give a call its held values."""
        for arrival in self.held.get(socket, {}).values():
            if arrival.state != "held":
                self.set_state(arrival, "held", request)
        return {name: ArgumentValue(ROOT, [arrival]) for name, arrival in self.held.get(socket, {}).items()}

    def expire(self, party: Party, join: JoinState, value: ArgumentValue) -> None:
        """A value has waited too long: its call fails with the arguments that have come."""
        # arguments that the wiring does not ask for may have been given too
        at, names = path(value.tag), dict.fromkeys((*self.topology.matched[join.socket], *join.waits))
        arguments = {name: found for name in names if (found := join.find(name, at)) is not None}
        held = self.held.get(join.socket, {})
        lacking = tuple(n for n in self.topology.needed[join.socket] if n not in arguments and n not in held)
        join.take(arguments, at)
        self._complete(party, join, arguments, at, lacking)

    def _take_partial(self, join: JoinState, at: Path, runs: set[int]) -> list[int]:
        """Requests that waited for this call, whose submits gave some of its arguments."""
        waited: list[int] = []
        left = set(runs)
        for depth in range(len(at), -1, -1):
            queue = join.partial.get(at[:depth])
            for entry in list(queue or ()):
                if queue and entry[1] in left:
                    left.discard(entry[1])
                    waited.append(entry[0])
                    queue.remove(entry)
            if queue is not None and not queue:
                del join.partial[at[:depth]]
        return waited

    def fire(
        self,
        socket: int,
        party: Party | None,
        run: int,
        tag: Tag,
        arguments: dict[str, ArgumentValue],
        waited: Sequence[int] = (),
    ) -> Fire:
        """Make a call."""
        request = waited[0] if waited else self.new_request()
        if party is not None and not waited:
            party.live += 1
        owner = party.id if party is not None else 0
        for value in arguments.values():
            state = "used" if len(value.tag) == len(tag) else "shared"
            for arrival in value.arrivals:
                owner = owner or arrival.party
                if party is not None and (arrival.late_of or arrival.rescue_of):
                    party.inherit(arrival, request)
                if arrival.state != state:
                    self.set_state(arrival, state, request)
            if value.tombstone is not None and value.tombstone.request is None:
                self.set_state(value.tombstone, value.tombstone.state, request)
        if self.held:
            arguments |= self.hold(socket, request)
        fire = Fire(request, socket, owner, run, tag, arguments, bool(waited), list(waited[1:]))
        self.out.calls.append(fire)
        return fire

    # -- calls that will never be ----------------------------------------------
    def skip(self, party: Party, join: JoinState, tag: Tag, run: int, tombstone: Arrival | None) -> None:
        """Rule out the call at a tag and those of elements below it: by a tombstone, or because of what waits there."""
        where, socket = path(tag), join.socket
        if join.is_skipped(where) or join.in_empty_split(where):
            return
        join.rule_out(where)
        waited = self._take_partial_below(join, where)
        silent = bool(tombstone and tombstone.silent and len(self.topology.needed[socket]) == 1 and not waited)
        request = 0
        if not silent:
            request = waited[0] if waited else self.new_request()
            self.out.calls.append(Skip(request, socket, party.id, run, tag, bool(waited), waited[1:]))
            party.live -= len(waited)
        self._drop(party, join, where, request or None)
        lag = max(tombstone.lag if tombstone else 0, self.depth(party, socket) - len(where))
        source = Source(request or (tombstone.source or 0 if tombstone else 0), socket, party.id, run, tag)
        self.pass_on(source, "tombstone", lag, silent=silent)
        self.decide_above(party, join, where)

    def _take_partial_below(self, join: JoinState, where: Path) -> list[int]:
        below = sorted(at for at in join.partial if at[: len(where)] == where)
        return [request for at in below for request, _ in join.partial.pop(at)]

    def skip_simple(self, tombstone: Arrival, party: Party | None) -> None:
        """Pass a tombstone through a socket that only this plug feeds."""
        self.set_state(tombstone, "dropped", None)
        source = Source(tombstone.source or 0, tombstone.socket, tombstone.party, tombstone.run, tombstone.tag)
        silent = tombstone.silent or tombstone.kind == "empty"
        if not silent:
            source.request = self.new_request()
            tombstone.request = source.request
            self.out.calls.append(Skip(source.request, tombstone.socket, tombstone.party, tombstone.run, tombstone.tag))
        self.pass_on(source, tombstone.kind, tombstone.lag, silent=silent)

    def skip_empty(self, party: Party, join: JoinState, tombstone: Arrival) -> None:
        """A split has no elements: drop what they were to share, and pass the tombstone on."""
        where = path(tombstone.tag)
        join.rule_out(where, empty=True)
        self._drop_shared(party, join, where)
        self._skip_partial(party, join, tombstone.tag)
        lag = max(tombstone.lag, self.depth(party, join.socket) - len(where))
        source = Source(tombstone.source or 0, join.socket, party.id, tombstone.run, tombstone.tag)
        self.pass_on(source, "empty", lag, silent=True)
        self.decide_above(party, join, where)

    def decide_above(self, party: Party, join: JoinState, where: Path) -> None:
        """One element will never be: what waits above it to be shared may be of no use to any other."""
        for depth in range(len(where)):
            for argument, here in join.waits.items():
                if where[:depth] in here:
                    self.decide_later(party, join.socket, argument, where[:depth])

    def _drop(self, party: Party, join: JoinState, where: Path, request: int | None) -> None:
        values, elements = join.clear(where)
        party.waiting -= len(elements)
        self._dropped(party, values, request)
        for element in elements:
            self.set_state(element, "dropped", request)

    def _drop_shared(self, party: Party, join: JoinState, where: Path) -> None:
        for here in join.waits.values():
            self._dropped(party, here.pop(where, ()), None)

    def _dropped(self, party: Party, values: Iterable[ArgumentValue], request: int | None) -> None:
        for value in values:
            self.uncount(party, value)
            for arrival in value.arrivals:
                # what some elements have used keeps its state
                if arrival.state == "waiting":
                    self.set_state(arrival, "dropped", request)

    def unshare(self, party: Party, join: JoinState, argument: str, where: Path) -> None:
        """Drop what no element can use any more, and skip requests that waited for it."""
        values = join.waits.get(argument, {}).pop(where, deque())
        self._dropped(party, values, None)
        if values and where in join.partial and not join.waits_at(where):
            self._skip_partial(party, join, values[0].tag)

    def _skip_partial(self, party: Party, join: JoinState, tag: Tag) -> None:
        for request, run in join.partial.pop(path(tag), ()):
            self.out.calls.append(Skip(request, join.socket, party.id, run, tag, waited=True))
            party.live -= 1
