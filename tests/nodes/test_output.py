"""What tasks print, log, warn and show."""

# ruff: noqa: T201

from __future__ import annotations

import faulthandler
import logging
import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from ec_jupyter.nodes.current import progress
from ec_jupyter.nodes.worker.output import RATE_BYTES, folded
from tests.nodes.rig import Rig
from tests.nodes.tasks import ident

if TYPE_CHECKING:  # tasks of these tests are found on hosts that have not the engine
    from ec_jupyter.nodes.agents import NodeAgent

pytestmark = pytest.mark.every_node


def talk():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").warning("to the log")
    warnings.warn("a warning", stacklevel=1)
    return 1


def low():
    os.write(1, b"bytes out\n")
    os.system("echo from a shell; echo and its stderr >&2")
    subprocess.run(["echo", "from a child"], check=True)
    sys.stdout.buffer.write(b"buffered\n")


async def test_what_a_task_prints_arrives_before_its_outcome_and_is_tagged(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(talk)
    await rig.run(single, call)
    printed = rig.ear.printed
    assert printed[call.request, "stdout"] == "to stdout\n"
    assert printed[call.request, "stderr"].startswith("to stderr\n")
    assert "UserWarning: a warning" in printed[call.request, "stderr"]
    assert printed[call.request, "log"] == "WARNING mine: to the log\n"
    assert {request for request, _ in printed} == {call.request}


@pytest.mark.not_on("inline", "dask", why="the descriptors are those of a process that is not ours")
async def test_descriptors_and_child_processes_are_heard_too(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(low)
    await rig.run(single, call)
    expected = "bytes out\nfrom a shell\nfrom a child\nbuffered\n"
    assert rig.ear.printed[call.request, "stdout"] == expected
    assert rig.ear.printed[call.request, "stderr"] == "and its stderr\n"


def loud():
    for _ in range(10 * 1024):
        print("x" * 1023)


async def test_ten_mebibytes_of_prints_are_cut_and_counted(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(loud)
    await rig.run(single, call)
    text = rig.ear.printed[call.request, "stdout"] + rig.ear.printed.get((call.request, "stderr"), "")
    assert len(text) < 40 * RATE_BYTES
    assert "MiB more" in text


def loud_below():
    for _ in range(3 * 1024):
        os.write(1, b"y" * 1024)


@pytest.mark.not_on("inline", "dask", why="the descriptors are those of a process that is not ours")
async def test_output_below_python_never_blocks_the_task(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(loud_below)
    assert (await rig.run(single, call)).state == "done"


def closing():
    sys.stdout.close()
    sys.stderr.close()
    print("still here")


def surrogate():
    print("bad \udcff text")


async def test_worker_survives_whatever_is_done_to_its_streams(rig: Rig, single: NodeAgent) -> None:
    before, closed, odd, after = rig.call(ident), rig.call(closing), rig.call(surrogate), rig.call(ident)
    for call in (before, closed, odd, after):
        assert (await rig.run(single, call)).state == "done"
    assert rig.ear.printed[closed.request, "stdout"] == "still here\n"
    assert rig.ear.printed[odd.request, "stdout"] == "bad \\udcff text\n"
    assert rig.result(before.request) == rig.result(after.request)


def fileno():
    faulthandler.enable()
    faulthandler.disable()
    return sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty()


@pytest.mark.not_on("inline", "dask", why="the descriptors are those of a process that is not ours")
async def test_streams_have_the_descriptors_that_libraries_ask_for(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(fileno)
    await rig.run(single, call)
    assert rig.result(call.request) == (1, 2, False)


def patient(gate):
    print("working", flush=True)
    while os.path.exists(gate):
        pass


async def test_output_arrives_while_the_task_runs(rig: Rig, single: NodeAgent) -> None:
    gate = rig.folder / "gate"
    gate.touch()
    call = rig.call(patient, {"gate": str(gate)})
    single.assign("main", [call])
    await rig.ear.until(lambda: rig.ear.printed.get((call.request, "stdout")) == "working\n")
    assert call.request not in rig.ear.outcomes
    gate.unlink()
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)


def forking():
    pid = os.fork()
    if pid == 0:
        print("from a fork")
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.not_on("inline", "dask", why="a process of many threads that are not ours is not forked")
async def test_forked_child_prints_and_leaves_the_worker_alone(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(forking)
    await rig.run(single, call)
    assert rig.result(call.request) == 0
    assert rig.ear.printed[call.request, "stdout"] == "from a fork\n"


def stepping(n):
    return sum(progress(range(n), text="steps"))


async def test_progress_says_where_it_is_and_how_it_ends(rig: Rig, single: NodeAgent) -> None:
    call = rig.call(stepping, {"n": 1000})
    await rig.run(single, call)
    assert rig.result(call.request) == 499500
    assert rig.ear.shown[-1] == (call.request, 1000, 1000, "steps")
    assert rig.ear.shown[0] == (call.request, 0, 1000, "steps")
    assert len(rig.ear.shown) < 100
    assert list(progress([1, 2])) == [1, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n", "plain\n"),
        ("10%\r20%\r30%\n", "30%\n"),
        ("\r10%\r20%", "\r20%"),
        ("dos\r\nlines\r\n", "dos\nlines\n"),
        ("one\n1\r2\nthree", "one\n2\nthree"),
        ("100%\r", "100%"),
    ],
)
def test_rewritten_line_is_folded_into_its_last_state(text: str, expected: str) -> None:
    assert folded(text) == expected
