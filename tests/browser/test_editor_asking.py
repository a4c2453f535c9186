"""Sockets that ask a person in the picture, and what an edit tells of what is under way."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.attacks import ATTACKS
from tests.browser.conftest import shown
from tests.browser.test_editor_look import violations


def asking(picture, prompt="Publish this?", choices=("yes", "no"), values=("a draft",)):
    """A socket that asks about some values; the requests that do."""
    picture.page.evaluate("([p, c]) => flow.asks('approve', p, c)", [prompt, choices and list(choices)])
    requests = [
        picture.page.evaluate("v => flow.request('approve', 'asked', {value: {shown: v}}).id", shown(value))
        for value in values
    ]
    expect(picture.card("approve")).to_contain_text("waits for a person")
    return requests


def answers(picture):
    return [(one["request"], one["answer"]) for one in picture.asked("respond")]


def test_card_asks_shows_what_it_is_about_and_takes_the_answer(editor_page):
    picture = editor_page()
    first, second = asking(picture, values=("draft one", "draft two"))
    card = picture.card("approve")
    expect(card.get_by_role("group", name="approve asks: Publish this?")).to_contain_text("draft one")
    expect(picture.button("2 asked at approve")).to_be_visible()
    picture.button(f"Answer yes to request {first} of approve").click()
    expect(picture.said).to_have_text(f"answered yes to request {first} of approve")
    expect(card).to_contain_text("draft two")
    picture.button(f"Answer no to request {second} of approve").click()
    expect(picture.last("approve").locator(".ec-prompt")).to_have_count(0)
    assert answers(picture) == [(first, "yes"), (second, "no")]


def test_panel_lists_all_questions_and_says_who_was_first(editor_page):
    picture = editor_page()
    first, second = asking(picture, choices=None, values=("draft one", "draft two"))
    picture.button("Answer approve").click()
    panel = picture.panel("Waiting at approve")
    expect(panel.locator(".ec-question")).to_have_count(2)
    expect(panel).to_contain_text("draft two")
    # somebody else is quicker, and the picture has not heard of it
    picture.page.evaluate("n => { flow.found(n).answered = 'ben answered 1' }", first)
    panel.get_by_label(f"Answer to request {first}").fill("2")
    picture.page.keyboard.press("Enter")
    expect(picture.said).to_have_text(f"request {first} of 'approve' was answered before: ben answered 1")
    panel.get_by_label(f"Answer to request {second}").fill("all of it")
    panel.get_by_role("button", name="Answer", exact=True).last.click()
    expect(panel.locator(".ec-question")).to_have_count(1)
    assert answers(picture)[-1] == (second, "all of it")


def test_questions_are_answered_and_cancelled_by_keyboard(editor_page):
    picture = editor_page()
    first, second = asking(picture, values=(1, 2))
    picture.card("approve").focus()
    picture.page.keyboard.press("Enter")
    picture.page.keyboard.type("Answer what")
    picture.page.keyboard.press("Enter")
    panel = picture.panel("Waiting at approve")
    yes = panel.get_by_role("group", name=f"Answers to request {first}").get_by_role("button", name="yes")
    yes.focus()
    picture.page.keyboard.press("Enter")
    expect(panel.locator(".ec-question")).to_have_count(1)
    panel.get_by_role("button", name="Cancel the request").focus()
    picture.page.keyboard.press("Enter")
    expect(panel).to_contain_text("Nothing waits here.")
    assert answers(picture) == [(first, "yes")]
    assert picture.flow(f"found({second}).state") == "cancelled"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_where_a_socket_asks(editor_page, axe, theme):
    picture = editor_page(theme=theme)
    asking(picture, values=("draft", [{"word": "a", "n": 1}]))
    picture.button("Outline").click()
    assert violations(picture, axe) == []
    picture.button("All 2 that approve asks").click()
    expect(picture.panel("Waiting at approve").locator("table")).to_be_visible()
    assert violations(picture, axe) == []


def test_prompts_and_choices_that_would_run_something_are_text(editor_page):
    picture = editor_page()
    choices = [attack[:200] for attack in ATTACKS]
    asking(picture, prompt="".join(ATTACKS)[:2000], choices=choices, values=(ATTACKS[0],))
    picture.button("Answer approve").click()
    panel = picture.panel("Waiting at approve")
    expect(panel.locator(".ec-acts").first.get_by_role("button")).to_have_count(len(choices))
    panel.get_by_role("button", name=choices[0], exact=True).click()
    expect(picture.said).to_contain_text(choices[0])
    picture.page.wait_for_timeout(200)
    assert picture.page.evaluate("() => window.hit ?? top.hit ?? null") is None
    assert picture.page.locator(".ec-box script, .ec-box img, .ec-question iframe").count() == 0


def test_an_edit_tells_what_became_of_what_was_under_way(editor_page):
    picture = editor_page()
    for _ in range(3):
        picture.flow("request('count', 'queued')")
    expect(picture.button("3 queued at count")).to_be_visible()
    picture.drag(picture.output("count"), picture.argument("one", "join"))
    expect(picture.said).to_have_text("plugged count → join.one: 3 to 'join', 0 lost")
    picture.button("Undo").click()
    expect(picture.said).to_contain_text("undone: plug count -> join.one")


def test_while_a_plug_is_in_the_hand_or_something_is_selected_it_is_foretold(editor_page):
    picture = editor_page()
    picture.flow("request('count', 'queued')")
    expect(picture.button("1 queued at count")).to_be_visible()
    foretold = picture.page.locator(".ec-foretold")
    expect(foretold).to_have_count(0)
    picture.drag(picture.output("count"), picture.argument("one", "join"), drop=False)
    expect(foretold).to_have_text("plugged here: 1 to 'join', 0 lost")
    assert picture.plugs() == ["load -> count.text"]
    picture.page.mouse.up()
    expect(picture.plug("count join one result")).to_be_attached()
    expect(foretold).to_have_count(0)
    assert (len(picture.asked("foretell")), len(picture.asked("edit"))) == (1, 1)
    picture.select("count join one result")
    expect(foretold).to_have_text("Delete: 1 of 'count' to nothing, 0 lost")
    picture.page.keyboard.press("Delete")
    expect(picture.said).to_have_text("unplugged count → join.one: 1 of 'count' to nothing, 0 lost")
