"""CPU shares: never more than there are, in order, no claim starved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.flow.ledger import Ledger

CAPS = {"a": 2.0, "b": 1.0, "c": 0.5, "d": 0.0}


@given(
    cpus=st.sampled_from([1, 2, 4]),
    steps=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(sorted(CAPS)), st.sampled_from([0.25, 0.5, 1, 2, 8]))),
)
def test_running_sum_is_never_above_the_node_or_a_processor(cpus: int, steps: list[tuple[int, str, float]]) -> None:
    ledger = Ledger(cpus)
    for name, cap in CAPS.items():
        ledger.cap(name, cap)
    processor_of: dict[int, str] = {}
    for holder, processor, shares in steps:
        if holder in processor_of:
            ledger.release(holder)
            del processor_of[holder]
        else:
            processor_of[holder] = processor
            ledger.claim(holder, processor, shares)
        held = {name: sum(ledger.held(h) for h, p in processor_of.items() if p == name) for name in CAPS}
        assert sum(held.values()) == ledger.used <= cpus
        assert all(held[name] <= CAPS[name] for name in CAPS)


@given(steps=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.sampled_from([0.5, 1, 2]))))
def test_every_claim_is_granted_once_those_before_it_have_gone(steps: list[tuple[int, str, float]]) -> None:
    ledger = Ledger(2)
    for name in "abc":
        ledger.cap(name, 2)
    waiting: set[int] = set()
    holding: list[int] = []
    for holder, processor, shares in steps:
        if holder not in waiting and holder not in holding:
            (holding.append if ledger.claim(holder, processor, shares) else waiting.add)(holder)
    while holding:
        granted = ledger.release(holding.pop(0))
        assert set(granted) <= waiting
        waiting.difference_update(granted)
        holding.extend(granted)
    assert not waiting
    assert ledger.used == 0


def test_claim_of_two_cpus_is_not_starved_by_many_of_one() -> None:
    ledger = Ledger(2)
    assert ledger.claim("one", "a", 1)
    assert ledger.claim("two", "a", 1)
    assert not ledger.claim("both", "b", 2)
    assert not ledger.claim("late", "a", 1)
    assert ledger.release("one") == []  # one CPU is free, and kept for the claim of two
    assert not ledger.claim("one", "a", 1)
    assert ledger.release("two") == ["both"]
    assert ledger.release("both") == ["late", "one"]


def test_processor_at_its_cap_does_not_hold_up_others() -> None:
    ledger = Ledger(4)
    ledger.cap("narrow", 1)
    assert ledger.claim("first", "narrow", 1)
    assert not ledger.claim("second", "narrow", 1)
    assert ledger.claim("other", "wide", 3)
    assert ledger.contended
    assert ledger.release("first") == ["second"]


def test_claims_of_a_processor_at_its_cap_keep_their_order() -> None:
    ledger = Ledger(4)
    ledger.cap("p", 2)
    assert ledger.claim("x", "p", 1)
    assert not ledger.claim("big", "p", 2)
    assert not ledger.claim("small", "p", 1)
    assert ledger.release("x") == ["big"]


def test_raised_cap_grants_at_once_and_a_lowered_one_takes_nothing_away() -> None:
    ledger = Ledger(4)
    ledger.cap("p", 1)
    assert ledger.claim(1, "p", 1)
    assert not ledger.claim(2, "p", 1)
    assert ledger.cap("p", 2) == [2]
    assert ledger.cap("p", 0) == []
    assert ledger.used == 2
    assert not ledger.claim(3, "p", 1)
    assert ledger.release(1) == ledger.release(2) == []
    assert ledger.cap("p", 1) == [3]


def test_claim_for_more_than_there_is_counts_as_all_of_it() -> None:
    ledger = Ledger(2)
    ledger.cap("p", 1)
    assert ledger.claim("x", "p", 64)
    assert ledger.held("x") == 1


def test_claim_that_waits_can_be_given_up() -> None:
    ledger = Ledger(1)
    assert ledger.claim("x", "p", 1)
    assert not ledger.claim("y", "p", 1)
    assert ledger.release("y") == []
    assert not ledger.contended
    assert ledger.release("nobody") == []


def test_second_claim_of_a_holder_is_our_mistake() -> None:
    ledger = Ledger(1)
    ledger.claim("x", "p", 1)
    with pytest.raises(ValueError, match="'x' has a claim already"):
        ledger.claim("x", "p", 1)


def test_tenths_add_up_to_a_whole_cpu() -> None:
    ledger = Ledger(1)
    assert all(ledger.claim(i, "p", 0.1) for i in range(10))
    for i in range(10):
        ledger.release(i)
    assert ledger.claim("all", "p", 1)


class Bank:
    """Lends to two ledgers what there is."""

    def __init__(self, cpus: int) -> None:
        self.free = cpus
        self.lent: dict[object, int] = {}

    def take(self, holder: object, cpus: int) -> bool:
        if cpus > self.free:
            return False
        self.free -= cpus
        self.lent[holder] = cpus
        return True

    def give(self, holder: object) -> None:
        self.free += self.lent.pop(holder, 0)


@given(steps=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from([0.5, 1, 2, 3]))))
def test_ledgers_of_one_lender_together_hold_no_more_than_it_has_and_no_grant_is_lost(
    steps: list[tuple[int, int, float]],
) -> None:
    bank = Bank(2)
    ledgers = [Ledger(2, bank), Ledger(2, bank)]
    holding: set[tuple[int, int]] = set()
    waiting: set[tuple[int, int]] = set()
    for which, number, shares in [*steps, *((w, n, 0) for _ in range(8) for w in (0, 1) for n in range(4))]:
        holder, ledger = (which, number), ledgers[which]
        granted: list[object] = []
        if holder in holding:
            granted = ledger.release(holder)
            holding.remove(holder)
        elif holder not in waiting and shares:
            waiting.add(holder)
            granted = [holder] if ledger.claim(holder, "p", shares) else []
        for one in (*granted, *ledgers[0].grant(), *ledgers[1].grant()):
            waiting.remove(one)
            holding.add(one)
        assert sum(bank.lent.values()) + bank.free == 2
        assert {one for one in holding | waiting if ledgers[one[0]].held(one)} == holding == set(bank.lent)
    assert not waiting
    assert not holding


def test_claim_does_not_take_what_a_lender_has_again_before_one_that_waits() -> None:
    bank = Bank(1)
    mine, others = Ledger(2, bank), Ledger(2, bank)
    assert others.claim("theirs", "p", 1)
    assert not mine.claim("first", "p", 1)
    others.release("theirs")
    # who claims is told of itself alone, so nobody else may be granted then
    assert not mine.claim("second", "p", 1)
    assert mine.held("first") == 0
    assert mine.grant() == ["first"]
    assert mine.release("first") == ["second"]


# -- weights ---------------------------------------------------------------------------
def turns(ledger: Ledger, claims: dict[str, int], n: int) -> list[str]:
    """Which processors have `n` turns, with so many slots of each that always have something to do."""
    order, holding = [], []
    for holder in [(name, at) for name, slots in claims.items() for at in range(slots)]:
        if ledger.claim(holder, holder[0], 1):
            holding.append(holder)
            order.append(holder[0])
    while len(order) < n:
        holder = holding.pop(0)
        if ledger.again(holder):
            holding.append(holder)
            order.append(holder[0])
            continue
        found = ledger.release(holder)
        if ledger.claim(holder, holder[0], 1):
            found.append(holder)
        holding += found
        order += [name for name, _ in found]
    return order


def test_processors_have_turns_in_proportion_to_their_weights_however_many_slots_they_have() -> None:
    ledger = Ledger(1)
    for name, weight in (("light", 3), ("hog", 1), ("other", 0.5)):
        ledger.weigh(name, weight)
    order = turns(ledger, {"hog": 8, "light": 2, "other": 2}, 180)
    assert [order.count(name) for name in ("light", "hog", "other")] == pytest.approx([120, 40, 20], abs=2)


def test_a_processor_that_had_nothing_to_do_saves_no_turns_up() -> None:
    ledger = Ledger(1)
    ledger.weigh("light", 4)
    assert turns(ledger, {"hog": 3}, 50) == ["hog"] * 50
    (holder,) = [("hog", at) for at in range(3) if ledger.held(("hog", at))]
    assert not any(ledger.claim(("light", at), "light", 1) for at in range(2))
    assert ledger.release(holder)[0][0] == "light"
    order = []
    for _ in range(50):
        (holder,) = [(name, at) for name in ("hog", "light") for at in range(3) if ledger.held((name, at))]
        if ledger.again(holder):
            order.append(holder[0])
            continue
        order += [name for name, _ in ledger.release(holder)]
        ledger.claim(holder, holder[0], 1)
    assert order.count("hog") == pytest.approx(10, abs=2)


def test_a_weight_that_is_taken_away_leaves_the_order_of_claims() -> None:
    ledger = Ledger(1)
    ledger.weigh("light", 4)
    ledger.weigh("light", 1)
    order = turns(ledger, {"hog": 2, "light": 1}, 30)
    assert order.count("light") == 10


def test_one_slot_of_each_has_turns_by_its_weight_too() -> None:
    ledger = Ledger(1)
    ledger.weigh("light", 3)
    order = turns(ledger, {"hog": 1, "light": 1}, 80)
    assert order.count("light") == pytest.approx(60, abs=2)
    assert not Ledger(1).again("nobody")


@given(
    weights=st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.1, 1, 7])),
    steps=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.sampled_from([0.5, 1, 2]))),
)
def test_with_any_weights_every_claim_is_granted_in_the_end(
    weights: dict[str, float], steps: list[tuple[int, str, float]]
) -> None:
    ledger = Ledger(2)
    for name, weight in weights.items():
        ledger.weigh(name, weight)
    waiting: set[object] = set()
    holding: list[object] = []
    for holder, processor, shares in steps:
        if holder not in waiting and holder not in holding:
            (holding.append if ledger.claim(holder, processor, shares) else waiting.add)(holder)
    while holding:
        granted = ledger.release(holding.pop(0))
        assert set(granted) <= waiting
        waiting.difference_update(granted)
        holding.extend(granted)
    assert not waiting
    assert ledger.used == 0
