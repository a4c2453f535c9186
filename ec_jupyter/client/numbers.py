"""The newest counts of a flow, of those that its engine pushes and those that it is asked for."""

from __future__ import annotations

import threading
from typing import Any

from ec_jupyter.client.rpc import Rpc

Counts = dict[str, Any]


class Numbers:
    """The newest counts of a flow.

    An answer may be taken by its thread only after a push that is newer was: a push is kept, for the engine
    pushes after each change.
    """

    def __init__(self) -> None:
        self.newest: Counts | None = None  # the counts; None before the first
        self._pushes = 0
        self._lock = threading.Lock()

    def pushed(self, counts: Counts) -> None:
        """Take counts that the engine has pushed; called on the client's thread."""
        with self._lock:
            self.newest = counts
            self._pushes += 1

    def ask(self, client: Rpc, timeout: float) -> None:
        """Ask the engine for all counts as of now. Raises EcError, TimeoutError: it cannot be reached in time."""
        before = self._pushes
        answer, _ = client.ask("query", {"what": "counts"}, timeout=timeout)
        with self._lock:
            if self._pushes == before:
                self.newest = answer
