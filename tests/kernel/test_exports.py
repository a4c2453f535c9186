"""A notebook that was run and saved: what its exports show of the picture."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter

from ec_jupyter.notebook.output import MARK
from tests.kernel.pagekit import SECONDS, SOCKETS, VIEW

CELLS = [
    "%load_ext ec_jupyter\nimport ec_jupyter as ec",
    SOCKETS + "flow.plug('emit', 'join.left'); flow.submit('emit', 1).result(60)",
    "%ec_flow",
    "flow.plug('emit', 'join.right'); flow.submit('emit', 2).run.wait(60)",
    "flow.stop()",
]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook as nbclient leaves it."""
    folder = str(tmp_path_factory.mktemp("book"))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    return book


def output(book: Any) -> Any:
    """What the cell with the picture shows."""
    (output,) = book.cells[2].outputs
    return output["data"]


def still(book: Any) -> str:
    """The picture as a page has it."""
    return base64.b64encode(output(book)["image/svg+xml"].encode()).decode()


def page(book: Any) -> str:
    """The notebook as HTML."""
    return str(HTMLExporter().from_notebook_node(book)[0])


def test_a_page_of_a_notebook_that_a_program_ran_has_the_still_picture(book: Any) -> None:
    # what came after the cell with the picture is in it: another call, and another plug
    assert ">2 done" in output(book)["image/svg+xml"]
    assert output(book)["image/svg+xml"].count("<path") == 2
    assert still(book) in page(book)


def test_a_notebook_that_a_program_ran_keeps_no_widget_and_none_of_its_code(book: Any) -> None:
    # a page that shows a widget first has it from a network, and one that reads the notebook again finds no model
    assert VIEW not in output(book)
    assert "widgets" not in book.metadata
    assert output(book)[MARK] == {"flow": "main"}


def test_the_command_line_leaves_the_code_out_and_the_picture_in(book: Any, tmp_path: Path) -> None:
    nbformat.write(book, tmp_path / "book.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--no-input", "book.ipynb"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    text = (tmp_path / "book.html").read_text()
    assert still(book) in text
    assert "ec_flow" not in text


def test_markdown_has_the_picture_as_a_file(book: Any) -> None:
    text, made = MarkdownExporter().from_notebook_node(book)
    ((name, content),) = made["outputs"].items()
    assert name.endswith(".svg")
    assert f"({name})" in text
    assert content.decode() == output(book)["image/svg+xml"]
