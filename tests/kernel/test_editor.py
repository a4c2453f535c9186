"""The picture in a real kernel: comm messages over ZMQ, as a front end sends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

import nbclient
import nbformat
import pytest

SECONDS = 60
VIEW = "application/vnd.jupyter.widget-view+json"
SOCKETS = """flow = ec.flow()
@ec.socket
def emit(x): return x
@ec.socket
def join(left, right): return [left, right]
"""


class Page:
    """A front end's side of one editor: speaks to its comm, on a subshell where the kernel has any."""

    def __init__(self, kernel: Any, model: str) -> None:
        self.kernel, self.model = kernel, model
        self.session = kernel.client.session
        self.subshell = self._subshell()
        self.metrics: list[dict[str, Any]] = []
        self.graphs: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.outputs: list[dict[str, Any]] = []

    def _subshell(self) -> str | None:
        info = self.kernel.client.kernel_info(reply=True, timeout=SECONDS)["content"]
        if "kernel subshells" not in info.get("supported_features", ()):
            return None
        control = self.kernel.client.control_channel
        control.send(self.session.msg("create_subshell_request"))
        return str(control.get_msg(timeout=SECONDS)["content"]["subshell_id"])

    def send(self, **content: Any) -> None:
        """One message of the page."""
        data = {"method": "custom", "content": content}
        message = self.session.msg("comm_msg", {"comm_id": self.model, "data": data})
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self.kernel.client.shell_channel.send(message)

    def listen(self, until: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """First true value of `until`, asked after each message of the kernel."""
        while not (found := until()):
            self._take(self.kernel.client.get_iopub_msg(timeout=seconds))
        return found

    def _take(self, message: dict[str, Any]) -> None:
        if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != self.model:
            self.outputs.append(message)
            return
        data = message["content"]["data"]
        if data["method"] == "update" and "graph" in data["state"]:
            self.graphs.append(data["state"]["graph"])
        elif data["method"] == "custom":
            content = data["content"]
            if content["k"] == "metrics":
                self.metrics.append(content)
            else:
                self.answers[content["id"]] = content

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        """The answer to a command."""
        key = f"t-{len(self.answers)}"
        self.send(k="command", id=key, op=op, args=args, revision=None)
        return self.listen(lambda: self.answers.get(key))

    def edit(self, op: str, **change: Any) -> dict[str, Any]:
        return self.ask("edit", changes=[{"op": op, **change}])

    def counts(self) -> dict[str, Any]:
        """Numbers of all sockets as the messages since the last full one tell them."""
        table: dict[str, Any] = {}
        for message in self.metrics:
            table = {**({} if message["full"] else table), **message["sockets"]}
        return table

    def run(self, code: str) -> str:
        """Text of a cell that ran well; what the picture is told meanwhile is heard."""
        cell = self.kernel.begin(code)
        self.listen(lambda: self.ended(cell))
        mine = [m for m in self.outputs if m["parent_header"].get("msg_id") == cell]
        assert not [m["content"] for m in mine if m["msg_type"] == "error"]
        return "".join(m["content"]["data"]["text/plain"] for m in mine if m["msg_type"] == "execute_result")

    def ended(self, cell: str) -> bool:
        """Whether a cell is through, as far as the messages tell that have been taken."""
        return any(
            m["parent_header"].get("msg_id") == cell and m["content"].get("execution_state") == "idle"
            for m in self.outputs
        )


def shown(kernel: Any, code: str = "%ec_flow") -> dict[str, Any]:
    """The bundle that a cell shows."""
    cell = kernel.begin(code)
    found: dict[str, Any] = {}
    while True:
        message = kernel.client.get_iopub_msg(timeout=SECONDS)
        if message["parent_header"].get("msg_id") != cell:
            continue
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] in ("execute_result", "display_data"):
            found = message["content"]["data"]
        if message["content"].get("execution_state") == "idle":
            return found


@pytest.fixture
def page(kernel: Any) -> Page:
    """A page that looks at a flow with two sockets."""
    kernel.run(SOCKETS)
    return Page(kernel, shown(kernel)[VIEW]["model_id"])


def test_a_picture_is_a_widget_an_svg_and_text(kernel: Any) -> None:
    kernel.run(SOCKETS)
    kernel.run("flow.plug('emit', 'join.left'); flow.submit('emit', 1); left = flow.wait(60)")
    bundle = shown(kernel)
    assert set(bundle) >= {VIEW, "image/svg+xml", "text/plain"}
    assert "emit(x) v1" in bundle["text/plain"]
    assert bundle["image/svg+xml"].startswith("<svg ")
    assert ">1 done<" in bundle["image/svg+xml"]
    assert "1 arrived" in bundle["image/svg+xml"]
    again = shown(kernel, "flow.editor")
    assert again[VIEW] == bundle[VIEW]


def test_a_command_is_answered_while_a_cell_blocks(page: Page, gate: Any) -> None:
    kernel = page.kernel
    if page.subshell is None:
        pytest.skip("this kernel has no subshells")
    blocks = "import os; print('blocked', flush=True); os.read(os.open('gate', os.O_RDONLY), 1)"
    cell = kernel.begin(f"{blocks}; print(flow.plugs)")
    page.listen(lambda: any("blocked" in m["content"].get("text", "") for m in page.outputs))
    answer = page.edit("plug", source="emit", target="join", argument="left", on="result")
    assert answer["ok"], answer
    assert not page.ended(cell)
    # and the picture follows, too
    page.listen(lambda: page.graphs and page.graphs[-1]["plugs"])
    assert not page.ended(cell)
    gate.open(1)
    page.listen(lambda: any("plug emit -> join.left" in m["content"].get("text", "") for m in page.outputs))


def test_numbers_come_while_somebody_looks_and_not_otherwise(page: Page, gate: Any) -> None:
    kernel = page.kernel
    page.send(k="hello")
    page.listen(lambda: page.metrics)
    assert page.metrics[0]["full"] is True
    assert set(page.metrics[0]["sockets"]) == {"emit", "join"}
    cell = kernel.begin("import os; flow.submit('emit', 1).result(60); os.read(os.open('gate', os.O_RDONLY), 1)")
    page.listen(lambda: page.counts()["emit"]["done"] == 1)
    assert not page.ended(cell)
    gate.open(1)
    page.listen(lambda: page.ended(cell))
    assert [m["seq"] for m in page.metrics] == sorted({m["seq"] for m in page.metrics})
    # a beat comes though nothing happens
    many = len(page.metrics)
    page.listen(lambda: len(page.metrics) >= many + 2)
    assert page.metrics[-1]["sockets"] == {}
    page.send(k="look", visible=False)
    page.ask("rates")
    # one may have been on its way
    page.run("import time; time.sleep(0.2)")
    many = len(page.metrics)
    page.run("flow.submit('emit', 1).result(60); left = flow.wait(60)")
    with pytest.raises(Empty):
        page.listen(lambda: len(page.metrics) > many, 1.5)
    page.send(k="look", visible=True)
    page.listen(lambda: page.metrics[-1]["full"] and page.counts()["emit"]["done"] == 2)


def test_the_picture_follows_what_code_wires(page: Page) -> None:
    kernel = page.kernel
    cell = kernel.begin("flow.plug('emit', 'join.left'); flow.rename('join', 'meet'); None")
    page.listen(lambda: page.graphs and "meet" in page.graphs[-1]["sockets"])
    (plug,) = page.graphs[-1]["plugs"]
    assert (plug["source"], plug["target"], plug["argument"]) == ("emit", "meet", "left")
    page.listen(lambda: page.ended(cell))
    assert page.graphs[-1]["revision"] == int(kernel.run("flow.revision").text)


def test_undo_in_the_picture_is_the_flows_undo(page: Page) -> None:
    kernel = page.kernel
    kernel.run("flow.plug('emit', 'join.left'); flow.plug('emit', 'join.right')")
    assert page.ask("undo")["text"] == "plug emit -> join.right"
    assert page.run("flow.undo()") == "'plug emit -> join.left'"
    page.listen(lambda: page.graphs and page.graphs[-1]["plugs"] == [])
    assert page.ask("redo")["text"] == "plug emit -> join.left"
    refused = page.edit("plug", source="emit", target="join", argument="middle", on="result")
    assert refused["ok"] is False
    assert refused["error"] == "'join' has no argument 'middle'; known: left, right"


def test_a_value_supplied_in_the_picture_makes_the_call(page: Page) -> None:
    kernel = page.kernel
    kernel.run("flow.plug('emit', 'join.left'); flow.submit('emit', 1); flow.wait(60)")
    (row,) = page.ask("waiting", socket="join")["rows"]
    where = {"party": row["party"], "tag": row["tag"]}
    assert page.ask("supply", socket="join", **where, argument="right", text="[2]")["ok"]
    assert kernel.run("flow.wait(60); flow.results('join')").text == "[[1, [2]]]"
    page.send(k="hello")
    page.listen(lambda: page.counts().get("join", {}).get("done") == 1)


def test_a_command_that_goes_wrong_within_is_answered(page: Page) -> None:
    page.send(k="command", id="odd", op=["not", "a", "name"], args=7)
    assert page.listen(lambda: page.answers.get("odd"))["ok"] is False
    page.send(k="nothing")
    page.send(no="kind")
    assert page.ask("rates")["ok"]


def test_after_a_restart_the_same_cell_shows_a_live_picture_again(page: Page) -> None:
    kernel = page.kernel
    page.edit("plug", source="emit", target="join", argument="left", on="result")
    page.edit("position", positions={"emit": [5, 6]})
    kernel.manager.restart_kernel(now=False)
    kernel.client.wait_for_ready(timeout=SECONDS)
    kernel.run("%load_ext ec_jupyter")
    kernel.run("import ec_jupyter as ec; flow = ec.flow()")
    new = Page(kernel, shown(kernel)[VIEW]["model_id"])
    assert new.model != page.model
    new.send(k="hello")
    new.listen(lambda: new.metrics)
    assert kernel.run("flow.editor.graph['sockets']['emit']['box'][:2]").text == "[5, 6]"
    assert new.edit("unplug", source="emit", target="join", argument="left", on="result")["ok"]
    new.listen(lambda: new.graphs and new.graphs[-1]["plugs"] == [])


def test_a_closed_flow_leaves_its_picture_as_it_was(page: Page, wait_until: Callable[..., Any]) -> None:
    kernel = page.kernel
    bundle = kernel.run("editor = flow.editor; flow.close(); editor")
    assert "image/svg+xml" in bundle.kinds
    assert "emit(x) v1" in bundle.text
    names = "import threading; 'ec-editor' in [t.name for t in threading.enumerate()]"
    wait_until(lambda: kernel.run(names).text == "False")


def test_without_built_files_there_is_the_svg_and_how_to_build(kernel: Any) -> None:
    kernel.run(SOCKETS)
    kernel.run("import ec_jupyter.notebook.editor as e, pathlib; e.FRONT = pathlib.Path('nowhere')")
    bundle = shown(kernel)
    assert VIEW not in bundle
    assert "run `make front`" in bundle["image/svg+xml"]
    assert "emit(x) v1" in bundle["text/plain"]


def test_a_notebook_that_was_run_holds_a_still_picture(notebook_folder: Path, kernels: Any) -> None:
    cells = ["%load_ext ec_jupyter\nimport ec_jupyter as ec", SOCKETS, "flow.submit('emit', 1).result(60)", "%ec_flow"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": str(notebook_folder)}}).execute()
    (output,) = book.cells[-1].outputs
    assert output["data"]["image/svg+xml"].startswith("<svg ")
    assert ">1 done<" in output["data"]["image/svg+xml"]
    states = book.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    state = states[output["data"][VIEW]["model_id"]]["state"]
    assert set(state["graph"]["sockets"]) == {"emit", "join"}
