"""What becomes of queued requests, in memory: cancelled, completed by another, emptied."""

from __future__ import annotations

import pytest

from ec_jupyter.errors import ArgumentsError, DeclarationError, RequestNotFoundError, SocketNotFoundError


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def test_a_processor_of_no_cpus_keeps_its_queue_and_goes_on_when_it_gets_one(flow):
    flow.socket(echo, processor="p")
    flow.edit({"op": "processor", "name": "p", "cpus": 0})
    request = flow.submit("echo", x=1)
    assert flow.state(request) == "queued"
    flow.edit({"op": "processor", "name": "p", "cpus": 1})
    assert flow.result(request) == 1


def test_a_task_that_takes_more_cpus_than_there_are_is_refused_at_declaration(flow):
    with pytest.raises(DeclarationError, match="could never run"):
        flow.socket(echo, threads=3)
    assert flow.client.topology["sockets"] == {}


def test_the_same_submit_id_again_is_the_same_request(flow):
    flow.socket(echo)
    flow.socket(echo, "other")
    first = flow.submit("echo", "k", x=1)
    assert flow.submit("echo", "k", x=2) == first
    assert flow.submit("other", "k", x=3) != first
    same = list(flow.client.submit([("echo", flow.values({"x": i}), "m") for i in range(3)]))
    assert len(set(same)) == 1
    flow.restart()
    assert flow.submit("echo", "k", x=4) == first
    flow.drained()
    assert flow.result(first) == 1
    assert flow.count("echo")["done"] == 2


def test_a_submit_with_a_wrong_name_accepts_nothing(flow):
    flow.socket(echo)
    with pytest.raises(ArgumentsError, match="no argument 'y'"):
        flow.client.submit([("echo", flow.values({"x": 1})), ("echo", flow.values({"y": 1}))])
    with pytest.raises(SocketNotFoundError, match="did you mean 'echo'"):
        flow.client.submit([("echo", flow.values({"x": 1})), ("ehco", flow.values({"x": 1}))])
    assert flow.requests() == []


def test_a_submit_that_lacks_an_argument_is_refused_and_shifts_no_pair_of_strangers(flow):
    flow.socket(pair)
    with pytest.raises(ArgumentsError, match="'pair' lacks 'two'; give it, or say partial=True"):
        flow.map("pair", [{"one": 0, "two": 0}, {"one": 1}])
    # the engine refuses it as well, from whoever sends it
    with pytest.raises(ArgumentsError, match="'pair' lacks 'one' and 'two'; give"):
        flow.ask("submit", rows=[["pair", {}]])
    flow.restart()
    assert flow.requests() == []
    later = [flow.submit_some("pair", **{name: n}) for n in (2, 3) for name in ("one", "two")]
    assert [flow.result(request) for request in later] == [(2, 2), (2, 2), (3, 3), (3, 3)]


def test_a_partial_submit_waits_until_the_rest_is_supplied(flow):
    flow.socket(pair)
    request = flow.submit_some("pair", one=1)
    assert flow.state(request) == "waiting"
    assert flow.drained()["waiting"] == 1
    (row,) = flow.waiting("pair")
    assert row["request"] == request
    assert row["arguments"]["one"]["state"] == "arrived"
    flow.restart()
    assert flow.state(request) == "waiting"
    flow.supply("pair", request, two=2)
    assert flow.result(request) == (1, 2)


def test_partial_submits_that_complete_each_other_are_one_call_that_both_see(flow):
    flow.socket(pair)
    one, two = flow.submit_some("pair", one=1), flow.submit_some("pair", two=2)
    assert flow.result(one) == flow.result(two) == (1, 2)
    flow.drained()
    assert len([r for r in flow.requests(socket="pair") if r["joined"] is None]) == 1
    for _ in "12":
        assert flow.count("pair") | {"done": 1, "waiting": 0, "queued": 0} == flow.count("pair")
        assert len(flow.query("results", socket="pair", limit=10)["types"]) == 1
        assert flow.query("run", id=one)["counts"] == {"done": 1}
        flow.restart()


def test_a_cancelled_waiting_request_neither_runs_nor_feeds_another(flow):
    flow.socket(pair)
    request = flow.submit_some("pair", one=1)
    assert flow.ask("cancel", ids=[request])["cancelled"] == 1
    other = flow.submit_some("pair", two=2)
    flow.drained()
    assert flow.state(request) == "cancelled"
    assert flow.state(other) == "waiting"
    assert flow.waiting("pair")[0]["arguments"]["one"]["state"] != "arrived"


def test_a_cancelled_waiting_request_that_is_retried_waits_again(flow):
    flow.socket(pair)
    request = flow.submit_some("pair", one=1)
    flow.ask("cancel", ids=[request])
    assert flow.ask("retry", ids=[request])["ids"] == [request]
    assert flow.state(request) == "waiting"
    flow.supply("pair", request, two=2)
    assert flow.result(request) == (1, 2)


def test_cancel_of_an_unknown_request_says_so(flow):
    with pytest.raises(RequestNotFoundError, match="no request 12"):
        flow.ask("cancel", ids=[12])


def test_a_cancelled_request_retried_goes_on_in_the_same_run(flow):
    flow.socket(echo)
    flow.socket(echo, "next")
    flow.plug("echo", "next.x")
    flow.ask("pause", sockets=["echo"])
    request = flow.submit("echo", x=1)
    flow.ask("cancel", ids=[request])
    flow.ask("resume", sockets=["echo"])
    flow.ask("retry", ids=[request])
    assert flow.result(request) == 1
    flow.drained()
    (row,) = flow.requests(socket="next")
    assert row["run"] == request


def test_identities_from_before_a_clear_are_not_given_again(flow):
    flow.socket(echo)
    before = flow.map("echo", [{"x": i} for i in range(5)])
    flow.drained()
    flow.ask("clear")
    flow.restart()
    assert flow.submit("echo", x=1) > max(before)
    assert flow.row(before[0])["state"] == "unknown"


def test_a_cancelled_request_that_lacked_an_argument_can_be_given_up_after_a_restart(flow):
    flow.socket(pair)
    flow.socket(pair, "then")
    flow.plug("pair", "then.one")
    request = flow.submit_some("pair", one=1)
    assert flow.ask("cancel", ids=[request])["cancelled"] == 1
    flow.restart()
    flow.ask("discard", request=request)
    assert flow.state(request) == "skipped"
    (row,) = flow.requests(socket="then")
    assert row["state"] == "skipped"


def test_partial_submits_whose_call_is_given_up_are_given_up_both(flow):
    flow.socket(lambda one, two: one / 0, "pair")
    flow.socket(lambda x, y: (x, y), "then")
    flow.plug("pair", "then.x")
    flow.fix("then.y", 1)
    one, two = flow.submit_some("pair", one=1), flow.submit_some("pair", two=2)
    assert [flow.row(request)["state"] for request in (one, two)] == ["failed", "failed"]
    flow.ask("discard", request=one)
    for _ in "12":
        assert [flow.state(request) for request in (one, two)] == ["skipped", "skipped"]
        assert flow.query("run", id=one)["counts"] == {"skipped": 2}
        assert flow.drained()["failed"] == 0
        flow.restart()


@pytest.mark.parametrize("join", ["run", "zip"])
def test_partial_submits_that_are_one_queued_call_both_end_after_a_restart(flow, join):
    flow.socket(pair, join=join)
    flow.ask("pause", sockets=["pair"])
    one, two = flow.submit_some("pair", one=1), flow.submit_some("pair", two=2)
    assert (flow.state(one), flow.count("pair")["queued"]) == ("queued", 1)
    flow.restart()
    flow.ask("resume", sockets=["pair"])
    assert flow.result(one) == flow.result(two) == (1, 2)
