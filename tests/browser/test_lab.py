"""The panel of flows in a real JupyterLab, and a flow in a tab, with no kernel anywhere."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from ec_jupyter.client import probe
from ec_jupyter.client.launch import running, stop
from ec_jupyter.notebook.flow import Flow, open_flow
from tests.attacks import ATTACKS
from tests.browser.conftest import Pages
from tests.browser.labkit import TOKEN, Lab, overheard, wait_for

_numbers = count(1)


@pytest.fixture
def flow(lab: Lab) -> Iterator[Flow]:
    """A flow of its own: ``add_two`` and ``double``, not plugged."""
    name = f"sums{next(_numbers)}"
    flow = open_flow(name, folder=lab.root / name / ".ec_jupyter" / name)

    def add_two(one: int, two: int) -> int:
        return one + two

    def double(x: int) -> int:
        if x == 13:
            raise ValueError("unlucky")
        return 2 * x

    for task in (add_two, double):
        # as of a notebook: a worker does not look for them in this module
        task.__module__ = "__main__"
        flow.declare(task, task.__name__)
    yield flow
    flow.close()
    answer = probe.ask(flow.folder)
    if answer:
        os.kill(answer["engine"], signal.SIGKILL)


@pytest.fixture
def show(pages: Pages, lab: Lab) -> Iterator[Callable[..., Any]]:
    """A function that opens JupyterLab in a workspace of its own; an error of ours in a page fails the test."""

    def open_page(theme: str = "JupyterLab Light") -> Any:
        page = pages.take(1300, 800)
        page.goto(f"{lab.address}/lab/workspaces/w{next(_numbers)}?token={TOKEN}")
        ready(page)
        # Lab opens its launcher last of all, and gives it the focus: keys pressed before that end up there
        page.wait_for_function("() => document.activeElement.closest('.jp-Launcher')")
        if theme != "JupyterLab Light":
            page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        page.evaluate("() => jupyterapp.commands.execute('ec-jupyter:show-panel')")
        return page

    yield open_page
    pages.clear()
    errors = [error.stack or str(error) for error in pages.errors]
    assert not [error for error in errors if "ec-jupyter" in error], errors


def ready(page: Any) -> None:
    page.wait_for_function("() => window.jupyterapp?.commands.hasCommand('ec-jupyter:open')")
    page.evaluate("() => jupyterapp.restored.then(() => true)")


def panel(page: Any) -> Any:
    return page.get_by_role("region", name="Flows", exact=True)


def row(page: Any, flow: Flow) -> Any:
    return panel(page).get_by_role("listitem").filter(has=page.get_by_role("button", name=flow.name, exact=True))


def key(flow: Flow) -> str:
    return f"{flow.name}:{flow.name}"


def port(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def test_the_panel_tells_what_each_flow_does(show: Any, flow: Flow) -> None:
    flow.submit("double", 13)
    flow.submit("add_two", one=1, partial=True)
    flow.wait(60)
    page = show()
    mine = row(page, flow)
    mine.get_by_text("1 waiting").wait_for()
    mine.get_by_text("1 failed").wait_for()
    mine.get_by_text("running").wait_for()
    mine.get_by_text("local 0/").wait_for()
    expect(mine.locator(".ec-panel-size")).to_have_text(re.compile(r"^\d+ MiB$"))
    panel(page).get_by_role("searchbox", name="Filter flows").fill("no such flow")
    panel(page).get_by_text("No flow matches.").wait_for()
    assert not mine.is_visible()
    panel(page).get_by_role("searchbox").fill(f"{flow.name} failed")
    mine.wait_for()


def test_last_values_are_on_the_cards_of_a_tab_and_nothing_of_them_runs(show: Any, flow: Flow) -> None:
    def report(text: str) -> object:
        class Report:
            def _repr_html_(self) -> str:
                return f"<h3>All well</h3>{text}"

        return Report()

    report.__module__ = "__main__"
    flow.declare(report, "report")
    flow.submit("double", 2160)
    flow.submit("report", "".join(ATTACKS))
    flow.wait(60)
    page = show()
    row(page, flow).get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    cards = {name: page.get_by_role("group", name=f"socket {name}", exact=True) for name in ("double", "report")}
    cards["double"].locator(".ec-short").filter(has_text="4320").wait_for()
    frame = cards["report"].frame_locator("iframe")
    frame.get_by_role("heading", name="All well", include_hidden=True).wait_for()
    cards["double"].locator(".ec-last-open").click()
    page.get_by_role("region", name="Values of double", exact=True).get_by_text("4320").wait_for()
    assert page.evaluate("() => window.hit") is None


def test_a_flow_opens_in_a_tab_is_wired_there_and_lives_without_a_kernel(show: Any, flow: Flow, lab: Lab) -> None:
    page = show()
    row(page, flow).get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    port(page, "Output of add_two").click()
    port(page, "Argument x of double").click()
    wait_for(lambda: [(p.source, p.target) for p in flow.plugs] == [("add_two", "double")])
    request = flow.submit("add_two", 3, 4)
    card = page.get_by_role("group", name="socket double", exact=True)
    card.get_by_text("1", exact=True).first.wait_for()
    assert request.run.wait(60).state == "done"
    # what Lab would do with these keys it does not
    page.keyboard.press("Control+z")
    wait_for(lambda: not flow.plugs)
    with urllib.request.urlopen(f"{lab.address}/api/kernels?token={TOKEN}", timeout=20) as answer:
        assert json.loads(answer.read()) == []


def test_a_run_lights_up_has_its_timeline_and_the_flow_is_seen_as_it_was(show: Any, flow: Flow) -> None:
    flow.plug("double", "add_two.one")
    run = flow.submit("double", 21).id
    flow.wait(60)
    page = show()
    row(page, flow).get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    page.locator(".ec-toolbar").get_by_role("button", name="Runs", exact=True).click()
    page.get_by_role("region", name="Runs", exact=True).get_by_role("button", name=f"run {run} ").click()
    lit = page.get_by_role("region", name="What is lit up")
    lit.get_by_text("1 done · 1 value waits").wait_for()
    assert page.locator(".ec-card.ec-lit").count() == 2
    lit.get_by_role("button", name="Timeline").click()
    page.get_by_role("img", name="Timeline of 1 call on 1 CPU").wait_for()
    page.locator(".ec-bar-table").get_by_role("button", name=str(run), exact=True).click()
    page.get_by_role("region", name=f"Request {run} of double").get_by_text("42").first.wait_for()
    page.get_by_role("button", name="Past: the flow as it was").click()
    page.get_by_role("button", name="Edit before").click()
    past = page.get_by_role("region", name="This is the past")
    past.get_by_text("plug double -> add_two.one").wait_for()
    page.get_by_role("button", name="Edit before").click()
    page.wait_for_function("() => !document.querySelector('.react-flow__edge')")
    past.get_by_role("button", name="Back to now").click()
    page.locator(".react-flow__edge").first.wait_for(state="attached")


def test_a_value_supplied_on_a_port_makes_the_call_that_waited_for_it(show: Any, flow: Flow) -> None:
    request = flow.submit("add_two", one=40, partial=True)
    page = show()
    row(page, flow).get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    page.get_by_role("button", name="1 waiting at one of add_two", exact=True).click()
    waiting = page.get_by_role("region", name="Waiting at one of add_two")
    waiting.get_by_text("40", exact=True).wait_for()
    waiting.get_by_label("Value for two").fill("2")
    waiting.get_by_role("button", name="Supply").click()
    assert request.result(60) == 42
    waiting.get_by_text("Nothing waits here.").wait_for()


@pytest.fixture
def lists(flow: Flow) -> Flow:
    """``numbers`` mapped to ``divide``, which fails, and gathered by ``collect``; and mapped to ``add_two``."""

    def numbers(n: int) -> list[int]:
        return list(range(n))

    def divide(x: int) -> str:
        return str(1 // 0)

    def collect(xs: list[str]) -> list[str]:
        return xs

    for task in (numbers, divide, collect):
        task.__module__ = "__main__"
        flow.declare(task, task.__name__)
    flow.plug("numbers", "divide.x", map=True)
    flow.plug("numbers", "add_two.one", map=True)
    flow.plug("divide", "collect.xs", gather=True)
    flow.submit("numbers", 3)
    flow.wait(60)
    return flow


def test_elements_that_a_list_lacks_are_seen_supplied_and_left_out(show: Any, lists: Flow) -> None:
    page, flow = show(), lists
    row(page, flow).get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    port(page, "1 waiting at xs of collect").click()
    waiting = page.get_by_role("region", name="Waiting at xs of collect")
    waiting.get_by_text("nothing of the list has come: it lacks xs[0], xs[1], xs[2]").wait_for()
    element, value = waiting.get_by_label("Element of xs"), waiting.get_by_label("Value for xs")
    element.fill("1")
    # of a list of texts an element is typed as it is
    value.fill("b")
    waiting.get_by_role("button", name="Supply").click()
    waiting.get_by_text("the list lacks xs[0], xs[2]").wait_for()
    waiting.get_by_label("Value of xs[1]", exact=True).get_by_text("'b'").wait_for()
    element.fill("1")
    value.fill("again")
    waiting.get_by_role("button", name="Supply").click()
    waiting.get_by_role("alert").wait_for()
    element.fill("")
    value.fill("a")
    waiting.get_by_role("button", name="Supply").click()
    waiting.get_by_text("the list lacks xs[2]").wait_for()
    waiting.get_by_role("button", name="Leave out").click()
    waiting.get_by_text("Nothing waits here.").wait_for()
    flow.wait(60)
    assert flow.results("collect") == [["a", "b"]]


def test_a_list_of_which_nothing_has_come_is_discarded_and_calls_name_their_element(show: Any, lists: Flow) -> None:
    page, flow = show(), lists
    row(page, flow).get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    port(page, "1 waiting at xs of collect").click()
    waiting = page.get_by_role("region", name="Waiting at xs of collect")
    waiting.get_by_role("button", name="Discard the list").click()
    waiting.get_by_text("Nothing waits here.").wait_for()
    flow.wait(60)
    assert [one.state for one in flow.requests("collect")] == ["skipped"]
    port(page, "3 waiting at one of add_two").click()
    calls = page.get_by_role("region", name="Waiting at one of add_two")
    calls.get_by_role("heading", name="run 1 · element 2").wait_for()


def test_a_plug_is_made_and_taken_back_with_the_keyboard_alone(show: Any, flow: Flow) -> None:
    page = show()
    row(page, flow).get_by_role("button", name=f"Open flow {flow.name}/{flow.name}").click()
    # a tab that has just come may take the focus once more: the list does not open by a key that goes elsewhere
    port(page, "Output of add_two").press("Enter")
    page.wait_for_function("() => document.activeElement.closest('.ec-chooser')")
    page.keyboard.type("double")
    page.locator(".ec-chooser").get_by_role("option").filter(has_text="double").first.wait_for()
    page.keyboard.press("Enter")
    wait_for(lambda: [(p.source, p.target, p.argument) for p in flow.plugs] == [("add_two", "double", "x")])
    page.wait_for_function("() => document.activeElement.closest('.ec-root')")
    page.keyboard.press("Control+z")
    wait_for(lambda: not flow.plugs)


def test_a_flow_is_stopped_and_started_in_the_panel_and_its_tab_follows(show: Any, flow: Flow) -> None:
    page = show()
    mine = row(page, flow)
    mine.get_by_role("button", name="Open").click()
    port(page, "Output of add_two").wait_for()
    # a picture that has had no numbers has none to call old
    flow.submit("add_two", 1, 2).wait(60)
    page.get_by_role("group", name="socket add_two", exact=True).get_by_text("1", exact=True).first.wait_for()
    mine.get_by_role("button", name="Stop the engine of flow").click()
    mine.get_by_text("stopped").wait_for()
    assert not running(flow.folder)
    page.get_by_text("numbers of").first.wait_for()
    mine.get_by_role("button", name="Start flow").click()
    mine.get_by_text("running").wait_for()
    page.get_by_text("numbers of").first.wait_for(state="hidden")
    flow.submit("double", 13).wait(60)
    page.get_by_role("group", name="socket double", exact=True).get_by_text("failed").first.wait_for()


def test_a_flow_is_duplicated_and_its_twin_deleted_from_the_panel(show: Any, flow: Flow) -> None:
    page, twin = show(), f"{flow.name}_twin"
    more = f"Rename, duplicate, clear or delete flow {flow.name}"
    row(page, flow).get_by_role("button", name=f"{more}/{flow.name}", exact=True).click()
    page.get_by_role("menuitem", name="Duplicate…").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(twin)
    page.get_by_role("dialog").get_by_role("button", name="Duplicate").click()
    made = panel(page).get_by_role("listitem").filter(has=page.get_by_role("button", name=twin, exact=True))
    made.get_by_text("stopped").wait_for()
    made.get_by_role("button", name=f"{more}/{twin}", exact=True).click()
    page.get_by_role("menuitem", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    made.wait_for(state="detached")
    assert not flow.folder.with_name(twin).exists()


def test_looking_at_a_stopped_flow_asks_before_it_starts_it(show: Any, flow: Flow) -> None:
    flow.stop()
    wait_for(lambda: not running(flow.folder))
    page = show()
    row(page, flow).get_by_role("button", name="Open").click()
    page.get_by_text(f"Flow {flow.name} is stopped.").wait_for()
    assert not running(flow.folder)
    page.locator(".ec-tab").get_by_role("button", name="Start").click()
    port(page, "Output of add_two").wait_for()
    assert running(flow.folder)


def abandoned(flow: Flow, gate: Path) -> int:
    """The engine of a flow whose call runs and whose next one waits, with no client but the pages."""
    os.mkfifo(gate)

    def read(path: str) -> str:
        return open(path).read()

    read.__module__ = "__main__"
    flow.declare(read, "read")
    flow.processor("main", cpus=1)
    requests = [flow.submit("read", str(gate)), flow.submit("double", 4)]
    wait_for(lambda: [request.state for request in requests] == ["running", "queued"])
    engine = flow._client.engine_pid
    flow.close()
    return engine


def test_a_tab_alone_starts_the_next_engine_after_a_kill_and_says_so(show: Any, flow: Flow, tmp_path: Path) -> None:
    engine = abandoned(flow, tmp_path / "gate")
    page = show()
    row(page, flow).get_by_role("button", name="Open flow").click()
    double = page.get_by_role("group", name="socket double", exact=True)
    double.get_by_text("queued").first.wait_for()
    overheard(page)
    os.kill(engine, signal.SIGKILL)
    wait_for(lambda: (probe.ask(flow.folder) or {}).get("engine", engine) != engine)
    page.wait_for_function("() => said.some(text => text.startsWith('The engine is gone and is being started again'))")
    page.locator(".ec-life").wait_for(state="hidden")
    (tmp_path / "gate").write_text("go")
    double.get_by_text("done").first.wait_for()


def test_a_flow_that_was_killed_with_nobody_there_is_not_started_by_a_look_but_by_a_click(
    show: Any, flow: Flow, tmp_path: Path
) -> None:
    os.kill(abandoned(flow, tmp_path / "gate"), signal.SIGKILL)
    wait_for(lambda: not running(flow.folder))
    page = show()
    mine = row(page, flow)
    mine.get_by_text("was killed").wait_for()
    mine.get_by_role("button", name="Open flow").click()
    tab = page.locator(".ec-tab")
    tab.get_by_text(f"the engine of flow '{flow.name}' was killed; 2 calls wait").wait_for()
    assert not running(flow.folder)
    tab.get_by_role("button", name="Start").click()
    double = page.get_by_role("group", name="socket double", exact=True)
    double.get_by_text("queued").first.wait_for()
    (tmp_path / "gate").write_text("go")
    double.get_by_text("done").first.wait_for()


def test_the_panel_alone_starts_no_engine_after_a_kill_and_says_so(show: Any, flow: Flow, tmp_path: Path) -> None:
    engine = abandoned(flow, tmp_path / "gate")
    page = show()
    mine = row(page, flow)
    mine.get_by_text("running", exact=True).wait_for()
    os.kill(engine, signal.SIGKILL)
    mine.get_by_text("was killed").wait_for()
    # a call that ran is queued again: nobody knows how far it was
    mine.get_by_text("2 queued").wait_for()
    assert not running(flow.folder)
    mine.get_by_role("button", name="Start flow").click()
    (tmp_path / "gate").write_text("go")
    mine.get_by_text("nothing to do").wait_for()


def test_a_tab_is_there_again_after_a_reload(show: Any, flow: Flow) -> None:
    page = show()
    with page.expect_response(lambda r: "/api/workspaces/" in r.url and r.request.method == "PUT"):
        row(page, flow).get_by_role("button", name="Open").click()
        port(page, "Output of add_two").wait_for()
    page.wait_for_load_state("networkidle")
    # the layout is written a moment after it changed
    wait_for(lambda: f"ec-jupyter:{key(flow)}" in saved_layouts(page))
    page.reload()
    ready(page)
    port(page, "Output of add_two").wait_for()


def saved_layouts(page: Any) -> str:
    return page.evaluate(
        "() => fetch(document.baseURI.split('/lab')[0] + '/lab/api/workspaces').then(answer => answer.text())"
    )


def test_the_status_bar_counts_the_flows_that_run_and_says_nothing_of_none(show: Any, flow: Flow, lab: Lab) -> None:
    # those that other tests have started stay for a while
    for place in lab.root.rglob(".ec_jupyter/*"):
        stop(place, place.name)
    flow.submit("double", 13).wait(60)
    page = show()
    status = page.locator(".ec-status")
    expect(status).to_have_text("1 flow running · 1 failed", use_inner_text=True, timeout=60_000)
    page.evaluate("key => jupyterapp.commands.execute('ec-jupyter:stop', {key})", key(flow))
    status.wait_for(state="hidden")


def test_the_palette_offers_its_commands_and_asks_which_flow(show: Any, flow: Flow) -> None:
    page = show()
    names = ["open…", "show panel", "stop engine"]
    commands = page.evaluate(
        "() => ['open', 'show-panel', 'stop'].map(n => jupyterapp.commands.label(`ec-jupyter:${n}`))"
    )
    assert commands == [f"Flow: {name}" for name in names]
    page.evaluate("() => void jupyterapp.commands.execute('ec-jupyter:open')")
    page.get_by_role("dialog").get_by_role("combobox").select_option(f"{flow.name}/{flow.name}")
    page.get_by_role("dialog").get_by_role("button", name="Ok").click()
    port(page, "Output of add_two").wait_for()


def test_the_panel_works_by_keyboard_and_says_what_happened(show: Any, flow: Flow) -> None:
    page = show()
    stop = row(page, flow).get_by_role("button", name="Stop the engine of flow")
    # Lab's launcher takes the focus when it comes
    page.locator(".jp-Launcher").wait_for()
    stop.focus()
    page.keyboard.press("Enter")
    panel(page).get_by_role("status").get_by_text(f"flow {flow.name} stopped").wait_for(state="attached")
    # the same button, not another one in its place
    page.wait_for_function("() => document.activeElement.textContent === 'Start'")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_text(f"Flow {flow.name} is stopped.").wait_for()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_panel_breaks_no_rule_of_accessibility(show: Any, flow: Flow, axe: str, theme: str) -> None:
    flow.submit("double", 13).wait(60)
    page = show(theme)
    row(page, flow).get_by_text("1 failed").wait_for()
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
    page.evaluate(axe)
    found = page.evaluate(
        "() => axe.run('.ec-panel').then(r => r.violations.map(v => [v.id, v.nodes[0].html, v.help]))"
    )
    assert found == []
    found = page.evaluate(
        "() => axe.run('.ec-status').then(r => r.violations.map(v => [v.id, v.nodes[0].html, v.help]))"
    )
    assert found == []


def test_nothing_is_added_to_notebooks(show: Any, lab: Lab, flow: Flow) -> None:
    empty = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    Path(lab.root / "plain.ipynb").write_text(json.dumps(empty))
    page = show()
    page.evaluate(
        "() => jupyterapp.commands.execute('docmanager:open',"
        " {path: 'plain.ipynb', kernelPreference: {autoStartDefault: false, shouldStart: false}})"
    )
    page.locator(".jp-NotebookPanel").wait_for()
    assert page.locator(".jp-NotebookPanel [class*='ec-']").count() == 0


def test_lab_tells_of_failures_and_of_the_end_of_a_flow_that_asks_for_it(flow: Flow, show: Any) -> None:
    flow.notify(to="lab")
    flow.notify("end", to="browser")
    page = show()
    page.evaluate(
        "() => { window.popped = []; window.Notification = class {"
        " static permission = 'granted'; constructor(title, { body }) { popped.push(body) } } }"
    )
    told = "key => Object.keys(localStorage).some(one => one.startsWith('ec-jupyter:told:') && one.endsWith(key))"
    page.wait_for_function(told, arg=flow.name)
    for x in (13, 1):
        flow.submit("double", x)
    flow.wait(60)
    page.locator(".Toastify__toast", has_text=f"flow '{flow.name}': 1 call has failed").wait_for()
    page.locator(".Toastify__toast", has_text=f"flow '{flow.name}' has ended its work: 1 done, 1 failed").wait_for()
    assert page.evaluate("popped") == [f"flow '{flow.name}' has ended its work: 1 done, 1 failed"]
