"""The notebook of the four stations: all of them here, and two of them read on another host."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.nodes.sshd import Network, Sshd, networks
from tests.notebooks.execution import Execution, read_outputs, shipped, shown


@pytest.fixture
def field() -> Iterator[Sshd]:
    """A host of its own in a network of its own."""
    if not networks():
        pytest.skip("only root may make networks")
    folder = Path(tempfile.mkdtemp(prefix="ec"))
    network = Network()
    server = Sshd(folder, network.name, network.address)
    yield server
    server.close()
    network.close()
    shutil.rmtree(folder)


def executed(tmp_path: Path) -> nbformat.NotebookNode:
    """Run the notebook, whose assertions hold the numbers."""
    execution = Execution(tmp_path / "notebooks", "stations.ipynb")
    try:
        return execution.run()
    finally:
        execution.stop_engines()


def test_four_stations_find_the_shocks_on_this_machine(tmp_path: Path) -> None:
    found = executed(tmp_path)
    assert "field" not in shown(found, "where")
    assert read_outputs(found) == read_outputs(shipped("stations.ipynb"))


def test_two_of_four_stations_are_read_on_another_host_with_the_same_numbers(
    tmp_path: Path, field: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"host": "node", "python": sys.executable, "ssh": ["ssh", "-F", str(field.config)], "lease": 5}
    monkeypatch.setenv("EC_STATIONS_FIELD", json.dumps(there))
    table = shown(executed(tmp_path), "where")
    assert "read_uh3 field" in " ".join(table.split())
