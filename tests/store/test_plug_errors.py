"""A condition, split or key that raises fails the request whose result it looks at; nothing is lost or taken twice."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.crash.flowkit import Flow, pickled, socket_change
from tests.store.rig import agrees


def count(n):
    yield from range(n)


def echo(x):
    return x


def pair(one, two):
    return one, two


def failed(flow: Flow, request: int, words: str) -> None:
    """The request has failed with a message that has these words."""
    flow.drained()
    (row,) = flow.requests(ids=[request])
    assert row["state"] == "failed", row
    assert words in row["error"]["message"]
    assert flow.row(request)["state"] == "failed"
    assert flow.ask("drained")["failed"] == 1


def test_a_key_that_raises_names_itself_and_its_value_joins_after_a_retry(flow: Flow) -> None:
    def keyed(text: str, function: Any) -> None:
        blobs = [pickled(pair), pickled(function)]
        key = {"sha256": hashlib.sha256(blobs[1]).hexdigest(), "text": text, "blob": 1}
        flow.edit(socket_change(pair, key=key)[0], blobs=blobs)

    flow.socket(count)
    flow.socket(echo)
    keyed("6 // value", lambda value: 6 // value)
    flow.plug("count", "pair.one")
    flow.plug("echo", "pair.two")
    request = flow.submit("count", n=2)
    failed(flow, request, "plug 'count -> pair.one, key=6 // value': ")
    flow.result(flow.submit("echo", x=1))
    flow.drained()
    assert flow.results("pair") == [(1, 1)]


def test_a_request_whose_plug_raised_can_be_given_up_and_is_done_but_for_that(flow: Flow) -> None:
    flow.socket(count)
    flow.socket(lambda x: x, "echo")
    flow.socket(lambda xs: xs, "collect")
    flow.plug("count", "echo.x", when=lambda result: 6 // (2 - result))
    flow.plug("echo", "collect.xs", gather=True)
    request = flow.submit("count", n=4)
    failed(flow, request, "by zero")
    assert flow.count("collect")["done"] == 0
    flow.restart()
    flow.ask("discard", request=request)
    flow.drained()
    assert flow.results("collect") == [[0, 1, 3]]
    assert flow.state(request) == "done"


def test_clearing_a_flow_forgets_what_is_under_way_through_its_plugs(flow: Flow) -> None:
    flow.socket(count)
    flow.socket(pair)
    flow.plug("count", "pair.one", when=lambda result: 6 // (1 - result))
    flow.socket(echo)
    flow.plug("echo", "pair.two")
    failed(flow, flow.submit("count", n=2), "division")
    flow.ask("clear")
    assert flow.result(flow.submit("echo", x=1)) == 1
    assert flow.ask("drained") | {"n": 0} == {"k": "ok", "n": 0, "waiting": 1, "failed": 0, "paused": 0}


def test_a_condition_of_a_plug_that_carries_failures_is_asked_of_the_failure(flow: Flow) -> None:
    flow.socket(lambda x: {}[x] if x else 1 / x, "fails")
    flow.socket(lambda x: x.type, "told")
    flow.plug("fails", "told.x", on="error", when=lambda result: result.type == "KeyError")
    flow.map("fails", [{"x": n} for n in (0, 1)])
    flow.restart()
    flow.drained()
    assert flow.results("told") == ["KeyError"]
    assert flow.count("fails")["failed"] == 2
    # one that raises leaves the request failed as it was, and its failure on its way until it is run again
    flow.plug("fails", "told.x", on="error", when=lambda result: 1 // 0)
    request = flow.submit("fails", x=1)
    flow.drained()
    flow.restart()
    assert "KeyError" in flow.row(request)["error"]["type"]
    flow.plug("fails", "told.x", on="error", when=lambda result: True)
    flow.ask("discard", request=request)
    flow.drained()
    agrees(flow.client.engine.core)


def test_a_generators_failure_that_waits_for_its_condition_over_a_restart_is_one_value(flow: Flow) -> None:
    def broken(n):
        yield n
        raise ValueError(n)

    flow.socket(broken)
    flow.socket(lambda x: x.type, "told")
    flow.plug("broken", "told.x", on="error", when=lambda result: 1 // 0)
    flow.submit("broken", n=1)
    flow.drained()
    flow.restart()
    flow.plug("broken", "told.x", on="error", when=lambda result: True)
    (request,) = [row["id"] for row in flow.requests(socket="broken")]
    flow.ask("retry", ids=[request])
    flow.drained()
    assert set(flow.results("told")) == {"ValueError"}
    agrees(flow.client.engine.core)
