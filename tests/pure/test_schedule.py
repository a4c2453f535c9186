"""When schedules tick, and which of the ticks that are due make calls."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.errors import DeclarationError
from ec_jupyter.flow.options import checked
from ec_jupyter.flow.schedule import LATE, MOST, first, text, ticks
from ec_jupyter.model import Schedule

BERLIN = ZoneInfo("Europe/Berlin")


def every(seconds, missed="once", since=0.0):
    return Schedule(1, "poll", 1, every=seconds, missed=missed, since=since)


def cron(line, missed="once"):
    return Schedule(1, "poll", 1, cron=line, missed=missed)


def moment(text, zone=BERLIN):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def course(schedule, start, end, zone=BERLIN):
    """Its ticks between two times, as local clocks show them."""
    found, at = [], moment(start, zone)
    while (at := first(schedule, at, zone)) <= moment(end, zone):
        found.append(datetime.fromtimestamp(at, zone).strftime("%d %H:%M"))
    return found


@given(
    period=st.floats(1, 1e7), since=st.floats(0, 2e9), after=st.floats(0, 4e9), missed=st.sampled_from(["once", "skip"])
)
def test_the_next_tick_of_a_period_is_after_now_and_no_further_than_one_period(period, since, after, missed):
    after = max(after, since)
    at = first(every(period, missed, since), after, BERLIN)
    assert after < at <= after + period * 1.001 + 1e-5


@given(
    period=st.integers(1, 5000), due=st.integers(1, 50), later=st.floats(0, 1e6),
    missed=st.sampled_from(["once", "all", "skip"]),
)  # fmt: skip
def test_no_tick_is_handled_twice_and_none_is_left_out_whenever_somebody_looks(period, due, later, missed):
    schedule = every(period, missed)
    at, now = float(due * period), float(due * period) + later
    made, left, following = ticks(schedule, at, now, BERLIN)
    assert following > now
    assert all(at <= tick <= now for tick in made)
    assert all(b - a == period for a, b in pairwise(made))
    n = min(MOST, int((now - at) // period) + 1)
    assert len(made) + left == n
    if missed == "all":
        assert len(made) == n
    elif missed == "once":
        assert made == [following - period]
    else:
        assert bool(made) == (now - (following - period) <= LATE)


@pytest.mark.parametrize(("missed", "calls"), [("once", 1), ("all", 5), ("skip", 0)])
def test_a_rule_says_what_becomes_of_ticks_that_were_missed(missed, calls):
    at = moment("2026-03-02 06:00")
    now = moment("2026-03-06 09:00")
    made, left, following = ticks(cron("0 6 * * 1-5", missed), at, now, BERLIN)
    assert (len(made), left, following) == (calls, 5 - calls, moment("2026-03-09 06:00"))
    assert made == sorted(made)
    # on its minute it is no missed one
    assert ticks(cron("0 6 * * 1-5", missed), at, at + 1, BERLIN)[0] == [at]


def test_a_cron_line_is_of_its_time_zone():
    assert first(cron("0 6 * * *"), moment("2026-07-01 00:00"), BERLIN) == moment("2026-07-01 06:00")
    assert first(cron("0 6 * * *"), moment("2026-07-01 00:00"), UTC) == moment("2026-07-01 06:00", UTC)


def test_an_hour_that_daylight_saving_leaves_out_is_made_up_for_and_one_that_comes_twice_counts_once():
    assert course(cron("30 2 * * *"), "2026-03-28 12:00", "2026-03-31 00:00") == ["29 03:00", "30 02:30"]
    assert course(cron("30 2 * * *"), "2026-10-24 12:00", "2026-10-27 00:00") == ["25 02:30", "26 02:30"]
    # a period within the hour goes on through both
    assert len(course(cron("*/30 * * * *"), "2026-10-25 00:00", "2026-10-25 04:00")) == 10


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("line", ["30 2 * * *", "*/30 * * * *", "15 1-4 * * *"])
def test_missed_ticks_of_days_on_which_clocks_change_are_those_that_would_have_come(line, day):
    schedule, start = cron(line, "all"), moment(f"{day} 00:00")
    at, wanted, end = first(schedule, start, BERLIN), [], moment(f"{day} 12:00")
    due = at
    while at <= end:
        wanted.append(at)
        at = first(schedule, at, BERLIN)
    assert ticks(schedule, due, end, BERLIN) == (wanted, 0, at)


def test_of_very_many_missed_ticks_the_newest_are_made_up_for_at_once():
    year = 366 * 86_400
    made, _, _ = ticks(cron("* * * * *", "all"), moment("2025-01-01"), moment("2025-01-01") + year, BERLIN)
    assert len(made) == MOST
    assert ticks(cron("* * * * *"), 0.0, float(40 * year), BERLIN)[0] == [40 * year]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [(every(300), "every 5m"), (every(5400), "every 1h30m"), (every(2.5), "every 2.5s"), (every(86_400), "every 1d"),
     (cron("0 6 * * 1-5"), "cron 0 6 * * 1-5")],
)  # fmt: skip
def test_a_schedule_says_when_it_ticks(schedule, said):
    assert text(schedule) == said


@pytest.mark.parametrize(
    ("option", "value", "takes"),
    [
        ("every", "often", "a time such as '90s'"), ("every", 0.5, "at least 1 s"), ("cron", "0 6 * *", "five fields"),
        ("cron", "0 0 30 2 *", "five fields"), ("cron", "61 * * * *", "five fields"), ("zone", "Berlin", "time zone"),
        ("zone", "../etc", "time zone"), ("missed", "never", "'once', 'all' or 'skip'"),
    ],
)  # fmt: skip
def test_what_an_option_does_not_take_is_refused_by_its_name(option, value, takes):
    refused = re.escape(repr(value))
    with pytest.raises(DeclarationError, match=f"schedule 'poll': {option}= takes .*{takes}.*, not {refused}"):
        checked({"op": "schedule", "name": "poll", option: value})
