"""The code beside the node: its versions, what differs, a new one written in place; Python in the options of plugs."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from tests.attacks import ATTACKS


def code_of(picture, socket):
    picture.card(socket).focus()
    picture.page.keyboard.press("Enter")
    picture.choose("Code")
    return picture.panel(f"Code of {socket}")


def test_code_is_highlighted_edited_in_place_and_its_versions_are_compared(editor_page):
    picture = editor_page()
    panel = code_of(picture, "count")
    source = panel.get_by_label("Source")
    expect(source.locator(".hljs-keyword")).to_have_text(["def"])
    before = source.text_content()
    panel.get_by_role("button", name="Edit").click()
    field = panel.get_by_label("Source")
    expect(field).to_be_focused()
    # wrong first: what was typed stays, and the line is marked
    field.fill("def f(text):\n    return ?\n")
    panel.get_by_role("button", name="Run as new version").click()
    expect(panel.get_by_role("alert")).to_have_text("line 2: SyntaxError: invalid syntax")
    expect(panel.locator("[data-line='2']")).to_be_visible()
    field.fill("def f(text):")
    field.press("End")
    field.press("Enter")
    picture.page.keyboard.type("return 2")
    expect(field).to_have_value("def f(text):\n    return 2")
    field.press("Control+Enter")
    expect(picture.said).to_have_text("count runs version 2 from now on")
    expect(panel.get_by_label("Source")).to_have_text("def f(text):\n    return 2")
    panel.get_by_label("compare with").select_option("1")
    lines = panel.get_by_label("Differences")
    expect(lines.locator(".ec-added")).to_have_text(["+def f(text):", "+    return 2"])
    removed = [f"-{line}" for line in before.splitlines() if line not in ("def f(text):",)]
    assert lines.locator(".ec-removed").all_text_contents() == removed
    # one step of undo takes the version back
    picture.button("Undo").click()
    panel.get_by_label("compare with").select_option("")
    expect(panel.get_by_label("Source")).to_have_text(before)


def test_code_that_would_like_to_run_in_the_page_is_text(editor_page, fetched):
    picture = editor_page()
    text = "\n".join(f"x{n} = {json.dumps(attack)}  # {attack}" for n, attack in enumerate(ATTACKS))
    picture.page.evaluate("source => flow.op_redefine({ socket: 'count', source })", text)
    panel = code_of(picture, "count")
    expect(panel.get_by_label("Source")).to_have_text(text)
    panel.get_by_label("compare with").select_option("1")
    expect(panel.get_by_label("Differences")).to_contain_text("top.hit")
    assert panel.locator("pre :not(span):not(i)").count() == 0
    assert picture.page.evaluate("() => window.hit") is None
    assert not [path for path in fetched if "hit" in path]


def test_the_cell_of_a_task_is_shown_and_rewritten_where_there_is_a_lab(editor_page):
    picture = editor_page()
    picture.page.evaluate(
        "() => { document.body.dataset.ecLab = ''; window.asked = [];"
        " document.addEventListener('ec-lab', ({ detail }) => { asked.push([detail.what, detail.args.socket]);"
        " detail.answer = Promise.resolve({ ok: detail.what !== 'editor' }) }) }"
    )
    panel = code_of(picture, "count")
    panel.get_by_role("button", name="Go to its cell").click()
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_label("Source").fill("def f(text):\n    return 3")
    panel.get_by_role("button", name="Run as new version").click()
    expect(picture.said).to_have_text("count runs version 2 from now on; its cell too")
    asked = picture.page.evaluate("() => asked.filter(([what]) => what !== 'editor')")
    assert asked == [["jump", "count"], ["write", "count"]]


def test_conditions_and_keys_are_set_in_place_and_undone(editor_page):
    picture = editor_page()
    picture.plug("load count text result").locator(".react-flow__edge-interaction").dispatch_event("click")
    panel = picture.panel("Plug load → count.text")
    panel.get_by_label("when").fill("result ?")
    panel.get_by_role("button", name="Set when").click()
    expect(panel.get_by_role("alert")).to_contain_text("when 'result ?' is no expression")
    panel.get_by_label("when").fill("len(result) > 3")
    panel.get_by_role("button", name="Set when").click()
    expect(picture.said).to_have_text("load → count.text carries what len(result) > 3 holds for")
    # the rest of a plug with a condition can be changed, too
    panel.get_by_label("map").check()
    picture.page.wait_for_function("() => flow.graph.plugs[0].map")
    assert picture.flow("graph.plugs[0].when") == "len(result) > 3"
    panel.get_by_label("carries").select_option("errors of calls that failed for good")
    expect(picture.panel("Plug load → count.text on error")).to_be_visible()
    assert picture.flow("graph.plugs.map(p => [p.on, p.when])") == [["error", "len(result) > 3"]]
    picture.panel("Plug load → count.text on error").get_by_label("carries").select_option("results")
    expect(panel).to_be_visible()
    picture.page.keyboard.press("Escape")
    # the cards take their places anew when the panel goes: a click at a place could miss
    picture.card("join").dispatch_event("dblclick")
    panel = picture.panel("Socket join")
    panel.get_by_label("key").fill("value.id")
    panel.get_by_role("button", name="Set key").click()
    picture.page.wait_for_function("() => flow.graph.sockets.join.key === 'value.id'")


def test_the_code_panel_breaks_no_rule_of_accessibility_in_either_theme(editor_page, axe):
    for theme in ("light", "dark"):
        picture = editor_page(theme=theme)
        picture.flow("op_edit({ changes: [{ op: 'note', text: 'a note', place: [0, 300] }] })")
        picture.flow("op_redefine({ socket: 'count', source: 'def f(text):\\n    return \"x\", 2  # why' })")
        panel = code_of(picture, "count")
        panel.get_by_label("compare with").select_option("1")
        picture.page.evaluate("() => model.engine('stopped')")
        expect(picture.page.locator(".ec-banner")).to_be_visible()
        picture.page.evaluate(axe)
        found = picture.page.evaluate("() => axe.run('.ec-root').then(({ violations }) => violations)")
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
