"""Calls that overlap in a worker, over killed engines and workers: each has its effect once."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

from tests.crash.flowkit import Flow, Marks, kill, mark, wait_until


async def stand(x, marks, gate):
    mark(marks, f"{x} {os.getpid()}")
    while not os.path.exists(gate):
        await asyncio.sleep(0.005)
    return x


def echo(x):
    return x


def standing(flow: Flow, n: int, marks: Marks, **options: object) -> list[int]:
    """So many calls that stand at a gate in one worker, and whose results go on."""
    flow.socket(stand, "fetch", concurrent=100, **options)
    flow.socket(echo, "then")
    flow.plug("fetch", "then.x")
    ids = flow.map("fetch", [{"x": x, "marks": str(marks), "gate": f"{marks}.open"} for x in range(n)])
    marks.reach(n)
    return ids


def let_on(marks: Marks) -> None:
    open(f"{marks}.open", "w").close()


def test_an_engine_killed_while_fifty_calls_run_has_the_next_one_run_each_once_more(flow: Flow, marks: Marks) -> None:
    ids = standing(flow, 50, marks)
    wait_until(lambda: flow.count("fetch")["running"] == 50)
    flow.restart()
    marks.reach(100)
    let_on(marks)
    assert [flow.result(request) for request in ids] == list(range(50))
    flow.drained()
    assert sorted(flow.results("then")) == list(range(50))
    assert Counter(line.split()[0] for line in marks.lines) == {str(x): 2 for x in range(50)}


def test_calls_whose_worker_is_killed_from_outside_run_again_uncharged(flow: Flow, marks: Marks) -> None:
    ids = standing(flow, 20, marks)
    for n in range(1, 6):
        # more often than a call may lose its worker; with twenty, ten, five, two, and one beside it none else
        kill(int(marks.reach(n)[-1].split()[1]))
        seen = len(marks.lines)
        marks.reach(seen + 1)
    let_on(marks)
    assert [flow.result(request) for request in ids] == list(range(20))
    flow.drained()
    assert sorted(flow.results("then")) == list(range(20))


def test_a_call_that_must_not_run_twice_fails_where_its_engine_was_killed(flow: Flow, marks: Marks) -> None:
    ids = standing(flow, 5, marks, once=True)
    flow.restart()
    let_on(marks)
    assert {flow.row(request)["state"] for request in ids} == {"failed"}
    assert len(marks.lines) == 5
