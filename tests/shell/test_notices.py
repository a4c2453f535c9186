"""Functions that are told when a flow has ended its work, or calls have failed."""

from __future__ import annotations

from typing import Any

import pytest

from ec_jupyter.client import probe
from ec_jupyter.errors import ArgumentsError
from ec_jupyter.notebook.notes import FlowWarning

pytestmark = pytest.mark.shared_engine

WIRING = """
flow, told = ec.flow(), []
@ec.socket
def invert(x): return 1 / x
flow.submit("invert", 1).result(60); flow.wait()
flow.notify(to=told.append)
"""


def test_a_function_is_told_once_of_failures_and_once_of_the_end(loaded: Any, wait_until: Any) -> None:
    loaded.run(WIRING)
    loaded.run("flow.map('invert', [0, 1, 0, 2]); flow.wait()")
    wait_until(lambda: loaded.run("[one.when for one in told][-1:]") == ["end"])
    told = loaded.run("told")
    assert [one.when for one in told] == ["failure"] * (len(told) - 1) + ["end"]
    assert sum(sum(one.failed.values()) for one in told[:-1]) == 2
    assert (told[-1].done, told[-1].failed) == ({"invert": 2}, {"invert": 2})
    assert told[-1].text == "flow 'main' has ended its work: 2 done, 2 failed"


def _ended(shell: Any, wait_until: Any, x: int, times: int) -> None:
    """A call, and the word of its end."""
    shell.run(f"flow.submit('invert', {x}).result(60)")
    wait_until(lambda: shell.run("len(ended)") == times)


def test_a_function_that_raises_is_said_and_others_are_told(loaded: Any, wait_until: Any) -> None:
    loaded.run(WIRING)
    loaded.run("flow.notify('end', to=lambda notice: 1 / 0); ended = []; flow.notify('end', to=ended.append)")
    with pytest.warns(FlowWarning, match="the function that is told of flow 'main' raised ZeroDivisionError"):
        _ended(loaded, wait_until, 2, 1)
    loaded.run("flow.notify(None, to=told.append); told.clear()")
    with pytest.warns(FlowWarning):
        _ended(loaded, wait_until, 3, 2)
    assert loaded.run("told") == []


def test_what_pages_are_to_tell_is_kept_with_the_flow(loaded: Any) -> None:
    loaded.run("flow = ec.flow(); flow.notify(to='lab'); flow.notify('failure', to='browser')")
    folder = loaded.run("flow.folder")
    wanted = {"lab": ["end", "failure"], "browser": ["failure"]}
    assert probe.wanted(probe.ask(folder)["notify"]) == wanted  # type: ignore[index]
    loaded.run("flow.stop()")
    assert probe.read(folder)["notify"] == wanted
    loaded.run("flow.notify(None, to='lab')")
    assert probe.read(folder)["notify"] == {"browser": ["failure"]}
    assert isinstance(loaded.fail("flow.notify('never')"), ArgumentsError)
    assert isinstance(loaded.fail("flow.notify(to='phone')"), ArgumentsError)
    assert [probe.wanted(text) for text in ("[", "3", '{"lab": 1}', None)] == [{}, {}, {}, {}]
