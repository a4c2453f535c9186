"""Calls that fail while their worker goes on."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ec_jupyter.nodes.values import load
from ec_jupyter.wire import Value
from tests.nodes.rig import Rig
from tests.nodes.tasks import ident

if TYPE_CHECKING:  # tasks of these tests are found on hosts that have not the engine
    from ec_jupyter.nodes.agents import NodeAgent

pytestmark = pytest.mark.every_node


class Picky(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


def chatty():
    class Picky(Exception):
        def __init__(self, code, text="two arguments"):
            super().__init__(f"{code}: {text}")
            self.code = code

    raise Picky(4)


class Held(Exception):
    def __init__(self):
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class Bomb:
    def __reduce__(self):
        return (exploded, ())


def exploded():
    raise RuntimeError("does not unpickle")


def divide(x):
    return 1 / x


def picky():
    raise Picky(4, "two arguments")


def held():
    raise Held


def left():
    sys.exit(5)


def interrupted():
    raise KeyboardInterrupt


def locked():
    return {"results": [1, threading.Lock()]}


def bomb():
    return Bomb()


FAILURES = [
    (picky, "task", "Picky", "4: two arguments"),
    (held, "task", "Held", "holds a lock"),
    (left, "task", "SystemExit", "5"),
    (interrupted, "task", "KeyboardInterrupt", ""),
    (
        locked,
        "unpicklable",
        "TaskNotPicklableError",
        "result of 'locked' cannot travel: cannot pickle '_thread.lock' object at ['results'][1] (_thread.lock)",
    ),
]


async def test_worker_goes_on_after_calls_that_raise(rig: Rig, single: NodeAgent) -> None:
    before = rig.call(ident)
    await rig.run(single, before)
    for function, kind, error, message in FAILURES:
        outcome = await rig.run(single, rig.call(function))
        assert outcome.state == "failed"
        assert outcome.error is not None
        assert (outcome.error["kind"], outcome.error["type"], outcome.error["message"]) == (kind, error, message)
        assert error in outcome.error["traceback"]
    after = rig.call(ident)
    await rig.run(single, after)
    assert rig.result(before.request) == rig.result(after.request)


async def test_exception_travels_if_it_survives_the_way_and_only_then(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(divide, {"x": 0}))
    assert outcome.exception is not None
    assert isinstance(load(outcome.exception, rig.values), ZeroDivisionError)
    for function in (picky, chatty):
        outcome = await rig.run(single, rig.call(function))
        assert outcome.exception is not None
        error = load(outcome.exception, rig.values)
        assert (type(error).__name__, error.args, vars(error)) == ("Picky", ("4: two arguments",), {"code": 4})
    for function in (held, left):
        outcome = await rig.run(single, rig.call(function))
        assert outcome.exception is None


async def test_argument_that_does_not_unpickle_fails_its_call_only(rig: Rig, single: NodeAgent) -> None:
    data = pickle.dumps(os.getpid)[:-3]
    outcome = await rig.run(single, rig.call(divide, arguments=[("x", "v", [Value(data, None, len(data), "x")])]))
    assert outcome.error is not None
    assert outcome.error["kind"] == "unpicklable"
    assert outcome.error["message"].startswith("argument 'x' of 'divide' cannot be unpickled: ")
    outcome = await rig.run(single, rig.call(divide, {"x": Bomb()}))
    assert outcome.error is not None
    assert "RuntimeError: does not unpickle" in outcome.error["message"]
    call = rig.call(divide, {"x": 2})
    await rig.run(single, call)
    assert rig.result(call.request) == 0.5


async def test_result_that_does_not_unpickle_harms_only_who_loads_it(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(bomb)
    assert (await rig.run(single, call)).state == "done"
    with pytest.raises(RuntimeError, match="does not unpickle"):
        rig.result(call.request)


async def test_task_that_does_not_unpickle_fails_its_call(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(rig.task(Bomb()), socket="bomb"))
    assert outcome.error is not None
    assert outcome.error["kind"] == "unpicklable"
    assert "task of 'bomb' cannot be unpickled" in outcome.error["message"]


async def test_traceback_shows_the_cells_line_and_none_of_our_frames(rig: Rig, single: NodeAgent) -> None:
    text = "def f(x):\n    y = x + 1\n    return y / 0  # the culprit\n"
    scope: dict[str, object] = {"__name__": "__main__"}
    exec(compile(text, "<socket f v1>", "exec"), scope)
    outcome = await rig.run(single, rig.call(scope["f"], {"x": 1}, source=("<socket f v1>", text)))
    assert outcome.error is not None
    trace = outcome.error["traceback"]
    assert "return y / 0  # the culprit" in trace
    assert 'File "<socket f v1>", line 3, in f' in trace
    assert "ec_jupyter" not in trace
    # a second version under another name, in the same worker
    changed = text.replace("the culprit", "changed")
    exec(compile(changed, "<socket f v2>", "exec"), scope)
    outcome = await rig.run(single, rig.call(scope["f"], {"x": 1}, source=("<socket f v2>", changed)))
    assert outcome.error is not None
    assert "# changed" in outcome.error["traceback"]
    assert "the culprit" not in outcome.error["traceback"]


def surrogate():
    raise ValueError("bad \udcff text")


async def test_message_no_frame_can_carry_is_escaped(rig: Rig, single: NodeAgent) -> None:
    outcome = await rig.run(single, rig.call(surrogate))
    assert outcome.error is not None
    assert outcome.error["message"] == "bad \\udcff text"
