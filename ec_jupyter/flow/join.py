"""Which arrivals make which calls: design of tagged-token dataflow with parties and dead marks.

Pure: events in, decisions out. The engine writes the decisions down and carries them out.

Notes
-----
Tags follow Arvind & Nikhil's tagged-token dataflow, dead marks the dead-path elimination of
WS-BPEL, order between strangers Kahn's. Parties are ours: they keep strangers that met once
together at every later join.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ec_jupyter.flow.meeting import Arrival, Bundle, Meeting, Parcel
from ec_jupyter.flow.party import Parties, Party
from ec_jupyter.flow.tag import ROOT, Path, Tag, deeper, path, united
from ec_jupyter.flow.topology import Root, Topology
from ec_jupyter.model import Plug


@dataclass(slots=True)
class Fire:
    """A call that has all it needs.

    Attributes
    ----------
    request : int
        Its new identity, or that of the request that waited for the arguments.
    socket, party, run, tag : int, int, int, Tag
        Where it belongs.
    parcels : dict of str to Parcel
        What each argument gets.
    waited : bool
        The request existed before, as ``waiting``.
    followers : list of int
        Further requests that waited for this very call, and come to what it comes to.
    """

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    parcels: dict[str, Parcel]
    waited: bool = False
    followers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Skip:
    """A call that will never be; `request` is its record."""

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    waited: bool = False
    followers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Source:
    """What a finished call is, to those it feeds."""

    request: int
    socket: int
    party: int
    run: int
    tag: Tag
    late: bool = False


@dataclass(slots=True)
class Decisions:
    """What one event led to, in order.

    Attributes
    ----------
    calls : list of Fire or Skip
        Requests that came to be, or were completed.
    arrivals : list of Arrival
        New ones, in the state they ended in.
    changed : list of Arrival
        Older ones whose state changed.
    merged : list of (int, int)
        Parties that went into an older one.
    ended : list of int
        Parties of which nothing is left to happen.
    """

    calls: list[Fire | Skip] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    changed: list[Arrival] = field(default_factory=list)
    merged: list[tuple[int, int]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


class JoinTable:
    """All parties of a flow and what waits in them.

    Parameters
    ----------
    topology : Topology
        The wiring in force.
    new_request, new_arrival : callable
        Give the next identity of each kind.
    """

    def __init__(self, topology: Topology, new_request: Callable[[], int], new_arrival: Callable[[], int]) -> None:
        self.topology = topology
        self.parties = Parties(topology)
        self._new_request = new_request
        self._new_arrival = new_arrival
        self._undecided: dict[int, set[tuple[int, str, Path]]] = {}
        self.out = Decisions()

    def drain(self) -> Decisions:
        """What was decided since the last call of this."""
        out, self.out = self.out, Decisions()
        return out

    # -- events --------------------------------------------------------------
    def accept(self, run: int, root: Root) -> int:
        """Take a new run in; its party. The run counts as one live request."""
        if not self.topology.joins(root):
            return run
        party = self.parties.enter(run, root)
        party.live += 1
        return party.id

    def adopt(self, party: int, runs: dict[int, Root], live: int) -> None:
        """Keep track of a party that began when nothing ahead of it needed that, or before a restart."""
        if party not in self.parties.all:
            record = self.parties.all[party] = Party(party, runs, live)
            self.parties.file(record)

    def wait(self, request: int, run: int, socket: int, party: int, tag: Tag) -> None:
        """Let a request wait at its socket until the arguments it lacks have come."""
        meeting = self._meeting(self.parties.all[party], socket)
        meeting.given.setdefault(path(tag), deque()).append((request, run))

    def supply(self, socket: int, argument: str, party: int, run: int, tag: Tag, value: object) -> Arrival:
        """One value brought by hand, or given with a submit that left others to come."""
        arrival = self._arrival(socket, argument, party, run, tag, "value", value)
        self._deliver(arrival, None)
        return arrival

    def result(self, source: Source, plug: Plug, value: object, index: int = 0, tag: Tag | None = None) -> None:
        """A value that a plug carries from a call that went well, or an error from one that did not."""
        if tag is None:
            tag = source.tag
        new = Arrival(
            self._new_arrival(), plug.target, plug.argument, source.party, source.run, tag, "value", value,
            source.request, index, plug.id, late=source.late,
        )  # fmt: skip
        self.out.arrivals.append(new)
        self._deliver(new, plug)

    def element(self, source: Source, plug: Plug, value: object, index: int, at: int, split: str) -> None:
        """One element of a split: `index` numbers the deliveries of the call, `at` the elements."""
        self.result(source, plug, value, index, deeper(source.tag, split, at))

    def close(self, source: Source, split: str, n: int, plugs: Iterable[Plug]) -> None:
        """A split has all its elements; those it feeds may gather them, or learn that there are none."""
        party = self.parties.all.get(source.party)
        if party is not None:
            party.fans[split] = n
            for meeting in list(party.meetings.values()):
                for (argument, _), bundle in list(meeting.bundles.items()):
                    if split in bundle.splits:
                        self._bundled(party, meeting, argument, bundle)
        if n == 0:
            for plug in plugs:
                self._mark(source, plug, "vacant", lag=self._splits(plug))

    def dead(self, source: Source, plug: Plug, *, silent: bool = False) -> None:
        """A plug will carry nothing of this call."""
        if plug.id in self.topology.quiet and silent:
            return
        self._mark(source, plug, "dead", lag=self._splits(plug), silent=silent)

    def _splits(self, plug: Plug) -> int:
        # a mark of a call that would have split its result stands so many levels short of the elements
        return self.topology.task(plug.source).generator + plug.map

    def finished(self, party: int) -> None:
        """One live request less; what was decided from here on no longer counts on it."""
        record = self.parties.all.get(party)
        if record is not None:
            record.live -= 1
            self._end(record)

    def discard(self, arrival: Arrival, *, alone: bool) -> None:
        """Throw a waiting arrival away.

        Parameters
        ----------
        arrival : Arrival
            One that waits.
        alone : bool
            Its run has no unfinished request: if nothing else of it waits, it leaves its party, which may
            then take another run in its place; else the join is skipped.
        """
        party = self.parties.all[arrival.party]
        meeting = party.meetings[arrival.socket]
        where = path(arrival.tag)
        if not self._take_out(party, meeting, arrival):
            raise LookupError(f"arrival {arrival.id} does not wait")
        if alone and not any(a.run == arrival.run for a in self.waiting(party)):
            self._state(arrival, "left", None)
            meeting.seen.discard((arrival.argument, where))
            self.parties.leave(party, arrival.run)
        else:
            self._state(arrival, "discarded", None)
            meeting.dead.add((arrival.argument, where))
            self._died(party, meeting, arrival.argument, arrival)
        self._end(party)

    def _take_out(self, party: Party, meeting: Meeting, arrival: Arrival) -> bool:
        here = meeting.waits.get(arrival.argument, {})
        queue = here.get(path(arrival.tag), deque())
        parcel = next((p for p in queue if arrival in p.arrivals), None)
        if parcel is None:
            return False
        queue.remove(parcel)
        if not queue:
            del here[path(arrival.tag)]
        self._uncount(party, parcel)
        return True

    @staticmethod
    def waiting(party: Party) -> Iterator[Arrival]:
        """Arrivals of a party that no call has taken, those under way into a list included."""
        for meeting in party.meetings.values():
            for here in meeting.waits.values():
                for queue in here.values():
                    for parcel in queue:
                        yield from (a for a in parcel.arrivals if a.state == "waiting")
            for bundle in meeting.bundles.values():
                yield from (a for a in bundle.items.values() if a.state == "waiting" and not bundle.done)

    @staticmethod
    def _uncount(party: Party, parcel: Parcel) -> None:
        if parcel.counted:
            parcel.counted = False
            party.waiting -= 1

    # -- one arrival ---------------------------------------------------------
    def _arrival(
        self, socket: int, argument: str, party: int, run: int, tag: Tag, kind: str, value: object = None
    ) -> Arrival:
        arrival = Arrival(self._new_arrival(), socket, argument, party, run, tag, kind, value)
        self.out.arrivals.append(arrival)
        return arrival

    def _mark(self, source: Source, plug: Plug, kind: str, lag: int = 0, silent: bool = False) -> None:
        mark = Arrival(
            self._new_arrival(), plug.target, plug.argument, source.party, source.run, source.tag, kind,
            None, source.request, 0, plug.id, lag, silent, late=source.late,
        )  # fmt: skip
        self.out.arrivals.append(mark)
        self._deliver(mark, plug)

    def _deliver(self, arrival: Arrival, plug: Plug | None) -> None:
        party = self.parties.all.get(arrival.party)
        if plug is not None and plug.id in self.topology.simple and not self._waits(party, arrival.socket):
            if arrival.kind == "value":
                self._fire(arrival.socket, party, arrival.run, arrival.tag, {arrival.argument: Parcel(arrival.tag, [arrival])})
            else:
                self._skip_simple(arrival, party)
            return
        if party is None:
            raise RuntimeError(f"party {arrival.party} comes to a join and was never adopted")
        meeting = self._meeting(party, arrival.socket)
        if arrival.kind == "value":
            self._value(party, meeting, arrival)
        else:
            self._marked(party, meeting, arrival)
        self._end(party)

    def _waits(self, party: Party | None, socket: int) -> bool:
        return party is not None and socket in party.meetings

    def _meeting(self, party: Party, socket: int) -> Meeting:
        meeting = party.meetings.get(socket)
        if meeting is None:
            meeting = party.meetings[socket] = Meeting(socket)
        return meeting

    def _gathers(self, arrival: Arrival) -> bool:
        plug = self.topology.plugs.get(arrival.plug) if arrival.plug is not None else None
        return bool(plug and plug.gather)

    def _value(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        slot = (arrival.argument, path(arrival.tag))
        if arrival.late and (slot in meeting.seen or slot[1] in meeting.skipped):
            self._state(arrival, "superseded", None)
            return
        for mark in meeting.marks.pop(slot, ()):
            self._state(mark, "dropped", None)
        party.waiting += 1
        if self._gathers(arrival):
            meeting.seen.add(slot)
            self._gather(party, meeting, arrival)
            return
        meeting.keep(arrival.argument, Parcel(arrival.tag, [arrival]))
        self._try(party, meeting, slot[1])

    def _gather(self, party: Party, meeting: Meeting, arrival: Arrival) -> None:
        if not arrival.tag:
            # a value that was never split is a list of one
            meeting.keep(arrival.argument, Parcel(ROOT, [arrival], gathered=True))
            self._try(party, meeting, ())
            return
        bundle = meeting.bundles.setdefault((arrival.argument, path(arrival.tag[:-1])), Bundle())
        splits, index = arrival.tag[-1]
        bundle.splits.update(splits)
        (bundle.items if arrival.kind == "value" else bundle.dead)[index] = arrival
        self._bundled(party, meeting, arrival.argument, bundle)

    def _bundled(self, party: Party, meeting: Meeting, argument: str, bundle: Bundle) -> None:
        n = bundle.complete(party.fans)
        if n is None:
            return
        bundle.done = True
        members = [bundle.items[i] for i in range(n) if i in bundle.items]
        one = next(iter({**bundle.dead, **bundle.items}.values()))
        # each element counted as waiting; from now on the list does
        party.waiting += 1 - len(members)
        meeting.keep(argument, Parcel(one.tag[:-1], members, gathered=True))
        self._try(party, meeting, path(one.tag[:-1]))

    # -- marks ---------------------------------------------------------------
    def _marked(self, party: Party, meeting: Meeting, mark: Arrival) -> None:
        where = path(mark.tag)
        slot = (mark.argument, where)
        if slot in meeting.seen or slot in meeting.dead or where in meeting.skipped:
            self._state(mark, "dropped", None)
            return
        marks = meeting.marks.setdefault(slot, [])
        marks.append(mark)
        sent = {m.plug for m in marks}
        if all(p.id in sent for p in self.topology.into.get((meeting.socket, mark.argument), ())):
            self._decide(party, meeting, mark.argument, where)
        else:
            self._undecided.setdefault(party.id, set()).add((meeting.socket, mark.argument, where))

    def _decide(self, party: Party, meeting: Meeting, argument: str, where: Path) -> None:
        marks = meeting.marks.pop((argument, where))
        for mark in marks:
            self._state(mark, "decided", None)
        mark = marks[-1]
        if self._gathers(mark):
            if mark.lag == 0 and mark.tag:
                meeting.seen.add((argument, where))
                self._gather(party, meeting, mark)
                return
            if mark.lag == 1 and mark.kind == "vacant":
                party.waiting += 1
                meeting.keep(argument, Parcel(mark.tag, [], gathered=True))
                self._try(party, meeting, where)
                return
            mark.lag = max(0, mark.lag - 1)
        meeting.dead.add((argument, where))
        if mark.kind == "vacant":
            self._vacate(party, meeting, mark)
        else:
            self._died(party, meeting, argument, mark)

    def _vacate(self, party: Party, meeting: Meeting, mark: Arrival) -> None:
        """No element will ever be here: what was to be shared by them is dropped, and on it goes."""
        where = path(mark.tag)
        meeting.skipped.add(where)
        self._drop(party, meeting, where, None)
        source = Source(mark.source or 0, meeting.socket, party.id, mark.run, mark.tag)
        for plug in self.topology.out[meeting.socket]:
            self._onward(source, plug, "vacant", mark.lag, silent=True)

    def _onward(self, source: Source, plug: Plug, kind: str, lag: int, silent: bool) -> None:
        self._mark(source, plug, kind, lag=lag + self._splits(plug), silent=silent)

    def _died(self, party: Party, meeting: Meeting, argument: str, mark: Arrival) -> None:
        """An argument is dead: calls that lack only it are skipped at once, others as their rest comes."""
        where = path(mark.tag)
        topology, socket = self.topology, meeting.socket
        if topology.argument_level(socket, argument) == topology.levels[socket] or mark.lag > 0:
            self._skip(party, meeting, mark.tag, mark.run, mark)
            return
        for at in meeting.paths():
            if len(at) > len(where) and at[: len(where)] == where:
                self._try(party, meeting, at)

    def _skip(self, party: Party, meeting: Meeting, tag: Tag, run: int, mark: Arrival | None) -> None:
        where = path(tag)
        if where in meeting.skipped:
            return
        meeting.skipped.add(where)
        waited = [request for request, _ in meeting.given.pop(where, ())]
        silent = bool(mark and mark.silent and len(self.topology.needed[meeting.socket]) == 1 and not waited)
        request = 0
        if not silent:
            request = waited[0] if waited else self._new_request()
            self.out.calls.append(Skip(request, meeting.socket, party.id, run, tag, bool(waited), waited[1:]))
            party.live -= len(waited)
        self._drop(party, meeting, where, request or None)
        source = Source(request or (mark.source or 0 if mark else 0), meeting.socket, party.id, run, tag)
        self._skipped(source, mark.lag if mark else 0, silent)

    def _skipped(self, source: Source, lag: int, silent: bool) -> None:
        for plug in self.topology.out[source.socket]:
            if not (silent and plug.id in self.topology.quiet):
                self._onward(source, plug, "dead", lag, silent)

    def _skip_simple(self, mark: Arrival, party: Party | None) -> None:
        self._state(mark, "dropped", None)
        source = Source(mark.source or 0, mark.socket, mark.party, mark.run, mark.tag)
        if mark.kind == "vacant":
            for plug in self.topology.out[mark.socket]:
                self._onward(source, plug, "vacant", mark.lag, silent=True)
            return
        if not mark.silent:
            source.request = self._new_request()
            mark.request = source.request
            self.out.calls.append(Skip(source.request, mark.socket, mark.party, mark.run, mark.tag))
        self._skipped(source, mark.lag, mark.silent)

    def _drop(self, party: Party, meeting: Meeting, where: Path, request: int | None) -> None:
        for here in meeting.waits.values():
            for parcel in here.pop(where, ()):
                self._uncount(party, parcel)
                for arrival in parcel.arrivals:
                    self._state(arrival, "dropped", request)

    # -- calls ---------------------------------------------------------------
    def _try(self, party: Party, meeting: Meeting, at: Path) -> None:
        for where in meeting.candidates(at):
            while self._call(party, meeting, where):
                pass

    def _call(self, party: Party, meeting: Meeting, at: Path) -> bool:
        """Make one call at `at`, if all is there; or skip it, if something will never be."""
        needed = self.topology.needed.get(meeting.socket)
        if needed is None or self.topology.sockets[meeting.socket].parked:
            return False
        own = [parcel for here in meeting.waits.values() for parcel in list(here.get(at, ()))[:1]]
        if not own:
            return False
        if at in meeting.skipped:
            self._drop(party, meeting, at, None)
            return False
        if any(meeting.is_dead(name, at) for name in needed):
            if not self._full_depth(meeting, at):
                return False
            self._skip(party, meeting, own[0].tag, own[0].arrivals[0].run if own[0].arrivals else party.id, None)
            return False
        parcels = self._parcels(meeting, needed, at)
        if parcels is None:
            return False
        meeting.take(parcels, at)
        self._fired(party, meeting, parcels, at)
        return True

    def _full_depth(self, meeting: Meeting, at: Path) -> bool:
        level = self.topology.levels[meeting.socket]
        return any(self.topology.argument_level(meeting.socket, a) == level and at in h for a, h in meeting.waits.items())

    def _parcels(self, meeting: Meeting, needed: tuple[str, ...], at: Path) -> dict[str, Parcel] | None:
        parcels = {}
        for name in needed:
            parcel = meeting.find(name, at)
            if parcel is None:
                return None
            parcels[name] = parcel
        for name in meeting.waits:
            if name not in parcels and self.topology.task(meeting.socket).parameter(name) is not None:
                parcel = meeting.find(name, at)
                if parcel is not None:
                    parcels[name] = parcel
        return parcels

    def _fired(self, party: Party, meeting: Meeting, parcels: dict[str, Parcel], at: Path) -> None:
        tag = united([parcel.tag for parcel in parcels.values()])
        runs = {a.run for parcel in parcels.values() for a in parcel.arrivals}
        for parcel in parcels.values():
            self._uncount(party, parcel)
        waited = self._given(meeting, at, runs)
        fire = self._fire(meeting.socket, party, min(runs, default=party.id), tag, parcels, waited)
        # a follower's own place among the live is given up: it ends with the call it follows
        party.live -= len(fire.followers)

    def _given(self, meeting: Meeting, at: Path, runs: set[int]) -> list[int]:
        """Requests that waited for this call: they gave some of its arguments."""
        queue = meeting.given.get(at)
        if not queue:
            return []
        waited: list[int] = []
        for entry in list(queue):
            if entry[1] in runs:
                runs = runs - {entry[1]}
                waited.append(entry[0])
                queue.remove(entry)
        if not queue:
            del meeting.given[at]
        return waited

    def _fire(
        self,
        socket: int,
        party: Party | None,
        run: int,
        tag: Tag,
        parcels: dict[str, Parcel],
        waited: Sequence[int] = (),
    ) -> Fire:
        request = waited[0] if waited else self._new_request()
        if party is not None and not waited:
            party.live += 1
        for parcel in parcels.values():
            state = "used" if len(parcel.tag) == len(tag) else "shared"
            for arrival in parcel.arrivals:
                if arrival.state != state:
                    self._state(arrival, state, request)
        party_id = party.id if party is not None else next(a.party for p in parcels.values() for a in p.arrivals)
        fire = Fire(request, socket, party_id, run, tag, parcels, bool(waited), list(waited[1:]))
        self.out.calls.append(fire)
        return fire

    def _state(self, arrival: Arrival, state: str, request: int | None) -> None:
        new = bool(self.out.arrivals) and self.out.arrivals[0].id <= arrival.id
        arrival.state, arrival.request = state, request
        if not new:
            self.out.changed.append(arrival)

    def _end(self, party: Party) -> None:
        if party.over and party.id in self.parties.all:
            self.parties.end(party)
            self._undecided.pop(party.id, None)
            self.out.ended.append(party.id)

    # -- later looks ---------------------------------------------------------
    @property
    def undecided(self) -> list[int]:
        """Parties in which a mark came to an argument that other plugs may yet feed."""
        return list(self._undecided)

    def settle(self, party: int, tokens: Iterable[tuple[int, Tag]]) -> None:
        """Decide the marks of a party, now that its unfinished calls stand at `tokens`."""
        record = self.parties.all.get(party)
        open_slots = self._undecided.pop(party, set())
        if record is None:
            return
        positions = [*tokens, *self._waiting_tokens(record)]
        for socket, argument, where in sorted(open_slots):
            meeting = record.meetings[socket]
            marks = meeting.marks.get((argument, where))
            if not marks:
                continue
            sent = {mark.plug for mark in marks}
            rest = [p for p in self.topology.into.get((socket, argument), ()) if p.id not in sent]
            if any(self.topology.can_reach(positions, (socket, argument), where, p.id) for p in rest):
                self._undecided.setdefault(party, set()).add((socket, argument, where))
            else:
                self._decide(record, meeting, argument, where)
        self._end(record)

    def _waiting_tokens(self, party: Party) -> Iterator[tuple[int, Tag]]:
        for meeting in party.meetings.values():
            for here in meeting.waits.values():
                for queue in here.values():
                    for parcel in queue:
                        yield meeting.socket, parcel.tag

    def revise(self, topology: Topology) -> None:
        """Take a new topology: parties that now meet become one, and what waits is looked at again."""
        self.topology = topology
        for party, older in self.parties.revise(topology):
            self._merge(party, older)
        for party in list(self.parties.all.values()):
            for meeting in list(party.meetings.values()):
                for (argument, where), marks in list(meeting.marks.items()):
                    if marks:
                        self._undecided.setdefault(party.id, set()).add((meeting.socket, argument, where))
                for at in meeting.paths():
                    self._try(party, meeting, at)
            self._end(party)

    def _merge(self, party: Party, older: Party) -> None:
        self.out.merged.append((party.id, older.id))
        older.live += party.live
        older.waiting += party.waiting
        older.fans.update(party.fans)
        self._undecided.setdefault(older.id, set()).update(self._undecided.pop(party.id, set()))
        for socket, meeting in party.meetings.items():
            self._absorb(self._meeting(older, socket), meeting, older.id)

    def _absorb(self, meeting: Meeting, other: Meeting, party: int) -> None:
        meeting.seen |= other.seen
        meeting.dead |= other.dead
        meeting.skipped |= other.skipped
        meeting.bundles.update(other.bundles)
        for slot, marks in other.marks.items():
            meeting.marks.setdefault(slot, []).extend(marks)
        for where, requests in other.given.items():
            meeting.given.setdefault(where, deque()).extend(requests)
        for argument, here in other.waits.items():
            for where, queue in here.items():
                meeting.waits.setdefault(argument, {}).setdefault(where, deque()).extend(queue)
        for here in other.waits.values():
            for queue in here.values():
                for parcel in queue:
                    for arrival in parcel.arrivals:
                        arrival.party = party
