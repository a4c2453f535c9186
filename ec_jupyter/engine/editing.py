"""Edits of a running flow, and their undo: decided by `flow.edit`, a revision each, followed by everything at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ec_jupyter.engine import asides, missed, recovery
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.fleet import Fleet
from ec_jupyter.engine.job import Job, StoredValue
from ec_jupyter.engine.parts import Audience, Clock
from ec_jupyter.engine.receipts import Facts, Receipt
from ec_jupyter.engine.records import FACTS
from ec_jupyter.engine.suspects import KINDS
from ec_jupyter.errors import ProcessorNotFoundError, RevisionError, SocketNotFoundError, by_name
from ec_jupyter.flow.draft import Edited, Limits, Touched
from ec_jupyter.flow.edit import edit as decide
from ec_jupyter.flow.edit import revert
from ec_jupyter.flow.edit import settle as places
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import FUNCTIONS, Node, Plug, Processor, Socket, Task, from_json, to_json
from ec_jupyter.nodes import kinds
from ec_jupyter.nodes.cpus import available
from ec_jupyter.wire import Header, Value

# what no undo takes back, as an error says it
FINAL = {
    "discard": "a discard", "supply": "a supplied value", "cancel": "a cancelled call", "respond": "an answer",
    "clear": "emptying the flow",
}  # fmt: skip


class Editor:
    """Edits the wiring, and stops and resumes parts of it."""

    def __init__(self, core: Core, nodes: Fleet, clock: Clock, audience: Audience, cpus: int) -> None:
        self._core, self._nodes, self._clock, self._audience, self._cpus = core, nodes, clock, audience, cpus
        self.undoing = Undoing(core)

    def edit(self, changes: list[dict[str, Any]], buffers: list[bytes], client: str, *, dry: bool = False) -> Facts:
        """Carry out an edit, or (`dry`) only tell: the revision, warnings, and what becomes of what is under way."""
        core = self._core
        # what follows reads the disk; written first, nothing of the edit can fail half-way
        core.journal.commit()
        fixed: list[StoredValue] = []
        prepared = [_prepare(core, change, buffers, client, fixed) for change in changes]
        lent = self._nodes.members.lent()
        limits = Limits(self._cpus, core.python, core.load, core.arrived, lent, available(), kinds.without_processes)
        edited = decide(core.topology, prepared, core.new_record, limits)
        for _, _, _, after in edited.touched:
            if isinstance(after, Node):
                # its kind is installed, and takes such a record
                kinds.kind(after.kind).check(after)
        receipt = Receipt(core, edited.topology, edited.touched, self._nodes.members)
        if dry:
            return self._told(edited.warnings, receipt.told)
        for stored in fixed:
            core.fixed[stored.id] = stored
            core.journal.add("add_value", stored.row())
        _take_blobs(core, changes, buffers)
        for change in changes:
            if change["op"] == "node":
                self._nodes.reopen(change["name"])
        for kind, key, record in asides.renew(core, edited.topology, changes):
            _write(core, kind, key, record)
        if not edited.touched:
            return self._told(edited.warnings, receipt.told)
        if any(change["op"] != "stale" for change in changes):
            _record(core, edited)
            self.undoing.forget()
        return self._carry_out(edited, receipt, edited.warnings)

    def undo(self, *, forward: bool) -> Facts:
        """Take the last edit back, or (`forward`) put the last one taken back in force again.

        Returns dict: as `edit`, and ``text`` says what was taken back or made again. Raises RevisionError: there is
        none, or what it touched was changed since.
        """
        core = self._core
        core.journal.commit()
        row = core.store.one("first_undone" if forward else "last_revision")
        if row is None:
            raise RevisionError("nothing to redo" if forward else "nothing to undo")
        n, text, says = row
        touched: list[Touched] = [
            (kind, key, from_json(kind, before) if before else None, from_json(kind, after) if after else None)
            for kind, key, before, after in json.loads(text)
        ]
        # a task version, once made, stays: only which one is current goes back and forth
        edited = revert(core.topology, [t for t in touched if t[0] != "task"], core.arrived, forward=forward)
        core.journal.step("set_undone", (0 if forward else 1, n))
        self.undoing.forget()
        step = f"{'redo' if forward else 'undo'}: {says}"
        core.journal.step("put_revision", (edited.topology.revision, "[]", step, core.now, 3))
        parked = [s for kind, _, before, s in edited.touched if kind == "socket" and s.parked and not before.parked]
        warnings = [_left_at(socket, load) for socket in parked if (load := core.load(socket.id))]
        receipt = Receipt(core, edited.topology, edited.touched, self._nodes.members)
        return {"text": says, **self._carry_out(edited, receipt, warnings)}

    def _carry_out(self, edited: Edited, receipt: Receipt, warnings: list[str]) -> Facts:
        self._apply(edited)
        told = receipt.settle()
        self.settle()
        return self._told(warnings, told)

    def _told(self, warnings: list[str], receipt: Facts) -> Facts:
        return {"revision": self._core.topology.revision, "warnings": warnings, "receipt": receipt}

    def pause(self, sockets: Iterable[str], processors: Iterable[str], *, paused: bool) -> None:
        """Pause or resume sockets and processors; running calls go on.

        Raises SocketNotFoundError, ProcessorNotFoundError: one of them does not exist; nothing was changed.
        """
        core, topology = self._core, self._core.topology
        ids = [by_name(topology.names, name, SocketNotFoundError) for name in sockets]
        some = {name: by_name(topology.processors, name, ProcessorNotFoundError) for name in processors}
        table = {**topology.sockets, **{i: replace(topology.sockets[i], paused=paused) for i in ids}}
        pools = {**topology.processors, **{name: replace(one, paused=paused) for name, one in some.items()}}
        core.topology = replace(topology, sockets=table, processors=pools)
        core.joins.revise(core.topology)
        core.absorb()
        for i in ids:
            _keep(core, "socket", i, table[i])
        for name in processors:
            _keep(core, "processor", name, pools[name])
        if paused:
            self._nodes.take_back({s.id for s in table.values() if s.id in ids or s.processor in set(processors)})
        self._clock.after(self._audience.topology)

    def settle(self) -> None:
        """While a client shows a picture: fix the places of what it shows, whatever is plugged later."""
        if not self._audience.looked_at:
            return
        edited = places(self._core.topology)
        if edited.touched:
            self._core.journal.commit()
            self._apply(edited)

    def _apply(self, edited: Edited) -> None:
        core, old, new = self._core, self._core.topology, edited.topology
        for kind, key, _, after in edited.touched:
            _keep(core, kind, key, after)
        core.journal.step("put_meta", ("revision", str(new.revision)))
        newest = max((key for _, key, _, _ in edited.touched if isinstance(key, int)), default=0)
        if newest > int(core.store.meta.get("record", 0)):
            core.store.meta["record"] = str(newest)
            core.journal.step("put_meta", ("record", str(newest)))
        core.topology = new
        recovery.load_fixed(core) if any(t[0] == "socket" for t in edited.touched) else None
        if _wiring(edited.touched):
            _follow(core, old, new)
        if any(kind == "socket" and _wait(a) != _wait(b) for kind, _, a, b in edited.touched):
            core.journal.commit()
            core.expiry.reload()
        self._nodes.revised(old, new)
        self._clock.after(self._audience.topology)


def _prepare(
    core: Core, change: dict[str, Any], buffers: list[bytes], client: str, fixed: list[StoredValue]
) -> dict[str, Any]:
    """A change as `flow.edit` takes it, with rows in place of bytes."""
    if change["op"] == "socket":
        return {**change, "client": change.get("client") or client}
    if change["op"] == "node" and change.get("host") and not change.get("kind"):
        return {**change, **kinds.place(change["name"], change["host"])}
    if change["op"] == "schedule":
        return {**change, "since": core.now}
    if change["op"] == "fix":
        head = change["value"]
        inline = isinstance(head, int)
        data = buffers[head] if inline else None
        size = len(data) if data is not None else head[1]
        value = Value(data, None if inline else head[0], size, change.get("type", ""))
        stored = StoredValue(core.new_value(), value, "file" if value.file else "inline")
        fixed.append(stored)
        return {**change, "value_id": stored.id}
    return change


def _take_blobs(core: Core, changes: list[dict[str, Any]], buffers: list[bytes]) -> None:
    for change in changes:
        if change["op"] == "socket" and change.get("blob") is not None:
            core.journal.add("add_blob", (change["task"]["sha256"], buffers[change["blob"]]))
        for word in (*FUNCTIONS, "key"):
            function = change.get(word)
            if function and function.get("blob") is not None:
                core.journal.add("add_blob", (function["sha256"], buffers[function["blob"]]))


def _record(core: Core, edited: Edited) -> None:
    change = [
        [kind, key, to_json(before) if before else None, to_json(after) if after else None]
        for kind, key, before, after in edited.touched
    ]
    core.journal.step("keep_undone")
    core.journal.step("put_revision", (edited.topology.revision, json.dumps(change), edited.text, core.now, 0))


def _left_at(socket: Socket, load: int) -> str:
    if load == 1:
        return f"1 request or value waits at {socket.name!r}, which is gone; redo brings it back"
    return f"{load} requests or values wait at {socket.name!r}, which is gone; redo brings them back"


def _wait(socket: Socket | None) -> float | None:
    return socket.wait if socket is not None and not socket.parked else None


def _wiring(touched: Iterable[Touched]) -> bool:
    """Whether an edit changes what joins what; most options do not."""
    return any(
        kind == "plug" or (kind == "socket" and (not a or not b or _joining(a) != _joining(b)))
        for kind, _, a, b in touched
    )


def _joining(socket: Socket) -> tuple[Any, ...]:
    return socket.task, socket.fixed, socket.parked, socket.join, socket.on, socket.hold, socket.key


def _keep(core: Core, kind: str, key: Any, record: Any) -> None:
    """Write a record, unless it is the stand-in for one that cannot be read, which tells less than its row."""
    if not core.suspects.out(KINDS.index(kind), key):
        _write(core, kind, key, record)


def _write(core: Core, kind: str, key: Any, record: Any) -> None:
    step = core.journal.step
    if kind == "processor":
        step("drop_processor_nodes", (key,))
    if kind in FACTS:
        place = f"{FACTS[kind]}{key}"
        step("put_meta", (place, json.dumps(to_json(record)))) if record else step("drop_meta", (place,))
        return
    if record is None:
        step("leave_node" if kind == "node" else f"drop_{kind}", (key,))
        return
    text = json.dumps(to_json(record))
    match record:
        case Socket(id=id, name=name, processor=processor, task=task, join=join, wait=wait):
            hold = json.dumps(record.hold) if record.hold else None
            step("put_socket", (id, name, processor, task, text, join, hold, wait))
        case Plug(id=id, source=source, target=target, argument=argument):
            step("put_plug", (id, source, target, argument, text))
        case Task(id=id, socket=socket, version=version, identity=identity, sha256=sha256):
            step("put_task", (id, socket, version, identity, sha256, text, core.now))
        case Processor(name=name, cpus=cpus, memory=memory, paused=paused):
            affinity = json.dumps(record.affinity) if record.affinity else None
            step("put_processor", (name, cpus, memory, affinity, int(paused), record.weight))
            for node, lent in record.nodes.items():
                step("put_processor_node", (name, node, lent))
        case Node(name=name, host=host):
            step("put_node", (name, host, text))


def _follow(core: Core, old: Topology, new: Topology) -> None:
    """Bring waiting values and queued requests into line with a new wiring."""
    core.journal.commit()
    newly = {s for s in new.sockets if new.joins((s, None)) and (s not in old.sockets or not old.joins((s, None)))}
    if newly:
        # runs that had no join ahead of them now have: from here on their parties are known
        begun = {job.party for job in core.jobs.values() if new.joins((job.socket, None))}
        recovery.adopt(core, recovery.joining(core) | begun)
    core.evaluation.redrawn(old, new)
    taken = missed.take_out(core, new)
    core.joins.revise(new)
    core.absorb()
    core.journal.commit()
    missed.follow(core, old, new, taken)
    core.touched.update(core.joins.undecided)
    for socket in new.sockets.values():
        before = old.sockets.get(socket.id)
        if before is not None and before.task != socket.task:
            _new_signature(core, socket)


def _new_signature(core: Core, socket: Socket) -> None:
    """Queued requests that lack an argument of the new version wait for it."""
    needed = set(core.topology.needed[socket.id])
    jobs = [j for j in core.jobs.values() if j.socket == socket.id and not j.assigned]
    if core.dispatch.queued(socket.id) > len(jobs):
        core.journal.commit()
        rows = core.store.rows("queued", (socket.id, core.dispatch.lanes[socket.id].ceiling, 1 << 40))
        lacking = [r for r in rows if r[0] not in core.jobs and needed - json.loads(r[10]).keys()]
        jobs += [recovery.job_from_disk(core, r[0]) for r in lacking]
    for job in jobs:
        if lacks(core, job):
            put_back(core, job)


def lacks(core: Core, job: Job) -> bool:
    """Whether a request has no value for an argument that its task cannot do without."""
    record = core.topology.sockets[job.socket]
    if record.join in ("latest", "key"):
        # nothing would say what it is to meet: it runs, and says what it lacks
        return False
    return bool(core.topology.task(job.socket).lacking({*job.arguments, *record.fixed}))


def put_back(core: Core, job: Job) -> None:
    """Let a queued request wait for arguments that its task's new version asks for."""
    spilled = not core.dispatch.drop(job.socket, job.id)
    if spilled and job.id not in core.jobs:
        core.dispatch.lanes[job.socket].spilled -= 1
    core.jobs.forget(job.id)
    core.delayed.pop(job.id, None)
    core.states.move(job, "stranded")
    core.journal.add("strand", (job.id,))
    given = frozenset(job.arguments)
    if job.id == job.run:
        core.journal.step("set_given", {"given": json.dumps(sorted(given)), "run": job.run})
    core.joins.wait_again(job.id, job.run, job.socket, job.party, job.tag, given)
    held = core.topology.sockets[job.socket].hold
    for name, argument in job.arguments.items():
        if name in held:
            # the newest comes with the call
            continue
        core.bring(job.socket, name, job.party, job.run, job.tag, argument)
    core.absorb()


# -- undo ---------------------------------------------------------------------
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
