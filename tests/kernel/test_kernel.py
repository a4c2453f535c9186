"""A flow in real kernels: magics, await, interrupt, restart, kill -9."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOCKET = """%%ec_socket -p one --cpus 1
def gated(x):
    import os
    print('in the task', x)
    os.read(os.open('gate', os.O_RDONLY), 1)
    return x * 10"""


@pytest.mark.shared_engine
def test_a_cell_becomes_a_socket_and_its_picture_is_shown(kernel: Any) -> None:
    assert (
        kernel.run("%%ec_socket\ndef add(one, two):\n    return one + two").text
        == "<socket add(one, two) v1 on 'main'>"
    )
    assert kernel.run("r = %ec_submit add one=1 two=2\nr.result(60)").text == "3"
    shown = kernel.run("%ec_flow")
    assert "add(one, two) v1" in shown.text
    assert {"image/svg+xml", "application/vnd.jupyter.widget-view+json"} <= shown.kinds
    assert "1" in kernel.run("%ec_status").text


@pytest.mark.shared_engine
def test_a_result_and_a_drained_flow_can_be_awaited_in_a_cell(kernel: Any) -> None:
    kernel.run("flow = ec.flow()\n@ec.socket\ndef f(x): return x + 1")
    assert kernel.run("await flow.submit('f', 1)").text == "2"
    assert "0 failed" in kernel.run("flow.map('f', range(20)); await flow.drained()").text
    kernel.run("import asyncio")
    assert kernel.run("sum(await asyncio.gather(*flow.map('f', range(10))))").text == "55"


@pytest.mark.shared_engine
def test_a_failed_task_shows_its_own_line_and_where_it_ran(kernel: Any) -> None:
    kernel.run("%%ec_socket\ndef bad(x):\n    y = 1\n    return y / x")
    number = kernel.run("r = ec.flow().submit('bad', 0); r.id").text
    shown = kernel.fail("r.result(60)")
    assert shown.error[0] == "ZeroDivisionError"
    assert f"request {number} of 'bad' failed at line 4 of its cell on 'local', attempt 1" in shown.traceback
    assert 'File "<socket bad>", line 4, in bad' in shown.traceback
    assert "return y / x" in shown.traceback


@pytest.mark.shared_engine
def test_an_error_in_the_cell_itself_counts_lines_as_the_cell_does(kernel: Any) -> None:
    shown = kernel.fail("%%ec_socket\ndef f(x):\n    return x\n\nf(1) / 0")
    assert shown.error[0] == "ZeroDivisionError"
    assert "line 5" in shown.traceback
    assert "exec(self" not in shown.traceback


@pytest.mark.shared_engine
def test_an_error_of_ours_is_one_line_and_the_cell_fails(kernel: Any) -> None:
    shown = kernel.fail("%ec_submit nobody x=1")
    assert shown.error[0] == "SocketNotFoundError"
    assert shown.traceback == "SocketNotFoundError: no socket named 'nobody'; known: none"


@pytest.mark.shared_engine
def test_what_a_task_prints_never_shows_in_a_cell(kernel: Any) -> None:
    kernel.run("%%ec_socket\ndef says(x):\n    print('out of a task')\n    return x")
    shown = kernel.run("r = ec.flow().submit('says', 1); r.result(60); ec.flow().wait(60); None")
    assert "out of a task" not in shown.streams
    assert "out of a task" in kernel.run("r.output").text


@pytest.mark.shared_engine
def test_an_interrupt_ends_the_wait_and_leaves_the_flow_alone(kernel: Any, gate: Any) -> None:
    kernel.run(SOCKET)
    kernel.run("flow = ec.flow(); rs = flow.map('gated', range(3)); pid = flow._client.engine_pid")
    for wait in ("%ec_wait", "rs[0].result()", "await rs[1]", "await flow.drained()"):
        cell = kernel.begin(f"print('waiting', flush=True)\n{wait}")
        kernel.wait_for(cell, "waiting")
        kernel.manager.interrupt_kernel()
        shown = kernel.end(cell)
        assert shown.error, wait
        assert shown.error[0] in ("KeyboardInterrupt", "CancelledError"), shown.traceback
    gate.open(3)
    assert kernel.run("[r.result(60) for r in rs]").text == "[0, 10, 20]"
    assert kernel.run("flow._client.engine_pid == pid, [r.attempt for r in rs]").text == "(True, [1, 1, 1])"


@pytest.mark.shared_engine
def test_a_wait_that_is_interrupted_or_overdue_is_one_line_that_says_what_goes_on(kernel: Any, gate: Any) -> None:
    kernel.run(SOCKET)
    n = kernel.run("import os, signal, threading; flow = ec.flow(); r = flow.submit('gated', 1); r.id").text
    request = f"request {n} of 'gated' goes on; flow.request({n}).result() waits again"
    waits = {
        "%ec_wait": "flow 'main' goes on; %ec_wait waits again",
        "r.result()": request,
        "await r": request,
        "r.run.wait()": f"run {n} goes on; flow.run({n}).wait() waits again",
    }
    for wait, what in waits.items():
        # from within, once the wait has long begun
        shown = kernel.fail(f"threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n{wait}")
        assert shown.traceback == f"{shown.error[0]}: the wait ended, {what}"
    overdue = {
        "flow.wait(0.1)": "flow 'main' is at work after 0.1 s; it goes on",
        "r.result(0.1)": f"request {n} of 'gated' is running after 0.1 s; it stays in the flow",
        "r.run.wait(0.1)": f"run {n} has 0 queued and 1 running requests after 0.1 s; they stay in the flow",
    }
    for wait, what in overdue.items():
        assert kernel.fail(wait).traceback == f"TimeoutError: {what}"
    kernel.run("@ec.socket(limit=2)\ndef narrow(x):\n    return gated(x)\nflow.pause('narrow')")
    interrupt = "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
    shown = kernel.fail(f"{interrupt}flow.map('narrow', range(5))")
    said = "'narrow' is full, and 2 of 5 calls were submitted; flow.requests('narrow') has them"
    assert shown.traceback == f"KeyboardInterrupt: the wait ended, {said}"
    shown = kernel.fail(f"{interrupt}flow.submit('narrow', 1)")
    assert shown.traceback == "KeyboardInterrupt: the wait ended, 'narrow' is full; nothing was submitted"
    gate.open()
    assert kernel.run("r.result(60), r.attempt").text == "(10, 1)"


def test_a_restarted_kernel_finds_the_flow_at_work(kernel: Any, gate: Any) -> None:
    kernel.run(SOCKET)
    before = kernel.run("flow = ec.flow(); rs = flow.map('gated', range(3)); flow._client.engine_pid").text
    kernel.manager.restart_kernel(now=False)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("%load_ext ec_jupyter")
    kernel.run("import ec_jupyter as ec; flow = ec.flow()")
    assert kernel.run("flow._client.engine_pid").text == before
    gate.open(3)
    assert kernel.run("[r.result(60) for r in flow.requests('gated')]").text == "[0, 10, 20]"


def test_a_killed_kernel_loses_nothing_and_another_finishes(kernel: Any, kernels: Callable[[], Any], gate: Any) -> None:
    kernel.run(SOCKET)
    kernel.run("@ec.socket\ndef after(x): return x + 1\n\nec.flow().plug('gated', 'after')")
    kernel.run("rs = ec.flow().map('gated', range(20))")
    kernel.kill()
    gate.open(20)
    other = kernels()
    other.run("%load_ext ec_jupyter")
    shown = other.run(
        "import ec_jupyter as ec; flow = ec.flow(); left = flow.wait(60)\nleft['failed'], left['waiting']"
    )
    assert shown.text == "(0, 0)"
    assert other.run("[r.result() for r in flow.requests('after')] == [10 * x + 1 for x in range(20)]").text == "True"


@pytest.mark.shared_engine
def test_a_long_wait_shows_one_bar_and_a_short_one_none(kernel: Any, gate: Any) -> None:
    bar = "application/vnd.jupyter.widget-view+json"
    kernel.run(SOCKET)
    kernel.run("flow = ec.flow(); rs = flow.map('gated', range(2))")
    gate.open(2)
    assert bar not in kernel.run("flow.wait(60)").kinds
    kernel.run("%config EC.progress_delay = 0\nrs = flow.map('gated', range(4))")
    cell = kernel.begin("flow.wait(60)")
    gate.open(1)
    kernel.wait_for_kind(cell, bar)
    gate.open(3)
    shown = kernel.end(cell)
    assert not shown.error, shown.traceback
    assert bar not in shown.kinds


@pytest.mark.shared_engine
@pytest.mark.parametrize(("delay", "shown"), [(0.3, True), (-1, False)])
def test_a_bar_comes_when_it_is_due_though_nothing_happens_and_below_zero_never(
    kernel: Any, gate: Any, delay: float, shown: bool
) -> None:
    kernel.run(SOCKET)
    kernel.run(f"%config EC.progress_delay = {delay}\nflow = ec.flow(); r = flow.submit('gated', 1)")
    kernel.run("import time\nwhile r.state != 'running': time.sleep(0.01)")
    cell = kernel.begin(f"flow.wait({60 if shown else 0.5})")
    if shown:
        kernel.wait_for_kind(cell, "application/vnd.jupyter.widget-view+json")
        gate.open(1)
        assert not kernel.end(cell).error
    else:
        found = kernel.end(cell)
        assert found.error[0] == "TimeoutError"
        assert "application/vnd.jupyter.widget-view+json" not in found.kinds
        gate.open(1)


@pytest.mark.shared_engine
def test_the_bar_of_a_wait_shows_how_far_the_running_calls_are(kernel: Any, gate: Any) -> None:
    kernel.run("%config EC.progress_delay = 0\nflow = ec.flow()")
    kernel.run(
        "@ec.socket\ndef steps(n):\n    import os\n    for _ in ec.progress(range(n), text='files'):\n"
        "        os.read(os.open('gate', os.O_RDONLY), 1)"
    )
    cell = kernel.begin("r = flow.submit('steps', 4)\n%ec_wait")
    # tqdm's spaces are as wide as a figure
    kernel.wait_for_update(lambda value: "steps: 0 of 4 files" in str(value).replace("\u2007", " "))
    gate.open(1)
    kernel.wait_for_update(lambda value: value == 0.25)
    gate.open(3)
    assert not kernel.end(cell).error


def test_the_first_use_of_a_flow_says_in_one_line_what_was_found(
    kernels: Callable[[], Any], notebook_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved(name: str, cell: str) -> str:
        path = notebook_folder / name
        path.write_text(json.dumps({"cells": [{"id": cell}]}))
        return str(path)

    monkeypatch.setenv("JPY_SESSION_NAME", saved("flights.ipynb", "one"))
    kernel = kernels()
    assert kernel.run("%load_ext ec_jupyter\nimport ec_jupyter as ec").streams == ""
    assert kernel.run("flow = ec.flow()").streams == "flow 'flights' is new\n"
    assert kernel.run("@ec.socket\ndef f(x): return 1 / x\n[r.wait(60) for r in flow.map('f', [0, 1])];").streams == ""
    assert kernel.run("flow.close(); flow = ec.flow()").streams == ""
    os.rename(notebook_folder / "flights.ipynb", notebook_folder / "air.ipynb")
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook_folder / "air.ipynb"))
    kernel = kernels()
    found = "flow 'flights': 1 socket, 1 failed, last used just now by this notebook, which was 'flights.ipynb'\n"
    assert kernel.run("%load_ext ec_jupyter\n%ec_undo").streams == found
    kernel.run(f"import os; os.environ['JPY_SESSION_NAME'] = {saved('flights.ipynb', 'two')!r}")
    new = "flow 'flights-2' is new; flow 'flights' is that of 'air.ipynb': ec.flow('flights') opens it\n"
    assert kernel.run("import ec_jupyter as ec; flow = ec.flow()").streams == new
    # a notebook that a program runs has nobody who reads it
    cell = kernel.client.execute("flow = ec.flow('another')")
    assert kernel.end(cell).streams == ""


def test_the_first_socket_of_a_new_flow_says_once_where_its_picture_is(kernel: Any) -> None:
    kernel.run("%load_ext ec_jupyter\nimport ec_jupyter as ec; ec.flow('flights')")
    cell = "%%ec_socket --flow flights\ndef f(x): return x"
    said = "the picture of flow 'flights': %ec_flow in a cell, or the panel Flows at the left of JupyterLab\n"
    assert kernel.run(cell).streams == said
    assert kernel.run(cell).streams == ""
    kernel.run("ec.flow('flights').stop(); ec.flow('flights').close()")
    assert kernel.run(cell.replace("f(x)", "g(x)")).streams == ""
    # nor after the only socket was taken away, for the flow is not new any more
    kernel.run("ec.flow('flights').undo(); ec.flow('flights').undo()")
    assert kernel.run(cell).streams == ""


def test_the_first_schedule_of_a_flow_says_what_a_reboot_does_to_it(kernel: Any) -> None:
    kernel.run("%load_ext ec_jupyter\n@__import__('ec_jupyter').socket\ndef poll(): return 1")
    said = kernel.run("%ec_every 1h poll").streams
    assert "after a reboot once somebody uses the flow; the shell command 'ec install-service' lets them start" in said
    assert kernel.run('%ec_cron "0 6 * * *" poll --name dawn').streams == ""


def test_two_notebooks_use_one_flow_and_see_each_others_edits(
    kernel: Any, kernels: Callable[[], Any], wait_until: Callable[..., Any]
) -> None:
    kernel.run("flow = ec.flow('shared')\n@ec.socket(flow=flow)\ndef f(x): return x + 1")
    other = kernels()
    other.run("import ec_jupyter as ec; flow = ec.flow('shared')")
    assert other.run("flow.submit('f', 1).result(60)").text == "2"
    other.run("flow.declare(lambda x: x * 2, 'g'); flow.plug('f', 'g')")
    wait_until(lambda: kernel.run("'g' in flow and len(flow.plugs)").text == "1")
    assert kernel.run("flow.submit('f', 1).run.results('g', 60)").text == "[4]"


def test_a_kernel_ends_as_quickly_as_one_without_a_flow(kernel: Any) -> None:
    kernel.run("@ec.socket\ndef f(x): return x + 1\n\nec.flow().submit('f', 1).result(60)")
    engine = int(kernel.run("ec.flow()._client.engine_pid").text)
    pid = kernel.pid
    kernel.run("import atexit, pathlib; atexit.register(lambda: pathlib.Path('ended').write_text('well'))")
    kernel.manager.shutdown_kernel(now=False)
    # hooks at the interpreter's end run only where no child of ours has to be waited for
    assert (kernel.folder / "ended").read_text() == "well"
    assert not os.path.exists(f"/proc/{pid}")
    assert os.path.exists(f"/proc/{engine}")


@pytest.mark.shared_engine
def test_names_and_help_are_there_for_the_front_end(kernel: Any) -> None:
    kernel.run("@ec.socket\ndef emit(x): return x")
    found = kernel.client.complete("%ec_submit em", reply=True, timeout=60)["content"]
    assert found["matches"] == ["emit"]
    shown = kernel.client.inspect("%%ec_socket", 5, reply=True, timeout=60)["content"]
    assert "--retries" in shown["data"]["text/plain"]


@pytest.mark.shared_engine
def test_a_socket_is_marked_stale_when_a_value_it_took_is_bound_anew(kernel: Any) -> None:
    kernel.run("k = 2")
    kernel.run("%%ec_socket\ndef f(x): return x * k")
    kernel.run("k = 3")
    assert "stale: k" in kernel.run("%ec_flow").text


@pytest.mark.shared_engine
def test_another_cell_that_takes_a_name_gets_a_warning(kernel: Any) -> None:
    for version, cell in enumerate(("a", "a", "b")):
        said = kernel.run(f"%%ec_socket\ndef taken(x): return {version}", cell)
        assert ("'taken' comes from another cell now" in said.streams) == (cell == "b")


def test_loading_is_silent_and_brings_nothing_that_takes_long(kernels: Callable[[], Any]) -> None:
    kernel = kernels()
    shown = kernel.run("%load_ext ec_jupyter")
    large = kernel.run("import sys; [name for name in ('pandas', 'distributed', 'loky') if name in sys.modules]")
    assert large.text == "[]"
    assert (shown.text, shown.streams) == ("", "")
    assert list(kernel.folder.iterdir()) == []
