"""Futures of the outcomes of requests, and a cache of the outcomes that the engine has sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice, repeat
from threading import RLock
from typing import Any

from ec_jupyter.client.spans import Spans
from ec_jupyter.errors import EcError
from ec_jupyter.flow.options import time_limit
from ec_jupyter.wire import Header, Value

Row = dict[str, Any]
ReadUntil = Callable[[Callable[[], bool], float | None], None]

AHEAD = 2_000  # outcomes asked for at once, at most, when one of many is waited for
MOST_ROWS = 2 * AHEAD  # outcomes that are kept; older ones are asked for again
MOST_BYTES = 1 << 24  # bytes of values that are kept with them


class ResultFuture(Future[Row]):
    """The outcome of a request; waiting for it reads the connection."""

    def __init__(self, read_until: ReadUntil) -> None:
        super().__init__()
        self._read_until = read_until

    def result(self, timeout: float | None = None) -> Row:
        """The row of the request, once it has ended."""
        timeout = time_limit(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self.done():
            self._read_until(self.done, deadline)
        return super().result(None if deadline is None else max(0.0, deadline - time.monotonic()))


class ResultFutures:
    """The outcomes of this client's requests, as far as anybody asked.

    `ask`: asks the engine for the outcomes of some requests. `read_until`: reads the connection until something holds
    or a deadline is over. Of a request that nobody asks for, its number is kept and nothing else, as part of a run of
    numbers.
    """

    def __init__(self, ask: Callable[[list[int]], None], read_until: ReadUntil) -> None:
        self._ask, self._read_until = ask, read_until
        # held for a moment only: never while the engine is asked or somebody is told
        self._lock = RLock()
        # of a plain result, the value alone: its row is made when it is looked at
        self._rows: dict[int, Row | Value] = {}
        self._unseen: set[int] = set()
        self._bytes = 0
        # doubled by each outcome that arrived before it was wanted, halved by each that was dropped unseen
        self._ahead = AHEAD
        self._mine = Spans()
        self.futures: dict[int, ResultFuture] = {}  # outcomes that are waited for and have not arrived
        self.asked = Spans()  # requests whose outcomes the engine was asked for and has not sent

    def accepted(self, requests: Sequence[int]) -> None:
        """Note requests of this client."""
        with self._lock:
            self._note(self._mine, requests)

    def watched(self, requests: Sequence[int]) -> None:
        """Note requests of this client whose results were asked for as they were submitted."""
        with self._lock:
            self._note(self.asked, requests)

    def _note(self, among: Spans, requests: Sequence[int]) -> None:
        """Add those of which no outcome has come to a set."""
        if isinstance(requests, range) and not (self._rows and any(one in self._rows for one in requests)):
            among.extend(requests.start, requests.stop)
            return
        for request in requests:
            if request not in self._rows:
                among.extend(request, request + 1)

    def open(self) -> list[list[int]]:
        """What the engine was asked for and has not sent, as [first, how many] each."""
        with self._lock:
            return self.asked.runs()

    def row(self, request: int) -> Row | None:
        """How a request ended, if that is known here."""
        with self._lock:
            if request in self._unseen:
                self._note_seen(request)
            row = self._rows.get(request)
            return _plain(request, row) if isinstance(row, Value) else row

    def result(self, request: int) -> Value | None:
        """The result of a request, if it is known here, and the whole of it is one value."""
        row = self._rows.get(request)
        if not isinstance(row, Value):
            return None
        if request in self._unseen:
            with self._lock:
                self._note_seen(request)
        return row

    def _note_seen(self, request: int) -> None:
        self._unseen.discard(request)
        if self._ahead < AHEAD:
            self._ahead = min(AHEAD, 2 * self._ahead)

    def future(self, request: int) -> Future[Row]:
        """The outcome of a request; the engine is asked for it, and for those that will be wanted next."""
        wanted = []
        with self._lock:
            row, future = self.row(request), self.futures.get(request)
            if row is not None or future is None:
                future = ResultFuture(self._read_until)
            if row is None:
                self.futures[request] = future
                if request not in self.asked:
                    wanted = self._wanted(request)
        if row is not None:
            future.set_result(row)
        elif wanted:
            self._ask(wanted)
        return future

    def _wanted(self, request: int) -> list[int]:
        """A request and its neighbours that nobody asked for yet, as many as were of use lately; it asks for them."""
        self._mine.cut(request, request + 1)
        ahead = self._ahead
        if self._rows:
            # half of what is kept, so that the next look finds what this one brought
            ahead = min(ahead, MOST_BYTES // 2 // max(1, self._bytes // len(self._rows)))
        wanted = sorted([request, *self._mine.near(request, ahead)])
        for first, n in ranges(wanted):
            self._mine.cut(first, first + n)
            self.asked.extend(first, first + n)
        return wanted

    def forget(self, request: int) -> None:
        """Let the next look ask anew: the request goes on after it had ended."""
        with self._lock:
            self._drop(request)

    def receive(self, header: Header, buffers: Sequence[bytes]) -> None:
        """Handle outcomes from the engine: ``results`` are plain values, ``finished`` is the rest."""
        if header["k"] == "results":
            types = header["types"]
            kinds = repeat(types) if isinstance(types, str) else types
            values = [Value(data, None, len(data), kind) for data, kind in zip(buffers, kinds, strict=False)]
            self._put(dict(zip(header["ids"], values, strict=True)))
            return
        rest = iter(buffers)
        for row in header["rows"]:
            for key in ("value", "exception"):
                if row.get(key) is not None:
                    row[key] = unpack(row[key], rest)
            if row.get("values") is not None:
                row["values"] = [unpack(head, rest) for head in row["values"]]
            self._put({row["id"]: row})

    def told(self, request: int, value: Value) -> None:
        """Take the result of a request of which nothing was known before."""
        with self._lock:
            self._rows[request] = value
            self._bytes += value.size
            self._unseen.add(request)
            self._make_room()

    def _put(self, rows: Mapping[int, Row | Value]) -> None:
        with self._lock:
            told = self._rows.keys() & rows.keys()
            for request in told:
                self._drop(request)
            self._rows.update(rows)
            self._bytes += sum(map(weight, rows.values()))
            for first, n in ranges(sorted(rows)):
                self.asked.cut(first, first + n)
                self._mine.cut(first, first + n)
            awaited = self.futures.keys() & rows.keys()
            waiting = [(self.futures.pop(one), one) for one in awaited]
            self._unseen.update(rows.keys() - awaited)
            self._make_room()
        for future, one in waiting:
            row = rows[one]
            future.set_result(_plain(one, row) if isinstance(row, Value) else row)

    def _make_room(self) -> None:
        """Forget the oldest outcomes where there are too many."""
        # looked for at one go: a dict steps over all that has left it to find its first
        if len(self._rows) > MOST_ROWS:
            self._drop_oldest(list(islice(self._rows, len(self._rows) - MOST_ROWS)))
        while self._bytes > MOST_BYTES and len(self._rows) > 1:
            self._drop_oldest([next(iter(self._rows))])

    def _drop_oldest(self, requests: Sequence[int]) -> None:
        self._bytes -= sum(map(weight, map(self._rows.pop, requests)))
        for unseen in self._unseen.intersection(requests):
            # it may be wanted yet: the next look asks for it with its neighbours
            self._unseen.discard(unseen)
            self._mine.extend(unseen, unseen + 1)
            self._ahead = max(1, self._ahead // 2)

    def _drop(self, request: int) -> None:
        row = self._rows.pop(request, None)
        if row is not None:
            self._bytes -= weight(row)
            self._unseen.discard(request)

    def fail(self, error: EcError) -> None:
        """Fail every future."""
        with self._lock:
            futures, self.futures = self.futures, {}
            self.asked.clear()
        for future in futures.values():
            future.set_exception(error)


def _plain(request: int, value: Value) -> Row:
    """The row of a request whose result is one small value."""
    return {"id": request, "state": "done", "value": value}


def weight(row: Row | Value) -> int:
    """Bytes of the values in a row."""
    if isinstance(row, Value):
        return row.size
    held = (row.get("value"), row.get("exception"), *(row.get("values") or ()))
    return sum(len(value.data) for value in held if value is not None and value.data is not None)


def unpack(head: Sequence[Any], buffers: Iterable[bytes]) -> Value:
    """The value that a head in a reply stands for."""
    file, size, kind, *place = head
    if place == ["gone"]:
        next(iter(buffers))
        return Value(None, None, size, kind)
    return Value.of((file, size, kind), buffers)


def ranges(ids: Sequence[int]) -> list[list[int]]:
    """Ascending identities as [first, how many] each."""
    if ids and ids[-1] - ids[0] == len(ids) - 1:
        # nearly always
        return [[ids[0], len(ids)]]
    found: list[list[int]] = []
    for i in ids:
        if found and found[-1][0] + found[-1][1] == i:
            found[-1][1] += 1
        else:
            found.append([i, 1])
    return found
