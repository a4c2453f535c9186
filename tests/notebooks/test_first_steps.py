"""The small notebook, and the example of the README."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.notebooks.execution import Execution, read_outputs, shipped, shown

README = Path(__file__).parents[2] / "README.md"


def test_first_steps_add_each_pair_once(tmp_path: Path) -> None:
    execution = Execution(tmp_path / "notebooks", "first_steps.ipynb")
    executed = execution.run()
    execution.stop_engines()
    assert shown(executed, "sum") == "[21]"
    assert read_outputs(executed) == read_outputs(shipped("first_steps.ipynb"))


def test_first_steps_show_the_picture_to_whoever_reads_the_file() -> None:
    (picture,) = [cell for cell in shipped("first_steps.ipynb").cells if "picture" in cell.metadata.get("tags", ())]
    (output,) = picture.outputs
    assert output.data["image/svg+xml"].count("add_two") >= 1
    assert "2 waiting" in output.data["image/svg+xml"] or "2 arrived" in output.data["image/svg+xml"]
    assert "add_two(one, two) v1" in output.data["text/plain"]


def test_example_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert blocks
    cells = [nbformat.v4.new_code_cell(block.strip()) for block in blocks]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    asyncio.run(client.async_execute())
    said = re.findall(r"```python\n[^`]*?# → (.*?)\n```", README.read_text())
    assert said == [notebook.cells[-1].outputs[-1].data["text/plain"]]
