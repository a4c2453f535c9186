"""Addresses that are told of the end of a request: kept on disk with the request, and told until they have taken it.

What is promised: at least once for each end. Each has a key of its own, the same however often it is told.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.ended import Watchers
from ec_jupyter.engine.job import EndedLot
from ec_jupyter.engine.parts import Loop
from ec_jupyter.flow.topology import Topology
from ec_jupyter.wire import Header

log = logging.getLogger(__name__)

KEY = "callback:"  # how the keys of callbacks begin among the facts of the flow; the number of a request follows
POST_SECONDS = 10.0  # how long an address may take to answer
GIVE_UP_SECONDS = 24 * 3600.0  # how long after its end a request is told of in vain, at most
MOST_PAUSE = 300.0
MOST_AT_ONCE = 16
FIELDS = ("id", "socket", "run", "state", "attempt", "created", "started", "finished", "seconds", "error")
"""What is told of a request; its result is where the request is read."""

Row = dict[str, Any]


@dataclass
class Callback:
    """Who is to be told of a request's end."""

    url: str  # the address
    told: int | None = None  # the attempt whose end it was told: one that a person retries ends again
    tries: int = 0  # how often the end at hand was told in vain, by this engine


class Callbacks:
    """The callbacks of a flow. `row`: what is known of a request; None where there is none."""

    def __init__(self, core: Core, loop: Loop, watchers: Watchers, row: Callable[[int], Row | None]) -> None:
        self._core, self._loop, self._watchers, self._row = core, loop, watchers, row
        self._kept = dict(_read(core.store.meta))
        self._topology: Topology | None = None
        self._owed: set[int] = set()
        self._queue: deque[int] = deque()
        self._posting: set[asyncio.Task[None]] = set()
        self._web: Any = None

    @property
    def live(self) -> bool:
        """Whether somebody is yet to be told of what has ended."""
        return bool(self._owed)

    @property
    def kept(self) -> Iterable[int]:
        """The requests whose end somebody is to be told."""
        return self._kept

    def keep(self, requests: Sequence[int], url: str) -> None:
        """Tell an address of the end of requests; on disk with this tick."""
        for request in requests:
            self._write(request, Callback(url))

    def _write(self, request: int, one: Callback) -> None:
        self._kept[request] = one
        text = json.dumps({name: value for name, value in asdict(one).items() if name != "tries"})
        self._core.journal.step("put_meta", (f"{KEY}{request}", text))

    def _drop(self, request: int) -> None:
        del self._kept[request]
        self._core.journal.step("drop_meta", (f"{KEY}{request}",))

    def awaited(self, request: int) -> bool:
        """Whether somebody waits for a request, or is yet to be told of its end."""
        one = self._kept.get(request)
        told = one is not None and one.told is not None and request not in self._owed
        return self._watchers.waits(request, self if told else None)

    def forget(self, requests: Iterable[int]) -> None:
        """These are gone, whose ends were told."""
        gone = [request for request in requests if self._kept.pop(request, None) is not None]
        self._watchers.forget(gone)

    def clear(self) -> None:
        """There are no requests any more."""
        for request in list(self._kept):
            self._drop(request)
        self._owed.clear()

    def close(self) -> None:
        """Tell nobody any more; the next engine does."""
        for task in self._posting:
            task.cancel()

    def before_commit(self) -> None:
        """Write down, with the ends of this tick, whom sockets tell of them."""
        topology = self._core.topology
        if topology is not self._topology:
            self._topology = topology
            self._watchers.note_all(bool(topology.callbacks))
        for one in self._core.ended if topology.callbacks else ():
            url = topology.callbacks.get(one.socket)
            ids = one.ids if isinstance(one, EndedLot) else (one.id,)
            for request in ids if url is not None else ():
                if request not in self._kept:
                    # one that names an address of its own tells that
                    self._write(request, Callback(str(url)))
                self._owe(request)

    # -- what the engine tells who waits --------------------------------------------
    def ended(self, ids: Sequence[int], frame: Callable[[], bytes]) -> None:
        """These have ended."""
        for request in ids:
            self._owe(request)

    def send(self, header: Header, buffers: Iterable[bytes] = ()) -> None:
        """These had ended before they were asked for."""
        for request in header["ids"] if header["k"] == "results" else [row["id"] for row in header["rows"]]:
            self._owe(request)

    def _owe(self, request: int) -> None:
        if request in self._kept and request not in self._owed:
            self._owed.add(request)
            # its row is read once it is on disk
            self._loop.look(lambda: self._begin(request))

    # -- telling ----------------------------------------------------------------------
    def _begin(self, request: int) -> None:
        self._queue.append(request)
        self._fill()

    def _fill(self) -> None:
        """Tell as many at once as may be told, in the order in which they came to it."""
        while self._queue and len(self._posting) < MOST_AT_ONCE:
            request = self._queue.popleft()
            if request in self._owed:
                task = asyncio.get_running_loop().create_task(self._tell(request))
                self._posting.add(task)
                task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._posting.discard(task)
        if not task.cancelled():
            # a defect of ours ends the engine, as any other does
            task.result()
            self._fill()

    async def _tell(self, request: int) -> None:
        one, row = self._kept.get(request), self._row(request)
        if one is None or row is None or row["attempt"] == one.told:
            self._settled(request, row, one)
            return
        problem = await self._post(one.url, row)
        if self._kept.get(request) is not one:
            # cleared, or given again, meanwhile
            self._owed.discard(request)
            self._owe(request)
            return
        if problem is None:
            self._settled(request, row, one)
            return
        one.tries += 1
        gone = problem.startswith("410 ")  # it is not there any more, and not to come back
        if gone or time.time() - (row["finished"] or 0.0) > GIVE_UP_SECONDS:
            text = f"callback of request {request} to {one.url} was given up: {problem}"
            log.warning("%s", text)
            self._core.journal.add("add_event", (time.time(), "notice", row["socket"], text))
            self._settled(request, row, one)
            return
        log.info("callback of request %s to %s: %s", request, one.url, problem)
        asyncio.get_running_loop().call_later(pause_after(one.tries), self._begin, request)

    def _settled(self, request: int, row: Row | None, one: Callback | None) -> None:
        """Write down that an end was told; what may be retried may end again."""
        self._owed.discard(request)
        if one is not None and (row is None or row["state"] == "done"):
            self._drop(request)
        elif one is not None and row is not None:
            if one.told != row["attempt"]:
                self._write(request, Callback(one.url, row["attempt"]))
            self._watchers.watch(self, [request])
        self._loop.schedule()

    async def _post(self, url: str, row: Row) -> str | None:
        """Why an address has not taken what it was told; None where it has."""
        from tornado.httpclient import AsyncHTTPClient, HTTPClientError

        self._web = self._web or AsyncHTTPClient(force_instance=True)
        flow = self._core.store.meta["flow"]
        body = {"flow": self._core.store.folder.name, "flow_id": flow, **{name: row.get(name) for name in FIELDS}}
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{flow}-{row['id']}-{row['attempt']}"}
        try:
            await self._web.fetch(
                url, method="POST", headers=headers, body=json.dumps(body), request_timeout=POST_SECONDS,
                connect_timeout=POST_SECONDS, follow_redirects=False,
            )  # fmt: skip
        except HTTPClientError as error:
            return f"{error.code} {error.message}"
        except Exception as error:  # noqa: BLE001 - whatever an address leads to, the flow goes on
            return f"{type(error).__name__}: {error}"
        return None


def _read(meta: Mapping[str, str]) -> Iterator[tuple[int, Callback]]:
    for key, text in meta.items():
        if not key.startswith(KEY):
            continue
        try:
            said = json.loads(text)
            yield int(key.removeprefix(KEY)), Callback(str(said["url"]), said["told"])
        except (ValueError, LookupError, TypeError) as error:
            # whatever its row holds, the flow opens
            log.warning("%s cannot be read (%s)", key, error)


def pause_after(tries: int) -> float:
    """Seconds until the next try: 1, 2, 4, ... and then every five minutes."""
    return float(min(2 ** min(tries - 1, 20), MOST_PAUSE))
