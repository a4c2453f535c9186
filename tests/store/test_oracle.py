"""The engine's core, on its own rows, comes to what the oracle says, in any order of events and over restarts."""

from __future__ import annotations

from random import Random

import pytest

from tests.pure.drawing import Case, by_chance
from tests.pure.play import Play, agrees
from tests.store.coreflow import CoreFlow

FLOWS = 60
"""Flows that chance draws."""


def agree(case: Case, seed: int, *, restarts: bool) -> bool:
    """Run a flow in one order and compare; False where the oracle has no answer."""
    topology = case.topology()
    flow = CoreFlow(topology)
    play = Play(topology, case.fates, Random(seed), restarts=restarts, flow=flow)
    if not agrees(play, case.roots, (case, seed)):
        return False
    flow.agrees()
    return True


@pytest.mark.parametrize("restarts", [False, True])
def test_calls_and_skips_are_the_oracles_in_any_order_of_events(restarts: bool) -> None:
    answered = sum(agree(by_chance(seed), seed, restarts=restarts) for seed in range(FLOWS))
    assert answered > FLOWS * 0.9


def test_what_a_killed_engine_had_not_decided_the_next_one_decides() -> None:
    case = by_chance(1085)
    assert all(agree(case, seed, restarts=True) for seed in range(20))
