"""Values that come to joins, and the calls they make or that will never be. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ec_jupyter.flow.decision import Decisions, Fire, Skip, Source
from ec_jupyter.flow.meeting import ELEMENT, Arrival, Meeting, Parcel
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

    def uncount(self, party: Party, parcel: Parcel) -> None:
        """A parcel no longer counts among what waits."""
        if parcel.counted:
            parcel.counted = False
            party.waiting -= 1

    # -- values --------------------------------------------------------------
    def value(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        """Take in a value, and make the calls it completes."""
        if meeting.supersedes(arrival) or (arrival.late and meeting.is_skipped(arrival.slot[1])):
            self.turn(arrival, "superseded", None)
            return
        slot = meeting.see(arrival)
        for mark in [*meeting.open_marks(slot), *meeting.note(slot, arrival.plug)]:
            self.turn(mark, "dropped", None)
        party.waiting += 1
        if arrival.lag == ELEMENT and slot[1]:
            self.element(party, meeting, arrival)
        else:
            # a value that was never split is a list of one
            self.keep(party, meeting, arrival.argument, Parcel(arrival.tag, [arrival], arrival.lag == ELEMENT))

    def keep(self, party: Party, meeting: Meeting, argument: str, parcel: Parcel) -> None:
        """Let a parcel wait, and make the calls it completes."""
        where = meeting.keep(argument, parcel)
        if where in meeting.closed:
            self.look_again(party, meeting.socket, argument, where)
        self.attempt(party, meeting, where)

    def element(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        """Take in one element of a list, or the mark of one."""
        base, splits = path(arrival.tag)[:-1], arrival.tag[-1][0]
        if meeting.is_skipped(base):
            if arrival.kind == "value":
                party.waiting -= 1
                self.turn(arrival, "dropped", None)
            return
        bundle = meeting.bundle(arrival.argument, base, splits)
        for split in splits:
            if split not in party.fans and split not in bundle.splits:
                party.closing.setdefault(split, []).append((meeting.socket, arrival.argument, base))
        bundle.add(arrival)
        self.gather(party, meeting, arrival.argument, base)

    def gather(self, party: Party, meeting: Meeting, argument: str, base: Path) -> None:
        """Make the lists that are complete."""
        for bundle in list(meeting.bundles.get((argument, base), ())):
            while (parcel := bundle.take(party.fans)) is not None:
                self.list_made(party, meeting, argument, parcel)

    def list_made(self, party: Party, meeting: Meeting, argument: str, parcel: Parcel) -> None:
        """Let a complete list wait; each element counted as waiting, from now on the list does."""
        party.waiting += 1 - len(parcel.arrivals)
        self.keep(party, meeting, argument, parcel)

    def close(self, party: Party, split: str, n: int) -> None:
        """A split has `n` elements: lists that waited to know it may be complete."""
        party.fans[split] = n
        for socket, argument, base in party.closing.pop(split, ()):
            self.gather(party, party.meetings[socket], argument, base)

    # -- calls ---------------------------------------------------------------
    def attempt(self, party: Party, meeting: Meeting, at: Path) -> None:
        """Make what calls there can be at a path and below it."""
        while self._call(party, meeting, at):
            pass
        for where in meeting.under(at):
            while self._call(party, meeting, where):
                pass

    def _call(self, party: Party, meeting: Meeting, at: Path) -> bool:
        """Make one call at `at`, if all is there; or skip it, if something will never be."""
        topology, socket = self.topology, meeting.socket
        needed = topology.matched.get(socket)
        if needed is None or topology.sockets[socket].parked or not meeting.waits_at(at):
            return False
        if meeting.closed or meeting.skipped or meeting.vacant:
            if meeting.is_skipped(at):
                self._drop(party, meeting, at, None)
                return False
            if meeting.is_vacant(at):
                # an element too many waits, visibly; what was to be shared is of no use
                self._drop_shared(party, meeting, at) if at in meeting.vacant else None
                return False
        if meeting.dead and any(meeting.is_dead(name, at) for name in needed):
            if len(at) >= self.depth(party, socket):
                self._skip_waiting(party, meeting, at)
            return False
        parcels = self._parcels(meeting, needed, at)
        if parcels is None or all(len(p.tag) < len(at) for p in parcels.values()):
            return False
        if socket in topology.held and self.held_for(socket) is None:
            return False
        meeting.take(parcels, at)
        self._complete(party, meeting, parcels, at)
        return True

    def _skip_waiting(self, party: Party, meeting: Meeting, at: Path) -> None:
        own = [p for here in meeting.waits.values() for p in here.get(at, ())]
        runs = [a.run for p in own for a in p.arrivals]
        self.skip(party, meeting, united([p.tag for p in own]), min(runs, default=party.id), None)

    def _parcels(self, meeting: Meeting, needed: tuple[str, ...], at: Path) -> dict[str, Parcel] | None:
        parcels = {}
        for name in needed:
            parcel = meeting.find(name, at)
            if parcel is None:
                return None
            parcels[name] = parcel
        if len(meeting.waits) > len(needed):
            task = self.topology.task(meeting.socket)
            for name in meeting.waits:
                given = meeting.find(name, at) if name not in parcels and task.parameter(name) else None
                if given is not None:
                    parcels[name] = given
        return parcels

    def _complete(
        self, party: Party, meeting: Meeting, parcels: dict[str, Parcel], at: Path, missing: tuple[str, ...] = ()
    ) -> None:
        tag = united([parcel.tag for parcel in parcels.values()])
        runs = {a.run for parcel in parcels.values() for a in parcel.arrivals}
        if len(runs) > 1:
            party.bound |= runs
        for parcel in parcels.values():
            self.uncount(party, parcel)
        waited = self._given(meeting, at, runs) if meeting.given else ()
        fire = self.fire(meeting.socket, party, min(runs, default=party.id), tag, parcels, waited)
        fire.missing = missing
        # a follower's own place among the live is given up: it ends with the call it follows
        party.live -= len(fire.followers)

    def held_for(self, socket: int) -> dict[str, Arrival] | None:
        """The held values of a call; None while one has never come."""
        held = self.held.get(socket, {})
        return held if all(name in held for name in self.topology.held.get(socket, ())) else None

    def hold(self, socket: int, request: int) -> dict[str, Parcel]:
        """Give a call the held values."""
        for arrival in self.held.get(socket, {}).values():
            if arrival.state != "held":
                self.turn(arrival, "held", request)
        return {name: Parcel(ROOT, [arrival]) for name, arrival in self.held.get(socket, {}).items()}

    def expire(self, party: Party, meeting: Meeting, parcel: Parcel) -> None:
        """A value has waited too long: its call fails with what there is of it."""
        # what the wiring does not ask for may have been given all the same
        at, names = path(parcel.tag), dict.fromkeys((*self.topology.matched[meeting.socket], *meeting.waits))
        parcels = {name: found for name in names if (found := meeting.find(name, at)) is not None}
        held = self.held.get(meeting.socket, {})
        lacking = tuple(n for n in self.topology.needed[meeting.socket] if n not in parcels and n not in held)
        meeting.take(parcels, at)
        self._complete(party, meeting, parcels, at, lacking)

    def _given(self, meeting: Meeting, at: Path, runs: set[int]) -> list[int]:
        """Requests that waited for this call: they gave some of its arguments."""
        waited: list[int] = []
        left = set(runs)
        for depth in range(len(at), -1, -1):
            queue = meeting.given.get(at[:depth])
            for entry in list(queue or ()):
                if queue and entry[1] in left:
                    left.discard(entry[1])
                    waited.append(entry[0])
                    queue.remove(entry)
            if queue is not None and not queue:
                del meeting.given[at[:depth]]
        return waited

    def fire(
        self,
        socket: int,
        party: Party | None,
        run: int,
        tag: Tag,
        parcels: dict[str, Parcel],
        waited: Sequence[int] = (),
    ) -> Fire:
        """Make a call."""
        request = waited[0] if waited else self.new_request()
        if party is not None and not waited:
            party.live += 1
        owner = party.id if party is not None else 0
        for parcel in parcels.values():
            state = "used" if len(parcel.tag) == len(tag) else "shared"
            for arrival in parcel.arrivals:
                owner = owner or arrival.party
                if party is not None and (arrival.late_of or arrival.rescue_of):
                    party.inherit(arrival, request)
                if arrival.state != state:
                    self.turn(arrival, state, request)
            if parcel.mark is not None and parcel.mark.request is None:
                self.turn(parcel.mark, parcel.mark.state, request)
        if self.held:
            parcels |= self.hold(socket, request)
        fire = Fire(request, socket, owner, run, tag, parcels, bool(waited), list(waited[1:]))
        self.out.calls.append(fire)
        return fire

    # -- calls that will never be ----------------------------------------------
    def skip(self, party: Party, meeting: Meeting, tag: Tag, run: int, mark: Arrival | None) -> None:
        """There will be no call at a tag, nor at elements below it: `mark` says so, or something waits in vain."""
        where, socket = path(tag), meeting.socket
        if meeting.is_skipped(where) or meeting.is_vacant(where):
            return
        meeting.shut(where)
        waited = self._given_up(meeting, where)
        silent = bool(mark and mark.silent and len(self.topology.needed[socket]) == 1 and not waited)
        request = 0
        if not silent:
            request = waited[0] if waited else self.new_request()
            self.out.calls.append(Skip(request, socket, party.id, run, tag, bool(waited), waited[1:]))
            party.live -= len(waited)
        self._drop(party, meeting, where, request or None)
        lag = max(mark.lag if mark else 0, self.depth(party, socket) - len(where))
        source = Source(request or (mark.source or 0 if mark else 0), socket, party.id, run, tag)
        self.pass_on(source, "dead", lag, silent=silent)
        self.look_above(party, meeting, where)

    def _given_up(self, meeting: Meeting, where: Path) -> list[int]:
        below = sorted(at for at in meeting.given if at[: len(where)] == where)
        return [request for at in below for request, _ in meeting.given.pop(at)]

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

    def vacate(self, party: Party, meeting: Meeting, mark: Arrival) -> None:
        """No element will ever be here: what was to be shared by them is dropped, and on it goes."""
        where = path(mark.tag)
        meeting.shut(where, vacant=True)
        self._drop_shared(party, meeting, where)
        self._give_up(party, meeting, mark.tag)
        lag = max(mark.lag, self.depth(party, meeting.socket) - len(where))
        source = Source(mark.source or 0, meeting.socket, party.id, mark.run, mark.tag)
        self.pass_on(source, "vacant", lag, silent=True)
        self.look_above(party, meeting, where)

    def look_above(self, party: Party, meeting: Meeting, where: Path) -> None:
        """What was to be shared by elements of which one will not be may be of no use to any."""
        for depth in range(len(where)):
            for argument, here in meeting.waits.items():
                if where[:depth] in here:
                    self.look_again(party, meeting.socket, argument, where[:depth])

    def _drop(self, party: Party, meeting: Meeting, where: Path, request: int | None) -> None:
        parcels, elements = meeting.empty(where)
        party.waiting -= len(elements)
        self._dropped(party, parcels, request)
        for element in elements:
            self.turn(element, "dropped", request)

    def _drop_shared(self, party: Party, meeting: Meeting, where: Path) -> None:
        for here in meeting.waits.values():
            self._dropped(party, here.pop(where, ()), None)

    def _dropped(self, party: Party, parcels: Iterable[Parcel], request: int | None) -> None:
        for parcel in parcels:
            self.uncount(party, parcel)
            for arrival in parcel.arrivals:
                # what some elements have used and others will not is not lost
                if arrival.state == "waiting":
                    self.turn(arrival, "dropped", request)

    def unshare(self, party: Party, meeting: Meeting, argument: str, where: Path) -> None:
        """Drop what no element can use any more."""
        parcels = meeting.waits.get(argument, {}).pop(where, deque())
        self._dropped(party, parcels, None)
        if parcels and where in meeting.given and not meeting.waits_at(where):
            self._give_up(party, meeting, parcels[0].tag)

    def _give_up(self, party: Party, meeting: Meeting, tag: Tag) -> None:
        for request, run in meeting.given.pop(path(tag), ()):
            self.out.calls.append(Skip(request, meeting.socket, party.id, run, tag, waited=True))
            party.live -= 1
