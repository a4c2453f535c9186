"""A flow a test, ended with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.flowkit import Flow, Gate, Marks


@pytest.fixture
def make_flow(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    """Opens flows, in a folder of the test's own unless another is given."""
    flows: list[Flow] = []

    def make(folder: Path | None = None, **options: Any) -> Flow:
        folder = folder or tmp_path / "notebook" / ".ec_jupyter" / "main"
        folder.parent.mkdir(parents=True, exist_ok=True)
        flow = Flow(folder.resolve(), **options)
        flows.append(flow)
        return flow

    yield make
    for flow in flows:
        flow.end()


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
