"""Undo after what cannot be undone says so, once to each client, and takes nothing else back."""

from __future__ import annotations

import json

from ec_jupyter.engine.core import Core
from ec_jupyter.errors import RevisionError
from ec_jupyter.wire import Header

FINAL = {
    "discard": "a discard",
    "supply": "a supplied value",
    "cancel": "a cancelled call",
    "respond": "an answer",
    "clear": "emptying the flow",
}
"""What no undo takes back, as an error says it."""


class Undoing:
    """What was done last that no undo takes back, by whichever client; an edit after it makes undo an undo again."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._told: set[str] = set()

    def did(self, header: Header) -> None:
        """Note what a person did who is to be told; in a cell, or in a picture, which tells of it itself."""
        if header["k"] in FINAL and header.get("by") is not None:
            self._told.clear()
            self._keep(json.dumps([header["k"], header["by"]]))

    def check(self, header: Header, client: str) -> None:
        """Refuse an undo whose person has not been told.

        Raises RevisionError: the last thing done cannot be undone; the next undo takes back the edit before.
        """
        kept = self._core.store.meta.get("final")
        if not kept or client in self._told:
            return
        kind, by = json.loads(kept)
        if by != "picture" or header.get("by") != "picture":
            self._told.add(client)
            raise RevisionError(f"{FINAL[kind]} cannot be undone; {self._before()}")

    def forget(self) -> None:
        """The wiring was changed since."""
        if self._core.store.meta.get("final"):
            self._keep("")

    def _keep(self, text: str) -> None:
        self._core.store.meta["final"] = text
        self._core.journal.step("put_meta", ("final", text))

    def _before(self) -> str:
        edits = [text for _, text, _, undone in self._core.store.rows("history") if not undone]
        if not edits:
            return "there is no edit before it"
        return f"undo again takes back the edit before it: {edits[-1]}"
