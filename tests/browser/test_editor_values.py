"""The last value of each socket on its card, all of a socket's in a panel, and nothing of them that runs."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.attacks import ATTACKS, AWAY, Html, Svg, Worded
from tests.browser.conftest import shown
from tests.browser.test_editor_look import violations


def test_card_shows_what_its_socket_does_until_there_is_a_value(editor_page):
    picture = editor_page()
    expect(picture.last("count")).to_have_text("Count its words")
    picture.gives("count", 41)
    expect(picture.last("count").locator(".ec-short")).to_have_text("41")
    picture.gives("count", 42)
    expect(picture.last("count").locator(".ec-short")).to_have_text("42")


def test_short_text_stands_as_it_is_and_a_long_one_is_cut_on_the_card_and_whole_in_the_panel(editor_page):
    picture = editor_page()
    picture.gives("load", "data.txt")
    expect(picture.last("load").locator(".ec-short")).to_have_text("data.txt")
    picture.gives("load", "word " * 300)
    words = picture.last("load").locator("pre")
    expect(words).to_be_visible()
    assert len(words.inner_text()) <= 400
    picture.button("Last value of load: '" + "word " * 15 + "word").click()
    expect(picture.panel("Values of load").get_by_label("Value", exact=True)).to_have_text(("word " * 300).strip())


@pytest.mark.parametrize(
    ("value", "cells", "size"),
    [
        ({"times": 2, "best": 1}, ["times", "2", "best", "1"], "2 entries"),
        (
            [{"word": "a", "n": 1}, {"word": "b", "n": 2}],
            ["word", "n", "0", "a", "1", "1", "b", "2"],
            "2 rows \u00d7 2 columns",
        ),
    ],
)
def test_table_is_small_on_the_card_and_says_how_large_it_is(editor_page, value, cells, size):
    picture = editor_page()
    picture.gives("join", value)
    expect(picture.last("join").locator("th, td:not(:empty)")).to_have_text(cells)
    expect(picture.last("join").locator(".ec-shape")).to_have_text(size)


def test_numbers_are_a_line_with_their_shape(editor_page):
    picture = editor_page()
    picture.gives("join", [float(at % 7) for at in range(1000)])
    expect(picture.last("join").locator(".ec-spark-line")).to_be_visible()
    expect(picture.last("join").locator(".ec-shape")).to_have_text("list 1,000 · 0 to 6")


def test_image_and_drawing_are_shown_as_images(editor_page):
    picture = editor_page()
    picture.gives(
        "join",
        Svg('<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"/>'),
    )
    image = picture.last("join").locator("img")
    expect(image).to_be_visible()
    picture.page.wait_for_function("() => document.querySelector('.ec-last img').naturalWidth === 60")


def test_html_stands_in_a_frame_without_scripts_and_without_the_pages_origin(editor_page):
    picture = editor_page()
    picture.gives("join", Html("<h3>Report</h3><script>document.body.textContent = 'ran'</script>"))
    frame = picture.last("join").locator("iframe")
    expect(frame).to_have_attribute("sandbox", "")
    expect(picture.last("join").frame_locator("iframe").get_by_role("heading")).to_have_text("Report")


def test_why_there_is_nothing_better_than_the_text_is_said(editor_page):
    picture = editor_page()
    picture.gives("join", Html("x" * 100_000))
    picture.last("join").locator("button").click()
    expect(picture.panel("Values of join")).to_contain_text("its text/html is too large to be shown")


def test_values_of_a_run_are_paged_through(editor_page):
    picture = editor_page()
    for at in range(5):
        picture.gives("count", 10 + at, run=1 + at % 2)
    expect(picture.last("count").locator(".ec-short")).to_have_text("14")
    picture.last("count").locator("button").click()
    panel = picture.panel("Values of count")
    place = panel.get_by_role("status")
    expect(place).to_have_text("5 of 5")
    expect(panel.get_by_role("button", name="Newer value")).to_be_disabled()
    panel.get_by_role("button", name="Older value").click()
    expect(panel.locator(".ec-short")).to_have_text("13")
    expect(place).to_have_text("4 of 5")
    panel.get_by_label("of its run alone").click()
    expect(place).to_have_text("2 of 2")
    panel.get_by_role("button", name="Older value").click()
    expect(panel.locator(".ec-short")).to_have_text("11")
    expect(panel.get_by_role("button", name="Older value")).to_be_disabled()
    panel.get_by_role("button", name=re.compile("Request 2")).click()
    expect(picture.panel("Request 2 of count").locator(".ec-short")).to_have_text("11")


def test_value_is_found_by_what_it_shows_or_by_its_request(editor_page):
    picture = editor_page()
    for at in range(7):
        picture.gives("count", 10 + at)
    expect(picture.last("count").locator(".ec-short")).to_have_text("16")
    picture.last("count").locator("button").click()
    panel = picture.panel("Values of count")
    place, find = panel.get_by_role("status"), panel.get_by_label("Find in the values")
    expect(place).to_have_text("7 of 7")
    find.fill("11")
    find.press("Enter")
    expect(panel.locator(".ec-short")).to_have_text("11")
    expect(place).to_have_text("2 of 7")
    find.press("Enter")
    expect(panel.get_by_text("Not found")).to_be_visible()
    find.fill("15")
    find.press("Shift+Enter")
    expect(panel.locator(".ec-short")).to_have_text("15")
    find.fill("#1")
    find.press("Enter")
    expect(panel.locator(".ec-short")).to_have_text("10")


def test_elements_of_a_generators_call_are_paged_through(editor_page):
    picture = editor_page()
    picture.gives("count", 3, elements=[7, 8, 9])
    picture.last("count").locator("button").click()
    panel = picture.panel("Values of count")
    elements = panel.get_by_role("group", name="Elements")
    expect(elements).to_contain_text("element 3 of 3")
    elements.get_by_role("button", name="Element before").click()
    expect(elements).to_contain_text("element 2 of 3")
    expect(panel.locator(".ec-short")).to_have_text("8")


def test_what_failed_last_is_told_on_its_card_and_leads_there(editor_page):
    picture = editor_page()
    picture.flow("fail('scale', 'ValueError', 'no such thing')")
    picture.card("scale").get_by_role("button", name="Last failure of scale: ValueError: no such thing").click()
    expect(picture.panel("Request 1 of scale")).to_contain_text("no such thing")


def test_values_are_reached_by_keyboard(editor_page):
    picture = editor_page()
    picture.gives("count", 41)
    expect(picture.last("count").locator(".ec-short")).to_have_text("41")
    picture.card("count").focus()
    picture.page.keyboard.press("Enter")
    expect(picture.chooser).to_be_visible()
    picture.page.keyboard.type("Values")
    picture.page.keyboard.press("Enter")
    panel = picture.panel("Values of count")
    expect(panel.get_by_role("button", name="Newest")).to_be_focused()
    picture.page.keyboard.press("Escape")
    expect(picture.card("count")).to_be_focused()


def test_only_what_is_seen_is_asked_for_and_only_when_there_is_something_new(editor_page):
    picture = editor_page()
    picture.gives("count", 41)
    expect(picture.last("count").locator(".ec-short")).to_have_text("41")
    picture.flow("request('count', 'running')")
    picture.flow("request('load', 'queued')")
    expect(picture.button("1 queued at load")).to_be_visible()
    asked = [one["socket"] for one in picture.asked("preview")]
    assert asked == ["count"]


def test_flow_that_works_quickly_is_asked_a_few_times_a_second(editor_page):
    picture = editor_page()
    # two hundred results one after the other; numbers of each reach the page
    rate = picture.page.evaluate(
        "async () => { const began = performance.now();"
        " for (let at = 0; at < 200; at++) {"
        "   flow.give('count', {text: `${at}`, type: 'int', size: 5, look: {}});"
        "   await new Promise(next => setTimeout(next, 10)); }"
        " const asked = flow.asked.filter(one => one.op === 'preview').length;"
        " return {asked, seconds: (performance.now() - began) / 1000} }"
    )
    # one every quarter of a second at most
    assert rate["asked"] <= 4 * rate["seconds"] + 2
    expect(picture.last("count").locator(".ec-short")).to_have_text("199")


def test_picture_from_afar_asks_for_no_value(editor_page):
    picture = editor_page("many")
    picture.gives("step_0", 1)
    expect(picture.card("step_0")).to_have_attribute("title", "step_0: done")
    assert picture.asked("preview") == []


def test_value_stays_when_the_next_one_cannot_be_shown(editor_page):
    picture = editor_page()
    picture.gives("count", 41)
    expect(picture.last("count").locator(".ec-short")).to_have_text("41")
    picture.page.evaluate("() => { flow.op_preview = () => { throw new Error('no worker') } }")
    picture.gives("count", 42)
    picture.page.wait_for_function("() => flow.asked.filter(one => one.op === 'preview').length > 1")
    expect(picture.last("count").locator(".ec-short")).to_have_text("41")


def test_values_of_a_flow_that_was_emptied_are_gone(editor_page):
    picture = editor_page()
    picture.gives("count", 41)
    expect(picture.last("count").locator(".ec-short")).to_have_text("41")
    picture.page.evaluate("() => { flow.requests = []; flow.onCounts() }")
    expect(picture.last("count")).to_have_text("Count its words")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_with_values_of_every_kind(editor_page, axe, theme):
    picture = editor_page("six", theme=theme)
    picture.gives("files", "data.txt")
    picture.gives("load", "word " * 40)
    picture.gives("count", {"times": 2})
    picture.gives("longest", list(range(40)))
    picture.gives("total", [{"word": "a", "n": 1}])
    picture.gives("report", Svg('<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"/>'))
    picture.flow("fail('load', 'ValueError', 'no')")
    picture.flow("request('load', 'running')")
    expect(picture.last("report").locator("img")).to_be_visible()
    expect(picture.last("total").locator("table")).to_be_visible()
    picture.last("total").locator("button").click()
    expect(picture.panel("Values of total").locator("table")).to_be_visible()
    assert violations(picture, axe) == []


ROWS = """() => { const frame = document.querySelector('.ec-last-look .ec-frame');
    const within = frame.closest('.ec-last-look').getBoundingClientRect();
    const frames = frame.getBoundingClientRect(), end = Math.min(within.bottom, frames.bottom);
    return [...frame.querySelectorAll('tr')].map(row => row.getBoundingClientRect())
        .map(({top, bottom}) => Math.max(0, end - top) / (bottom - top)).map(part => Math.min(1, part)) }"""


def test_short_value_on_a_card_is_seen_whole(editor_page):
    picture = editor_page("six")
    picture.gives("total", "LGA 2013-12-31")
    short = picture.last("total").locator(".ec-short")
    expect(short).to_have_text("LGA 2013-12-31")
    assert short.evaluate("short => short.scrollWidth - short.clientWidth") <= 0


def test_table_on_a_card_has_whole_rows_alone(editor_page):
    picture = editor_page("six")
    picture.gives("total", [{"word": word, "n": 1} for word in "abcd"])
    expect(picture.last("total").locator("table")).to_be_visible()
    for _ in range(3):
        rows = picture.page.evaluate(ROWS)
        assert [round(part) for part in rows[:2]] == [1, 1]
        assert [part for part in rows if 0.05 < part < 0.95] == []
        picture.button("Zoom in").click()


# -- running, failing ----------------------------------------------------------
def test_running_and_failed_are_both_seen(editor_page):
    picture = editor_page()
    picture.flow("fail('count', 'ValueError', 'no')")
    picture.flow("request('count', 'running')")
    card = picture.card("count")
    expect(card.locator(".ec-state")).to_have_text("running")
    expect(picture.button("1 failed at count")).to_be_visible()
    expect(card).to_have_class(re.compile("ec-has-failed"))
    mark = card.evaluate("card => getComputedStyle(card, '::after').borderTopWidth")
    assert mark == "8px"


def test_arriving_value_crosses_its_plugs_once_and_a_running_socket_has_beads_on_its_way_in(editor_page):
    picture = editor_page(reduced_motion="no-preference")
    picture.flow("request('count', 'running')")
    line = picture.plug("load count text result")
    expect(line.locator(".ec-beads")).to_be_attached()
    picture.gives("load", "some text")
    expect(line.locator(".ec-dot")).to_be_attached()
    # it moves once, and is not to be seen after that
    expect(line.locator(".ec-dot")).to_have_css("opacity", "0")


def test_nothing_moves_where_the_person_prefers_so(editor_page):
    picture = editor_page()
    picture.flow("request('count', 'running')")
    picture.gives("load", "some text")
    expect(picture.last("load").locator(".ec-short")).to_have_text("some text")
    expect(picture.page.locator(".ec-dot, .ec-beads")).to_have_count(0)
    moving = "() => document.getAnimations().filter(one => one.playState === 'running').length"
    assert picture.page.evaluate(moving) == 0


def test_what_a_task_displayed_stands_in_its_output(editor_page):
    picture = editor_page()
    made = picture.gives("count", 3)
    output = [["stdout", "one\n"], ["stdout", "two\n"], ["display", shown({"n": 4321})], ["stdout", "three\n"]]
    picture.page.evaluate("([id, output]) => { flow.found(id).output = output }", [made, output])
    picture.button("1 done at count").click()
    picture.panel("Done requests of count").get_by_role("button", name=f"request {made}").click()
    panel = picture.panel(f"Request {made} of count")
    expect(panel.get_by_role("group", name="Displayed").get_by_role("cell", name="4321")).to_be_visible()
    expect(panel.get_by_label("Output")).to_have_text(["one\ntwo", "three"])


# -- attacks -------------------------------------------------------------------
@pytest.mark.parametrize("dress", [str, Html, Svg, Worded, lambda text: {text: text}, lambda text: [{text: text}]])
def test_nothing_of_a_value_runs_or_is_fetched_by_the_page(editor_page, page_address, fetched, dress):
    picture = editor_page()
    for at, attack in enumerate(ATTACKS, 1):
        picture.gives("join", dress(attack.replace(AWAY, f"{page_address}hit")))
        picture.page.wait_for_function("n => flow.asked.filter(one => one.op === 'preview').length >= n", arg=at)
    picture.last("join").locator("button").click()
    panel = picture.panel("Values of join")
    for _ in ATTACKS[1:]:
        panel.get_by_role("button", name="Older value").click()
    expect(panel.get_by_role("button", name="Older value")).to_be_disabled()
    # the other card lies beside it
    picture.button("Close").click()
    made = picture.gives("count", 3)
    output = [["display", shown(dress(attack.replace(AWAY, f"{page_address}hit")))] for attack in ATTACKS]
    picture.page.evaluate("([id, output]) => { flow.found(id).output = output }", [made, output])
    picture.button("1 done at count").click()
    picture.panel("Done requests of count").get_by_role("button", name=f"request {made}").click()
    displayed = picture.panel(f"Request {made} of count").get_by_role("group", name="Displayed")
    expect(displayed).to_have_count(len(ATTACKS))
    picture.flow("fail('count', '<img src=x onerror=\"hit = 1\">', '<script>hit = 1</script>')")
    picture.button("1 failed at count").click()
    assert picture.page.evaluate("() => window.hit") is None
    assert {path.rpartition("/")[2] for path in fetched}.isdisjoint({"hit", "x", "1"})
