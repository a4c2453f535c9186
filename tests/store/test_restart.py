"""Joins over restarts, in memory: what waits keeps waiting, and pairs as if nothing had happened."""

from __future__ import annotations

import pytest

import ec_jupyter as ec
from tests.crash.flowkit import Flow


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def strangers(flow: Flow) -> None:
    flow.socket(echo, "a")
    flow.socket(echo, "b")
    flow.socket(pair, "join")
    flow.plug("a", "join.one")
    flow.plug("b", "join.two")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_strangers_pair_in_order_of_acceptance_over_restarts(flow, order):
    strangers(flow)
    first, second = order
    flow.map(first, [{"x": i} for i in range(5)])
    flow.drained()
    flow.restart()
    flow.map(second, [{"x": i} for i in range(2)])
    flow.drained()
    flow.restart()
    flow.map(second, [{"x": i} for i in range(2, 7)])
    flow.drained()
    assert sorted(flow.results("join")) == [(i, i) for i in range(5)]
    assert flow.count("join")["arrived"] == 2
    flow.restart()
    assert flow.count("join")["arrived"] == 2
    flow.map(first, [{"x": i} for i in range(5, 7)])
    flow.drained()
    assert sorted(flow.results("join")) == [(i, i) for i in range(7)]
    assert flow.count("join")["arrived"] == 0


def test_an_empty_map_gathers_an_empty_list_over_a_restart(flow):
    flow.socket(echo, "root")
    flow.socket(echo, "parse")
    flow.socket(lambda all: all, "merge")
    flow.plug("root", "parse.x", map=True)
    flow.plug("parse", "merge.all", gather=True)
    flow.ask("pause", sockets=["merge"])
    flow.submit("root", x=[])
    flow.submit("root", x=[1, 2])
    flow.drained()
    flow.restart()
    flow.ask("resume", sockets=["merge"])
    flow.drained()
    # of two runs on two CPUs either may be through first
    assert sorted(flow.results("merge")) == [[], [1, 2]]


def test_two_arms_of_a_condition_meet_on_one_argument_over_a_restart(flow):
    flow.socket(echo, "root")
    flow.socket(lambda x: ("small", x), "small")
    flow.socket(lambda x: ("big", x), "big")
    flow.socket(echo, "out")
    flow.plug("root", "small.x", when=lambda x: x < 10)
    flow.plug("root", "big.x", when=lambda x: x >= 10)
    flow.plug("small", "out.x")
    flow.plug("big", "out.x")
    flow.ask("pause", sockets=["small", "big"])
    flow.map("root", [{"x": x} for x in (1, 20, 3)])
    flow.drained()
    flow.restart()
    flow.ask("resume", sockets=["small", "big"])
    assert flow.drained()["waiting"] == 0
    assert sorted(flow.results("out")) == [("big", 20), ("small", 1), ("small", 3)]


@pytest.mark.parametrize("value", [None, 0, False, "", float("nan")], ids=repr)
def test_every_value_is_an_arrival(flow, value):
    strangers(flow)
    flow.submit("a", x=value)
    flow.submit("b", x=value)
    flow.drained()
    ((one, two),) = flow.results("join")
    assert repr((one, two)) == repr((value, value))


def refuse(x):
    raise ValueError(x)


@pytest.mark.parametrize("how", ["sends nothing", "is given up"])
def test_a_call_without_a_value_leaves_its_place_to_the_next_over_a_restart(flow, how):
    """Two plugs on one argument make two calls of one run, whatever the first came to before the engine began anew."""
    flow.socket(echo, "root")
    flow.socket(echo, "slow")
    flow.socket((lambda x: ec.SKIP) if how == "sends nothing" else refuse, "end")
    flow.plug("root", "slow")
    flow.plug("root", "end")
    flow.plug("slow", "end")
    flow.ask("pause", sockets=["slow"])
    flow.submit("root", x=1)
    flow.drained()
    if how == "is given up":
        (failed,) = flow.requests(socket="end")
        flow.ask("discard", request=failed["id"])
    flow.restart()
    flow.ask("resume", sockets=["slow"])
    flow.drained()
    ends = [row["state"] for row in flow.requests(socket="end")]
    assert ends == ["skipped", "skipped" if how == "sends nothing" else "failed"]
