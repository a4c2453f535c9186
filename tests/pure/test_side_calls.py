"""Calls that are no requests: one name for each, and the limits of any other call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.engine.failures import MOST_DEATHS
from ec_jupyter.engine.side_calls import EVALUATE, REMAKE, REQUEST, CallId, SideCalls
from ec_jupyter.wire import Outcome

calls = st.builds(CallId, st.sampled_from([EVALUATE, REMAKE]), st.integers(1, 1 << 40))


@given(st.builds(CallId, st.sampled_from([REQUEST, EVALUATE, REMAKE]), st.integers(1, 1 << 40)))
def test_a_number_names_one_call_and_a_request_is_named_by_its_own(call: CallId) -> None:
    assert CallId.of(call.number) == call
    assert (call.number > 0) == (call.kind == REQUEST)


@given(calls, st.lists(st.sampled_from(["returned", "died"]), max_size=12))
def test_a_call_is_tried_again_until_it_has_ended_too_many_workers(call: CallId, events: list[str]) -> None:
    side_calls = SideCalls()
    told: list[Outcome | None] = []
    deaths = 0
    for event in events:
        attempt = side_calls.send(call, told.append, "local")
        assert attempt is not None
        if event == "died":
            side_calls.died(call.number, attempt, "killed by signal 9")
            deaths += 1
        else:
            side_calls.returned(call.number)
        failed = told.pop()
        assert (failed is not None) == (deaths > MOST_DEATHS)
        if failed is not None:
            assert "3 times, last: killed by signal 9" in (failed.error or {})["message"]
            # whoever sends it once more begins to count anew
            deaths = 0
        assert told == list(side_calls) == []


@given(calls)
def test_what_an_attempt_that_was_given_up_says_changes_nothing(call: CallId) -> None:
    side_calls = SideCalls()
    told: list[Outcome | None] = []
    first = side_calls.send(call, told.append, "far")
    side_calls.returned(call.number, "far")
    assert told == [None]
    second = side_calls.send(call, told.append, "near")
    assert first is not None
    assert second is not None
    assert not side_calls.outcome(Outcome(call.number, first, "done"))
    side_calls.died(call.number, first, "killed")
    side_calls.returned(call.number, "far")
    assert told == [None]
    assert side_calls.at("near") == [call.number]
    outcome = Outcome(call.number, second, "done")
    assert side_calls.outcome(outcome)
    assert told == [None, outcome]
    assert not side_calls.outcome(outcome)


@pytest.mark.parametrize("kind", [EVALUATE, REMAKE])
def test_one_that_killed_engines_fails_with_the_reason_until_a_person_wants_it(kind: str) -> None:
    side_calls, call = SideCalls(), CallId(kind, 5)
    told: list[Outcome | None] = []
    side_calls.refused[call.number] = "the engine was killed 5 times while it ran"
    assert side_calls.send(call, told.append) is None
    (failed,) = told
    assert failed is not None
    assert (failed.error or {})["message"] == "the engine was killed 5 times while it ran"
    side_calls.allow(call)
    assert side_calls.send(call, told.append) is not None
    assert len(told) == 1
