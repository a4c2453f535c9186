"""Databases that a test of this ring left open are closed: Python 3.13 warns of each that is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.rig import close_stores


@pytest.fixture(autouse=True)
def stores_are_closed() -> Iterator[None]:
    yield
    close_stores()
