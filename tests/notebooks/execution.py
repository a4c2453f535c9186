"""A shipped notebook, executed in a copy of its folder by one kernel after another."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
VIEW = "application/vnd.jupyter.widget-view+json"


class Execution:
    """One notebook in one folder.

    Parameters
    ----------
    folder : Path
        Does not exist yet; gets a copy of everything that lies beside the notebook.
    name : str
        File name of the notebook.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.path = folder / name
        self.client: NotebookClient | None = None
        shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".*", "*.sqlite*", "__pycache__"))

    def run(self, without: Collection[str] = ()) -> nbformat.NotebookNode:
        """Execute it in a new kernel, but for the cells that carry one of these tags.

        Raises
        ------
        CellExecutionError
            A cell failed, an assertion of the notebook for example.
        DeadKernelError
            The kernel died.
        """
        notebook = nbformat.read(self.path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if not set(without) & set(cell.metadata.get("tags", ()))]
        self.client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(self.folder)}})
        # a loop of its own, closed at the end, in whichever thread this is
        asyncio.run(self.client.async_execute(env={**os.environ, "JPY_SESSION_NAME": str(self.path)}))
        return notebook

    def engine_pid(self, flow: str) -> int:
        """Process that serves the flow of that name; 0 where none does."""
        lock = self.folder / ".ec_jupyter" / flow / "engine.lock"
        said = re.search(r"process (\d+)", lock.read_text()) if lock.exists() else None
        command = Path(f"/proc/{said[1]}/cmdline") if said else lock
        # the lock's file stays when its process ends, and another process may have got the number
        alive = command.exists() and str(self.folder).encode() in command.read_bytes()
        return int(said[1]) if said and alive else 0

    def stop_engines(self) -> None:
        """End the engines that serve this folder, before they do so for lack of work."""
        for flow in (self.folder / ".ec_jupyter").glob("*"):
            if pid := self.engine_pid(flow.name):
                os.kill(pid, signal.SIGTERM)

    def kill_kernel(self) -> None:
        """SIGKILL to the kernel that executes it now."""
        assert self.client is not None
        assert self.client.km is not None
        os.kill(self.client.km.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]


class Meanwhile:
    """Runs `act` in a thread; `join` waits for its end and raises what it raised."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits
            self._error = error

    def join(self) -> None:
        """Wait for the end of `act`."""
        self._thread.join(timeout=300)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def wait_until(claim: Callable[[], bool], seconds: float) -> None:
    """Return as soon as the claim holds; fail when it does not within that time."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.02)


def shown(notebook: nbformat.NotebookNode, tag: str) -> str:
    """What the cells of that tag displayed, as text."""
    cells = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]
    return "\n".join(o.data["text/plain"] for cell in cells for o in cell.outputs if "text/plain" in o.get("data", {}))


_EVERYWHERE = [
    (r"\b\d\d:\d\d:\d\d\b(?!\.)", "TIME"),  # since when something waits
    (r"\b0 of \d+ CPUs in use", "0 of ALL CPUs in use"),
    (r"; [\d.]+ [KMG]iB on disk \([^)]*\)", ""),
]
_WHERE_TAGGED = {
    # how many days were joined before `worst` was plugged
    "varies-worst": [
        (r"\bworst cpu((?: \d+){4}) \d+", r"worst cpu\1 SEEN"),
        (r">\d+ done · 6 skipped<", ">SEEN done · 6 skipped<"),
        (r"^\(\d+, \(\d+\.\d+, '[A-Z]{3}', '2013-\d\d-\d\d'\)\)$", "SEEN"),
    ],
    # the same in the lineage of one day, whose requests got the next numbers that were free
    "varies-lineage": [
        (r" \d+ worst done row from \d+", ""),
        (r"(?<= )\d+(?= [a-z_]+ done\b)|(?<= from )\d+", "REQUEST"),
        # the same as a picture
        (r"^(?:(?:flights|weather|key|row) )+request \d+ of .*", "LINEAGE"),
    ],
    # the numbers on its cards are those that had come when the kernel ended
    "varies-numbers": [(r"<svg .*</svg>", "PICTURE")],
    "varies-run": [(r"(?<= pandas\.DataFrame )(\d+) \d+", r"\1 RUN")],
}
"""By the tag of a cell: what no two executions have alike, for a reason that is given here."""


def read_outputs(notebook: nbformat.NotebookNode) -> dict[str, list[tuple[str, str]]]:
    """What a reader finds under each cell: kind and text, every number as it is but for those that are named above."""
    found: dict[str, list[tuple[str, str]]] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tags = set(cell.metadata.get("tags", ()))
            found[cell.id] = [part for output in cell.outputs for part in _parts(output, tags)]
    return {name: parts for name, parts in found.items() if parts}


def _parts(output: nbformat.NotebookNode, tags: set[str]) -> list[tuple[str, str]]:
    data = {"stream": output.text} if output.output_type == "stream" else dict(output.get("data", {}))
    if data.pop(VIEW, None) and data.keys() <= {"text/plain"}:
        return []  # a bar, which comes only where a wait is long
    return [(kind, _same(kind, str(data[kind]), tags)) for kind in sorted(data)]


def _same(kind: str, text: str, tags: set[str]) -> str:
    if kind == "text/html":
        # how a table is drawn is its library's affair
        text = re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    text = " ".join(text.split())
    for pattern, word in _EVERYWHERE + [mask for tag in tags for mask in _WHERE_TAGGED.get(tag, ())]:
        text = re.sub(pattern, word, text)
    return text


def shipped(name: str) -> nbformat.NotebookNode:
    """A notebook as it lies in the repository, with its outputs."""
    return nbformat.read(NOTEBOOKS / name, as_version=4)
