"""Cycles: refused unless asked for, and not for ever."""

from __future__ import annotations

from typing import Any

import pytest

from ec_jupyter.errors import CycleError, DeclarationError
from ec_jupyter.flow.topology import MOST_HOPS
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


def test_hops_of_a_plug_bound_all_of_its_cycle_and_nothing_behind_it(flow: Flow) -> None:
    for name in ("up", "on", "out", "last"):
        flow.socket(lambda n: n + 1, name)
    flow.plug("up", "on.n")
    flow.plug("on", "out.n", when=lambda n: n > 5)
    flow.plug("out", "last.n")
    flow.plug("on", "up.n", cycle=True, hops=6)
    flow.submit("up", n=0)
    assert flow.drained()["failed"] == 1
    (failed,) = flow.requests(state="failed")
    assert failed["socket"] == "on"
    assert failed["error"]["message"] == "7 calls in a row led here (limit 6): the cycle does not end"
    assert flow.results("last") == [8]
    flow.plug("on", "up.n", cycle=True)
    assert flow.client.topology["plugs"][-1]["hops"] == 6, "what a change does not name stays"
    flow.plug("on", "up.n", cycle=True, hops=None)
    assert flow.client.topology["plugs"][-1]["hops"] is None


def test_hops_say_what_they_take_and_go_with_a_cycle(flow: Flow) -> None:
    flow.socket(lambda n: n, "up")
    with pytest.raises(DeclarationError, match="'up -> up': hops= takes a whole number of calls in a row, at least 1"):
        flow.plug("up", "up.n", cycle=True, hops=0)
    flow.socket(lambda n: n, "out")
    with pytest.raises(DeclarationError, match=r"plug 'up -> out.n': hops= bounds a cycle; it goes with cycle=True"):
        flow.plug("up", "out.n", hops=3)
    assert flow.client.topology["plugs"] == []


def yields(n):
    yield n
    yield n


def fails(n):
    raise ValueError(str(n))


def bounded(flow: Flow, made: int) -> None:
    """All comes to its end, after so many calls in all, of which the last are one too many."""
    assert flow.drained()["failed"] > 0
    rows = flow.requests()
    assert len(rows) == made
    assert any("calls in a row led here (limit 3)" in (row["error"] or {}).get("message", "") for row in rows)


@pytest.mark.parametrize("when", [None, lambda result: True])
@pytest.mark.parametrize("restarts", [False, True])
def test_yields_that_lead_back_count_as_calls_in_a_row(flow: Flow, when: Any, restarts: bool) -> None:
    flow.socket(yields)
    flow.plug("yields", "yields.n", cycle=True, hops=3, when=when)
    if restarts:
        flow.client.engine.pace = lambda: False  # type: ignore[attr-defined]
    flow.submit("yields", n=0)
    for _ in range(4 if restarts else 0):
        flow.client.engine.agent.step()  # type: ignore[attr-defined]
        flow.client.engine.tick()  # type: ignore[attr-defined]
        flow.restart()
    bounded(flow, 1 + 2 + 4 + 8 + 16)


@pytest.mark.parametrize("when", [None, lambda error: True])
def test_failures_that_lead_back_count_as_calls_in_a_row(flow: Flow, when: Any) -> None:
    flow.socket(fails)
    flow.socket(lambda n: n, "told")
    flow.plug("fails", "fails.n", on="error", cycle=True, hops=3, when=when)
    flow.plug("fails", "told.n", on="error")
    flow.submit("fails", n=0)
    bounded(flow, 5 + 5)
