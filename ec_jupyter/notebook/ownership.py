"""Whose a flow is: which one is the notebook's own, and what is said of it at its first use.

A record in the flow's folder names the notebook and the ids of its cells, which a notebook keeps under
whatever name it is saved, and which no other has but its copies.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ec_jupyter.client import names
from ec_jupyter.engine.folder import Folder
from ec_jupyter.notebook.output import cell_that_runs, no_page

RECORD = "notebook.json"  # file in a flow's folder: whose it is, and who used it last
MOST_BYTES = 1 << 20
MOST_CELLS = 2000
DAY = 24 * 3600.0

_found: dict[tuple[Path, Path], str] = {}


@dataclass(frozen=True)
class Record:
    """Whose a flow is."""

    notebook: str | None = None  # name of the notebook's file; None of a flow that was only ever opened by its name
    cells: tuple[str, ...] = ()  # ids of its cells
    was: tuple[str, ...] = ()  # what it was called before
    by: str | None = None  # the notebook that used it last
    used: float = 0.0  # when that was; wall clock


def read(folder: Path) -> Record | None:
    """The record of a flow; None where there is none that can be read."""
    try:
        with Folder(folder) as opened:
            found = json.loads(opened.read(RECORD, limit=MOST_BYTES))
        lists = {key: tuple(map(str, found[key])) for key in ("cells", "was")}
        return Record(found["notebook"], by=found["by"], used=float(found["used"]), **lists)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def own_name() -> str:
    """Name of the notebook's own flow: the one it has, else one named after it; ``main`` without a notebook."""
    path = names.notebook_path()
    if path is None:
        return names.flow_name()
    key = (Path.cwd(), path)
    if key not in _found:
        _found[key] = _own(names.flow_folder("x").parent, path)
    return _found[key]


def forget() -> None:
    """Look anew which flow is the notebook's own: one was renamed or removed."""
    _found.clear()


def _own(flows: Path, path: Path) -> str:
    name = names.flow_name()
    folders = [folder for folder in flows.iterdir() if folder.is_dir()] if flows.is_dir() else []
    records = {folder.name: record for folder in folders if (record := read(folder)) is not None}
    cells = _cells_here(path)
    mine = {n: r for n, r in records.items() if _is_of(r, path, cells)}
    if mine:
        # the one that has most of its cells, and of these the one used last
        return max(mine, key=lambda n: (len(cells.intersection(mine[n].cells)), mine[n].used))
    if name not in records or records[name].notebook is None:
        return name
    return next(other for n in count(2) if not (flows / (other := f"{name}-{n}")).exists())


def _is_of(record: Record, path: Path, cells: Collection[str]) -> bool:
    """Whether a flow is that of the notebook at `path`."""
    if record.notebook is None:
        return False
    shared = bool(set(cells).intersection(record.cells))
    if not path.exists():
        # renamed while its kernel ran, which is not told; or not saved yet
        return shared or path.name in (record.notebook, *record.was)
    if record.notebook == path.name:
        return shared or not record.cells or not cells
    # under another name, unless the notebook of that name is still the one it was: then this is a copy
    there = cells_of(path.parent / record.notebook)
    return shared and not there.intersection(record.cells)


def cells_of(path: Path) -> set[str]:
    """Ids of the cells of a notebook; of one before format 4.5, or that cannot be read, none."""
    try:
        cells = json.loads(path.read_bytes())["cells"]
        return {str(cell["id"]) for cell in cells if "id" in cell}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _cells_here(path: Path) -> set[str]:
    """Ids of the cells of this notebook, the one that runs included: a new notebook may not be saved yet."""
    return cells_of(path) | ({cell} if (cell := cell_that_runs()) else set())


def claim(folder: Path, *, own: bool) -> None:
    """Write down that this notebook uses a flow, and, of its own, that it is its own."""
    path, before = names.notebook_path(), read(folder) or Record()
    used = Record(before.notebook, before.cells, before.was, path.name if path else None, time.time())
    if own and path is not None:
        name = path.name if path.exists() or before.notebook is None else before.notebook
        cells = tuple(sorted(_cells_here(path)))[:MOST_CELLS] or before.cells
        was = {*before.was, before.notebook} - {None, name}
        used = Record(name, cells, tuple(sorted(map(str, was))), name, used.used)
    # with a disk that is full the flow works all the same; the next use writes it
    with suppress(OSError), Folder(folder) as opened:
        opened.write(RECORD, json.dumps(asdict(used)).encode())


# -- the line at the first use -------------------------------------------------
def interactive() -> bool:
    """Whether somebody reads what a cell prints: a page has sent it."""
    from IPython.core.getipython import get_ipython

    return hasattr(get_ipython(), "kernel") and not no_page()


@dataclass(frozen=True)
class Found:
    """What there was of a flow before it was opened."""

    record: Record  # whose it was
    own: bool  # it is this notebook's own
    used: float | None  # when something was written there last; None: there was no flow

    @classmethod
    def at(cls, folder: Path) -> Found:
        """What there is now."""
        record, own = read(folder) or Record(), folder == names.flow_folder(own_name()).resolve()
        if not (folder / "flow.db").exists():
            return cls(record, own, None)
        written = [path.stat().st_mtime for path in (folder / "flow.db", folder / "flow.db-wal") if path.exists()]
        return cls(record, own, max(record.used, *written))

    def text(self, name: str, counts: dict[str, Any]) -> str:
        """A line: ``flow 'flights': 6 sockets, 3 failed, last used yesterday by this notebook``."""
        if self.used is None:
            return _new(name, own=self.own)
        rows, n = counts["sockets"].values(), len(counts["sockets"])
        sums = {word: sum(row[word] for row in rows) for word in ("queued", "running", "failed")}
        sums["waiting"] = sum(row["waiting"] + sum(row["arrived"].values()) for row in rows)
        parts = [f"{n or 'no'} socket{'' if n == 1 else 's'}", *(f"{n} {word}" for word, n in sums.items() if n)]
        return f"flow {name!r}: {', '.join(parts)}, last used {ago(time.time() - self.used)}{self._by()}"

    def _by(self) -> str:
        path, by = names.notebook_path(), self.record.by
        if by is None:
            return ""
        if path is not None and by == path.name:
            return " by this notebook"
        called = self.own and by in (self.record.notebook, *self.record.was)
        return f" by this notebook, which was {by!r}" if called else f" by {by!r}"


def _new(name: str, *, own: bool) -> str:
    wanted = names.flow_name()
    if not own or name == wanted:
        return f"flow {name!r} is new"
    path, record = names.notebook_path(), read(names.flow_folder(wanted)) or Record()
    whose = "an earlier notebook of this name" if path and record.notebook == path.name else repr(record.notebook)
    return f"flow {name!r} is new; flow {wanted!r} is that of {whose}: ec.flow({wanted!r}) opens it"


def ago(seconds: float) -> str:
    """How long ago, as people say it."""
    if seconds < 90:
        return "just now"
    for limit, unit, word in ((2 * 3600.0, 60.0, "minutes"), (DAY, 3600.0, "hours"), (2 * DAY, 0.0, "yesterday")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {word} ago" if unit else word
    return f"{seconds / DAY:.0f} days ago"
