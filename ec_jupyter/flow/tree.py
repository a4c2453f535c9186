"""What has come to one socket in one party: a tree whose levels are splits. Pure.

A node stands for the calls at one path, and has a cell for each of their arguments. What concerns a call lies on the
line from its node up to the root: values from before a split, tombstones of what was never split, a skip of all
elements. What concerns the elements of a call lies below its node; so does each element of a list that is gathered for
it, which has a cell of its own at the element's node, apart from the arguments of calls that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ec_jupyter.flow.arrival import ArgumentValue, Arrival
from ec_jupyter.flow.cell import Cell, GatherBuffer
from ec_jupyter.flow.tag import Path, Tag


class Node:
    """The calls of a socket at one path."""

    __slots__ = (
        "busy", "cells", "children", "elements", "empty", "load", "partial", "path", "ruled_below", "skipped", "up",
        "waits",
    )  # fmt: skip

    def __init__(self, path: Path = (), up: Node | None = None) -> None:
        # up: the calls that they are elements of; None at the root
        self.path, self.up = path, up
        # children, busy: their elements; those of them at or below which something waits
        self.children: dict[int, Node] = {}
        self.busy: dict[int, Node] = {}
        # cells, elements: by argument, what came to it; and what came as the element of a list for it that is here
        self.cells: dict[str, Cell] = {}
        self.elements: dict[str, Cell] = {}
        # requests (and their runs) that were submitted with arguments missing, or put back by a new signature
        self.partial: list[tuple[int, int]] = []
        # skipped, empty: none of them will ever be, nor of their elements: an argument is absent; a split had no
        # elements
        # ruled_below: calls below are skipped or of an empty split
        self.skipped = self.empty = self.ruled_below = False
        # waits, load: how many values wait here; how many values, lists and requests here and below
        self.waits = self.load = 0

    # -- where -----------------------------------------------------------------
    def child(self, index: int) -> Node:
        """The calls of one element."""
        found = self.children.get(index)
        if found is None:
            found = self.children[index] = Node((*self.path, index), self)
        return found

    def cell(self, argument: str, *, element: bool = False) -> Cell:
        """What came to an argument, or as the element here of a list for it."""
        table = self.elements if element else self.cells
        found = table.get(argument)
        if found is None:
            found = table[argument] = Cell()
        return found

    def line(self) -> Iterator[Node]:
        """The node itself and those above it, up to the root."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.up

    def above(self) -> Iterator[Node]:
        """The nodes above it, up to the root."""
        return self.up.line() if self.up is not None else iter(())

    def walk(self) -> Iterator[Node]:
        """The node itself and all below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def full(self) -> Iterator[Node]:
        """Those of them at which something waits, in order."""
        yield self
        for index in sorted(self.busy):
            yield from self.busy[index].full()

    def under(self) -> list[Node]:
        """Nodes below it at which values wait, in order."""
        return [node for node in self.full() if node.waits and node is not self]

    # -- what waits --------------------------------------------------------------
    def remove(self, argument: str, value: ArgumentValue) -> None:
        """Take a value out."""
        self.cells[argument].values.remove(value)
        self.waits -= 1
        self.count(-1)

    def buffer(self, argument: str, splits: Iterable[str]) -> GatherBuffer:
        """The buffer of an argument that elements of these splits belong to."""
        cell = self.cell(argument)
        before = len(cell.lists)
        found = cell.buffer(splits)
        self.count(len(cell.lists) - before)
        return found

    def await_values(self, request: int, run: int) -> None:
        """Let a request wait for the arguments that it lacks."""
        self.partial.append((request, run))
        self.count(1)

    def pick(self, wanted: Callable[[int, int], bool]) -> list[int]:
        """Take out the waiting requests (and runs) that are `wanted`."""
        taken = [entry for entry in self.partial if wanted(*entry)] if self.partial else []
        for entry in taken:
            self.partial.remove(entry)
        self.count(-len(taken))
        return [request for request, _ in taken]

    def take(self, argument: str | None = None) -> list[ArgumentValue]:
        """Take out the values that wait here, for all arguments or for one."""
        taken: list[ArgumentValue] = []
        for name, cell in self.cells.items():
            if argument in (None, name):
                taken += cell.values
                cell.values = []
        self.waits -= len(taken)
        self.count(-len(taken))
        return taken

    def values(self) -> list[ArgumentValue]:
        """Those that wait here."""
        return [value for cell in self.cells.values() for value in cell.values]

    def clear(self) -> tuple[list[ArgumentValue], list[Arrival]]:
        """Take out the values that wait here and below, and the elements on their way into lists."""
        values: list[ArgumentValue] = []
        elements: list[Arrival] = []
        for node in list(self.full()):
            values += node.take()
            for cell in node.cells.values():
                elements += cell.pending()
                node.count(-len(cell.lists))
                cell.lists = []
        return values, elements

    def count(self, by: int) -> None:
        """So many more wait here."""
        self.load += by
        node = self
        while (up := node.up) is not None:
            up.load += by
            if node.load:
                up.busy[node.path[-1]] = node
            else:
                up.busy.pop(node.path[-1], None)
            node = up

    def find(self, argument: str) -> ArgumentValue | None:
        """The value for a call here: its own, or the nearest from before a split."""
        node: Node | None = self
        while node is not None:
            cell = node.cells.get(argument)
            if cell is not None and cell.values:
                return cell.values[0]
            node = node.up
        return None

    # -- what will not be --------------------------------------------------------
    def has(self, argument: str, *, element: bool) -> bool:
        """Whether a value has come to a slot here, from before a split included."""
        cells = ((node.elements if element else node.cells).get(argument) for node in self.line())
        return any(cell is not None and cell.seen for cell in cells)

    def is_absent(self, argument: str) -> bool:
        """Whether no value will come to an argument of a call here."""
        return any((cell := node.cells.get(argument)) is not None and cell.absent for node in self.line())

    def is_skipped(self) -> bool:
        """Whether a call here was skipped, itself or as one of the elements of a skipped one."""
        return any(node.skipped for node in self.line())

    def in_empty_split(self) -> bool:
        """Whether a call here is of a split without elements."""
        return any(node.empty for node in self.line())

    # -- tombstones --------------------------------------------------------------
    def note(self, argument: str, plug: int | None) -> list[Arrival]:
        """Remember that something came here; the undecided tombstones above it that this makes void."""
        void = []
        for node in self.above():
            cell = node.cell(argument)
            if plug not in cell.below:
                cell.below |= {plug}
            void += cell.undecided()
        return void

    def sent(self, argument: str, *, element: bool) -> set[int | None]:
        """Plugs whose tombstone covers a slot here: at it, or at what is around it."""
        cells = [self.cell(argument, element=element), *(node.cell(argument) for node in self.above())]
        return {plug for cell in cells for plug in cell.tombstones}

    def absorb(self, other: Node) -> None:
        """Take over what another party brought to the same calls."""
        for name, cell in other.cells.items():
            self.cell(name).absorb(cell)
        for name, cell in other.elements.items():
            self.cell(name, element=True).absorb(cell)
        self.partial += other.partial
        self.skipped, self.empty = self.skipped or other.skipped, self.empty or other.empty
        self.ruled_below = self.ruled_below or other.ruled_below
        self.waits += other.waits
        self.load += other.load
        for index, child in other.children.items():
            self.child(index).absorb(child)
            if self.children[index].load:
                self.busy[index] = self.children[index]


class Tree:
    """What has come to one socket in one party."""

    __slots__ = ("names", "plain", "root", "socket")

    def __init__(self, socket: int) -> None:
        # root: its calls that no split stands before
        # plain: no call is ruled out, and no argument absent
        self.socket, self.root, self.plain = socket, Node(), True
        self.names: dict[str, None] = {}  # arguments for which a value has waited, the first one first

    def at(self, tag: Tag) -> Node:
        """The node of a tag."""
        node = self.root
        for _, index in tag:
            node = node.child(index)
        return node

    def on(self, path: Path) -> Node:
        """The node of a path."""
        node = self.root
        for index in path:
            node = node.child(index)
        return node

    def place(self, arrival: Arrival) -> tuple[Node, Cell]:
        """Where the value stands, or the list, that an arrival is part of."""
        node = self.at(arrival.tag)
        if arrival.element and node.up is not None:
            node = node.up
        return node, node.cell(arrival.argument)

    def keep(self, node: Node, argument: str, value: ArgumentValue) -> None:
        """Let a value wait at a node."""
        cell = node.cell(argument)
        cell.values.append(value)
        cell.seen = True
        self.names[argument] = None
        node.waits += 1
        node.count(1)

    def rule_out(self, node: Node, *, empty: bool = False) -> None:
        """No call will ever be at a node, nor below it."""
        self.plain = False
        node.skipped, node.empty = node.skipped or not empty, node.empty or empty
        for above in node.above():
            above.ruled_below = True

    def end(self, cell: Cell) -> None:
        """No value will come to a slot."""
        self.plain = False
        cell.absent = True

    def decided(self, argument: str, base: Path, index: int) -> bool:
        """Whether an element of a list has come, or never will, or its list is gone."""
        node = self.on(base)
        child = node.children.get(index)
        element = child.elements.get(argument) if child is not None else None
        return (
            (element is not None and (element.seen or element.absent))
            or node.is_skipped()
            or node.is_absent(argument)
            or any(b.made for b in node.cell(argument).lists)
        )

    # -- what waits ------------------------------------------------------------
    def waiting(self) -> Iterator[tuple[str, Node, ArgumentValue]]:
        """Every value that waits, with its argument and node."""
        for node in self.root.full():
            for argument, cell in node.cells.items():
                for value in cell.values:
                    yield argument, node, value

    def lists(self) -> Iterator[tuple[str, Node, GatherBuffer]]:
        """Every list that is being gathered, with its argument and node."""
        for node in self.root.full():
            for argument, cell in node.cells.items():
                for buffer in cell.lists:
                    yield argument, node, buffer

    def pending(self) -> Iterator[Arrival]:
        """Elements on their way into lists."""
        for _, _, buffer in self.lists():
            yield from buffer.pending()

    def tombstones(self) -> Iterator[Arrival]:
        """Every tombstone that has come."""
        for node in self.root.walk():
            for cell in (*node.cells.values(), *node.elements.values()):
                yield from cell.tombstones.values()

    def undecided(self) -> list[Arrival]:
        """Tombstones that are not decided."""
        return [t for t in self.tombstones() if t.state == "waiting"]

    def arrivals(self) -> Iterator[Arrival]:
        """Every arrival that is still of use here."""
        for _, _, value in self.waiting():
            yield from value.arrivals
        yield from self.pending()
        yield from self.tombstones()

    def waits_from(self, node: Node) -> bool:
        """Whether anything waits at a node or below it, the element of a list included that is there."""
        around = node.up.cells.values() if node.up is not None else ()
        return (
            any(a.tag[-1][1] == node.path[-1] for cell in around for a in cell.pending())
            or any(value.counted for n in node.full() for cell in n.cells.values() for value in cell.values)
            or any(True for n in node.full() for cell in n.cells.values() for _ in cell.pending())
        )

    # -- edits -----------------------------------------------------------------
    def withdraw(self, arrival: Arrival) -> int:
        """Forget something that waits, as if it had not come; by how much what waits in the party becomes less."""
        own = self.at(arrival.tag)
        slot = own.cell(arrival.argument, element=arrival.element)
        slot.seen = False
        slot.tombstones.pop(arrival.plug, None)
        for node in own.line():
            if arrival.argument in node.cells:
                node.cells[arrival.argument].below -= {arrival.plug}
        node, cell = self.place(arrival)
        before = len(cell.lists)
        value = cell.withdraw(arrival)
        node.count(len(cell.lists) - before)
        if value is None:
            return 1
        node.remove(arrival.argument, value)
        cell.seen = False
        rest = [a for a in value.arrivals if a is not arrival]
        if arrival.element:
            # the list is being gathered again, without one of its elements
            buffer = node.buffer(arrival.argument, arrival.tag[-1][0])
            buffer.made = False
            for element in rest:
                buffer.add(element)
        return 1 - len(rest)

    def take_back(self, request: int, run: int, tag: Tag) -> list[ArgumentValue]:
        """Forget a request that waits for arguments, and take out the values that were brought by hand for it."""
        for node in list(self.root.full()):
            node.pick(lambda one, _: one == request)
        node, taken = self.at(tag), []
        for argument, cell in node.cells.items():
            for value in list(cell.values):
                one = value.arrivals[0] if len(value.arrivals) == 1 else None
                if one is not None and one.source is None and one.run == run:
                    node.remove(argument, value)
                    self.at(one.tag).cell(argument, element=one.element).seen = False
                    taken.append(value)
        return taken

    def absorb(self, other: Tree) -> None:
        """Take over what another party brought to this socket."""
        self.names |= other.names
        self.plain = self.plain and other.plain
        self.root.absorb(other.root)
