"""Marks sockets whose captured values have been bound anew in this notebook since they were registered."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ec_jupyter.client.launch import running
from ec_jupyter.errors import EcError
from ec_jupyter.notebook.identity import MISSING, identity
from ec_jupyter.notebook.modules import changed
from ec_jupyter.notebook.output import cell_that_runs
from ec_jupyter.notebook.parts import FlowLike
from ec_jupyter.notebook.shipping import Shipment
from ec_jupyter.notebook.signatures import Given

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Noted:
    """What one socket took along, and which of it we have called stale.

    The objects are kept: an id alone may come back as another object's.
    """

    identity: str
    taken: dict[str, Any]
    modules: dict[str, str]
    task: Callable[..., Any]
    given: Given
    cell: str | None = None
    looked: dict[str, tuple[object, bool]] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()

    def is_stale(self, name: str, value: object) -> bool:
        """Whether `name` now stands for something else than what was taken along."""
        taken = self.taken[name]
        if value is taken:
            return False
        if taken is MISSING or value is MISSING:
            return True
        # bound anew, but perhaps to its equal: the cell that defines it was only run again
        if name not in self.looked or self.looked[name][0] is not value:
            self.looked[name] = (value, identity(value) != identity(taken))
        return self.looked[name][1]


class Watch:
    """Sockets that this kernel has registered, and what they took from its namespace."""

    def __init__(self) -> None:
        self._noted: dict[tuple[FlowLike, str], _Noted] = {}

    def note(self, flow: FlowLike, socket: str, task: Callable[..., Any], shipment: Shipment) -> None:
        """A socket has been registered."""
        space = vars(sys.modules["__main__"])
        # names of other modules are not the notebook's to bind anew
        taken = {name: value for name, value in shipment.captured.items() if space.get(name, MISSING) is value}
        self._noted[flow, socket] = _Noted(
            shipment.record["identity"], taken, shipment.modules, task, shipment.given, cell_that_runs()
        )

    def tasks(self, flow: FlowLike) -> dict[str, tuple[Callable[..., Any], Given]]:
        """The functions of this kernel that are tasks of a flow, as they are now, with their arguments as given."""
        mine = [(socket, n) for (f, socket), n in self._noted.items() if f is flow and self._ours(f, socket, n)]
        return {socket: (_newest(noted.task), noted.given) for socket, noted in mine}

    def moved(self, flow: FlowLike, socket: str) -> bool:
        """Whether a socket was registered by another cell than the one that runs."""
        noted, cell = self._noted.get((flow, socket)), cell_that_runs()
        return noted is not None and None not in (noted.cell, cell) and noted.cell != cell

    def renamed(self, flow: FlowLike, old: str, new: str) -> None:
        """A socket has another name."""
        if (flow, old) in self._noted:
            self._noted[flow, new] = self._noted.pop((flow, old))

    def forget(self, flow: FlowLike) -> None:
        """A flow has been closed here."""
        self._noted = {key: noted for key, noted in self._noted.items() if key[0] is not flow}

    def look(self, space: Mapping[str, Any]) -> None:
        """Compare with what the names stand for now, and tell the engine what has changed."""
        for (flow, socket), noted in list(self._noted.items()):
            rebound = [name for name in noted.taken if noted.is_stale(name, space.get(name, MISSING))]
            stale = frozenset([*rebound, *changed(noted.modules)])
            if stale == noted.stale or not self._ours(flow, socket, noted) or not running(flow.folder):
                continue  # an engine that was stopped is not started for a mark; the next look tries again
            noted.stale = stale
            try:
                flow._editor.change("stale", socket=socket, names=sorted(stale))
            except EcError as error:
                # a cell that has run well does not fail for a mark in the picture
                _log.warning("socket %s: its stale mark could not be set: %s", socket, error)

    @staticmethod
    def _ours(flow: FlowLike, socket: str, noted: _Noted) -> bool:
        """Whether what we registered is still the version in force."""
        if flow.closed:
            return False
        record = flow._client.topology["sockets"].get(socket)
        return record is not None and bool(record["task"]["identity"] == noted.identity)


def _newest(task: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a module as that has it now: loading a module anew leaves the old one where it was taken to."""
    module = sys.modules.get(getattr(task, "__module__", None) or "")
    if module is None or module.__name__ == "__main__":
        return task
    found = getattr(module, getattr(task, "__qualname__", ""), task)
    return found if type(found) is type(task) else task


WATCH = Watch()  # the one of this kernel
