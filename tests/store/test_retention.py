"""What a flow is not to keep goes, whole runs of it; what stays can be looked at, retried and replayed as before."""

from __future__ import annotations

import random
import time
import types

import pytest

from ec_jupyter.engine import retention
from tests.crash.flowkit import echo
from tests.store.memoryflow import MemoryFlow
from tests.store.rig import agrees


def add(one, two):
    return one + two


def broken(x):
    if x == 1:
        raise ValueError(x)
    return x


def large(n):
    return bytes(n)


def left(flow: MemoryFlow) -> list[int]:
    return sorted(row["id"] for row in flow.requests())


def collected(flow: MemoryFlow, **limits: float) -> list[int]:
    """What is left once all has gone that may; memory and rows agree, over a restart too."""
    flow.ask("keep", **limits)
    flow.ask("gc")
    agrees(flow.client.engine.core)  # type: ignore[attr-defined]
    found = left(flow)
    flow.restart()
    agrees(flow.client.engine.core)  # type: ignore[attr-defined]
    assert left(flow) == found
    return found


def test_the_newest_runs_stay_whole_and_numbers_are_given_once(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.plug("a", "b.x")
    runs = [flow.submit("a", x=n) for n in range(6)]
    flow.drained()
    assert len(left(flow)) == 12
    collected(flow, runs=2)
    assert sorted(flow.results("b")) == [4, 5]
    assert flow.count("a")["done"] == 2
    newest = flow.submit("a", x=7)
    assert newest > max(runs)
    assert flow.result(newest) == 7


def test_of_what_is_too_old_nothing_stays_but_what_failed_and_what_waits(flow):
    flow.socket(broken)
    flow.socket(add)
    flow.plug("broken", "add.one")
    done, failed = (flow.submit("broken", x=n) for n in (0, 1))
    flow.drained()
    # the value of the one that was done waits for its company
    assert collected(flow, seconds=0.0)[0] == done
    (waiting,) = flow.waiting("add")
    (arrival,) = waiting["arguments"]["one"]["arrivals"]
    flow.unplug("broken", "add.one")
    flow.ask("discard", arrival=arrival["id"])
    flow.drained()
    assert failed in collected(flow, seconds=0.0)
    assert done not in left(flow)
    flow.socket(echo, "broken")
    flow.ask("retry", ids=[failed])
    assert flow.result(failed) == 1
    assert collected(flow, seconds=0.0) == []


def test_a_run_stays_while_a_replay_of_it_is_there_and_goes_after_it(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.plug("a", "b.x")
    first = flow.submit("a", x=5)
    flow.drained()
    again = flow.ask("replay", request=first, socket="b")["id"]
    assert flow.result(again) == 5
    assert {first, again} <= set(collected(flow, runs=1))
    assert flow.result(flow.ask("replay", request=again)["id"]) == 5
    for _ in range(3):
        found = collected(flow, seconds=0.0)
    assert found == []


def test_values_that_other_runs_took_stay_as_long_as_those(flow):
    flow.socket(large)
    flow.socket(add, join="zip")
    flow.plug("large", "add.one")
    sources = [flow.submit("large", n=100_000 + n) for n in range(3)]
    flow.drained()
    for _ in range(3):
        flow.submit_some("add", two=b"")
    flow.drained()
    joined = sorted(row["id"] for row in flow.requests() if row["socket"] == "add" and row["state"] == "done")
    assert len(joined) == 3
    # the newest call needs the newest source, which is older than two of the calls
    kept = collected(flow, runs=1)
    assert {joined[-1], sources[-1]} <= set(kept)
    assert flow.result(flow.ask("replay", request=joined[-1])["id"]) == bytes(100_002)
    files = len(list((flow.folder / "values").iterdir()))
    for _ in range(4):
        found = collected(flow, seconds=0.0)
    assert found == []
    assert files > 0
    assert list((flow.folder / "values").iterdir()) == []


def test_what_is_held_stays_with_its_run(flow):
    flow.socket(echo, "model")
    flow.socket(add, hold=["one"])
    flow.plug("model", "add.one")
    model = flow.submit("model", x=10)
    calls = [flow.submit_some("add", two=n) for n in range(3)]
    flow.drained()
    kept = collected(flow, seconds=0.0)
    assert model in kept
    assert flow.result(flow.submit_some("add", two=5)) == 15
    assert not set(calls) & set(kept)


def test_a_flow_is_kept_below_a_size(flow):
    flow.socket(large)
    for n in range(30):
        flow.result(flow.submit("large", n=100_000 + n))
    assert flow.ask("keep", only=True)["bytes"] > 3_000_000
    kept = collected(flow, bytes=1_500_000)
    assert flow.ask("keep", only=True)["bytes"] <= 1_500_000
    assert kept[-1] == 30
    assert 3 < len(kept) < 20
    assert [len(flow.result(request)) for request in kept] == [100_000 + request - 1 for request in kept]


def thrown_away(flow: MemoryFlow, socket: str, argument: str) -> None:
    """Discard all that waits at an argument."""
    for one in flow.waiting(socket):
        for arrival in one["arguments"][argument]["arrivals"]:
            flow.ask("discard", arrival=arrival["id"])


def later(monkeypatch, seconds):
    """Let the engine that looks for what is to go think that so much time has passed."""
    clock = types.SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
    monkeypatch.setattr(retention, "time", clock)


def test_runs_follow_the_socket_at_which_they_begin_where_it_says_how_long_they_stay(flow, monkeypatch):
    flow.socket(echo, "b")
    for name, keep in (("few", 2), ("all", "forever"), ("week", "7d"), ("others", False)):
        flow.socket(echo, name, keep=keep)
        flow.plug(name, "b.x")
    runs = {name: [flow.submit(name, x=n) for n in range(4)] for name in ("few", "all", "week", "others")}
    own = flow.submit("b", x=7)
    flow.drained()
    # what is not asked of the flow is asked of sockets alone
    kept = collected(flow)
    assert [len(kept), *(set(runs["few"]) & set(kept))] == [29, *runs["few"][2:]]
    kept = collected(flow, seconds=0.0)
    assert {row["run"] for row in flow.requests()} == {*runs["few"][2:], *runs["all"], *runs["week"]}
    assert own not in kept
    later(monkeypatch, 8 * 86_400)
    kept = collected(flow, runs=1_000)
    assert {row["run"] for row in flow.requests()} == {*runs["few"][2:], *runs["all"]}
    collected(flow, bytes=1)
    assert {row["run"] for row in flow.requests()} == set(runs["all"])
    flow.socket(echo, "all", keep=False)
    assert collected(flow, bytes=1) == []


def test_runs_that_met_go_once_each_of_them_may(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b", keep="forever")
    flow.socket(add)
    flow.plug("a", "add.one")
    flow.plug("b", "add.two")
    flow.submit("a", x=1)
    flow.submit("b", x=2)
    flow.drained()
    assert (flow.results("add"), len(collected(flow, seconds=0.0))) == ([3], 3)
    flow.socket(echo, "b", keep=1)
    assert len(collected(flow, seconds=0.0)) == 3
    flow.submit("b", x=5)
    flow.drained()
    assert [row["socket"] for row in flow.requests() if row["id"] in collected(flow, seconds=0.0)] == ["b"]


def test_what_was_skipped_at_a_join_goes(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.socket(add)
    flow.plug("a", "b.x", when=lambda result: False)
    flow.plug("a", "add.one")
    flow.plug("b", "add.two")
    flow.submit("a", x=1)
    flow.drained()
    assert flow.count("add")["skipped"] == 1
    assert collected(flow, seconds=0.0) == []


def test_a_failed_run_goes_once_nobody_has_retried_it_for_so_long_and_nothing_of_it_waits(flow, monkeypatch):
    flow.socket(echo, "a")
    flow.socket(broken)
    flow.socket(add)
    flow.socket(add, "both")
    flow.plug("a", "broken.x")
    flow.plug("broken", "add.one")
    flow.plug("broken", "add.two")
    flow.plug("a", "both.one")
    done, failed = (flow.submit("a", x=n) for n in (0, 1))
    flow.drained()
    day = 86_400
    later(monkeypatch, 91 * day)
    assert failed in collected(flow, failed=92 * day)
    # a value of it waits
    assert failed in collected(flow, failed=90 * day)
    thrown_away(flow, "both", "one")
    assert collected(flow, failed=90 * day)[0] == done
    assert (flow.count("broken")["failed"], flow.count("add")["done"]) == (0, 1)
    # the other limits do not take one, nor this one what did not fail
    again = flow.submit("a", x=1)
    flow.drained()
    thrown_away(flow, "both", "one")
    assert again in collected(flow, seconds=0.0)
    assert collected(flow, failed=90 * day) == []


def limits(flow: MemoryFlow, chance: random.Random) -> None:
    collected(flow, **chance.choice([{"runs": 3}, {"seconds": 0.0}, {"bytes": 1}, {"failed": 0.0}]))


def retry(flow: MemoryFlow, chance: random.Random) -> None:
    flow.ask("retry", ids=[row["id"] for row in flow.requests(state="failed")])


def replay(flow: MemoryFlow, chance: random.Random) -> None:
    done = [row["id"] for row in flow.requests(state="done")]
    if done:
        flow.ask("replay", request=chance.choice(done))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_done_between_what_stays_is_whole(flow, seed):
    chance = random.Random(seed)
    for name, task, options in (("a", echo, {}), ("b", broken, {}), ("c", add, {}), ("d", add, {"join": "zip"})):
        flow.socket(task, name, **options)
    for source, target in (("a", "b.x"), ("a", "c.one"), ("b", "c.two"), ("a", "d.one"), ("b", "d.two")):
        flow.plug(source, target)
    for _ in range(15):
        for _ in range(chance.randrange(4)):
            flow.submit("a", x=chance.randrange(4))
        flow.drained()
        chance.choice([limits, limits, retry, replay])(flow, chance)
        flow.drained()
        # every result can be had
        assert all(flow.result(row["id"]) is not None for row in flow.requests(state="done"))
    for row in flow.requests(state="done"):
        assert flow.result(flow.ask("replay", request=row["id"])["id"]) is not None
