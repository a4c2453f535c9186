"""What runs, waits and failed, seen and mended in the picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("metrics()", "idle"),
        ("request('count', 'queued')", "queued"),
        ("request('count', 'running')", "running"),
        ("request('count', 'done')", "done"),
        ("fail('count', 'ValueError', 'no')", "failed"),
    ],
)
def test_card_says_its_state_in_a_word_with_a_sign(editor_page, script, state):
    picture = editor_page()
    picture.flow(script)
    word = picture.card("count").locator(".ec-state")
    expect(word).to_have_text(state)
    expect(word.locator("svg")).to_be_visible()


def test_counts_follow_the_flow_and_say_what_they_count(editor_page):
    picture = editor_page()
    for _ in range(3):
        picture.flow("request('count', 'queued')")
    expect(picture.button("3 queued at count")).to_have_text("3")
    # what is zero says nothing
    expect(picture.card("count").locator(".ec-count")).to_have_count(1)


def test_port_shows_its_type_default_and_doc(editor_page):
    picture = editor_page()
    expect(picture.card("scale")).to_contain_text("byfloat = 2.0")
    expect(picture.argument("by", "scale")).to_have_accessible_description("float, default 2.0. Multiply")
    expect(picture.argument("x", "scale")).to_have_accessible_description("float, required. Multiply")
    expect(picture.output("scale")).to_have_accessible_description(
        "float. Drag onto an argument, click and then click an argument, or press Enter."
    )


def test_stale_and_parked_tasks_are_marked(editor_page):
    picture = editor_page("six")
    expect(picture.card("load").get_by_title("Changed since the cell ran: ROOT")).to_have_text("stale")
    picture.page.evaluate(
        "() => { const next = structuredClone(flow.graph); next.sockets.total.task.parked = true; flow.show(next) }"
    )
    expect(picture.card("total").locator(".ec-state")).to_have_text("parked")


def test_mark_of_an_argument_lists_what_waits_and_supplying_the_rest_makes_the_call(editor_page):
    picture = editor_page()
    picture.flow("arrive('join', 'one', 41, 7, 'count')")
    mark = picture.button("1 waiting at one of join")
    expect(mark).to_have_text("1")
    mark.click()
    panel = picture.panel("Waiting at one of join")
    expect(panel.get_by_label("Value of one", exact=True)).to_have_text("41")
    expect(panel).to_contain_text("from count · 2 min ago")
    expect(panel).to_contain_text("two not here yet")
    panel.get_by_label("Value for two").fill("no number")
    panel.get_by_role("button", name="Supply").click()
    expect(panel.get_by_role("alert")).to_have_text("two: no number is no JSON and no Python literal")
    panel.get_by_label("Value for two").fill("2.5")
    panel.get_by_role("button", name="Supply").click()
    expect(picture.button("1 queued at join")).to_be_visible()
    expect(mark).to_have_count(0)
    expect(panel).to_contain_text("Nothing waits here.")
    assert picture.asked("supply")[-1] == {"socket": "join", "party": 7, "tag": "", "argument": "two", "text": "2.5"}


def test_waiting_value_is_discarded(editor_page):
    picture = editor_page()
    picture.flow("arrive('join', 'one', 41)")
    picture.button("1 waiting at one of join").click()
    picture.button("Discard value of one").click()
    expect(picture.button("1 waiting at one of join")).to_have_count(0)
    assert picture.flow("arrivals") == []


def test_what_is_set_aside_says_why_and_waits_again_or_goes(editor_page):
    picture = editor_page()
    picture.flow("arrive('join', 'one', 41)")
    picture.flow("arrivals.push({...flow.arrivals[0], id: 99, party: 2})")
    why = "it cannot be read (ValueError: no tag)"
    picture.page.evaluate("why => { for (const one of flow.arrivals) one.aside = why; flow.onCounts() }", why)
    picture.button("2 waiting at one of join").click()
    panel = picture.panel("Waiting at one of join")
    expect(panel.get_by_text(f"Set aside: {why}")).to_have_count(2)
    expect(panel.get_by_label("Value for two")).to_have_count(0)
    panel.get_by_role("button", name="Retry").first.click()
    expect(picture.said).to_have_text("waits again at join")
    expect(panel.get_by_text("Set aside")).to_have_count(1)
    expect(panel.get_by_label("Value for two")).to_have_count(1)
    panel.get_by_role("button", name="Discard value of one").last.click()
    expect(panel.get_by_text("Set aside")).to_have_count(0)
    assert picture.asked("retry") == [{"arrivals": [picture.flow("arrivals[0].id")]}]
    assert picture.asked("discard") == [{"arrivals": [99]}]


def test_card_of_a_socket_that_is_set_aside_has_a_sign_with_the_reason(editor_page):
    picture = editor_page()
    why = "socket 'count' is set aside: it cannot be read (KeyError: 'name'); to declare 'count' again takes it back"
    picture.page.evaluate("why => { flow.asides = { count: why }; flow.onCounts() }", why)
    sign = picture.card("count").get_by_title(why)
    expect(sign).to_have_text("aside")
    expect(sign.locator("svg")).to_be_visible()
    picture.card("count").locator(".ec-name").dblclick()
    expect(picture.panel("Socket count").get_by_text(why)).to_be_visible()


def test_failed_count_leads_to_the_traceback_and_retry(editor_page):
    picture = editor_page()
    picture.flow("fail('scale', 'ZeroDivisionError', 'division by zero', {x: 0})")
    picture.button("1 failed at scale").click()
    picture.panel("Failed requests of scale").get_by_role("button", name="request 1").click()
    panel = picture.panel("Request 1 of scale")
    expect(panel.get_by_label("Traceback")).to_contain_text('File "flow.ipynb", line 3, in scale')
    expect(panel.get_by_label("Value of x")).to_have_text("0")
    expect(panel.get_by_label("Output")).to_have_text("dividing")
    panel.get_by_role("button", name="Retry").click()
    expect(picture.said).to_have_text("one request runs again")
    expect(picture.button("1 queued at scale")).to_be_visible()
    expect(picture.button("1 failed at scale")).to_have_count(0)
    expect(panel).to_contain_text("queued")


def test_all_failed_requests_are_retried_at_once(editor_page):
    picture = editor_page()
    for _ in range(3):
        picture.flow("fail('scale', 'ValueError', 'no')")
    picture.button("3 failed at scale").click()
    picture.panel("Failed requests of scale").get_by_role("button", name="Retry all failed").click()
    expect(picture.said).to_have_text("3 requests run again")
    expect(picture.panel("Failed requests of scale")).to_contain_text("None.")


def test_socket_is_run_from_a_form_and_its_result_shown(editor_page):
    picture = editor_page()
    picture.button("Run scale").click()
    form = picture.panel("Run scale")
    expect(form.get_by_label("by")).to_have_attribute("placeholder", "default: 2.0")
    form.get_by_label("x").fill("four")
    form.get_by_role("button", name="Run").click()
    expect(form.get_by_role("alert")).to_have_text("x: four is no JSON and no Python literal")
    form.get_by_label("x").fill("")
    form.get_by_label("x").press("Enter")
    # nothing is sent without what it needs, and the field says so
    assert form.get_by_label("x").evaluate("field => field.matches(':invalid') && document.activeElement === field")
    assert len(picture.asked("submit")) == 1
    form.get_by_label("x").fill("4")
    form.get_by_label("x").press("Enter")
    panel = picture.panel("Request 1 of scale")
    expect(panel).to_contain_text("queued")
    picture.flow("finish(1, 8)")
    expect(panel.locator(".ec-large")).to_contain_text("8")


def test_run_form_refuses_an_empty_field_until_it_is_told_that_the_rest_will_come(editor_page):
    picture = editor_page()
    picture.button("Run join").click()
    form = picture.panel("Run join")
    form.get_by_label("one").fill("1")
    form.get_by_label("one").press("Enter")
    expect(form.get_by_label("two")).to_be_focused()
    assert picture.asked("submit") == []
    form.get_by_label("The rest will come").check()
    form.get_by_label("one").press("Enter")
    expect(picture.said).not_to_be_empty()
    assert picture.asked("submit") == [{"socket": "join", "arguments": {"one": "1"}, "partial": True}]


def test_how_far_a_task_says_it_is_is_a_strip_on_its_card_and_a_line_of_its_request(editor_page):
    picture = editor_page()
    picture.flow("request('scale', 'running')")
    expect(picture.button("1 running at scale")).to_be_visible()
    strip = picture.card("scale").get_by_role("progressbar", name="Progress of scale")
    expect(strip).to_have_count(0)
    picture.flow("say(1, 3, 10, 'fold two')")
    expect(strip).to_be_visible()
    expect(strip).to_have_attribute("title", "3 of 10 · fold two")
    assert strip.evaluate("bar => bar.position") == 0.3
    picture.button("1 running at scale").click()
    row = picture.panel("Running requests of scale").get_by_role("button", name="request 1")
    expect(row).to_contain_text("3 of 10 · fold two")
    row.click()
    panel = picture.panel("Request 1 of scale")
    expect(panel.get_by_role("progressbar", name="Progress of request 1")).to_be_visible()
    expect(panel).to_contain_text("3 of 10 · fold two")
    picture.flow("say(1, 7, 10)")
    expect(panel).to_contain_text("7 of 10")
    picture.button("Outline").click()
    expect(picture.page.get_by_role("treeitem").filter(has_text="scale").first).to_contain_text("7 of 10")
    # of a total that nobody knows only what is through is said
    picture.flow("say(1, 8)")
    expect(strip).to_have_attribute("title", "8")
    assert strip.evaluate("bar => bar.position") == -1
    picture.flow("finish(1, 8)")
    expect(strip).to_have_count(0)
    expect(panel.get_by_role("progressbar")).to_have_count(0)


def test_pausing_a_processor_shows_on_it_and_on_its_sockets(editor_page):
    picture = editor_page()
    picture.button("Pause processor gpu").click()
    expect(picture.processor("gpu")).to_contain_text("paused")
    expect(picture.card("join").locator(".ec-state")).to_have_text("paused")
    picture.button("Resume processor gpu").click()
    expect(picture.card("join").locator(".ec-state")).to_have_text("idle")


def test_pause_by_somebody_else_is_seen_at_once_though_no_number_comes_and_is_undone_in_its_place(editor_page):
    picture = editor_page()
    picture.flow("request('load', 'done')")
    expect(picture.button("1 done at load")).to_be_visible()
    # an idle flow tells no new numbers
    picture.page.evaluate("() => { const known = flow.metrics(); flow.metrics = () => known }")
    picture.page.evaluate("() => flow.op_pause({ processors: ['gpu'] })")
    expect(picture.processor("gpu")).to_contain_text("paused")
    picture.button("Resume processor gpu").click()
    expect(picture.button("Pause processor gpu")).to_be_visible()


def test_rates_and_latency_are_shown_on_demand(editor_page):
    picture = editor_page()
    assert picture.asked("rates") == []
    picture.button("Rates and latency").click()
    expect(picture.card("load").locator(".ec-rates")).to_have_text("0/s · 12 ms · 450 ms")
    picture.button("Rates and latency").click()
    expect(picture.card("load")).to_contain_text("Read one text file")


def test_strip_shows_each_node_with_its_cpus_and_what_is_wrong_with_it(editor_page):
    picture = editor_page("six")
    picture.flow("request('load', 'running')")
    nodes = picture.page.get_by_role("list", name="Nodes").get_by_role("listitem")
    expect(nodes).to_have_text(["local1/8", "lab20/32down"])


def test_code_of_the_flow_is_shown_to_copy(editor_page):
    picture = editor_page()
    picture.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    picture.button("Export").click()
    picture.choose("Code of this flow")
    picture.panel("Code of this flow").get_by_role("button", name="Copy").click()
    expect(picture.said).to_have_text("code copied")
    assert picture.page.evaluate("navigator.clipboard.readText()") == 'flow.plug("load", "count.text")'


def test_flow_is_taken_away_as_svg_as_png_and_as_json(editor_page):
    picture = editor_page()

    def taken(kind):
        picture.button("Export").click()
        with picture.page.expect_download() as saved:
            picture.choose(f"Download as {kind}")
        return saved

    assert taken("SVG").value.suggested_filename == "demo.svg"
    png = taken("PNG")
    assert png.value.suggested_filename == "demo.png"
    data = Path(png.value.path()).read_bytes()
    # twice as fine as the SVG, which has 320 by 200
    assert (data[:8], data[16:24]) == (b"\x89PNG\r\n\x1a\n", (640).to_bytes(4) + (400).to_bytes(4))
    saved = taken("JSON")
    assert saved.value.suggested_filename == "demo.json"
    assert json.loads(Path(saved.value.path()).read_text())["plugs"][0]["source"] == "load"


def test_history_lists_edits_and_what_was_undone(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.said).to_have_text("plugged count → join.one")
    picture.button("Undo").click()
    picture.button("History of edits").click()
    expect(picture.panel("History of edits").get_by_role("listitem")).to_contain_text("1 plug count -> join.one")
    expect(picture.panel("History of edits").get_by_role("listitem")).to_contain_text("undone")
