"""One engine for the tests of a module: each finds its flow empty, and the workers there that the last one had."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow

_MAIN = {"cpus": None, "paused": False, "memory": None, "affinity": None, "nodes": {}, "weight": 1.0}


def leave_empty(flow: Flow, processors: Mapping[str, int]) -> None:
    """Take out of a flow what a test has put into it, but for processors of so many CPUs.

    One that cannot be as new is ended and removed.
    """
    kept = {name: {**_MAIN, "cpus": cpus} for name, cpus in processors.items()} | {"main": _MAIN}
    _empty(flow, kept)
    wiring = flow._client.topology
    left = [wiring[part] for part in ("sockets", "plugs", "notes", "schedules")]
    left += [wiring["nodes"][1:], wiring["processors"].keys() - kept]
    if any(left) or wiring["processors"]["main"] != _MAIN:
        flow.delete(force=True)
    flow.close()


def _empty(flow: Flow, kept: Mapping[str, dict[str, Any]]) -> None:
    flow.resume()
    flow.clear()
    flow.clear_cache()
    flow.keep()
    wiring = flow._client.topology
    with flow._editor.edit() as edit:
        for name in wiring["sockets"]:
            edit.add("remove", name=name, force=True)
        for name, record in wiring["processors"].items():
            if name == "main" and record != _MAIN:
                edit.add("processor", name="main", cpus=None, memory=None, affinity=None, weight=1.0, nodes=None)
            elif record != kept.get(name):
                edit.add("remove_processor", name=name)
        for note in wiring["notes"]:
            edit.add("remove_note", id=note["id"])


def clean(folder: Path, flows: Iterable[str]) -> None:
    """Remove what lies in a folder beside these flows."""
    for path in [*folder.iterdir(), *folder.glob(".ec_jupyter/*")]:
        if path.name not in (".ec_jupyter", ".gitignore", *flows):
            # an engine that ends takes its own files away meanwhile
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink()
