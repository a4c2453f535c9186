"""Undo after what cannot be undone says so, once, and takes nothing else back."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ec_jupyter.errors import RevisionError
from ec_jupyter.wire import Header

FINAL = {
    "discard": "a discard",
    "supply": "a supplied value",
    "cancel": "a cancelled call",
    "clear": "emptying the flow",
}
"""What no undo takes back, as an error says it."""


class _Last(NamedTuple):
    what: str
    revision: int
    by_code: bool


class Asker(Protocol):
    """What knows a wiring and can ask its engine."""

    topology: dict[str, Any]

    def ask(self, kind: str) -> tuple[Header, list[bytes]]:
        """The engine's answer."""


class Undoing:
    """Undo and redo of one client.

    Parameters
    ----------
    client : Asker
        The client.
    """

    def __init__(self, client: Asker) -> None:
        self._client = client
        self._last: _Last | None = None

    def did(self, kind: str, *, by_code: bool = True) -> None:
        """Note that a person did what cannot be undone; in a cell, or in a picture, which tells of it itself."""
        self._last = _Last(FINAL[kind], self._client.topology["revision"], by_code)

    def step(self, way: str, *, by_code: bool = True) -> dict[str, Any]:
        """Undo or redo; what came of it.

        Raises
        ------
        RevisionError
            There is nothing to take back, or the last thing done cannot be; the next undo takes back the edit before.
        """
        last, self._last = self._last, None
        told = last is None or last.revision < self._client.topology["revision"] or not (by_code or last.by_code)
        if way == "undo" and last is not None and not told:
            raise RevisionError(f"{last.what} cannot be undone; {self._before()}")
        return self._client.ask(way)[0]

    def _before(self) -> str:
        rows = self._client.ask("history")[0]["rows"]
        edits = [row["text"] for row in rows if not (row["undone"] or row["step"])]
        if not edits:
            return "there is no edit before it"
        return f"undo again takes back the edit before it: {edits[-1]}"
