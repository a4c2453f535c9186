"""What is of one flow is refused by another, where the same name or number is something else."""

from __future__ import annotations

from typing import Any

from ec_jupyter.errors import OtherFlowError

TWO_FLOWS = """
one, two = ec.flow("one"), ec.flow("two")

def add(x, y=1):
    return x + y

def join(left, right):
    return left + right

for flow in (one, two):
    flow.declare(add)
    flow.declare(join)
    flow.processor("pool", cpus=1)
    flow.submit("add", 1).result(60)
    flow.submit("join", left=1, partial=True)
    assert len(flow.waiting("join")) == 1
request, run, socket, processor = one.request(1), one.run(1), one["add"], one.processor("pool")
(item,) = one.waiting("join")
"""

REFUSED = [
    "two.retry(request)", "two.retry([request])", "two.retry(run)", "two.retry(socket)", "two.cancel(request)",
    "two.cancel(run)", "two.replay(request)", "two.replay(run)", "two.replay(1, from_=socket)", "two.submit(socket, 1)",
    "two.map(socket, [1])", "two.discard(item)", "two.discard([item])", "two.discard(request)",
    "two.supply(item, right=1)", "two.supply('join', run=run, right=1)", "two.requests(run=run)",
    "two.results(socket)", "two.recall(request)", "two.lineage(request)", "two.pause(socket)", "two.resume(processor)",
    "two.plug(socket, 'join.left')", "two.remove(processor)", "two.executor(processor)", "two.waiting(socket)",
]  # fmt: skip


def test_an_object_of_another_flow_is_refused_with_the_names_of_both(loaded: Any) -> None:
    loaded.run(TWO_FLOWS)
    state = "[(r.id, r.state) for r in two.requests()], len(two.waiting()), two.revision"
    before = loaded.run(state)
    for cell in REFUSED:
        error = loaded.fail(cell)
        assert isinstance(error, OtherFlowError), (cell, error)
        assert "is of flow 'one', not of flow 'two'" in str(error), cell
    assert loaded.run(state) == before


def test_an_object_of_a_flow_that_was_closed_and_opened_again_is_of_it_still(loaded: Any) -> None:
    loaded.run(TWO_FLOWS)
    loaded.run("one.close(); one = ec.flow('one')")
    assert loaded.run("one.recall(request)") == {"x": 1}
    loaded.run("one.supply(item, right=2)")
    assert loaded.run("one.wait(60); one.results('join')") == [3]
