"""The picture at home in its page: what one can add from the canvas, its menus, its banner, the whole screen."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.attacks import ATTACKS

# what the plugin of JupyterLab does: it marks the page and answers what pictures ask
LAB = """() => {
  document.body.dataset.ecLab = '';
  window.asked = [];
  document.addEventListener('ec-lab', ({ detail }) => {
    asked.push([detail.what, detail.flow, detail.args]);
    detail.answer = Promise.resolve({ ok: true });
  });
}"""
VALUE = "[{name: 'value', kind: 'POSITIONAL_OR_KEYWORD', required: true, default: null, annotation: 'int'}]"


def empty_spot(picture):
    """A place of the canvas with nothing on it, low at the right."""
    box = picture.canvas.bounding_box()
    return box["x"] + box["width"] - 40, box["y"] + box["height"] - 40


def test_plug_let_go_over_nothing_makes_a_cell_in_the_notebook_that_is_plugged_once_it_has_run(editor_page):
    picture = editor_page()
    picture.page.evaluate(LAB)
    x, y = empty_spot(picture)
    picture.drag(picture.output("count"), picture.output("count"), drop=False)
    picture.page.mouse.move(x, y, steps=6)
    picture.page.mouse.up()
    picture.choose("New socket fed by count")
    panel = picture.panel("New socket")
    panel.get_by_label("Name").fill("double")
    # outside every frame it is on the processor of what feeds it
    cell = "%%ec_socket --processor io\ndef double(value: int):\n    return value"
    expect(panel.get_by_label("Its cell")).to_have_text(cell)
    panel.get_by_role("button", name="Add cell").click()
    expect(picture.said).to_have_text("a cell for double is in the notebook: plugged once it has run")
    assert picture.page.evaluate("() => asked") == [["cell", "demo", {"code": cell}]]
    picture.flow(f"declare('double', {VALUE})")
    expect(picture.plug("count double value result")).to_be_attached()
    where = picture.flow("graph.sockets.double.box")
    assert [round(n) for n in where[:2]] == picture.asked("edit")[-1]["changes"][0]["positions"]["double"]
    # its place and its plug are one step of undo
    picture.button("Undo").click()
    expect(picture.plug("count double value result")).to_have_count(0)
    expect(picture.card("double")).to_be_visible()


def test_where_there_is_no_notebook_a_new_socket_says_what_to_do(editor_page):
    picture = editor_page()
    picture.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    picture.page.mouse.dblclick(*empty_spot(picture))
    picture.choose("New socket")
    panel = picture.panel("New socket")
    expect(panel).to_contain_text("paste it into a cell of the notebook and run it")
    panel.get_by_label("Name").fill("no name")
    expect(panel.get_by_role("alert")).to_have_text('"no name" is no name of a Python function')
    panel.get_by_label("Name").fill("count")
    expect(panel.get_by_role("alert")).to_have_text("there is a socket count already")
    panel.get_by_label("Name").fill("twice")
    panel.get_by_role("button", name="Copy").click()
    expect(panel.get_by_role("alert")).to_have_text("Copied: paste it into a cell of the notebook, and run it.")
    assert picture.page.evaluate("navigator.clipboard.readText()") == "%%ec_socket\ndef twice():\n    return None"
    expect(picture.button("Open in tab")).to_have_count(0)


def test_menus_open_on_card_plug_and_canvas_with_the_mouse_and_by_keyboard(editor_page):
    picture = editor_page()
    picture.card("join").click(button="right", position={"x": 60, "y": 14})
    expect(picture.chooser).to_have_accessible_name("socket join")
    picture.page.keyboard.press("Escape")
    picture.page.mouse.click(*empty_spot(picture), button="right")
    expect(picture.chooser).to_have_accessible_name("Add to the picture")
    picture.page.keyboard.press("Escape")
    line = picture.plug("load count text result").locator(".react-flow__edge-interaction")
    line.dispatch_event("contextmenu", {"bubbles": True, "cancelable": True})
    expect(picture.chooser).to_have_accessible_name("plug load → count.text")
    picture.page.keyboard.press("Escape")
    picture.card("count").focus()
    picture.page.keyboard.press("Shift+F10")
    expect(picture.chooser).to_have_accessible_name("socket count")
    picture.page.keyboard.press("Escape")
    expect(picture.card("count")).to_be_focused()
    picture.canvas.focus()
    picture.page.keyboard.press("Enter")
    expect(picture.chooser).to_have_accessible_name("Add to the picture")


def test_a_note_is_written_on_the_canvas_moved_and_undone(editor_page):
    picture = editor_page()
    x, y = empty_spot(picture)
    picture.page.mouse.dblclick(x, y - 40)
    picture.choose("Note")
    text = picture.page.get_by_label("Text of the note")
    expect(text).to_be_focused()
    text.fill("ask Ada\nabout the units")
    picture.page.keyboard.press("Control+Enter")
    note = picture.canvas.get_by_role("group", name="note: ask Ada")
    expect(note).to_have_text("ask Ada\nabout the units")
    expect(note).to_be_focused()
    # made at the edge, it is seen whole
    before, canvas = note.bounding_box(), picture.canvas.bounding_box()
    assert before["x"] + before["width"] <= canvas["x"] + canvas["width"]
    assert before["y"] + before["height"] <= canvas["y"] + canvas["height"]
    picture.page.mouse.move(before["x"] + 30, before["y"] + 12)
    picture.page.mouse.down()
    picture.page.mouse.move(before["x"] - 30, before["y"] - 28, steps=6)
    picture.page.mouse.up()
    expect(picture.said).to_have_text("moved a note")
    place = picture.flow("graph.notes[0].place")
    number = picture.flow("graph.notes[0].id")
    assert picture.asked("edit")[-1]["changes"] == [{"op": "note", "id": number, "place": place}]
    picture.button("Undo").click()
    picture.page.wait_for_function("place => flow.graph.notes[0].place[0] !== place", arg=place[0])
    note.focus()
    picture.page.keyboard.press("Delete")
    expect(note).to_have_count(0)
    picture.button("Undo").click()
    expect(note).to_have_text("ask Ada\nabout the units")


def test_what_a_note_says_runs_nowhere(editor_page, fetched):
    picture = editor_page()
    for n, attack in enumerate(ATTACKS):
        picture.page.evaluate(
            "([text, at]) => flow.op_edit({ changes: [{ op: 'note', text, place: [at * 250, 700] }] })", [attack, n]
        )
    notes = picture.page.locator(".ec-note")
    expect(notes).to_have_count(len(ATTACKS))
    assert notes.locator("p").all_text_contents() == ATTACKS
    assert notes.locator("p *").count() == 0
    picture.button("Outline").click()
    assert picture.page.evaluate("() => window.hit") is None
    assert not [path for path in fetched if "hit" in path]


def test_open_in_tab_asks_the_lab_around_the_picture(editor_page):
    picture = editor_page()
    picture.page.evaluate(LAB)
    picture.button("Rates and latency").click()
    picture.button("Open in tab").click()
    picture.page.wait_for_function("() => asked.length === 1")
    assert picture.page.evaluate("() => asked") == [["tab", "demo", {}]]


def test_where_a_front_end_lacks_something_the_help_says_so_in_one_line(editor_page):
    picture = editor_page()
    picture.button("Help").click()
    expect(picture.panel("Help").locator(".ec-warn")).to_have_count(0)
    picture.panel("Help").get_by_role("button", name="Close").click()
    picture.page.evaluate("() => { document.body.dataset.vscodeThemeKind = 'vscode-light' }")
    picture.button("Help").click()
    said = "In VS Code: Edits wait until a running cell has ended"
    expect(picture.panel("Help").locator(".ec-warn")).to_contain_text(said)


def test_the_picture_fills_the_screen_and_comes_back(editor_page):
    picture = editor_page()
    picture.button("Full screen").click()
    picture.page.wait_for_function("() => document.fullscreenElement?.classList.contains('ec-root')")
    picture.card("join").focus()
    picture.page.keyboard.press("f")
    picture.page.wait_for_function("() => !document.fullscreenElement")


def test_one_banner_says_what_is_wrong_with_one_button(editor_page):
    picture = editor_page("six")
    banner = picture.page.locator(".ec-banner")
    # a node that cannot be reached, where all else is well
    expect(banner).to_contain_text("Node lab2 is down")
    expect(banner.get_by_role("button")).to_have_text(["Try again"])
    picture.page.evaluate("() => model.engine('stopped', 'the engine was stopped')")
    expect(banner).to_contain_text("Stopped: numbers of")
    expect(banner.get_by_role("button")).to_have_text(["Start"])
    expect(banner).to_have_count(1)
    # it hides nothing: what lies under it is there for the pointer
    assert banner.evaluate("one => getComputedStyle(one).pointerEvents") == "none"
