"""Sockets and processors changed and moved in the picture."""

from __future__ import annotations

from playwright.sync_api import expect


def place(picture, socket):
    """Where the card lies, in pixels."""
    box = picture.card(socket).bounding_box()
    return round(box["x"]), round(box["y"])


def pull(picture, element, dx, dy):
    """Drags an element by its name."""
    x, y = element.bounding_box()["x"] + 60, element.bounding_box()["y"] + 12
    picture.page.mouse.move(x, y)
    picture.page.mouse.down()
    # a drag begins with the first step, and counts from there
    picture.page.mouse.move(x + 2, y)
    picture.page.mouse.move(x + dx, y + dy, steps=5)
    picture.page.mouse.up()


def test_dragged_card_stays_where_it_was_dropped_and_undo_puts_it_back(editor_page):
    picture = editor_page()
    before = place(picture, "count")
    pull(picture, picture.card("count"), 80, 60)
    expect(picture.said).to_have_text("moved count")
    after = place(picture, "count")
    assert abs(after[0] - before[0] - 80) <= 4
    assert abs(after[1] - before[1] - 60) <= 4
    picture.button("Undo").click()
    expect(picture.said).to_have_text("undone: move count")
    assert place(picture, "count") == before


def test_card_dropped_on_another_processor_moves_there_as_one_edit_and_undo_brings_it_back(editor_page):
    picture = editor_page()
    before = place(picture, "count")
    target = picture.card("scale").bounding_box()
    x, y = before[0] + 60, before[1] + 12
    picture.page.mouse.move(x, y)
    picture.page.mouse.down()
    picture.page.mouse.move(x + 2, y)
    picture.page.mouse.move(target["x"] + 30, target["y"] + target["height"] + 4, steps=6)
    expect(picture.processor("gpu")).to_contain_class("ec-drop")
    picture.page.mouse.up()
    expect(picture.said).to_have_text("count on processor gpu now")
    assert picture.flow("graph.sockets.count.processor") == "gpu"
    [edit] = picture.asked("edit")
    assert [change["op"] for change in edit["changes"]] == ["position", "move"]
    expect(picture.processor("gpu")).not_to_contain_class("ec-drop")
    picture.button("Undo").click()
    expect(picture.said).to_contain_text("undone")
    assert picture.flow("graph.sockets.count.processor") == "io"
    assert place(picture, "count") == before


def test_what_a_drop_on_a_processor_would_move_is_foretold_while_the_card_is_held_over_it(editor_page):
    picture = editor_page()
    for state in ("running", "queued", "queued"):
        picture.flow(f"request('count', '{state}')")
    expect(picture.button("2 queued at count")).to_be_visible()
    before = place(picture, "count")
    target = picture.card("scale").bounding_box()
    picture.page.mouse.move(before[0] + 60, before[1] + 12)
    picture.page.mouse.down()
    picture.page.mouse.move(before[0] + 62, before[1] + 12)
    picture.page.mouse.move(target["x"] + 30, target["y"] + target["height"] + 4, steps=6)
    foretold = picture.page.locator(".ec-foretold")
    moved, stays = "2 of 'count' on its new processor", "1 of 'count' run on where they are"
    expect(foretold).to_have_text(f"on gpu: {moved}, {stays}, 0 lost")
    assert picture.flow("graph.sockets.count.processor") == "io"
    picture.page.mouse.up()
    expect(foretold).to_have_count(0)


def test_card_dropped_on_no_processor_keeps_its_own(editor_page):
    picture = editor_page()
    before = {name: place(picture, name) for name in ("load", "scale", "join")}
    pull(picture, picture.card("count"), 350, -20)
    expect(picture.said).to_have_text("moved count")
    assert picture.flow("graph.sockets.count.processor") == "io"
    assert {name: place(picture, name) for name in before} == before


def test_processor_takes_its_cards_along_and_leaves_the_others(editor_page):
    picture = editor_page()
    before = {name: place(picture, name) for name in ("load", "count", "join")}
    pull(picture, picture.processor("io"), 40, 0)
    expect(picture.said).to_have_text("moved load, count")
    assert place(picture, "join") == before["join"]
    assert all(abs(place(picture, name)[0] - before[name][0] - 40) <= 4 for name in ("load", "count"))


def test_several_cards_are_selected_by_a_box_and_moved_as_one_edit(editor_page):
    picture = editor_page()
    box, top = picture.processor("io").bounding_box(), picture.card("load").bounding_box()["y"] - 3
    picture.shift_drag(box["x"] + 4, top, box["x"] + box["width"] - 4, box["y"] + box["height"] - 4)
    expect(picture.page.locator(".ec-card.ec-selected")).to_have_count(2)
    rectangle = picture.page.locator(".react-flow__nodesselection-rect")
    pull(picture, rectangle, 0, 30)
    expect(picture.said).to_have_text("moved load, count")
    [edit] = picture.asked("edit")
    assert sorted(edit["changes"][0]["positions"]) == ["count", "load"]


def test_shift_click_adds_to_the_selection(editor_page):
    picture = editor_page()
    picture.card("load").locator(".ec-name").click()
    picture.card("join").locator(".ec-name").click(modifiers=["Shift"])
    expect(picture.page.locator(".ec-card.ec-selected")).to_have_count(2)


def test_tidy_lays_everything_out_anew_and_is_undone(editor_page):
    picture = editor_page()
    pull(picture, picture.card("count"), 80, 60)
    expect(picture.said).to_have_text("moved count")
    picture.button("Tidy").click()
    expect(picture.said).to_have_text("tidied; undo brings the places back")
    assert picture.flow("graph.sockets.count.box.slice(0, 2)") == [320, 0]
    picture.button("Undo").click()
    expect(picture.said).to_have_text("undone: tidy")


def test_folded_processor_is_one_card_with_the_plugs_of_its_sockets(editor_page):
    picture = editor_page("six")
    picture.button("Fold processor fast").click()
    expect(picture.card("count")).to_have_count(0)
    expect(picture.processor("fast")).to_contain_text("2 sockets")
    # and stays so where the page is loaded again
    picture.page.reload()
    expect(picture.processor("fast")).to_contain_text("2 sockets")
    # load feeds both of its sockets: one line in, and one out of it to each argument outside
    expect(picture.page.locator(".react-flow__edge")).to_have_count(5)
    picture.button("Unfold processor fast").click()
    expect(picture.card("count")).to_be_visible()
    expect(picture.page.locator(".react-flow__edge")).to_have_count(6)


def test_what_is_selected_is_grouped_by_keys_folded_named_anew_and_taken_apart(editor_page):
    picture = editor_page("six")
    page = picture.page
    picture.card("count").locator(".ec-name").click()
    picture.card("longest").locator(".ec-name").click(modifiers=["Shift"])
    page.keyboard.press("Control+g")
    page.keyboard.type("words of it")
    page.keyboard.press("Enter")
    expect(page.locator(".ec-panel .ec-warn")).to_have_text("'words of it' is no name for a group; try 'words_of_it'")
    page.keyboard.press("Control+a")
    page.keyboard.type("texts")
    page.keyboard.press("Enter")
    expect(picture.said).to_have_text("group texts: count, longest")
    picture.button("Fold group texts").click()
    expect(picture.card("count")).to_have_count(0)
    expect(page.locator(".react-flow__edge")).to_have_count(5)
    picture.flow("request('count', 'failed')")
    picture.flow("request('longest', 'failed')")
    group = picture.canvas.get_by_role("group", name="group texts", exact=True)
    expect(group).to_contain_class("ec-has-failed")
    expect(group).to_contain_text("failed2 sockets")
    picture.button("2 failed in group texts").click()
    page.get_by_role("option", name="longest").click()
    expect(page.get_by_role("heading", name="Failed requests of longest")).to_be_visible()
    page.keyboard.press("Escape")
    picture.button("Details of group texts").click()
    picture.button("Rename").click()
    page.keyboard.type("words")
    page.keyboard.press("Enter")
    expect(picture.said).to_have_text("group texts is words now")
    # still folded, under its new name
    expect(picture.button("Unfold group words")).to_be_visible()
    page.locator("[data-place='g:words']").focus()
    page.keyboard.press("Delete")
    expect(picture.said).to_have_text("group words is dissolved; undo brings it back")
    expect(picture.card("count")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(picture.button("Unfold group words")).to_be_visible()
    page.locator("[data-place='g:words']").focus()
    page.keyboard.press("Control+Shift+g")
    expect(picture.button("Unfold group words")).to_have_count(0)


def test_processor_is_added_and_a_bad_name_is_refused_in_the_form(editor_page):
    picture = editor_page()
    picture.button("Add a processor").click()
    form = picture.panel("Add a processor")
    form.get_by_label("Name").fill("big box")
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert")).to_have_text("'big box' is no name for a processor; try 'big_box'")
    form.get_by_label("Name").fill("big_box")
    form.get_by_label("CPUs").fill("3")
    form.get_by_role("button", name="Add").click()
    expect(picture.processor("big_box")).to_contain_text("/3 CPUs")


def test_cpus_of_a_processor_are_resized(editor_page):
    picture = editor_page()
    picture.button("Details of processor io").click()
    panel = picture.panel("Processor io")
    panel.get_by_label("CPUs").fill("6")
    panel.get_by_role("button", name="Resize").click()
    expect(picture.processor("io")).to_contain_text("0/6 CPUs")
    picture.button("Undo").click()
    expect(picture.processor("io")).to_contain_text("0/2 CPUs")


def test_socket_is_moved_to_another_processor(editor_page):
    picture = editor_page()
    picture.button("Actions of scale").click()
    picture.choose("Move to processor io")
    expect(picture.said).to_have_text("scale runs on io")
    assert picture.flow("graph.sockets.scale.processor") == "io"


def test_socket_is_renamed_and_a_taken_name_refused(editor_page):
    picture = editor_page()
    picture.button("Actions of scale").click()
    picture.choose("Rename")
    form = picture.panel("Rename scale")
    form.get_by_label("New name").fill("join")
    form.get_by_role("button", name="Rename").click()
    expect(form.get_by_role("alert")).to_have_text("there is a socket 'join' already")
    form.get_by_label("New name").fill("times")
    form.get_by_role("button", name="Rename").click()
    expect(picture.card("times")).to_be_visible()
    expect(picture.card("scale")).to_have_count(0)


def test_argument_is_fixed_to_a_value_and_let_go(editor_page):
    picture = editor_page()
    picture.argument("by", "scale").click()
    picture.choose("Fix a value")
    form = picture.panel("Fix by of scale")
    form.get_by_label("by").fill("3.5")
    form.get_by_role("button", name="Fix").click()
    expect(picture.card("scale")).to_contain_text("byfloat ≡ 3.5")
    picture.argument("by", "scale").click()
    picture.choose("Take the fixed value away")
    expect(picture.card("scale")).to_contain_text("byfloat = 2.0")


def test_socket_with_waiting_values_is_removed_only_on_purpose(editor_page):
    picture = editor_page()
    picture.flow("arrive('join', 'one', 3)")
    picture.card("join").locator(".ec-name").click()
    picture.page.keyboard.press("Delete")
    expect(picture.refusal).to_contain_text("1 requests or values wait at socket 'join'")
    picture.refusal.get_by_role("button", name="Remove it and park what waits").click()
    expect(picture.card("join")).to_have_count(0)
    picture.button("Undo").click()
    expect(picture.card("join")).to_be_visible()


def test_wiring_made_in_code_appears_and_is_told(editor_page):
    picture = editor_page("one")
    picture.page.evaluate(
        "() => { const next = structuredClone(flow.graph);"
        " next.sockets.twice = {...structuredClone(next.sockets.add), box: [320, 0, 232, 124]};"
        " flow.show(next) }"
    )
    expect(picture.card("twice")).to_be_visible()
    expect(picture.said).to_have_text("new: twice")


def test_empty_flow_says_how_to_begin(editor_page):
    picture = editor_page("empty")
    expect(picture.page.get_by_text("No sockets yet.")).to_be_visible()
    expect(picture.page.get_by_text("%%ec_socket")).to_be_visible()
