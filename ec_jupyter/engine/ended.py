"""How requests ended, and who waits for that and is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby, repeat
from typing import Any, Protocol

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Ended, EndedLot, StoredValue
from ec_jupyter.engine.parts import Loop
from ec_jupyter.engine.rows import id_list
from ec_jupyter.wire import Header, encode


def heads(values: Iterable[StoredValue], buffers: list[bytes]) -> list[list[Any]]:
    """Values as headers name them; what is inline is appended to `buffers`."""
    found = []
    for stored in values:
        found.append([*stored.value.head(), stored.place])
        if stored.value.data is not None:
            buffers.append(stored.value.data)
        elif stored.value.file is None:
            buffers.append(b"")
    return found


def head(stored: StoredValue | None, buffers: list[bytes]) -> list[Any] | None:
    """The same for one value, or none."""
    return heads([stored], buffers)[0] if stored is not None else None


def _row(core: Core, ended: Ended, buffers: list[bytes]) -> dict[str, Any]:
    """How a request ended, with the result that its caller waits for."""
    row: dict[str, Any] = {"id": ended.id, "state": ended.state, "attempt": ended.attempt}
    row["socket"] = core.topology.sockets[ended.socket].name
    if ended.value is not None:
        row["value"] = head(ended.value, buffers)
    elif ended.state == "done":
        # a generator: what it has yielded
        row["values"] = heads(core.values.emitted(ended.id), buffers)
    if ended.error is not None:
        row["error"] = ended.error
        row["exception"] = head(ended.exception, buffers)
    return row


def _results(ids: list[int], types: list[str]) -> Header:
    one = set(types)
    return {"k": "results", "ids": ids, "types": one.pop() if len(one) == 1 else types}


def small_results(core: Core, requests: list[int]) -> tuple[Header, list[bytes]]:
    """The same frame of those requests of which the database has such results."""
    wanted = set(requests)
    ends = core.journal.lots.results(len(wanted), among=(min(wanted), max(wanted)))
    rows = [row for part in ends for row in zip(*part, strict=True) if row[0] in wanted]
    rows += core.store.rows("small_results", (id_list(requests),))
    return _results([key for key, _, _ in rows], [kind for _, _, kind in rows]), [data for _, data, _ in rows]


def finished(core: Core, requests: list[int]) -> tuple[list[dict[str, Any]], list[bytes], list[int]]:
    """Rows of those requests that have ended, their buffers, and the requests that have not.

    What ended with others and has no row is none of them: `small_results` has it.
    """
    rows: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    unfinished: list[int] = []
    # who is queued here has not been looked for: what is asked of has a row, or there is no such request
    found = core.store.connection.execute(
        "SELECT id, socket, state, attempt, result, error, exception, bytes, type FROM request "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (id_list(requests),),
    ).fetchall()
    values = core.values.of_results([(r[4], *r[7:]) for r in found])
    values |= core.values.load({r[6] for r in found if r[6] is not None})
    for key, socket, state, attempt, result, error, exception, *_ in found:
        if state in ("waiting", "queued", "running"):
            unfinished.append(key)
            continue
        facts = json.loads(error) if error is not None and state in ("failed", "skipped") else None
        value = values[result] if result is not None else None
        rows.append(_row(core, Ended(key, socket, attempt, state, value, facts, values.get(exception)), buffers))
    known = {r[0] for r in found}
    rows += [{"id": i, "state": "unknown"} for i in requests if i not in known]
    return rows, buffers, unfinished


# -- who waits -------------------------------------------------------------------
class Watcher(Protocol):
    """A client that waits for requests."""

    def ended(self, ids: Sequence[int], frame: Callable[[], bytes]) -> None:
        """These have ended, as the frame says."""

    def send(self, header: Header, buffers: Iterable[bytes] = ()) -> None:
        """These had ended before it asked, as the frame says."""


NOBODY: frozenset[Watcher] = frozenset()
EVERY = range(1 << 62)  # has every request


class Watchers:
    """The clients that wait for requests."""

    def __init__(self, core: Core, loop: Loop) -> None:
        self._core, self._loop = core, loop
        self._watching: dict[int, frozenset[Watcher]] = {}
        # the same dict for good: the core looks there for who waits
        core.watched = self._watching

    def watch(self, watcher: Watcher, requests: Iterable[int]) -> None:
        """Tell a client when these requests end."""
        new = dict.fromkeys(requests, frozenset((watcher,)))
        for request in self._watching.keys() & new.keys():
            new[request] |= self._watching[request]
        self._watching.update(new)

    def ask(self, watcher: Watcher, requests: Sequence[int]) -> None:
        """Tell a client how requests end, or ended."""
        jobs = self._core.jobs
        here = jobs.known(requests)
        self.watch(watcher, here)
        if len(here) < len(requests):
            rest = [request for request in requests if request not in jobs]
            # after the commit the disk knows how all of them ended, or that they are queued there
            self._loop.look(lambda: self._tell_known(watcher, rest))

    def _tell_known(self, watcher: Watcher, requests: list[int]) -> None:
        results, values = small_results(self._core, requests)
        if values:
            watcher.send(results, values)
        sent = set(results["ids"])
        rows, buffers, unfinished = finished(self._core, [one for one in requests if one not in sent])
        self.watch(watcher, unfinished)
        if rows:
            watcher.send({"k": "finished", "rows": rows}, buffers)

    def waits(self, request: int, but: Watcher | None = None) -> bool:
        """Whether anybody waits for a request, `but` one."""
        return bool(self._watching.get(request, NOBODY) - {but})

    def forget(self, requests: Iterable[int]) -> None:
        """These requests are gone."""
        for request in requests:
            self._watching.pop(request, None)

    def note_all(self, whether: bool) -> None:
        """Have the core note every end, whoever waits for it."""
        self._core.watched = EVERY if whether else self._watching

    def leave(self, watcher: Watcher) -> None:
        """A client is gone."""
        left = {request: watchers - {watcher} for request, watchers in self._watching.items()}
        self._watching.clear()
        self._watching.update((request, watchers) for request, watchers in left.items() if watchers)

    def clear(self) -> None:
        """There are no requests any more: who waits for some is told so."""
        gone: dict[Watcher, list[int]] = {}
        for request, watchers in self._watching.items():
            for watcher in watchers:
                gone.setdefault(watcher, []).append(request)
        self._watching.clear()
        for watcher, ids in gone.items():
            watcher.ended(ids, partial(_gone_frame, ids))

    def tell(self, ended: list[Ended | EndedLot]) -> None:
        """Tell how requests have ended; each is watched no longer."""
        if not self._watching:
            return
        plain: dict[Watcher, Columns] = {}
        others: dict[Watcher, list[Ended]] = {}
        for one in ended:
            if isinstance(one, EndedLot):
                self._tell_lot(one, plain)
                continue
            for watcher in self._watching.pop(one.id, ()):
                value = one.value.value if one.value is not None and one.state == "done" else None
                if value is not None and value.data is not None:
                    _add(plain, watcher, [one.id], [value.data], [value.type])
                else:
                    others.setdefault(watcher, []).append(one)
        for watcher, (ids, values, types) in plain.items():
            watcher.ended(ids, partial(_plain_frame, ids, values, types))
        for watcher, some in others.items():
            watcher.ended([one.id for one in some], partial(self._full_frame, some))

    def _tell_lot(self, lot: EndedLot, plain: dict[Watcher, Columns]) -> None:
        at = 0
        for watchers, group in groupby(map(self._watching.pop, lot.ids, repeat(NOBODY))):
            part = slice(at, at := at + sum(1 for _ in group))
            for watcher in watchers:
                _add(plain, watcher, lot.ids[part], lot.values[part], lot.types[part])

    def _full_frame(self, some: list[Ended]) -> bytes:
        buffers: list[bytes] = []
        return encode({"k": "finished", "rows": [_row(self._core, one, buffers) for one in some]}, buffers)


# calls that went well and whose results are small: requests, their results, and types of those
Columns = tuple[list[int], list[bytes], list[str]]


def _add(
    plain: dict[Watcher, Columns], watcher: Watcher, ids: Iterable[int], values: Iterable[bytes], types: Iterable[str]
) -> None:
    mine = plain.setdefault(watcher, ([], [], []))
    mine[0].extend(ids)
    mine[1].extend(values)
    mine[2].extend(types)


def _plain_frame(ids: list[int], values: list[bytes], types: list[str]) -> bytes:
    return encode(_results(ids, types), values)


def _gone_frame(ids: Sequence[int]) -> bytes:
    return encode({"k": "finished", "rows": [{"id": request, "state": "unknown"} for request in ids]}, [])
