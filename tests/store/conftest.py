"""Databases that a test of this ring left open are closed: Python 3.13 warns of each that is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import own_disk
from tests.store.memoryflow import MemoryFlow
from tests.store.rig import close_stores


@pytest.fixture(autouse=True)
def stores_are_closed() -> Iterator[None]:
    yield
    close_stores()


@pytest.fixture
def flow(tmp_path: Path) -> MemoryFlow:
    """An empty flow in memory."""
    return MemoryFlow(tmp_path / "flow")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB that is this test's own."""
    with own_disk(tmp_path / "disk", "3m") as place:
        yield place
