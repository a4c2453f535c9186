"""Calls of an `async def` that overlap (`--concurrent N`), as a person has them."""

from __future__ import annotations

from typing import Any

import pytest

from ec_jupyter.errors import DeclarationError, RequestCancelledError, RequestTimeoutError, TaskError
from tests.cases import each_of

FETCH = """%%ec_socket fetch -p net --cpus 1 --concurrent 100 --timeout 60
import asyncio, os
async def fetch(x):
    while x < 0 and os.path.exists("shut"):
        await asyncio.sleep(0.005)
    print("got", x)
    return x * {factor}
"""


@pytest.fixture
def fetching(loaded: Any) -> Any:
    """A shell with a flow whose calls overlap, and a gate that is shut for negative arguments."""
    loaded.run("import os, time\nopen('shut', 'w').close()\nflow = ec.flow()")
    loaded.run(FETCH.format(factor=10))
    loaded.run(
        "def until(claim):\n    end = time.monotonic() + 60\n"
        "    while not claim():\n        assert time.monotonic() < end\n        time.sleep(0.01)\n"
        "def running(): return flow.status().rows[0]['running']"
    )
    return loaded


def test_calls_overlap_in_one_worker_are_seen_to_run_and_take_results_retries_and_new_versions(fetching: Any) -> None:
    fetching.run("slow = flow.map('fetch', range(-37, 0))\nuntil(lambda: running() == 37)")
    status = fetching.run("flow.status()")
    assert (status["processors"]["net"]["running"], status["processors"]["net"]["workers"]) == (37, 1)
    assert status["nodes"][0]["used"] == 1
    # beside them: a quick call, one that is cancelled, and one of the next version
    assert fetching.run("r = flow.submit('fetch', 7)\nr.result(60), r.output.strip()") == (70, "got 7")
    fetching.run("gone = slow.pop(3)\ngone.cancel()")
    assert isinstance(fetching.fail("gone.result(60)"), RequestCancelledError)
    fetching.run(FETCH.format(factor=100))
    assert fetching.run("flow.submit('fetch', 8).result(60)") == 800
    assert fetching.run("running()") == 36
    # paused: those that run go on, and no other begins
    fetching.run("flow.pause('fetch')\nlate = flow.submit('fetch', 9)\nos.remove('shut')")
    assert fetching.run("[r.result(60) for r in slow]") == [10 * x for x in range(-37, 0) if x != -34]
    assert fetching.run("late.state") == "queued"
    fetching.run("flow.resume('fetch')")
    assert fetching.run("late.result(60)") == 900


def test_a_time_limit_a_failure_and_a_retry_are_of_one_call(fetching: Any) -> None:
    fetching.run(
        "@ec.socket(processor='net', concurrent=10, timeout=0.5, retries=1, backoff=0)\n"
        "async def tried(x):\n    import asyncio\n    await asyncio.sleep(300 if x == 3 else 0.01)\n"
        "    if x == 5 and ec.current().attempt == 1:\n        raise ValueError('again')\n"
        "    if x == 6:\n        raise ValueError(f'never {x}')\n    return x"
    )
    fetching.run("made = flow.map('tried', range(8))\n[r.wait(60) for r in made]")
    assert isinstance(fetching.fail("made[3].result(60)"), RequestTimeoutError)
    error = fetching.fail("made[6].result(60)")
    assert isinstance(error, (TaskError, ValueError))
    assert "never 6" in str(error)
    assert fetching.run("made[6].attempt, made[5].attempt, made[4].attempt") == (2, 2, 1)
    assert fetching.run("[r.result(60) for i, r in enumerate(made) if i not in (3, 6)]") == [0, 1, 2, 4, 5, 7]


def test_a_plain_socket_of_the_same_processor_has_its_turn(fetching: Any) -> None:
    fetching.run("@ec.socket(processor='net')\ndef plain(x): return -x")
    fetching.run("n = range(50)\nfirst, mine = flow.map('fetch', n), flow.map('plain', n[:5])")
    fetching.run("then = flow.map('fetch', n)")
    assert fetching.run("[r.result(60) for r in mine]") == [0, -1, -2, -3, -4]
    assert fetching.run("[r.result(60) for r in [*first, *then]]") == [x * 10 for x in range(50)] * 2


def test_a_version_with_another_environment_does_not_change_that_of_calls_under_way(
    fetching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = (
        "%%ec_socket seen -p net --concurrent 9\nimport asyncio, os\nasync def seen(x):  # {}\n"
        "    open(f'begun {{x}}', 'w').close()\n"
        "    while x < 0 and os.path.exists('shut'):\n        await asyncio.sleep(0.005)\n"
        "    return {} * x, os.environ.get('OVERLAP')"
    )
    monkeypatch.delenv("OVERLAP", raising=False)
    fetching.run(cell.format(1, 1))
    fetching.run("old = flow.submit('seen', -1)\nuntil(lambda: os.path.exists('begun -1'))")
    monkeypatch.setenv("OVERLAP", "new")
    fetching.run(cell.format(2, 2))
    # the worker has both when it lets go of the second
    fetching.run("new, gone = flow.map('seen', [3, 4])\nuntil(lambda: gone.state == 'running')")
    fetching.run("gone.cancel()\ngone.wait(60)")
    assert fetching.run("os.path.exists('begun 3')") is False
    fetching.run("os.remove('shut')")
    assert fetching.run("old.result(60), new.result(60)") == ((-1, None), (6, "new"))


def test_a_call_of_a_higher_priority_is_the_next_to_start_however_many_may_overlap(fetching: Any) -> None:
    fetching.run(
        "@ec.socket(processor='net', priority=9)\ndef urgent(x): return x\n"
        "flow.declare(fetch, 'pair', processor='net', concurrent=2)\n"
        "slow = flow.map('pair', [-1, -2])\nuntil(lambda: [r.state for r in slow] == ['running'] * 2)\n"
        "queued = flow.map('pair', range(6))\nfirst = flow.submit('urgent', 1)\nos.remove('shut')\nflow.wait(60)"
    )
    assert fetching.run("first.started < min(r.started for r in queued)")


@each_of(
    ("line", "says"),
    [
        ("%%ec_socket --concurrent 5\ndef plain(x): return x", "socket 'plain': concurrent=5 is for an `async def`"),
        ("flow.declare(len, 'size', concurrent=2)", "socket 'size': concurrent=2 is for an `async def`"),
        ("%%ec_socket --concurrent 0\nasync def f(x): return x", "concurrent= takes a whole number of calls, from 1"),
        ("%%ec_socket --concurrent 5 --fresh\nasync def f(x): return x", "fresh=True"),
    ],
)
def test_what_cannot_overlap_is_refused_in_a_line(fetching: Any, line: str, says: str) -> None:
    error = fetching.fail(line)
    assert isinstance(error, DeclarationError)
    assert says in str(error)
    assert "\n" not in str(error)
    assert fetching.run("list(flow.sockets)") == ["fetch"]


def test_the_wiring_that_is_written_down_has_it(fetching: Any) -> None:
    assert fetching.run("flow['fetch'].options['concurrent']") == 100
    assert "concurrent=100" in fetching.run("flow.to_code()")
    assert fetching.run("flow.duplicate('second')['fetch'].options['concurrent']") == 100
