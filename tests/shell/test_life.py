"""How a flow begins and ends in a kernel."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from ec_jupyter.client.launch import running
from ec_jupyter.engine.address import socket_path
from ec_jupyter.errors import DeclarationError, EngineLostError

PASS = "import os; os.read(os.open('gate', os.O_RDONLY), 1)"


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"


def test_the_same_flow_is_the_same_object_until_it_is_closed(loaded: Any) -> None:
    loaded.run("flow = ec.flow()")
    assert loaded.run("flow is ec.flow() and flow is ec.flow('main') and flow is ec.flow(folder=flow.folder)")
    loaded.run("flow.close(); other = ec.flow()")
    assert loaded.run("other is flow, flow.closed, other.closed") == (False, True, False)
    assert isinstance(loaded.fail("flow.status()"), EngineLostError)


def test_a_block_ends_the_engine_that_was_started_for_it(loaded: Any, wait_until: Callable[..., Any]) -> None:
    loaded.run(
        "with ec.flow('block') as flow:\n"
        "    flow.declare(lambda x: x, 'f')\n"
        "    value = flow.submit('f', 1).result(60)\n"
        "    pid = flow._client.engine_pid\n"
    )
    assert loaded.run("value, flow.closed") == (1, True)
    wait_until(lambda: gone(loaded.run("pid")))


def test_a_block_leaves_an_engine_alone_that_is_at_work(loaded: Any, gate: Any) -> None:
    loaded.run(f"def g(x):\n    {PASS}\n    return x")
    loaded.run(
        "with ec.flow('block') as flow:\n"
        "    flow.declare(g, 'g'); r = flow.submit('g', 7)\n"
        "    pid = flow._client.engine_pid"
    )
    assert not gone(loaded.run("pid"))
    gate.open()
    loaded.run("flow = ec.flow('block')")
    assert loaded.run("flow.request(r.id).result(60), flow._client.engine_pid == pid") == (7, True)


def test_a_stopped_flow_is_all_there_at_the_next_use(loaded: Any, wait_until: Callable[..., Any]) -> None:
    loaded.run("%%ec_socket\ndef f(x): return x + 1")
    loaded.run("flow = ec.flow(); r = flow.submit('f', 1).wait(60); pid = flow._client.engine_pid")
    loaded.run("%ec_stop")
    wait_until(lambda: gone(loaded.run("pid")))
    assert loaded.run("flow.request(r.id).result(60), flow.submit('f', 2).result(60)") == (2, 3)


def test_a_stopped_engine_is_not_started_for_a_stale_mark(loaded: Any, wait_until: Callable[..., Any]) -> None:
    loaded.run("k = 2")
    loaded.run("%%ec_socket\ndef f(x): return x * k")
    loaded.run("pid = ec.flow()._client.engine_pid")
    loaded.run("%ec_stop")
    wait_until(lambda: gone(loaded.run("pid")))
    loaded.run("k = 3")
    assert not running(loaded.run("ec.flow().folder"))
    loaded.run("ec.flow().status()")
    assert loaded.run("ec.flow()['f'].task.stale") == ["k"]


def test_a_killed_engine_loses_nothing_and_nobody_who_waits_notices(loaded: Any, gate: Any) -> None:
    loaded.run(f"@ec.socket\ndef f(x):\n    {PASS}\n    return x")
    loaded.run("flow = ec.flow(); rs = flow.map('f', range(3))")
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.extend(r.result(60) for r in loaded.names["rs"]), daemon=True)
    waiter.start()
    os.kill(loaded.run("flow._client.engine_pid"), signal.SIGKILL)
    # the second engine runs again what the first had begun
    gate.open(20)
    waiter.join(60)
    assert found == [0, 1, 2]
    assert loaded.run("flow.wait(60)['failed'], len(flow.requests('f'))") == (0, 3)


def test_draining_waits_and_then_ends_the_engine(loaded: Any, wait_until: Callable[..., Any]) -> None:
    loaded.run("%%ec_socket\ndef f(x): return x + 1")
    loaded.run("flow = ec.flow(); rs = flow.map('f', range(10)); pid = flow._client.engine_pid; left = flow.drain(60)")
    wait_until(lambda: gone(loaded.run("pid")))
    assert loaded.run("left['failed'], [r.result(60) for r in rs] == list(range(1, 11))") == (0, True)


def test_two_flows_beside_one_notebook_know_nothing_of_each_other(loaded: Any) -> None:
    loaded.run(
        "a, b = ec.flow('a'), ec.flow('b')\n"
        "@ec.socket(flow=a)\ndef f(x): return 'a'\n"
        "@ec.socket(flow='b')\ndef f(x): return 'b'"
    )
    assert loaded.run("a.submit('f', 1).result(60), b.submit('f', 1).result(60)") == ("a", "b")
    assert loaded.run("%ec_submit --flow b f x=1").result(60) == "b"
    assert socket_path(loaded.run("a.folder")) != socket_path(loaded.run("b.folder"))


def test_a_wait_shows_a_bar_only_after_a_while(loaded: Any, gate: Any, capfd: Any) -> None:
    loaded.run(f"@ec.socket(processor='one', cpus=1)\ndef f(x):\n    {PASS}\n    return x")
    loaded.run("flow = ec.flow(); rs = flow.map('f', range(3))")
    gate.open(3)
    loaded.run("%ec_wait")
    assert "call" not in capfd.readouterr().err


def test_an_engine_of_another_version_is_stopped_as_its_message_says(
    loaded: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    loaded.run("flow = ec.flow(); folder = flow.folder; flow.close()")
    with monkeypatch.context() as other:
        other.setattr("ec_jupyter.client.client.PROTOCOL", -1)
        error = loaded.fail("ec.flow()")
        assert "stop the flow's engine with %ec_stop" in str(error)
        loaded.run("%ec_stop")
    wait_until(lambda: not running(loaded.names["folder"]))
    loaded.run("flow = ec.flow()")
    # and once more, where none runs
    loaded.run("%ec_stop\n%ec_stop")


def test_workers_that_cannot_be_started_are_told_with_the_reason_by_a_wait_and_by_the_status(
    loaded: Any, wait_until: Callable[..., Any]
) -> None:
    loaded.run("flow = ec.flow()\nflow.declare(lambda x: x, 'f')")
    pid = loaded.run("flow._client.engine_pid")
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    wait_until(lambda: not psutil.Process(pid).children(recursive=True))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 16, limits[1]))
    loaded.run("request = flow.submit('f', 1)")
    why = "processor 'main' cannot start workers: all "
    wait_until(lambda: why in loaded.run("str(flow.status())"))
    for wait in ("request.result(0.1)", "flow.run(request.id).wait(0.1)", "flow.wait(0.1)"):
        assert why in str(loaded.fail(wait)), wait
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert loaded.run("request.result(60)") == 1
    assert "cannot start" not in loaded.run("str(flow.status())")


def test_a_line_says_which_ended_runs_stay_and_tells_the_limits(loaded: Any) -> None:
    nothing = {"time": None, "runs": None, "size": None, "failed": None}
    loaded.run("flow = ec.flow()")
    assert loaded.run("%ec_keep") == loaded.run("flow.kept()") == nothing
    limits = {"time": 30 * 86400, "runs": 5, "size": 2_000_000_000, "failed": 90 * 86400}
    assert loaded.run("%ec_keep 30d --runs 5 --size 2GB --failed 90d") == loaded.run("flow.kept()") == limits
    for line in ("--runs 0", "soon", "--size much", "--failed never"):
        with pytest.raises(DeclarationError, match=r"flow\.keep: \w+= takes .* or None, not "):
            loaded.run(f"%ec_keep {line}")
    assert loaded.run("%ec_keep") == limits
    loaded.run("@ec.socket\ndef same(n): return n")
    loaded.run("flow.map(same, range(9)); flow.wait(); told = flow.gc(dry=True)")
    assert loaded.run("%ec_gc --dry") == loaded.run("told")
    assert len(loaded.run("flow.requests('same')")) == 9
    loaded.run("%ec_gc")
    assert loaded.run("flow.results('same')") == [4, 5, 6, 7, 8]
    assert loaded.run("%ec_keep forever") == nothing
