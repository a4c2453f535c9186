"""A large value is a file. One that is nowhere any more is made anew of what is in the store."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ec_jupyter.errors import NodeLostError
from tests.crash.flowkit import Flow, Marks, mark


def large(n, marks):
    mark(marks, f"large {n}")
    return bytes([n]) * 100_000


def longer(data, marks):
    mark(marks, f"longer {data[0]}")
    return data + data[:1]


def size(data):
    return len(data), data[0]


def both(data, one):
    return len(data) + one


def lose(flow: Flow) -> int:
    """Remove all value files while nobody is there; how many there were."""
    flow.stop()
    files = list((flow.folder / "values").iterdir())
    for path in files:
        path.unlink()
    flow.reopen()
    return len(files)


def test_a_lost_result_is_made_anew_when_somebody_asks_for_it_and_feeds_nothing_again(flow: Flow, marks: Marks) -> None:
    flow.socket(large)
    flow.socket(size)
    flow.plug("large", "size.data")
    request = flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    assert lose(flow) == 1
    assert flow.result(request) == bytes([7]) * 100_000
    assert marks.lines == ["large 7", "large 7"]
    # once it is there again, nothing runs for it
    assert flow.result(request) == bytes([7]) * 100_000
    assert len(marks.lines) == 2
    assert flow.count("large")["done"] == flow.count("size")["done"] == 1
    assert flow.results("size") == [(100_000, 7)]


def megabytes(n, marks):
    mark(marks, f"made {n}")
    return bytes(n << 20)


def bounded(data):
    memory = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (memory + (16 << 20), resource.RLIM_INFINITY))
    return len(data)


def test_a_value_for_which_there_is_no_memory_is_not_taken_for_lost(flow: Flow, marks: Marks) -> None:
    flow.socket(megabytes)
    request = flow.submit("megabytes", n=64, marks=str(marks))
    row = flow.row(request)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (16 << 20), before[1]))
    try:
        with pytest.raises(MemoryError, match=r"^a value of 67 MB does not fit into the memory .*\(ulimit -v .*$"):
            flow.client.load(row["value"])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert flow.result(request) == bytes(64 << 20)
    assert marks.lines == ["made 64"]


def test_a_call_whose_argument_finds_no_memory_fails_with_that_and_nothing_is_made_anew(
    make_flow: Callable[..., Flow], marks: Marks
) -> None:
    flow = make_flow(cpus=1)
    flow.socket(megabytes)
    flow.socket(bounded)
    flow.socket(size)
    flow.plug("megabytes", "size.data")
    flow.ask("pause", sockets=["size"])
    flow.row(flow.submit("megabytes", n=64, marks=str(marks)))
    # its one worker may not take much more than it has
    assert flow.result(flow.submit("bounded", data=b"")) == 0
    flow.ask("resume", sockets=["size"])
    flow.drained()
    [row] = flow.requests(socket="size")
    assert row["state"] == "failed"
    assert "argument 'data' of 'size': a value of 67 MB does not fit into the memory" in row["error"]["message"]
    assert marks.lines == ["made 64"]


def test_a_result_that_is_lost_while_the_engine_runs_is_made_anew_too(flow: Flow, marks: Marks) -> None:
    flow.socket(large)
    request = flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    (path,) = (flow.folder / "values").iterdir()
    path.unlink()
    assert flow.result(request) == bytes([7]) * 100_000


def cut(path: Path) -> None:
    os.truncate(path, 5_000)


@pytest.mark.parametrize("harm", [Path.unlink, cut])
def test_a_queued_call_whose_argument_is_lost_while_the_engine_runs_gets_it_made_anew(
    flow: Flow, marks: Marks, harm: Callable[[Path], None]
) -> None:
    flow.socket(large)
    flow.socket(longer)
    flow.socket(size)
    flow.fix("longer.marks", str(marks))
    flow.plug("large", "longer.data")
    flow.plug("longer", "size.data")
    flow.ask("pause", sockets=["size"])
    request = flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    for path in (flow.folder / "values").iterdir():
        harm(path)
    flow.ask("resume", sockets=["size"])
    flow.drained()
    assert flow.results("size") == [(100_001, 7)]
    assert marks.lines == ["large 7", "longer 7"] * 2
    # the call that waited is charged with nothing
    assert [row["deaths"] for row in flow.requests(socket="size")] == [0]
    assert flow.count("large")["done"] == flow.count("longer")["done"] == 1
    assert flow.result(request) == bytes([7]) * 100_000


def test_a_result_that_was_cut_short_is_made_anew_when_somebody_asks_for_it(flow: Flow, marks: Marks) -> None:
    flow.socket(large)
    request = flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    (path,) = (flow.folder / "values").iterdir()
    cut(path)
    assert "x07" in flow.ask("preview", request=request)["text"]
    cut(path)
    assert flow.result(request) == bytes([7]) * 100_000
    assert len(marks.lines) == 3


def test_a_queued_call_whose_argument_cannot_be_made_anew_fails_with_the_reason(flow: Flow) -> None:
    flow.socket(size)
    flow.ask("pause", sockets=["size"])
    request = flow.submit("size", data=bytes(100_000))
    flow.drained()
    (path,) = (flow.folder / "values").iterdir()
    path.unlink()
    flow.ask("resume", sockets=["size"])
    error = flow.row(request)["error"]
    assert (error["type"], "it is no call's result" in error["message"]) == ("NodeLostError", True)


def test_a_join_that_waits_with_a_lost_value_fires_with_the_one_made_anew(flow: Flow, marks: Marks) -> None:
    flow.socket(large)
    flow.socket(both)
    flow.plug("large", "both.data")
    flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    assert flow.count("both")["arrived"] == 1
    lose(flow)
    flow.supply("both", one=5)
    flow.drained()
    assert flow.results("both") == [100_005]
    assert marks.lines == ["large 7", "large 7"]


def test_a_lost_value_that_was_made_of_a_lost_value_is_made_anew_from_the_first_on(flow: Flow, marks: Marks) -> None:
    flow.socket(large)
    flow.socket(longer)
    flow.plug("large", "longer.data")
    flow.fix("longer.marks", str(marks))
    flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    assert lose(flow) == 2
    (made,) = flow.results("longer")
    assert (len(made), made[0]) == (100_001, 7)
    assert marks.lines == ["large 7", "longer 7"] * 2


def test_a_lost_value_is_made_by_the_version_of_the_task_that_made_it(flow: Flow, marks: Marks) -> None:
    flow.socket(large)
    request = flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    lose(flow)
    flow.socket(lambda n, marks: b"another", "large")
    assert flow.result(request) == bytes([7]) * 100_000


def test_a_lost_value_can_be_looked_at(flow: Flow, marks: Marks) -> None:
    flow.socket(large)
    request = flow.submit("large", n=7, marks=str(marks))
    flow.drained()
    lose(flow)
    assert "x07" in flow.ask("preview", request=request)["text"]


def test_what_cannot_be_made_anew_is_named_with_the_reason(flow: Flow, marks: Marks) -> None:
    flow.socket(large, "once", once=True)
    flow.socket(large, "fails")
    flow.socket(size)
    once = flow.submit("once", n=7, marks=str(marks))
    fails = flow.submit("fails", n=8, marks=str(marks))
    flow.drained()
    given = flow.submit("size", data=bytes(100_000))
    flow.drained()
    lose(flow)
    with pytest.raises(NodeLostError, match=f"the value of request {once} .*'once' runs once only"):
        flow.result(once)
    # the folder of its marks is gone, so that it fails now
    marks.path.unlink()
    marks.path.mkdir()
    with pytest.raises(NodeLostError, match=f"request {fails} .*making it anew failed: .*directory"):
        flow.result(fails)
    again = flow.ask("replay", request=given)["ids"][0]
    row = flow.row(again)
    assert row["state"] == "failed"
    assert "no call's result" in row["error"]["message"]
    # the call itself was not run
    assert (flow.count("size")["done"], flow.count("size")["failed"]) == (1, 1)


def test_a_value_whose_making_kills_its_worker_is_given_up(flow: Flow, marks: Marks) -> None:
    def deadly(marks: str) -> bytes:
        import os
        from pathlib import Path

        if Path(marks).is_dir():
            os._exit(3)
        return bytes(100_000)

    flow.socket(deadly)
    request = flow.submit("deadly", marks=str(marks))
    flow.drained()
    lose(flow)
    marks.path.unlink()
    marks.path.mkdir()
    with pytest.raises(NodeLostError, match="ended its worker 3 times"):
        flow.result(request)
