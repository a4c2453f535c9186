"""The command line in a folder with one flow, which all tests of a file share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ec_jupyter import ask
from ec_jupyter.cli.main import ec
from ec_jupyter.notebook.flow import Flow, open_flow


def declare(flow: Flow) -> None:
    def add_two(one: int, two: int) -> int:
        """Sum of two numbers."""
        print("adds", one, two)  # noqa: T201 - it is what the log is to have
        return one + two

    def double(x):
        if x == 13:
            raise ValueError("unlucky")
        return 2 * x

    def hello(name: str):
        return f"hello {name}"

    def odd(x):
        return {x}

    for task in (add_two, double, hello, odd):
        # as of a notebook: a worker does not look for them in this module
        task.__module__ = "__main__"
        flow.declare(task, task.__name__)
    flow.socket(ask("Go on?", choices=["yes", "no"]), name="approve")


class Shell:
    """Calls ``ec`` in the folder of the flow."""

    def __call__(self, *words: str, code: int = 0, typed: str | None = None) -> Result:
        """What a command says; it is to end with that exit code."""
        result = CliRunner().invoke(ec, list(words), input=typed, prog_name="ec")
        assert result.exit_code == code, result.output
        return result

    def json(self, *words: str, code: int = 0) -> Any:
        """What a command says to a program."""
        return json.loads(self(*words, "--json", code=code).stdout)

    def refused(self, *words: str, code: int = 1) -> str:
        """The one line of what cannot be done."""
        said = self(*words, code=code).stderr.strip()
        assert "\n" not in said
        assert "Traceback" not in said
        return said.removeprefix("Error: ")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that holds the flow ``sums``, whose engine runs."""
    before = Path.cwd()
    place = tmp_path_factory.mktemp("place")
    os.environ["EC_CPUS_SHARED"] = str(place / "cpus")
    os.chdir(place)
    flow = open_flow("sums")
    declare(flow)
    yield place
    flow.stop()
    flow.close()
    os.chdir(before)


@pytest.fixture(scope="module")
def shell(place: Path) -> Shell:
    return Shell()
