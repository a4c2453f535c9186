"""Time in the picture: what waits for its time, and what calls a socket by itself."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.test_editor_look import violations


def test_a_card_says_when_it_is_called_and_how_many_calls_wait_for_their_time(editor_page, axe):
    picture = editor_page()
    name = picture.page.evaluate("Object.keys(flow.graph.sockets)[0]")
    picture.page.evaluate("name => flow.ticks(name, 'every 5m')", name)
    card = picture.card(name)
    expect(card.locator(".ec-times")).to_have_text("every 5m")
    expect(card.locator(".ec-times")).to_have_attribute("title", "Called by itself: every 5m")
    request = picture.page.evaluate("name => flow.request(name, 'delayed', {}).id", name)
    expect(card).to_contain_text("waits for its time")
    picture.button(f"1 delayed at {name}").click()
    panel = picture.panel(f"Delayed requests of {name}")
    expect(panel).to_contain_text("delayed")
    assert violations(picture, axe) == []
    panel.get_by_role("button", name="Cancel these").click()
    picture.page.wait_for_function("flow.asked.some(one => one.op === 'cancel')")
    assert [one["ids"] for one in picture.asked("cancel")] == [[request]]
