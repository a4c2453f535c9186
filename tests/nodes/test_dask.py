"""Calls on a real Dask cluster: what they come to is what they come to here."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ec_jupyter.errors import DeclarationError, EcError
from tests.crash.flowkit import Flow, Gate, Marks, mark, opened_flows, passing, wait_until
from tests.nodes.dask_cluster import Dask


@pytest.fixture
def make_flow(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    with opened_flows(tmp_path) as make:
        yield make


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "marks")


def declare(flow: Flow, address: str) -> Flow:
    flow.edit({"op": "node", "name": "cluster", "host": address, "kind": "dask", "tls": []})
    flow.edit({"op": "processor", "name": "fit", "nodes": {"cluster": None}})
    wait_until(lambda: facts(flow)["state"] == "up" and facts(flow)["cpus"])
    return flow


@pytest.fixture
def there(make_flow: Callable[..., Flow], cluster: Dask) -> Flow:
    """A flow whose processor ``fit`` is on the cluster."""
    return declare(make_flow(), cluster.address)


def facts(flow: Flow, name: str = "cluster") -> dict[str, Any]:
    return next(row for row in flow.query("counts")["nodes"] if row["name"] == name)


def double(x):
    return 2 * x


def add(a, b):
    return a + b


def bad(x):
    print("before it goes wrong")  # noqa: T201
    raise ValueError(f"not {x}")


def count(n):
    yield from range(n)


def large(n):
    return bytes(n)


def size(x):
    return len(x)


def total(values):
    return sum(values)


def hold(x, marks, gate):
    mark(marks, f"{x} {os.getpid()}")
    passing(gate)
    return x


def mortal(x, marks):
    mark(marks, f"{x} {os.getpid()}")
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def forever(marks):
    mark(marks, os.getpid())
    while True:
        time.sleep(0.01)


def test_a_cluster_lends_a_cpu_for_each_thread_of_its_workers(there: Flow) -> None:
    known = facts(there)
    assert (known["cpus"], known["workers"], known["error"]) == (2, 2, None)
    assert known["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")


def test_calls_there_feed_sockets_here_and_sockets_here_feed_calls_there(there: Flow) -> None:
    there.socket(double, "there", processor="fit")
    there.socket(double, "here")
    there.socket(add, "sum", processor="fit")
    there.plug("there", "here.x")
    there.plug("there", "sum.a")
    there.plug("here", "sum.b")
    ids = there.map("there", [{"x": x} for x in range(200)])
    there.drained()
    assert sorted(there.results("here")) == [4 * x for x in range(200)]
    assert sorted(there.results("sum")) == [6 * x for x in range(200)]
    assert {row["node"] for row in there.requests(ids=ids)} == {"cluster"}


def test_an_error_there_comes_with_its_traceback_and_what_was_printed(there: Flow) -> None:
    there.socket(bad, processor="fit")
    call = there.submit("bad", x=1)
    row = there.row(call)
    assert (row["state"], row["error"]["type"], row["error"]["message"]) == ("failed", "ValueError", "not 1")
    assert "in bad" in row["error"]["traceback"]
    assert "nodes/dask" not in row["error"]["traceback"]
    assert "before it goes wrong" in str(there.query("output", id=call))


def test_yields_of_a_generator_there_arrive_in_order_and_all_of_them(there: Flow) -> None:
    there.socket(count, processor="fit")
    there.socket(double)
    there.plug("count", "double.x")
    there.submit("count", n=20)
    there.drained()
    assert sorted(there.results("double")) == [2 * x for x in range(20)]


def test_a_condition_a_map_and_a_gather_are_decided_there_as_here(there: Flow) -> None:
    there.socket(numbers, processor="fit")
    there.socket(double, processor="fit")
    there.socket(total, processor="fit")
    there.plug("numbers", "double.x", map=True)
    there.plug("double", "total.values", gather=True)
    there.socket(size, "rare", processor="fit")
    there.plug("numbers", "rare.x", when=lambda x: len(x) > 4)
    for n in (3, 6):
        there.submit("numbers", n=n)
    there.drained()
    assert sorted(there.results("total")) == [6, 30]
    assert there.results("rare") == [6]


def numbers(n):
    return list(range(n))


def test_a_value_of_three_megabytes_goes_there_and_comes_home(there: Flow) -> None:
    there.socket(large, processor="fit")
    there.socket(size, processor="fit")
    there.socket(size, "here")
    there.plug("large", "size.x")
    there.plug("large", "here.x")
    call = there.submit("large", n=3_000_000)
    there.drained()
    assert there.results("size") == there.results("here") == [3_000_000]
    assert len(there.result(call)) == 3_000_000


def test_a_large_result_stays_there_over_a_death_of_the_engine_until_somebody_wants_it(there: Flow) -> None:
    there.socket(large, processor="fit")
    there.socket(size, processor="fit")
    call = there.submit("large", n=3_000_000)
    there.drained()
    assert facts(there)["stored"] > 3_000_000
    there.restart()
    wait_until(lambda: facts(there).get("stored"))
    there.plug("large", "size.x")
    assert len(there.result(call)) == 3_000_000
    wait_until(lambda: not facts(there)["stored"])


def test_a_large_result_whose_workers_have_died_is_made_again(there: Flow) -> None:
    there.socket(large_and_pid, processor="fit")
    there.socket(maker, processor="fit")
    there.plug("large_and_pid", "maker.x")
    call = there.submit("large_and_pid", n=3_000_000)
    there.drained()
    (before,) = there.results("maker")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not facts(there)["stored"])
    value, pid = there.result(call)
    assert len(value) == 3_000_000
    assert pid != before


def maker(x):
    return x[1]


def large_and_pid(n):
    return bytes(n), os.getpid()


def test_the_call_that_kills_its_worker_fails_and_all_others_end_well(there: Flow, marks: Marks) -> None:
    there.socket(mortal, processor="fit")
    ids = there.map("mortal", [{"x": x, "marks": str(marks)} for x in range(8)])
    rows = [there.row(i) for i in ids]
    assert [row["state"] for row in rows] == ["done"] * 3 + ["failed"] + ["done"] * 4
    assert rows[3]["error"]["kind"] == "died"
    # as often as here, not once more by Dask; only what shared a task of Dask's with others is nobody's fault
    assert [line.split()[0] for line in marks.lines].count("3") in (3, 4)


def test_a_call_whose_worker_is_killed_from_outside_runs_again(there: Flow, gate: Gate, marks: Marks) -> None:
    there.socket(hold, processor="fit")
    (call,) = there.map("hold", [{"x": 5, "marks": str(marks), "gate": str(gate)}])
    marks.reach(1)
    os.kill(int(marks.lines[0].split()[1]), signal.SIGKILL)
    marks.reach(2)
    gate.open()
    assert there.result(call) == 5
    (row,) = there.requests(ids=[call])
    assert (row["attempt"], row["deaths"]) == (2, 1)


def test_cancel_interrupts_the_call_and_its_thread_is_free_again(there: Flow, marks: Marks) -> None:
    there.socket(forever, processor="fit")
    there.socket(double, processor="fit")
    ids = there.map("forever", [{"marks": str(marks)}] * 2)
    marks.reach(2)
    there.ask("cancel", ids=ids)
    assert [there.row(i)["state"] for i in ids] == ["cancelled"] * 2
    assert there.result(there.submit("double", x=4)) == 8


def test_a_cluster_that_is_taken_away_is_gone_and_calls_run_here(there: Flow) -> None:
    there.socket(double, processor="fit")
    assert there.result(there.submit("double", x=1)) == 2
    there.edit({"op": "processor", "name": "fit", "nodes": {}}, {"op": "remove_node", "name": "cluster"})
    wait_until(lambda: [row["name"] for row in there.query("counts")["nodes"]] == ["local"])
    call = there.submit("double", x=2)
    assert there.result(call) == 4
    assert there.requests(ids=[call])[0]["node"] == "local"


def test_a_call_that_a_killed_engine_had_sent_runs_to_one_end(there: Flow, gate: Gate, marks: Marks) -> None:
    there.socket(hold, processor="fit")
    (call,) = there.map("hold", [{"x": 5, "marks": str(marks), "gate": str(gate)}])
    marks.reach(1)
    there.restart()
    gate.open()
    assert there.result(call) == 5
    assert there.requests(ids=[call])[0]["deaths"] == 0


def test_a_scheduler_that_is_gone_makes_the_node_be_away_and_its_queue_wait(make_flow: Callable[..., Flow]) -> None:
    own = Dask(1)
    try:
        flow = declare(make_flow(), own.address)
        flow.socket(double, processor="fit")
        assert flow.result(flow.submit("double", x=1)) == 2
    finally:
        own.close()
    wait_until(lambda: facts(flow)["state"] == "away")
    call = flow.submit("double", x=2)
    flow.edit({"op": "processor", "name": "fit", "nodes": {"local": None, "cluster": None}})
    assert flow.result(call) == 4


BARE = """
import os, sys
sys.path[:] = [path for path in sys.path if not os.path.isdir(os.path.join(path, "ec_jupyter"))]
"""


def where(name):
    import importlib

    return importlib.import_module(name).__file__


def test_workers_that_have_not_our_package_get_what_they_need(make_flow: Callable[..., Flow], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BARE)
    own = Dask(1, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    try:
        flow = declare(make_flow(), own.address)
        flow.socket(where, processor="fit")
        assert "ec_jupyter-bundle.zip" in flow.result(flow.submit("where", name="ec_jupyter"))
    finally:
        own.close()


def test_a_client_in_a_cell_makes_a_node(loaded: Any, cluster: Dask) -> None:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        loaded.names["client"] = client
        loaded.run('flow = ec.flow()\nnode = flow.node("cluster", client)')
        loaded.run('@ec.socket(processor="fit")\ndef f(x):\n    print("printed", x)\n    return x / (x - 1)')
        loaded.run("%ec_processor fit --node cluster")
        assert loaded.run("repr(node)") == "cluster: 2 cpus"
        assert loaded.run("flow.submit('f', 2).result(60)") == 2
        request = loaded.run("request = flow.submit('f', 1); request")
        assert isinstance(request.exception(60), ZeroDivisionError)
        assert "return x / (x - 1)" in str(request.exception(60).__notes__)
        assert "printed 1" in str(request.output)


@pytest.mark.parametrize(
    ("host", "text"),
    [("inproc://127.0.0.1/1/1", "processes=True"), ("nothing", "no address of a scheduler")],
)
def test_a_scheduler_out_of_reach_is_refused_in_one_line(make_flow: Callable[..., Flow], host: str, text: str) -> None:
    flow = make_flow()
    with pytest.raises(EcError, match=text) as found:
        flow.edit({"op": "node", "name": "cluster", "host": host, "kind": "dask", "tls": []})
    assert "\n" not in str(found.value)


def test_a_client_a_cluster_and_an_address_say_the_same_place() -> None:
    from ec_jupyter.nodes.kinds import place

    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://h:1"), security=None)
    cluster = SimpleNamespace(scheduler_address="tcp://h:1")
    told = [place("c", one) for one in (client, cluster, "tcp://h:1")]
    assert told == [{"host": "tcp://h:1", "kind": "dask", "tls": []}] * 3
    with pytest.raises(DeclarationError, match="neither"):
        place("c", object())
