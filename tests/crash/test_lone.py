"""Calls that come alone are told of before the flow's books have them: whoever dies then, what was told stands."""

from __future__ import annotations

import os
import pickle
import signal
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest

from ec_jupyter.engine import result_log
from tests.crash.flowkit import Flow, Marks, kill, mark, passing, wait_until

CALLS = 5


def leave(x, marks):
    mark(marks, x)
    return 2 * x


def once_dead(x, path):
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def held(x, marks, gate):
    mark(marks, x)
    passing(gate)
    return x


@pytest.fixture
def alone(flow: Flow, marks: Marks) -> Flow:
    flow.socket(leave)
    flow.fix("leave.marks", str(marks))
    # a worker is there, and the client asks for results as it submits
    assert flow.result(flow.submit("leave", x=-1)) == -2
    return flow


def ask(flow: Flow, x: int) -> int:
    """One round trip, as a notebook makes it: its number."""
    accepted = flow.client.submit([("leave", flow.values({"x": x}))])
    number = accepted[0]
    row = flow.client.finished(number).result(60)
    assert row["state"] == "done"
    assert flow.client.load(row["value"]) == 2 * x
    return number


def stands(flow: Flow, numbers: list[int], marks: Marks, told: Collection[int] | None = None) -> None:
    """Each of the calls is in the flow as its client was told, and has run once; those told by the first engine."""
    rows = {row["id"]: row for row in flow.requests(socket="leave")}
    assert [rows[number]["state"] for number in numbers] == ["done"] * len(numbers)
    assert [flow.result(number) for number in numbers] == [2 * x for x in range(len(numbers))]
    assert len(rows) == len(numbers) + 1
    ran = Counter(marks.lines)
    assert ran.keys() == {str(x) for x in range(-1, len(numbers))}
    assert {ran[str(x)] for x in (range(len(numbers)) if told is None else told)} <= {1}


@pytest.mark.parametrize("calls", [1, CALLS])
def test_results_that_were_told_stand_in_the_flow_when_its_engine_is_killed_that_moment(alone, marks, calls):
    numbers = [ask(alone, x) for x in range(calls)]
    alone.kill_engine()
    stands(alone, numbers, marks)
    # and the next engine goes on behind them
    assert ask(alone, calls) == numbers[-1] + 1


def test_results_that_were_told_stand_in_the_flow_when_client_and_engine_are_killed(alone, marks):
    numbers = [ask(alone, x) for x in range(CALLS)]
    os.kill(alone.engine, signal.SIGSTOP)
    log = alone.folder / "inbox" / f"{alone.client.id}.log"
    kept = log.read_bytes()
    kill(alone.engine)
    # what a client that was killed as well leaves behind
    alone.client.close()
    log.write_bytes(kept)
    alone.reopen()
    stands(alone, numbers, marks)


def test_each_question_sees_all_that_was_told_before_it(alone):
    for x in range(CALLS):
        number = ask(alone, x)
        assert alone.count("leave")["done"] == x + 2
        assert alone.state(number) == "done"
    rows = sorted(alone.requests(socket="leave"), key=lambda row: row["id"])
    assert all(row["created"] <= row["started"] <= row["finished"] for row in rows[1:])


def test_a_call_that_comes_alone_and_goes_on_is_shown_as_it_runs(alone, marks, gate):
    alone.socket(held)
    alone.fix("held.marks", str(marks))
    alone.fix("held.gate", str(gate))
    ask(alone, 0)
    accepted = alone.client.submit([("held", alone.values({"x": 1}))])
    marks.reach(3)
    wait_until(lambda: alone.count("held")["running"] == 1)
    assert alone.state(accepted[0]) == "running"
    gate.open()
    assert alone.result(accepted[0]) == 1


def test_a_call_that_comes_alone_and_kills_its_worker_is_tried_again(flow, tmp_path):
    flow.socket(once_dead)
    path = tmp_path / "there"
    path.touch()
    flow.fix("once_dead.path", str(path))
    assert flow.result(flow.submit("once_dead", x=1)) == 1
    path.unlink()
    number = flow.client.submit([("once_dead", flow.values({"x": 2}))])[0]
    assert flow.result(number) == 2
    assert flow.requests(ids=[number])[0]["attempt"] == 2


def kept(flow: Flow) -> int:
    """Bytes of results that are told and not written."""
    return int.from_bytes((flow.folder / result_log.NAME).read_bytes()[:8], "little")


# -- the engine ends at a moment of its own choice ---------------------------------------------
@pytest.fixture
def left(alone: Flow) -> Path:
    """A flow whose engine was stopped."""
    alone.stop()
    alone.client.close()
    return alone.folder


@pytest.mark.parametrize("n", range(1, 7))
def test_an_engine_that_ends_before_any_statement_of_the_books_loses_nothing_that_was_told(
    left, marks, mortal, make_flow, n
):
    engine = mortal(left, "late", n)
    flow = make_flow(left)
    flow.pids.discard(engine.pid)
    numbers, told = list[int](), list[int]()
    while len(numbers) < CALLS or (engine.poll() is None and not kept(flow)):
        numbers.append(ask(flow, len(numbers)))
        told += [len(numbers) - 1] if engine.poll() is None else []
    # a question has them written
    stands(flow, numbers, marks, told)
    assert engine.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("n", [1, CALLS])
def test_a_result_that_is_kept_and_was_not_told_is_told_by_the_next_engine(left, marks, mortal, make_flow, n):
    engine = mortal(left, "mute", n)
    flow = make_flow(left)
    flow.pids.discard(engine.pid)
    numbers = list[int]()
    while engine.poll() is None:
        numbers.append(ask(flow, len(numbers)))
    stands(flow, numbers, marks)


@pytest.mark.parametrize(("request_", "spoilt"), [(1, 0), (3, 0), (2, 1)], ids=["there", "gap", "damaged"])
def test_a_kept_result_that_is_there_does_not_follow_or_is_damaged_is_passed_over(left, make_flow, request_, spoilt):
    shape = {"revision": 0, "names": ["x"], "types": ["builtins.int"]}
    log = result_log.ResultLog(left)
    facts = result_log.Facts(9, request_, 0, 1, 1.0, 2.0, 1.5, 0.1)
    one, head = pickle.dumps(1), result_log.head_of("f" * 32, 1, 1, shape)
    assert log.append(result_log.record_of(facts, head, "builtins.int", [one], one))
    path = left / result_log.NAME
    data = bytearray(path.read_bytes())
    data[int.from_bytes(data[:8], "little")] ^= spoilt
    path.write_bytes(data)
    flow = make_flow(left)
    assert [row["id"] for row in flow.requests(socket="leave")] == [1]
    assert ask(flow, 1) == 2


def test_a_result_log_that_is_removed_is_made_anew(alone, marks):
    path = alone.folder / result_log.NAME
    numbers = [ask(alone, 0)]
    path.unlink()
    wait_until(path.exists)
    numbers.append(ask(alone, 1))
    alone.kill_engine()
    stands(alone, numbers, marks)


def test_results_that_fill_their_log_again_and_again_stand_when_the_engine_is_killed(alone):
    # with the result that is twice as long, some 1.5 kB of the log each
    texts = [f"{x:500}" for x in range(result_log.LOG_BYTES // 700)]
    numbers = []
    for text in texts:
        accepted = alone.client.submit([("leave", alone.values({"x": text}))])
        numbers.append(accepted[0])
        assert alone.client.load(alone.client.finished(accepted[0]).result(60)["value"]) == 2 * text
    alone.kill_engine()
    assert [alone.result(number) for number in numbers] == [2 * text for text in texts]
