"""What ``ec doctor`` looks at: this machine, this installation, one flow. It changes nothing and starts nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import ec_jupyter
from ec_jupyter.client import probe
from ec_jupyter.client.client import PYTHON
from ec_jupyter.engine.open_lots import reading
from ec_jupyter.engine.runtime import runtime_folder
from ec_jupyter.engine.store import mount_type, networked
from ec_jupyter.engine.trust import trusted
from ec_jupyter.errors import EcError
from ec_jupyter.version import VERSION

LOW_BYTES = 1 << 30  # less room than this on a flow's disk is said


class Finding(NamedTuple):
    """One thing that was looked at: ``good``, worth a word (``note``), or ``bad``."""

    check: str
    state: str
    text: str


def findings(folder: Path | None) -> list[dict[str, str]]:
    """All of it, of a flow too if one is given."""
    found = [*_machine(), *(_flow(folder) if folder is not None else ())]
    return [one._asdict() for one in found]


def _machine() -> Iterator[Finding]:
    yield Finding("version", "good", f"ec_jupyter {VERSION}, Python {sys.version.split()[0]}, {sys.executable}")
    front = (Path(ec_jupyter.__file__).parent / "static" / "editor.js").exists()
    yield Finding("picture", "good" if front else "bad", "built" if front else "the front end is not built: make front")
    yield Finding("CPUs", "good", f"{len(os.sched_getaffinity(0))} for this process")
    yield _tried("sockets", lambda: f"in {runtime_folder()}")
    ssh = shutil.which("ssh")
    yield Finding("ssh", "good" if ssh else "note", ssh or "no ssh: other machines cannot be reached")


def _flow(folder: Path) -> Iterator[Finding]:
    yield _tried("trust", lambda: _trust(folder))
    writable = os.access(folder, os.W_OK)
    yield Finding("folder", "good" if writable else "bad", f"{folder} can{'' if writable else 'not'} be written")
    kind, far = mount_type(folder) or "unknown", networked(folder)
    yield Finding("file system", "note" if far else "good", f"{kind}: a network file system" if far else kind)
    free = shutil.disk_usage(folder).free
    yield Finding("disk", "good" if free > LOW_BYTES else "note", f"{free / (1 << 30):.1f} GiB free")
    yield _database(folder)
    recorded = probe.read(folder)
    versions = [python for python in recorded["python"] if python]
    fits = not versions or PYTHON in versions
    yield Finding("Python", "good" if fits else "bad", f"tasks of {', '.join(versions) or 'any'}, this is {PYTHON}")
    yield _engine(folder)


def _trust(folder: Path) -> str:
    trusted(folder)
    return "it may run here"


def _tried(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, "good", look())
    except EcError as error:
        return Finding(check, "bad", str(error))


def _database(folder: Path) -> Finding:
    try:
        with closing(reading(folder, 5)) as db:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return Finding("database", "bad", str(error))
    return Finding("database", "good" if said == "ok" else "bad", said)


def _engine(folder: Path) -> Finding:
    answer = probe.ask(folder)
    if answer is None:
        rest = probe.at_rest(folder)
        return Finding("engine", "bad" if rest.state == "killed" else "note", rest.text)
    if "engine" not in answer:
        return Finding("engine", "bad", "it runs and does not answer")
    return Finding("engine", "good", f"process {answer['engine']}, Python {answer['python']}")
