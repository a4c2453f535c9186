"""What a flow is not to keep goes, whole runs of it; what stays can be looked at, retried and replayed as before."""

from __future__ import annotations

import random

import pytest

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


def limits(flow: MemoryFlow, chance: random.Random) -> None:
    collected(flow, **chance.choice([{"runs": 3}, {"seconds": 0.0}, {"bytes": 1}]))


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
