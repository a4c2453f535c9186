"""The picture without a mouse: arrow keys, lists to choose from, search, the outline."""

from __future__ import annotations

from playwright.sync_api import expect


def press(picture, *keys):
    for key in keys:
        picture.page.keyboard.press(key)


def enter_canvas(picture):
    picture.canvas.focus()
    press(picture, "ArrowDown")
    expect(picture.card("load")).to_be_focused()


def test_canvas_is_one_stop_of_the_tab_key(editor_page):
    picture = editor_page()
    picture.button("Add a node").focus()
    press(picture, "Tab")
    expect(picture.canvas).to_be_focused()
    # the next is past all cards, ports and plugs
    press(picture, "Tab")
    expect(picture.page.get_by_role("link", name="React Flow attribution")).to_be_focused()
    press(picture, "Tab")
    expect(picture.button("Zoom out")).to_be_focused()


def test_arrow_keys_walk_ports_and_follow_plugs(editor_page):
    picture = editor_page()
    enter_canvas(picture)
    press(picture, "ArrowDown")
    expect(picture.argument("path", "load")).to_be_focused()
    press(picture, "ArrowDown")
    expect(picture.output("load")).to_be_focused()
    press(picture, "ArrowRight")
    expect(picture.argument("text", "count")).to_be_focused()
    press(picture, "ArrowLeft")
    expect(picture.output("load")).to_be_focused()
    press(picture, "Home")
    expect(picture.processor("io")).to_be_focused()
    press(picture, "End")
    expect(picture.output("join")).to_be_focused()


def test_enter_on_an_output_lists_fitting_arguments_and_undo_takes_the_plug_back(editor_page):
    picture = editor_page()
    enter_canvas(picture)
    press(picture, "ArrowRight", "ArrowRight", "ArrowRight")  # its output, along the plug to count, its output
    expect(picture.output("count")).to_be_focused()
    press(picture, "Enter")
    options = picture.chooser.get_by_role("option")
    expect(options).to_have_text(["scale.xfloat", "scale.byfloat", "join.oneint", "join.twofloat"])
    picture.page.keyboard.type("one")
    expect(options).to_have_text(["join.oneint"])
    press(picture, "Enter")
    expect(picture.said).to_have_text("plugged count → join.one")
    expect(picture.output("count")).to_be_focused()
    press(picture, "Control+z")
    expect(picture.said).to_have_text("undone: plug count -> join.one")
    expect(picture.plug("count join one result")).to_have_count(0)


def test_delete_on_an_argument_unplugs_what_feeds_it(editor_page):
    picture = editor_page()
    enter_canvas(picture)
    press(picture, "ArrowRight", "ArrowRight")
    expect(picture.argument("text", "count")).to_be_focused()
    press(picture, "Delete")
    expect(picture.said).to_have_text("unplugged load → count.text")


def test_escape_closes_a_list_and_gives_the_focus_back(editor_page):
    picture = editor_page()
    enter_canvas(picture)
    press(picture, "Enter")
    expect(picture.chooser.get_by_role("combobox", name="socket load")).to_be_focused()
    press(picture, "Escape")
    expect(picture.chooser).to_have_count(0)
    expect(picture.card("load")).to_be_focused()


def test_search_goes_to_a_socket(editor_page):
    picture = editor_page()
    picture.button("Search").click()
    picture.page.keyboard.type("joi")
    press(picture, "Enter")
    expect(picture.card("join")).to_be_focused()


def test_search_finds_commands_by_key_from_anywhere_in_the_editor(editor_page):
    picture = editor_page()
    picture.card("load").focus()
    press(picture, "Control+k")
    picture.page.keyboard.type("code")
    press(picture, "Enter")
    expect(picture.panel("Code of this flow").get_by_label("Code", exact=True)).to_have_text(
        'flow.plug("load", "count.text")'
    )


def test_search_brings_a_socket_far_out_of_sight_into_it(editor_page):
    picture = editor_page("many")
    press(picture, "Tab")
    picture.button("Search").click()
    picture.page.keyboard.type("step_199")
    press(picture, "Enter")
    expect(picture.card("step_199")).to_be_focused()
    expect(picture.card("step_199")).to_be_in_viewport()
    expect(picture.output("step_199")).to_be_visible()


def outline(picture):
    picture.button("Outline").click()
    tree = picture.page.get_by_role("tree")
    tree.get_by_role("treeitem").first.focus()
    return tree


def test_outline_plugs_as_the_picture_does(editor_page):
    picture = editor_page()
    tree = outline(picture)
    press(picture, "ArrowDown", "ArrowDown")  # io, load, count
    press(picture, "ArrowRight", "ArrowDown", "ArrowDown")
    expect(tree.get_by_role("treeitem", name="output int")).to_be_focused()
    press(picture, "Enter")
    picture.page.keyboard.type("join.one")
    press(picture, "Enter")
    expect(picture.plug("count join one result")).to_be_attached()
    expect(tree.get_by_role("treeitem", name="output int")).to_be_focused()
    # the plug is a row of its own under both of its ends, and Delete takes it away
    press(picture, "ArrowRight", "ArrowRight")
    expect(tree.get_by_role("treeitem", name="count → join.one")).to_be_focused()
    press(picture, "Delete")
    expect(picture.plug("count join one result")).to_have_count(0)


def test_outline_opens_what_waits_and_what_failed_and_pauses(editor_page):
    picture = editor_page()
    picture.flow("arrive('join', 'one', 3)")
    picture.flow("fail('join', 'ValueError', 'no label')")
    tree = outline(picture)
    # the last row is a node
    press(picture, "End", "ArrowUp")
    expect(tree.get_by_role("treeitem", name="join")).to_be_focused()
    press(picture, "Enter")
    picture.choose("Failed requests")
    expect(picture.panel("Failed requests of join").get_by_text("request 2")).to_be_visible()
    press(picture, "Escape")
    tree.get_by_role("treeitem", name="join").focus()
    press(picture, "Enter")
    picture.choose("Values that wait")
    expect(picture.panel("Waiting at join").get_by_text("run 1")).to_be_visible()
    tree.get_by_role("treeitem", name="join").focus()
    press(picture, "Enter")
    picture.choose("Pause")
    expect(picture.said).to_have_text("paused join")


def test_outline_says_its_levels_and_what_is_open(editor_page):
    picture = editor_page()
    tree = outline(picture)
    first = tree.get_by_role("treeitem", name="io processor")
    expect(first).to_have_attribute("aria-expanded", "true")
    expect(tree.get_by_role("treeitem", name="load")).to_have_attribute("aria-level", "2")
    press(picture, "ArrowLeft")
    expect(first).to_have_attribute("aria-expanded", "false")
    expect(tree.get_by_role("treeitem", name="load")).to_have_count(0)


def test_help_tells_the_keys(editor_page):
    picture = editor_page()
    picture.card("load").focus()
    press(picture, "?")
    expect(picture.panel("Help").get_by_text("Ctrl+K")).to_be_visible()


def test_keys_of_the_notebook_are_kept_from_it(editor_page):
    picture = editor_page()
    expect(picture.editor).to_have_attribute("data-lm-suppress-shortcuts", "true")


def test_keys_typed_into_a_field_edit_the_text_only(editor_page):
    picture = editor_page()
    picture.button("Run load").click()
    field = picture.panel("Run load").get_by_label("path")
    field.fill("abc")
    press(picture, "Control+z", "Delete", "Backspace")
    assert picture.asked("undo") == []
    assert picture.asked("edit") == []


def middle_of(picture, plug):
    path = picture.plug(plug).locator(".react-flow__edge-interaction")
    return path.evaluate(
        "path => { const at = path.getPointAtLength(path.getTotalLength() * 0.3);"
        " const p = new DOMPoint(at.x, at.y).matrixTransform(path.getScreenCTM()); return [p.x, p.y]; }"
    )


def test_delete_and_undo_work_after_a_click_on_a_plug_though_its_panel_is_open(editor_page):
    picture = editor_page()
    picture.page.mouse.click(*middle_of(picture, "load count text result"))
    panel = picture.panel("Plug load → count.text")
    expect(panel.get_by_role("checkbox")).to_be_focused()
    picture.page.keyboard.press("Delete")
    expect(picture.said).to_have_text("unplugged load → count.text")
    expect(panel).to_have_count(0)
    picture.page.keyboard.press("Control+z")
    expect(picture.said).to_contain_text("undone")
    assert picture.plugs() == ["load -> count.text"]


def test_keys_work_after_a_click_on_what_has_no_focus_or_goes_away(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.said).to_have_text("plugged count → join.one")
    # beside every button, and on a button that closes what it stands in
    picture.said.click()
    picture.page.keyboard.press("Control+z")
    expect(picture.said).to_contain_text("undone")
    picture.button("Help").click()
    picture.button("Close").click()
    picture.page.keyboard.press("Control+Shift+z")
    expect(picture.said).to_contain_text("redone")
    picture.select("count join one result")
    picture.said.click()
    picture.page.keyboard.press("Delete")
    expect(picture.said).to_have_text("unplugged count → join.one")


def test_undo_after_a_discard_says_that_it_cannot_be_and_undoes_nothing_else(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.said).to_have_text("plugged count → join.one")
    picture.flow("arrive('join', 'one', 41)")
    picture.button("1 waiting at one of join").click()
    picture.button("Discard value of one").click()
    expect(picture.said).to_have_text("discarded a value of one")
    picture.button("Undo").click()
    expect(picture.said).to_contain_text("a discard cannot be undone")
    assert picture.plugs() == ["load -> count.text", "count -> join.one"]
    picture.button("Undo").click()
    expect(picture.said).to_contain_text("undone: plug count -> join.one")
