"""A condition, split or key that raises fails the request whose result it looks at; nothing is lost or taken twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.flowkit import Flow, Gate, Marks, mark, passing


def count(n):
    yield from range(n)


def counting(marks, gate):
    n = 0
    while True:
        yield n
        mark(marks, n)
        n += 1
        if n == 3:
            passing(gate)


def hold(x, marks, gate):
    mark(marks, x)
    passing(gate)
    return x


def echo(x):
    return x


def pair(one, two):
    return one, two


def seen(flow: Flow, socket: str) -> list[Any]:
    return sorted(flow.results(socket))


def failed(flow: Flow, request: int, words: str) -> None:
    """The request has failed with a message that has these words."""
    flow.drained()
    (row,) = flow.requests(ids=[request])
    assert row["state"] == "failed", row
    assert words in row["error"]["message"]
    assert flow.row(request)["state"] == "failed"
    assert flow.ask("drained")["failed"] == 1


def deadly(result):
    import os

    if result == 2:
        os._exit(3)
    return True


CASES = [
    ({"when": lambda result: 6 / (2 - result)}, "plug 'count -> echo.x, when=when': division by zero"),
    ({"map": True, "when": lambda result: True}, "plug 'count -> echo.x, map=True': 'int' object is not iterable"),
    ({"pick": lambda result: result if 6 / (2 - result) else 0}, "plug 'count -> echo.x, pick=pick': division by zero"),
    ({"when": deadly}, "plug 'count -> echo.x, when=when': it ended its worker 3 times, last: "),
]


@pytest.mark.parametrize(("options", "words"), CASES)
def test_a_plug_that_cannot_take_a_yield_fails_its_request_and_takes_it_once_it_is_mended(
    flow: Flow, options: dict[str, Any], words: str
) -> None:
    flow.socket(count)
    flow.socket(echo)
    flow.plug("count", "echo.x", **options)
    request = flow.submit("count", n=4)
    failed(flow, request, words)
    kept = seen(flow, "echo")
    assert 2 not in kept
    # as long as the plug is as it was, another try comes to the same
    assert flow.ask("retry", ids=[request])["ids"] == [request]
    failed(flow, request, words)
    flow.restart()
    failed(flow, request, words)
    assert seen(flow, "echo") == kept
    whole = {"pick": lambda result: result} if "pick" in options else {}
    flow.plug("count", "echo.x", when=lambda result: True, map=False, **whole)
    flow.ask("retry", ids=[request])
    flow.drained()
    assert flow.row(request)["state"] == "done"
    assert seen(flow, "echo") == [0, 1, 2, 3]
    assert flow.ask("drained")["failed"] == 0
    # its values were yielded once
    assert flow.requests(ids=[request])[0]["attempt"] == 1


@pytest.mark.parametrize("options", [{"when": lambda result: 1 / result}, {"map": True}])
def test_a_plug_that_was_changed_meanwhile_and_raises_fails_the_request(
    flow: Flow, marks: Marks, gate: Gate, options: dict[str, Any]
) -> None:
    flow.socket(hold)
    for name in ("echo", "other"):
        flow.socket(echo, name)
        flow.plug("hold", f"{name}.x")
    request = flow.submit("hold", x=0, marks=str(marks), gate=str(gate))
    marks.reach(1)
    flow.plug("hold", "echo.x", **options)
    gate.open()
    failed(flow, request, "plug 'hold -> echo.x, ")
    # what it said elsewhere stands
    assert (seen(flow, "other"), seen(flow, "echo")) == ([0], [])
    flow.unplug("hold", "echo.x")
    flow.plug("hold", "echo.x")
    flow.ask("retry", ids=[request])
    flow.drained()
    assert flow.result(request) == 0
    assert (seen(flow, "other"), len(marks.lines)) == ([0], 1)


@pytest.mark.parametrize(
    ("redraw", "since"), [({"map": False}, "drawn anew"), (None, "taken away")], ids=["redrawn", "unplugged"]
)
def test_a_plug_that_raises_after_it_was_changed_is_named_as_it_was(
    flow: Flow, marks: Marks, gate: Gate, redraw: dict[str, Any] | None, since: str
) -> None:
    flow.socket(hold)
    flow.socket(echo)
    flow.plug("hold", "echo.x", map=True)
    request = flow.submit("hold", x=0, marks=str(marks), gate=str(gate))
    marks.reach(1)
    if redraw is None:
        flow.unplug("hold", "echo.x")
    else:
        flow.plug("hold", "echo.x", **redraw)
    gate.open()
    failed(flow, request, f"plug 'hold -> echo.x, map=True' ({since} since): 'int' object is not iterable")
    flow.ask("retry", ids=[request])
    flow.drained()
    assert (flow.result(request), seen(flow, "echo")) == (0, [0] if redraw else [])


def test_a_generator_that_runs_is_stopped_when_a_plug_cannot_take_what_it_yields(
    flow: Flow, marks: Marks, gate: Gate
) -> None:
    flow.socket(counting)
    flow.socket(echo)
    flow.plug("counting", "echo.x", when=lambda result: 1 / (1 - result) or True)
    request = flow.submit("counting", marks=str(marks), gate=str(gate))
    # it would go on for ever
    assert "plug 'counting -> echo.x, when=when': division" in flow.row(request)["error"]["message"]
    flow.drained()
    assert seen(flow, "echo") == [0, 2]


def test_a_look_that_a_restart_has_cut_off_still_skips_what_it_was_for(flow: Flow, marks: Marks, gate: Gate) -> None:
    def slow(result: object, marks: str = str(marks), gate: str = str(gate)) -> bool:
        mark(marks, "look")
        passing(gate)
        return False

    flow.socket(count)
    flow.socket(pair)
    flow.plug("count", "pair.one", when=slow)
    flow.fix("pair.two", 1)
    flow.submit("count", n=1)
    marks.reach(1)
    flow.restart()
    gate.open()
    flow.drained()
    assert flow.count("pair")["skipped"] == 1
