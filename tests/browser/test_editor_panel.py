"""The one panel: its tabs, where it stands, how large it is; all by keyboard too."""

from __future__ import annotations

from playwright.sync_api import expect


def tab(picture, text):
    return picture.page.get_by_role("tab", name=text, exact=True)


def box(picture):
    return picture.page.locator(".ec-panel").bounding_box()


def room(picture):
    return picture.page.locator(".ec-stage").bounding_box()


OF_A_SOCKET = ["Values", "Requests", "Waiting", "Code", "Log", "Metrics", "Options"]


def test_all_there_is_of_a_socket_is_one_tab_away_by_pointer_and_by_keys(editor_page):
    picture = editor_page("six")
    picture.card("report").locator(".ec-name").dblclick()
    names = {
        "Values": "Values of report", "Requests": "Requests of report", "Waiting": "Waiting at report",
        "Code": "Code of report", "Log": "Log", "Metrics": "Metrics of socket report", "Options": "Socket report",
    }  # fmt: skip
    expect(picture.page.get_by_role("tab")).to_have_text(OF_A_SOCKET)
    for text in OF_A_SOCKET:
        tab(picture, text).click()
        expect(picture.panel(names[text])).to_be_visible()
        expect(picture.page.get_by_role("tabpanel", name=text, exact=True)).to_be_visible()
        expect(picture.page.get_by_role("tab", selected=True)).to_have_text(text)
    # from the last one around to the first, and back
    for key, text in (("ArrowRight", "Values"), ("ArrowRight", "Requests"), ("End", "Options"), ("Home", "Values")):
        tab(picture, picture.page.get_by_role("tab", selected=True).inner_text()).press(key)
        expect(tab(picture, text)).to_be_focused()
        expect(picture.panel(names[text])).to_be_visible()
    # one tab alone is a stop of the Tab key
    stops = picture.page.evaluate("() => [...document.querySelectorAll('[role=tab]')].map(e => e.tabIndex)")
    assert stops == [0, *[-1] * 6]
    picture.page.keyboard.press("Escape")
    expect(picture.page.get_by_role("tab")).to_have_count(0)


def test_tabs_are_those_of_what_the_panel_is_about(editor_page):
    picture = editor_page("six")
    picture.page.evaluate("() => flow.worked(12)")
    tabs = picture.page.get_by_role("tab")
    picture.button("Details of processor fast").click()
    expect(tabs).to_have_text(["Metrics", "Options"])
    picture.page.locator(".ec-toolbar").get_by_role("button", name="Log", exact=True).click()
    expect(tabs).to_have_text(["Runs", "Timeline", "Log", "Metrics"])
    # of one socket alone, the log is its own
    picture.panel("Log").get_by_label("Socket").select_option("report")
    expect(tabs).to_have_text(OF_A_SOCKET)
    tab(picture, "Requests").click()
    expect(picture.panel("Requests of report")).to_be_visible()
    picture.page.locator(".ec-toolbar").get_by_role("button", name="Runs", exact=True).click()
    picture.panel("Runs").get_by_role("list", name="Runs").get_by_role("button").first.click()
    expect(tabs).to_have_text(["Runs", "Story", "Timeline", "Log"])
    picture.button("Help").click()
    expect(tabs).to_have_count(0)


def test_panel_is_as_large_as_its_edge_was_dragged_or_moved_by_keys_and_stays_so(editor_page):
    picture = editor_page("six", size=(1200, 700))
    picture.button("Help").click()
    edge = picture.page.get_by_role("separator", name="Size of the panel")
    before, stage = box(picture), room(picture)
    x, y = before["x"], before["y"] + 200
    picture.page.mouse.move(x, y)
    picture.page.mouse.down()
    picture.page.mouse.move(x - 80, y, steps=4)
    picture.page.mouse.up()
    dragged = box(picture)
    assert abs(dragged["width"] - before["width"] - 80) < 8
    assert abs(stage["width"] - room(picture)["width"] - (dragged["width"] - before["width"])) < 2
    edge.focus()
    picture.page.keyboard.press("ArrowRight")
    assert box(picture)["width"] < dragged["width"]
    picture.page.keyboard.press("Home")
    least = box(picture)["width"]
    expect(edge).to_have_attribute("aria-valuenow", str(round(least)))
    # it is remembered, by another panel and by another picture
    picture.button("Close").click()
    picture.card("report").locator(".ec-name").dblclick()
    assert abs(box(picture)["width"] - least) < 1
    picture.page.reload()
    picture.button("Help").click()
    assert abs(box(picture)["width"] - least) < 1
    picture.page.get_by_role("separator", name="Size of the panel").press("Enter")
    assert abs(box(picture)["width"] - before["width"]) < 1


def test_what_a_person_opens_next_stands_at_the_tab_that_was_open_last(editor_page):
    picture = editor_page("six")
    picture.card("load").locator(".ec-name").dblclick()
    expect(picture.page.get_by_role("tab", selected=True)).to_have_text("Options")
    tab(picture, "Log").click()
    picture.card("report").locator(".ec-name").dblclick()
    expect(picture.panel("Log").get_by_label("Socket")).to_have_value("report")
    # a processor has its own, and what names what it opens does so
    picture.page.locator(".ec-group-title .ec-name").first.dblclick()
    expect(picture.page.get_by_role("tab", selected=True)).to_have_text("Options")
    picture.button("Run load").click()
    expect(picture.panel("Run load")).to_be_visible()
    picture.page.reload()
    picture.card("count").locator(".ec-name").dblclick()
    expect(picture.panel("Log").get_by_label("Socket")).to_have_value("count")


def test_panel_stands_below_where_there_is_no_room_beside_or_a_person_wants_it_there(editor_page):
    picture = editor_page("six", size=(1100, 700))
    picture.card("report").locator(".ec-name").dblclick()
    assert box(picture)["x"] >= room(picture)["x"] + room(picture)["width"]
    picture.button("Panel below").click()
    expect(picture.button("Panel at the right")).to_be_visible()
    assert box(picture)["y"] >= room(picture)["y"] + room(picture)["height"]
    # what it is about is in sight above it
    picture.page.wait_for_function(
        "() => { const bottom = name => document.querySelector(name).getBoundingClientRect().bottom;"
        " return bottom('[aria-label=\"socket report\"]') <= bottom('.ec-stage') }"
    )
    picture.page.reload()
    picture.button("Help").click()
    assert box(picture)["y"] >= room(picture)["y"] + room(picture)["height"]
    picture.button("Panel at the right").click()
    expect(picture.button("Panel below")).to_be_visible()
    # what has been begun in a panel is kept where it moves for want of room
    picture.button("Run report").click()
    picture.panel("Run report").get_by_label("title").fill("'kept'")
    picture.page.set_viewport_size({"width": 620, "height": 700})
    expect(picture.page.locator(".ec-desk.ec-below")).to_be_visible()
    expect(picture.panel("Run report").get_by_label("title")).to_have_value("'kept'")
    expect(picture.button("Panel at the right")).to_have_count(0)


def test_card_that_a_panel_below_is_about_comes_into_sight_above_it(editor_page):
    picture = editor_page("six", size=(700, 640))
    # a picture of which a person has moved a part out of sight is not fitted anew
    picture.pan(0, -60)
    picture.flow("request('longest', 'done')")
    # wherever it has come to lie
    picture.button("1 done at longest").dispatch_event("click")
    picture.page.wait_for_function(
        "() => { const bottom = name => document.querySelector(name).getBoundingClientRect().bottom;"
        " return bottom('[aria-label=\"socket longest\"]') <= bottom('.ec-stage') }"
    )


def test_all_that_was_seen_is_seen_beside_a_panel_and_as_large_as_before_once_it_is_shut(editor_page):
    picture = editor_page("six", size=(1300, 700))
    # a click moves nothing
    picture.canvas.click(position={"x": 8, "y": 8})
    first = picture.card("report").bounding_box()
    picture.page.locator(".ec-toolbar").get_by_role("button", name="Log", exact=True).click()
    expect(picture.panel("Log")).to_be_visible()
    inside = (
        "() => { const room = document.querySelector('.ec-stage').getBoundingClientRect();"
        " const panel = document.querySelector('.ec-panel').getBoundingClientRect();"
        " const cards = [...document.querySelectorAll('.react-flow__node')].map(one => one.getBoundingClientRect());"
        " return cards.every(one => one.left >= room.left && one.right <= Math.min(room.right, panel.left)) }"
    )
    picture.page.wait_for_function(inside)
    expect(picture.page.locator(".ec-map-strip")).to_have_count(0)
    picture.button("Close").click()
    picture.page.wait_for_function(
        "wide => { const card = document.querySelector('[aria-label=\"socket report\"]');"
        " return Math.abs(card.getBoundingClientRect().width - wide) < 2 }",
        arg=first["width"],
    )
