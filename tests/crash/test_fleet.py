"""Calls on several nodes: where they go, and what becomes of them when a node goes."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from ec_jupyter.engine.address import KEY, Proof
from ec_jupyter.engine.clients import Connection
from ec_jupyter.engine.folder import Folder
from ec_jupyter.engine.submit_log import identity_of
from ec_jupyter.errors import DeclarationError, NodeNotFoundError, RevisionError, WiringError
from ec_jupyter.wire import PROTOCOL, FrameReader, Header, encode
from tests.crash.fleetkit import World
from tests.crash.flowkit import Gate, Marks, mark, passing, wait_until


def double(x):
    return 2 * x


def hold(x, marks, gate):
    mark(marks, x)
    passing(gate)
    return x


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "notebook" / ".ec_jupyter" / "main"
    folder.parent.mkdir(parents=True)
    world = World(folder.resolve())
    world.open()
    yield world
    world.close()
    assert not world.fell


def node(world: World, name: str = "hpc", **options: object) -> None:
    world.flow.edit({"op": "node", "name": name, **options})
    wait_until(lambda: state(world, name) != "starting")


def state(world: World, name: str) -> str | None:
    rows = {row["name"]: row["state"] for row in world.flow.query("counts")["nodes"]}
    return rows.get(name)


def placed(world: World, **nodes: int | None) -> None:
    world.flow.edit({"op": "processor", "name": "fit", "nodes": nodes})


def test_a_processor_on_several_nodes_runs_calls_wherever_a_cpu_is_free(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=2)
    placed(world, local=1, hpc=2)
    flow = world.flow
    flow.socket(hold, processor="fit")
    ids = flow.map("hold", [{"x": x, "marks": str(marks), "gate": str(gate)} for x in range(6)])
    assert sorted(marks.reach(3)) == ["0", "1", "2"]
    running = flow.requests(state="running")
    assert Counter(row["node"] for row in running) == {"local": 1, "hpc": 2}
    assert {row["id"] for row in running} == set(ids[:3])
    nodes = {row["name"]: row["used"] for row in flow.query("counts")["nodes"]}
    assert nodes == {"local": 1, "hpc": 2}
    gate.open()
    assert [flow.result(i) for i in ids] == list(range(6))
    assert {row["node"] for row in flow.requests(state="done")} == {"local", "hpc"}


def rows(world: World, *ids: int) -> list[dict]:
    return sorted(world.flow.requests(ids=list(ids)), key=lambda row: row["id"])


def held(world: World, gate: Gate, marks: Marks, n: int, **options: object) -> list[int]:
    """Calls that wait at the gate, as far as CPUs allow."""
    world.flow.socket(hold, processor="fit", **options)
    return world.flow.map("hold", [{"x": x, "marks": str(marks), "gate": str(gate)} for x in range(n)])


def test_a_processor_never_has_more_calls_on_a_node_than_its_cpus_there(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=2)
    placed(world, local=1, hpc=1)
    ids = held(world, gate, marks, 4)
    marks.reach(2)
    assert Counter(row["node"] for row in world.flow.requests(state="running")) == {"local": 1, "hpc": 1}
    gate.open()
    assert [world.flow.result(i) for i in ids] == [0, 1, 2, 3]


def test_what_runs_stays_where_it_is_and_what_is_queued_goes_along_when_a_processor_moves(
    world: World, gate: Gate, marks: Marks
) -> None:
    node(world, cpus=1)
    placed(world, local=1)
    ids = held(world, gate, marks, 4)
    marks.reach(1)
    placed(world, hpc=None)
    assert marks.reach(2) == ["0", "1"]
    assert [row["node"] for row in rows(world, *ids[:2])] == ["local", "hpc"]
    gate.open()
    assert [world.flow.result(i) for i in ids] == [0, 1, 2, 3]
    assert [row["node"] for row in rows(world, *ids)] == ["local", "hpc", "hpc", "hpc"]
    assert {row["attempt"] for row in rows(world, *ids)} == {1}
    assert len(marks.lines) == 4


def test_a_node_that_is_away_keeps_its_calls_and_gets_no_more(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    ids = held(world, gate, marks, 1)
    marks.reach(1)
    hpc = world.stations["hpc"]
    world.do(hpc.cut)
    assert state(world, "hpc") == "away"
    ids += world.flow.map("hold", [{"x": 1, "marks": str(marks), "gate": str(gate)}])
    gate.open()
    assert [row["state"] for row in rows(world, *ids)] == ["running", "queued"]
    assert world.flow.query("counts")["idle"] is False
    world.do(hpc.mend)
    assert [world.flow.result(i) for i in ids] == [0, 1]
    assert [row["attempt"] for row in rows(world, *ids)] == [1, 1]
    assert len(marks.lines) == 2


def test_calls_of_a_lost_node_run_elsewhere_once_and_are_not_charged_for_it(
    world: World, gate: Gate, marks: Marks
) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    flow = world.flow
    (call,) = held(world, gate, marks, 1, retries=0)
    flow.socket(double)
    flow.plug("hold", "double.x")
    marks.reach(1)
    hpc = world.stations["hpc"]
    world.do(hpc.cut)
    placed(world, local=1, hpc=1)
    world.do(hpc.expire)
    assert marks.reach(2) == ["0", "0"]
    gate.open()
    assert flow.result(call) == 0
    (row,) = rows(world, call)
    assert (row["node"], row["attempt"], row["deaths"]) == ("local", 2, 0)
    assert [(one["attempt"], one["state"]) for one in flow.query("attempts", id=call)["rows"]] == [(1, "lost")]
    # what the node has to say when it is back comes too late
    wait_until(lambda: not world.do(hpc.agent.running))
    world.do(hpc.mend)
    flow.drained()
    assert flow.count("double")["done"] == 1
    assert flow.count("hold")["done"] == 1


def test_a_call_that_must_not_run_twice_fails_with_its_node(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    (call,) = held(world, gate, marks, 1, once=True)
    marks.reach(1)
    hpc = world.stations["hpc"]
    world.do(hpc.cut)
    world.do(hpc.expire)
    row = world.flow.row(call)
    assert row["state"] == "failed"
    assert "once=True forbids another try" in row["error"]["message"]
    assert row["error"]["node"] == "hpc"
    gate.open()


def test_workers_killed_on_a_node_cost_their_calls_an_attempt_and_no_more(
    world: World, gate: Gate, marks: Marks
) -> None:
    node(world, cpus=2)
    placed(world, hpc=2)
    ids = held(world, gate, marks, 2)
    marks.reach(2)
    world.kill_workers("hpc")
    marks.reach(4)
    gate.open()
    assert [world.flow.result(i) for i in ids] == [0, 1]
    assert [(row["attempt"], row["deaths"], row["node"]) for row in rows(world, *ids)] == [(2, 1, "hpc")] * 2


def test_a_node_that_is_taken_away_ends_its_calls_first(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=1)
    placed(world, local=1, hpc=1)
    ids = held(world, gate, marks, 3)
    marks.reach(2)
    world.flow.edit({"op": "remove_node", "name": "hpc"})
    facts = {row["name"]: row for row in world.flow.query("counts")["nodes"]}
    assert facts["hpc"]["leaving"]
    assert world.closed == []
    gate.open()
    assert [world.flow.result(i) for i in ids] == [0, 1, 2]
    assert [row["node"] for row in rows(world, *ids)].count("hpc") == 1
    wait_until(lambda: world.closed == ["hpc"])
    assert state(world, "hpc") is None
    assert len(marks.lines) == 3


def test_an_engine_that_ends_lets_a_node_that_leaves_end_first(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=1)
    placed(world, hpc=None)
    (call,) = held(world, gate, marks, 1)
    marks.reach(1)
    pids = world.do(world.stations["hpc"].pids)
    placed(world, local=1)
    world.flow.edit({"op": "remove_node", "name": "hpc"})
    gate.open()
    world.flow.result(call)
    wait_until(lambda: world.closed == ["hpc"])
    world.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("slot ")]


def test_a_node_declared_anew_ends_its_calls_before_it_is_reached_as_it_is_now(
    world: World, gate: Gate, marks: Marks
) -> None:
    node(world, cpus=1)
    placed(world, hpc=None)
    ids = held(world, gate, marks, 3)
    marks.reach(1)
    before = world.stations["hpc"]
    world.flow.edit({"op": "node", "name": "hpc", "cpus": 2})
    gate.open()
    assert [world.flow.result(i) for i in ids] == [0, 1, 2]
    assert world.stations["hpc"] is not before
    assert {row["name"]: row["cpus"] for row in world.flow.query("counts")["nodes"]}["hpc"] == 2


def test_the_only_node_of_a_processor_cannot_be_taken_away(world: World) -> None:
    node(world)
    placed(world, hpc=1)
    with pytest.raises(WiringError, match="'hpc' is the only one of processor fit; move it first"):
        world.flow.edit({"op": "remove_node", "name": "hpc"})
    with pytest.raises(NodeNotFoundError, match=r"'hcp'; did you mean 'hpc'\?"):
        placed(world, hcp=1)


def test_nodes_and_placements_can_be_undone_and_redone(world: World) -> None:
    flow = world.flow
    node(world)
    placed(world, local=1, hpc=1)
    flow.ask("undo")
    assert "fit" not in flow.client.topology["processors"]
    placed(world, hpc=1)
    flow.ask("undo")
    flow.ask("redo")
    assert flow.client.topology["processors"]["fit"]["nodes"] == {"hpc": None}
    flow.ask("undo")
    flow.ask("undo")
    wait_until(lambda: state(world, "hpc") is None)
    flow.ask("redo")
    wait_until(lambda: state(world, "hpc") == "up")
    flow.ask("redo")
    flow.socket(double, processor="fit")
    call = flow.submit("double", x=4)
    assert flow.result(call) == 8
    assert rows(world, call)[0]["node"] == "hpc"


def test_undo_of_a_node_that_a_processor_has_come_to_is_refused(world: World) -> None:
    node(world)
    first = world.flow.query("counts")
    assert first["idle"]
    world.flow.edit({"op": "node", "name": "other"}, {"op": "processor", "name": "fit", "nodes": {"other": None}})
    world.flow.edit({"op": "processor", "name": "fit", "nodes": {"hpc": None}})
    world.flow.ask("undo")
    with pytest.raises(WiringError):
        world.flow.edit({"op": "remove_node", "name": "other"})
    world.flow.edit({"op": "processor", "name": "fit", "nodes": {"local": None}})
    world.flow.edit({"op": "remove_node", "name": "other"})
    with pytest.raises(RevisionError):
        world.flow.ask("redo")


def test_calls_of_a_node_that_cannot_be_reached_wait_and_hold_nobody_up(world: World) -> None:
    world.broken.add("hpc")
    node(world)
    placed(world, hpc=1)
    flow = world.flow
    facts = {row["name"]: row for row in flow.query("counts")["nodes"]}
    assert (facts["hpc"]["state"], facts["hpc"]["error"]) == ("down", "host 'hpc' has no 'python3'")
    flow.socket(double, processor="fit")
    call = flow.submit("double", x=4)
    assert flow.drained()["paused"] == 1
    assert flow.state(call) == "queued"
    world.broken.clear()
    flow.edit({"op": "node", "name": "hpc"})
    assert flow.result(call) == 8


def test_an_engine_asks_a_node_first_for_what_the_one_before_it_had_given_it(
    world: World, gate: Gate, marks: Marks
) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    ids = held(world, gate, marks, 2)
    marks.reach(1)
    given = dict.fromkeys(world.stations["hpc"].given, (1, "fit"))
    world.close(broken=True)
    world.slow.add("hpc")
    world.open()
    hpc = world.stations["hpc"]
    assert world.do(lambda: hpc.claims) == given
    assert rows(world, *ids)[0]["node"] == "hpc"
    gate.open()
    world.slow.clear()
    world.do(hpc.retry)
    assert [world.flow.result(i) for i in ids] == [0, 1]
    assert [row["attempt"] for row in rows(world, *ids)] == [2 if i in given else 1 for i in ids]
    assert {row["deaths"] for row in rows(world, *ids)} == {0}


def test_a_node_that_was_leaving_when_the_engine_ended_is_asked_by_the_next_and_then_left(
    world: World, gate: Gate, marks: Marks
) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    (call,) = held(world, gate, marks, 1)
    marks.reach(1)
    world.flow.edit({"op": "processor", "name": "fit", "nodes": {"local": 1}}, {"op": "remove_node", "name": "hpc"})
    world.close(broken=True)
    world.slow.add("hpc")
    world.open()
    hpc = world.stations["hpc"]
    assert world.do(lambda: hpc.claims) == {call: (1, "fit")}
    assert world.flow.query("counts")["nodes"][1]["leaving"]
    gate.open()
    world.slow.clear()
    world.do(hpc.retry)
    assert world.flow.result(call) == 0
    assert rows(world, call)[0]["node"] == "local"
    wait_until(lambda: state(world, "hpc") is None)
    world.close()
    world.stations.clear()
    world.open()
    assert world.stations == {}


def test_a_call_for_more_cpus_than_any_node_of_its_processor_has_is_refused(world: World) -> None:
    node(world, cpus=2)
    placed(world, local=1, hpc=2)
    with pytest.raises(DeclarationError, match=r"takes 3 CPUs and no node of processor 'fit' .*local: 1, hpc: 2"):
        world.flow.socket(double, processor="fit", threads=3)
    world.flow.socket(double, processor="fit", threads=2)
    call = world.flow.submit("double", x=1)
    assert world.flow.result(call) == 2
    assert rows(world, call)[0]["node"] == "hpc"
    with pytest.raises(DeclarationError, match="'double' takes 2 CPUs and processor 'fit' has 1"):
        placed(world, hpc=1)


def test_a_large_call_waits_for_its_node_and_small_ones_pass_it(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=2)
    placed(world, local=1, hpc=2)
    flow = world.flow
    flow.socket(hold, "large", processor="fit", threads=2)
    flow.socket(hold, "small", processor="fit")
    given = {"marks": str(marks), "gate": str(gate)}
    large = flow.map("large", [{"x": f"large {x}", **given} for x in range(2)])
    small = flow.map("small", [{"x": "small", **given}])
    assert sorted(marks.reach(2)) == ["large 0", "small"]
    assert [row["node"] for row in rows(world, large[0], *small)] == ["hpc", "local"]
    gate.open()
    assert flow.result(large[1]) == "large 1"


def test_calls_queued_on_a_busy_node_go_to_one_that_has_nothing_to_do(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    ids = held(world, gate, marks, 2)
    marks.reach(1)
    # both are on the node by now: one runs, one is queued behind it
    wait_until(lambda: len(world.stations["hpc"].given) == 2)
    placed(world, local=1, hpc=1)
    assert marks.reach(2) == ["0", "1"]
    assert [row["node"] for row in rows(world, *ids)] == ["hpc", "local"]
    gate.open()
    assert [world.flow.result(i) for i in ids] == [0, 1]


def test_a_running_call_on_a_node_can_be_cancelled(world: World, gate: Gate, marks: Marks) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    (call,) = held(world, gate, marks, 1)
    marks.reach(1)
    assert world.flow.ask("cancel", ids=[call])["killed"] == 1
    assert world.flow.row(call)["state"] == "cancelled"


def count(n):
    yield from range(n)


def test_conditions_and_elements_are_decided_on_a_node_of_the_processor(world: World) -> None:
    node(world, cpus=2)
    placed(world, hpc=2)
    flow = world.flow
    flow.socket(count, processor="fit")
    flow.socket(double)
    flow.plug("count", "double.x", when=lambda result: result % 2 == 1)
    flow.submit("count", n=5)
    flow.drained()
    assert sorted(flow.results("double")) == [2, 6]


def blob(n):
    return b"x" * n


def test_large_values_come_from_a_node_and_go_to_one(world: World) -> None:
    node(world, cpus=1)
    placed(world, hpc=1)
    flow = world.flow
    flow.socket(blob, processor="fit")
    flow.socket(double, processor="fit")
    flow.plug("blob", "double.x")
    flow.submit("blob", n=1 << 20)
    flow.drained()
    (value,) = flow.results("double")
    assert value == b"x" * (2 << 20)


def pair(one, two):
    return one, two


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_becomes_of_nodes_every_call_takes_effect_once(world: World, seed: int) -> None:
    chance, flow = Random(seed), world.flow
    node(world, "hpc", cpus=2)
    node(world, "gpu", cpus=1)
    placed(world, local=1, hpc=2, gpu=1)
    for name in ("start", "left", "right"):
        flow.socket(double, name, processor="fit")
    flow.socket(pair, processor="fit")
    for source, target in [("start", "left.x"), ("start", "right.x"), ("left", "pair.one"), ("right", "pair.two")]:
        flow.plug(source, target)
    begun, kills = 0, 0
    for _ in range(12):
        flow.map("start", [{"x": x} for x in range(begun, begun + 20)])
        begun += 20
        station = world.stations[chance.choice(["hpc", "gpu"])]
        act = chance.choice(["cut", "mend", "expire", "kill", "move", "all"])
        if act == "kill" and kills < 2:
            # a third death would fail a call, and be right to
            kills += 1
            world.kill_workers(station.name)
        elif act == "move":
            placed(world, **{station.name: 1})
        elif act == "all":
            placed(world, local=1, hpc=2, gpu=1)
        elif act == "expire":
            world.do(station.cut)
            world.do(station.expire)
        else:
            world.do(station.cut if act == "cut" else station.mend)
    placed(world, local=1, hpc=2, gpu=1)
    for station in world.stations.values():
        world.do(station.mend)
    assert flow.drained()["failed"] == 0
    assert sorted(flow.results("pair")) == [(4 * x, 4 * x) for x in range(begun)]
    assert {name: flow.count(name)["done"] for name in ("start", "left", "right", "pair")} == dict.fromkeys(
        ("start", "left", "right", "pair"), begun
    )
    world.do(lambda: [s.listener.node(s.name) for s in world.stations.values()])
    assert world.do(lambda: len(world.engine.core.held)) == 0


class Line(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def frames(self) -> list[Header]:
        return [header for header, _ in FrameReader().feed(self.written)]


def test_nothing_leaves_for_a_client_before_the_answer_to_its_hello(world: World) -> None:
    line, engine = Line(), world.engine
    with Folder(world.folder) as folder:
        proof = Proof(folder.read(KEY), folder.identity)
    ours = {"protocol": PROTOCOL, "python": engine.core.python, "secret": "s", "client": identity_of("s")}

    def meet() -> Connection:
        client = Connection(engine.clients)
        client.transport = line
        client.came(encode(proof.question()))
        client.came(encode(proof.agree(line.frames()[0])))
        line.written = b""
        client.came(encode({"k": "hello", "n": 0, **ours}))
        # its answer waits for the commit
        engine.clients.notice("meanwhile")
        return client

    client = world.do(meet)
    wait_until(lambda: line.written)
    world.do(lambda: engine.clients.notice("later"))
    world.do(lambda: client.connection_lost(None))
    kinds = [frame["k"] for frame in line.frames() if frame["k"] in ("ok", "notice")]
    assert kinds == ["ok", "notice", "notice"]
