"""The values that a socket's requests came to."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.shared_engine


@pytest.fixture
def calling(loaded: Any) -> Any:
    """A shell with a flow."""
    loaded.run("flow = ec.flow()")
    return loaded


def test_results_are_the_values_in_order_of_acceptance(calling: Any) -> None:
    calling.run("@ec.socket\ndef double(n): return 2 * n")
    calling.run("flow.map('double', range(5)); flow.wait(60)")
    assert calling.run("flow.results('double')") == [0, 2, 4, 6, 8]
    assert calling.run("flow.results('double', limit=2)") == [6, 8]


def test_results_of_a_generator_are_lists_and_failures_have_none(calling: Any) -> None:
    calling.run("@ec.socket\ndef count(n):\n    yield from range(n)")
    calling.run("@ec.socket\ndef inverse(n): return 1 / n")
    calling.run("flow.map('count', [2, 0, 3]); flow.map('inverse', [1, 0, 2]); flow.wait(60)")
    assert calling.run("flow.results('count')") == [[0, 1], [], [0, 1, 2]]
    assert calling.run("flow.results('inverse')") == [1.0, 0.5]


def test_results_of_a_run_are_those_of_its_own_requests(calling: Any) -> None:
    calling.run("@ec.socket\ndef first(n): return n\n@ec.socket\ndef second(n): return n + 1")
    calling.run("flow.plug('first', 'second')")
    calling.run("one, two = flow.map('first', [10, 20]); flow.wait(60)")
    assert calling.run("two.run.results('second')") == [21]
    assert calling.run("flow.results('second', run=one)") == [11]


def test_an_infinite_timeout_is_none(calling: Any) -> None:
    calling.run("@ec.socket\ndef double(n): return 2 * n")
    assert calling.run("flow.submit('double', 4).result(timeout=float('inf'))") == 8
    assert calling.run("flow.submit('double', 5).exception(timeout=float('inf'))") is None
    calling.run("flow.submit('double', 6).run.wait(timeout=float('inf')); flow.wait(float('inf'))")


def test_a_saved_flow_nested_too_deeply_is_refused_in_one_line(calling: Any, notebook_folder: Any) -> None:
    (notebook_folder / "deep.json").write_text("[" * 100_000)
    error = calling.fail("ec.load('deep.json')")
    assert type(error).__name__ == "DeclarationError"
    assert str(error) == "deep.json is no saved flow: its JSON is nested too deeply"
