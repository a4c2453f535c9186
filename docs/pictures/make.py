"""Makes the pictures of the documents in a real JupyterLab: ``make pictures``, ``python docs/pictures/make.py NAME``.

Needs Chromium and what ``make test`` installs. The names are those of the functions below.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from film import Film  # noqa: E402
from flights import DAYS, make_flow, other_flows  # noqa: E402

from tests.browser.conftest import SWITCHES  # noqa: E402
from tests.browser.labkit import TOKEN, Lab, wait_for  # noqa: E402
from tests.browser.test_lab_notebook import Notebook  # noqa: E402
from tests.notebooks.blocks import blocks_of  # noqa: E402

OPEN = re.compile("Open flow .*flights$")


def opened(page: Page, lab: Lab, theme: str) -> Any:
    """The flow's tab in JupyterLab."""
    page.set_default_timeout(120_000)
    page.goto(f"{lab.address}/lab/workspaces/pictures?token={TOKEN}&reset")
    page.wait_for_function("() => window.jupyterapp?.commands.hasCommand('ec-jupyter:open')")
    page.evaluate("() => jupyterapp.restored.then(() => true)")
    page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    page.evaluate("() => jupyterapp.commands.execute('ec-jupyter:show-panel')")
    page.get_by_role("region", name="Flows", exact=True).get_by_role("button", name=OPEN).click()
    editor = page.get_by_role("region", name="Flow editor")
    editor.get_by_role("group", name="socket join_day", exact=True).wait_for()
    editor.get_by_role("button", name="Fit").click()
    return editor


def editor(chromium: Browser, lab: Lab) -> None:
    """The flow at work in both themes, and the panel."""
    flow, others = make_flow(lab.root), other_flows(lab.root)
    page = chromium.new_page(viewport={"width": 1420, "height": 760}, reduced_motion="reduce")
    for name, theme in (("light", "JupyterLab Light"), ("dark", "JupyterLab Dark")):
        picture = opened(page, lab, theme)
        flow.map("day", DAYS)
        wait_for(lambda: flow.status()["sockets"]["store"]["done"] > 3)
        # values are made once somebody sees their cards
        for seen in ("day", "weather_of", "store"):
            picture.get_by_role("group", name=f"socket {seen}", exact=True).locator(".ec-last-look").wait_for()
        picture.screenshot(path=HERE / f"editor-{name}.png")
        if name == "light":
            page.get_by_text("Refresh", exact=True).click()
            page.get_by_role("region", name="Flows", exact=True).get_by_text("3 failed").wait_for()
            page.screenshot(path=HERE / "panel.png")
        flow.clear()
    for one in (flow, *others):
        one.delete(force=True)


def film(chromium: Browser, lab: Lab) -> None:
    """The last plug is drawn, and values come through it."""
    flow = make_flow(lab.root / "film")
    flow.unplug("weather_of", "join_day.weather")
    page = chromium.new_page(viewport={"width": 1120, "height": 640})
    picture = opened(page, lab, "JupyterLab Light")
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    picture.get_by_role("button", name="Fit").click()
    page.wait_for_timeout(1000)
    box = picture.bounding_box()
    made = Film(page)
    drag(page, picture, "Output of weather_of", "Argument weather of join_day")
    flow.map("day", DAYS)
    page.wait_for_timeout(9000)
    made.save(HERE / "at-work.webp", box, width=960)
    flow.delete(force=True)


def drag(page: Page, picture: Any, start: str, end: str) -> None:
    """Draw a plug as slowly as a person does."""
    boxes = [picture.get_by_role("button", name=name, exact=True).bounding_box() for name in (start, end)]
    (x, y), (to_x, to_y) = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
    page.mouse.move(x - 90, y - 60)
    page.mouse.move(x, y, steps=10)
    page.mouse.down()
    for step in range(1, 16):
        page.mouse.move(x + (to_x - x) * step / 15, y + (to_y - y) * step / 15)
        page.wait_for_timeout(60)
    page.mouse.up()
    page.mouse.move(to_x + 10, to_y + 160, steps=10)


RUN = """at => {
  jupyterapp.shell.currentWidget.content.activeCellIndex = at;
  return jupyterapp.commands.execute('notebook:run-cell').then(() => true);
}"""
"""Runs a cell, and waits for its end."""


def ten(chromium: Browser, lab: Lab) -> None:
    """The pictures of *Ten minutes*: its own blocks, in a notebook."""
    blocks = [one for one in blocks_of(HERE.parent / "ten-minutes.md") if one.kind == "python" and not one.reason]
    folder = lab.root / "ten"
    folder.mkdir()
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"c{at}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": one.code,
        }
        for at, one in enumerate(blocks)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "pleasant.ipynb").write_text(json.dumps(book))
    page = chromium.new_page(viewport={"width": 1040, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(120_000)
    opened = Notebook(page, lab, "ten/pleasant.ipynb", "lab/workspaces/ten/tree")
    opened.load()
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    at = [one.picture for one in blocks].index

    def through(first: int, last: int) -> None:
        for cell in range(first, last):
            page.evaluate(RUN, cell)

    def take(name: str, socket: str, text: str) -> None:
        opened.card(socket).get_by_text(text).first.wait_for()
        opened.picture.get_by_role("button", name="Fit").click()
        opened.picture.screenshot(path=HERE / f"ten-{name}.png")

    through(0, at("wired") + 1)
    take("wired", "pleasant", "pleasant")
    through(at("wired") + 1, at("wired") + 2)
    take("waiting", "temperature", "Monday")
    through(at("wired") + 3, at("joined"))
    take("joined", "pleasant", "True")
    failing = next(n for n, one in enumerate(blocks) if 'flow.submit("rain", "Sunday")' in one.code)
    through(at("joined") + 1, failing + 1)
    # until a picture is taken, a page that nobody sees draws no new counts
    wait_for(lambda: opened.picture.screenshot() and opened.card("rain").get_by_label("1 failed at rain").count())
    opened.card("rain").get_by_label("1 failed at rain").click()
    opened.picture.get_by_text(re.compile(r"request \d+")).first.click()
    opened.picture.get_by_text("KeyError").first.wait_for()
    opened.picture.screenshot(path=HERE / "ten-failed.png")


def main(*names: str) -> int:
    """Take the pictures."""
    made: dict[str, Callable[[Browser, Lab], None]] = {"editor": editor, "film": film, "ten": ten}
    folder = Path(tempfile.mkdtemp(prefix="ec_pictures_"))
    lab = Lab(folder)
    try:
        with sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
            for name in names or made:
                made[name](chromium, lab)
            chromium.close()
    finally:
        lab.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
