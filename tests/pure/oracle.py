"""What a party must come to, worked out from its roots at once: no order, no state, one look at each socket.

It goes through the sockets from the roots down. Of each it knows everything that its arguments will
ever get, and says which calls that makes; the join table has to say the same, whatever came first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ec_jupyter.flow.tag import ROOT, Path, Tag, deeper, path, united
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug

Names = frozenset[str]


@dataclass(frozen=True)
class Fates:
    """What calls come to, by socket and path; and what plugs' conditions say."""

    outcomes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    whens: dict[int, tuple[bool, ...]] = field(default_factory=dict)

    def outcome(self, socket: str, at: Path) -> str:
        """``v`` value, ``s`` skip, ``f`` fails and is retried, ``d`` fails and is given up, ``x`` fails and stays."""
        return _pick(self.outcomes.get(socket, ("v",)), at)

    def size(self, socket: str, at: Path) -> int:
        """Elements of a call's result, or how often a generator yields."""
        return _pick(self.sizes.get(socket, (2,)), at)

    def when(self, plug: Plug, at: Path) -> bool:
        """Whether a plug's condition holds for a call's result."""
        return plug.when is None or _pick(self.whens.get(plug.id, (True,)), at)


def _pick(choices: tuple[Any, ...], at: Path) -> Any:
    return choices[sum((i + 1) * n for n, i in enumerate(at, 1)) % len(choices)]


@dataclass(frozen=True)
class Sent:
    """A value (its provenance) or a tombstone that a plug brings; `lag` is -1 for one element of a list."""

    plug: Plug
    tag: Tag
    kind: str
    lag: int
    value: Any = None
    silent: bool = False
    late: frozenset[str] = frozenset()
    rescue: frozenset[str] = frozenset()

    @property
    def at(self) -> Path:
        return path(self.tag)

    @property
    def element(self) -> bool:
        return self.lag < 0 and bool(self.tag)


@dataclass
class Slots:
    """All that one argument gets: values by path, and where it is absent or of a split without elements."""

    values: dict[Path, list[Sent]] = field(default_factory=lambda: defaultdict(list))
    absent: dict[Path, Sent] = field(default_factory=dict)
    empty: dict[Path, Sent] = field(default_factory=dict)
    loose: list[tuple[Path, Tag]] = field(default_factory=list)


class Ambiguous(Exception):
    """What two splits of different sizes come to at one join may depend on which skip comes first."""


class Oracle:
    """The calls and skips of one party.

    Attributes
    ----------
    calls : Counter of (socket, path, arguments)
    skips : Counter of (socket, path)
    stuck : list of (socket id, Tag)
        Where something waits, or failed, for ever.
    """

    def __init__(self, topology: Topology, fates: Fates, roots: Iterable[str]) -> None:
        self.topology, self.fates = topology, fates
        self.roots = {topology.names[name] for name in roots}
        self.into: dict[tuple[int, str], list[Sent]] = defaultdict(list)
        self.fans: dict[str, int] = {}
        self.calls: Counter[Any] = Counter()
        self.skips: Counter[Any] = Counter()
        self.stuck: list[tuple[int, Tag]] = []
        order = self._order()
        self.depth = self._depths(order)
        for socket in order:
            self._socket(socket)

    def _order(self) -> list[int]:
        order: list[int] = []

        def visit(socket: int) -> None:
            if socket not in order:
                for plug in self.topology.plugs.values():
                    if plug.target == socket:
                        visit(plug.source)
                order.append(socket)

        for socket in self.topology.sockets:
            visit(socket)
        return order

    def _depths(self, order: list[int]) -> dict[int, int]:
        depth = dict.fromkeys(self.roots, 0)
        for socket in order:
            for plug in self.topology.plugs.values():
                if plug.target == socket and plug.source in depth:
                    above = depth[plug.source] + self._splits(plug) - bool(plug.gather)
                    depth[socket] = max(0, above, depth.get(socket, 0))
        return depth

    def _splits(self, plug: Plug) -> int:
        return plug.map + self.topology.task(plug.source).generator

    def needs(self, socket: int) -> tuple[str, ...]:
        """All that a call of a socket waits for."""
        return self.topology.needed[socket]

    # -- one argument ----------------------------------------------------------
    def _argument(self, socket: int, name: str) -> Slots:
        slots, sent = Slots(), self._alternatives(self.into[socket, name])
        plugs = self.topology.into.get((socket, name), [])
        for one in sent:
            if one.kind == "value" and not one.element:
                slots.values[one.at].append(one)
        self._lists(socket, plugs, sent, slots)
        tombstones = [s for s in sent if s.kind != "value" and not s.element]
        for at in {t.at for t in tombstones}:
            self._decided(socket, plugs, sent, slots, at)
        return slots

    def _alternatives(self, sent: list[Sent]) -> list[Sent]:
        """Of what replaces a failed result and that result's late success, only the first to come counts."""
        kept = [s for s in sent if s.kind != "value"]
        by: dict[Any, list[Sent]] = defaultdict(list)
        for s in sent:
            if s.kind == "value":
                by[s.at, s.element].append(s)
        for group in by.values():
            kept += self._either(group)
        return kept

    @staticmethod
    def _either(group: list[Sent]) -> list[Sent]:
        pairs = [(a, b) for a in group for b in group if a.late & b.rescue]
        if not pairs:
            return group
        (late, rescue), more = pairs[0], pairs[1:]
        if more or late.tag != rescue.tag:
            raise Ambiguous
        both = _with(late, late=late.late | rescue.late, rescue=late.rescue | rescue.rescue)
        return [s for s in group if s is not late and s is not rescue] + [both]

    def _lists(self, socket: int, plugs: list[Plug], sent: list[Sent], slots: Slots) -> None:
        gathering = [p for p in plugs if p.gather]
        values = [s for s in sent if s.kind == "value" and s.element]
        tombstones = [s for s in sent if s.kind != "value" and s.element]
        left_out = []
        for at in {t.at for t in tombstones} - {v.at for v in values}:
            here = [t for t in tombstones if t.at == at]
            above = [t for t in sent if t.kind != "value" and not t.element and len(t.at) < len(at)]
            covers = {t.plug.id for t in here} | {t.plug.id for t in above if t.at == at[: len(t.at)]}
            if self._silent(socket, gathering, covers, at, element=True):
                left_out.append(min(here, key=lambda t: t.tag))
        for group in _by_split([*values, *left_out]):
            self._list(group, slots)

    def _list(self, group: list[Sent], slots: Slots) -> None:
        splits = {s for one in group for s in one.tag[-1][0]}
        items = defaultdict(list)
        for one in group:
            if one.kind == "value":
                items[one.at[-1]].append(one)
        left_out = {one.at[-1] for one in group if one.kind != "value"}
        made = 0
        if all(s in self.fans for s in splits):
            n = min(self.fans[s] for s in splits)
            while all(len(items[i]) > made or i in left_out for i in range(n)):
                members = [items[i][made] for i in range(n) if len(items[i]) > made]
                if made and not members:
                    break
                made += 1
                tag = united([m.tag[:-1] for m in members or group])
                self._made(slots, tag, members, group[0].plug)
        slots.loose += [(one.at[:-1], one.tag[:-1]) for i in items for one in items[i][made:]]

    @staticmethod
    def _made(slots: Slots, tag: Tag, members: list[Sent], plug: Plug) -> None:
        value = [m.value for m in members]
        late = frozenset[str]().union(*(m.late for m in members))
        rescue = frozenset[str]().union(*(m.rescue for m in members))
        slots.values[path(tag)].append(Sent(plug, tag, "value", 0, value, late=late, rescue=rescue))

    def _decided(self, socket: int, plugs: list[Plug], sent: list[Sent], slots: Slots, at: Path) -> None:
        tombstones = [s for s in sent if s.kind != "value"]
        here = [t for t in tombstones if t.at == at and not t.element]
        covers = {t.plug.id for t in tombstones if not t.element and t.at == at[: len(t.at)]}
        below = any(_list_path(s)[: len(at)] == at and (s.element or len(s.at) > len(at)) for s in sent)
        valued = any(v == at[: len(v)] for v, found in slots.values.items() if found)
        if below or valued or not self._silent(socket, plugs, covers, at):
            return
        tag = united([t.tag for t in here])
        empty = [t for t in here if t.kind == "empty"]
        lag = max(t.lag for t in here)
        if any(t.lag == 0 for t in empty):
            self._made(slots, empty[0].tag, [], empty[0].plug)
        elif empty:
            slots.empty[at] = Sent(empty[0].plug, tag, "empty", lag)
        else:
            slots.absent[at] = Sent(here[0].plug, tag, "tombstone", lag, silent=all(t.silent for t in here))

    def _silent(self, socket: int, plugs: list[Plug], covers: set[int], at: Path, *, element: bool = False) -> bool:
        rest = [p for p in plugs if p.id not in covers or p.source in self.topology.repeats]
        return not any(self._can_come(p, at, element) for p in rest)

    def _can_come(self, plug: Plug, at: Path, element: bool) -> bool:
        return any(self._reaches(socket, len(tag), path(tag), plug, at, element) for socket, tag in self.stuck)

    def _reaches(self, socket: int, depth: int, known: Path, last: Plug, at: Path, element: bool) -> bool:
        """Whether a call at `socket` can send something by plug `last`: every way there, one by one."""
        for plug in self.topology.out[socket]:
            inner = depth + self._splits(plug)
            outer = max(0, inner - bool(plug.gather))
            if plug.id == last.id:
                sure = known if element else known[:outer]
                if all(a == b for a, b in zip(sure, at, strict=False)):
                    return True
            if self._reaches(plug.target, outer, known[:outer], last, at, element):
                return True
        return False

    # -- one socket --------------------------------------------------------------
    def _socket(self, socket: int) -> None:
        if socket in self.roots:
            self._call(socket, ROOT, {}, 1, late=frozenset(), rescue=frozenset())
        needed = self.topology.needed[socket]
        slots = {name: self._argument(socket, name) for name in needed}
        if socket not in self.depth or not needed or socket in self.roots:
            return
        skipped, empty = self._never(socket, slots)
        used = self._calls(socket, slots, skipped, empty)
        self._leftovers(socket, slots, used, skipped, empty)
        for at, tombstone in skipped.items():
            self._skip(socket, tombstone, at)
        for at, tombstone in empty.items():
            lag = max(tombstone.lag, self.depth[socket] - len(at))
            for plug in self.topology.out[socket]:
                self._pass(plug, tombstone.tag, "empty", lag, silent=True)

    def _never(self, socket: int, slots: dict[str, Slots]) -> tuple[dict[Path, Sent], dict[Path, Sent]]:
        empty = {at: tombstone for s in slots.values() for at, tombstone in s.empty.items()}
        absent = [(at, tombstone) for s in slots.values() for at, tombstone in s.absent.items()]
        never = [(at, tombstone) for at, tombstone in absent if tombstone.lag > 0 or len(at) >= self.depth[socket]]
        shared = [at for at, tombstone in absent if (at, tombstone) not in never]
        for at, found in [one for s in slots.values() for one in s.values.items() if one[1]]:
            if len(at) >= self.depth[socket] and any(at[: len(d)] == d for d in shared):
                never.append((at, Sent(found[0].plug, found[0].tag, "tombstone", 0)))
        skipped = dict(reversed(never))
        self._doubt(slots, never, skipped, empty)
        return skipped, empty

    @staticmethod
    def _doubt(
        slots: dict[str, Slots], never: list[tuple[Path, Sent]], skipped: dict[Path, Sent], empty: dict[Path, Sent]
    ) -> None:
        """Refuse what depends on the order of tombstones that belong to different splits."""
        if any(skipped[at].tag != tombstone.tag for at, tombstone in never):
            raise Ambiguous
        places = [*skipped, *empty]
        if any(a == b[: len(a)] for n, a in enumerate(places) for m, b in enumerate(places) if n != m):
            raise Ambiguous
        for at, tombstone in skipped.items():
            tags = {one.tag for s in slots.values() for one in s.values.get(at, ())}
            if tombstone.tag and tags - {tombstone.tag}:
                raise Ambiguous

    def _calls(
        self, socket: int, slots: dict[str, Slots], skipped: dict[Path, Sent], empty: dict[Path, Sent]
    ) -> dict[tuple[str, Path], int]:
        used: dict[tuple[str, Path], int] = defaultdict(int)
        places = {at for s in slots.values() for at, found in s.values.items() if found}
        for at in sorted(places, key=len, reverse=True):
            if any(at[: len(p)] == p for p in [*skipped, *empty]):
                continue
            found = {name: _nearest(s, at) for name, s in slots.items()}
            if any(f is None for f in found.values()):
                continue
            own = {name: f for name, f in found.items() if f == at}
            n = min(len(slots[name].values[at]) for name in own)
            picked = {name: slots[name].values[f] for name, f in found.items() if f is not None}
            for name, f in found.items():
                used[name, f or ()] += n
            tag = united([p[0].tag for p in picked.values()])
            late = frozenset[str]().union(*(s.late for p in picked.values() for s in p))
            rescue = frozenset[str]().union(*(s.rescue for p in picked.values() for s in p))
            self._call(socket, tag, {name: p[0].value for name, p in picked.items()}, n, late=late, rescue=rescue)
        return used

    def _leftovers(
        self,
        socket: int,
        slots: dict[str, Slots],
        used: dict[tuple[str, Path], int],
        skipped: dict[Path, Sent],
        empty: dict[Path, Sent],
    ) -> None:
        left = []
        for name, s in slots.items():
            for at, found in s.values.items():
                gone = any(at[: len(p)] == p for p in skipped) or at in empty
                shared = len(at) < self.depth[socket] and used[name, at]
                # of several values to be shared the first is, by every element; the others are too many
                many = len(found) - (1 if shared else used[name, at])
                if not gone and many > 0:
                    left.append((name, at, found[0].tag))
            left += [(name, at, tag) for at, tag in s.loose if not any(at[: len(p)] == p for p in skipped)]
        above_skipped = {p[:n] for p in [*skipped, *empty] for n in range(len(p))}
        # those with the most elements around them first: what waits there keeps what they would have shared
        for name, at, tag in sorted(left, key=lambda one: -len(one[1])):
            deeper_waits = any(len(b) > len(at) and b[: len(at)] == at for _, b, _ in left)
            others = [p for n in slots if n != name for p in self.topology.into.get((socket, n), ())]
            shared = len(at) < self.depth[socket] and at in above_skipped and at in slots[name].values
            if not shared or deeper_waits or any(self._can_come(p, at, False) for p in others):
                self.stuck.append((socket, tag))

    def _skip(self, socket: int, tombstone: Sent, at: Path) -> None:
        silent = tombstone.silent and len(self.needs(socket)) == 1
        if not silent:
            self.skips[self.topology.sockets[socket].name, at] += 1
        lag = max(tombstone.lag, self.depth[socket] - len(at))
        for plug in self.topology.out[socket]:
            self._pass(plug, tombstone.tag, "tombstone", lag, silent=silent)

    # -- what calls send -----------------------------------------------------------
    def _call(self, socket: int, tag: Tag, arguments: dict[str, Any], n: int, *, late: Names, rescue: Names) -> None:
        name, at = self.topology.sockets[socket].name, path(tag)
        self.calls[name, at, blurred(self.topology, name, arguments)] += n
        outcome = self.fates.outcome(name, at)
        for occurrence in range(n):
            split = f"{name}{at}{occurrence}"
            lates = late | {split} if outcome == "f" or late else late
            self._outcome(socket, tag, outcome, split, late=lates, rescue=rescue)

    def _outcome(self, socket: int, tag: Tag, outcome: str, split: str, *, late: Names, rescue: Names) -> None:
        name, at = self.topology.sockets[socket].name, path(tag)
        for plug in self.topology.errors[socket]:
            if outcome in ("f", "d", "x"):
                error = ("error", name, at)
                self._value(plug, tag, error, late=late - {split}, rescue=rescue | {split})
            else:
                self._pass(plug, tag, "tombstone", 0, silent=True)
        generator = self.topology.task(socket).generator
        n = self.fates.size(name, at)
        if outcome == "x":
            self.stuck.append((socket, tag))
        yields = generator and (outcome in ("v", "f", "x") or (outcome == "d" and n))
        if yields and outcome != "x":
            self.fans[split] = n
        for plug in self.topology.results[socket]:
            if yields:
                self._elements(plug, tag, split, n, late=late, rescue=rescue, closed=outcome != "x")
            elif outcome in ("s", "d") or (outcome != "x" and not self.fates.when(plug, at)):
                self._pass(plug, tag, "tombstone", 0, silent=False)
            elif outcome != "x" and plug.map:
                self.fans[split] = n
                self._elements(plug, tag, split, n, late=late, rescue=rescue, closed=True)
            elif outcome != "x":
                self._value(plug, tag, (name, at), late=late, rescue=rescue)

    def _elements(self, plug: Plug, tag: Tag, split: str, n: int, *, late: Names, rescue: Names, closed: bool) -> None:
        for i in range(n):
            value = (self.topology.sockets[plug.source].name, path(tag), i)
            self._value(plug, deeper(tag, split, i), value, late=late, rescue=rescue)
        if n == 0 and closed:
            self._pass(plug, tag, "empty", 0, silent=False)

    def _value(self, plug: Plug, tag: Tag, value: Any, *, late: Names, rescue: Names) -> None:
        if plug.gather and not tag:
            value = [value]
        sent = Sent(plug, tag, "value", -bool(plug.gather), value, late=late, rescue=rescue)
        self.into[plug.target, plug.argument].append(sent)

    def _pass(self, plug: Plug, tag: Tag, kind: str, lag: int, *, silent: bool) -> None:
        lag += self._splits(plug)
        if plug.gather and (lag or tag):
            lag -= 1
        silent = silent or plug.on == "error"
        dead_end = not self.topology.out[plug.target] and self.needs(plug.target) == (plug.argument,)
        if not (silent and dead_end and not plug.gather):
            self.into[plug.target, plug.argument].append(Sent(plug, tag, kind, lag, silent=silent))


def _with(sent: Sent, *, late: Names, rescue: Names) -> Sent:
    return Sent(sent.plug, sent.tag, sent.kind, sent.lag, sent.value, sent.silent, late, rescue)


def _list_path(sent: Sent) -> Path:
    """The path of the list that an element is for; of anything else, its own."""
    return sent.at[:-1] if sent.element else sent.at


def _by_split(elements: list[Sent]) -> list[list[Sent]]:
    """Elements that belong to one list: at one place, and of splits that have elements in common."""
    groups: list[tuple[Path, set[str], list[Sent]]] = []
    for one in elements:
        base, splits, members = one.at[:-1], set(one.tag[-1][0]), [one]
        for group in [g for g in groups if g[0] == base and g[1] & splits]:
            groups.remove(group)
            splits |= group[1]
            members = group[2] + members
        groups.append((base, splits, members))
    return [members for _, _, members in groups]


def _nearest(slots: Slots, at: Path) -> Path | None:
    for depth in range(len(at), -1, -1):
        if slots.values.get(at[:depth]):
            return at[:depth]
    return None


def _blur(value: Any) -> Any:
    """Of an argument with several plugs, how much came: which of them is first is not promised."""
    return f"{len(value)} elements" if isinstance(value, list) else "one value"


def blurred(topology: Topology, socket: str, arguments: dict[str, Any]) -> str:
    """A call's arguments as the oracle's `calls` show them."""
    key = topology.names[socket]
    shown = ((a, v if len(topology.into[key, a]) == 1 else _blur(v)) for a, v in sorted(arguments.items()))
    return repr(tuple(shown))
