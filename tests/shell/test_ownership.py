"""Which flow is a notebook's own: after a rename, beside a copy, under a name that another had; renamed and removed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ec_jupyter as ec
from ec_jupyter.client.client import Client
from ec_jupyter.notebook import ownership
from tests.cases import each_of


@pytest.fixture
def notebook(notebook_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that makes this process the kernel of a notebook, just started; with cells it writes the notebook."""

    def be(name: str, *cells: str) -> None:
        path = notebook_folder / name
        if cells:
            path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": [{"id": one} for one in cells]}))
        monkeypatch.setenv("JPY_SESSION_NAME", str(path))
        ownership.forget()

    yield be
    ownership.forget()


@pytest.fixture
def flights(loaded: Any, notebook: Callable[..., None]) -> Any:
    """A notebook with a flow of one socket, whose kernel has ended."""
    notebook("flights.ipynb", "a", "b")
    loaded.run("flow = ec.flow()\n@ec.socket\ndef f(x): return x\nflow.submit('f', 1).result(60); flow.close()")
    return loaded


def own(shell: Any) -> tuple[str, bool]:
    """Name of the notebook's flow, and whether it is the one that was made first."""
    found: tuple[str, bool] = shell.run("flow = ec.flow(); flow.name, 'f' in flow")
    return found


@pytest.mark.parametrize("cells", [("a", "b"), ("b", "new")])
def test_a_renamed_notebook_keeps_its_flow(
    flights: Any, notebook: Callable[..., None], notebook_folder: Path, cells: tuple[str, ...]
) -> None:
    os.rename(notebook_folder / "flights.ipynb", notebook_folder / "moved.ipynb")
    # its kernel, started again, is still told the old name
    notebook("flights.ipynb")
    assert own(flights) == ("flights", True)
    flights.run("flow.close()")
    notebook("moved.ipynb", *cells)
    assert own(flights) == ("flights", True)
    flights.run("flow.close()")
    notebook("flights.ipynb")
    assert own(flights) == ("flights", True)


def test_a_new_notebook_under_an_old_name_has_a_flow_of_its_own(
    flights: Any, notebook: Callable[..., None], notebook_folder: Path
) -> None:
    os.rename(notebook_folder / "flights.ipynb", notebook_folder / "moved.ipynb")
    notebook("flights.ipynb", "other")
    assert own(flights) == ("flights-2", False)
    notebook("moved.ipynb")
    assert own(flights) == ("flights", True)
    notebook("flights.ipynb")
    assert own(flights) == ("flights-2", False)
    assert flights.run("'f' in ec.flow('flights')")


def test_a_copied_notebook_has_a_flow_of_its_own(
    flights: Any, notebook: Callable[..., None], notebook_folder: Path
) -> None:
    shutil.copy(notebook_folder / "flights.ipynb", notebook_folder / "copy.ipynb")
    notebook("copy.ipynb")
    assert own(flights) == ("copy", False)
    notebook("flights.ipynb")
    assert own(flights) == ("flights", True)


@each_of("text", ["", "[]", '{"notebook": 1}', "[" * 100_000])
def test_a_record_that_cannot_be_read_is_as_none(
    flights: Any, notebook: Callable[..., None], notebook_folder: Path, text: str
) -> None:
    (notebook_folder / ".ec_jupyter" / "flights" / ownership.RECORD).write_text(text)
    notebook("flights.ipynb")
    assert own(flights) == ("flights", True)
    flights.run("flow.close()")


def test_a_renamed_flow_has_all_it_had_and_is_still_the_notebooks(
    flights: Any, notebook: Callable[..., None], notebook_folder: Path
) -> None:
    notebook("flights.ipynb")
    flights.run("flow = ec.flow(); r = flow.request(1); other = ec.flow('other')")
    assert isinstance(flights.fail("flow.rename('other')"), ec.DeclarationError)
    assert "flow.rename('f', NEW)" in str(flights.fail("flow.rename('f')"))
    assert flights.run("flow.rename('air') is flow and flow is ec.flow() and flow is ec.flow('air')")
    assert flights.run("flow.name, r.result(60), flow.submit('f', 2).result(60)") == ("air", 1, 2)
    assert sorted(path.name for path in (notebook_folder / ".ec_jupyter").iterdir()) == ["air", "other"]
    flights.run("flow.close()")
    notebook("flights.ipynb")
    assert own(flights) == ("air", True)


def test_a_deleted_flow_leaves_nothing_and_the_next_is_new(flights: Any, notebook_folder: Path) -> None:
    flights.run("flow = ec.flow(); pid = flow._client.engine_pid; flow.delete()")
    assert not list((notebook_folder / ".ec_jupyter").iterdir())
    assert flights.run("flow.closed")
    with pytest.raises(ProcessLookupError):
        os.kill(flights.run("pid"), 0)
    assert own(flights) == ("flights", False)


def test_a_flow_in_a_folder_of_ones_own_is_deleted_and_the_rest_of_the_folder_stays(
    loaded: Any, notebook_folder: Path
) -> None:
    (notebook_folder / "mine").mkdir()
    (notebook_folder / "mine" / "paper.txt").touch()
    loaded.run("flow = ec.flow(folder='mine')")
    assert "rename the folder" in str(loaded.fail("flow.rename('yours')"))
    loaded.run("flow.delete()")
    assert [path.name for path in (notebook_folder / "mine").iterdir()] == ["paper.txt"]


@pytest.mark.parametrize("words", ["flow.delete({})", "flow.rename('air', {})"])
def test_a_flow_that_others_use_is_renamed_or_deleted_only_by_force(flights: Any, words: str) -> None:
    flights.run("flow = ec.flow()")
    folder = flights.run("flow.folder")
    other = Client.open(folder, "flights", client_name="their.ipynb")
    try:
        error = flights.fail(words.format("").replace(", )", ")"))
        assert isinstance(error, ec.FlowInUseError)
        assert "in use by their.ipynb" in str(error)
        assert flights.run("flow.submit('f', 3).result(60)") == 3
        flights.run(words.format("force=True"))
        assert not folder.exists()
    finally:
        other.close()
