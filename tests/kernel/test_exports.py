"""A notebook that was run and saved: what its exports show of the picture."""

from __future__ import annotations

import base64
import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter
from traitlets.config import Config

from tests.kernel.pagekit import SECONDS, SOCKETS, VIEW

CELLS = [
    "%load_ext ec_jupyter\nimport ec_jupyter as ec",
    SOCKETS + "flow.plug('emit', 'join.left'); flow.submit('emit', 1).result(60)",
    "%ec_flow",
    "flow.stop()",
]
STATE = "application/vnd.jupyter.widget-state+json"
STILL_FIRST = ["image/svg+xml", "text/html", "image/png", "text/plain"]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook as nbclient leaves it, with the state of its widgets."""
    folder = str(tmp_path_factory.mktemp("book"))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    return book


@pytest.fixture
def as_lab_saves_it(book: Any) -> Any:
    """The same one without the state of its widgets: JupyterLab keeps that only if it is told to."""
    one = copy.deepcopy(book)
    one.metadata.pop("widgets")
    return one


def output(book: Any) -> Any:
    """What the cell with the picture shows."""
    (output,) = book.cells[2].outputs
    return output["data"]


def still(book: Any) -> str:
    """The picture as a page has it."""
    return base64.b64encode(output(book)["image/svg+xml"].encode()).decode()


def page(book: Any, **options: Any) -> str:
    """The notebook as HTML."""
    return str(HTMLExporter(**options).from_notebook_node(book)[0])


def test_a_page_of_a_notebook_as_lab_saves_it_has_the_still_picture(as_lab_saves_it: Any) -> None:
    assert ">1 done<" in output(as_lab_saves_it)["image/svg+xml"]
    assert still(as_lab_saves_it) in page(as_lab_saves_it)


def test_the_command_line_leaves_the_code_out_and_the_picture_in(as_lab_saves_it: Any, tmp_path: Path) -> None:
    nbformat.write(as_lab_saves_it, tmp_path / "book.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--no-input", "book.ipynb"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    text = (tmp_path / "book.html").read_text()
    assert still(as_lab_saves_it) in text
    assert "ec_flow" not in text


def test_a_page_of_a_notebook_with_its_widgets_holds_all_that_draws_the_picture(book: Any) -> None:
    text = page(book)
    model = output(book)[VIEW]["model_id"]
    assert f'"model_id": "{model}"' in text
    assert VIEW in text
    assert STATE in text
    state = book.metadata["widgets"][STATE]["state"][model]["state"]
    assert set(state["graph"]["sockets"]) == {"emit", "join"}
    # the page's code is in it, too
    assert len(state["_esm"]) > 100_000


def test_a_page_to_be_read_without_a_network_takes_the_still_picture_first(book: Any) -> None:
    assert still(book) not in page(book)
    assert still(book) in page(book, config=Config(NbConvertBase={"display_data_priority": STILL_FIRST}))


def test_markdown_has_the_picture_as_a_file(book: Any) -> None:
    text, made = MarkdownExporter().from_notebook_node(book)
    ((name, content),) = made["outputs"].items()
    assert name.endswith(".svg")
    assert f"({name})" in text
    assert content.decode() == output(book)["image/svg+xml"]
