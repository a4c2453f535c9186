"""A limit for what a test waits for: it fails by its name, where it would hang for ever."""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

SECONDS = 300.0
"""How long the set-up of a test, its call or its end may take on a machine that is busy with other things."""

AGAIN_SECONDS = 20.0


@contextmanager
def bounded(what: str, seconds: float = SECONDS) -> Iterator[None]:
    """Fail where this is not through in time, with the stack of every thread; on the main thread alone."""

    def over(*_: Any) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__)
        pytest.fail(f"{what} is not through after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    # once more, where what waits goes on after an error
    left = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)
