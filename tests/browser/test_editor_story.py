"""A run lights up, its calls as a timeline, and the flow as it was."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.attacks import ATTACKS, AWAY
from tests.browser.test_editor_look import violations

RUN = """() => {
  const now = Date.now() / 1000;
  const call = (socket, state, met, from, to, more = {}) =>
    flow.request(socket, state, {}, { met, started: now - from, finished: now - to, ...more }).id;
  const files = call('files', 'done', {}, 9, 8.6);
  const of = { run: files };
  const one = call('load', 'done', { path: [files] }, 8.5, 7.9, of);
  const two = call('load', 'done', { path: [files] }, 8.5, 7.4, { ...of, slot: 1 });
  const error = { type: 'ValueError', message: 'no words', traceback: 'Traceback' };
  const count = call('count', 'done', { text: [one] }, 7.8, 5, of);
  const failed = call('count', 'failed', { text: [two] }, 7.3, 6, { ...of, slot: 1, error });
  const long = call('longest', 'done', { text: [one] }, 5, 4.2, of);
  flow.arrive('report', 'longest', 'word', files, long);
  const other = call('total', 'done', {}, 3, 2);
  return { run: files, two, failed, other };
}"""
LIT = re.compile(r"\bec-lit\b")


@pytest.fixture
def told(editor_page):
    """A picture of a flow with two runs, one of which has a failure and a value that waits."""
    picture = editor_page("six", size=(1300, 860))
    picture.ids = picture.page.evaluate(RUN)
    expect(picture.button("1 failed at count")).to_be_visible()
    return picture


def lit(picture, *names):
    for name in ("files", "load", "count", "longest", "total", "report"):
        card = expect(picture.card(name))
        card.to_have_class(LIT) if name in names else card.not_to_have_class(LIT)


def toolbar(picture, name):
    return picture.page.locator(".ec-toolbar").get_by_role("button", name=name, exact=True)


def open_run(picture, run):
    toolbar(picture, "Runs").click()
    picture.panel("Runs").get_by_role("button", name=re.compile(f"run {run} ")).click()
    return picture.panel(f"Story of run {run}")


def bar(picture):
    return picture.page.get_by_role("region", name="What is lit up")


# -- the way of a run -----------------------------------------------------------
def test_run_of_the_list_lights_up_its_way_and_escape_shows_all_again(told):
    panel = open_run(told, told.ids["run"])
    lit(told, "files", "load", "count", "longest", "report")
    expect(bar(told)).to_contain_text("failed · 5 done, 1 failed · 1 value waits")
    expect(told.plug("files load path result").locator(".ec-line")).to_have_class(LIT)
    expect(told.plug("total report total result").locator(".ec-line")).not_to_have_class(LIT)
    expect(told.canvas.get_by_role("button", name=f"1 failed at count in run {told.ids['run']}")).to_be_visible()
    expect(panel.get_by_role("button", name=re.compile("waits at longest of report"))).to_be_visible()
    told.page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    lit(told, "files", "load", "count", "longest", "report")
    told.page.keyboard.press("Escape")
    expect(bar(told)).to_have_count(0)
    lit(told)
    expect(told.button("1 failed at count")).to_be_visible()


def test_story_says_which_value_met_which(told):
    panel = open_run(told, told.ids["run"])
    calls = panel.get_by_role("list", name=f"Calls of run {told.ids['run']}").get_by_role("button")
    expect(calls).to_have_count(6)
    expect(calls.nth(4)).to_contain_text(f"text ← load #{told.ids['two']}")
    calls.nth(4).click()
    expect(told.panel(f"Request {told.ids['failed']} of count")).to_contain_text("ValueError: no words")


def test_request_lights_up_what_it_came_from_and_led_to(told):
    told.button("1 failed at count").click()
    told.panel("Failed requests of count").get_by_role("button", name=f"request {told.ids['failed']}").click()
    panel = told.panel(f"Request {told.ids['failed']} of count")
    panel.get_by_role("button", name="Its way").click()
    expect(bar(told)).to_contain_text(f"Request {told.ids['failed']}")
    lit(told, "files", "load", "count")
    bar(told).get_by_role("button", name="Whole run").click()
    lit(told, "files", "load", "count", "longest", "report")
    told.button("Show all of the flow").click()
    lit(told)


def test_value_on_a_card_leads_to_its_run(told):
    made = told.gives("longest", "words", run=told.ids["run"], met={"text": [told.ids["two"]]})
    expect(told.last("longest")).to_contain_text("words")
    told.last("longest").locator("button").click()
    panel = told.panel("Values of longest")
    expect(panel.get_by_role("button", name=f"Request {made}: what it got")).to_be_visible()
    panel.get_by_role("button", name="Its run").click()
    lit(told, "files", "load", "count", "longest", "report")


def test_lit_run_goes_on_while_somebody_looks(told):
    open_run(told, told.ids["run"])
    expect(bar(told)).to_contain_text("5 done, 1 failed")
    told.flow(f"request('total', 'done', {{}}, {{run: {told.ids['run']}, started: 1, finished: 2}})")
    told.flow(f"request('count', 'done', {{}}, {{run: {told.ids['run']}, started: 1, finished: 2}})")
    expect(bar(told)).to_contain_text("7 done, 1 failed")
    lit(told, "files", "load", "count", "longest", "report", "total")


def test_runs_are_searched_and_paged_by_the_engine(told):
    told.page.evaluate("() => { for (let at = 0; at < 70; at++) flow.request('total', 'done') }")
    told.button("Runs").click()
    panel = told.panel("Runs")
    rows = panel.get_by_role("list", name="Runs").get_by_role("button")
    expect(rows).to_have_count(50)
    panel.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(72)
    expect(panel.get_by_role("button", name="Older")).to_have_count(0)
    panel.get_by_label("find").fill("file")
    expect(rows).to_have_count(1)
    panel.get_by_label("find").fill(str(told.ids["two"]))
    expect(rows).to_have_text([re.compile(f"run {told.ids['run']} ")])
    panel.get_by_label("find").fill("")
    panel.get_by_label("state").select_option("failed")
    expect(rows).to_have_count(1)
    assert {"limit": 50, "find": "file"} in told.asked("runs")
    assert told.asked("runs")[-1] == {"limit": 50, "state": "failed"}


# -- the timeline ------------------------------------------------------------------
def timeline(picture):
    toolbar(picture, "Timeline").click()
    canvas = picture.page.get_by_role("img", name=re.compile("^Timeline of"))
    expect(canvas).to_be_visible()
    return canvas


def in_view(picture, text):
    expect(picture.page.locator(".ec-bar-table caption")).to_contain_text(re.compile(text))


def test_bar_leads_to_its_request(editor_page, fetched):
    picture = editor_page()
    made = picture.gives("count", 41)
    assert "/static/timeline.js" not in fetched
    canvas = timeline(picture)
    assert "/static/timeline.js" in fetched
    in_view(picture, "1 in view")
    box = canvas.bounding_box()
    # the one bar is as long as the view
    picture.page.mouse.click(box["x"] + 128 + (box["width"] - 128) / 2, box["y"] + 22 + 10)
    expect(picture.panel(f"Request {made} of count")).to_be_visible()


def test_timeline_zooms_and_pans_by_wheel_drag_and_keys(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => flow.worked(400)")
    canvas = timeline(picture)
    in_view(picture, "^400 in view")
    box = canvas.bounding_box()
    middle = box["x"] + 128 + (box["width"] - 128) / 2, box["y"] + box["height"] / 2
    # until it was clicked the wheel is the page's
    picture.page.mouse.move(*middle)
    picture.page.mouse.wheel(0, -800)
    picture.page.mouse.move(middle[0] + 3, middle[1])
    in_view(picture, "^400 in view")
    canvas.focus()
    for _ in range(3):
        picture.page.keyboard.press("+")
    in_view(picture, r"^1\d\d in view")
    first = picture.page.locator(".ec-bar-table tbody tr").first
    before = first.inner_text()
    picture.page.keyboard.press("ArrowRight")
    expect(first).not_to_have_text(before)
    picture.page.keyboard.press("Home")
    in_view(picture, "^400 in view")
    picture.page.mouse.wheel(0, -400)
    in_view(picture, r"^1\d\d in view")
    before = first.inner_text()
    picture.page.mouse.down()
    picture.page.mouse.move(middle[0] - 150, middle[1], steps=4)
    picture.page.mouse.up()
    expect(first).not_to_have_text(before)
    expect(picture.panel("Timeline")).to_be_visible()


def test_ten_thousand_bars_are_drawn_and_older_ones_loaded(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => flow.worked(12000, 8)")
    canvas = timeline(picture)
    in_view(picture, "^10,000 in view")
    canvas.focus()
    for key in ("+", "ArrowRight", "ArrowDown", "-", "Home"):
        picture.page.keyboard.press(key)
    picture.button("Load older calls").click()
    in_view(picture, "^12,000 in view")
    expect(picture.button("Load older calls")).to_have_count(0)
    # something is drawn in the colours of its sockets
    drawn = canvas.evaluate(
        "canvas => new Set(new Uint32Array(canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"
    )
    assert drawn > 4


def test_timeline_of_a_run_has_its_calls_alone_and_its_table_opens_them(told):
    open_run(told, told.ids["run"])
    bar(told).get_by_role("button", name="Timeline").click()
    panel = told.panel(f"Timeline of run {told.ids['run']}")
    in_view(told, "^6 in view")
    row = panel.get_by_role("row").filter(has_text="failed")
    expect(row).to_contain_text("fast · local 1")
    row.get_by_role("button").click()
    expect(told.panel(f"Request {told.ids['failed']} of count")).to_be_visible()


# -- the past ------------------------------------------------------------------------
@pytest.fixture
def aged(editor_page):
    """A picture of a flow that was edited, and worked before and after that."""
    picture = editor_page()
    picture.page.evaluate(
        "() => { flow.give('load', {text: '\"old\"', type: 'str', size: 3});"
        " Object.assign(flow.requests[0], {created: Date.now() / 1000 - 5000, started: Date.now() / 1000 - 4990,"
        " finished: Date.now() / 1000 - 4980});"
        " flow.command('edit', {changes: [{op: 'plug', source: 'count', target: 'scale', argument: 'x'}]});"
        " flow.history[0].time = Date.now() / 1000 - 3000;"
        " flow.fail('scale', 'ValueError', 'no') }"
    )
    expect(picture.plug("count scale x result")).to_have_count(1)
    picture.button("Past: the flow as it was").click()
    expect(picture.page.get_by_label("Time", exact=True)).to_be_focused()
    return picture


def banner(picture):
    return picture.page.get_by_role("region", name="This is the past")


def test_slider_shows_wiring_counts_and_values_of_then_and_one_button_leads_back(aged):
    aged.page.keyboard.press("PageDown")
    expect(banner(aged)).to_contain_text("This is the past")
    expect(aged.button("1 failed at scale")).to_have_count(0)
    expect(aged.plug("count scale x result")).to_have_count(1)
    aged.button("Edit before").click()
    expect(banner(aged)).to_contain_text("plug count -> scale.x")
    aged.page.get_by_label("Time", exact=True).focus()
    aged.page.keyboard.press("PageDown")
    expect(aged.plug("count scale x result")).to_have_count(0)
    expect(aged.button("1 done at load")).to_be_visible()
    expect(aged.last("load")).to_contain_text("old")
    aged.page.keyboard.press("Home")
    expect(aged.button("1 done at load")).to_have_count(0)
    # what happens meanwhile is there afterwards
    aged.flow("request('join', 'running')")
    banner(aged).get_by_role("button", name="Back to now").click()
    expect(banner(aged)).to_have_count(0)
    expect(aged.button("1 running at join")).to_be_visible()
    expect(aged.button("1 failed at scale")).to_be_visible()
    expect(aged.plug("count scale x result")).to_have_count(1)


def test_nothing_can_be_changed_in_the_past(aged):
    aged.page.keyboard.press("PageDown")
    expect(banner(aged)).to_be_visible()
    expect(aged.button("Undo")).to_be_disabled()
    expect(aged.button("Run load")).to_be_hidden()
    aged.card("load").focus()
    for key in ("Delete", "Enter", "Control+z"):
        aged.page.keyboard.press(key)
        expect(aged.said).to_contain_text("this is the past")
    aged.drag(aged.card("load").locator(".ec-name"), aged.processor("gpu"))
    aged.output("load").click()
    aged.argument("one", "join").click()
    expect(aged.page.locator(".ec-refusal")).to_contain_text(re.compile("this is the past|does not fit"))
    ops = {one["op"] for one in aged.page.evaluate("() => flow.asked")}
    assert ops <= {"edit", "since", "past", "preview", "requests"}
    assert len(aged.asked("edit")) == 1
    aged.page.keyboard.press("Escape")
    aged.page.keyboard.press("Escape")
    expect(banner(aged)).to_have_count(0)
    aged.page.keyboard.press("Escape")
    expect(aged.page.get_by_label("Time", exact=True)).to_have_count(0)


# -- for everybody, and for nobody's script ---------------------------------------------
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_in_runs_story_timeline_and_past(editor_page, axe, theme):
    picture = editor_page("six", theme=theme, size=(1300, 860))
    ids = picture.page.evaluate(RUN)
    picture.button("Runs").click()
    expect(picture.panel("Runs").get_by_role("button", name=re.compile("run 1 "))).to_be_visible()
    assert violations(picture, axe) == []
    open_run(picture, ids["run"])
    expect(picture.panel(f"Story of run {ids['run']}").get_by_role("listitem")).to_have_count(6)
    assert violations(picture, axe) == []
    bar(picture).get_by_role("button", name="Timeline").click()
    in_view(picture, "^6 in view")
    assert violations(picture, axe) == []
    picture.button("Past: the flow as it was").click()
    picture.page.get_by_label("Time", exact=True).press("PageDown")
    expect(banner(picture)).to_contain_text("revision")
    assert violations(picture, axe) == []


def test_names_and_errors_in_a_story_run_nowhere(editor_page, page_address, fetched):
    picture = editor_page()
    attacks = [attack.replace(AWAY, f"{page_address}hit") for attack in ATTACKS]
    picture.page.evaluate(
        "attacks => attacks.forEach((text, at) => {"
        " flow.graph.sockets[text] = structuredClone(flow.graph.sockets.load);"
        " flow.request(text, 'failed', {}, {error: {type: text, message: text, traceback: text}, met: {[text]: [1]},"
        " run: 1, started: 10 + at, finished: 11 + at});"
        " flow.history.push({before: structuredClone(flow.graph), text, time: Date.now() / 1000 - 40 + at}) })",
        attacks,
    )
    panel = open_run(picture, 1)
    expect(panel.get_by_role("listitem")).to_have_count(len(ATTACKS))
    bar(picture).get_by_role("button", name="Timeline").click()
    canvas = picture.page.get_by_role("img", name=re.compile("^Timeline of"))
    in_view(picture, f"^{len(ATTACKS)} in view")
    box = canvas.bounding_box()
    for part in range(1, 10):
        picture.page.mouse.move(box["x"] + 128 + part * (box["width"] - 128) / 10, box["y"] + 32)
    expect(picture.page.locator(".ec-bar-tip")).to_contain_text("<")
    picture.button("Past: the flow as it was").click()
    picture.page.get_by_label("Time", exact=True).press("PageDown")
    picture.button("Edit before").click()
    expect(banner(picture)).to_contain_text("<")
    assert picture.page.evaluate("() => window.hit") is None
    assert {path.rpartition("/")[2] for path in fetched}.isdisjoint({"hit", "x", "1"})
