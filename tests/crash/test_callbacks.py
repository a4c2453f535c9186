"""Addresses that are told of the end of a request: at least once, whatever dies in between."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from ec_jupyter.client import outside
from ec_jupyter.engine.callbacks import GIVE_UP_SECONDS, pause_after
from ec_jupyter.errors import ArgumentsError, FrameError
from ec_jupyter.flow.options import is_url
from tests.cases import each_of
from tests.crash.flowkit import Flow, echo, gone, hold, socket_change, wait_until
from tests.listening import Address


@pytest.fixture
def address() -> Iterator[Address]:
    address = Address()
    yield address
    address.close()


def lucky(x, path):
    with open(path) as file:
        return x / int(file.read())


def kept(flow: Flow) -> list[dict[str, Any]]:
    """Callbacks on the disk of a flow."""
    with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
        return [json.loads(text) for (text,) in db.execute("SELECT value FROM meta WHERE key LIKE 'callback:%'")]


def test_the_end_of_a_request_is_told_once_it_is_on_disk_and_then_forgotten(flow: Flow, address: Address) -> None:
    flow.socket(echo)
    request = outside.submit(flow.client, "echo", {"x": 1}, callback=address.url)
    wait_until(lambda: address.told)
    (told,) = address.told
    assert (told["id"], told["socket"], told["state"], told["error"]) == (request, "echo", "done", None)
    assert address.keys == [f"{told['flow_id']}-{request}-{told['attempt']}"]
    wait_until(lambda: not kept(flow))
    # nobody else's end is told, nor this one again
    assert flow.result(flow.submit("echo", x=2)) == 2
    flow.restart()
    assert flow.result(flow.submit("echo", x=3)) == 3
    assert len(address.told) == 1


def test_a_socket_tells_of_each_of_its_requests_and_a_submit_of_one_more(
    flow: Flow, address: Address, make_flow: Any
) -> None:
    flow.socket(echo)
    flow.socket(echo, "tells", callback=address.url)
    flow.plug("echo", "tells.x")
    requests = flow.map("echo", [{"x": n} for n in range(30)])
    flow.drained()
    told = [row["id"] for row in flow.requests(socket="tells")]
    wait_until(lambda: len(address.told) == 30)
    assert sorted(one["id"] for one in address.told) == sorted(told)
    assert not set(told) & set(requests)
    wait_until(lambda: not kept(flow))
    # nothing is told any more once it has none
    change, blob = socket_change(echo, "tells", callback=None)
    flow.edit(change, blobs=[blob])
    assert flow.result(flow.submit("tells", x=1)) == 1
    flow.restart()
    assert flow.result(flow.submit("tells", x=2)) == 2
    assert len(address.told) == 30


def test_a_killed_engine_leaves_no_end_of_a_socket_untold(flow: Flow, address: Address) -> None:
    flow.socket(echo, "tells", callback=address.url)
    address.held.clear()
    requests = flow.map("tells", [{"x": n} for n in range(40)])
    for request in requests:
        assert flow.row(request)["state"] == "done"
    flow.restart()
    address.held.set()
    wait_until(lambda: {one["id"] for one in address.told} == set(requests))
    wait_until(lambda: not kept(flow))


def test_a_submit_that_is_repeated_while_its_end_is_told_is_told_all_the_same(flow: Flow, address: Address) -> None:
    flow.socket(echo)
    address.held.clear()
    requests = []
    for _ in range(2):
        requests.append(outside.submit(flow.client, "echo", {"x": 1}, "monday", callback=address.url))
        assert flow.result(requests[0]) == 1
    address.held.set()
    wait_until(lambda: not kept(flow))
    assert {one["id"] for one in address.told} == set(requests)
    assert len(set(requests)) == 1


def test_calls_that_come_alone_are_told_too_whatever_is_killed_right_after(flow: Flow, address: Address) -> None:
    flow.socket(echo, "tells", callback=address.url)
    address.held.clear()
    # a worker is there, and the client asks for results as it submits
    requests = [flow.submit("tells", x=0)]
    assert flow.result(requests[0]) == 0
    for x in range(200):
        requests.append(flow.client.submit([("tells", flow.values({"x": x}))])[0])
        assert flow.client.finished(requests[-1]).result(60)["state"] == "done"
    flow.kill_engine()
    address.held.set()
    wait_until(lambda: {one["id"] for one in address.told} == set(requests))


def test_what_a_client_has_only_logged_is_told_by_the_engine_that_reads_it(flow: Flow, address: Address) -> None:
    flow.socket(echo)
    os.kill(flow.engine, signal.SIGSTOP)
    accepted = flow.client.submit([("echo", flow.values({"x": 1}))], callback=address.url)
    flow.kill_engine()
    wait_until(lambda: address.told)
    assert [(one["id"], one["state"]) for one in address.told] == [(accepted[0], "done")]


def test_an_address_that_does_not_take_it_is_told_again(flow: Flow, address: Address) -> None:
    flow.socket(echo)
    address.statuses = [500, 302]
    request = outside.submit(flow.client, "echo", {"x": 1}, callback=address.url)
    wait_until(lambda: len(address.told) == 3)
    assert [one["id"] for one in address.told] == [request] * 3
    assert len(set(address.keys)) == 1
    wait_until(lambda: not kept(flow))


def test_an_address_that_is_gone_for_good_is_told_once_and_the_log_says_so(flow: Flow, address: Address) -> None:
    flow.socket(echo)
    address.statuses = [410]
    request = outside.submit(flow.client, "echo", {"x": 1}, callback=address.url)
    wait_until(lambda: not kept(flow))
    assert len(address.told) == 1
    assert f"callback of request {request} to {address.url} was given up: 410" in str(flow.query("log")["lines"])


def test_a_killed_engine_leaves_no_end_untold(flow: Flow, address: Address, gate: Any, marks: Any) -> None:
    flow.socket(hold)
    flow.socket(echo)
    address.held.clear()
    ended = outside.submit(flow.client, "echo", {"x": 1}, callback=address.url)
    assert flow.result(ended) == 1
    later = outside.submit(flow.client, "hold", {"x": 1, "marks": str(marks), "gate": str(gate)}, callback=address.url)
    marks.reach(1)
    # one has ended and is being told, the other runs
    flow.restart()
    address.held.set()
    gate.open()
    wait_until(lambda: {one["id"] for one in address.told} == {ended, later})
    assert len(set(address.keys)) == 2
    wait_until(lambda: not kept(flow))


def test_a_failure_is_told_and_so_is_what_a_retry_came_to_over_restarts(
    flow: Flow, address: Address, tmp_path: Any
) -> None:
    flow.socket(lucky)
    path = tmp_path / "number"
    path.write_text("0")
    request = outside.submit(flow.client, "lucky", {"x": 4, "path": str(path)}, callback=address.url)
    wait_until(lambda: address.told)
    assert (address.told[0]["state"], address.told[0]["error"]["type"]) == ("failed", "ZeroDivisionError")
    wait_until(lambda: kept(flow)[0]["told"] == address.told[0]["attempt"])
    flow.restart()
    path.write_text("2")
    flow.ask("retry", ids=[request])
    wait_until(lambda: len(address.told) >= 2 and address.told[-1]["state"] == "done")
    assert len(set(address.keys)) == 2
    wait_until(lambda: not kept(flow))


def test_an_engine_with_nobody_here_stays_until_the_end_is_told(make_flow: Any, address: Address) -> None:
    flow = make_flow(linger=0.1)
    flow.socket(echo)
    # the second pause alone is longer than an engine stays by itself
    address.statuses = [500, 500]
    outside.submit(flow.client, "echo", {"x": 1}, callback=address.url)
    engine = flow.engine
    flow.client.close()
    wait_until(lambda: len(address.told) == 3)
    gone(engine)
    assert kept(flow) == []


def test_a_cleared_flow_tells_of_nothing(flow: Flow, address: Address) -> None:
    flow.socket(echo)
    flow.ask("pause", sockets=["echo"], processors=[])
    outside.submit(flow.client, "echo", {"x": 1}, callback=address.url)
    flow.ask("clear")
    flow.ask("resume", sockets=["echo"], processors=[])
    assert flow.result(flow.submit("echo", x=1)) == 1
    assert (kept(flow), address.told) == ([], [])


URLS = [
    ("http://127.0.0.1:1/x", True),
    ("https://a.example/x?y=1", True),
    ("ftp://a/x", False),
    ("file:///etc", False),
    ("http://", False),
    ("http://a b/", False),
    ("http://a:99999/", False),
    (7, False),
    ("x" * 3000, False),
]


@each_of(("url", "good"), URLS)
def test_an_address_is_by_http_or_https(url: object, good: bool) -> None:
    assert is_url(url) == good


def test_pauses_grow_and_end_within_a_day() -> None:
    assert [pause_after(tries) for tries in (1, 2, 3, 9, 10, 10_000)] == [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]
    assert GIVE_UP_SECONDS == 24 * 3600


def test_what_is_no_address_is_refused_and_nothing_is_submitted(flow: Flow) -> None:
    flow.socket(echo)
    with pytest.raises(ArgumentsError, match=r"callback= takes an address by http or https, .*, not 'ftp://x'"):
        outside.submit(flow.client, "echo", {"x": 1}, callback="ftp://x")
    with pytest.raises(FrameError, match="callback is to be an address"):
        flow.client.ask("submit", {"rows": [["echo", {}]], "callback": 7, "partial": True})
    assert flow.requests() == []
