"""Notebooks and scripts run without a front end; one that fails, fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.kernel.conftest import stop_engines

GOOD = [
    "%load_ext ec_jupyter\nimport ec_jupyter as ec\nflow = ec.flow()",
    "%%ec_socket\ndef emit(x):\n    return x",
    "%%ec_socket\ndef add_two(one, two):\n    return one + two",
    "%ec_plug emit -> add_two.one\nflow.fix('add_two', two=2)",
    "r = flow.submit('emit', 1)\nleft = %ec_wait\nleft",
    "print('sum', r.run.results('add_two'))",
]
BAD = {
    "option": "%%ec_socket --cpu 2\ndef f(x): return x",
    "syntax": "%%ec_socket\ndef f(:\n    pass",
    "body": "%%ec_socket\ndef f(x): return x\n1 / 0",
    "task": "ec.socket('f')(lambda x: 1 / x)\nec.flow().submit('f', 0).result(60)",
}
EXECUTE = [sys.executable, "-c", "from nbclient.cli import main; main()"]
RUNNERS = {
    "jupyter execute": [*EXECUTE, "--inplace"],
    "papermill": [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3"],
    "nbmake": [sys.executable, "-m", "pytest", "-q", "--nbmake", "--overwrite", "-p", "no:cacheprovider"],
}


@pytest.fixture
def folder(notebook_folder: Path) -> Iterator[Path]:
    yield notebook_folder
    stop_engines(notebook_folder)


def run(runner: str, folder: Path, cells: list[str]) -> tuple[int, str, Path]:
    """Exit code, what was printed, and the executed notebook."""
    path = folder / "small.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    command = [*RUNNERS[runner], str(path), *([str(path)] if runner == "papermill" else [])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr, path


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_notebook_runs_without_a_front_end(runner: str, folder: Path) -> None:
    code, said, path = run(runner, folder, GOOD)
    assert code == 0, said
    cells = nbformat.read(path, as_version=4).cells
    printed = [out["text"] for cell in cells for out in cell.get("outputs", ()) if out["output_type"] == "stream"]
    assert "sum [3]\n" in printed
    assert "nothing is queued or running" in str(cells)


def test_a_cell_that_goes_wrong_fails_its_notebook(folder: Path, subtests: pytest.Subtests) -> None:
    cells = [nbformat.v4.new_code_cell(text) for text in (GOOD[0], *BAD.values())]
    client = NotebookClient(
        nbformat.v4.new_notebook(cells=cells), kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    with client.setup_kernel():
        client.execute_cell(cells[0], 0)
        for at, what in enumerate(BAD, 1):
            with subtests.test(what), pytest.raises(CellExecutionError):
                client.execute_cell(cells[at], at)


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_sees_a_magic_fail_and_ends_there(runner: str, folder: Path) -> None:
    code, said, _ = run(runner, folder, [GOOD[0], BAD["option"], "print('went', 'on')"])
    assert code != 0, said
    assert "did you mean '--cpus'?" in said
    assert "went on" not in said


def test_a_script_runs_in_plain_ipython(folder: Path) -> None:
    (folder / "script.ipy").write_text("\n".join(GOOD[0].splitlines()) + "\n" + (
        "def add(one, two):\n    return one + two\n\n"
        "flow.declare(add)\nr = get_ipython().run_line_magic('ec_submit', 'add one=1 two=2')\n"
        "print('sum', r.result(60))\nget_ipython().run_line_magic('ec_stop', '')\n"
    ))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "script.ipy"],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "sum 3\n"), done.stdout + done.stderr


def test_a_plain_python_script_is_a_client_too(folder: Path) -> None:
    (folder / "plain.py").write_text(
        "import ec_jupyter as ec\n\n@ec.socket\ndef add(one, two):\n    return one + two\n\n"
        "with ec.flow() as flow:\n    print('sum', flow.submit(add, 1, 2).result(60))\n"
    )
    done = subprocess.run(
        [sys.executable, "plain.py"], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout) == (0, "sum 3\n"), done.stdout + done.stderr
