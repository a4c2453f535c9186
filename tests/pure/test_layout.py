"""Where cards of a picture stand."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.flow.layout import Box, Card, Place, group_boxes, inner_boxes, layout

Links = list[tuple[str, str]]


def drawn(seed: int, sockets: int, groups: int, links: int, *, cyclic: bool = False) -> tuple[dict[str, Card], Links]:
    """Cards of random heights in random groups, and random links between them."""
    dice = random.Random(seed)
    names = [f"s{i}" for i in range(sockets)]
    cards = {n: Card(f"p{dice.randrange(groups)}", 232, 152 + 24 * dice.randint(1, 5)) for n in names}
    pairs = []
    for _ in range(links):
        a, b = sorted(dice.choices(range(sockets), k=2))
        if a != b or cyclic:
            pairs.append((names[b], names[a]) if cyclic and dice.random() < 0.2 else (names[a], names[b]))
    return cards, pairs


def boxes(cards: dict[str, Card], places: dict[str, Place]) -> dict[str, Box]:
    return {name: (*places[name], card.width, card.height) for name, card in cards.items()}


def touch(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def overlaps(found: dict[str, Box]) -> list[tuple[str, str]]:
    names = list(found)
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if touch(found[a], found[b])]


graphs = st.builds(
    drawn, st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6), st.integers(0, 60), cyclic=st.booleans()
)


@given(graphs)
@settings(max_examples=150, deadline=None)
def test_no_two_cards_and_no_two_groups_overlap(graph: tuple[dict[str, Card], Links]) -> None:
    cards, links = graph
    places = layout(cards, links)
    assert list(places) == list(cards) or set(places) == set(cards)
    assert overlaps(boxes(cards, places)) == []
    assert overlaps(group_boxes(cards, places)) == []


@given(graphs, st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_no_card_and_no_other_group_stands_in_a_group_of_sockets(graph: tuple[dict[str, Card], Links], n: int) -> None:
    drawn, links = graph
    inner = [None, *(f"g{i}" for i in range(n))]
    # each group on one processor: a name of its own there
    cards = {
        name: replace(card, inner=chosen and f"{chosen} on {card.group}")
        for (name, card), chosen in zip(drawn.items(), cycle(inner), strict=False)
    }
    places = layout(cards, links)
    found = inner_boxes(cards, places)
    assert overlaps(boxes(cards, places)) == []
    assert overlaps(found) == []
    assert overlaps(group_boxes(cards, places)) == []
    inside = {name: card.inner for name, card in cards.items()}
    strangers = [(g, n) for g, box in found.items() for n, one in boxes(cards, places).items() if touch(box, one)]
    assert [(g, n) for g, n in strangers if inside[n] != g] == []


def test_a_new_card_comes_to_lie_in_no_group_of_sockets() -> None:
    placed = {"a": (0.0, 0.0), "b": (700.0, 0.0)}
    cards = {name: Card("main", 232, 176, place, "fit") for name, place in placed.items()}
    # right of what feeds it there is room, between the two
    cards["new"] = Card("main", 232, 176)
    places = layout(cards, [("a", "new")])
    (box,) = inner_boxes(cards, places).values()
    assert not touch((*places["new"], 232, 176), box)


@given(graphs)
@settings(max_examples=50, deadline=None)
def test_no_card_stands_in_the_rectangle_of_another_processor(graph: tuple[dict[str, Card], Links]) -> None:
    cards, links = graph
    places = layout(cards, links)
    fields = group_boxes(cards, places)
    for name, box in boxes(cards, places).items():
        assert [g for g, field in fields.items() if g != cards[name].group and touch(box, field)] == []


@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 6), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_a_source_stands_left_of_what_it_feeds(seed: int, sockets: int, groups: int, count: int) -> None:
    cards, links = drawn(seed, sockets, groups, count)
    places = layout(cards, links)
    assert [(a, b) for a, b in links if places[a][0] + cards[a].width >= places[b][0]] == []


@given(graphs, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_placed_cards_stay_and_the_others_touch_nothing(
    graph: tuple[dict[str, Card], Links], dice: random.Random
) -> None:
    cards, links = graph
    free = layout(cards, links)
    # a person has moved some, but never onto each other
    stays = {name: free[name] for name in cards if dice.random() < 0.5}
    cards = {n: Card(c.group, c.width, c.height, stays.get(n)) for n, c in cards.items()}
    places = layout(cards, links)
    assert {name: places[name] for name in stays} == stays
    assert overlaps(boxes(cards, places)) == []


@given(graphs)
@settings(max_examples=30, deadline=None)
def test_the_same_flow_has_the_same_picture(graph: tuple[dict[str, Card], Links]) -> None:
    cards, links = graph
    assert layout(dict(cards), list(links)) == layout(cards, links)


def test_a_picture_begins_at_the_upper_left_corner() -> None:
    cards, links = drawn(1, 12, 3, 20)
    fields = group_boxes(cards, layout(cards, links)).values()
    assert (min(f[0] for f in fields), min(f[1] for f in fields)) == (0, 0)


def test_a_chain_over_processors_is_one_row() -> None:
    cards = {f"s{i}": Card(f"p{i}", 232, 100) for i in range(5)}
    places = layout(cards, [(f"s{i}", f"s{i + 1}") for i in range(4)])
    assert len({y for _, y in places.values()}) == 1
    assert sorted(places, key=lambda name: places[name][0]) == list(cards)


def test_what_feeds_two_stands_between_them_and_lines_do_not_cross() -> None:
    cards = {name: Card("main", 232, 100) for name in ("a", "b", "c", "x", "y", "z")}
    places = layout(cards, [("a", "z"), ("b", "y"), ("c", "x")])
    assert [sorted(some, key=lambda n: places[n][1]) for some in ("abc", "zyx")] in (
        [["a", "b", "c"], ["z", "y", "x"]],
        [["c", "b", "a"], ["x", "y", "z"]],
    )
    fan = layout({n: Card("main", 232, 100) for n in ("s", "u", "v")}, [("s", "u"), ("s", "v")])
    assert fan["s"][1] == (fan["u"][1] + fan["v"][1]) / 2


def test_unlinked_cards_fill_a_block_and_no_tower() -> None:
    cards = {f"s{i}": Card("main", 232, 176) for i in range(30)}
    assert 1 < shape(cards, layout(cards, [])) < 3


def shape(cards: dict[str, Card], places: dict[str, Place]) -> float:
    """How many times its height a picture is wide."""
    wide = max(x + cards[name].width for name, (x, _) in places.items())
    return wide / max(y + cards[name].height for name, (_, y) in places.items())


@pytest.mark.parametrize("processors", [1, 2, 12])
def test_cards_that_come_one_by_one_while_somebody_looks_make_no_tower(processors: int) -> None:
    cards: dict[str, Card] = {}
    for i in range(12):
        cards[f"s{i}"] = Card(f"p{i % processors}", 232, 176)
        cards = {name: replace(cards[name], place=place) for name, place in layout(cards, []).items()}
    assert 1 < shape(cards, layout(cards, [])) < 4


@pytest.mark.parametrize("one_by_one", [False, True])
def test_processors_without_plugs_between_them_stand_beside_each_other_as_they_were_made(one_by_one: bool) -> None:
    # the plugs come next, and most of them lead from what was made before to what was made after
    cards: dict[str, Card] = {}
    for name, group in (("double", "main"), ("square", "main"), ("add_two", "maths")):
        cards[name] = Card(group, 232, 176)
        if one_by_one:
            cards = {one: replace(cards[one], place=place) for one, place in layout(cards, []).items()}
    places = layout(cards, [])
    assert max(places["double"][0], places["square"][0]) + 232 < places["add_two"][0]
    assert places["add_two"][1] == places["double"][1]


def test_a_new_card_comes_right_of_what_feeds_it_or_to_its_own_group() -> None:
    placed = {"a": Card("one", 232, 176, (500.0, 300.0)), "b": Card("two", 232, 176, (-100.0, 900.0))}
    new = {"fed": Card("one", 232, 176), "alone": Card("two", 232, 176), "other": Card("three", 232, 176)}
    cards = {**placed, **new}
    places = layout(cards, [("a", "fed")])
    assert places["fed"] == (832, 300)
    assert places["alone"] == (232, 900)
    assert overlaps(group_boxes(cards, places)) == []


def test_nothing_has_no_places() -> None:
    assert layout({}, []) == {}
    assert group_boxes({}, {}) == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_sockets_have_places(seed: int) -> None:
    cards, links = drawn(seed, 1000, 20, 2000, cyclic=True)
    places = layout(cards, links)
    fields = group_boxes(cards, places)
    assert overlaps(fields) == []
    for group in fields:
        mine = {n: c for n, c in cards.items() if c.group == group}
        assert overlaps(boxes(mine, places)) == []
