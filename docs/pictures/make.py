"""Makes the pictures of the README in a real JupyterLab: ``python docs/pictures/make.py``, or ``make pictures``.

Needs Chromium and what ``make test`` installs. A year's end of flights runs while the pictures are taken.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2]))

from ec_jupyter.notebook.flow import Flow, open_flow
from tests.browser.conftest import SWITCHES
from tests.browser.labkit import TOKEN, Lab, wait_for

HERE = Path(__file__).parent
DAYS = [f"{airport} 2013-12-{day}" for day in range(20, 32) for airport in ("EWR", "JFK", "LGA")]
"""The weather of the last one is missing: three calls fail, three values wait."""


def day(key: str) -> str:
    """One airport's day."""
    return key


def flights_of(key: str) -> list[str]:
    """Flights that left on a day."""
    time.sleep(0.01)
    return [key] * 3


def weather_of(key: str) -> dict[str, float]:
    """The weather of a day's hours."""
    if key.endswith("31"):
        raise LookupError(f"no weather of {key[:3]} on {key[4:]}")
    return {"visibility": 10.0}


def join_day(flights: list[str], weather: dict[str, float], murky: float = 3.0) -> dict[str, int]:
    """Flights of a day that left in murky air."""
    return {"flights": len(flights), "murky": int(weather["visibility"] < murky)}


def store(row: dict[str, int]) -> None:
    """Keep a row."""
    time.sleep(0.4)


def quarantine(failure: object) -> str:
    """What could not be read."""
    return str(failure)


def make_flow(folder: Path) -> Flow:
    """The flights flow, with its last days on the way."""
    flow = open_flow("flights", folder=folder / ".ec_jupyter" / "flights")
    flow.processor("io", cpus=1)
    flow.processor("cpu", cpus=2)
    flow.processor("db", cpus=1)
    for task, processor in (
        (day, "io"), (flights_of, "io"), (weather_of, "io"), (join_day, "cpu"), (store, "db"), (quarantine, "io"),
    ):  # fmt: skip
        task.__module__ = "__main__"
        flow.declare(task, task.__name__, processor=processor)
    with flow.edit():
        flow.plug("day", "flights_of.key")
        flow.plug("day", "weather_of.key")
        flow.plug("flights_of", "join_day.flights")
        flow.plug("weather_of", "join_day.weather")
        flow.plug("join_day", "store.row")
        flow.plug("weather_of", "quarantine.failure", on="error")
    return flow


def other_flows(folder: Path) -> list[Flow]:
    """Neighbours for the panel."""
    flows = []
    for name in ("stations", "night-run"):
        flow = open_flow(name, folder=folder / "work" / ".ec_jupyter" / name)
        flow.declare(day, "read")
        flow.map("read", range(12))
        flow.wait()
        flows.append(flow)
    flows[-1].stop()
    return flows


def opened(page: Page, lab: Lab, theme: str) -> Any:
    """The flow's tab in JupyterLab."""
    page.goto(f"{lab.address}/lab/workspaces/pictures?token={TOKEN}&reset")
    page.wait_for_function("() => window.jupyterapp?.commands.hasCommand('ec-jupyter:open')")
    page.evaluate("() => jupyterapp.restored.then(() => true)")
    page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    page.evaluate("() => jupyterapp.commands.execute('ec-jupyter:show-panel')")
    page.get_by_role("region", name="Flows", exact=True).get_by_role("button", name="Open flow flights").click()
    editor = page.get_by_role("region", name="Flow editor")
    editor.get_by_role("group", name="socket join_day", exact=True).wait_for()
    editor.get_by_role("button", name="Fit").click()
    return editor


def main() -> int:
    """Take the pictures."""
    folder = Path(tempfile.mkdtemp(prefix="ec_pictures_"))
    lab = Lab(folder)
    flow = make_flow(lab.root)
    flows = [flow, *other_flows(lab.root)]
    try:
        with sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
            page = chromium.new_page(viewport={"width": 1360, "height": 760}, reduced_motion="reduce")
            for name, theme in (("light", "JupyterLab Light"), ("dark", "JupyterLab Dark")):
                editor = opened(page, lab, theme)
                flow.map("day", DAYS)
                wait_for(lambda: flow.status()["sockets"]["store"]["done"] > 3)
                editor.screenshot(path=HERE / f"editor-{name}.png")
                if name == "light":
                    page.get_by_text("Refresh", exact=True).click()
                    page.get_by_role("region", name="Flows", exact=True).get_by_text("3 failed").wait_for()
                    page.screenshot(path=HERE / "panel.png")
                flow.clear()
            chromium.close()
    finally:
        for one in flows:
            one.stop()
            one.close()
        lab.close()
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
