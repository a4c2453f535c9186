"""Cycles: refused unless asked for, and not for ever."""

from __future__ import annotations

import pytest

from ec_jupyter.engine.failures import MOST_HOPS
from ec_jupyter.errors import CycleError
from tests.crash.flowkit import Flow


def test_a_plug_that_would_close_a_cycle_is_refused_and_makes_nothing(flow: Flow) -> None:
    flow.socket(lambda x: x, "there")
    flow.socket(lambda x: x, "back")
    flow.plug("there", "back.x")
    with pytest.raises(CycleError, match=r"from 'back' to 'there' would close a cycle; cycle=True allows it"):
        flow.plug("back", "there.x")
    assert len(flow.client.topology["plugs"]) == 1


def test_a_cycle_that_was_asked_for_ends_where_its_condition_fails(flow: Flow) -> None:
    flow.socket(lambda n: n - 1, "down")
    flow.plug("down", "down.n", when=lambda n: n > 0, cycle=True)
    flow.submit("down", n=5)
    flow.drained()
    assert flow.results("down") == [4, 3, 2, 1, 0]


def test_a_cycle_that_does_not_end_fails_after_so_many_calls_in_a_row(flow: Flow) -> None:
    flow.socket(lambda n: n + 1, "up")
    flow.plug("up", "up.n", cycle=True)
    flow.submit("up", n=0)
    assert flow.drained()["failed"] == 1
    (failed,) = flow.requests(socket="up", state="failed")
    assert failed["error"]["message"].startswith(f"{MOST_HOPS + 1} calls in a row led here (limit {MOST_HOPS})")
    assert flow.count("up")["done"] == MOST_HOPS + 1
