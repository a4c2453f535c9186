"""The log and the last hour in the picture, answered by the engine's own code over rows in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from ec_jupyter.client import commands
from ec_jupyter.engine import log_lines
from ec_jupyter.engine.statistics import Statistics
from ec_jupyter.flow.measures import STEP, Point, add_seconds
from tests.attacks import ATTACKS, AWAY
from tests.browser.test_editor_look import violations
from tests.store.rig import Memory, start, topology

REQUEST = "INSERT INTO request (id, socket, run, tag, state, arguments, created) VALUES (?, ?, ?, '', 'done', '{}', 1)"


class Fleet:
    """This machine alone, with nothing to do."""

    def running(self) -> dict[int, float]:
        return {}

    def facts(self) -> list[dict[str, Any]]:
        return [{"name": "local"}]

    def used(self) -> list[Any]:
        return []


class Records:
    """Rows of a flow, asked for as a client asks its engine."""

    connected = True

    def __init__(self) -> None:
        self.core = start(Memory(), topology({"load": ["path"], "count": ["text"], "join": ["one", "two"]}))
        for request, socket in ((1, 1), (2, 2), (3, 1)):
            self.core.store.db.execute(REQUEST, (request, socket, request))
        self.now = time.time() - 600

    def ask(self, kind: str, header: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        if header["what"] == "log":
            return log_lines.lines(self.core, header)
        return Statistics(self.core, Fleet()).answer(header), []

    def answer(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        return commands.answer(self, op, args)  # type: ignore[arg-type]

    # -- what happens --------------------------------------------------------
    def said(self, request: int, text: str, stream: str = "stdout") -> None:
        self.now += 1
        self.core.store.write("add_output", (request, stream, text, self.now))

    def event(self, kind: str, subject: str | None, detail: str) -> None:
        self.now += 1
        self.core.store.write("add_event", (self.now, kind, subject, detail))

    def hour(self) -> None:
        """Calls of load for most of an hour, more and slower ones towards its end; a few of count."""
        now = int(time.time()) // STEP * STEP
        for n in range(100):
            took: dict[int, int] = {}
            waited: dict[int, int] = {}
            add_seconds(took, [0.02 + n / 2000] * (20 + n))
            add_seconds(waited, [0.001 * n] * (20 + n))
            point = Point(20 + n, n % 3, took, waited, 30.0 * (n % 20), 60.0, 40.0, n % 23, (300 + n) << 20)
            for kind, key in (("socket", "1"), ("processor", "main"), ("node", "local")):
                self.core.store.write("put_statistic", (now - (100 - n) * STEP, kind, key, point.text()))
        self.core.store.write("put_statistic", (now - 40 * STEP, "socket", "2", Point(3).text()))


ASKED: dict[Any, Records] = {}
"""Whose records the pages of this module ask for."""


@pytest.fixture
def records() -> Iterator[Records]:
    found = Records()
    yield found
    # after the page, which may be asking still
    found.core.store.close()


@pytest.fixture
def recorded(records: Records, editor_page: Callable[..., Any]) -> Callable[..., Any]:
    """Opens the editor on a flow whose records these are."""

    def show(**query: Any) -> Any:
        picture = editor_page(**query)
        page, known = picture.page, picture.page in ASKED
        ASKED[page] = records

        def answer(op: str, args: dict[str, Any]) -> dict[str, Any]:
            # a page is used by one test after the other, and keeps the function
            return ASKED[page].answer(op, args)

        if not known:
            page.expose_function("records", answer)
        return picture

    return show


def lines(picture: Any) -> Any:
    return picture.panel("Log").get_by_role("log", name="Lines").get_by_role("listitem")


# -- the log -------------------------------------------------------------------
def test_log_has_all_kinds_in_order_and_leads_to_request_and_socket(recorded, records):
    records.said(1, "reading\n")
    records.said(2, "WARNING mine: slow\n", "log")
    records.event("failed", "2", "ValueError: no")
    records.core.store.write("put_revision", (1, "[]", "plug load -> count.text", records.now + 1, 0))
    picture = recorded()
    picture.button("Log").click()
    expect(lines(picture).locator("pre")).to_have_text(
        ["reading", "WARNING mine: slow", "ValueError: no", "plug load -> count.text"]
    )
    expect(lines(picture).locator(".ec-kind")).to_have_text(["stdout", "log", "failed", "edit"])
    made = picture.flow("fail('count', 'ValueError', 'no').id")
    picture.page.evaluate("made => { flow.found(made).id = 2 }", made)
    lines(picture).nth(2).get_by_role("button", name="Request 2").click()
    expect(picture.panel("Request 2 of count").get_by_label("Traceback")).to_be_visible()
    picture.button("Log").click()
    lines(picture).first.get_by_role("button", name="load").click()
    expect(picture.panel("Socket load")).to_be_visible()


def test_log_is_filtered_by_text_level_socket_and_run_where_the_rows_are(recorded, records):
    records.said(1, "one needle\n")
    records.said(2, "hay\n")
    records.said(3, "ERROR x: needle\n", "log")
    picture = recorded()
    picture.button("Log").click()
    panel, text = picture.panel("Log"), lines(picture).locator("pre")
    expect(text).to_have_count(3)
    panel.get_by_label("Text").fill("NEEDLE")
    expect(text).to_have_text(["one needle", "ERROR x: needle"])
    panel.get_by_label("Level").select_option("errors")
    expect(text).to_have_text(["ERROR x: needle"])
    panel.get_by_label("Level").select_option("every level")
    panel.get_by_label("Text").fill("")
    panel.get_by_label("Socket").select_option("count")
    expect(text).to_have_text(["hay"])
    panel.get_by_label("Socket").select_option("every socket")
    panel.get_by_label("Run").fill("3")
    expect(text).to_have_text(["ERROR x: needle"])
    panel.get_by_label("Run").fill("2")
    panel.get_by_label("Level").select_option("errors")
    expect(panel).to_contain_text("Nothing of this level.")
    assert picture.asked("log")[-1]["run"] == 2


def test_request_leads_to_its_own_log(recorded, records):
    records.said(1, "of another\n")
    records.said(2, "its own line\n")
    picture = recorded()
    made = picture.flow("fail('count', 'ValueError', 'no').id")
    picture.page.evaluate("made => { flow.found(made).id = 2 }", made)
    picture.button("1 failed at count").click()
    picture.panel("Failed requests of count").get_by_role("button", name="request 2").click()
    picture.panel("Request 2 of count").get_by_role("button", name="Its log").click()
    expect(lines(picture).locator("pre")).to_have_text(["its own line"])
    picture.panel("Log").get_by_label("Request", exact=True).fill("")
    expect(lines(picture).locator("pre")).to_have_text(["of another", "its own line"])


def test_log_follows_at_its_end_stands_still_while_one_reads_and_goes_back_page_by_page(recorded, records):
    for n in range(450):
        records.said(1, f"line {n}\n")
    picture = recorded()
    picture.button("Log").click()
    box = picture.panel("Log").get_by_role("log")
    expect(lines(picture)).to_have_count(200)
    expect(lines(picture).last).to_be_in_viewport()
    records.said(1, "newest\n")
    expect(lines(picture).last.locator("pre")).to_have_text("newest")
    expect(lines(picture).last).to_be_in_viewport()
    # by the keyboard: to the first line
    box.focus()
    picture.page.keyboard.press("Home")
    expect(picture.button("Follow")).to_be_visible()
    records.said(1, "while one reads\n")
    seen = lines(picture).first.locator("pre")
    expect(seen).to_have_text("line 250")
    box.get_by_role("button", name="Earlier lines").focus()
    picture.page.keyboard.press("Enter")
    expect(lines(picture)).to_have_count(401)
    # what was read has not moved
    expect(lines(picture).filter(has_text="line 250")).to_be_in_viewport()
    box.get_by_role("button", name="Earlier lines").click()
    expect(lines(picture)).to_have_count(451)
    expect(lines(picture).first.locator("pre")).to_have_text("line 0")
    expect(box.get_by_role("button", name="Earlier lines")).to_have_count(0)
    picture.button("Follow").click()
    expect(lines(picture).last.locator("pre")).to_have_text("while one reads")
    expect(lines(picture).last).to_be_in_viewport()
    expect(picture.button("Pause")).to_be_visible()


def test_nothing_of_a_line_runs_or_is_fetched(recorded, records, page_address, fetched):
    for attack in ATTACKS:
        text = attack.replace(AWAY, f"{page_address}hit")
        records.said(1, text)
        records.event("failed", "1", text)
        records.event("notice", None, text)
    picture = recorded()
    picture.button("Log").click()
    expect(lines(picture)).to_have_count(3 * len(ATTACKS))
    shown = lines(picture).locator("pre").all_inner_texts()
    assert shown[:3] == [ATTACKS[0]] * 3
    assert picture.page.evaluate("() => window.hit") is None
    assert {path.rpartition("/")[2] for path in fetched}.isdisjoint({"hit", "x", "1"})


# -- the last hour -------------------------------------------------------------
def test_metrics_are_a_table_of_all_and_charts_of_one(recorded, records):
    records.hour()
    picture = recorded()
    picture.button("Metrics").click()
    panel = picture.panel("Metrics")
    row = panel.get_by_role("row").filter(has=picture.page.get_by_role("button", name="Charts of socket load"))
    expect(row).to_contain_text("6,950")
    expect(row).to_contain_text("99 failed")
    expect(panel.get_by_role("group", name="Nodes").get_by_role("row")).to_have_count(2)
    # no column is cut
    box = panel.get_by_role("group", name="Sockets")
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0
    panel.get_by_role("button", name="Charts of socket load").click()
    panel = picture.panel("Metrics of socket load")
    expect(panel.get_by_role("img")).to_have_count(6)
    queue = panel.get_by_role("img", name="Queue in the last hour: queued at most 19, running at most 2")
    expect(queue).to_be_visible()
    expect(panel.locator(".ec-top").nth(2)).to_have_text("100 ms")
    # what it was at the place pointed at
    queue.hover()
    expect(panel.locator(".ec-pointed")).to_have_count(6)
    panel.get_by_role("button", name="As a table").click()
    points = panel.get_by_role("group", name="Half minutes").get_by_role("row")
    expect(points).to_have_count(101)
    expect(points.nth(1)).to_contain_text("4/s")
    panel.get_by_role("button", name="All").click()
    picture.panel("Metrics").get_by_role("button", name="Charts of processor main").click()
    expect(picture.panel("Metrics of processor main").get_by_role("img")).to_have_count(6)


def test_cards_have_a_line_of_the_last_hour_where_that_was_asked_for_and_it_is_remembered(recorded, records):
    records.hour()
    picture = recorded()
    expect(picture.card("load").locator(".ec-pulse")).to_have_count(0)
    assert picture.asked("statistics") == []
    picture.button("Rates and latency").click()
    expect(picture.card("load").locator(".ec-pulse")).to_be_visible()
    assert picture.asked("statistics")[0] == {"by": "socket", "pulse": True}
    picture.page.reload()
    expect(picture.card("load").locator(".ec-pulse")).to_be_visible()
    picture.button("Rates and latency").click()
    expect(picture.card("load").locator(".ec-pulse")).to_have_count(0)
    picture.page.reload()
    expect(picture.button("Rates and latency")).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_in_log_and_metrics(recorded, records, axe, theme):
    records.hour()
    records.said(1, "reading\n")
    records.said(2, "WARNING mine: slow\n", "log")
    records.event("failed", "2", "ValueError: no")
    picture = recorded(theme=theme)
    picture.button("Rates and latency").click()
    picture.button("Log").click()
    expect(lines(picture)).to_have_count(3)
    assert violations(picture, axe) == []
    picture.button("Metrics").click()
    picture.panel("Metrics").get_by_role("button", name="Charts of socket load").wait_for()
    assert violations(picture, axe) == []
    picture.panel("Metrics").get_by_role("button", name="Charts of socket load").click()
    picture.panel("Metrics of socket load").get_by_role("img").first.wait_for()
    assert violations(picture, axe) == []
    picture.button("As a table").click()
    assert violations(picture, axe) == []
