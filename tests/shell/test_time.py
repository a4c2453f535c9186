"""What a person types for calls that are to come later."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from ec_jupyter.errors import ArgumentsError
from tests.cases import each_of

CELL = """
flow = ec.flow()
@ec.socket
def echo(x): return x
"""


@pytest.fixture
def timed(loaded: Any) -> Any:
    """A shell with a flow of one socket."""
    loaded.run(CELL)
    return loaded


def test_a_call_for_later_is_seen_as_delayed_and_runs_at_its_time(timed: Any) -> None:
    began = time.time()
    request = timed.run("%ec_submit --delay 1h echo x=1")
    assert request.state == "delayed"
    assert request.due == pytest.approx(began + 3600, abs=60)
    assert timed.run("[r.id for r in flow.requests(state='delayed')]") == [request.id]
    (row,) = timed.run("flow.status()").rows
    assert (row["note"], row["queued"]) == ("1 waits for its time", 0)
    with pytest.raises(TimeoutError, match=rf"{request.id} of 'echo' waits for its time, .*, and has not ended"):
        request.result(0.2)
    assert timed.run("flow.submit('echo', 2, delay=0.2).result(60)") == 2
    assert timed.run("flow.submit('echo', 3, at=__import__('time').time() + 0.2).result(60)") == 3
    assert timed.run("echo(1), flow['echo'].submit(4, delay='0.1s').result(60)") == (1, 4)
    assert request.cancel()
    assert (request.state, request.due) == ("cancelled", None)


@each_of(
    ("words", "said"),
    [
        ("delay='soon'", r"delay= takes seconds, or a time such as '90s', '5m', '2h' or '1d', not 'soon'"),
        ("delay=-1", r"delay= takes seconds, .*, not -1"),
        ("at='tomorrow'", r"at= takes a datetime, its text such as '2030-01-31 06:00', or seconds .*, not 'tomorrow'"),
        ("delay=1, at=2", r"delay= and at= both say when it may start; give one"),
        ("delay=1, partial=True", r"delay= goes with a whole call"),
    ],
)
def test_what_is_no_time_is_refused_by_the_name_of_its_option_and_submits_nothing(
    timed: Any, words: str, said: str
) -> None:
    with pytest.raises(ArgumentsError, match=said):
        timed.run(f"flow.submit('echo', 1, {words})")
    assert timed.run("len(flow.requests())") == 0


@each_of(
    ("given", "seconds"),
    [
        ("'90s'", 90), ("'1h30m'", 5400), ("'1 w'", 604_800), ("__import__('datetime').timedelta(days=2)", 172_800),
    ],
)  # fmt: skip
def test_a_time_is_written_in_the_words_people_use(timed: Any, given: str, seconds: float) -> None:
    due = timed.run(f"flow.submit('echo', 1, delay={given}).due")
    assert due == pytest.approx(time.time() + seconds, abs=60)


def test_a_time_of_day_is_this_machines_unless_it_says_otherwise(timed: Any) -> None:
    tomorrow = (datetime.now() + timedelta(days=1)).replace(microsecond=0)
    assert timed.run(f"flow.submit('echo', 1, at='{tomorrow}').due") == tomorrow.timestamp()
    assert timed.run("flow.submit('echo', 1, at='2090-01-01T00:00+00:00').due") == 3786912000
