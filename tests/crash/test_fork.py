"""A process that was forked is a client of its own; its parent's is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.crash.forker import CHILDREN, EACH


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of a notebook that forked."""
    folder = tmp_path_factory.mktemp("fork") / ".ec_jupyter" / "main"
    command = [sys.executable, "-m", "tests.crash.forker", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_all_that_parent_and_forked_children_submit_is_run_once(forked: dict[str, Any]) -> None:
    assert forked["mine"] == list(range(2 * EACH))
    assert forked["children"] == [1000 * (n + 1) + i for n in range(CHILDREN) for i in range(EACH)]
    # those of both, the first, and the one after
    assert forked["accepted"] == 2 * EACH + CHILDREN * EACH + 2


def test_a_forked_child_gets_the_result_of_a_request_of_its_parent(forked: dict[str, Any]) -> None:
    assert forked["of the parent"] == -1


def test_a_child_that_closes_the_flow_closes_its_own_client_alone(forked: dict[str, Any]) -> None:
    assert (forked["closed"], forked["after"], forked["client"]) == (None, 7, True)


def test_an_executor_is_refused_in_a_forked_child_with_the_reason(forked: dict[str, Any]) -> None:
    assert "belongs to process" in forked["executor"]
    assert "make one here: flow.executor('main')" in forked["executor"]
