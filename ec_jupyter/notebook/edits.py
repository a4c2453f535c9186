"""Changes of a flow's wiring, collected and sent as one edit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ec_jupyter.client.client import Client
from ec_jupyter.errors import EngineLostError, WiringError
from ec_jupyter.flow.options import checked
from ec_jupyter.flow.rows import View
from ec_jupyter.notebook.drafts import Drafted
from ec_jupyter.notebook.notes import note
from ec_jupyter.notebook.receipts import Receipt

SEEN_SECONDS = 30.0  # how long an edit waits until this client's own picture of the topology shows it


class Edit:
    """Changes that take effect together, or not at all.

    Attributes
    ----------
    dry : bool
        They are not to take effect: what they would do is told.
    receipt : Receipt or None
        What they did to what was under way, or would do; None before they were sent.
    """

    def __init__(self, *, dry: bool = False) -> None:
        self.dry = dry
        self.receipt: Receipt | None = None
        self.changes: list[dict[str, Any]] = []
        self.buffers: list[bytes] = []
        self._after: list[Callable[[], None]] = []
        self._drafted: Drafted | None = None

    def add(self, op: str, **fields: Any) -> None:
        """One more change."""
        self.changes.append(checked({"op": op, **fields}))

    def buffer(self, data: bytes) -> int:
        """Index by which a change refers to `data`."""
        self.buffers.append(data)
        return len(self.buffers) - 1

    def after(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the changes are in force."""
        self._after.append(callback)

    def seen(self, wiring: View) -> View:
        """What the changes so far make of the wiring that is in force; the first that cannot be is raised."""
        if self._drafted is None or self._drafted.base is not wiring:
            self._drafted = Drafted(wiring)
        self._drafted.apply(self.changes)
        return self._drafted.view

    @contextmanager
    def step(self, wiring: Callable[[], View]) -> Iterator[Edit]:
        """Changes of one call within a larger edit: where one cannot be, all of them are refused, and at once."""
        changes, after = len(self.changes), len(self._after)
        try:
            yield self
            self.seen(wiring())
        except BaseException:
            del self.changes[changes:], self._after[after:]
            self._drafted = None
            raise

    def done(self) -> None:
        """The changes are in force."""
        for callback in self._after:
            callback()


class Editor:
    """Sends edits of one flow; each thread collects its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._own = threading.local()
        self.receipt: Receipt | None = None

    @contextmanager
    def edit(self, *, dry: bool = False) -> Iterator[Edit]:
        """Collect changes; they are sent at the end of the outermost block, and none if it raises.

        Raises WiringError: a dry run inside of an edit: what comes before it is not in force.
        """
        outer: Edit | None = getattr(self._own, "edit", None)
        if outer is not None:
            if dry and not outer.dry:
                raise WiringError("a dry run cannot stand inside another edit; make it before that, or dry as well")
            with outer.step(lambda: self._client.topology):
                yield outer
            return
        edit = self._own.edit = Edit(dry=dry)
        try:
            yield edit
        finally:
            self._own.edit = None
        if edit.changes:
            self._send(edit)

    def change(self, op: str, **fields: Any) -> None:
        """One change, in an edit of its own or the one around it."""
        with self.edit() as edit:
            edit.add(op, **fields)

    @property
    def collecting(self) -> bool:
        """Whether this thread is inside an edit that is not yet sent."""
        return getattr(self._own, "edit", None) is not None

    @property
    def wiring(self) -> View:
        """The wiring in force; inside an edit, what its changes so far make of that."""
        edit: Edit | None = getattr(self._own, "edit", None)
        known = self._client.topology
        return known if edit is None or not edit.changes else edit.seen(known)

    def _send(self, edit: Edit) -> None:
        asked: dict[str, Any] = {"changes": edit.changes} | ({"dry": True} if edit.dry else {})
        reply, _ = self._client.ask("edit", asked, edit.buffers)
        for text in reply.get("warnings", ()):
            note(text)
        edit.receipt = Receipt(**reply["receipt"], dry=edit.dry)
        if edit.dry:
            return
        self.receipt = edit.receipt
        self.seen(reply["revision"])
        edit.done()

    def seen(self, revision: int) -> None:
        """Wait until the client's topology is of `revision` or newer: whoever edits reads their own edit."""
        if self._client.topology["revision"] >= revision:
            return
        news = threading.Event()
        undo = self._client.listen("topology", lambda header, buffers: news.set())
        try:
            while self._client.topology["revision"] < revision:
                news.clear()
                # read again: the push may have come between the look and the listening
                if self._client.topology["revision"] < revision and not news.wait(SEEN_SECONDS):
                    raise EngineLostError(f"the engine took revision {revision} but has not shown it")
        finally:
            undo()
