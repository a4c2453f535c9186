"""Changes of a flow's wiring: what they make of it, how they are sent as one edit, and what that did.

Until an edit is sent, the wiring is drafted here, so that a block can use what it has just made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import count
from typing import Any

from ec_jupyter.client.client import Client
from ec_jupyter.client.waits import Deadline, until
from ec_jupyter.errors import EngineLostError, WiringError
from ec_jupyter.flow import rows
from ec_jupyter.flow.draft import Draft, Limits
from ec_jupyter.flow.edit import apply
from ec_jupyter.flow.options import checked
from ec_jupyter.flow.rows import View
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL, Node
from ec_jupyter.nodes.kinds import without_processes
from ec_jupyter.notebook.notes import note

NEW = 1 << 60  # identities of what is not in force yet begin here
SEEN_SECONDS = 30.0  # how long an edit waits until this client's own picture of the topology shows it
NOTHING = "nothing under way is affected"


@dataclass(frozen=True, eq=False, repr=False)
class Receipt:
    """What an edit did to what was under way; of a dry run, what it would do.

    Attributes
    ----------
    dry : bool
        The edit was not made.
    to : dict of str to int
        Results that were there, or come of calls under way, by the socket that they go to.
    nowhere : dict of str to int
        Calls under way whose results no plug takes any more, by socket.
    moved, stays, unplaced : dict of str to int
        Of a socket on another processor, calls that go there, those that run and end where they are, and those that
        wait because no CPU is there at present.
    parked, held_back, stranded : dict of str to int
        Requests and values parked with a removed socket; queued requests whose task asks
        for more now; waiting values and calls that nothing completes any more. Each by socket.
    lost : int
        What is there no more.
    text : str
        All of it in one line: ``120 to 'clean', 80 to 'clean2', 0 lost``. Empty where nothing was under way that the
        edit is about.
    """

    to: dict[str, int]
    nowhere: dict[str, int]
    moved: dict[str, int]
    stays: dict[str, int]
    unplaced: dict[str, int]
    parked: dict[str, int]
    held_back: dict[str, int]
    stranded: dict[str, int]
    lost: int
    text: str
    dry: bool = False

    def __repr__(self) -> str:
        return f"{'dry run: ' if self.dry else ''}{self.text or NOTHING}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


# -- the draft -----------------------------------------------------------------
class Drafted:
    """What changes make of a wiring, by the rules that the engine goes by.

    How many values wait is not known here: what depends on that is decided where the edit comes into force.
    """

    def __init__(self, base: View) -> None:
        self.base = base  # the wiring as the engine has shown it
        self.applied = 0
        lent = {row["name"]: row["cpus"] for row in base["nodes"] if row["cpus"]}
        limits = Limits(lent.pop(LOCAL, NEW), "", lambda socket: 0, nodes=lent, without_processes=without_processes)
        self._draft = Draft(rows.topology(base), count(NEW).__next__, limits)
        self._seen: tuple[Topology, View] | None = None

    def apply(self, changes: Sequence[dict[str, Any]]) -> None:
        """Make those of `changes` that are new; the first that cannot be is raised."""
        for change in changes[self.applied :]:
            # where its value will be is not known yet
            apply(self._draft, change | {"value_id": 0} if change["op"] == "fix" else change)
            self.applied += 1

    @property
    def view(self) -> View:
        """The wiring as a client would be shown it; rows are made when they are looked at."""
        wiring = self._draft.topology
        if self._seen is None or self._seen[0] is not wiring:
            self._seen = wiring, self._view(wiring)
        return self._seen[1]

    def _view(self, wiring: Topology) -> View:
        nodes = {row["name"]: row for row in self.base["nodes"] if row["name"] in (LOCAL, *wiring.nodes)}
        return {
            "revision": self.base["revision"],
            "processors": {p.name: rows.processor_row(p) for p in wiring.processors.values()},
            "sockets": _Table(wiring.names, lambda n: rows.socket_row(wiring, wiring.sockets[n], "")),
            "plugs": _Plugs(wiring),
            "notes": [{"id": n.id, "text": n.text, "place": list(n.place)} for n in wiring.notes.values()],
            "schedules": [rows.schedule_row(s, wiring.sockets[s.socket].name) for s in wiring.schedules.values()],
            "nodes": [*nodes.values(), *(_node_row(n) for n in wiring.nodes.values() if n.name not in nodes)],
        }


def _node_row(node: Node) -> dict[str, Any]:
    return {"name": node.name, "host": node.host, "cpus": node.cpus or 0, "state": ""}


class _Table(Mapping[str, dict[str, Any]]):
    """Rows by name, each made when it is looked at."""

    def __init__(self, numbers: Mapping[str, int], row: Callable[[int], dict[str, Any]]) -> None:
        self._numbers, self._row = numbers, row

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._row(self._numbers[name])

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class _Plugs(Iterable[dict[str, Any]]):
    """Rows of plugs, oldest first, each made when it is looked at; those not in force have no identity."""

    def __init__(self, wiring: Topology) -> None:
        self._wiring = wiring

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self._row, range(len(self._wiring.live)))

    def __reversed__(self) -> Iterator[dict[str, Any]]:
        return map(self._row, reversed(range(len(self._wiring.live))))

    def _row(self, at: int) -> dict[str, Any]:
        plug, sockets = self._wiring.live[at], self._wiring.sockets
        row = rows.plug_row(plug, sockets[plug.source].name, sockets[plug.target].name)
        return row | {"id": plug.id if plug.id < NEW else None}


# -- the edit ------------------------------------------------------------------
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

        def shown() -> bool | None:
            return self._client.topology["revision"] >= revision or None

        if until(self._client, "topology", shown, Deadline(SEEN_SECONDS)) is None:
            raise EngineLostError(f"the engine took revision {revision} but has not shown it")
