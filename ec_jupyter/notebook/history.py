"""The part of a flow that makes several changes one, and takes them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ec_jupyter.client.client import Client
from ec_jupyter.client.texts import clock_text, shown
from ec_jupyter.notebook.edits import Edit, Editor
from ec_jupyter.notebook.notes import note
from ec_jupyter.notebook.receipts import Receipt
from ec_jupyter.notebook.tables import Table


class History:
    """What `Flow` can do with its edits."""

    _client: Client
    _editor: Editor

    @contextmanager
    def edit(self, *, dry: bool = False) -> Iterator[Edit]:
        """Make the changes inside one: all in force at the end of the block, or none if it raises.

        Parameters
        ----------
        dry : bool
            Make none of them: the `Edit` tells what they would do.

        Examples
        --------
        >>> with flow.edit(dry=True) as change:
        ...     flow.unplug("load", "clean")
        >>> change.receipt
        dry run: 120 to 'clean', 80 of 'load' to nothing, 0 lost
        """
        with self._editor.edit(dry=dry) as edit:
            yield edit

    @property
    def receipt(self) -> Receipt | None:
        """What the last edit made here did to what was under way; None before any."""
        return self._editor.receipt

    def undo(self) -> str:
        """Take the last edit back; its text.

        Raises
        ------
        RevisionError
            There is none, or what it touched was changed since. Or the last thing done, here or in another notebook,
            is a discard, a supplied value, a cancelled call or an emptied flow, which cannot be undone: the next undo
            takes back the edit before it.
        """
        return self._step("undo")

    def redo(self) -> str:
        """Make the edit that was taken back last; its text."""
        return self._step("redo")

    def _step(self, way: str) -> str:
        reply = self._client.ask(way, {"by": "code"})[0]
        self._editor.seen(reply["revision"])
        self._editor.receipt = Receipt(**reply["receipt"])
        for text in reply["warnings"]:
            note(text)
        return str(reply["text"])

    def history(self) -> Table:
        """Edits of the flow, oldest first."""
        reply, _ = self._client.ask("history")
        rows = [shown(row, time=clock_text) for row in reply["rows"]]
        return Table(rows, ["n", "text", "time", "undone"])
