"""Runs that are not to stay go by themselves, over kills as well."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

from tests.crash.flowkit import echo, wait_until
from tests.listening import Address


def odd(x):
    if x % 2:
        raise ValueError(x)
    return x


def large(n):
    return bytes(n)


def test_runs_go_by_themselves_and_the_next_engine_goes_on_with_that(flow):
    flow.socket(large)
    flow.socket(echo, "size")
    flow.plug("large", "size.x")
    flow.ask("keep", runs=5)
    flow.map("large", [{"n": 100_000 + n} for n in range(40)])
    flow.drained()
    wait_until(lambda: len(flow.requests()) == 10)
    flow.kill_engine()
    newest = flow.submit("large", n=70_000)
    assert len(flow.result(newest)) == 70_000
    flow.map("large", [{"n": 80_000}] * 20)
    flow.drained()
    flow.ask("gc")
    assert len(flow.requests()) == 10
    assert {len(value) for value in flow.results("size")} == {80_000}
    assert len(list((flow.folder / "values").iterdir())) == 10


def test_runs_of_which_somebody_is_told_go_once_that_is_done(flow):
    address = Address()
    try:
        flow.socket(echo, callback=address.url)
        flow.ask("keep", runs=2)
        flow.map("echo", [{"x": n} for n in range(20)])
        flow.drained()
        wait_until(lambda: len(address.told) == 20 and len(flow.requests()) == 2)
    finally:
        address.close()


def test_failed_and_cancelled_runs_of_which_somebody_was_told_go_too_and_the_next_engine_tells_nobody(flow):
    address = Address()
    try:
        flow.socket(odd, callback=address.url)
        flow.ask("pause", sockets=["odd"])
        requests = flow.map("odd", [{"x": 1}] * 4)
        flow.ask("cancel", ids=requests[:1])
        flow.ask("resume", sockets=["odd"])
        wait_until(lambda: len(address.told) == 4)
        flow.ask("keep", failed=0.0, seconds=0.0)
        wait_until(lambda: flow.requests() == [])
        flow.restart()
        assert flow.result(flow.submit("odd", x=2)) == 2
        wait_until(lambda: len(address.told) == 5)
        assert sorted(one["state"] for one in address.told) == ["cancelled", "done", "failed", "failed", "failed"]
        with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
            wait_until(lambda: not db.execute("SELECT 1 FROM meta WHERE key LIKE 'callback:%'").fetchall())
    finally:
        address.close()


def test_rules_of_sockets_and_of_failures_hold_over_kills(flow):
    chance = random.Random(7)
    flow.socket(echo, "few", keep=20)
    flow.socket(echo, "all", keep="forever")
    flow.socket(odd, "odd")
    for name in ("few", "all"):
        flow.plug(name, "odd.x")
    few: list[int] = []
    every: list[int] = []
    flow.ask("keep", seconds=0.0, failed=0.0)
    for _ in range(8):
        few += flow.map("few", [{"x": n} for n in range(40)])
        every += flow.map("all", [{"x": n} for n in range(10)])
        if chance.random() < 0.5:
            flow.drained()
            flow.ask("gc")
        flow.kill_engine()
    flow.drained()
    flow.ask("gc")
    kept = flow.requests()
    runs = {row["run"] for row in kept}
    assert runs & set(every) == set(every)
    # failures have a rule of their own
    assert set(few[-20::2]) <= runs - set(every) <= set(few[::2])
    assert len(runs - set(every)) <= 20
    assert sorted(row["run"] for row in kept) == sorted([*runs, *runs])


def test_an_engine_that_is_killed_while_runs_go_loses_none_of_those_that_stay(flow):
    chance = random.Random(5)
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.plug("a", "b.x")
    accepted: list[int] = []
    for n in range(12):
        accepted += flow.map("a", [{"x": n}] * 50)
        flow.ask("keep", runs=chance.randrange(20, 60))
        if chance.random() < 0.5:
            flow.drained()
        flow.kill_engine()
    assert flow.drained()["failed"] == 0
    kept = {row["id"]: row for row in flow.requests()}
    newest = accepted[-20:]
    assert set(newest) <= kept.keys()
    assert {kept[request]["state"] for request in newest} == {"done"}
    runs = {row["run"] for row in kept.values()}
    # whole runs: each has both of its calls
    assert sorted(row["run"] for row in kept.values()) == sorted([*runs, *runs])
    assert flow.result(flow.submit("a", x=99)) == 99
