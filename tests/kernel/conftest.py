"""Real kernels over ZMQ; each ends with its test, and so does every engine it has started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from ec_jupyter.client.client import Client
from ec_jupyter.engine.address import socket_path
from tests.sharing import clean

SECONDS = 90
"""How long a cell may take on a machine that is busy with other things."""


class Cell:
    """What came of one cell."""

    def __init__(self) -> None:
        self.text = ""
        self.streams = ""
        self.html = ""
        self.error: list[str] = []
        self.traceback = ""
        self.kinds: set[str] = set()

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """One more message."""
        if kind == "stream":
            self.streams += content["text"]
        elif kind in ("execute_result", "display_data"):
            self.text += content["data"].get("text/plain", "")
            self.html += content["data"].get("text/html", "")
            self.kinds |= content["data"].keys()
        elif kind == "error":
            self.error = [content["ename"], content["evalue"]]
            self.traceback = "\n".join(content["traceback"])


class Kernel:
    """A kernel in a folder of its own."""

    def __init__(self, folder: Path, first: Path | None = None) -> None:
        self.folder = folder
        # no shell, no profile of this machine's user: a kernel as it comes, or as a folder has it
        found = [str(first)] if first else []
        path = os.pathsep.join([*found, os.environ["PYTHONPATH"]])
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, "PYTHONPATH": path})
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self.manager.provisioner.pid)  # type: ignore[union-attr]

    def begin(self, code: str, cell: str = "one") -> str:
        """Start a cell, as a page does, which names it; what `end` takes to wait for it."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def end(self, cell: str) -> Cell:
        """What came of a cell, once it is through."""
        found = Cell()
        for message in self.messages():
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            found.take(message["msg_type"], message["content"])
        self.replied(cell)
        return found

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the kernel publishes; fails where somebody still waits for a message after long: pictures go on."""
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0:
            yield self.client.get_iopub_msg(timeout=left)
        raise Empty(f"the message did not come within {SECONDS} s")

    def replied(self, cell: str) -> None:
        """Return once a cell that is through has its reply: ipykernel 7 may miss what it is sent before that."""
        while self.client.get_shell_msg(timeout=SECONDS)["parent_header"].get("msg_id") != cell:
            pass

    def run(self, code: str, cell: str = "one") -> Cell:
        """What came of a cell that ran well."""
        found = self.end(self.begin(code, cell))
        assert not found.error, f"{code}\n{found.traceback}"
        return found

    def fail(self, code: str) -> Cell:
        """What came of a cell that did not."""
        cell = self.end(self.begin(code))
        assert cell.error, f"ran well: {code}"
        return cell

    def wait_for(self, cell: str, text: str) -> None:
        """Return once a running cell has printed `text`."""
        shown = ""
        for message in self.messages():
            if message["parent_header"].get("msg_id") == cell and message["msg_type"] == "stream":
                shown += message["content"]["text"]
            if text in shown:
                return

    def wait_for_kind(self, cell: str, kind: str) -> None:
        """Return once a running cell has shown something of a MIME type."""
        for message in self.messages():
            shown = message["content"].get("data", {}) if message["msg_type"] == "display_data" else {}
            if message["parent_header"].get("msg_id") == cell and kind in shown:
                return

    def wait_for_update(self, claim: Callable[[Any], bool]) -> None:
        """Return once a widget has a value of which a claim holds."""
        for message in self.messages():
            if claim(message["content"].get("data", {}).get("state", {}).get("value")):
                return

    def restart(self) -> None:
        """Restart it, as its menu does."""
        self.manager.restart_kernel(now=False)
        self.client.wait_for_ready(timeout=SECONDS)

    def kill(self) -> None:
        """SIGKILL, as when the machine runs out of memory."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        with suppress(Empty, RuntimeError):
            self.manager.shutdown_kernel(now=True)
        # older clients leave it to the collector, which warns of it in whatever test comes next
        if not self.client.context.closed:
            self.client.context.destroy(linger=0)


@pytest.fixture
def kernels(notebook_folder: Path) -> Iterator[Callable[..., Kernel]]:
    """A function that starts a kernel in this test's folder; what lies in `first` is found before all else."""
    started: list[Kernel] = []

    def start(first: Path | None = None) -> Kernel:
        started.append(Kernel(notebook_folder, first))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()
    stop_engines(notebook_folder)


EMPTY = """from tests.sharing import leave_empty
from ec_jupyter.notebook.flow import _open
for flow in list(_open.values()):
    leave_empty(flow, {})
%config EC.progress_delay = 2
%reset -f
import ec_jupyter as ec"""


@pytest.fixture(scope="module")
def shared_kernel(shared_folder: Path) -> Iterator[Kernel]:
    """The kernel of those tests of a module that are marked ``shared_engine``."""
    kernel = loaded(Kernel(shared_folder))
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(request: pytest.FixtureRequest, engine_mark: pytest.Mark | None) -> Iterator[Kernel]:
    """A kernel that has the extension; one that is shared has no names, and its flow is empty."""
    if engine_mark is None:
        yield loaded(request.getfixturevalue("kernels")())
    else:
        yield (kernel := request.getfixturevalue("shared_kernel"))
        kernel.run(EMPTY)
        clean(kernel.folder, ["main"])


def loaded(kernel: Kernel) -> Kernel:
    """The same kernel, with the extension."""
    kernel.run("%load_ext ec_jupyter")
    kernel.run("import ec_jupyter as ec")
    return kernel


def stop_engines(folder: Path) -> None:
    """End the engines of all flows in a folder."""
    for flow in (folder / ".ec_jupyter").glob("*/"):
        if socket_path(flow.resolve()) is not None:
            client = Client.open(flow, flow.name)
            client.ask("stop")
            client.close()
