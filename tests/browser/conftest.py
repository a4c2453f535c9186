"""A real browser on the built editor, over a flow in memory: `tests/browser/page`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

from ec_jupyter.client import probe
from ec_jupyter.client.seen import checked
from ec_jupyter.nodes.worker.look import look
from tests.browser.labkit import Lab

PAGE = Path(__file__).parent / "page"
STATIC = Path(__file__).parents[2] / "ec_jupyter" / "static"
AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
# no GPU and no sandbox in a container; the rest keeps a browser under test from calling home
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window.

    One a module: the driver runs an event loop in this thread, and no other test may find it running.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO BROWSER: these tests need Debian's chromium on the PATH; nothing of the editor was tested")
    playwright = pytest.importorskip("playwright.sync_api", reason="NO BROWSER: pip install playwright")
    # what a busy machine does in the end is no failure
    playwright.expect.set_options(timeout=60_000)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield browser
        browser.close()


# closed as it is: nobody is asked whether to keep what is not saved; one that was reloaded may open its notebook late
EMPTIED = """async () => {
    const lab = window.jupyterapp
    if (lab?.name !== 'JupyterLab' || performance.getEntriesByType('navigation')[0].type === 'reload') return false
    for (const widget of [...lab.shell.widgets('main')]) widget.dispose()
    await lab.commands.execute('filebrowser:go-to-path', { path: '/', dontShowBrowser: true })
    lab.shell.collapseLeft()
    return true
}"""


class Pages:
    """Pages that tests use one after the other: what one has fetched and compiled the next need not."""

    def __init__(self, context: Any) -> None:
        self.errors: list[Any] = []
        """What went wrong in a page, and nobody caught it."""
        self.messages: list[Any] = []
        """What pages said on their consoles."""
        self._context, self._pages, self._used = context, [], 0
        context.set_default_timeout(60_000)

    def take(self, width: int, height: int, **media: str) -> Any:
        """An empty page of this size."""
        if self._used == len(self._pages):
            page = self._context.new_page()
            # Playwright writes to the function it is given, which no built-in one bears
            page.on("pageerror", lambda error: self.errors.append(error))  # noqa: PLW0108
            page.on("console", lambda message: self.messages.append(message))  # noqa: PLW0108
            self._pages.append(page)
        page = self._pages[self._used]
        self._used += 1
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(**{"color_scheme": "light", "reduced_motion": "reduce", **media})
        return page

    def clear(self, *, lab: bool = False) -> None:
        """Leave every page empty, as it was before; with `lab`, JupyterLab stays where it is, with nothing open."""
        for page in self._pages[: self._used]:
            page.mouse.move(0, 0)
            # what a person has chosen for every picture; a page that is none of ours may have no storage
            page.evaluate("() => { try { localStorage.clear() } catch { } }")
            if not lab or not page.evaluate(EMPTIED):
                page.goto("about:blank")
        self._context.clear_cookies()
        self._context.clear_permissions()
        self._used = 0


@pytest.fixture(scope="module")
def context(browser: Any) -> Iterator[Pages]:
    """The pages of a module, with what they have stored."""
    context = browser.new_context()
    yield Pages(context)
    context.close()


@pytest.fixture
def pages(context: Pages) -> Iterator[Pages]:
    """The same for a test, with nothing in them."""
    context.errors.clear()
    context.messages.clear()
    yield context
    context.clear()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, whose flows end with it."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()
    for folder in lab.root.glob("*/.ec_jupyter/*"):
        answer = probe.ask(folder)
        if answer:
            os.kill(answer["engine"], signal.SIGKILL)


class _Files(SimpleHTTPRequestHandler):
    """The page, and under /static/ what `make front` built."""

    asked: ClassVar[list[str]] = []

    def translate_path(self, path: str) -> str:
        bare = path.partition("?")[0]
        self.asked.append(bare)
        if bare.startswith("/static/"):
            return str(STATIC / Path(bare).name)
        return str(PAGE / (Path(bare).name or "index.html"))

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent: a test that fails shows the page's own words."""


@pytest.fixture(scope="session")
def page_address() -> Iterator[str]:
    """Where the page with the built editor is served."""
    if not (STATIC / "editor.js").is_file():
        pytest.fail("the editor is not built: `make front` builds it")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetched(page_address: str) -> list[str]:
    """Paths that a page has asked for since the test began."""
    _Files.asked.clear()
    return _Files.asked


class Picture:
    """The editor in a page: what a person sees of it, and the flow behind it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.editor = page.get_by_role("region", name="Flow editor")
        self.canvas = page.get_by_role("application")
        self.said = page.locator(".ec-spoken")
        self.refusal = page.get_by_role("group", name="Refused")
        self.chooser = page.locator(".ec-chooser")

    def output(self, socket: str) -> Any:
        return self.canvas.get_by_role("button", name=f"Output of {socket}", exact=True)

    def argument(self, argument: str, socket: str) -> Any:
        return self.canvas.get_by_role("button", name=f"Argument {argument} of {socket}", exact=True)

    def card(self, socket: str) -> Any:
        return self.canvas.get_by_role("group", name=f"socket {socket}", exact=True)

    def processor(self, name: str) -> Any:
        return self.canvas.get_by_role("group", name=f"processor {name}", exact=True)

    def plug(self, name: str) -> Any:
        """The drawn plug whose key holds these ends, as in 'load count text result'."""
        key = json.dumps(name.split(), separators=(",", ":"))
        return self.page.get_by_test_id(f"rf__edge-{key}")

    def panel(self, name: str) -> Any:
        return self.page.get_by_role("region", name=name, exact=True)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def choose(self, text: str) -> None:
        """Takes what the open list calls `text`."""
        self.chooser.get_by_role("option").filter(has_text=text).first.click()

    def search(self, text: str) -> None:
        """Takes the first thing that the search finds for `text`."""
        self.button("Search").click()
        # a key that is pressed before the field has the focus is lost
        self.page.wait_for_function("() => document.activeElement.closest('.ec-chooser')")
        self.page.keyboard.type(text)
        self.chooser.get_by_role("option").first.wait_for()
        self.page.keyboard.press("Enter")

    def drag(self, start: Any, end: Any, *, drop: bool = True) -> None:
        """Drags from the middle of one element to the middle of another."""
        x, y = _middle(start)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(*_middle(end), steps=6)
        if drop:
            self.page.mouse.up()

    def pan(self, right: float, down: float) -> None:
        """Moves the picture under its frame."""
        at = self.canvas.bounding_box()
        x, y = at["x"] + at["width"] - 12, at["y"] + 12
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + right, y + down, steps=4)
        self.page.mouse.up()

    def shift_drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Draws a box of selection."""
        self.page.keyboard.down("Shift")
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(to_x, to_y, steps=6)
        self.page.mouse.up()
        self.page.keyboard.up("Shift")

    def select(self, plug: str, at: float = 0.3) -> None:
        """Selects a plug and leaves its panel shut, as a click with Shift does; `at` which part of its length."""
        line = self.plug(plug).locator(".react-flow__edge-interaction")
        x, y = line.evaluate(
            "(path, part) => { const at = path.getPointAtLength(path.getTotalLength() * part);"
            " const p = new DOMPoint(at.x, at.y).matrixTransform(path.getScreenCTM()); return [p.x, p.y]; }",
            at,
        )
        self.page.keyboard.down("Shift")
        self.page.mouse.click(x, y)
        self.page.keyboard.up("Shift")

    def flow(self, script: str) -> Any:
        """Lets something happen in the flow, or asks it."""
        return self.page.evaluate(f"() => {{ const r = flow.{script}; return r === undefined ? null : r }}")

    def gives(self, socket: str, value: Any, **more: Any) -> int:
        """Lets a call of a socket give a value, which the flow shows as a worker of an engine would."""
        return int(self.page.evaluate("([s, v, m]) => flow.give(s, v, m)", [socket, shown(value), more]))

    def last(self, socket: str) -> Any:
        """The place of the last value on a card."""
        return self.card(socket).locator(".ec-last")

    def plugs(self) -> list[str]:
        """What the flow itself holds."""
        return self.page.evaluate("() => flow.graph.plugs.map(p => `${p.source} -> ${p.target}.${p.argument}`)")

    def asked(self, op: str) -> list[Any]:
        """Arguments of every command `op` that reached the flow."""
        return self.page.evaluate("op => flow.asked.filter(one => one.op === op).map(one => one.args)", op)


def shown(value: Any) -> dict[str, Any]:
    """A value as an engine's answer has it: made by a worker's code, and checked by the client's."""
    facts, *pieces = look(value, rich=True)
    return {**json.loads(facts), "size": 64, "look": checked("".join(pieces))}


def _amiss(message: Any) -> bool:
    """Whether the page says that something is wrong; that a frame of a value may do nothing is as it should be."""
    known = "about:srcdoc", "Content Security Policy"
    return message.type == "error" and not any(one in f"{message.text} {message.location.get('url')}" for one in known)


def _middle(element: Any) -> tuple[float, float]:
    box = element.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture
def editor_page(pages: Pages, page_address: str) -> Iterator[Callable[..., Picture]]:
    """A function that opens the editor on a scene in a page of its own; an error in that page fails the test."""

    def show(scene: str = "demo", *, size: tuple[int, int] = (1100, 640), **query: str) -> Picture:
        page = pages.take(
            *size,
            color_scheme="dark" if query.get("theme") == "dark" else "light",
            reduced_motion=query.pop("reduced_motion", "reduce"),
        )
        page.goto(page_address + "?" + urlencode({"scene": scene, "theme": "light", **query}))
        picture = Picture(page)
        picture.editor.wait_for()
        # the picture has been fitted once something of it can be hit
        page.locator(".ec-card, .ec-empty").first.wait_for()
        return picture

    yield show
    pages.clear()
    assert not pages.errors, pages.errors
    assert not [message.text for message in pages.messages if _amiss(message)]


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core, which finds what breaks the rules of accessibility."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install in labextension/")
    return AXE.read_text()
