"""What failing and unwanted calls come to, in memory, and what a person does about them."""

from __future__ import annotations

import os

import pytest

from ec_jupyter.client.texts import missing
from ec_jupyter.errors import RequestNotFoundError
from tests.crash.flowkit import facts, shown


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def fail(x):
    raise ValueError(f"no {x}")


def size(data):
    return len(data)


def pieces(n):
    yield bytes(n)
    yield bytes(n + 1)


def list_broken(errors):
    raise TypeError(f"{len(errors)} errors")


def test_a_value_that_is_held_for_later_calls_is_nothing_that_is_left(flow):
    flow.socket(echo)
    flow.socket(pair, "join", hold=["two"])
    flow.plug("echo", "join.two")
    for x in (1, 2):
        flow.submit("echo", x=x)
    assert (flow.drained()["waiting"], flow.waiting("join")) == (0, [])


def test_elements_of_a_generator_that_failed_wait_for_more_of_their_list(flow):
    def broken(n):
        yield n
        raise ValueError(n)

    flow.socket(broken)
    flow.socket(size, "total")
    flow.plug("broken", "total.data", gather=True)
    flow.submit("broken", n=3)
    flow.drained()
    assert [missing(row) for row in flow.waiting("total")] == [["more of data"]]


def test_gathered_failures_reach_their_target_as_a_list_of_them_among_what_went_well(flow):
    flow.socket(lambda n: list(range(n)), "numbers")
    flow.socket(lambda x: 6 // x if x != 2 else fail(x), "divide")
    flow.socket(list_broken)
    flow.socket(shown)
    flow.plug("numbers", "divide.x", map=True)
    flow.plug("divide", "list_broken.errors", on="error", gather=True)
    flow.plug("divide", "list_broken.errors", gather=True)
    flow.plug("list_broken", "shown.error", on="error")
    flow.submit("numbers", n=4)
    flow.drained()
    zero = ["Failure", "divide", "integer division or modulo by zero", {"x": 0}]
    two = ["Failure", "divide", "no 2", {"x": 2}]
    (found,) = flow.results("shown")
    assert found == ["Failure", "list_broken", "4 errors", {"errors": [zero, 6, two, 2]}]


def test_a_failure_that_waits_can_be_looked_at_and_has_its_arguments(flow):
    flow.socket(fail)
    flow.socket(pair)
    flow.plug("fail", "pair.one", on="error")
    flow.submit("fail", x=3)
    flow.drained()
    (row,) = flow.waiting("pair")
    (arrival,) = row["arguments"]["one"]["arrivals"]
    reply, buffers = flow.client.ask("query", {"what": "value", "arrival": arrival["id"]})
    assert (reply["kind"], len(buffers)) == ("e", 2)


def test_a_failing_call_fails_alone_and_keeps_its_traceback_and_arguments(flow):
    flow.socket(fail)
    flow.socket(echo)
    bad, good = flow.submit("fail", x=3), flow.submit("echo", x=4)
    row = flow.row(bad)
    assert (row["state"], row["error"]["type"], row["error"]["message"]) == ("failed", "ValueError", "no 3")
    assert "no 3" in row["error"]["traceback"]
    assert flow.result(good) == 4
    flow.restart()
    assert flow.row(bad)["error"]["message"] == "no 3"
    assert list(flow.query("arguments", id=bad)["arguments"]) == ["x"]


def test_an_error_plug_carries_the_facts_and_a_success_sends_nothing_on_it(flow):
    flow.socket(echo, "risky")
    flow.socket(facts)
    flow.plug("risky", "facts.error", on="error")
    flow.socket(fail)
    flow.plug("fail", "facts.error", on="error")
    bad = flow.submit("fail", x=5)
    flow.submit("risky", x=2)
    flow.drained()
    (found,) = flow.results("facts")
    assert found == {
        "type": "ValueError", "message": "no 5", "socket": "fail", "arguments": {"x": 5}, "attempt": 1, "trace": True,
        "request": bad,
    }  # fmt: skip


def test_a_failed_call_holds_its_partners_until_it_is_retried(flow, tmp_path):
    door = tmp_path / "door"

    def guarded(x, door):
        if not os.path.exists(door):
            raise ValueError("the door is shut")
        return -x

    def root(x):
        return x

    flow.socket(root)
    flow.socket(echo)
    flow.socket(guarded)
    flow.socket(pair)
    flow.plug("root", "echo.x")
    flow.plug("root", "guarded.x")
    flow.fix("guarded.door", str(door))
    flow.plug("echo", "pair.one")
    flow.plug("guarded", "pair.two")
    run = flow.submit("root", x=1)
    left = flow.drained()
    assert (left["waiting"], left["failed"]) == (1, 1)
    flow.restart()
    assert flow.drained()["waiting"] == 1
    door.touch()
    (failed,) = [r["id"] for r in flow.requests(state="failed")]
    assert flow.ask("retry", socket="guarded")["ids"] == [failed]
    flow.drained()
    (row,) = flow.requests(socket="pair")
    assert row["run"] == run
    assert flow.results("pair") == [(1, -1)]


def test_a_discarded_failure_skips_what_waits_for_it(flow):
    flow.socket(echo)
    flow.socket(fail)
    flow.socket(pair)
    flow.socket(echo, "root")
    for name in ("echo", "fail"):
        flow.plug("root", f"{name}.x")
    flow.plug("echo", "pair.one")
    flow.plug("fail", "pair.two")
    run = flow.submit("root", x=1)
    flow.drained()
    (failed,) = [r["id"] for r in flow.requests(state="failed")]
    flow.ask("discard", request=failed)
    left = flow.drained()
    assert (left["waiting"], left["failed"]) == (0, 0)
    (row,) = flow.requests(socket="pair")
    assert (row["state"], row["run"]) == ("skipped", run)
    flow.restart()
    assert flow.count("pair")["skipped"] == 1


def test_a_supplied_value_stands_in_for_a_failure_and_the_late_success_is_superseded(flow, tmp_path):
    door = tmp_path / "door"

    def guarded(x):
        if not os.path.exists(door_name):
            raise ValueError("the door is shut")
        return -x

    door_name = str(door)
    flow.socket(echo, "root")
    flow.socket(echo)
    flow.socket(guarded)
    flow.socket(pair)
    for name in ("echo", "guarded"):
        flow.plug("root", f"{name}.x")
    flow.plug("echo", "pair.one")
    flow.plug("guarded", "pair.two")
    run = flow.submit("root", x=1)
    flow.drained()
    flow.supply("pair", run, two=100)
    flow.drained()
    assert flow.results("pair") == [(1, 100)]
    door.touch()
    flow.restart()
    flow.ask("retry", all=True)
    assert flow.drained()["waiting"] == 0
    assert flow.results("pair") == [(1, 100)]


def test_a_discarded_value_of_a_stranger_leaves_and_the_next_takes_its_place(flow):
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.socket(pair)
    flow.plug("a", "pair.one")
    flow.plug("b", "pair.two")
    flow.submit("a", x=1)
    flow.submit("a", x=2)
    flow.drained()
    rows = flow.waiting("pair")
    assert len(rows) == 2
    flow.ask("discard", arrival=rows[0]["arguments"]["one"]["arrivals"][0]["id"])
    flow.submit("b", x=20)
    flow.drained()
    assert flow.results("pair") == [(2, 20)]
    with pytest.raises(RequestNotFoundError, match="waits"):
        flow.ask("discard", arrival=12345)


def test_a_request_that_has_not_failed_cannot_be_discarded(flow):
    flow.socket(echo)
    request = flow.submit("echo", x=1)
    flow.result(request)
    with pytest.raises(RequestNotFoundError, match="has not failed"):
        flow.ask("discard", request=request)


def test_replay_from_a_socket_runs_it_and_what_follows_again_with_the_others_values(flow):
    flow.socket(echo, "root")
    flow.socket(echo, "left")
    flow.socket(echo, "right")
    flow.socket(pair)
    for name in ("left", "right"):
        flow.plug("root", f"{name}.x")
    flow.plug("left", "pair.one")
    flow.plug("right", "pair.two")
    run = flow.submit("root", x=3)
    flow.drained()
    again = flow.ask("replay", run=run, socket="right")["id"]
    flow.drained()
    assert flow.results("pair") == [(3, 3), (3, 3)]
    assert flow.count("root")["done"] == flow.count("left")["done"] == 1
    assert flow.count("right")["done"] == 2
    assert [r["party"] for r in flow.requests(socket="pair")] == [run, again]
    flow.restart()
    assert flow.results("pair") == [(3, 3), (3, 3)]


def test_lineage_names_everything_a_value_came_from_and_led_to(flow):
    for name in ("a", "b", "c"):
        flow.socket(echo, name)
    flow.plug("a", "b.x")
    flow.plug("b", "c.x")
    request = flow.submit("a", x=1)
    flow.drained()
    ids = {r["socket"]: r["id"] for r in flow.requests()}
    found = flow.query("lineage", id=ids["b"])
    assert sorted(map(tuple, found["edges"])) == [(request, ids["b"], "x"), (ids["b"], ids["c"], "x")]
    assert {n["socket"] for n in found["nodes"]} == {"a", "b", "c"}


def test_gc_keeps_all_that_a_request_came_to_or_was_called_with(flow):
    flow.socket(lambda n: b"x" * n, "big")
    flow.socket(size)
    flow.socket(pieces)
    flow.plug("big", "size.data")
    run = flow.submit("big", n=200_000)
    many = flow.submit("pieces", n=200_000)
    given = flow.submit("size", data=b"y" * 200_000)
    flow.drained()
    assert flow.ask("gc")["files"] == 0
    flow.restart()
    assert flow.ask("gc")["files"] == 0
    assert flow.result(run) == b"x" * 200_000
    assert [len(flow.client.load(value)) for value in flow.row(many)["values"]] == [200_000, 200_001]
    again = [flow.ask("replay", run=run, socket="size")["id"], flow.ask("replay", request=given)["id"]]
    assert [flow.result(request) for request in again] == [200_000, 200_000]


def test_gc_removes_what_was_thrown_away_and_what_no_row_names(flow):
    flow.socket(lambda data, more: data + more, "glue")
    first, second = (flow.submit_some("glue", data=bytes([n]) * 200_000) for n in (1, 2))
    (flow.folder / "values" / "77.1.1.0").write_bytes(b"left by an attempt that was killed")
    (one, _) = flow.waiting("glue")
    (arrival,) = one["arguments"]["data"]["arrivals"]
    flow.ask("discard", arrival=arrival["id"])
    told = flow.ask("gc", dry=True)
    assert (flow.ask("gc", dry=True)["files"], len(list((flow.folder / "values").iterdir()))) == (2, 3)
    found = flow.ask("gc")
    assert (told["files"], told["bytes"]) == (found["files"], found["bytes"])
    assert (found["files"], 200_000 <= found["bytes"] < 300_000) == (2, True)
    flow.supply("glue", second, more=b"!")
    assert flow.result(second) == bytes([2]) * 200_000 + b"!"
    assert flow.state(first) in ("skipped", "waiting")


def test_a_generator_given_up_after_some_yields_has_as_many_elements_as_it_yielded(flow):
    def three(n):
        yield from range(n)
        raise ValueError("no more")

    flow.socket(three)
    flow.socket(echo)
    flow.socket(lambda all: all, "merge")
    flow.plug("three", "echo.x")
    flow.plug("echo", "merge.all", gather=True)
    request = flow.submit("three", n=3)
    assert flow.row(request)["state"] == "failed"
    assert flow.drained()["waiting"] == 3
    flow.restart()
    flow.ask("discard", request=request)
    flow.drained()
    assert flow.results("merge") == [[0, 1, 2]]
