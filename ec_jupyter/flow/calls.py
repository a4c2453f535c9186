"""Values that come to joins, and the calls they make or that will never be. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ec_jupyter.flow.decision import Decisions, Fire, Skip, Source
from ec_jupyter.flow.join_state import ELEMENT, ArgumentValue, Arrival, JoinState
from ec_jupyter.flow.party import Parties, Party
from ec_jupyter.flow.tag import ROOT, Path, Tag, path, united
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug

Spot = tuple[int, str, Path]
"""A socket and a slot of its meeting, to be looked at again."""


class Calls:
    """Makes calls of what has come, and sends marks on where none will be.

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
    marks : deque of Arrival
        Marks on their way; a chain of skips is a queue, not a recursion, however long it is.
    undecided : dict of int to set of Spot
        By party, what is to be decided once it is known what can still come.
    held : dict of int to dict of str to Arrival
        Per socket and held argument, the value for the calls to come.
    turned : int
        How often an arrival was given a new state.
    """

    def __init__(
        self, topology: Topology, parties: Parties, new_request: Callable[[], int], new_arrival: Callable[[], int]
    ) -> None:
        self.topology = topology
        self.parties = parties
        self.new_request = new_request
        self.new_arrival = new_arrival
        self.out = Decisions()
        self.marks: deque[Arrival] = deque()
        self.undecided: dict[int, set[Spot]] = {}
        self.held: dict[int, dict[str, Arrival]] = {}
        self.turned = 0

    # -- records -------------------------------------------------------------
    def turn(self, arrival: Arrival, state: str, request: int | None) -> None:
        """Give an arrival its new state."""
        self.turned += 1
        new = bool(self.out.arrivals) and self.out.arrivals[0].id <= arrival.id
        arrival.state, arrival.request = state, request
        if not new:
            self.out.changed.append(arrival)

    def mark(
        self, source: Source, plug: Plug, kind: str, lag: int = 0, *, silent: bool = False, index: int = -1
    ) -> None:
        """Send a mark along a plug; it stands `lag` levels short of the source's own calls."""
        if (plug.target, plug.argument) in self.topology.apart:
            return
        # a call that would have split its result has no element to put the mark on
        lag += self.topology.task(plug.source).generator + plug.map
        if plug.gather and (lag or source.tag):
            lag -= 1
        arrival = Arrival(
            self.new_arrival(), plug.target, plug.argument, source.party, source.run, source.tag, kind, None,
            source.request or None, index, plug.id, lag, silent, late=source.late,
        )  # fmt: skip
        self.out.arrivals.append(arrival)
        self.marks.append(arrival)

    def pass_on(self, source: Source, kind: str, lag: int, *, silent: bool) -> None:
        """Send a mark along every plug of a call that will never be."""
        quiet = self.topology.quiet
        for plug in self.topology.out.get(source.socket, ()):
            hushed = silent or plug.on == "error"
            if not (hushed and plug.id in quiet):
                self.mark(source, plug, kind, lag, silent=hushed)

    def depth(self, party: Party, socket: int) -> int:
        """How many splits deep the calls of a socket stand in a party."""
        return self.topology.depths(party.shape).get(socket, 0) if self.topology.splitting else 0

    def look_again(self, party: Party, socket: int, argument: str, where: Path) -> None:
        """Decide about a slot once it is known what can still come."""
        self.undecided.setdefault(party.id, set()).add((socket, argument, where))

    def uncount(self, party: Party, argument_value: ArgumentValue) -> None:
        """A parcel no longer counts among what waits."""
        if argument_value.counted:
            argument_value.counted = False
            party.waiting -= 1

    # -- values --------------------------------------------------------------
    def value(self, party: Party, join_state: JoinState, arrival: Arrival) -> None:
        """Take in a value, and make the calls it completes."""
        if join_state.supersedes(arrival) or (arrival.late and join_state.is_skipped(arrival.slot[1])):
            self.turn(arrival, "superseded", None)
            return
        slot = join_state.see(arrival)
        for mark in [*join_state.open_marks(slot), *join_state.note(slot, arrival.plug)]:
            self.turn(mark, "dropped", None)
        party.waiting += 1
        if arrival.lag == ELEMENT and slot[1]:
            self.element(party, join_state, arrival)
        else:
            # a value that was never split is a list of one
            self.keep(
                party, join_state, arrival.argument, ArgumentValue(arrival.tag, [arrival], arrival.lag == ELEMENT)
            )

    def keep(self, party: Party, join_state: JoinState, argument: str, argument_value: ArgumentValue) -> None:
        """Let a parcel wait, and make the calls it completes."""
        where = join_state.keep(argument, argument_value)
        if where in join_state.closed:
            self.look_again(party, join_state.socket, argument, where)
        self.attempt(party, join_state, where)

    def element(self, party: Party, join_state: JoinState, arrival: Arrival) -> None:
        """Take in one element of a list, or the mark of one."""
        base, splits = path(arrival.tag)[:-1], arrival.tag[-1][0]
        if join_state.is_skipped(base):
            if arrival.kind == "value":
                party.waiting -= 1
                self.turn(arrival, "dropped", None)
            return
        buffer = join_state.buffer(arrival.argument, base, splits)
        for split in splits:
            if split not in party.fans and split not in buffer.splits:
                party.closing.setdefault(split, []).append((join_state.socket, arrival.argument, base))
        buffer.add(arrival)
        self.gather(party, join_state, arrival.argument, base)

    def gather(self, party: Party, join_state: JoinState, argument: str, base: Path) -> None:
        """Make the lists that are complete."""
        for buffer in list(join_state.buffers.get((argument, base), ())):
            while (argument_value := buffer.take(party.fans)) is not None:
                self.list_made(party, join_state, argument, argument_value)

    def list_made(self, party: Party, join_state: JoinState, argument: str, argument_value: ArgumentValue) -> None:
        """Let a complete list wait; each element counted as waiting, from now on the list does."""
        party.waiting += 1 - len(argument_value.arrivals)
        self.keep(party, join_state, argument, argument_value)

    def close(self, party: Party, split: str, n: int) -> None:
        """A split has `n` elements: lists that waited to know it may be complete."""
        party.fans[split] = n
        for socket, argument, base in party.closing.pop(split, ()):
            self.gather(party, party.join_states[socket], argument, base)

    # -- calls ---------------------------------------------------------------
    def attempt(self, party: Party, join_state: JoinState, at: Path) -> None:
        """Make what calls there can be at a path and below it."""
        while self._call(party, join_state, at):
            pass
        for where in join_state.under(at):
            while self._call(party, join_state, where):
                pass

    def _call(self, party: Party, join_state: JoinState, at: Path) -> bool:
        """Make one call at `at`, if all is there; or skip it, if something will never be."""
        topology, socket = self.topology, join_state.socket
        needed = topology.matched.get(socket)
        if needed is None or topology.sockets[socket].parked or not join_state.waits_at(at):
            return False
        if join_state.closed or join_state.skipped or join_state.vacant:
            if join_state.is_skipped(at):
                self._drop(party, join_state, at, None)
                return False
            if join_state.is_vacant(at):
                # an element too many waits, visibly; what was to be shared is of no use
                self._drop_shared(party, join_state, at) if at in join_state.vacant else None
                return False
        if join_state.dead and any(join_state.is_dead(name, at) for name in needed):
            if len(at) >= self.depth(party, socket):
                self._skip_waiting(party, join_state, at)
            return False
        argument_values = self._argument_values(join_state, needed, at)
        if argument_values is None or all(len(p.tag) < len(at) for p in argument_values.values()):
            return False
        if socket in topology.held and self.held_for(socket) is None:
            return False
        join_state.take(argument_values, at)
        self._complete(party, join_state, argument_values, at)
        return True

    def _skip_waiting(self, party: Party, join_state: JoinState, at: Path) -> None:
        own = [p for here in join_state.waits.values() for p in here.get(at, ())]
        runs = [a.run for p in own for a in p.arrivals]
        self.skip(party, join_state, united([p.tag for p in own]), min(runs, default=party.id), None)

    def _argument_values(
        self, join_state: JoinState, needed: tuple[str, ...], at: Path
    ) -> dict[str, ArgumentValue] | None:
        argument_values = {}
        for name in needed:
            argument_value = join_state.find(name, at)
            if argument_value is None:
                return None
            argument_values[name] = argument_value
        if len(join_state.waits) > len(needed):
            task = self.topology.task(join_state.socket)
            for name in join_state.waits:
                given = join_state.find(name, at) if name not in argument_values and task.parameter(name) else None
                if given is not None:
                    argument_values[name] = given
        return argument_values

    def _complete(
        self,
        party: Party,
        join_state: JoinState,
        argument_values: dict[str, ArgumentValue],
        at: Path,
        missing: tuple[str, ...] = (),
    ) -> None:
        tag = united([argument_value.tag for argument_value in argument_values.values()])
        runs = {a.run for argument_value in argument_values.values() for a in argument_value.arrivals}
        if len(runs) > 1:
            party.bound |= runs
        for argument_value in argument_values.values():
            self.uncount(party, argument_value)
        waited = self._given(join_state, at, runs) if join_state.given else ()
        fire = self.fire(join_state.socket, party, min(runs, default=party.id), tag, argument_values, waited)
        fire.missing = missing
        # a follower's own place among the live is given up: it ends with the call it follows
        party.live -= len(fire.followers)

    def held_for(self, socket: int) -> dict[str, Arrival] | None:
        """The held values of a call; None while one has never come."""
        held = self.held.get(socket, {})
        return held if all(name in held for name in self.topology.held.get(socket, ())) else None

    def hold(self, socket: int, request: int) -> dict[str, ArgumentValue]:
        """Give a call the held values."""
        for arrival in self.held.get(socket, {}).values():
            if arrival.state != "held":
                self.turn(arrival, "held", request)
        return {name: ArgumentValue(ROOT, [arrival]) for name, arrival in self.held.get(socket, {}).items()}

    def expire(self, party: Party, join_state: JoinState, argument_value: ArgumentValue) -> None:
        """A value has waited too long: its call fails with what there is of it."""
        # what the wiring does not ask for may have been given all the same
        at, names = (
            path(argument_value.tag),
            dict.fromkeys((*self.topology.matched[join_state.socket], *join_state.waits)),
        )
        argument_values = {name: found for name in names if (found := join_state.find(name, at)) is not None}
        held = self.held.get(join_state.socket, {})
        lacking = tuple(
            n for n in self.topology.needed[join_state.socket] if n not in argument_values and n not in held
        )
        join_state.take(argument_values, at)
        self._complete(party, join_state, argument_values, at, lacking)

    def _given(self, join_state: JoinState, at: Path, runs: set[int]) -> list[int]:
        """Requests that waited for this call: they gave some of its arguments."""
        waited: list[int] = []
        left = set(runs)
        for depth in range(len(at), -1, -1):
            queue = join_state.given.get(at[:depth])
            for entry in list(queue or ()):
                if queue and entry[1] in left:
                    left.discard(entry[1])
                    waited.append(entry[0])
                    queue.remove(entry)
            if queue is not None and not queue:
                del join_state.given[at[:depth]]
        return waited

    def fire(
        self,
        socket: int,
        party: Party | None,
        run: int,
        tag: Tag,
        argument_values: dict[str, ArgumentValue],
        waited: Sequence[int] = (),
    ) -> Fire:
        """Make a call."""
        request = waited[0] if waited else self.new_request()
        if party is not None and not waited:
            party.live += 1
        owner = party.id if party is not None else 0
        for argument_value in argument_values.values():
            state = "used" if len(argument_value.tag) == len(tag) else "shared"
            for arrival in argument_value.arrivals:
                owner = owner or arrival.party
                if party is not None and (arrival.late_of or arrival.rescue_of):
                    party.inherit(arrival, request)
                if arrival.state != state:
                    self.turn(arrival, state, request)
            if argument_value.mark is not None and argument_value.mark.request is None:
                self.turn(argument_value.mark, argument_value.mark.state, request)
        if self.held:
            argument_values |= self.hold(socket, request)
        fire = Fire(request, socket, owner, run, tag, argument_values, bool(waited), list(waited[1:]))
        self.out.calls.append(fire)
        return fire

    # -- calls that will never be ----------------------------------------------
    def skip(self, party: Party, join_state: JoinState, tag: Tag, run: int, mark: Arrival | None) -> None:
        """There will be no call at a tag, nor at elements below it: `mark` says so, or something waits in vain."""
        where, socket = path(tag), join_state.socket
        if join_state.is_skipped(where) or join_state.is_vacant(where):
            return
        join_state.shut(where)
        waited = self._given_up(join_state, where)
        silent = bool(mark and mark.silent and len(self.topology.needed[socket]) == 1 and not waited)
        request = 0
        if not silent:
            request = waited[0] if waited else self.new_request()
            self.out.calls.append(Skip(request, socket, party.id, run, tag, bool(waited), waited[1:]))
            party.live -= len(waited)
        self._drop(party, join_state, where, request or None)
        lag = max(mark.lag if mark else 0, self.depth(party, socket) - len(where))
        source = Source(request or (mark.source or 0 if mark else 0), socket, party.id, run, tag)
        self.pass_on(source, "dead", lag, silent=silent)
        self.look_above(party, join_state, where)

    def _given_up(self, join_state: JoinState, where: Path) -> list[int]:
        below = sorted(at for at in join_state.given if at[: len(where)] == where)
        return [request for at in below for request, _ in join_state.given.pop(at)]

    def skip_simple(self, mark: Arrival, party: Party | None) -> None:
        """Pass a mark through a socket that nothing else ever comes to."""
        self.turn(mark, "dropped", None)
        source = Source(mark.source or 0, mark.socket, mark.party, mark.run, mark.tag)
        silent = mark.silent or mark.kind == "vacant"
        if not silent:
            source.request = self.new_request()
            mark.request = source.request
            self.out.calls.append(Skip(source.request, mark.socket, mark.party, mark.run, mark.tag))
        self.pass_on(source, mark.kind, mark.lag, silent=silent)

    def vacate(self, party: Party, join_state: JoinState, mark: Arrival) -> None:
        """No element will ever be here: what was to be shared by them is dropped, and on it goes."""
        where = path(mark.tag)
        join_state.shut(where, vacant=True)
        self._drop_shared(party, join_state, where)
        self._give_up(party, join_state, mark.tag)
        lag = max(mark.lag, self.depth(party, join_state.socket) - len(where))
        source = Source(mark.source or 0, join_state.socket, party.id, mark.run, mark.tag)
        self.pass_on(source, "vacant", lag, silent=True)
        self.look_above(party, join_state, where)

    def look_above(self, party: Party, join_state: JoinState, where: Path) -> None:
        """What was to be shared by elements of which one will not be may be of no use to any."""
        for depth in range(len(where)):
            for argument, here in join_state.waits.items():
                if where[:depth] in here:
                    self.look_again(party, join_state.socket, argument, where[:depth])

    def _drop(self, party: Party, join_state: JoinState, where: Path, request: int | None) -> None:
        argument_values, elements = join_state.empty(where)
        party.waiting -= len(elements)
        self._dropped(party, argument_values, request)
        for element in elements:
            self.turn(element, "dropped", request)

    def _drop_shared(self, party: Party, join_state: JoinState, where: Path) -> None:
        for here in join_state.waits.values():
            self._dropped(party, here.pop(where, ()), None)

    def _dropped(self, party: Party, argument_values: Iterable[ArgumentValue], request: int | None) -> None:
        for argument_value in argument_values:
            self.uncount(party, argument_value)
            for arrival in argument_value.arrivals:
                # what some elements have used and others will not is not lost
                if arrival.state == "waiting":
                    self.turn(arrival, "dropped", request)

    def unshare(self, party: Party, join_state: JoinState, argument: str, where: Path) -> None:
        """Drop what no element can use any more."""
        argument_values = join_state.waits.get(argument, {}).pop(where, deque())
        self._dropped(party, argument_values, None)
        if argument_values and where in join_state.given and not join_state.waits_at(where):
            self._give_up(party, join_state, argument_values[0].tag)

    def _give_up(self, party: Party, join_state: JoinState, tag: Tag) -> None:
        for request, run in join_state.given.pop(path(tag), ()):
            self.out.calls.append(Skip(request, join_state.socket, party.id, run, tag, waited=True))
            party.live -= 1
