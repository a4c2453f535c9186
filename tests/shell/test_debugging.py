"""A failed call opened in the debugger, with the code that it ran and its very arguments."""

from __future__ import annotations

import re
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest

from ec_jupyter.errors import ArgumentsError, RequestNotFoundError, WorkerDiedError

pytestmark = pytest.mark.shared_engine

CELL = """
flow = ec.flow()
@ec.socket
def halve(x, /, by=2, *rest, **more):
    secret = x * 10
    if x == 13:
        raise ValueError(f"unlucky in request {ec.current().request_id}")
    return x / by
@ec.socket
def dies(x):
    import os
    os.kill(os.getpid(), 9)
bad = flow.submit(halve, 13, by=4)
good = flow.submit(halve, 12, 3, 4, z=5)
"""


@pytest.fixture
def failing(loaded: Any) -> Any:
    """A shell whose flow has a call that failed, and one that did not."""
    loaded.run(CELL)
    loaded.run("flow.wait(60)")
    return loaded


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("".join(f"{line}\n" for line in lines)))


def test_the_debugger_opens_where_the_call_raised_with_what_it_had(
    failing: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    typed(monkeypatch, "p secret, x, by", "q")
    number = failing.run("bad.id")
    given = failing.run(f"%ec_debug {number}")
    said = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert given == {"x": 13, "by": 4}
    assert "(130, 13, 4)" in said
    assert f"unlucky in request {number}" in said
    assert 'raise ValueError(f"unlucky' in said
    assert "ec_jupyter/notebook" not in said
    # the flow is left alone
    assert failing.run("bad.state, bad.attempt, len(flow.requests())") == ("failed", 1, 2)


def test_the_debugger_opens_in_an_async_def_too(failing: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    failing.run(
        "import asyncio\n@ec.socket(concurrent=5)\nasync def soon(x):\n    secret = x * 10\n"
        "    await asyncio.sleep(0)\n"
        "    if x == 13:\n        raise ValueError('unlucky again')\n    return x\n"
        "bad, good = flow.submit(soon, 13).wait(60), flow.submit(soon, 12).wait(60)"
    )
    typed(monkeypatch, "p secret, x", "q")
    failing.run(f"%ec_debug {failing.run('bad.id')}")
    said = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "(130, 13)" in said
    assert "unlucky again" in said
    assert "ec_jupyter/notebook" not in said
    assert "asyncio/runners" not in said
    assert failing.run("flow.debug(good)") == 12


def test_it_runs_the_code_that_failed_though_the_cell_has_changed_since(failing: Any) -> None:
    failing.run("@ec.socket\ndef halve(x, /, by=2): return 'mended'")
    with pytest.raises(ValueError, match="unlucky"):
        failing.run("flow.debug(bad)")
    assert failing.run("flow.retry(bad)[0].result(60)") == "mended"


def test_days_later_another_process_has_the_code_and_the_values(failing: Any) -> None:
    failing.run("flow.stop()")
    code = (
        "import sys, ec_jupyter as ec; flow = ec.flow(folder=sys.argv[1])\n"
        "try: flow.debug(int(sys.argv[2]))\n"
        "except ValueError as error:\n"
        "    frame = error.__traceback__\n"
        "    while frame.tb_next: frame = frame.tb_next\n"
        "    print(frame.tb_frame.f_locals['secret'], frame.tb_lineno)\n"
        "    import traceback; traceback.print_exc(file=sys.stdout)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, str(failing.names["flow"].folder), failing.run("str(bad.id)")]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("130 ")
    assert 'raise ValueError(f"unlucky' in said


def test_a_call_that_has_not_failed_gives_its_arguments_and_can_be_made_again(failing: Any, capsys: Any) -> None:
    assert failing.run("%ec_debug good") == {"x": 12, "by": 3, "*rest": (4,), "**more": {"z": 5}}
    assert failing.run("%ec_debug bad --arguments") == {"x": 13, "by": 4}
    assert "unlucky" not in capsys.readouterr().out
    assert failing.run("flow.debug(good)") == 4
    failing.run("@ec.socket\ndef count(n): yield from range(n)\nr = flow.submit(count, 3); r.result(60)")
    assert failing.run("flow.debug(r)") == [0, 1, 2]


def test_a_call_that_would_end_the_kernel_is_not_made(failing: Any, capsys: Any) -> None:
    failing.run("dead = flow.submit(dies, 1)")
    assert isinstance(failing.fail("dead.result(60)"), WorkerDiedError)
    capsys.readouterr()
    assert failing.run("%ec_debug dead") == {"x": 1}
    assert "is not called here, for its worker died; flow.debug(" in capsys.readouterr().out


def test_what_runs_no_code_or_is_not_there_is_refused_by_name(failing: Any) -> None:
    failing.run("flow.socket(ec.ask('Well?'), name='well'); q = flow.submit('well', 1)")
    assert isinstance(error := failing.fail("flow.debug(q)"), ArgumentsError)
    assert "of 'well' runs no code that could be debugged" in str(error)
    assert isinstance(failing.fail("flow.debug(99)"), RequestNotFoundError)
    failing.run("q.cancel()")
