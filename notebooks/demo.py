"""Execute a notebook without a browser and show its table: `python demo.py flights.ipynb`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm

VIEW = "application/vnd.jupyter.widget-view+json"
"""Kind of an output that a page alone can show."""


def titles(notebook: nbformat.NotebookNode) -> list[str]:
    """For each cell, the heading it stands under."""
    found, title = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            title = cell.source.splitlines()[0].lstrip("# ")
        found.append(title)
    return found


def execute(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Run every cell in the folder of `path`, with one bar over the cells.

    Raises
    ------
    CellExecutionError
        A cell failed; the cells before it hold their outputs.
    """
    headings = titles(notebook)
    bar = tqdm(total=len(notebook.cells), unit="cell", mininterval=0.1 if sys.stderr.isatty() else 5)

    def begin(cell: Any, cell_index: int) -> None:
        bar.set_description(f"{headings[cell_index]:<40.40}")
        bar.update(cell_index - bar.n)

    resources = {"metadata": {"path": str(path.parent)}}
    # a kernel on the loopback says at each start that it is not encrypted
    quiet = ["--log-level=ERROR"]
    client = NotebookClient(notebook, timeout=900, resources=resources, on_cell_start=begin, extra_arguments=quiet)
    try:
        # as JupyterLab tells its kernels which notebook they run
        client.execute(env={**os.environ, "JPY_SESSION_NAME": str(path)})
        bar.update(bar.total - bar.n)
    finally:
        bar.close()


def shown(notebook: nbformat.NotebookNode, tag: str) -> str:
    """What the cells of that tag came to, as text."""
    cells = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]
    outputs = [output for cell in cells for output in cell.outputs]
    # bars and the like are displayed too, but are no result
    return "\n\n".join(output.data["text/plain"] for output in outputs if output.output_type == "execute_result")


def keep(notebook: nbformat.NotebookNode) -> None:
    """Leave in a notebook only what a reader of the file can use: no bars, no times of cells, no state of widgets."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _bar(output)]


def _bar(output: nbformat.NotebookNode) -> bool:
    # the picture of a flow has a view too, and a still picture beside it
    return {*output.get("data", ())} <= {VIEW, "text/plain"} and VIEW in output.get("data", ())


def main() -> int:
    """Execute the notebook named on the command line; the exit code says whether every cell ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="where the executed notebook goes [build/NOTEBOOK]")
    args = parser.parse_args()
    output = args.output or Path("build") / args.notebook.name
    notebook = nbformat.read(args.notebook, as_version=4)
    begun = time.monotonic()
    failure = None
    try:
        execute(notebook, args.notebook.resolve())
    except CellExecutionError as error:
        failure = error
    keep(notebook)
    output.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output)
    if failure:
        print(f"{failure}\n{args.notebook} stopped at that cell; what ran is in {output}", file=sys.stderr)
        return 1
    print(shown(notebook, "table"))
    print(f"\n{args.notebook}: every cell ran, every number held, in {time.monotonic() - begun:.0f} s")
    print(f"the executed notebook is {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
