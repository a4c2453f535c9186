"""Values that come to joins, the calls they complete, and the calls that will never be. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ec_jupyter.flow.arrival import ArgumentValue, Arrival, Decisions, Fire, Skip, Slot, Source
from ec_jupyter.flow.party import Parties, Party
from ec_jupyter.flow.tag import ROOT, Tag, united
from ec_jupyter.flow.topology import Topology
from ec_jupyter.flow.tree import Node, Tree
from ec_jupyter.model import Plug

SocketSlot = tuple[int, Slot]  # a socket and a slot of it that is not decided


class Calls:
    """Makes the calls that arrivals complete, and sends tombstones for those that will never be."""

    def __init__(
        self, topology: Topology, parties: Parties, new_request: Callable[[], int], new_arrival: Callable[[], int]
    ) -> None:
        self.topology = topology
        self.parties = parties  # whose joins they are
        # new_request, new_arrival: give the next identity of each kind
        self.new_request = new_request
        self.new_arrival = new_arrival
        self.out = Decisions()  # what was decided and not yet drained
        # tombstones on their way: a chain of skips of any length is a queue, not a recursion
        self.undelivered: deque[Arrival] = deque()
        # by party, the slots to decide once it is known what can still come
        self.undecided: dict[int, set[SocketSlot]] = {}
        self.held: dict[int, dict[str, Arrival]] = {}  # per socket and held argument, the value for the calls to come
        self.state_changes = 0  # how many times an arrival got a new state

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
            source.request or None, index, plug.id, max(lag, 0), lag < 0, silent, late=source.late,
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

    def decide_later(self, party: Party, socket: int, slot: Slot) -> None:
        """Decide about a slot once it is known what can still come."""
        self.undecided.setdefault(party.id, set()).add((socket, slot))

    def uncount(self, party: Party, value: ArgumentValue) -> None:
        """An argument value no longer counts as waiting."""
        if value.counted:
            value.counted = False
            party.waiting -= 1

    # -- values --------------------------------------------------------------
    def value(self, party: Party, tree: Tree, arrival: Arrival) -> None:
        """Take in a value, and make the calls it completes."""
        node = tree.at(arrival.tag) if arrival.tag else tree.root
        element = arrival.gathers and node.up is not None
        cell = node.cell(arrival.argument, element=element)
        if cell.supersedes(arrival) or (arrival.late and node.is_skipped()):
            self.set_state(arrival, "superseded", None)
            return
        cell.see(arrival)
        void = node.note(arrival.argument, arrival.plug) if node.up is not None else []
        if cell.tombstones:
            void += cell.undecided()
        for tombstone in void:
            self.set_state(tombstone, "dropped", None)
        party.waiting += 1
        if element:
            self.element(party, tree, arrival)
        else:
            # a value that was never split is a list of one
            value = ArgumentValue(arrival.tag, [arrival], arrival.gathers)
            self.keep(party, tree, node, arrival.argument, value)

    def keep(self, party: Party, tree: Tree, node: Node, argument: str, value: ArgumentValue) -> None:
        """Let an argument value wait, and make the calls it completes."""
        tree.keep(node, argument, value)
        if node.ruled_below:
            self.decide_later(party, tree.socket, Slot(argument, False, node.path))
        self.attempt(party, tree, node)

    def element(self, party: Party, tree: Tree, arrival: Arrival) -> None:
        """Take in an element of a list, or its tombstone."""
        node, splits = tree.place(arrival)[0], arrival.tag[-1][0]
        if node.is_skipped():
            if arrival.kind == "value":
                party.waiting -= 1
                self.set_state(arrival, "dropped", None)
            return
        buffer = node.buffer(arrival.argument, splits)
        for split in splits:
            if split not in party.fans and split not in buffer.splits:
                party.closing.setdefault(split, []).append((tree.socket, arrival.argument, node.path))
        buffer.add(arrival)
        self.gather(party, tree, node, arrival.argument)

    def gather(self, party: Party, tree: Tree, node: Node, argument: str) -> None:
        """Make the lists that are complete."""
        for buffer in list(node.cell(argument).lists):
            while (value := buffer.take(party.fans)) is not None:
                # it counts as waiting now, its elements no longer do
                party.waiting += 1 - len(value.arrivals)
                self.keep(party, tree, tree.at(value.tag), argument, value)

    def close(self, party: Party, split: str, n: int) -> None:
        """A split has `n` elements: lists that lacked this number may be complete."""
        party.fans[split] = n
        for socket, argument, base in party.closing.pop(split, ()):
            tree = party.trees[socket]
            self.gather(party, tree, tree.on(base), argument)

    # -- calls ---------------------------------------------------------------
    def attempt(self, party: Party, tree: Tree, node: Node) -> None:
        """Make what calls there can be at a node and below it."""
        while node.waits and self._call(party, tree, node):
            pass
        for below in node.under() if node.busy else ():
            while below.waits and self._call(party, tree, below):
                pass

    def _call(self, party: Party, tree: Tree, node: Node) -> bool:
        """Make one call at a node if all its arguments are there, or skip it if one is absent."""
        needed = self.topology.open_joins.get(tree.socket)
        if needed is None or (not tree.plain and self._never(party, tree, node, needed)):
            return False
        arguments = self._arguments(tree, needed, node)
        if arguments is None or (node.up is not None and all(len(v.tag) < len(node.path) for v in arguments.values())):
            return False
        if tree.socket in self.topology.held and self.held_for(tree.socket) is None:
            return False
        if not arguments:
            return self._let_go(party, node, tree.socket)
        self._complete(party, node, tree.socket, arguments)
        return True

    def _let_go(self, party: Party, node: Node, socket: int) -> bool:
        """Let a request run of which an edit has given all it waited for; what its task does not take stays."""
        if not node.partial:
            return False
        _, run = node.partial[0]
        tag = united([value.tag for value in node.values()]) if node.up is not None else ROOT
        self.fire(socket, party, run, tag, {}, self._take_partial(node, {run}))
        return True

    def _never(self, party: Party, tree: Tree, node: Node, needed: tuple[str, ...]) -> bool:
        """Whether no call will be at a node; what waits there is dropped, or skipped."""
        if node.is_skipped():
            self._drop(party, node, None)
            return True
        if node.in_empty_split():
            # a surplus element waits, visibly; what was to be shared by elements is of no use
            self._dropped(party, node.take(), None) if node.empty else None
            return True
        if not any(node.is_absent(name) for name in needed):
            return False
        if len(node.path) >= self.depth(party, tree.socket):
            own = node.values()
            runs = [a.run for value in own for a in value.arrivals]
            self.skip(party, tree, united([value.tag for value in own]), min(runs, default=party.id), None)
        return True

    def _arguments(self, tree: Tree, needed: tuple[str, ...], node: Node) -> dict[str, ArgumentValue] | None:
        arguments = {}
        for name in needed:
            value = node.find(name)
            if value is None:
                return None
            arguments[name] = value
        if len(tree.names) > len(needed):
            task = self.topology.task(tree.socket)
            for name in tree.names:
                given = node.find(name) if name not in arguments and task.parameter(name) else None
                if given is not None:
                    arguments[name] = given
        return arguments

    def _complete(
        self, party: Party, node: Node, socket: int, arguments: dict[str, ArgumentValue], missing: tuple[str, ...] = ()
    ) -> None:
        """Make a call at a node: it uses up what is its own; what is from before a split stays for other elements."""
        runs: set[int] = set()
        for name, value in arguments.items():
            if len(value.tag) == len(node.path):
                node.remove(name, value)
            self.uncount(party, value)
            runs.update([a.run for a in value.arrivals])
        tag = united([value.tag for value in arguments.values()]) if node.up is not None else ROOT
        if len(runs) > 1:
            party.bound |= runs
        waited = self._take_partial(node, runs) if node.partial or node.up is not None else ()
        self.fire(socket, party, min(runs, default=party.id), tag, arguments, waited).missing = missing

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

    def expire(self, party: Party, tree: Tree, node: Node) -> None:
        """What waits at a node has waited too long: its call fails with the arguments that have come."""
        # arguments that the wiring does not ask for may have been given too
        names = dict.fromkeys((*self.topology.matched[tree.socket], *tree.names))
        arguments = {name: found for name in names if (found := node.find(name)) is not None}
        held = self.held.get(tree.socket, {})
        lacking = tuple(n for n in self.topology.needed[tree.socket] if n not in arguments and n not in held)
        self._complete(party, node, tree.socket, arguments, lacking)

    @staticmethod
    def _take_partial(node: Node, runs: set[int]) -> list[int]:
        """Requests that waited for this call, whose submits gave some of its arguments: one of each run."""
        waited: dict[int, int] = {}
        for place in node.line():
            for request, run in place.partial:
                if run in runs:
                    waited.setdefault(run, request)
        for place in node.line() if waited else ():
            place.pick(lambda request, run: waited.get(run) == request)
        return list(waited.values())

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
        if party is not None:
            # a follower no longer counts as live by itself: it ends with the call it follows
            party.live += 1 - len(waited)
        owner = party.id if party is not None else 0
        for value in arguments.values():
            state = "used" if len(value.tag) == len(tag) else "shared"
            if party is not None and state == "shared":
                party.shares = True
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
    def skip(self, party: Party, tree: Tree, tag: Tag, run: int, tombstone: Arrival | None) -> None:
        """Rule out the call at a tag and those of elements below it: by a tombstone, or because of what waits there."""
        node, socket = tree.at(tag), tree.socket
        if node.is_skipped() or node.in_empty_split():
            return
        tree.rule_out(node)
        waited = [request for below in list(node.full()) for request in below.pick(lambda *_: True)]
        silent = bool(tombstone and tombstone.silent and len(self.topology.needed[socket]) == 1 and not waited)
        request = 0
        if not silent:
            request = waited[0] if waited else self.new_request()
            self.out.calls.append(Skip(request, socket, party.id, run, tag, bool(waited), waited[1:]))
            party.live -= len(waited)
        self._drop(party, node, request or None)
        lag = max(tombstone.lag if tombstone else 0, self.depth(party, socket) - len(tag))
        source = Source(request or (tombstone.source or 0 if tombstone else 0), socket, party.id, run, tag)
        self.pass_on(source, "tombstone", lag, silent=silent)
        self.decide_above(party, tree, node)

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

    def skip_empty(self, party: Party, tree: Tree, tombstone: Arrival) -> None:
        """A split has no elements: drop what they were to share, and pass the tombstone on."""
        node = tree.at(tombstone.tag)
        tree.rule_out(node, empty=True)
        self._dropped(party, node.take(), None)
        self._skip_partial(party, tree, node, tombstone.tag)
        lag = max(tombstone.lag, self.depth(party, tree.socket) - len(tombstone.tag))
        source = Source(tombstone.source or 0, tree.socket, party.id, tombstone.run, tombstone.tag)
        self.pass_on(source, "empty", lag, silent=True)
        self.decide_above(party, tree, node)

    def decide_above(self, party: Party, tree: Tree, node: Node) -> None:
        """One element will never be: what waits above it to be shared may be of no use to any other."""
        for above in node.above():
            for argument, cell in above.cells.items():
                if cell.values:
                    self.decide_later(party, tree.socket, Slot(argument, False, above.path))

    def _drop(self, party: Party, node: Node, request: int | None) -> None:
        values, elements = node.clear()
        party.waiting -= len(elements)
        self._dropped(party, values, request)
        for element in elements:
            self.set_state(element, "dropped", request)

    def _dropped(self, party: Party, values: Iterable[ArgumentValue], request: int | None) -> None:
        for value in values:
            self.uncount(party, value)
            for arrival in value.arrivals:
                # what some elements have used keeps its state
                if arrival.state == "waiting":
                    self.set_state(arrival, "dropped", request)

    def unshare(self, party: Party, tree: Tree, argument: str, node: Node) -> None:
        """Drop what no element can use any more, and skip requests that waited for it."""
        values = node.take(argument)
        self._dropped(party, values, None)
        if values and node.partial and not node.waits:
            self._skip_partial(party, tree, node, values[0].tag)

    def _skip_partial(self, party: Party, tree: Tree, node: Node, tag: Tag) -> None:
        for request, run in list(node.partial):
            self.out.calls.append(Skip(request, tree.socket, party.id, run, tag, waited=True))
            party.live -= 1
        node.pick(lambda *_: True)
