"""How the editor lies in a page: themes, accessibility, size, far view."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

STATIC = Path(__file__).parents[2] / "ec_jupyter" / "static"


def violations(picture, axe):
    picture.page.evaluate(axe)
    found = picture.page.evaluate("async () => (await axe.run('.ec-box')).violations")
    return [f"{one['id']}: {[node['html'][:160] for node in one['nodes']]}" for one in found]


@pytest.mark.parametrize("theme", ["light", "dark", "none"])
def test_axe_finds_no_violation(editor_page, axe, theme):
    picture = editor_page(theme=theme)
    picture.flow("arrive('join', 'one', 3)")
    picture.flow("fail('scale', 'ValueError', 'no', {x: 1})")
    picture.flow("request('load', 'running')")
    picture.flow("say(3, 1, 4)")
    picture.flow("request('load', 'done')")
    picture.page.evaluate("() => { flow.depths = {1: 7} }")
    picture.button("Outline").click()
    picture.button("1 failed at scale").click()
    picture.panel("Failed requests of scale").get_by_role("button", name="request 2").click()
    expect(picture.panel("Request 2 of scale").get_by_label("Traceback")).to_be_visible()
    assert violations(picture, axe) == []
    picture.button("1 waiting at one of join").click()
    expect(picture.panel("Waiting at one of join").get_by_label("Value of one", exact=True)).to_have_text("3")
    picture.button("Search").click()
    expect(picture.chooser).to_be_visible()
    assert violations(picture, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_with_groups_open_and_folded(editor_page, axe, theme):
    picture = editor_page("six", theme=theme)
    for name, sockets in (("texts", "['count', 'longest']"), ("end", "['total', 'report']")):
        picture.flow(f"command('edit', {{changes: [{{op: 'group', name: '{name}', sockets: {sockets}}}]}})")
    picture.button("Fold group texts").click()
    picture.flow("request('count', 'failed')")
    picture.flow("request('longest', 'running')")
    expect(picture.button("1 failed in group texts")).to_be_visible()
    picture.button("Outline").click()
    picture.button("Details of group end").click()
    expect(picture.panel("Group end")).to_be_visible()
    assert violations(picture, axe) == []


@pytest.mark.parametrize("kind", ["plug", "socket", "processor", "run", "help", "history"])
def test_axe_finds_no_violation_in_any_panel(editor_page, axe, kind):
    picture = editor_page("six", theme="dark")
    opening = {
        "plug": lambda: picture.canvas.get_by_role("button", name="Plug count → total.counts").click(),
        "socket": lambda: picture.card("report").locator(".ec-name").dblclick(),
        "processor": lambda: picture.button("Details of processor fast").click(),
        "run": lambda: picture.button("Run report").click(),
        "help": lambda: picture.button("Help").click(),
        "history": lambda: picture.button("History of edits").click(),
    }
    opening[kind]()
    expect(picture.page.locator(".ec-panel")).to_be_visible()
    assert violations(picture, axe) == []


@pytest.mark.parametrize(("theme", "expected"), [("light", "light"), ("dark", "dark"), ("none", "light")])
def test_theme_is_that_of_the_page_around(editor_page, theme, expected):
    picture = editor_page(theme=theme)
    expect(picture.editor).to_have_attribute("data-theme", expected)


def test_theme_follows_a_change_of_the_page(editor_page):
    picture = editor_page(theme="light")
    picture.page.evaluate(
        "() => { document.body.style.setProperty('--jp-layout-color1', '#111');"
        " document.body.style.setProperty('--jp-ui-font-color0', '#fff') }"
    )
    expect(picture.editor).to_have_attribute("data-theme", "dark")


def test_editor_keeps_its_height_when_its_element_loses_its_own(editor_page):
    picture = editor_page()
    # ipywidgets' layout arrives late, and owns the style of the element
    picture.page.evaluate("() => { document.getElementById('here').style.height = '' }")
    assert picture.editor.bounding_box()["height"] > 400


def test_wheel_scrolls_the_page_until_the_picture_was_clicked(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => { document.body.style.height = '3000px' }")
    viewport = picture.page.locator(".react-flow__viewport")
    before = viewport.get_attribute("style")
    box = picture.canvas.bounding_box()
    picture.page.mouse.move(box["x"] + 30, box["y"] + box["height"] - 60)
    picture.page.mouse.wheel(0, 200)
    picture.page.wait_for_function("() => scrollY > 0")
    assert viewport.get_attribute("style") == before
    picture.page.evaluate("() => scrollTo(0, 0)")
    picture.page.mouse.click(box["x"] + 30, box["y"] + box["height"] - 60)
    picture.page.mouse.wheel(0, -200)
    expect(viewport).not_to_have_attribute("style", before)


def test_map_is_there_only_when_the_picture_overflows_and_covers_nothing_of_it(editor_page):
    picture = editor_page()
    drawing = picture.page.locator(".ec-map")
    expect(picture.button("Zoom in")).to_be_visible()
    expect(drawing).to_have_count(0)
    for _ in range(4):
        picture.button("Zoom in").click()
    expect(drawing).to_be_visible()
    canvas = picture.canvas.bounding_box()
    for other in (drawing, picture.page.get_by_role("group", name="Zoom")):
        box = other.bounding_box()
        assert box["x"] >= canvas["x"] + canvas["width"] or box["y"] >= canvas["y"] + canvas["height"]
    picture.button("Show the map").click()
    expect(drawing).to_have_count(0)
    picture.button("Fit the picture").click()
    expect(picture.button("Show the map")).to_have_count(0)


def add_socket(picture, name, x, y):
    picture.page.evaluate(
        "([name, x, y]) => { const next = structuredClone(flow.graph);"
        " const made = structuredClone(next.sockets.count); made.box[0] = x; made.box[1] = y;"
        " next.sockets[name] = made; flow.show(next) }",
        [name, x, y],
    )


def test_all_is_in_view_at_first_and_a_new_card_moves_the_view_only_if_it_is_out_of_sight(editor_page):
    picture = editor_page()
    canvas = picture.canvas.bounding_box()
    for name in ("load", "count", "scale", "join"):
        box = picture.card(name).bounding_box()
        assert canvas["x"] <= box["x"]
        assert box["x"] + box["width"] <= canvas["x"] + canvas["width"]
    viewport = picture.page.locator(".react-flow__viewport")
    before = viewport.get_attribute("style")
    add_socket(picture, "near", 330, 20)
    expect(picture.card("near")).to_be_visible()
    assert viewport.get_attribute("style") == before
    # somebody has moved the picture: its zoom is his
    picture.canvas.click(position={"x": 8, "y": 8})
    add_socket(picture, "far_off", 4000, 900)
    expect(picture.card("far_off")).to_be_in_viewport(ratio=1)
    assert "scale(1)" in viewport.get_attribute("style") or before.split("scale")[1] in viewport.get_attribute("style")


def test_tools_stand_in_one_line_by_words_where_those_have_room_else_by_signs(editor_page):
    picture = editor_page()
    tools, tool = picture.page.locator(".ec-toolbar"), picture.page.get_by_role("button", name="Timeline")
    for width, words in ((1300, True), (1200, True), (1110, True), (1060, False), (900, False), (800, False)):
        picture.page.set_viewport_size({"width": width, "height": 700})
        expect(tool.get_by_text("Timeline")).to_be_visible(visible=words)
        assert tools.bounding_box()["height"] < 40, width


def test_far_view_shows_names_and_states_and_no_rows(editor_page):
    picture = editor_page("many")
    picture.flow("fail('step_100', 'ValueError', 'no')")
    picture.button("Zoom in").click(click_count=4)
    expect(picture.card("step_100").get_by_text("step_100")).to_be_visible()
    expect(picture.card("step_100")).to_have_attribute("title", "step_100: failed")
    # what needs a person has a mark; the rest leaves its name the room
    expect(picture.card("step_100").locator(".ec-icon")).to_be_visible()
    expect(picture.card("step_101").locator(".ec-icon")).to_be_hidden()
    expect(picture.editor.locator(".ec-count")).to_have_count(0)
    picture.search("socket step_100")
    expect(picture.output("step_100")).to_be_visible()
    expect(picture.plug("step_100 step_101 one result")).to_be_attached()


def test_a_card_of_a_few_pixels_has_a_colour_and_no_text(editor_page):
    picture = editor_page("many")
    picture.flow("fail('step_0', 'ValueError', 'no')")
    expect(picture.card("step_0")).to_have_attribute("title", "step_0: failed")
    expect(picture.card("step_0")).to_have_class(re.compile(r"\bec-is-failed\b"))
    assert picture.card("step_0").inner_text() == ""
    expect(picture.page.locator(".react-flow__edge")).to_have_count(400)


def test_what_is_out_of_sight_of_a_large_picture_is_not_drawn(editor_page):
    picture = editor_page("many")
    picture.search("socket step_0")
    expect(picture.output("step_0")).to_be_visible()
    assert picture.editor.locator(".ec-card").count() < 60


def test_cards_of_a_large_picture_draw_only_what_changed(editor_page):
    picture = editor_page()
    picture.page.evaluate(
        "() => { window.changed = new Set(); new MutationObserver(list => { for (const one of list)"
        " { const card = one.target.parentElement?.closest('.ec-card'); if (card) changed.add(card.ariaLabel) } })"
        ".observe(document.querySelector('.ec-canvas'), {subtree: true, characterData: true, childList: true}) }"
    )
    picture.flow("request('count', 'queued')")
    expect(picture.button("1 queued at count")).to_be_visible()
    assert picture.page.evaluate("() => [...changed]") == ["socket count"]


def test_every_class_is_our_own_or_react_flows(editor_page):
    picture = editor_page("six")
    picture.button("Outline").click()
    picture.button("Help").click()
    names = set(
        picture.page.evaluate("() => [...document.querySelectorAll('.ec-box *')].flatMap(e => [...e.classList])")
    )
    own = ("ec-", "react-flow", "xyflow__", "nodrag", "nopan", "nowheel")
    # words of React Flow's state, which stand beside its own class
    states = {
        "animated", "arrowclosed", "bottom", "connectable", "connectableend", "connectablestart",
        "connectionindicator", "draggable", "left", "light", "right", "selectable", "selected", "source",
        "target", "top",
    }  # fmt: skip
    assert {name for name in names if not name.startswith(own)} <= states


def test_rules_of_the_style_sheet_stay_inside_the_editor():
    sheet = (STATIC / "editor.css").read_text()
    assert ".react-flow" in sheet
    for rule in sheet.replace("}", "{").split("{"):
        for selector in rule.split(","):
            assert not selector.strip().startswith(".react-flow"), selector


def test_module_keeps_its_budget():
    script = (STATIC / "editor.js").read_bytes()
    assert len(script) <= 600_000
    assert len(gzip.compress(script, 9)) <= 190_000


def test_licences_of_everything_in_the_module_are_shipped():
    packages = json.loads((STATIC / "editor.licenses.json").read_text())["packages"]
    by_name = {one["name"]: one for one in packages}
    assert {"react", "react-dom", "@xyflow/react", "@xyflow/system", "d3-zoom", "zustand"} <= set(by_name)
    assert all(one["extractedText"] for one in packages)


def test_attribution_of_react_flow_is_kept(editor_page):
    picture = editor_page()
    expect(picture.page.get_by_role("link", name="React Flow attribution")).to_be_visible()


@pytest.mark.parametrize("width", [640, 780, 880, 1020, 1200])
def test_outline_and_panel_together_leave_the_picture_its_room(editor_page, width):
    picture = editor_page("six", size=(width, 640))
    picture.button("Outline").click()
    picture.button("Help").click()
    outline, panel = picture.page.locator(".ec-outline"), picture.page.locator(".ec-panel")
    expect(panel).to_be_visible()
    expect(outline).to_be_visible()
    editor, boxes = picture.editor.bounding_box(), [one.bounding_box() for one in (outline, panel)]
    assert all(box["height"] > 140 for box in boxes)
    bottom = editor["y"] + editor["height"]
    assert all(box["y"] + box["height"] <= bottom + 1 for box in boxes)
    free = picture.page.locator(".ec-stage").bounding_box()
    # a narrow one has the outline over it
    assert free["width"] - (boxes[0]["width"] if width < 720 else 0) > 300
    assert free["height"] > 200


def test_card_that_a_panel_is_about_is_in_sight_beside_the_panel_and_the_map(editor_page):
    picture = editor_page("six", size=(1060, 640))
    # a picture of which a person has moved a part out of sight is not fitted anew
    picture.pan(0, 150)
    picture.flow("request('report', 'done')")
    # wherever it has come to lie
    picture.button("1 done at report").dispatch_event("click")
    expect(picture.page.locator(".ec-map-strip")).to_be_visible()
    picture.page.wait_for_function(
        "() => { const right = name => document.querySelector(name).getBoundingClientRect().right;"
        " return right('[aria-label=\"socket report\"]') <= right('.ec-stage') }"
    )


def test_narrow_picture_has_no_map_while_a_panel_takes_of_its_room(editor_page):
    picture = editor_page("six", size=(900, 640))
    picture.button("Zoom in").click()
    picture.button("Zoom in").click()
    expect(picture.page.locator(".ec-map-strip")).to_be_visible()
    # not from a card: that may still be moving
    picture.button("Help").click()
    expect(picture.page.locator(".ec-panel")).to_be_visible()
    expect(picture.page.locator(".ec-map-strip")).to_be_hidden()
    picture.button("Close").click()
    expect(picture.page.locator(".ec-map-strip")).to_be_visible()


def test_narrow_cell_keeps_everything_in_reach(editor_page):
    picture = editor_page("six", size=(420, 640))
    picture.button("Help").click()
    panel = picture.panel("Help").bounding_box()
    editor = picture.editor.bounding_box()
    assert panel["x"] >= editor["x"]
    assert panel["x"] + panel["width"] <= editor["x"] + editor["width"] + 1
    picture.button("Close").click()
    expect(picture.button("Search")).to_be_in_viewport()


@pytest.mark.parametrize("scene", ["demo", "six", "twelve"])
def test_no_text_is_smaller_than_eleven_pixels_at_the_first_fit(editor_page, scene):
    picture = editor_page(scene, size=(1100, 800))
    picture.page.evaluate("() => { for (const name of Object.keys(flow.graph.sockets)) flow.request(name, 'done') }")
    expect(picture.page.locator(".ec-card.ec-is-done")).to_have_count({"demo": 4, "six": 6, "twelve": 12}[scene])
    sizes = picture.page.evaluate(
        "() => { const walk = document.createTreeWalker(document.querySelector('.react-flow__viewport'), 4);"
        " const found = [];"
        " while (walk.nextNode()) { const at = walk.currentNode.parentElement;"
        " if (!walk.currentNode.data.trim() || !at.getClientRects().length) continue;"
        " const zoom = new DOMMatrix(getComputedStyle(document.querySelector('.react-flow__viewport')).transform).a;"
        " found.push([Math.round(10 * parseFloat(getComputedStyle(at).fontSize) * zoom) / 10, walk.currentNode.data]) }"
        " return found }"
    )
    assert sizes
    assert [one for one in sizes if one[0] < 11] == []


def test_cpus_of_a_processor_are_cells_that_fill_while_they_are_in_use(editor_page):
    picture = editor_page()
    cells = picture.processor("gpu").locator(".ec-cells i")
    expect(cells).to_have_count(4)
    picture.flow("request('scale', 'running')")
    expect(picture.processor("gpu").locator(".ec-used")).to_have_count(1)


def test_calls_that_overlap_are_counted_and_fill_the_cpus_that_their_workers_have(editor_page):
    picture = editor_page()
    picture.flow("graph.sockets.scale.concurrent = 100")
    for _ in range(37):
        picture.flow("request('scale', 'running')")
    expect(picture.button("37 running at scale")).to_be_visible()
    expect(picture.processor("gpu")).to_contain_text("37 running")
    expect(picture.processor("gpu").locator(".ec-used")).to_have_count(1)


def test_numbers_are_drawn_twice_a_second_while_a_card_is_dragged_and_are_right_after_it(editor_page):
    picture = editor_page()
    picture.flow("request('count', 'queued')")
    expect(picture.button("1 queued at count")).to_be_visible()
    head = picture.card("load").locator(".ec-name").bounding_box()
    picture.page.mouse.move(head["x"] + 5, head["y"] + 5)
    picture.page.mouse.down()
    picture.page.mouse.move(head["x"] + 15, head["y"] + 15, steps=3)
    expect(picture.editor).to_have_attribute("data-held", "")
    drawn, took = picture.page.evaluate(
        "async () => { let drawn = 0; const since = performance.now();"
        " const card = document.querySelector('[aria-label=\"socket count\"]');"
        " new MutationObserver(() => drawn++).observe(card, {subtree: true, childList: true, characterData: true});"
        " for (let n = 0; n < 30; n++) { flow.request('count', 'queued');"
        " await new Promise(done => setTimeout(done, 50)) }"
        " return [drawn, performance.now() - since] }"
    )
    # a machine that is slow draws them less often still
    assert 1 <= drawn <= took / 500 + 2
    picture.page.mouse.up()
    expect(picture.button("31 queued at count")).to_be_visible()
    expect(picture.editor).not_to_have_attribute("data-held", "")


def test_card_in_the_hand_lies_over_the_others_and_nothing_else_moves_meanwhile(editor_page):
    picture = editor_page(reduced_motion="no-preference")
    picture.flow("request('scale', 'running')")
    expect(picture.card("scale").locator(".ec-moving")).to_be_visible()
    head, other = (picture.card(name).locator(".ec-name").bounding_box() for name in ("load", "count"))
    picture.page.mouse.move(head["x"] + 5, head["y"] + 5)
    picture.page.mouse.down()
    picture.page.mouse.move(other["x"] + 5, other["y"] + 5, steps=3)
    expect(picture.editor).to_have_attribute("data-held", "")
    top = "([x, y]) => document.elementFromPoint(x, y).closest('[data-place]').getAttribute('aria-label')"
    picture.page.wait_for_function(f"at => ({top})(at) === 'socket load'", arg=[other["x"] + 5, other["y"] + 5])
    moving = "document.getAnimations().filter(one => one.playState === 'running').length"
    # what comes to an end by itself may still be on its way
    picture.page.wait_for_function(f"() => {moving} === 0")
    picture.page.mouse.up()
    expect(picture.editor).not_to_have_attribute("data-held", "")
    picture.page.wait_for_function(f"() => {moving} > 0")


GLIDE = """async label => {
    const places = [], node = document.querySelector('[aria-label="socket report"]').parentElement;
    const place = () => { const {e, f} = new DOMMatrix(getComputedStyle(node).transform); return `${e} ${f}` };
    node.addEventListener('transitionstart', ({target, propertyName}) => target === node && places.push(propertyName));
    places.push(place());
    document.querySelector(`[aria-label="${label}"]`).click();
    while (place() === places[0] || node.getAnimations().length) await new Promise(requestAnimationFrame);
    return [...places, place()] }"""


# what of the plugs is under way as soon as the button was pressed
APPEAR = """label => { document.querySelector(`[aria-label="${label}"]`).click();
    return document.querySelector('.react-flow__edges').getAnimations().map(one => one.animationName) }"""


@pytest.mark.parametrize(
    ("motion", "moves", "appears"), [("no-preference", ["transform"], ["ec-appears"]), ("reduce", [], [])]
)
def test_tidy_moves_cards_to_their_new_places_and_fold_lets_plugs_appear_at_once_where_less_motion_is_preferred(
    editor_page, motion, moves, appears
):
    picture = editor_page("six", reduced_motion=motion)
    picture.page.evaluate(
        "() => { flow.command('edit', {changes: [{op: 'position', positions: {report: [900, 700]}}]}) }"
    )
    picture.page.wait_for_function(
        "() => new DOMMatrix(getComputedStyle(document.querySelector('[aria-label=\"socket report\"]').parentElement)"
        ".transform).f === 700"
    )
    assert picture.page.evaluate(GLIDE, "Tidy") == ["900 700", *moves, "960 0"]
    expect(picture.editor).not_to_have_attribute("data-gliding", "")
    assert picture.page.evaluate(APPEAR, "Fold processor fast") == appears
    expect(picture.processor("fast")).to_contain_text("2 sockets")
    expect(picture.editor).not_to_have_attribute("data-gliding", "")
    assert picture.page.evaluate(APPEAR, "Unfold processor fast") == appears
    expect(picture.card("count")).to_be_visible()
