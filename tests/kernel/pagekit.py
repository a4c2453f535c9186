"""A front end's side of a picture, without a front end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Any

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
        self.lives: list[dict[str, Any]] = []
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

    def hello(self, view: str = "one") -> None:
        """Say that a view is there until numbers come, as the page does."""
        for _ in range(SECONDS):
            self.send(k="hello", view=view)
            with suppress(Empty):
                self.listen(lambda: self.metrics, 1)
                return
        raise AssertionError("no numbers came")

    def listen(self, until: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """First true value of `until`, asked after each message of the kernel."""
        end = time.monotonic() + seconds
        while not (found := until()):
            if (left := end - time.monotonic()) <= 0:
                raise Empty
            self._take(self.kernel.client.get_iopub_msg(timeout=left))
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
            elif content["k"] == "engine":
                self.lives.append(content)
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
        self.kernel.replied(cell)
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
    for message in kernel.messages():
        if message["parent_header"].get("msg_id") != cell:
            continue
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] in ("execute_result", "display_data"):
            found = message["content"]["data"]
        if message["content"].get("execution_state") == "idle":
            break
    kernel.replied(cell)
    return found
