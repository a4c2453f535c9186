"""Tests that hang fail."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.bounds import SECONDS, bounded


def test_what_waits_for_ever_fails_by_its_name_and_shows_where_every_thread_is(
    capfd: pytest.CaptureFixture[str],
) -> None:
    late = pytest.raises(pytest.fail.Exception, match=r"^the call of this is not through after 0\.05 s$")
    with late, bounded("the call of this", 0.05):
        threading.Event().wait()
    assert "in test_what_waits_for_ever" in capfd.readouterr().err


def test_every_test_has_a_limit_and_what_is_through_in_time_is_not_ended_later() -> None:
    with bounded("this", 0.05):
        pass
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert 1 < left <= SECONDS
