"""What a cell's output keeps of a picture, for front ends that show it and for files that keep it."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ec_jupyter.client import names

# which flow an output shows; our JupyterLab extension draws such outputs, with a kernel and without one
MARK = "application/vnd.ec.flow+json"
# how a message's id ends that comes from a Python process: its number, and the message's
_PYTHONS_OWN = re.compile(r"_\d+_\d+")


def mark(name: str, folder: Path, model: str | None) -> dict[str, Any]:
    """The facts that bring the picture of a flow back; its folder only where that is not in its usual place."""
    found = {"flow": name}
    if folder != names.flow_folder(name).resolve():
        here = Path.cwd().resolve()
        found["folder"] = str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
    return {**found, "model_id": model} if model else found


def message_of_cell() -> dict[str, Any]:
    """The message that had the kernel run the cell that runs; empty where no kernel is."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    return (shell.get_parent() or {}) if hasattr(shell, "get_parent") else {}


def cell_that_runs() -> str | None:
    """Id of the cell that runs, where the front end tells."""
    cell = message_of_cell().get("metadata", {}).get("cellId")
    return str(cell) if cell else None


def no_page() -> bool:
    """Whether the cell that runs was sent by a program, as nbclient and papermill are: no page will show a widget."""
    parent = message_of_cell()
    if not parent or any(name.startswith("VOILA_") for name in os.environ) or "google.colab" in sys.modules:
        return False
    # a server that runs cells for pages names the cell, as pages do
    ending = _PYTHONS_OWN.search(str(parent.get("header", {}).get("msg_id", "")))
    return cell_that_runs() is None and ending is not None


class Follower:
    """Outputs of a notebook that a program runs: drawn again after each later cell, where the flow has moved."""

    def __init__(self, draw: Callable[[], dict[str, Any]]) -> None:
        self._draw = draw  # the data of an output as of now
        self._id = uuid.uuid4().hex
        self._shell: Any = None
        self._shown: dict[str, Any] = {}

    def show(self) -> None:
        """Make an output of the cell that runs."""
        from IPython.core.getipython import get_ipython

        if self._shell is None:
            self._shell = get_ipython()
            self._shell.events.register("post_run_cell", self._again)
        self._shown = self._draw()
        self._publish(update=False)

    def _again(self, result: object) -> None:
        data = self._draw()
        if data != self._shown:
            self._shown = data
            self._publish(update=True)

    def _publish(self, *, update: bool) -> None:
        self._shell.display_pub.publish(self._shown, {}, transient={"display_id": self._id}, update=update)

    def rest(self) -> None:
        """Draw no more."""
        if self._shell is not None:
            self._shell.events.unregister("post_run_cell", self._again)
            self._shell = None
