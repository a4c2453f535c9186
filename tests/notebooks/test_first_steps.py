"""The small notebook, and the example of the README."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.notebooks.execution import Execution, shown

README = Path(__file__).parents[2] / "README.md"


def test_first_steps_add_each_pair_once(tmp_path: Path) -> None:
    execution = Execution(tmp_path / "notebooks", "first_steps.ipynb")
    assert shown(execution.run(), "sum") == "[21]"
    execution.stop_engines()


def test_example_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert blocks
    cells = [nbformat.v4.new_code_cell(block.strip()) for block in blocks]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    asyncio.run(client.async_execute())
    said = re.findall(r"```python\n[^`]*?# → (.*?)\n```", README.read_text())
    assert said == [notebook.cells[-1].outputs[-1].data["text/plain"]]
