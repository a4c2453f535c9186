"""The code of the README and of the documents: each block of a page runs, one after the other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.client import probe
from tests.kernel.conftest import Kernel
from tests.notebooks.blocks import Block, blocks_of, check_python

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"join.md"}
"""Pages whose blocks tests/pure runs: they need no kernel."""
PAGES = [
    page
    for page in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "benchmarks" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    )
    if page.name not in ELSEWHERE and blocks_of(page)
]
QUIET = "%load_ext ec_jupyter\n%config EC.progress_delay = -1"
"""No bar among the outputs, however slow the machine."""
AFRESH = """\
%reset -f
import ec_jupyter as ec

flow = ec.flow()
flow.clear()
flow.resume()
with flow.edit():
    for _socket in list(flow):
        flow.remove(_socket.name, force=True)
"""
"""What each page begins with; all pages share a kernel, and mostly an engine."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel in which somebody tries what the pages say."""
    kernel = Kernel(tmp_path_factory.mktemp("pages"))
    yield kernel
    kernel.close()
    for folder in kernel.folder.glob(".ec_jupyter/*"):
        if answer := probe.ask(folder):
            os.kill(answer["engine"], signal.SIGKILL)


def check(block: Block, kernel: Any) -> None:
    """Run a block, or read it where it says that it cannot be run."""
    if block.file:
        (kernel.folder / block.file).write_text(block.code + "\n")
    if block.kind == "bash":
        # what is not run is read by the shell
        command = ["bash", "-euc", block.code] if block.mark == "run" else ["bash", "-nc", block.code]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        subprocess.run(command, cwd=kernel.folder, env={**os.environ, "PATH": path}, check=True, timeout=120)
    elif block.kind == "python" and (block.reason or block.file):
        check_python(block.code)
    elif block.kind == "python":
        if block.mark == "restart":
            kernel.restart()
            kernel.run(QUIET)
        shown = kernel.run(block.code).text
        if block.said is not None:
            assert re.fullmatch(re.escape(block.said).replace("…", ".*"), shown, re.DOTALL), block.code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_page_runs_and_comes_to_what_it_says(page: Path, reader: Kernel) -> None:
    blocks = blocks_of(page)
    assert {block.code: block.problem for block in blocks if block.problem} == {}
    if any(block.kind == "python" and not block.reason for block in blocks):
        reader.run(QUIET)
        reader.run(AFRESH)
    for block in blocks:
        check(block, reader)


def test_every_target_of_make_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    rings = {f"test-{folder.parent.name}" for folder in (ROOT / "tests").glob("*/test_*.py")}
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert named - targets - rings == set()
