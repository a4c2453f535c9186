"""A node added in the panel of a real JupyterLab. Its login is a script: to a shell here, or to a shut port."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.notebook.flow import Flow
from tests.browser.labkit import wait_for
from tests.browser.test_lab import flow, panel, row, show  # noqa: F401

SSH = """#!/bin/sh
for last; do :; done
case "$*" in
*"me@far "*) export HOME={home} TMPDIR={home}; exec sh -c "$last" ;;
*) exec {ssh} -F {config} "$@" ;;
esac
"""


@pytest.fixture(autouse=True)
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stands for ``ssh`` on the PATH of the engines that this test starts: the port behind `shut` is closed."""
    home, bin_ = tmp_path / "home", tmp_path / "bin"
    home.mkdir(mode=0o700)
    bin_.mkdir()
    with socket.socket() as closed:
        # bound and not listened to: nobody else gets it meanwhile
        closed.bind(("127.0.0.1", 0))
        config = tmp_path / "config"
        config.write_text(f"Host shut\n  HostName 127.0.0.1\n  Port {closed.getsockname()[1]}\n")
        script = bin_ / "ssh"
        script.write_text(SSH.format(home=home, config=config, ssh="/usr/bin/ssh"))
        script.chmod(0o700)
        monkeypatch.setenv("PATH", f"{bin_}:{Path(sys.executable).parent}:{os.environ['PATH']}")
        yield


def add(page: Any, flow: Flow, **fields: str) -> Any:  # noqa: F811
    """Fill in the form of a flow's row; the form."""
    row(page, flow).get_by_role("button", name="Add a node to flow").click()
    form = row(page, flow).get_by_role("form")
    for label, text in fields.items():
        form.get_by_label(label).fill(text)
    page.keyboard.press("Enter")
    return form


def node(flow: Flow, name: str) -> Any:  # noqa: F811
    return next((one for one in flow.nodes if one.name == name), None)


@pytest.mark.skipif(not Path("/usr/bin/ssh").exists(), reason="no ssh on this machine")
def test_a_host_that_cannot_be_reached_is_down_in_the_panel_and_says_why(show: Any, flow: Flow, axe: str) -> None:  # noqa: F811
    page = show()
    form = add(page, flow, Name="lost", Host="nobody@shut")
    mine = row(page, flow)
    mine.get_by_text("lost, down: host 'nobody@shut' refuses").wait_for()
    assert not form.is_visible()
    page.wait_for_function("() => document.activeElement.textContent === 'Add node…'")
    mine.get_by_role("button", name="Add a node to flow").click()
    page.evaluate(axe)
    found = page.evaluate("() => axe.run('.ec-panel').then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
    assert found == []
    # the picture says the same
    mine.get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    page.get_by_role("button", name="Node lost: down").click()
    seen = page.get_by_role("region", name="Node lost")
    seen.get_by_text("refuses").wait_for()
    seen.get_by_role("button", name="Remove").click()
    wait_for(lambda: node(flow, "lost") is None)


def test_what_cannot_be_a_node_is_said_in_the_form(show: Any, flow: Flow) -> None:  # noqa: F811
    page = show()
    form = add(page, flow, Name="my lab", Host="me@far")
    form.get_by_role("alert").get_by_text("try 'my_lab'").wait_for()
    form.get_by_label("Name").fill("local")
    page.keyboard.press("Enter")
    form.get_by_role("alert").get_by_text("is this machine").wait_for()
    page.keyboard.press("Escape")
    form.wait_for(state="hidden")
    assert [one.name for one in flow.nodes] == ["local"]


def test_a_node_added_in_the_panel_runs_the_calls_of_a_processor_put_on_it(show: Any, flow: Flow) -> None:  # noqa: F811
    page = show()
    add(page, flow, Name="far", Host="me@far", CPUs="2")
    mine = row(page, flow)
    mine.get_by_text("far 0/2 CPUs, up").wait_for()
    mine.get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    page.get_by_role("button", name="Details of processor main").click()
    details = page.get_by_role("region", name="Processor main")
    details.get_by_role("checkbox", name="Run on far").check()
    details.get_by_role("checkbox", name="Run on local").uncheck()
    details.get_by_role("button", name="Resize").click()
    wait_for(lambda: flow["main"].nodes == {"far": None})
    request = flow.submit("add_two", 40, 2)
    assert request.result(60) == 42
    assert request.node == "far"
    page.get_by_role("group", name="processor main").get_by_text("· far").wait_for()
