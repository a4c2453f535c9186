"""Which flows lie under the server's root, what each is called in an address, and what it is doing.

The key of a flow is the way to it from the root, in characters no proxy touches: ``flights`` is the flow of that name
beside a notebook in the root, ``work:night~20runs:flights`` the one in ``work/night runs``. One flow has one key.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ec_jupyter.client import probe
from ec_jupyter.client.names import PLAIN
from ec_jupyter.engine.folder import FLOWS
from ec_jupyter.errors import FlowNotFoundError

SKIPPED = {"node_modules", "__pycache__", "site-packages"}
DEPTH = 8
WALK_SECONDS = 2.0  # how long a walk may take; a root with millions of folders is shown as far as it got
Row = dict[str, Any]

PATTERN = r"([^/]+)"  # a key in an address; some clients quote the colon
_OTHER = re.compile(rb"[^A-Za-z0-9_.-]")
_ESCAPED = re.compile(rb"~([0-9a-f]{2})")


def key_of(place: PurePosixPath, name: str) -> str:
    """Key of the flow `name` beside the notebooks of `place`, a path from the root."""
    return ":".join(_escape(part) for part in (*place.parts, name))


def _escape(part: str) -> str:
    # a folder's name on disk is bytes, whatever they mean
    return _OTHER.sub(lambda found: b"~%02x" % found[0][0], part.encode(errors="surrogateescape")).decode()


def _unescape(part: str) -> str:
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), part.encode()).decode(errors="surrogateescape")


def folder_of(root: Path, key: str) -> Path:
    """The folder of the flow with that key. Raises FlowNotFoundError: it leads nowhere, or where it may not."""
    *parts, name = (_unescape(part) for part in key.split(":"))
    missing = FlowNotFoundError(f"no flow has the key {key!r} on this server")
    if key_of(PurePosixPath(*parts), name) != key or not PLAIN.fullmatch(name):
        raise missing
    if any(part.startswith(".") or "/" in part or "\0" in part for part in parts):
        raise missing
    try:
        top = root.resolve()
        folder = top.joinpath(*parts, FLOWS, name).resolve(strict=True)
        # after the links have been followed: one that leads out of the root leads nowhere
        if not folder.is_relative_to(top) or not stat.S_ISREG(os.lstat(folder / "flow.db").st_mode):
            raise missing
    except (OSError, RuntimeError):
        raise missing from None
    return folder


class FlowIndex:
    """Finds and counts flows; its calls block, and one thread at a time may make them."""

    def __init__(self, root: Path) -> None:
        self.root = root  # the server's root folder; nothing outside of it is looked at
        self.complete = True
        self._known: dict[Path, PurePosixPath] = {}
        self._read: dict[Path, tuple[object, Row]] = {}

    def take(self) -> list[Row]:
        """A row for each flow: those that run first, then by path."""
        found = dict(self._walk())
        if not self.complete:
            # a flow that an earlier walk found is kept while its folder exists
            found = {folder: place for folder, place in self._known.items() if _is_flow(folder)} | found
        self._known = found
        self._read = {folder: kept for folder, kept in self._read.items() if folder in found}
        rows = [self._row(folder, place) for folder, place in found.items()]
        return sorted((row for row in rows if row), key=lambda row: (not row["running"], row["path"]))

    def _row(self, folder: Path, place: PurePosixPath) -> Row | None:
        try:
            return self.row(folder, place)
        except OSError:
            # it was removed while we looked
            return None

    def row(self, folder: Path, place: PurePosixPath) -> Row:
        """What one flow is doing."""
        row: Row = {
            "key": key_of(place, folder.name),
            "name": folder.name,
            # a name that is no text would end the whole answer
            "path": str(place / folder.name).encode(errors="surrogateescape").decode(errors="replace"),
        }
        answer = probe.ask(folder)
        if answer and "sockets" in answer:
            notify = {"notify": probe.wanted(answer.get("notify")), "idle": bool(answer.get("idle"))}
            live = notify | {"sockets": len(answer["sockets"]), "nodes": answer["nodes"], "python": [answer["python"]]}
            live["size"] = answer.get("size")
            return row | {"running": True, "killed": False, "error": None} | live | probe.totals(answer["sockets"])
        kept = {key: value for key, value in self._recorded(folder).items() if key != "executable"}
        running = answer is not None
        life = {"running": running, "killed": not running and probe.killed(folder), "nodes": [], "idle": True}
        return row | {"notify": {}} | kept | life

    def _recorded(self, folder: Path) -> Row:
        """What the database says; read again only once it has changed."""
        mark = [_mark(folder / name) for name in ("flow.db", "flow.db-wal")]
        before, kept = self._read.get(folder, (None, {}))
        if before != mark:
            kept = probe.read(folder) | {"size": probe.size(folder)}
            self._read[folder] = (mark, kept)
        return kept

    def _walk(self) -> Iterator[tuple[Path, PurePosixPath]]:
        """Breadth first, so that what lies near is found whatever the time allows."""
        end = time.monotonic() + WALK_SECONDS
        self.complete = True
        level = [(self.root.resolve(), PurePosixPath())]
        for _ in range(DEPTH):
            below = []
            for folder, place in level:
                if time.monotonic() > end:
                    self.complete = False
                    return
                yield from ((flow, place) for flow in _flows(folder / FLOWS))
                below += [(folder / name, place / name) for name in _folders(folder)]
            level = below


def _folders(folder: Path) -> list[str]:
    """Names of the folders in which notebooks may lie; a link leads to what is found elsewhere, or is not ours."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]
        if (folder / "pyvenv.cfg").exists():
            return []
    except OSError:
        return []
    return sorted(name for name in names if name not in SKIPPED)


def _flows(folder: Path) -> list[Path]:
    try:
        if folder.is_symlink():
            return []
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(folder / name for name in names if PLAIN.fullmatch(name) and _is_flow(folder / name))


def _is_flow(folder: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(folder / "flow.db").st_mode)
    except OSError:
        return False


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
