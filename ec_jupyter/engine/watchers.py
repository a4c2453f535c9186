"""Who waits for the end of which requests, and is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby, repeat
from typing import Protocol

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.ended import PlainResults, ended_row
from ec_jupyter.engine.job import Ended, EndedLot
from ec_jupyter.wire import Header, encode


class Watcher(Protocol):
    """A client that waits for requests."""

    def ended(self, ids: Sequence[int], frame: Callable[[], bytes]) -> None:
        """These have ended, as the frame says."""


class Listener(Watcher, Protocol):
    """A watcher that may ask for what has ended already."""

    def send(self, header: Header, buffers: Iterable[bytes] = ()) -> None:
        """These have ended, as the frame says."""


NOBODY: frozenset[Watcher] = frozenset()
EVERY = range(1 << 62)  # has every request


class Watchers:
    """The clients that wait for requests."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._watching: dict[int, frozenset[Watcher]] = {}
        # the same dict for good: the core looks there for who waits
        core.watched = self._watching

    def watch(self, watcher: Watcher, requests: Iterable[int]) -> None:
        """Tell a client when these requests end."""
        new = dict.fromkeys(requests, frozenset((watcher,)))
        for request in self._watching.keys() & new.keys():
            new[request] |= self._watching[request]
        self._watching.update(new)

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
        plain: dict[Watcher, PlainResults] = {}
        others: dict[Watcher, list[Ended]] = {}
        for one in ended:
            if isinstance(one, EndedLot):
                self._tell_lot(one, plain)
                continue
            for watcher in self._watching.pop(one.id, ()):
                value = one.value.value if one.value is not None and one.state == "done" else None
                if value is not None and value.data is not None:
                    plain.setdefault(watcher, PlainResults()).add([one.id], [value.data], [value.type])
                else:
                    others.setdefault(watcher, []).append(one)
        for watcher, results in plain.items():
            watcher.ended(results.ids, results.frame)
        for watcher, some in others.items():
            watcher.ended([one.id for one in some], partial(self._full_frame, some))

    def _tell_lot(self, lot: EndedLot, plain: dict[Watcher, PlainResults]) -> None:
        at = 0
        for watchers, group in groupby(map(self._watching.pop, lot.ids, repeat(NOBODY))):
            part = slice(at, at := at + sum(1 for _ in group))
            for watcher in watchers:
                plain.setdefault(watcher, PlainResults()).add(lot.ids[part], lot.values[part], lot.types[part])

    def _full_frame(self, some: list[Ended]) -> bytes:
        rows = [ended_row(self._core, one) for one in some]
        buffers = [buffer for _, more in rows for buffer in more]
        return encode({"k": "finished", "rows": [row for row, _ in rows]}, buffers)


def _gone_frame(ids: Sequence[int]) -> bytes:
    return encode({"k": "finished", "rows": [{"id": request, "state": "unknown"} for request in ids]}, [])
