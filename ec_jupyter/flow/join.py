"""Which arrivals make which calls: tagged-token dataflow with parties and tombstones.

Pure: events in, decisions out. The engine writes the decisions down and carries them out. `docs/join.md` explains
it with examples.

Notes
-----
Tags follow Arvind & Nikhil's tagged-token dataflow, tombstones the dead-path elimination of WS-BPEL, the order
between strangers Kahn's. Parties are ours: they keep strangers that met once together at every later join.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ec_jupyter.flow.arrival import ArgumentValue, Arrival, Decisions, Fire, Skip, Source
from ec_jupyter.flow.calls import Calls
from ec_jupyter.flow.party import Parties, Party
from ec_jupyter.flow.policy import Policies
from ec_jupyter.flow.standing import Standing
from ec_jupyter.flow.tag import Tag, by_hand, deeper
from ec_jupyter.flow.tombstones import Tombstones
from ec_jupyter.flow.topology import Root, Topology
from ec_jupyter.flow.tree import Tree
from ec_jupyter.model import Plug

__all__ = ["Decisions", "Fire", "JoinTable", "Skip", "Source"]


class JoinTable:
    """All parties of a flow and what waits in them; whatever changes them is a method of this.

    `new_request`, `new_arrival`: give the next identity of each kind.
    """

    def __init__(self, topology: Topology, new_request: Callable[[], int], new_arrival: Callable[[], int]) -> None:
        self.topology = topology
        self.parties = Parties(topology)
        self.calls = Calls(topology, self.parties, new_request, new_arrival)
        self.tombstones = Tombstones(self.calls)
        self.policies = Policies(self.calls, self.accept)
        self.standing = Standing(self.parties, self.policies, self.tombstones)  # what waits where

    def drain(self) -> Decisions:
        """What was decided since the last call of this."""
        out = self.calls.out
        if out:
            self.calls.out = Decisions()
        return out

    # -- runs and requests -----------------------------------------------------
    def accept(self, run: int, root: Root, *, alone: bool = False) -> int:
        """Take a new run in; its party. The run counts as one live request; `alone`: it meets no other run."""
        if not self.topology.joins(root) and (alone or not self.parties.awaited(root)):
            return run
        party = self.parties.enter(run, root, alone=alone)
        party.live += 1
        self._watch(party)
        return party.id

    def accept_all(self, runs: Sequence[int], root: Root) -> Sequence[int]:
        """Take new runs in that begin alike; their parties."""
        return runs if self.apart(root) else [self.accept(run, root) for run in runs]

    def apart(self, root: Root) -> bool:
        """Whether a run that begins there has nothing to do with any other."""
        return not self.topology.joins(root) and not self.parties.awaited(root)

    def adopt(self, party: int, runs: dict[int, Root], live: int) -> None:
        """Keep track of a party that began before a join was ahead of it, or before a restart."""
        if self.parties.find(party) is None:
            record = self.parties.all[party] = Party(party, runs, live)
            self.parties.file(record)
            self._watch(record)

    def find(self, party: int) -> int | None:
        """The party of that identity, or the older one that it went into; None if nothing can happen in it any more."""
        record = self.parties.find(party)
        return record.id if record is not None else None

    def __contains__(self, party: int) -> bool:
        """Whether something can still happen in a party."""
        return party in self.parties.all

    def at_rest(self, party: int, failed: int) -> bool:
        """Whether nothing can happen in a party, but for a retry of its `failed` requests; what waits can."""
        record = self.parties.all.get(party)
        return record is None or (0 < failed == record.live and not record.waiting)

    def forget(self, party: int) -> None:
        """Forget a party at rest; its requests are gone."""
        record = self.parties.all.get(party)
        if record is not None:
            self.parties.end(record)
            self.calls.undecided.pop(party, None)

    def begun(self, party: int, n: int = 1) -> None:
        """Another request of a party, or what stands for one, is unfinished: it does not end before `finished`."""
        record = self.parties.find(party)
        if record is not None:
            record.live += n

    def withdraw_run(self, party: int, run: int) -> None:
        """Forget a run whose request nothing has come of."""
        record = self.parties.all.get(party)
        if record is not None:
            self.parties.leave(record, run)
            self.finished(party)

    def closed(self, party: int, split: str, n: int) -> None:
        """A split of a party is known to have `n` elements, from a run that it repeats."""
        record = self.parties.all.get(party)
        if record is not None:
            record.fans[split] = n

    def wait(self, request: int, run: int, socket: int, party: int, tag: Tag) -> None:
        """Let a request wait at its socket for the arguments that it lacks."""
        if not self.topology.by_run(socket):
            self.policies.partial.setdefault(socket, {})[run] = (request, party)
            return
        self.parties.known(party).tree(socket).at(tag).await_values(request, run)

    def wait_again(self, request: int, run: int, socket: int, party: int, tag: Tag, given: frozenset[str]) -> None:
        """Let a request wait that was complete, with the arguments that it was `given`."""
        self.adopt(party, {run: (socket, given)}, 1)
        if request == run:
            record = self.parties.all[party]
            record.runs[run] = (socket, given)
            self.parties.file(record)
        self.wait(request, run, socket, party, tag)

    def take_back(self, request: int, run: int, socket: int, party: int, tag: Tag) -> list[Arrival]:
        """Take a waiting request out, and what was brought for it; its run leaves the party unless it met another."""
        brought = self.policies.leave(socket, run)
        record = self.parties.find(party)
        if record is None:
            return brought
        if socket in record.trees:
            for value in record.trees[socket].take_back(request, run, tag):
                self.calls.uncount(record, value)
                self.calls.set_state(value.arrivals[0], "left", None)
                brought.append(value.arrivals[0])
        if request == run and run not in record.bound:
            self.parties.leave(record, run)
        return brought

    def supply(
        self, socket: int, argument: str, party: int, run: int, tag: Tag, value: object, key: object = None,
        *, element: bool = False,
    ) -> Arrival:  # fmt: skip
        """One value by hand, or given with a submit that left others to come; `element`: one that a list lacks."""
        one = self.calls.new_arrival()
        arrival = Arrival(one, socket, argument, party, run, tag, "value", value, gathers=element, key=key)
        if (socket, argument) in self.topology.run_independent:
            return self._take_run_independent(arrival)
        record = self.parties.known(party)
        arrival.party = record.id
        self.calls.out.arrivals.append(arrival)
        self.calls.value(record, record.tree(socket), arrival)
        self._after(record)
        return arrival

    def supply_list(
        self, socket: int, argument: str, party: int, run: int, tag: Tag, values: Sequence[object]
    ) -> list[Arrival]:
        """A whole list for an argument that gathers, brought by hand: one arrival for each of its elements."""
        record, calls = self.parties.known(party), self.calls
        tree = record.tree(socket)
        first = calls.new_arrival()
        if not values:
            tombstone = Arrival(first, socket, argument, record.id, run, tag, "empty", index=-1, state="decided")
            calls.out.arrivals.append(tombstone)
            record.waiting += 1
            calls.keep(record, tree, tree.at(tag), argument, ArgumentValue(tag, [], gathered=True, tombstone=tombstone))
            self._after(record)
            return [tombstone]
        split = by_hand(first, len(values))
        ids = [first, *(calls.new_arrival() for _ in values[1:])]
        arrivals = [
            Arrival(key, socket, argument, record.id, run, deeper(tag, split, i), "value", value, gathers=True)
            for i, (key, value) in enumerate(zip(ids, values, strict=True))
        ]
        calls.out.arrivals.extend(arrivals)
        record.fans[split] = len(values)
        for arrival in arrivals:
            calls.value(record, tree, arrival)
        self._after(record)
        return arrivals

    def finished(self, party: int) -> None:
        """A request is finished: its party has one live request less."""
        self.finished_all((party,))

    def finished_all(self, parties: Sequence[int]) -> None:
        """Requests are finished, one of each of these parties."""
        known = self.parties.all
        for party in parties if known else ():
            record = known.get(party) or self.parties.find(party)
            if record is not None:
                record.live -= 1
                if record.live <= 0:
                    self._after(record)

    # -- what calls send -------------------------------------------------------
    def pass_all(self, plug: Plug, parties: Sequence[int]) -> Sequence[int] | None:
        """Let results make a call each by a plug; their parties. None, and nothing done: a value may wait or meet."""
        if plug.id not in self.topology.simple or self.calls.held:
            return None
        if not self.parties.all:
            return parties
        records = [self.parties.find(party) for party in parties]
        if any(one is not None and (one.late or one.rescued or plug.target in one.trees) for one in records):
            return None
        owners: list[int] = []
        for party, record in zip(parties, records, strict=True):
            if record is not None:
                record.live += 1
            owners.append(party if record is None else record.id)
        return owners

    def result(
        self, source: Source, plug: Plug, value: object, index: int = 0, tag: Tag | None = None, key: object = None
    ) -> None:
        """A value that a plug carries from a call that went well, or an error from one that did not."""
        calls, topology, party = self.calls, self.topology, self.parties.find(source.party)
        arrival = Arrival(
            calls.new_arrival(), plug.target, plug.argument, party.id if party else source.party, source.run,
            source.tag if tag is None else tag, "value", value, source.request, index, plug.id, 0, bool(plug.gather),
            False, "waiting", None, source.late,
        )  # fmt: skip
        if topology.run_independent and (plug.target, plug.argument) in topology.run_independent:
            arrival.key, arrival.gathers = key, False
            self._take_run_independent(arrival)
            return
        if party is not None:
            party.trace(arrival, failure=plug.on == "error")
        calls.out.arrivals.append(arrival)
        tree = party.trees.get(plug.target) if party else None
        if tree is None and plug.id in topology.simple:
            only = {plug.argument: ArgumentValue(arrival.tag, [arrival])}
            calls.fire(plug.target, party, arrival.run, arrival.tag, only)
            return
        party = party or self.parties.known(source.party)
        calls.value(party, tree or party.tree(plug.target), arrival)
        if calls.undelivered:
            self.tombstones.deliver()

    def _take_run_independent(self, arrival: Arrival) -> Arrival:
        """Take in a value of an argument that does not match by run."""
        self.calls.out.arrivals.append(arrival)
        for socket in self.policies.take(arrival):
            self._attempt_all(socket)
        return arrival

    def _attempt_all(self, socket: int) -> None:
        """Make the calls of a socket that waited for a held value only, oldest party first."""
        for key in sorted(self.parties.all):
            party = self.parties.all.get(key)
            tree = party.trees.get(socket) if party else None
            if party is None or tree is None:
                continue
            self._attempt(party, tree)
            self._after(party)

    def element(
        self, source: Source, plug: Plug, value: object, index: int, at: int, split: str, key: object = None
    ) -> None:
        """One element of a split: `index` numbers the deliveries of the call, `at` the elements."""
        self.result(source, plug, value, index, deeper(source.tag, split, at), key)

    def close(self, source: Source, split: str, n: int, plugs: Iterable[Plug]) -> None:
        """A split has all its elements; those it feeds may gather them, or learn that there are none.

        A generator that failed for good after some yields, and is given up, ends with this as well: it has as many
        elements as it yielded. `source` may stand for one yield of a generator, which a plug has split again.
        """
        party = self.parties.find(source.party)
        if party is not None:
            self.calls.close(party, split, n)
        if n == 0:
            yielded = source.tag[-1] if source.tag else None
            inner = yielded is not None and yielded[0] == (str(source.request),)
            for plug in plugs:
                lag, index = (-1, -2 - source.tag[-1][1]) if inner else (0, -1)
                self.calls.send_tombstone(source, plug, "empty", lag, index=index)
        self.tombstones.deliver()

    def tombstone(self, source: Source, plug: Plug, *, silent: bool = False, element: int | None = None) -> None:
        """A plug will carry nothing of this call, or of that `element` of its split for which `source` stands."""
        if not (silent and plug.id in self.topology.ignores_silent):
            lag, index = (0, -1) if element is None else (-1, -2 - element)
            self.calls.send_tombstone(source, plug, "tombstone", lag, silent=silent, index=index)
            self.tombstones.deliver()

    # -- what a person discards -------------------------------------------------
    def discard(self, arrival: Arrival, *, alone: bool) -> None:
        """Discard a waiting arrival; `alone`: its run has no unfinished request. Raises LookupError: it does not wait.

        If nothing else of a run that is alone waits, and no call has taken it together with another run, the run leaves
        its party, which may then take another in its place; else the join is skipped.
        """
        if (arrival.socket, arrival.argument) in self.topology.run_independent:
            self.policies.forget(arrival, "discarded")
            return
        party = self.parties.known(arrival.party)
        tree = party.trees[arrival.socket]
        node, cell = tree.place(arrival)
        value = cell.withdraw(arrival, leave_out=True)
        if value is None:
            party.waiting -= 1
            self.calls.set_state(arrival, "discarded", None)
            self.calls.gather(party, tree, node, arrival.argument)
        elif arrival.element:
            # the list has one element less
            value.arrivals.remove(arrival)
            value.tombstone = value.tombstone or arrival
            self.calls.set_state(arrival, "discarded", None)
        else:
            node.remove(arrival.argument, value)
            self.calls.uncount(party, value)
            self._away(party, tree, arrival, alone)
        self._after(party)

    def leave_out(self, socket: int, argument: str, party: int, tag: Tag) -> None:
        """Complete a list without the element of that tag, which has not come."""
        record = self.parties.known(party)
        self.tombstones.leave_out(record, record.tree(socket), argument, tag)
        self._after(record)

    def end_list(self, socket: int, argument: str, party: int, tag: Tag) -> None:
        """Discard the whole list at a tag, of which nothing has come: its call is skipped."""
        record = self.parties.known(party)
        self.tombstones.end_list(record, record.tree(socket), argument, tag)
        self._after(record)

    def _away(self, party: Party, tree: Tree, arrival: Arrival, alone: bool) -> None:
        others = any(a.run == arrival.run for a in party.waits())
        if alone and not others and arrival.run not in party.bound:
            self.calls.set_state(arrival, "left", None)
            tree.at(arrival.tag).cell(arrival.argument).seen = False
            self.parties.leave(party, arrival.run)
        else:
            self.calls.set_state(arrival, "discarded", None)
            self.tombstones.discarded(party, tree, arrival)

    # -- what waits --------------------------------------------------------------
    def all_waiting(self) -> Iterator[Arrival]:
        """Arrivals of the flow that no call has taken."""
        for party in self.parties.all.values():
            yield from party.waits()
        yield from self.policies.waiting()

    def withdraw(self, arrival: Arrival) -> None:
        """Take out what waits, as if it had not come, because another plug brings the same."""
        if (arrival.socket, arrival.argument) in self.topology.run_independent:
            self.policies.remove(arrival)
        else:
            party = self.parties.known(arrival.party)
            party.waiting -= party.trees[arrival.socket].withdraw(arrival)
        arrival.state = "withdrawn"

    def expire(self, arrival: Arrival) -> bool:
        """A value has waited too long: its call fails with the arguments that have come; False if it no longer waits.

        Elements on their way into a list belong to no call yet, and neither does a value that is to be held: they go on
        waiting.
        """
        if arrival.state != "waiting":
            return False
        if (arrival.socket, arrival.argument) in self.topology.run_independent:
            self.policies.expire(arrival)
            return True
        party = self.parties.known(arrival.party)
        tree = party.trees[arrival.socket]
        node, cell = tree.place(arrival)
        if not any(arrival in value.arrivals for value in cell.values):
            return False
        self.calls.expire(party, tree, node)
        self._after(party)
        return True

    def hold_again(self, arrivals: Iterable[Arrival]) -> None:
        """Put back what waits, or is held, regardless of run."""
        self.policies.restore(arrivals)

    @property
    def undecided(self) -> list[int]:
        """Parties with undecided slots: call `settle` for them."""
        return list(self.calls.undecided)

    def settle(self, party: int, tokens: Iterable[tuple[int, Tag]], failed: Iterable[tuple[int, Tag]] = ()) -> None:
        """Decide the tombstones of one of the `undecided` parties.

        `tokens`: sockets and tags of its unfinished calls. `failed`: of those, the ones that failed for good, for which
        lists with ``gather="done"`` do not wait.
        """
        record = self.parties.find(party)
        if record is None:
            self.calls.undecided.pop(party, None)
            return
        self.tombstones.settle(record, tokens, failed)
        self._after(record)

    # -- edits -------------------------------------------------------------------
    def revise(self, topology: Topology) -> None:
        """Take a new topology: parties that now meet become one, and what waits is looked at again."""
        self.topology = self.calls.topology = topology
        for party, older in self.parties.revise(topology):
            self._merge(party, older)
        for party in list(self.parties.all.values()):
            for tree in list(party.trees.values()):
                self._look_through(party, tree)
            self._watch(party)
            self._after(party)
        for socket in self.policies.revise():
            self._attempt_all(socket)

    def _look_through(self, party: Party, tree: Tree) -> None:
        for tombstone in tree.undecided():
            self.calls.decide_later(party, tree.socket, tombstone.slot)
        for argument, node, _ in list(tree.lists()):
            self.calls.gather(party, tree, node, argument)
        self._attempt(party, tree)

    def _attempt(self, party: Party, tree: Tree) -> None:
        for node in list(tree.root.full()):
            self.calls.attempt(party, tree, node)

    def _merge(self, party: Party, older: Party) -> None:
        self.calls.out.merged.append((party.id, older.id))
        older.absorb(party)
        spots = self.calls.undecided.pop(party.id, None)
        if spots:
            self.calls.undecided.setdefault(older.id, set()).update(spots)

    # -- shared --------------------------------------------------------------------
    def _watch(self, party: Party) -> None:
        """Settle a party as long as it lives, if its failures may be all that a list waits for."""
        if self.topology.gathers_done_only:
            self.calls.undecided.setdefault(party.id, set())

    def _after(self, party: Party) -> None:
        """Deliver what an event led to, and end the party if nothing of it can happen any more."""
        self.tombstones.deliver()
        undecided = self.calls.undecided
        if party.live <= 0 and party.id in undecided:
            # no call of it is unfinished: only what waits can still send something
            self.tombstones.settle(party, ())
        if party.over and self.parties.all.get(party.id) is party:
            self.parties.end(party)
            undecided.pop(party.id, None)
            self.calls.out.ended.append(party.id)
            if party.shares:
                self.calls.out.unshared.append(party.id)
