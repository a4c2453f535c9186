"""What the editor costs a browser without a GPU: first paint, frames while a card is dragged, frames while it is live.

    python benchmarks/picture.py

Prints one line for each size of flow, then frames of a timeline of 10,000 calls while it is zoomed and dragged. Near, a
large flow is seen around its first card, which was dragged into the thick of it before. The flow is one in memory
(tests/browser/page), the browser Debian's Chromium.
"""

from __future__ import annotations

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
SCENES = {"six": "6 sockets, 6 plugs", "many": "200 sockets, 400 plugs", "most": "1,000 sockets, 1,900 plugs"}
SECONDS = 3

# from the navigation to the first frame after a card is there
PAINTED = """() => new Promise(done => {
    const look = () => document.querySelector('.ec-card')
        ? requestAnimationFrame(() => setTimeout(() => done(performance.now()))) : requestAnimationFrame(look);
    look();
})"""
COUNT = """() => { window.frames = [];
    const tick = at => { frames.push(at); window.ticking = requestAnimationFrame(tick) };
    requestAnimationFrame(tick) }"""
COUNTED = """() => { cancelAnimationFrame(ticking);
    const gaps = frames.slice(1).map((at, i) => at - frames[i]).sort((a, b) => a - b);
    return [1000 * gaps.length / (frames.at(-1) - frames[0]), gaps[Math.floor(gaps.length * 0.95)]] }"""
# and has a value: a number, a table, a line or a text
VALUES = """() => { let at = 0; const looks = [{plain: '41'}, {table: {columns: ['a', 'b'], index: ['0', '1'],
    rows: [['1', '2'], ['3', '4']], shape: [2, 2]}}, {array: {shape: [64], dtype: 'float64', low: 0, high: 6,
    points: [...Array(64).keys()].map(i => i % 7)}}, {plain: 'word '.repeat(40)}];
    for (const name of Object.keys(flow.graph.sockets))
        flow.give(name, {text: '41', type: 'int', size: 9, look: looks[at++ % 4]}) }"""
# every socket's numbers change ten times a second
LIVE = """() => { let n = 0; flow.counts = () => ({waiting: 0, queued: n % 9, running: n % 3, done: n, failed: 0,
    cancelled: 0, skipped: 0, arrived: {}}); window.living = setInterval(() => { n += 1; flow.onCounts() }, 100) }"""


class Files(SimpleHTTPRequestHandler):
    """The page, and the built editor under /static/."""

    def translate_path(self, path: str) -> str:
        bare = path.partition("?")[0]
        folder = ROOT / "ec_jupyter/static" if bare.startswith("/static/") else ROOT / "tests/browser/page"
        return str(folder / (Path(bare).name or "index.html"))

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""


def frames(page: Page, act: Any) -> tuple[float, float]:
    """Frames a second, and the 95th percentile of what one took in milliseconds, while `act` goes on."""
    page.evaluate(COUNT)
    act()
    rate, slow = page.evaluate(COUNTED)
    return rate, slow


def drag(page: Page) -> None:
    """Takes the first card in sight about."""
    box = page.locator(".ec-card").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 3, box["y"] + 5
    page.mouse.move(x, y)
    page.mouse.down()
    for at in range(40 * SECONDS):
        page.mouse.move(x + at % 60, y + at % 40)
    page.mouse.up()


def zoom(page: Page) -> None:
    """Turns the wheel over the picture, which is its own after a click."""
    box = page.locator(".ec-canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 20, box["y"] + box["height"] - 20)
    for at in range(20 * SECONDS):
        page.mouse.wheel(0, -40 if at % 20 < 10 else 40)


def measure(browser: Browser, address: str, scene: str) -> list[str]:
    """One line of the table."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}?scene={scene}")
    painted = page.evaluate(PAINTED)
    page.wait_for_timeout(500)
    far = frames(page, lambda: drag(page))
    page.evaluate(LIVE)
    living = frames(page, lambda: page.wait_for_timeout(1000 * SECONDS))
    page.evaluate("() => clearInterval(living)")
    page.get_by_role("button", name="Search").click()
    page.locator(".ec-chooser input").press("Enter")
    page.locator(".ec-count").first.wait_for()
    near = frames(page, lambda: drag(page))
    page.evaluate("() => { delete flow.counts }")
    page.evaluate(VALUES)
    page.wait_for_timeout(4000)
    page.evaluate(LIVE)
    both = frames(page, lambda: drag(page))
    page.get_by_role("button", name="Fit the picture").click()
    page.wait_for_timeout(1000)
    whole = frames(page, lambda: drag(page))
    zoomed = frames(page, lambda: zoom(page))
    page.evaluate("() => clearInterval(living)")
    page.close()
    found = [far, near, living, both, whole, zoomed]
    return [SCENES[scene], f"{painted:,.0f} ms", *(f"{rate:.0f} ({slow:.0f} ms)" for rate, slow in found)]


def timeline(browser: Browser, address: str) -> str:
    """Frames of 10,000 bars."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}?scene=six")
    page.evaluate(PAINTED)
    page.evaluate("() => flow.worked(10000, 16)")
    page.get_by_role("button", name="Timeline").click()
    chart = page.get_by_role("img", name="Timeline of 10,000 calls")
    chart.wait_for()
    box = chart.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    # the wheel is the timeline's once it has the focus
    chart.focus()
    page.wait_for_timeout(500)

    def zoomed() -> None:
        for at in range(20 * SECONDS):
            page.mouse.wheel(0, -120 if at % 20 < 10 else 120)

    def dragged() -> None:
        page.mouse.down()
        for at in range(40 * SECONDS):
            page.mouse.move(x + 3 * (at % 60), y + at % 20)
        page.mouse.up()

    rates = {name: frames(page, act) for name, act in (("zoomed", zoomed), ("dragged", dragged))}
    page.close()
    told = [f"fps {name} {rate:.0f} ({slow:.0f} ms)" for name, (rate, slow) in rates.items()]
    return f"timeline of 10,000 calls: {', '.join(told)}"


def main() -> None:
    """Measure and print."""
    chromium = shutil.which("chromium")
    if chromium is None or not (ROOT / "ec_jupyter/static/editor.js").is_file():
        sys.exit("needs chromium on the PATH and the built editor (make front)")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    columns = [
        "dragging, all (p95)",
        "dragging, near",
        "live at 10 Hz",
        "both, near, with values",
        "both, all",
        "zoomed, live",
    ]
    rows = [["flow", "first paint", *(f"fps {column}" for column in columns)]]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        # the first page of a browser pays for more than itself
        measure(browser, f"http://127.0.0.1:{server.server_port}/", "six")
        rows += [measure(browser, f"http://127.0.0.1:{server.server_port}/", scene) for scene in SCENES]
        bars = timeline(browser, f"http://127.0.0.1:{server.server_port}/")
        browser.close()
    server.shutdown()
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    print(bars)


if __name__ == "__main__":
    main()
