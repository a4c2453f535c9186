"""Nodes in the picture: the strip, their panel, the outline, and the nodes of a processor."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_editor_look import violations

AWAY = "{state: 'away', since: new Date(2026, 0, 2, 14, 2) / 1000, error: 'nothing heard for 15 s'}"
UP = (
    "{state: 'up', cpus: 8, host: 'me@hpc', python: '3.11.9', version: '0.1.0', round_trip: 0.0123,"
    " memory: {used: 3.1e9, total: 16e9}, error: null}"
)


def strip(picture):
    return picture.page.get_by_role("list", name="Nodes").get_by_role("listitem")


def add(picture, name, host="", **fields):
    picture.button("Add a node").click()
    panel = picture.panel("Add a node")
    for label, text in {"Name": name, "Host": host, **fields}.items():
        panel.get_by_label(label).fill(text)
    panel.get_by_role("button", name="Add", exact=True).click()


def test_a_node_is_added_and_its_state_follows_in_words(editor_page):
    picture = editor_page()
    add(picture, "hpc", "me@hpc", CPUs="8", Requirements="numpy>=2  pandas")
    expect(strip(picture)).to_have_text(["local0/8", "hpc0/8starting"])
    assert picture.asked("node") == [
        {"name": "hpc", "host": "me@hpc", "cpus": 8, "requirements": ["numpy>=2", "pandas"]}
    ]
    panel = picture.panel("Node hpc")
    expect(panel).to_contain_text("starting")
    picture.flow("node('hpc', {note: 'installing pandas'})")
    expect(panel).to_contain_text("starting · installing pandas")
    picture.flow(f"node('hpc', {UP})")
    expect(strip(picture)).to_have_text(["local0/8", "hpc0/8"])
    picture.flow(f"node('hpc', {AWAY})")
    since = picture.page.evaluate(
        "() => new Date(2026, 0, 2, 14, 2).toLocaleTimeString([], {hour: '2-digit', minute: '2-digit'})"
    )
    expect(strip(picture).nth(1)).to_have_text(f"hpc0/8away since {since}")
    expect(panel).to_contain_text("nothing heard for 15 s")


def test_a_click_on_a_node_tells_all_there_is_to_know_of_it(editor_page):
    picture = editor_page()
    add(picture, "hpc", "me@hpc", Requirements="pandas")
    picture.button("Close").click()
    picture.flow(f"node('hpc', {UP})")
    strip(picture).nth(1).get_by_role("meter").click()
    panel = picture.panel("Node hpc")
    for text in ("me@hpc", "3.1 GB of 16 GB", "12 ms", "3.11.9", "0.1.0", "0/8", "pandas"):
        expect(panel).to_contain_text(text)
    picture.button("Node local: up").click()
    expect(picture.panel("Node local")).to_contain_text("0/8")
    expect(picture.panel("Node local").get_by_role("button", name="Remove")).to_have_count(0)


def test_what_is_no_host_is_said_in_place_and_what_was_typed_stays(editor_page):
    picture = editor_page()
    add(picture, "hpc", "-oProxyCommand=x")
    panel = picture.panel("Add a node")
    expect(panel.get_by_role("alert")).to_contain_text("is no host")
    expect(panel.get_by_label("Name")).to_have_value("hpc")
    expect(strip(picture)).to_have_count(1)


def test_a_node_that_is_down_is_tried_again_and_can_be_removed(editor_page):
    picture = editor_page("six")
    picture.button("Node lab2: down").click()
    panel = picture.panel("Node lab2")
    expect(panel).to_contain_text("host refuses")
    panel.get_by_role("button", name="Try again").click()
    expect(panel).to_contain_text("starting")
    assert picture.asked("node") == [{"name": "lab2"}]
    panel.get_by_role("button", name="Remove").click()
    expect(strip(picture)).to_have_count(1)
    expect(panel).to_have_count(0)
    picture.button("Undo").click()
    expect(strip(picture)).to_have_count(2)


def test_a_processor_is_put_on_nodes_and_its_group_names_them(editor_page):
    picture = editor_page("six")
    picture.button("Details of processor fast").click()
    panel = picture.panel("Processor fast")
    expect(panel.get_by_label("CPUs on local")).to_have_value("2")
    panel.get_by_role("checkbox", name="Run on lab2").check()
    panel.get_by_role("button", name="Resize").click()
    expect(picture.processor("fast")).to_contain_text("local 2, lab2 all (down)")
    assert picture.asked("edit")[-1] == {
        "changes": [{"op": "processor", "name": "fast", "cpus": None, "nodes": {"local": 2, "lab2": None}}]
    }
    panel.get_by_role("checkbox", name="Run on local").uncheck()
    panel.get_by_label("CPUs on lab2").fill("5")
    panel.get_by_role("button", name="Resize").click()
    expect(picture.said).to_have_text("fast has 5 CPUs on lab2")
    assert picture.asked("edit")[-1]["changes"][0]["nodes"] == {"lab2": 5}
    picture.flow("node('lab2', {state: 'up', error: null})")
    expect(picture.processor("fast")).to_contain_text("· lab2")
    panel.get_by_role("checkbox", name="Run on lab2").uncheck()
    panel.get_by_role("button", name="Resize").click()
    expect(panel.get_by_role("alert")).to_have_text("choose a node at least")


def test_the_outline_lists_nodes_and_opens_them_by_keyboard(editor_page):
    picture = editor_page("six")
    picture.button("Outline").click()
    row = picture.page.get_by_role("treeitem").filter(has_text="lab2")
    expect(row).to_contain_text("node, down, 0/32 CPUs: host refuses")
    row.focus()
    picture.page.keyboard.press("Enter")
    picture.choose("Details")
    expect(picture.panel("Node lab2")).to_be_visible()


def test_a_node_is_found_by_search(editor_page):
    picture = editor_page("six")
    picture.search("node lab2")
    expect(picture.panel("Node lab2")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("opener", ["Node lab2: down", "Add a node", "Details of processor fast"])
def test_axe_finds_no_violation_where_nodes_are_shown(editor_page, axe, theme, opener):
    picture = editor_page("six", theme=theme)
    picture.button("Outline").click()
    # the picture makes room for the outline, and may be moving
    picture.button(opener).dispatch_event("click")
    expect(picture.page.locator(".ec-panel")).to_be_visible()
    assert violations(picture, axe) == []
