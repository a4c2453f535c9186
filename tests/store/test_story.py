"""What happened in a flow, asked of rows in memory: runs, their ways, when calls ran, and how the flow was."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ec_jupyter.client.commands import command
from ec_jupyter.errors import RequestNotFoundError
from tests.store.memoryflow import MemoryFlow


def echo(x: int) -> int:
    return x


def broken(x: int) -> int:
    return 1 // (x - 2)


def pair(one: int, two: int) -> tuple[int, int]:
    return one, two


@pytest.fixture
def diamond(flow: MemoryFlow) -> MemoryFlow:
    """A value that goes two ways and meets itself again; on one of them it may fail."""
    for task, name in ((echo, "start"), (echo, "left"), (broken, "right"), (pair, "pair")):
        flow.socket(task, name)
    for source, target in (("start", "left.x"), ("start", "right.x"), ("left", "pair.one"), ("right", "pair.two")):
        flow.plug(source, target)
    return flow


def do(flow: MemoryFlow, op: str, **args: Any) -> dict[str, Any]:
    return command(_Client(flow), op, args)  # type: ignore[arg-type]


class _Client:
    """A flow's client as commands take it."""

    connected, name = True, "memory"

    def __init__(self, flow: MemoryFlow) -> None:
        self.ask = flow.client.ask
        self.topology = flow.client.topology


def plugs(flow: MemoryFlow) -> dict[str, int]:
    return {f"{p['source']} {p['target']}": p["id"] for p in flow.client.topology["plugs"]}


@pytest.mark.parametrize(
    "asked", [{"what": "results", "socket": "pair", "complete": True}, {"what": "requests"}, {"what": "log"}]
)
def test_a_run_that_is_not_there_is_said_to_be_none(diamond, asked):
    with pytest.raises(RequestNotFoundError, match="no run 99 in this flow"):
        diamond.client.ask("query", asked | {"run": 99})


# -- runs and their ways --------------------------------------------------------
def test_runs_are_found_by_where_they_began_by_any_of_their_requests_and_by_state(diamond):
    good, bad = diamond.submit("start", x=3), diamond.submit("start", x=2)
    alone = diamond.submit("left", x=1)
    diamond.drained()
    rows = do(diamond, "runs")["rows"]
    assert [(row["run"], row["socket"], row["state"]) for row in rows] == [
        (alone, "left", "waiting"), (bad, "start", "failed"), (good, "start", "done")
    ]  # fmt: skip
    assert [row["run"] for row in do(diamond, "runs", find="STA")["rows"]] == [bad, good]
    (joined,) = [row["id"] for row in diamond.requests(socket="pair")]
    assert [row["run"] for row in do(diamond, "runs", find=str(joined))["rows"]] == [good]
    assert [row["run"] for row in do(diamond, "runs", state="failed")["rows"]] == [bad]


def test_runs_come_in_pages_that_miss_none(diamond):
    ids = [diamond.submit("start", x=3) for _ in range(7)]
    diamond.drained()
    found: list[int] = []
    page: dict[str, Any] = {"next": None}
    while not found or page["next"] is not None:
        page = do(diamond, "runs", limit=3, before=page["next"])
        found += [row["run"] for row in page["rows"]]
    assert found == ids[::-1]


def test_way_of_a_run_says_where_it_went_where_it_failed_and_where_it_waits(diamond):
    diamond.submit("start", x=3)
    run = diamond.submit("start", x=2)
    diamond.drained()
    (request,) = [row["id"] for row in diamond.requests(socket="right", state="failed")]
    way, wires = do(diamond, "way", id=request), plugs(diamond)
    assert way["run"] == run
    assert way["state"] == "failed"
    assert way["sockets"] == {"start": {"done": 1}, "left": {"done": 1}, "right": {"failed": 1}}
    assert way["plugs"] == {str(wires[name]): 1 for name in ("start left", "start right", "left pair")}
    assert way["waits"] == [["pair", "one", 1]]


def test_lineage_of_a_request_names_which_value_met_which(diamond):
    diamond.submit("start", x=3)
    diamond.drained()
    ids = {row["socket"]: row["id"] for row in diamond.requests()}
    found = do(diamond, "lineage", id=ids["pair"])
    assert sorted(map(tuple, found["edges"])) == sorted(
        [
            (ids["start"], ids["left"], "x"), (ids["start"], ids["right"], "x"),
            (ids["left"], ids["pair"], "one"), (ids["right"], ids["pair"], "two"),
        ]
    )  # fmt: skip
    assert found["sockets"] == {str(request): socket for socket, request in ids.items()}


# -- the timeline ----------------------------------------------------------------
def test_timeline_has_a_bar_for_each_call_that_began_in_pages_that_miss_none(diamond):
    for x in (3, 4, 5):
        diamond.submit("start", x=x)
    diamond.drained()
    began = {row["id"] for row in diamond.requests() if row["started"] is not None}
    found: list[int] = []
    page: dict[str, Any] = {"next": None}
    while not found or page["next"] is not None:
        page = do(diamond, "timeline", limit=5, before=page["next"])
        found += page["columns"]["id"]
    assert sorted(found) == sorted(began)
    assert len(began) == 12


def test_timeline_of_a_run_has_its_calls_alone(diamond):
    diamond.submit("start", x=3)
    run = diamond.submit("start", x=2)
    diamond.drained()
    page = do(diamond, "timeline", run=run)
    columns = page["columns"]
    calls = [(page["sockets"][at], state) for at, state in zip(columns["socket"], columns["state"], strict=True)]
    assert sorted(calls) == [("left", "done"), ("right", "failed"), ("start", "done")]
    assert page["processors"] == ["main"] * 3


# -- the past ----------------------------------------------------------------------
def moment() -> float:
    """Now; what follows is later."""
    now = time.time()
    while time.time() == now:
        pass
    return now


def test_wiring_of_the_past_is_that_of_its_revision_whatever_was_undone_renamed_and_removed_since(flow):
    moments, seen = [], []

    def note() -> None:
        moments.append(moment())
        topology = flow.client.topology
        wires = sorted(f"{p['source']}>{p['target']}.{p['argument']}" for p in topology["plugs"])
        seen.append((sorted(topology["sockets"]), wires, sorted(topology["processors"])))

    note()
    flow.socket(echo, "a")
    flow.socket(pair, "b", processor="other")
    note()
    flow.plug("a", "b.one")
    note()
    flow.edit({"op": "rename", "name": "a", "to": "first"})
    note()
    flow.ask("undo")
    note()
    flow.ask("undo")
    note()
    flow.ask("redo")
    note()
    flow.edit({"op": "remove", "name": "b"}, {"op": "remove_processor", "name": "other"})
    note()
    flow.restart()
    flow.socket(echo, "c")
    found = []
    for when in moments:
        graph = do(flow, "past", time=when)["graph"]
        wires = sorted(f"{p['source']}>{p['target']}.{p['argument']}" for p in graph["plugs"])
        found.append((sorted(graph["sockets"]), wires, sorted(graph["processors"])))
    assert found == seen


def numbers(sockets: dict[str, Any]) -> dict[str, Any]:
    return {name: (row["queued"], row["done"], row["failed"], row["arrived"]) for name, row in sockets.items()}


def test_numbers_of_the_past_are_those_that_were_told_then(diamond):
    engine = diamond.client.engine
    steps: list[bool] = []
    engine.pace = lambda: bool(steps and steps.pop())
    diamond.submit("start", x=2)
    moments, told = [], []
    for _ in range(4):
        told.append(numbers(diamond.query("counts")["sockets"]))
        moments.append(moment())
        steps.append(True)
        diamond.ask("ping")
        moment()
    assert len({repr(one) for one in told}) == 4
    engine.pace = lambda: True
    diamond.drained()
    diamond.edit({"op": "rename", "name": "left", "to": "aside"})
    assert [numbers(do(diamond, "past", time=when)["metrics"]["sockets"]) for when in moments] == told
    assert do(diamond, "past", time=moments[0] - 3600)["graph"]["sockets"] == {}


def test_since_says_when_the_past_began_and_names_its_edits(diamond):
    diamond.submit("start", x=3)
    found = do(diamond, "since")
    assert found["from"] == found["revisions"][0]["time"] <= found["to"]
    assert found["revisions"][-1]["text"].startswith("plug")
