"""Plugs made, refused, changed and taken away in the picture."""

from __future__ import annotations

from playwright.sync_api import expect

FIRST = "load -> count.text"


def test_drag_from_an_output_to_an_argument_plugs_them(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.said).to_have_text("plugged count → join.one")
    expect(picture.plug("count join one result")).to_be_attached()
    assert picture.plugs() == [FIRST, "count -> join.one"]


def test_drag_from_an_argument_to_an_output_plugs_them_too(editor_page):
    picture = editor_page()
    picture.drag(picture.argument("one", "join"), picture.output("count"))
    expect(picture.said).to_have_text("plugged count → join.one")


def test_drop_on_a_card_plugs_into_its_only_free_argument_that_fits(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.card("scale"))
    expect(picture.said).to_have_text("plugged count → scale.x")


def test_drop_on_a_card_with_several_arguments_that_fit_asks_which_one(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.card("join"))
    expect(picture.chooser.get_by_role("option")).to_have_count(2)
    picture.choose("join.two")
    expect(picture.said).to_have_text("plugged count → join.two")


def test_plug_let_go_over_nothing_can_still_go_to_an_argument_by_name(editor_page):
    picture = editor_page()
    at = picture.canvas.bounding_box()
    picture.drag(picture.output("count"), picture.card("join"), drop=False)
    picture.page.mouse.move(at["x"] + 20, at["y"] + at["height"] - 20)
    picture.page.mouse.up()
    picture.choose("scale.x")
    expect(picture.said).to_have_text("plugged count → scale.x")


def test_escape_ends_a_drag_of_a_plug_or_a_card_and_nothing_changes(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.argument("one", "join"), drop=False)
    picture.page.keyboard.press("Escape")
    expect(picture.page.locator(".react-flow__connection")).to_have_count(0)
    picture.page.mouse.up()
    before = picture.card("scale").bounding_box()
    picture.drag(picture.card("scale"), picture.card("load"), drop=False)
    picture.page.keyboard.press("Escape")
    picture.page.mouse.up()
    expect(picture.said).to_have_text("nothing changed")
    picture.page.wait_for_function(
        "([x, y]) => { const at = document.querySelector('[data-place=\"s:scale\"]').getBoundingClientRect();"
        " return Math.abs(at.x - x) < 2 && Math.abs(at.y - y) < 2 }",
        arg=[before["x"], before["y"]],
    )
    assert picture.asked("edit") == []
    # and the next drag counts
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.said).to_have_text("plugged count → join.one")


def test_end_of_a_plug_is_dragged_to_another_argument_as_one_edit(editor_page):
    picture = editor_page()
    picture.drag(picture.argument("text", "count"), picture.argument("label", "join"))
    expect(picture.said).to_have_text("moved load → count.text to join.label")
    assert [change["op"] for change in picture.asked("edit")[0]["changes"]] == ["replug"]
    # nothing is plugged into it any more that could be moved, and what does not fit is refused as anywhere
    picture.drag(picture.argument("text", "count"), picture.argument("label", "join"))
    expect(picture.refusal).to_contain_text("nothing is plugged into count.text")
    picture.drag(picture.argument("label", "join"), picture.argument("two", "join"))
    expect(picture.refusal).to_contain_text("str of load does not fit float of join.two")


def test_arguments_show_while_an_output_is_dragged_whether_they_fit(editor_page):
    picture = editor_page()
    picture.drag(picture.output("count"), picture.argument("two", "join"), drop=False)
    for argument, socket, sign in [
        ("one", "join", "ec-fits"),  # int onto int
        ("two", "join", "ec-fits"),  # an int is a float as well
        ("x", "scale", "ec-fits"),
        ("label", "join", "ec-unfit"),  # no str
        ("path", "load", "ec-unfit"),
    ]:
        expect(picture.argument(argument, socket)).to_contain_class(sign)
    picture.page.mouse.up()
    expect(picture.argument("one", "join")).not_to_contain_class("ec-fits")


def test_drop_on_an_argument_of_another_type_is_refused_there_with_the_reason(editor_page):
    picture = editor_page()
    picture.drag(picture.output("load"), picture.argument("two", "join"))
    reason = "str of load does not fit float of join.two"
    expect(picture.refusal).to_contain_text(reason)
    expect(picture.said).to_have_text(f"Refused: {reason}")
    bubble, port = picture.refusal.bounding_box(), picture.argument("two", "join").bounding_box()
    assert abs(bubble["x"] - port["x"]) < 40
    assert abs(bubble["y"] - port["y"]) < 40
    assert picture.plugs() == [FIRST]
    picture.page.keyboard.press("Escape")
    expect(picture.refusal).to_have_count(0)
    expect(picture.said).to_have_text("")


def test_a_plug_is_hit_five_pixels_beside_its_line_however_small_the_picture_is(editor_page):
    picture = editor_page()
    for _ in range(6):
        picture.button("Zoom out").click()
    line = picture.plug("load count text result").locator(".react-flow__edge-interaction")
    hit = line.evaluate(
        "path => [-5, 0, 5].map(beside => { const at = path.getPointAtLength(path.getTotalLength() / 2);"
        " const p = new DOMPoint(at.x, at.y).matrixTransform(path.getScreenCTM());"
        " return document.elementFromPoint(p.x, p.y + beside) === path })"
    )
    assert hit == [True, True, True]


def test_drop_that_would_close_a_cycle_is_refused_and_can_be_meant(editor_page):
    picture = editor_page("one")
    picture.drag(picture.output("add"), picture.argument("one", "add"))
    expect(picture.refusal).to_contain_text("add → add would close a cycle")
    picture.refusal.get_by_role("button", name="Plug it as a cycle").click()
    expect(picture.said).to_have_text("plugged add → add.one")
    assert picture.plugs() == ["add -> add.one"]


def test_drop_of_a_list_on_its_element_offers_map(editor_page):
    picture = editor_page("six")
    picture.flow("show({...flow.graph, sockets: {...flow.graph.sockets, "
                 "files: {...flow.graph.sockets.files, returns: 'list[str]', "
                 "task: {...flow.graph.sockets.files.task, generator: false}}}})")  # fmt: skip
    expect(picture.canvas.get_by_text("list[str]", exact=True).first).to_be_attached()
    picture.drag(picture.output("files"), picture.argument("text", "longest"))
    picture.refusal.get_by_role("button", name="Plug with map").click()
    expect(picture.said).to_have_text("plugged files → longest.text")
    assert picture.asked("edit")[-1]["changes"][0]["map"] is True


def test_refusal_by_the_flow_is_told_at_the_drop_and_the_plug_goes_away(editor_page):
    picture = editor_page()
    # another notebook removed the socket, and this picture has not heard of it
    picture.page.evaluate("() => { delete flow.graph.sockets.join }")
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.refusal).to_contain_text("no socket named 'join'; known: count, load, scale")
    expect(picture.page.locator(".ec-pending")).to_have_count(0)


def test_click_on_an_output_and_then_on_an_argument_plugs_them(editor_page):
    picture = editor_page()
    picture.output("count").click()
    expect(picture.output("count")).to_have_attribute("aria-pressed", "true")
    expect(picture.argument("label", "join")).to_contain_class("ec-unfit")
    picture.argument("one", "join").click()
    expect(picture.said).to_have_text("plugged count → join.one")
    expect(picture.output("count")).to_have_attribute("aria-pressed", "false")


def test_escape_ends_a_plug_begun_by_click(editor_page):
    picture = editor_page()
    picture.output("count").click()
    picture.page.keyboard.press("Escape")
    expect(picture.output("count")).to_have_attribute("aria-pressed", "false")
    expect(picture.argument("one", "join")).not_to_contain_class("ec-fits")


def test_delete_unplugs_the_selected_plug_and_undo_brings_it_back(editor_page):
    picture = editor_page()
    picture.select("load count text result")
    picture.page.keyboard.press("Delete")
    expect(picture.plug("load count text result")).to_have_count(0)
    expect(picture.said).to_have_text("unplugged load → count.text")
    picture.button("Undo").click()
    expect(picture.plug("load count text result")).to_be_attached()
    picture.page.keyboard.press("Control+Shift+z")
    expect(picture.plug("load count text result")).to_have_count(0)
    assert picture.plugs() == []


def test_panel_of_a_plug_changes_its_options_each_as_one_edit(editor_page):
    picture = editor_page()
    picture.plug("load count text result").click()
    panel = picture.panel("Plug load → count.text")
    panel.get_by_role("checkbox").check()
    expect(picture.canvas.get_by_role("button", name="Plug load → count.text")).to_have_text("map")
    panel.get_by_label("gather").select_option("those that were done; failed ones are left out")
    expect(picture.canvas.get_by_role("button", name="Plug load → count.text")).to_have_text("map · gather")
    panel.get_by_label("carries").select_option("errors of calls that failed for good")
    expect(picture.panel("Plug load → count.text on error")).to_be_visible()
    expect(picture.plug("load count text error")).to_be_attached()
    assert [edit["changes"][0]["op"] for edit in picture.asked("edit")] == ["plug", "plug", "replug"]
    assert picture.flow("graph.plugs")[0] | {"id": 0} == {
        "id": 0, "source": "load", "target": "count", "argument": "text",
        "on": "error", "map": True, "gather": "done", "when": None, "pick": None,
    }  # fmt: skip


def test_panel_of_a_plug_unplugs_it(editor_page):
    picture = editor_page()
    picture.plug("load count text result").click()
    picture.panel("Plug load → count.text").get_by_role("button", name="Unplug").click()
    expect(picture.panel("Plug load → count.text")).to_have_count(0)
    assert picture.plugs() == []


def test_plugs_of_a_copied_socket_are_pasted_onto_another_as_one_edit(editor_page):
    picture = editor_page("six")
    picture.card("longest").locator(".ec-name").click()
    picture.page.keyboard.press("Control+c")
    expect(picture.said).to_have_text("2 plugs copied; select a socket and paste")
    picture.card("count").locator(".ec-name").click()
    picture.page.keyboard.press("Control+v")
    # load feeds count.text already, and a dict is no element of list[str] without gather, which was copied too
    expect(picture.said).to_have_text("1 plug pasted onto count; 1 did not fit")
    assert "count -> report.longest" in picture.plugs()
    picture.page.keyboard.press("Control+z")
    expect(picture.plug("count report longest result")).to_have_count(0)


def test_copied_plug_is_pasted_into_the_argument_of_the_same_name(editor_page):
    picture = editor_page("six")
    picture.flow(
        "op_edit({changes: [{op: 'unplug', source: 'load', target: 'count', argument: 'text', on: 'result'}]})"
    )
    expect(picture.plug("load count text result")).to_have_count(0)
    picture.select("load longest text result", at=0.45)
    picture.page.keyboard.press("Control+c")
    expect(picture.said).to_have_text("1 plug copied; select a socket and paste")
    picture.card("count").locator(".ec-name").click()
    picture.page.keyboard.press("Control+v")
    expect(picture.said).to_have_text("1 plug pasted onto count")
    assert "load -> count.text" in picture.plugs()


def test_depth_of_a_plug_is_drawn_on_it(editor_page):
    picture = editor_page()
    picture.page.evaluate("() => { flow.depths = {1: 1234} }")
    expect(picture.canvas.get_by_role("button", name="Plug load → count.text: 1,234 on the way")).to_have_text("1,234")
