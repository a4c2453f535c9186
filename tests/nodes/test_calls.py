"""What a task can be, what it gets, and what comes back."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ec_jupyter.errors import EcError
from ec_jupyter.nodes.current import SKIP, current
from ec_jupyter.nodes.values import load
from ec_jupyter.nodes.worker.invoke import TASKS_KEPT
from ec_jupyter.wire import INLINE_BYTES, Value
from tests.nodes.rig import Rig
from tests.nodes.tasks import add, ident

if TYPE_CHECKING:  # tasks of these tests are found on hosts that have not the engine
    from ec_jupyter.nodes.agents import NodeAgent

pytestmark = pytest.mark.every_node


def made_in(offset):
    def shifted(x):
        return x + offset

    return shifted


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


async def later(x):
    await asyncio.sleep(0)
    return x * 2


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor

    @classmethod
    def named(cls, x):
        return f"{cls.__name__} {x}"

    @staticmethod
    def plain(x):
        return x


def positional(x, /, y):
    return x - y


KINDS_OF_TASKS = [
    (add, {"one": 1, "two": 2}, 3),
    (add, {"one": 1}, 11),
    (lambda x: x * 3, {"x": 2}, 6),
    (made_in(5), {"x": 1}, 6),
    (even, {"n": 10}, True),
    (later, {"x": 4}, 8),
    (Scale(3), {"x": 5}, 15),
    (Scale.named, {"x": "f"}, "Scale f"),
    (Scale.plain, {"x": 1}, 1),
    (positional, {"x": 5, "y": 2}, 3),
    (max, {"a": 3, "b": 7}, 7),
    (add, {"*": [1, 2]}, 3),
    (add, {"**": {"one": 1, "two": 5}}, 6),
    (lambda: None, {}, None),
]


async def test_task_of_any_kind_gives_its_result(rig: Rig, single: NodeAgent) -> None:
    calls = [rig.call(function, arguments) for function, arguments, _ in KINDS_OF_TASKS]
    single.assign("main", calls)
    await rig.done(calls)
    assert [rig.result(call.request) for call in calls] == [expected for _, _, expected in KINDS_OF_TASKS]
    assert all(rig.ear.outcomes[call.request].seconds >= 0 for call in calls)


async def test_task_that_gets_none_fails_as_it_does_here(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(add, {"one": None, "two": None}))
    assert outcome.error is not None
    assert outcome.error["type"] == "TypeError"
    assert "unsupported operand" in outcome.error["message"]


@pytest.mark.not_on("inline", why="it has no other process")
async def test_outcome_names_the_process_the_call_ran_in_which_is_not_this_one(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(ident)
    outcome = await rig.run(single, call)
    assert outcome.pid == rig.result(call.request) != os.getpid()


def squares(n):
    for i in range(n):
        yield i * i


async def countdown(n):
    while n:
        yield n
        n -= 1


async def test_generator_sends_each_yield_in_order_and_says_how_many(rig: Rig, single: NodeAgent) -> None:
    for function, expected in ((squares, [0, 1, 4, 9]), (countdown, [4, 3, 2, 1])):
        call = rig.call(function, {"n": 4})
        outcome = await rig.run(single, call)
        assert (outcome.state, outcome.value, outcome.emitted) == ("done", None, 4)
        got = rig.ear.yields[call.request]
        assert [index for index, _ in got] == [0, 1, 2, 3]
        assert [load(value, rig.values) for _, value in got] == expected


async def test_yields_that_are_committed_are_not_sent_again(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(squares, {"n": 5}, skip=3)
    outcome = await rig.run(single, call)
    assert [index for index, _ in rig.ear.yields[call.request]] == [3, 4]
    assert outcome.emitted == 5


def first_then_gate(gate):
    yield "first"
    while os.path.exists(gate):
        threading.Event().wait(0.005)
    yield "second"


async def test_yield_arrives_while_the_generator_still_runs(rig: Rig, single: NodeAgent) -> None:
    gate = rig.folder / "gate"
    gate.touch()
    call = rig.call(first_then_gate, {"gate": str(gate)})
    single.assign("main", [call])
    await rig.ear.until(lambda: call.request in rig.ear.yields)
    assert call.request not in rig.ear.outcomes
    gate.unlink()
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)


def skipping():
    return SKIP


async def test_skip_returned_makes_the_call_skipped(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(skipping))
    assert (outcome.state, outcome.value, outcome.error) == ("skipped", None, None)


def whoami():
    me = current()
    return me.request_id, me.run_id, me.attempt, me.socket


async def test_current_names_the_call_inside_a_task_and_raises_outside(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(whoami, socket="who")
    await rig.run(single, call)
    assert rig.result(call.request) == (call.request, call.run, 1, "who")
    with pytest.raises(EcError, match="only inside a task"):
        current()


def total(xs):
    return sum(xs)


def told(error):
    return error.type, error.message, error.arguments


async def test_gather_gets_a_list_and_an_error_plug_gets_a_failure(rig: Rig, single: NodeAgent) -> None:
    gather = rig.call(total, arguments=[("xs", "l", [rig.value(i) for i in range(5)])])
    empty = rig.call(total, arguments=[("xs", "l", [])])
    facts = {"type": "ValueError", "message": "no"}
    plan = json.dumps({"facts": facts, "arguments": {"a": None, "b": [None]}}).encode()
    failure = [Value(plan, None, len(plan), "json"), rig.value(1), rig.value("two")]
    error = rig.call(told, arguments=[("error", "e", failure)])
    for call, expected in ((gather, 10), (empty, 0), (error, ("ValueError", "no", {"a": 1, "b": ["two"]}))):
        await rig.run(single, call)
        assert rig.result(call.request) == expected


def big(result):
    return result > 10


def broken(result):
    raise LookupError("no such plug")


def parity(n):
    return n % 2


def numbers(n):
    return list(range(n))


async def test_routes_are_decided_where_the_result_is(rig: Rig, single: NodeAgent) -> None:
    routes = [(1, rig.task(big), None, False, None), (2, rig.task(lambda r: r < 0), None, True, None)]
    call = rig.call(add, {"one": 1, "two": 20}, routes=routes)
    assert (await rig.run(single, call)).routed == {1: True, 2: False}

    routes = [(7, None, None, True, None), (8, rig.task(bool), None, True, rig.task(parity))]
    outcome = await rig.run(single, rig.call(numbers, {"n": 3}, routes=routes))
    for plug in (7, 8):
        elements = outcome.routed[plug]
        assert isinstance(elements, list)
        assert [load(e, rig.values) for e in elements] == [0, 1, 2]
    assert outcome.keys == {8: ["0", "1", "0"]}


async def test_a_part_is_taken_where_the_result_is(rig: Rig, single: NodeAgent) -> None:
    last, rest, none = rig.task(lambda r: r[-1]), rig.task(lambda r: r[1:]), rig.task(lambda r: SKIP)
    routes = [(1, None, last, False, None), (2, None, none, False, None), (3, None, rest, True, None)]
    routes += [(4, None, last, False, rig.task(parity)), (5, rig.task(lambda r: False), rig.task(broken), False, None)]
    outcome = await rig.run(single, rig.call(numbers, {"n": 3}, routes=routes))
    assert load(outcome.value, rig.values) == [0, 1, 2]
    carried = {
        plug: fate if isinstance(fate, bool) else [load(one, rig.values) for one in fate] if isinstance(fate, list)
        else load(fate, rig.values) for plug, fate in outcome.routed.items()
    }  # fmt: skip
    assert carried == {1: 2, 2: False, 3: [1, 2], 4: 2, 5: False}
    assert outcome.keys == {4: ["0"]}


async def test_route_that_raises_fails_the_call_and_names_the_plug(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(add, {"one": 1}, routes=[(9, rig.task(broken), None, False, None)]))
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert outcome.error["kind"] == "task"
    assert (outcome.error["plug"], outcome.error["step"], outcome.error["message"]) == (9, "when", "no such plug")
    assert "raise LookupError" in outcome.error["traceback"]


counted: list[int] = []


def count():
    counted.append(1)
    return len(counted)


async def test_function_is_unpickled_once(rig: Rig, single: NodeAgent) -> None:
    got = []
    for _ in range(3):
        call = rig.call(count)
        await rig.run(single, call)
        got.append(rig.result(call.request))
    assert got == [1, 2, 3]


def upset():
    """What calls before this one have left in its process; then leave all of it."""
    import string

    threads = [thread.name for thread in threading.enumerate()]
    found = [string.digits == "patched", os.getcwd() == "/", "EC_TEST_LEFT" in os.environ, "left" in threads]
    string.digits = "patched"
    os.chdir("/")
    os.environ["EC_TEST_LEFT"] = "1"
    threading.Thread(target=threading.Event().wait, name="left").start()
    return found


NOTHING = [False] * 4


@pytest.mark.not_on("inline", "dask", why="a process that is not ours cannot be replaced")
async def test_call_of_a_fresh_task_finds_nothing_that_any_call_has_left_and_leaves_nothing(
    rig: Rig, single: NodeAgent
) -> None:
    found = []
    for fresh in (False, True, True, False, False, True):
        call = rig.call(upset, fresh=fresh)
        await rig.run(single, call)
        found.append(rig.result(call.request))
    # plain calls share a process; folder and environment are put back
    assert found == [NOTHING, NOTHING, NOTHING, NOTHING, [True, False, False, True], NOTHING]


@pytest.mark.not_on("inline", "dask", why="a process that is not ours cannot be replaced")
async def test_fresh_calls_among_short_ones_have_each_a_process_of_its_own(rig: Rig, agent: NodeAgent) -> None:
    fresh, plain = [rig.call(ident, fresh=True) for _ in range(4)], [rig.call(ident) for _ in range(16)]
    await rig.run(agent, plain[0])
    mixed = [call for i, one in enumerate(fresh) for call in (one, *plain[1 + 3 * i : 4 + 3 * i])] + plain[13:]
    agent.assign("main", mixed)
    await rig.done(mixed, 60)
    pids = [rig.result(call.request) for call in fresh]
    assert len(set(pids)) == len(pids)
    assert not set(pids) & {rig.result(call.request) for call in plain}


@pytest.mark.not_on("inline", "local", "ssh", why="they have processes of their own, or none")
async def test_call_that_cannot_have_a_process_of_its_own_fails(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(ident, fresh=True))
    assert outcome.error is not None
    assert "cannot have a process of its own on a Dask cluster" in outcome.error["message"]


async def test_task_is_sent_once_and_again_at_most_where_it_had_to_be_forgotten(rig: Rig, single: NodeAgent) -> None:
    first = rig.task(made_in(-1))
    for _ in range(3):
        await rig.run(single, rig.call(first, {"x": 1}))
    assert rig.ear.asked.count(first) == 1
    others = [rig.call(made_in(i), {"x": 1}) for i in range(TASKS_KEPT + 2)]
    single.assign("main", others)
    await rig.done(others, 60)
    for _ in range(2):
        call = rig.call(first, {"x": 1})
        await rig.run(single, call)
        assert rig.result(call.request) == 0
    assert rig.ear.asked.count(first) <= 2


async def test_call_of_a_task_whose_code_is_gone_fails(rig: Rig, single: NodeAgent) -> None:
    call = rig.call("0" * 64, socket="lost")
    outcome = await rig.run(single, call)
    assert outcome.error is not None
    assert "code is gone" in outcome.error["message"]


def arrays(x):
    return x, x.flags.writeable, x[-1]


async def test_large_values_travel_as_files_and_arrays_are_mapped_read_only(rig: Rig, single: NodeAgent) -> None:
    array = np.arange(16 * 1024 * 1024, dtype=np.float64)
    call = rig.call(arrays, {"x": array})
    assert len(call.files()) == 1
    outcome = await rig.run(single, call)
    assert outcome.value is not None
    assert outcome.value.file == f"{call.request}.7.1.0"
    assert outcome.value.size > 128 * 1024 * 1024
    path = rig.values / outcome.value.file
    assert path.stat().st_mode & 0o777 == 0o600
    back, writeable, last = rig.result(call.request)
    assert not writeable
    assert not back.flags.writeable
    assert last == back[-1] == array[-1]
    assert np.array_equal(back[::4097], array[::4097])


async def test_result_over_the_limit_is_a_file_and_one_under_it_is_not(rig: Rig, single: NodeAgent) -> None:
    for count, is_file in ((INLINE_BYTES - 100, False), (INLINE_BYTES + 1, True)):
        call = rig.call(lambda n: b"x" * n, {"n": count})
        outcome = await rig.run(single, call)
        assert outcome.value is not None
        assert (outcome.value.file is not None) == is_file
        assert outcome.value.type == "bytes"
        assert len(rig.result(call.request)) == count


def from_folder():
    import beside

    return beside.answer, input_or_none()


def input_or_none():
    try:
        return input()
    except EOFError:
        return None


async def test_module_beside_the_notebook_is_found_and_nobody_answers_input(rig: Rig, single: NodeAgent) -> None:
    (rig.folder / "beside.py").write_text("answer = 42\n")
    call = rig.call(from_folder)
    await rig.run(single, call)
    assert rig.result(call.request) == (42, None)
