"""In any order of events the join table decides what the oracle says, and nothing is lost on the way."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.pure.drawing import Case, by_chance, flows
from tests.pure.play import Play, accounted, agrees

LONG = os.environ.get("EC_HYPOTHESIS") == "long"
FLOWS = 300
"""Flows that chance draws for one quick test."""

slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
# the same flows each time, unless one goes looking for more with EC_HYPOTHESIS=long
search = settings(
    max_examples=int(os.environ.get("EC_EXAMPLES", "20000" if LONG else "150")),
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=slow,
)


def _agree(case: Case, seed: int, *, restarts: bool) -> bool:
    """Run a flow in one order and compare; False where the oracle has no answer."""
    play = Play(case.topology(), case.fates, Random(seed), restarts=restarts)
    if not agrees(play, case.roots, (case, seed)):
        return False
    accounted(play)
    return True


@pytest.mark.parametrize("restarts", [False, True])
def test_calls_and_skips_are_the_oracles_in_any_order_of_events(restarts: bool) -> None:
    answered = sum(_agree(by_chance(seed), seed, restarts=restarts) for seed in range(FLOWS))
    assert answered > FLOWS * 0.9


@search
@given(flows(), st.integers(0, 1_000), st.booleans())
def test_no_flow_is_found_of_which_the_oracle_says_something_else(case: Case, seed: int, restarts: bool) -> None:
    assume(_agree(case, seed, restarts=restarts))
