"""A kernel that is busy, gone or back; a picture without one."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


def test_plug_made_while_a_cell_runs_is_dashed_and_not_refused(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => model.busy()")
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.page.locator("path.ec-pending")).to_be_attached()
    expect(picture.page.get_by_text("waiting for the kernel")).to_be_visible()
    expect(picture.page.get_by_text("The kernel is busy with a cell")).to_be_visible()
    expect(picture.refusal).to_have_count(0)
    picture.page.evaluate("() => model.free()")
    expect(picture.plug("count join one result")).to_be_attached()
    expect(picture.page.locator("path.ec-pending")).to_have_count(0)
    expect(picture.page.get_by_text("The kernel is busy with a cell")).to_have_count(0)


def test_numbers_of_a_kernel_that_is_gone_are_grey_and_say_of_when_they_are(editor_page):
    picture = editor_page()
    picture.flow("request('count', 'queued')")
    expect(picture.button("1 queued at count")).to_be_visible()
    picture.page.evaluate("() => model.die()")
    expect(picture.page.get_by_text("Kernel gone: numbers of")).to_be_visible()
    expect(picture.editor).to_contain_class("ec-life-gone")
    expect(picture.button("Reconnect")).to_have_count(0)
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.refusal).to_contain_text("the kernel is gone; nothing was changed")


def test_a_panel_that_is_opened_before_an_answer_comes_stays_open(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => model.busy()")
    picture.card("count").focus()
    picture.page.keyboard.press("Delete")
    picture.button("Help").click()
    picture.page.evaluate("() => model.free()")
    expect(picture.said).to_contain_text("removed count")
    expect(picture.panel("Help")).to_be_visible()


def test_a_page_that_is_offline_says_so_and_calls_no_kernel_gone(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => model.die()")
    expect(picture.page.get_by_text("Kernel gone")).to_be_visible()
    picture.page.context.set_offline(True)
    try:
        expect(picture.page.get_by_text("This page is offline: numbers of")).to_be_visible()
        expect(picture.page.get_by_text("Kernel gone")).to_have_count(0)
    finally:
        picture.page.context.set_offline(False)
    expect(picture.page.get_by_text("Kernel gone")).to_be_visible()


def test_kernel_that_speaks_again_is_live_again(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => model.die()")
    expect(picture.page.get_by_text("Kernel gone")).to_be_visible()
    picture.page.evaluate("() => model.beats.start()")
    expect(picture.page.get_by_text("Kernel gone")).to_have_count(0)


def test_an_engine_that_is_started_again_is_called_so_and_the_numbers_of_before_are_grey(editor_page):
    picture = editor_page()
    picture.flow("request('count', 'queued')")
    expect(picture.button("1 queued at count")).to_be_visible()
    picture.page.evaluate("() => model.engine('starting', 'the engine is gone, starting again')")
    expect(picture.page.get_by_text("The engine is gone and is being started again: numbers of")).to_be_visible()
    expect(picture.editor).to_contain_class("ec-life-starting")
    # a kernel that says so is there: it is not called gone, however long it takes
    picture.page.wait_for_timeout(3500)
    expect(picture.page.get_by_text("Kernel gone")).to_have_count(0)
    picture.page.evaluate("() => model.engine('running')")
    expect(picture.editor).to_contain_class("ec-life-live")


def test_a_stopped_flow_says_so_and_one_click_starts_it(editor_page):
    picture = editor_page()
    picture.flow("request('count', 'queued')")
    expect(picture.button("1 queued at count")).to_be_visible()
    picture.page.evaluate("() => model.engine('stopped', 'the engine was stopped; the next call starts it')")
    expect(picture.page.get_by_text("Stopped: numbers of")).to_be_visible()
    asked = picture.flow("asked.length")
    picture.button("Start").click()
    picture.page.wait_for_function("n => flow.asked.length > n", arg=asked)
    assert picture.asked("start") == [{}]
    picture.page.evaluate("() => model.engine('running')")
    expect(picture.page.get_by_text("Stopped")).to_have_count(0)


def test_an_engine_that_cannot_be_started_says_why(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => model.engine('failed', 'the disk of flow demo is full')")
    expect(picture.page.get_by_text("the disk of flow demo is full: ")).to_be_visible()
    picture.button("Try again").click()
    picture.page.wait_for_function("() => flow.asked.some(one => one.op === 'start')")


def test_reconnect_revives_where_the_host_can(editor_page):
    picture = editor_page(host="revivable")
    picture.flow("request('count', 'queued')")
    expect(picture.button("1 queued at count")).to_be_visible()
    picture.page.evaluate("() => host.become('gone')")
    picture.button("Reconnect").click()
    expect(picture.page.get_by_text("Kernel gone")).to_have_count(0)
    picture.flow("request('count', 'queued')")
    expect(picture.button("2 queued at count")).to_be_visible()


def test_picture_without_a_flow_shows_everything_and_offers_no_edit(editor_page):
    picture = editor_page(host="static")
    expect(picture.card("join")).to_be_visible()
    expect(picture.button("Undo")).to_be_disabled()
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.plug("count join one result")).to_have_count(0)


def test_nothing_is_sent_to_a_picture_that_nobody_sees(editor_page):
    picture = editor_page()
    assert picture.page.evaluate("() => model.looks.at(-1)") is True
    picture.page.evaluate("() => { document.getElementById('here').style.marginTop = '3000px' }")
    picture.page.wait_for_function("() => model.looks.at(-1) === false")
    picture.page.evaluate("() => { document.getElementById('here').style.marginTop = '0' }")
    picture.page.wait_for_function("() => model.looks.at(-1) === true")


def test_two_views_of_one_flow_show_the_same_edit(editor_page):
    picture = editor_page()
    picture.page.evaluate(
        "async () => { const { default: widget } = await import('/static/editor.js');"
        " const el = document.createElement('div'); el.id = 'there'; document.body.append(el);"
        " widget.render({ model, el }) }"
    )
    first = picture.page.locator("#here")
    second = picture.page.locator("#there")
    expect(second.get_by_role("group", name="socket join")).to_be_visible()
    first.get_by_role("button", name="Undo").scroll_into_view_if_needed()
    picture.page.evaluate(
        "() => flow.op_edit({changes: [{op: 'plug', source: 'count', target: 'join', argument: 'one'}]})"
    )
    for view in (first, second):
        expect(view.locator(".ec-said")).to_contain_text("2 plugs")


def test_unmounted_editor_leaves_nothing_and_stops_listening(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => unmount()")
    expect(picture.page.locator("#here > *")).to_have_count(0)
    assert picture.page.evaluate("() => Object.values(model.callbacks).every(set => set.size === 0)")


UNDER = """() => { const over = document.querySelector('.ec-banner').getBoundingClientRect();
    const heads = [...document.querySelectorAll('.ec-card')].map(card => card.getBoundingClientRect());
    const under = ({left, right, top}) => left < over.right && right > over.left && top < over.bottom;
    return heads.filter(head => under(head) && head.top + 20 > over.top).length }"""


@pytest.mark.parametrize("width", [420, 1000])
def test_what_is_wrong_lies_over_no_head_of_a_card(editor_page, width):
    picture = editor_page("six", size=(width, 640))
    # of its node that is down it is told from the first
    expect(picture.page.locator(".ec-banner")).to_be_visible()
    picture.page.wait_for_function(f"() => ({UNDER})() === 0")
    # and where a person has moved it to where that will be
    demo = editor_page("demo", size=(width, 640))
    demo.canvas.click(position={"x": 8, "y": 60})
    demo.page.evaluate("() => model.die()")
    expect(demo.page.locator(".ec-banner")).to_be_visible()
    demo.page.wait_for_function(f"() => ({UNDER})() === 0")
