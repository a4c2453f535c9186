"""Flows to try: grown socket by socket, by chance or as hypothesis draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from ec_jupyter.flow.topology import Topology
from tests.pure.oracle import Fates
from tests.pure.simulation import wiring

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several; a test of hypothesis shrinks to the first of them."""


@dataclass(frozen=True, repr=False)
class Case:
    """A flow, what its calls come to, and where its runs begin."""

    sockets: str
    plugs: str
    fates: Fates
    roots: tuple[str, ...]
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def topology(self) -> Topology:
        return wiring(self.sockets, self.plugs, policies=self.policies)

    def __repr__(self) -> str:
        ends = {name: letters for name, letters in self.fates.outcomes.items() if set(letters) != {"v"}}
        fates = f"Fates({ends}, {self.fates.sizes}, {self.fates.whens})"
        return f"Case({self.sockets!r}, {self.plugs!r}, {fates}, {self.roots}, {self.policies})"


@dataclass
class Drawing:
    """A flow that grows by one socket at a time, each with the depth its calls stand at."""

    sockets: list[str] = field(default_factory=list)
    plugs: list[str] = field(default_factory=list)
    depth: dict[str, int] = field(default_factory=dict)
    many: set[str] = field(default_factory=set)
    whens: dict[int, tuple[bool, ...]] = field(default_factory=dict)
    policies: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, arguments: str, depth: int, *, generator: bool = False, many: object = False) -> str:
        name = f"S{len(self.sockets)}"
        self.sockets.append(f"{name}{'*' * generator}({arguments})")
        self.depth[name] = depth
        if many:
            self.many.add(name)
        return name

    def plug(self, source: str, target: str, options: str = "", when: tuple[bool, ...] | None = None) -> None:
        self.plugs.append(f"{source} -> {target} {options} {'when' if when else ''}")
        if when:
            self.whens[len(self.plugs)] = when

    def behind(self, source: str) -> int:
        """How deep what a socket's plugs carry stands."""
        return self.depth[source] + any(s.startswith(f"{source}*") for s in self.sockets)


KINDS = ["plain", "join", "map", "gather", "arms", "fallback", "generator", "twice", "map", "gather", "join"]
POLICIES: tuple[Mapping[str, Any], ...] = (
    {"join": "zip"}, {"join": "latest"}, {"join": "key"}, {"hold": ("b",)}, {"join": "latest", "on": ("a",)},
    {"hold": ("c",)}, {"join": "zip", "hold": ("c",)}, {"join": "key", "hold": ("c",)},
    {"join": "latest", "on": ("b",), "hold": ("c",)},
)  # fmt: skip
"""What a socket may join by where it is not by run alone."""
OUTCOMES = "vvvvvvvvvvvvsfdx"


def _several(pick: Pick, choices: Sequence[Any], most: int) -> tuple[Any, ...]:
    return tuple(pick(choices) for _ in range(pick(range(1, most + 1))))


def _maybe_when(pick: Pick) -> tuple[bool, ...] | None:
    return _several(pick, [True, False], 3) if pick(range(3)) == 2 else None


def _grow(pick: Pick, flow: Drawing, kinds: Sequence[str]) -> None:
    # the newest first: what grows is a flow rather than a bush
    names = list(reversed(flow.depth))
    source, other = pick([*names[:2], *names]), pick(names)
    kind = pick(kinds)
    if kind in ("arms", "fallback") and flow.behind(source) == flow.depth[source]:
        (_arms if kind == "arms" else _fallback)(pick, flow, source, other)
    elif kind == "policy":
        # the roots first: what joins strangers is of interest where many values come
        _policy(pick, flow, source, *(pick([*reversed(names), *names]) for _ in range(2)))
    elif kind == "join":
        target = flow.add("a, b", max(flow.behind(source), flow.behind(other)), many=flow.many & {source, other})
        flow.plug(source, f"{target}.a", when=_maybe_when(pick))
        flow.plug(other, f"{target}.b")
    elif kind == "twice" and flow.behind(other) == flow.behind(source):
        target = flow.add("x", flow.behind(source), many=True)
        flow.plug(source, f"{target}.x")
        flow.plug(other, f"{target}.x", when=_maybe_when(pick))
    else:
        _follow(pick, flow, source, kind)


def _follow(pick: Pick, flow: Drawing, source: str, kind: str) -> None:
    """One more socket behind one."""
    level, many = flow.behind(source), source in flow.many
    split = kind == "map" and not many and level < 2 and level == flow.depth[source]
    gather = kind == "gather" and not many
    generator = kind == "generator" and not many and level < 2
    target = flow.add("x", max(0, level + split - gather), generator=generator, many=many)
    flow.plug(source, f"{target}.x", "map" if split else "gather" if gather else "", when=_maybe_when(pick))


def _policy(pick: Pick, flow: Drawing, *sources: str) -> None:
    """A join of strangers, or one with an argument that is held."""
    policy = pick(POLICIES)
    hold = policy.get("hold", ())
    feeds = dict(zip("abc" if "c" in hold else "ab", sources, strict=False))
    # a call of values from anywhere begins a run
    within = [] if "join" in policy else [source for name, source in feeds.items() if name not in hold]
    depth = max((flow.behind(source) for source in within), default=0)
    target = flow.add(", ".join(feeds), depth, many=flow.many & {*within})
    flow.policies[target] = policy
    for name, source in feeds.items():
        whole = source not in flow.many and flow.behind(source) == flow.depth[source] < 2
        split = whole and source not in within and pick([False, True])
        # of a call at the root a condition says the same each time
        when = _maybe_when(pick) if flow.depth[source] else None
        flow.plug(source, f"{target}.{name}", "map" if split else "", when=when)


def _meets(pick: Pick, flow: Drawing, level: int, other: str, many: bool) -> str:
    """A socket with one argument, or one that another feeds as well."""
    if pick([True, False]) and flow.behind(other) <= level:
        target = flow.add("a, b", level, many=many or other in flow.many)
        flow.plug(other, f"{target}.b")
    else:
        target = flow.add("a", level, many=many)
    return target


def _arms(pick: Pick, flow: Drawing, source: str, other: str) -> None:
    when = _several(pick, [True, False], 3)
    level, many = flow.depth[source], source in flow.many
    yes, no = flow.add("x", level, many=many), flow.add("x", level, many=many)
    flow.plug(source, f"{yes}.x", when=when)
    flow.plug(source, f"{no}.x", when=tuple(not w for w in when))
    gather = pick([True, False]) and level > 0 and not many
    target = _meets(pick, flow, level - gather, other, many)
    for arm in (yes, no):
        flow.plug(arm, f"{target}.a", "gather" if gather else "")


def _fallback(pick: Pick, flow: Drawing, source: str, other: str) -> None:
    level, many = flow.depth[source], source in flow.many
    rescue = flow.add("x", level, many=many)
    flow.plug(source, f"{rescue}.x", "error")
    target = _meets(pick, flow, level, other, many)
    flow.plug(source, f"{target}.a")
    flow.plug(rescue, f"{target}.a")


def case(pick: Pick, kinds: Sequence[str] = KINDS) -> Case:
    """A flow, what its calls come to, and where its runs begin."""
    flow = Drawing()
    roots = [flow.add("", 0, generator=pick(range(5)) == 4) for _ in range(pick([1, 2]))]
    for _ in range(pick([5, 6, 7, 8, 9, 4, 3, 2, 1])):
        _grow(pick, flow, kinds)
    outcomes = {name: _several(pick, OUTCOMES, 3) for name in flow.depth}
    sizes = {name: _several(pick, [2, 1, 3, 2, 0], 2) for name in flow.depth}
    return Case(
        " ".join(flow.sockets), "; ".join(flow.plugs), Fates(outcomes, sizes, flow.whens), tuple(roots), flow.policies
    )


def by_chance(seed: int) -> Case:
    """The flow of that number."""
    return case(Random(seed).choice)


@st.composite
def flows(draw: st.DrawFn, drawn: Callable[[Pick], Case] = case) -> Case:
    """Flows that hypothesis makes smaller where one shows a fault."""
    return drawn(lambda choices: draw(st.sampled_from(choices)))
