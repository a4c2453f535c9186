"""How requests ended: what the engine said so far, and the futures of those who wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import islice, repeat
from threading import RLock
from typing import Any

from ec_jupyter.errors import EcError
from ec_jupyter.flow.options import time_limit
from ec_jupyter.wire import Header, Value

Row = dict[str, Any]
Lead = Callable[[Callable[[], bool], float | None], None]

AHEAD = 2_000  # ends asked for at once when somebody waits for one of many
MOST_ROWS = 50_000  # ends that are kept; older ones are asked for again


class End(Future[Row]):
    """The end of a request; waiting for it reads the line."""

    def __init__(self, lead: Lead) -> None:
        super().__init__()
        self._lead = lead

    def result(self, timeout: float | None = None) -> Row:
        """The row of the request, once it has ended."""
        timeout = time_limit(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self.done():
            self._lead(self.done, deadline)
        return super().result(None if deadline is None else max(0.0, deadline - time.monotonic()))


class Ends:
    """The ends of this client's requests, as far as anybody asked.

    Parameters
    ----------
    ask : callable
        Asks the engine for the ends of some requests.
    lead : callable
        Reads the line until something holds or a deadline is over.

    Attributes
    ----------
    futures : dict of int to End
        Those that somebody waits for and that have not come.
    asked : dict of int to None
        Requests whose ends the engine was asked for and has not told.
    """

    def __init__(self, ask: Callable[[list[int]], None], lead: Lead) -> None:
        self._ask, self._lead = ask, lead
        self._lock = RLock()
        self._rows: dict[int, Row] = {}
        self._mine: dict[int, None] = {}
        self.futures: dict[int, End] = {}
        self.asked: dict[int, None] = {}

    def accepted(self, requests: Iterable[int], *, watched: bool) -> None:
        """Note requests of this client; `watched` ones were asked for as they were submitted."""
        table = self.asked if watched else self._mine
        for request in requests:
            if request not in self._rows:
                table[request] = None

    def row(self, request: int) -> Row | None:
        """How a request ended, if that is known here."""
        return self._rows.get(request)

    def future(self, request: int) -> Future[Row]:
        """The end of a request; the engine is asked for it, and for those that will be wanted next."""
        with self._lock:
            row = self._rows.get(request)
            known = self.futures.get(request)
            if row is None and known is not None:
                return known
            end = End(self._lead)
            if row is not None:
                end.set_result(row)
                return end
            self.futures[request] = end
            if request not in self.asked:
                self._mine.pop(request, None)
                wanted = [request, *islice(self._mine, AHEAD)]
                for one in wanted:
                    self._mine.pop(one, None)
                    self.asked[one] = None
                self._ask(wanted)
        return end

    def forget(self, request: int) -> None:
        """Let the next look ask anew: the request goes on after it had ended."""
        self._rows.pop(request, None)

    def came(self, header: Header, buffers: Sequence[bytes]) -> None:
        """Take in what the engine tells: ``results`` are plain values, ``finished`` is the rest."""
        if header["k"] == "results":
            types = header["types"]
            kinds = repeat(types) if isinstance(types, str) else types
            for request, kind, data in zip(header["ids"], kinds, buffers, strict=False):
                self._put(request, {"id": request, "state": "done", "value": Value(data, None, len(data), kind)})
            return
        rest = iter(buffers)
        for row in header["rows"]:
            for key in ("value", "exception"):
                if row.get(key) is not None:
                    row[key] = unpack(row[key], rest)
            if row.get("values") is not None:
                row["values"] = [unpack(head, rest) for head in row["values"]]
            self._put(row["id"], row)

    def _put(self, request: int, row: Row) -> None:
        self._rows[request] = row
        self.asked.pop(request, None)
        self._mine.pop(request, None)
        future = self.futures.pop(request, None)
        if future is not None:
            future.set_result(row)
        if len(self._rows) > MOST_ROWS:
            with self._lock:
                for old in list(islice(self._rows, MOST_ROWS // 5)):
                    del self._rows[old]

    def fail(self, error: EcError) -> None:
        """Tell all who wait that they wait in vain."""
        with self._lock:
            futures, self.futures = self.futures, {}
            self.asked.clear()
        for future in futures.values():
            future.set_exception(error)


def unpack(head: Sequence[Any], buffers: Iterable[bytes]) -> Value:
    """The value that a head in a reply stands for."""
    file, size, kind, *place = head
    if place == ["gone"]:
        next(iter(buffers))
        return Value(None, None, size, kind)
    return Value.of((file, size, kind), buffers)


def ranges(ids: Iterable[int]) -> list[list[int]]:
    """Identities as [first, how many] each."""
    found: list[list[int]] = []
    for i in ids:
        if found and found[-1][0] + found[-1][1] == i:
            found[-1][1] += 1
        else:
            found.append([i, 1])
    return found
