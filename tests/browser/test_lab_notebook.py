"""The picture inside a notebook, in a real JupyterLab: alive while a cell computes, after a reload and a restart."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat.sign import NotebookNotary

from ec_jupyter.client import probe
from tests.attacks import ATTACKS
from tests.browser.conftest import Pages
from tests.browser.labkit import TOKEN, Lab, overheard, wait_for

_numbers = count(1)

SETUP = """\
%load_ext ec_jupyter
import ec_jupyter as ec

@ec.socket
def count(text: str) -> int:
    return len(text)

@ec.socket
def double(x: int) -> int:
    return 2 * x

flow = ec.flow()
flow.submit('count', 'four')
flow.editor"""
# busy until the plug is there, and then it says who made it
BUSY = """\
import time
end = time.monotonic() + 60
n = 0
while not flow.plugs and time.monotonic() < end:
    n += 1
print('plugs:', [f'{p.source} -> {p.target}.{p.argument}' for p in flow.plugs])"""


class Notebook:
    """A notebook in a page."""

    def __init__(self, page: Any, lab: Lab, path: str, front: str) -> None:
        self.page, self.lab, self.path = page, lab, path
        self.address = f"{lab.address}/{front}/{path}?token={TOKEN}"

    def open(self) -> None:
        """Open it in the JupyterLab that is in the page; without one, load that."""
        if self.page.evaluate("() => window.jupyterapp?.name === 'JupyterLab'") and "/lab/" in self.address:
            self.page.evaluate(
                "path => jupyterapp.commands.execute('docmanager:open', { path }).then(() => true)", self.path
            )
            self.wait()
        else:
            self.page.goto("about:blank")
            self.load()

    def load(self) -> None:
        """Load it, until its kernel is ready for a cell: one run before that would be lost without a word."""
        self.page.goto(self.address)
        self.wait()

    def wait(self) -> None:
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        self.page.evaluate(
            "() => jupyterapp.shell.currentWidget.sessionContext.ready.then(() =>"
            " jupyterapp.shell.currentWidget.sessionContext.session.kernel.info).then(() => true)"
        )

    def run(self, cell: int) -> None:
        """Run a cell and leave at once."""
        self.page.evaluate(
            "at => { jupyterapp.shell.currentWidget.content.activeCellIndex = at;"
            " void jupyterapp.commands.execute('notebook:run-cell') }",
            cell,
        )

    def save(self) -> None:
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save').then(() => true)")

    def shut_down(self) -> None:
        """End the kernel, as a person does in the list of running ones."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => true)")

    def saved(self) -> Any:
        """What is in the file, once it is there whole: Lab writes it in place."""
        path = self.lab.root / self.path
        return json.loads(wait_for(lambda: (text := path.read_text()).rstrip().endswith("}") and text))

    def saved_data(self) -> dict[str, Any]:
        """What the file has of the first cell's picture."""
        outputs = self.saved()["cells"][0]["outputs"]
        return next((one["data"] for one in outputs if "data" in one), {})

    def saved_svg(self) -> str:
        return "".join(self.saved_data().get("image/svg+xml", ""))

    @property
    def dirty(self) -> bool:
        return bool(self.page.evaluate("() => jupyterapp.shell.currentWidget.context.model.dirty"))

    @property
    def picture(self) -> Any:
        return self.page.get_by_role("region", name="Flow editor").first

    def port(self, name: str) -> Any:
        return self.picture.get_by_role("button", name=name, exact=True)

    def card(self, name: str) -> Any:
        return self.picture.get_by_role("group", name=f"socket {name}", exact=True)

    def drag(self, start: Any, end: Any) -> None:
        boxes = [element.bounding_box() for element in (start, end)]
        (x, y), (to_x, to_y) = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(to_x, to_y, steps=8)
        self.page.mouse.up()


@pytest.fixture
def notebook(pages: Pages, lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """A function that opens a notebook of these cells; an error of ours in its page fails the test."""

    def open_notebook(*cells: str, front: str = "lab", ran: bool = False, width: int = 1300) -> Notebook:
        name = f"n{next(_numbers)}"
        (lab.root / name).mkdir()
        made = [
            {
                "cell_type": "code",
                "id": f"c{at}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": cell,
            }
            for at, cell in enumerate(cells)
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        content = {"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        path = lab.root / name / f"{name}.ipynb"
        path.write_text(json.dumps(content))
        if ran:
            book = nbformat.read(path, 4)
            nbclient.NotebookClient(book, timeout=60, resources={"metadata": {"path": str(path.parent)}}).execute()
            nbformat.write(book, path)
            # its own: Lab shows no more than text of a stranger's
            notary = NotebookNotary(data_dir=str(lab.folder / "data"))
            notary.sign(book)
            notary.store.close()
        page = pages.take(width, 1000)
        way = f"lab/workspaces/{name}/tree" if front == "lab" else "notebooks"
        opened = Notebook(page, lab, f"{name}/{name}.ipynb", way)
        opened.open()
        return opened

    yield open_notebook
    pages.clear(lab=True)
    errors = [error.stack or str(error) for error in pages.errors]
    # Notebook 7 throws one of its own; what comes from a blob or the extension is ours
    assert not [error for error in errors if "blob:" in error or "ec-jupyter" in error], errors


def test_a_drag_plugs_while_a_cell_computes_and_the_numbers_go_on(notebook: Any) -> None:
    opened = notebook(SETUP, BUSY)
    opened.run(0)
    opened.card("count").wait_for()
    opened.run(1)
    opened.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )
    opened.drag(opened.port("Output of count"), opened.port("Argument x of double"))
    opened.page.get_by_text("plugs: ['count -> double.x']").wait_for()
    opened.picture.get_by_text("1 plug", exact=False).first.wait_for()


def test_a_plug_let_go_over_nothing_makes_a_cell_and_is_plugged_once_that_has_run(notebook: Any) -> None:
    opened = notebook(SETUP, "1")
    page = opened.page
    opened.run(0)
    opened.card("count").wait_for()
    opened.wait()
    # a new socket is a cell below that of the picture, and plugged once it has run
    port = opened.port("Output of double").bounding_box()
    page.mouse.move(port["x"] + 5, port["y"] + 5)
    page.mouse.down()
    page.mouse.move(port["x"] + 60, port["y"] + 160, steps=6)
    page.mouse.up()
    opened.picture.get_by_role("option").filter(has_text="New socket fed by double").click()
    panel = opened.picture.get_by_role("region", name="New socket")
    panel.get_by_label("Name").fill("third")
    panel.get_by_role("button", name="Add cell").click()
    page.wait_for_function("() => jupyterapp.shell.currentWidget.content.model.cells.length === 3")
    cell = "() => jupyterapp.shell.currentWidget.content.model.cells.get({}).sharedModel.getSource()"
    assert page.evaluate(cell.format(1)) == "%%ec_socket\ndef third(value: int):\n    return value"
    opened.run(1)
    opened.picture.get_by_text("1 plug", exact=False).first.wait_for()


def test_a_task_is_edited_in_the_picture_with_labs_own_editor_and_its_cell_has_the_new_text(notebook: Any) -> None:
    opened = notebook(SETUP, "flow.submit('count', 'four').result()")
    page = opened.page
    opened.run(0)
    opened.card("count").wait_for()
    opened.wait()
    opened.card("count").focus()
    page.keyboard.press("Enter")
    opened.picture.get_by_role("option").filter(has_text="Code").first.click()
    panel = opened.picture.get_by_role("region", name="Code of count")
    panel.get_by_role("button", name="Edit", exact=True).click()
    panel.locator(".cm-content:focus").wait_for()
    page.keyboard.press("Control+End")
    page.keyboard.type(" + 100")
    page.keyboard.press("Control+Enter")
    opened.picture.get_by_text("count runs version 2 from now on; its cell too").first.wait_for()
    cell = "() => jupyterapp.shell.currentWidget.content.model.cells.get(0).sharedModel.getSource()"
    assert "return len(text) + 100" in page.evaluate(cell)
    opened.run(1)
    page.locator(".jp-OutputArea-output pre").get_by_text("104", exact=True).wait_for()
    panel.get_by_role("button", name="Go to its cell").click()
    page.wait_for_function("() => jupyterapp.shell.currentWidget.content.activeCellIndex === 0")
    # the same flow in a tab, where no kernel runs what is written
    opened.picture.get_by_role("button", name="Open in tab").click()
    tab = page.locator(".ec-tab")
    tab.get_by_role("group", name="socket double").wait_for()
    tab.get_by_role("group", name="socket double").focus()
    page.keyboard.press("Enter")
    tab.get_by_role("option").filter(has_text="Code").first.click()
    tab.get_by_role("button", name="Edit", exact=True).click()
    tab.get_by_role("button", name="Run as new version").click()
    tab.get_by_role("alert").get_by_text("no kernel stands behind this picture", exact=False).wait_for()
    # and what opens one is where people look
    assert page.evaluate("() => jupyterapp.commands.label('ec-jupyter:open', { card: true })") == "Flow"
    page.get_by_role("menuitem", name="View", exact=True).click()
    page.get_by_role("menuitem", name="Flow: show panel").wait_for()
    page.keyboard.press("Escape")


def test_keys_that_lab_uses_too_stay_in_the_picture(notebook: Any) -> None:
    opened = notebook(SETUP, "1")
    opened.run(0)
    opened.card("count").wait_for()
    # a cell that has run takes the focus back: a click comes after that
    opened.wait()
    opened.card("count").click(position={"x": 40, "y": 12})
    for pressed in ("x", "d", "d", "a", "b", "Delete"):
        opened.page.keyboard.press(pressed)
    assert opened.page.evaluate("() => jupyterapp.shell.currentWidget.content.model.cells.length") == 2
    # and Enter sends a form and begins a line, which Lab keeps from fields in a cell
    opened.picture.get_by_role("button", name="Add a processor").click()
    opened.picture.get_by_label("Name").fill("io")
    opened.page.keyboard.press("Enter")
    opened.picture.get_by_role("button", name="Details of processor io").wait_for()
    opened.page.evaluate("() => document.querySelector('.ec-box').append(document.createElement('textarea'))")
    text = opened.page.locator(".ec-box > textarea")
    text.focus()
    opened.page.keyboard.type("one")
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.type("two")
    assert text.input_value() == "one\ntwo"


def test_a_picture_is_live_again_after_a_reload(notebook: Any) -> None:
    opened = notebook(SETUP, "flow.submit('count', 'another').wait(60)")
    opened.run(0)
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    opened.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    opened.page.reload()
    opened.wait()
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    opened.run(1)
    opened.card("count").get_by_text("2", exact=True).first.wait_for()


def test_a_timeline_is_drawn_by_what_the_kernel_gives_when_it_is_opened(notebook: Any) -> None:
    opened = notebook(SETUP, "flow.submit('count', 'another').wait(30)")
    opened.run(0)
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    opened.picture.locator(".ec-toolbar").get_by_role("button", name="Timeline", exact=True).click()
    opened.picture.get_by_role("img", name="Timeline of 1 call ").wait_for()
    opened.run(1)
    opened.picture.get_by_role("img", name="Timeline of 2 calls").wait_for()


def test_a_reload_while_a_call_runs_finds_it_running_and_sees_it_end(notebook: Any) -> None:
    held = "\n@ec.socket\ndef held(path: str) -> int:\n    return len(open(path).read())\n"
    opened = notebook(SETUP.replace("\nflow = ec.flow()", f"{held}\nflow = ec.flow()"), "flow.submit('held', 'gate')")
    gate = opened.lab.root / opened.path.partition("/")[0] / "gate"
    os.mkfifo(gate)
    opened.run(0)
    opened.card("held").wait_for()
    opened.run(1)
    opened.card("held").get_by_text("running").first.wait_for()
    opened.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    opened.page.reload()
    opened.wait()
    opened.card("held").get_by_text("running").first.wait_for()
    gate.write_text("go")
    opened.card("held").get_by_text("done").first.wait_for()


STEPS = """
@ec.socket
def steps(n: int, gate: str):
    for _ in ec.progress(range(n), text='files'):
        open(gate).read()

flow = ec.flow()"""


def test_how_far_a_call_is_shows_on_its_card_in_its_panel_in_the_outline_and_in_a_wait(notebook: Any) -> None:
    opened = notebook(
        SETUP.replace("\nflow = ec.flow()", STEPS),
        "%config EC.progress_delay = 0\nflow.submit('steps', 4, 'gate')\n%ec_wait",
    )
    page, gate = opened.page, opened.lab.root / opened.path.partition("/")[0] / "gate"
    os.mkfifo(gate)
    opened.run(0)
    opened.card("steps").wait_for()
    opened.run(1)
    strip = opened.card("steps").get_by_role("progressbar", name="Progress of steps")
    opened.picture.get_by_role("button", name="Outline", exact=True).click()
    opened.picture.get_by_role("button", name="1 running at steps").click()
    row = opened.picture.get_by_role("region", name="Running requests of steps").get_by_role("button", name="request ")
    row.filter(has_text="0 of 4 · files").wait_for()
    row.click()
    panel = opened.picture.get_by_role("region", name=re.compile("^Request .* of steps$"))
    for through in (1, 2, 3):
        gate.write_text("go")
        wait_for(lambda far=f"{through} of 4 · files": strip.get_attribute("title") == far)
        assert strip.evaluate("bar => bar.position") == through / 4
        panel.get_by_text(f"{through} of 4 · files").wait_for()
        assert panel.get_by_role("progressbar").evaluate("bar => bar.position") == through / 4
        page.get_by_role("treeitem").filter(has_text=f"{through} of 4 · files").first.wait_for()
        # spaces of the bar are as wide as a figure
        page.get_by_text(re.compile(rf"steps:\s{through}\sof\s4\sfiles")).first.wait_for()
    gate.write_text("go")
    opened.wait()
    strip.wait_for(state="detached")


def test_after_a_restart_the_numbers_are_called_old_and_the_cell_brings_them_back(notebook: Any) -> None:
    opened = notebook(SETUP)
    opened.run(0)
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    opened.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    opened.page.get_by_text("numbers of").first.wait_for()
    opened.wait()
    opened.run(0)
    opened.page.get_by_text("numbers of").first.wait_for(state="hidden")


def test_after_a_restart_one_click_on_the_dead_picture_brings_it_back(notebook: Any) -> None:
    opened = notebook(SETUP, "import ec_jupyter as ec; ec.flow().submit('count', 'another').wait(60)")
    opened.run(0)
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    opened.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    opened.page.get_by_text("numbers of").first.wait_for()
    opened.wait()
    opened.page.get_by_role("button", name="Reconnect").click()
    opened.page.get_by_text("numbers of").first.wait_for(state="hidden")
    opened.run(1)
    opened.card("count").get_by_text("2", exact=True).first.wait_for()
    # the flow outlived the kernel: what was done before is counted still
    opened.card("count").get_by_text("2", exact=True).first.wait_for()


def test_an_idle_notebook_starts_the_next_engine_after_a_kill_and_its_picture_says_so(notebook: Any) -> None:
    held = "\n@ec.socket\ndef held(path: str) -> int:\n    return len(open(path).read())\n"
    opened = notebook(SETUP.replace("\nflow = ec.flow()", f"{held}\nflow = ec.flow()"), "flow.submit('held', 'gate')")
    name = opened.path.partition("/")[0]
    gate, folder = opened.lab.root / name / "gate", opened.lab.root / name / ".ec_jupyter" / name
    os.mkfifo(gate)
    opened.run(0)
    opened.card("held").wait_for()
    opened.run(1)
    opened.card("held").get_by_text("running").first.wait_for()
    opened.wait()
    overheard(opened.page)
    engine = probe.ask(folder)["engine"]
    os.kill(engine, signal.SIGKILL)
    # nobody asks for anything
    wait_for(lambda: (probe.ask(folder) or {}).get("engine", engine) != engine)
    opened.page.wait_for_function("() => said.some(text => text.startsWith('The engine is gone and is being started'))")
    opened.page.locator(".ec-life").first.wait_for(state="hidden")
    gate.write_text("go")
    opened.card("held").get_by_text("done").first.wait_for()


def test_a_flow_made_in_a_notebook_is_in_the_panel_and_both_pictures_agree(notebook: Any, lab: Lab) -> None:
    opened = notebook(SETUP)
    opened.run(0)
    opened.card("count").wait_for()
    name = opened.path.split("/", maxsplit=1)[0]
    page = opened.page
    page.evaluate("() => jupyterapp.commands.execute('ec-jupyter:show-panel')")
    page.get_by_role("button", name=f"Open flow {name}/{name}").click()
    tab = page.locator(".ec-tab")
    tab.get_by_role("button", name="Output of count", exact=True).click()
    tab.get_by_role("button", name="Argument x of double", exact=True).click()
    wait_for(lambda: len(lab.ask("flows", f"{name}:{name}")["plugs"]) == 1)
    tab.get_by_text("1 plug").first.wait_for()
    page.evaluate(f"() => jupyterapp.commands.execute('docmanager:open', {{path: '{opened.path}'}})")
    opened.picture.get_by_text("1 plug").first.wait_for()


def test_the_picture_works_in_notebook_7(notebook: Any) -> None:
    opened = notebook(SETUP, BUSY, front="notebooks")
    opened.run(0)
    opened.card("count").wait_for()
    opened.run(1)
    opened.port("Output of count").click()
    opened.port("Argument x of double").click()
    opened.page.get_by_text("plugs: ['count -> double.x']").wait_for()


STILL = "Picture of flow"


def test_a_picture_saved_with_the_state_of_widgets_is_seen_with_its_numbers_and_one_click_brings_it_to_life(
    notebook: Any,
) -> None:
    opened = notebook(SETUP)
    keep = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
    opened.page.evaluate("command => jupyterapp.commands.execute(command).then(() => true)", keep)
    opened.page.wait_for_function("command => jupyterapp.commands.isToggled(command)", arg=keep)
    opened.run(0)
    opened.card("count").get_by_text("done").first.wait_for()
    opened.save()
    wait_for(lambda: ">1 done<" in opened.saved_svg())
    assert opened.saved()["metadata"]["widgets"]
    opened.shut_down()
    opened.load()
    opened.page.get_by_alt_text(STILL).wait_for()
    opened.picture.wait_for(state="hidden")
    opened.page.get_by_role("button", name="Bring to life").click()
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    opened.page.evaluate("command => jupyterapp.commands.execute(command).then(() => true)", keep)


@pytest.mark.parametrize("front", ["lab", "notebooks"])
def test_a_saved_picture_is_seen_without_its_kernel_and_one_click_brings_it_to_life(notebook: Any, front: str) -> None:
    opened = notebook(SETUP, "flow.submit('count', 'another').wait(60)", front=front)
    opened.run(0)
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    opened.save()
    opened.shut_down()
    opened.load()
    still = opened.page.get_by_alt_text(STILL)
    still.wait_for()
    assert still.evaluate("image => image.complete && image.naturalWidth > 200")
    assert opened.page.get_by_text("Error displaying widget").count() == 0
    opened.page.get_by_role("button", name="Bring to life").click()
    opened.card("count").get_by_text("1", exact=True).first.wait_for()
    still.wait_for(state="hidden")
    opened.run(1)
    opened.page.get_by_text("NameError").first.wait_for()
    opened.run(0)
    opened.card("count").get_by_text("2", exact=True).first.wait_for()


VALUES = SETUP.replace(
    "flow = ec.flow()",
    f"""\
ATTACKS = {ATTACKS!r}

@ec.socket
def table(n: int) -> list:
    return [{{'word': text, 'n': n}} for text in ATTACKS[:1]]

class Report:
    def _repr_html_(self): return '<h3>All well</h3>' + ''.join(ATTACKS)

@ec.socket
def report(n: int):
    return Report()

flow = ec.flow()
flow.submit('table', 4321)
flow.submit('report', 1)""",
)


def test_last_values_are_on_the_cards_in_the_saved_notebook_and_in_a_page_made_of_it_and_nothing_of_them_runs(
    notebook: Any, browser: Any
) -> None:
    opened = notebook(VALUES)
    opened.run(0)
    opened.card("count").locator(".ec-short").filter(has_text="4").wait_for()
    # below the window, where it is not seen yet, nothing was asked for it
    opened.card("report").scroll_into_view_if_needed()
    opened.card("table").locator("td").filter(has_text="4321").wait_for()
    frame = opened.card("report").frame_locator("iframe")
    frame.get_by_role("heading", name="All well", include_hidden=True).wait_for()
    opened.card("table").locator(".ec-last-open").click()
    large = opened.page.get_by_role("region", name="Values of table", exact=True)
    large.get_by_role("cell", name="4321").wait_for()
    assert opened.page.evaluate("() => window.hit") is None
    opened.save()
    wait_for(lambda: ">4321<" in opened.saved_svg())
    opened.shut_down()
    opened.load()
    opened.page.get_by_alt_text(STILL).wait_for()
    path = opened.lab.root / opened.path
    path.with_suffix(".html").write_text(HTMLExporter().from_filename(str(path))[0])
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.with_suffix(".html").as_uri(), wait_until="domcontentloaded")
    picture = page.locator("img[src^='data:image/svg+xml']")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth > 200)")
    # and where a page puts the picture into itself
    page.evaluate("svg => { document.body.innerHTML = svg }", opened.saved_svg())
    page.get_by_text("4321").wait_for(state="attached")
    assert page.evaluate("() => window.hit") is None
    assert opened.page.evaluate("() => window.hit") is None
    context.close()


def test_a_notebook_that_a_program_ran_shows_its_picture_and_one_click_brings_it_to_life(notebook: Any) -> None:
    opened = notebook(SETUP, ran=True)
    opened.page.get_by_alt_text(STILL).wait_for()
    opened.page.get_by_role("button", name="Bring to life").click()
    opened.card("count").get_by_text("1", exact=True).first.wait_for()


def test_a_page_made_of_a_notebook_shows_the_picture_without_a_network(notebook: Any, browser: Any) -> None:
    made = notebook(SETUP, ran=True)
    path = made.lab.root / made.path
    path.with_suffix(".html").write_text(HTMLExporter().from_filename(str(path))[0])
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.with_suffix(".html").as_uri(), wait_until="domcontentloaded")
    picture = page.locator("img[src^='data:image/svg+xml']")
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth > 200)")
    context.close()


def test_a_picture_that_cannot_be_brought_to_life_says_why_and_stays(notebook: Any) -> None:
    opened = notebook(SETUP, "import sys; sys.modules['ec_jupyter'] = None", ran=True)
    opened.run(1)
    opened.page.get_by_role("button", name="Bring to life").click()
    opened.page.get_by_text("ModuleNotFoundError: ").first.wait_for()
    assert opened.page.get_by_alt_text(STILL).is_visible()


def test_a_saved_picture_shows_what_came_after_its_cell_and_an_untouched_notebook_stays_clean(notebook: Any) -> None:
    opened = notebook(SETUP, "flow.plug('count', 'double'); flow.submit('count', 'another').run.wait(60)")
    opened.run(0)
    opened.card("count").get_by_text("done").first.wait_for()
    opened.save()
    wait_for(lambda: ">1 done<" in opened.saved_svg())
    assert "<path" not in opened.saved_svg()
    assert opened.saved_data().keys() == {"application/vnd.ec.flow+json", "image/svg+xml", "text/plain"}
    opened.run(1)
    opened.card("count").get_by_text("2", exact=True).first.wait_for()
    # out of sight, where no numbers come
    opened.page.set_viewport_size({"width": 1300, "height": 200})
    opened.save()
    wait_for(lambda: ">2 done<" in opened.saved_svg() and "<path" in opened.saved_svg())
    wait_for(lambda: not opened.dirty)
    assert opened.card("count").is_visible()
    opened.page.evaluate("() => new Promise(done => setTimeout(done, 2000))")
    assert not opened.dirty


def test_two_notebooks_that_show_one_flow_agree(notebook: Any) -> None:
    one = notebook(SETUP)
    one.run(0)
    one.card("count").get_by_text("1", exact=True).first.wait_for()
    name = one.path.split("/", maxsplit=1)[0]
    flow = f"ec.flow('{name}', folder='../{name}/.ec_jupyter/{name}')"
    other = notebook(f"%load_ext ec_jupyter\nimport ec_jupyter as ec\n{flow}.editor")
    other.run(0)
    other.card("count").get_by_text("1", exact=True).first.wait_for()
    other.port("Output of count").click()
    other.port("Argument x of double").click()
    for notebook_ in (one, other):
        notebook_.picture.get_by_text("1 plug", exact=False).first.wait_for()


def test_a_picture_in_a_narrow_window_keeps_its_cards_in_sight(notebook: Any) -> None:
    opened = notebook(SETUP, front="notebooks", width=420)
    opened.run(0)

    def inside(name: str) -> bool:
        card, whole = opened.card(name).bounding_box(), opened.picture.bounding_box()
        return whole["x"] <= card["x"] and card["x"] + card["width"] <= whole["x"] + whole["width"] <= 420

    for name in ("count", "double"):
        opened.card(name).wait_for()
        wait_for(lambda name=name: inside(name))
