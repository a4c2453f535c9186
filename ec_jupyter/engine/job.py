"""A request in the engine's memory, and the values it holds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ec_jupyter.engine.row_values import RESULT, place_of, unpack
from ec_jupyter.engine.rows import Rows, id_list
from ec_jupyter.flow.arrival import ArgumentValue, Arrival, to_column
from ec_jupyter.flow.states import NEW
from ec_jupyter.flow.tag import Tag, to_text
from ec_jupyter.model import LOCAL
from ec_jupyter.wire import Outcome, Value

DEEPEST = 50  # a failure that came of a failure, and so on, carries the arguments of so many
# how long a client's file stays without a row: the client may be about to find its engine again
UNSENT_SECONDS = 24 * 3600.0


@dataclass(slots=True)
class StoredValue:
    """A value and the row that holds it; nobody changes one."""

    id: int  # its row, or where it stands in the row of a request (`row_values`)
    value: Value  # what travels
    place: str  # "inline", "file", "error" (facts as JSON) or "gone" (thrown away, and its file reclaimed)
    extras: tuple[StoredValue, ...] = ()  # of an error: the failed call's arguments

    def row(self) -> tuple[Any, ...]:
        """Its row for the journal."""
        v = self.value
        return (self.id, self.place, v.file, v.data, v.type, v.size)


# kind (``v``, ``l``, ``e``), values, and the arrivals they came by
Argument = tuple[str, Sequence[StoredValue], Sequence[int]]


class Job:
    """A request that is not finished."""

    # of most requests these never change: they are the class's, until one does
    attempt = deaths = 0  # attempts so far, and those in which its worker died
    tries = 0  # attempts that raised since it was last queued by a person
    emitted = hops = 0  # how many yields are committed, and how many calls led to it
    task = 0  # the version it runs, once assigned
    late = assigned = False  # it had failed for good and was retried; an agent has it
    started: float | None = None  # wall clock at which it began, once known
    node = LOCAL  # whose agent has it, or had it last

    def __init__(
        self,
        id: int,
        socket: int,
        party: int,
        run: int,
        tag: Tag,
        arguments: dict[str, Argument],
        created: float,
        state: str = NEW,
    ) -> None:
        self.id, self.socket, self.party, self.run, self.tag = id, socket, party, run, tag
        # `arguments`: beside fixed values and defaults; `created`: of a question that is asked again, of that;
        # `state`: moved on by `flow.states.States` alone
        self.arguments, self.created, self.state = arguments, created, state
        self.extra: dict[str, Any] = {}  # of the attempt that runs: ``slot``, ``pid``, ``progress``

    def arguments_json(self) -> str:
        """Its arguments as the column holds them."""
        # by hand: names are identifiers and the rest are numbers, and every request passes here
        parts = [
            f'"{name}":["{kind}",[{",".join([str(v.id) for v in values])}],[{",".join(map(str, arrivals))}]]'
            for name, (kind, values, arrivals) in self.arguments.items()
        ]
        return "{" + ",".join(parts) + "}"


@dataclass(slots=True)
class Ended:
    """A request that ended, for the clients that wait for it."""

    id: int
    socket: int
    attempt: int
    state: str
    value: StoredValue | None
    error: dict[str, Any] | None
    exception: StoredValue | None


@dataclass(slots=True)
class EndedLot:
    """Requests that went well in this tick, with small results; clients may wait for some of them."""

    ids: Sequence[int]
    values: Sequence[bytes]  # the pickled results
    types: Sequence[str]  # types of those
    socket: int  # whose requests


class Values:
    """Reads value rows back, and removes files nobody names."""

    def __init__(self, store: Rows) -> None:
        self.store = store
        self.folder = store.folder / "values"

    def load(self, ids: Iterable[int], depth: int = 0) -> dict[int, StoredValue]:
        """Values by id; those of errors with the failed call's arguments."""
        wanted = list(ids)
        if not wanted:
            return {}
        found = self._in_rows([one for one in wanted if one < 0])
        errors: dict[int, list[int]] = {}
        for row in self.store.rows("get_values", (id_list(wanted),)):
            stored = _stored(row)
            found[stored.id] = stored
            if stored.place == "error" and stored.value.data is not None:
                errors[stored.id] = [i for ids in json.loads(stored.value.data)["values"].values() for i in ids]
        if errors and depth <= DEEPEST:
            inner = self.load({i for ids in errors.values() for i in ids}, depth + 1)
            for key, extras in errors.items():
                plain = found[key]
                found[key] = StoredValue(plain.id, plain.value, "error", tuple(inner[i] for i in extras if i in inner))
        return found

    def _in_rows(self, wanted: Sequence[int]) -> dict[int, StoredValue]:
        found: dict[int, StoredValue] = {}
        if not wanted:
            return found
        requests = list({place_of(one)[0] for one in wanted})
        rows = {row[0]: row for row in self.store.rows("values_in_rows", (id_list(requests),))}
        for one in wanted:
            request, place = place_of(one)
            _, inputs, data, kind = rows.get(request, (0, None, None, None))
            if place == RESULT and data is not None:
                found[one] = _small(one, data, kind)
            elif place != RESULT and inputs is not None:
                found.update(_given(request, inputs))
        return found

    def of_requests(self, rows: Iterable[tuple[int, str, bytes | None]]) -> dict[int, StoredValue]:
        """Values that requests are called with, by id; `rows`: identity, ``arguments`` and ``inputs`` of each."""
        found: dict[int, StoredValue] = {}
        named: set[int] = set()
        for key, arguments, inputs in rows:
            named.update(one for _, ids, _ in json.loads(arguments).values() for one in ids)
            if inputs is not None:
                found.update(_given(key, inputs))
        return found | self.load(named - found.keys())

    def of_results(self, rows: Iterable[tuple[int | None, bytes | None, str]]) -> dict[int, StoredValue]:
        """Results of requests, by id. `rows`: the columns ``result``, ``bytes`` and ``type`` of each."""
        found: dict[int, StoredValue] = {}
        elsewhere: list[int] = []
        for key, data, kind in rows:
            if key is not None and key < 0 and data is not None:
                found[key] = _small(key, data, kind)
            elif key is not None:
                elsewhere.append(key)
        return found | self.load(elsewhere)

    def emitted(self, request: int) -> list[StoredValue]:
        """What a generator has yielded, in order."""
        ids = [value for (value,) in self.store.rows("emissions", (request,))]
        found = self.load(ids)
        return [found[one] for one in ids]

    def arguments(self, text: str, found: dict[int, StoredValue]) -> dict[str, Argument]:
        """A request's column of arguments with the values in it."""
        return {n: (k, [found[i] for i in ids], arrivals) for n, (k, ids, arrivals) in json.loads(text).items()}

    def drop_files(self, values: Iterable[Value]) -> None:
        """Remove the files of an answer that came too late."""
        for value in values:
            if value.file:
                (self.folder / Path(value.file).name).unlink(missing_ok=True)

    def missing(self) -> set[str]:
        """Files that rows name and that are not there."""
        named = {name for (name,) in self.store.rows("files")}
        return named - set(os.listdir(self.folder)) if named else named

    def sweep(
        self,
        running: Iterable[int],
        epoch: int,
        keep: frozenset[str] = frozenset(),
        spent: Collection[str] = (),
        *,
        dry: bool = False,
    ) -> tuple[int, int]:
        """Remove files that no row names and no running attempt or client may still name; count and bytes.

        Those that are `spent` go in any case. With `dry` it is told what would go.
        """
        named = {name for (name,) in self.store.rows("files")}.difference(spent if dry else ())
        busy = tuple(f"{request}.{epoch}." for request in running)
        files = size = 0
        for path in self.folder.iterdir():
            # a file is written beside its name, with a dot in front, and renamed
            name = path.name.lstrip(".")
            if name in named or (name not in spent and self._in_use(path, name, busy, keep)):
                continue
            files, size = files + 1, size + path.stat().st_size
            if not dry:
                path.unlink(missing_ok=True)
        return files, size

    @staticmethod
    def _in_use(path: Path, name: str, busy: tuple[str, ...], clients: frozenset[str]) -> bool:
        """Whether a row that is not written yet may name a file."""
        if not name.startswith("in."):
            return name.startswith(busy)
        return name.split(".")[1] in clients or time.time() - path.stat().st_mtime < UNSENT_SECONDS


Attempt = tuple[float | None, float | None, int | None, int | None]
NO_ATTEMPT: Attempt = (None, None, None, None)


def attempt_of(job: Job, outcome: Outcome, now: float) -> Attempt:
    """When an attempt began, for how long it ran, its slot and process.

    Of one that a worker did not end, for it died or was killed: as was seen from here, if it was.
    """
    if outcome.started or outcome.state != "failed":
        return outcome.started or None, outcome.seconds, outcome.slot, outcome.pid
    if not job.assigned or job.started is None:
        return NO_ATTEMPT
    return job.started, max(0.0, now - job.started), job.extra.get("slot"), job.extra.get("pid")


def failure(key: int, job: Job, socket: str, error: dict[str, Any]) -> StoredValue:
    """What an error plug carries of a call: the facts as JSON, and the call's arguments; `key` is its row."""
    facts = {
        **error,
        "socket": socket,
        "request": job.id,
        "run": job.run,
        "attempt": job.attempt,
        "values": {name: [v.id for v in values] for name, (_, values, _) in job.arguments.items()},
        "lists": [name for name, (kind, _, _) in job.arguments.items() if kind == "l"],
    }
    data = json.dumps(facts).encode()
    extras = tuple(v for _, values, _ in job.arguments.values() for v in values)
    return StoredValue(key, Value(data, None, len(data), "ec_jupyter.Failure"), "error", extras)


def arrival_row(a: Arrival, now: float) -> tuple[Any, ...]:
    """Columns of an arrival for the statement of that name."""
    value = a.value.id if isinstance(a.value, StoredValue) else None
    return (
        a.id, a.socket, a.argument, a.party, a.run, to_text(a.tag), value, a.source or None, a.index, a.plug,
        a.request, a.state, to_column(a), int(a.late), now, a.key,
    )  # fmt: skip


def argument_of(value: ArgumentValue) -> Argument:
    """What a call gets for an argument that values have arrived for."""
    stored = [a.value for a in value.arrivals if isinstance(a.value, StoredValue)]
    kind = "l" if value.gathered else "e" if stored[0].place == "error" else "v"
    return kind, stored, [a.id for a in value.arrivals]


def argument_value(kind: str, values: Sequence[StoredValue]) -> tuple[str, list[StoredValue]]:
    """An argument as it travels: failures as a plan that `nodes.current.rebuilt` follows, and the values it holds."""
    if all(stored.place != "error" for stored in values):
        return kind, list(values)
    leaves: list[StoredValue] = []
    plans = [_plan(stored, leaves) for stored in values]
    data = json.dumps(plans if kind == "l" else plans[0]).encode()
    return "e", [StoredValue(0, Value(data, None, len(data), "ec_jupyter.Failure"), "error"), *leaves]


def _plan(stored: StoredValue, leaves: list[StoredValue], depth: int = 0) -> Any:
    if stored.place != "error":
        leaves.append(stored)
        return None
    facts = json.loads(stored.value.data or b"{}")
    facts.pop("arguments", None)  # what an earlier version wrote
    values, lists = facts.pop("values", {}), facts.pop("lists", ())
    by_id = {one.id: one for one in stored.extras}
    # a failure of a failure, and so on round a cycle: the innermost ones are named without their arguments
    known = values if depth < DEEPEST else {}
    plans = {name: [_plan(by_id[i], leaves, depth + 1) for i in ids if i in by_id] for name, ids in known.items()}
    arguments = {name: some if name in lists else some[0] for name, some in plans.items() if some or name in lists}
    return {"facts": facts, "arguments": arguments}


def _small(key: int, data: bytes, kind: str) -> StoredValue:
    return StoredValue(key, Value(data, None, len(data), kind), "inline")


def _given(request: int, inputs: bytes) -> Iterator[tuple[int, StoredValue]]:
    return ((key, StoredValue(key, value, "inline")) for key, value in unpack(request, inputs))


def _stored(row: Sequence[Any]) -> StoredValue:
    key, place, file, data, kind, size = row
    return StoredValue(key, Value(bytes(data) if data is not None else None, file, size, kind), place)
