"""A flow a test, ended with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ec_jupyter.engine.store import make_folder
from tests.crash.flowkit import Flow, Gate, Marks, hold, opened_flows
from tests.disks import own_disk


@pytest.fixture
def make_flow(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    with opened_flows(tmp_path) as make:
        yield make


@pytest.fixture
def flow(make_flow: Callable[..., Flow]) -> Flow:
    """An empty flow on two CPUs."""
    return make_flow()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Holds tasks until it is opened."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    """What tasks have left."""
    return Marks(tmp_path / "marks")


@pytest.fixture
def running(flow: Flow, gate: Gate, marks: Marks) -> int:
    """A call of the flow that runs, and waits at the gate."""
    flow.socket(hold)
    request = flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    return request


@pytest.fixture
def mortal() -> Iterator[object]:
    """Starts engines with a fault; ends them with the test."""
    engines: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, fault: str, what: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.crash.mortal", str(folder), fault, str(what)]
        if not (folder / "flow.db").exists():
            make_folder(folder)
        with open(folder / "engine.log", "ab") as log:
            engines.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log))
        assert fault == "die" or engines[-1].stdout.readline() == b"up\n"
        return engines[-1]

    yield start
    for engine in engines:
        engine.kill()
        engine.communicate()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MiB that is this test's own."""
    with own_disk(tmp_path / "disk", "6m") as place:
        yield place
