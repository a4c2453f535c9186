"""Notices at the end of a flow's work, or at failures: to a function of the notebook, JupyterLab or the browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ec_jupyter.client.client import Client
from ec_jupyter.errors import EcError
from ec_jupyter.notebook.notes import note

# seconds in which failures are told together, and after which a flow that works is asked whether it has ended
GATHER = 1.0
Hook = Callable[["Notice"], object]


@dataclass(frozen=True)
class Notice:
    """What has happened.

    Attributes
    ----------
    when : str
        ``"end"``: nothing is queued or running any more; ``"failure"``: calls have failed.
    flow : str
        Name of the flow.
    text : str
        All of it in one line.
    done, failed : dict of str to int
        Calls that have ended well, or failed, since the notice before, by socket.
    """

    when: str
    flow: str
    text: str
    done: dict[str, int]
    failed: dict[str, int]


class Notices:
    """Tells functions of this kernel what happens to a flow; each thing once, in a thread of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client  # the flow's client
        self._hooks: dict[Hook, tuple[str, ...]] = {}
        self._news, self._resting = threading.Event(), threading.Event()
        self._unlisten: Callable[[], None] | None = None
        self._counts: dict[str, Any] = {}

    def add(self, hook: Hook, when: tuple[str, ...]) -> None:
        """Call a function from now on; with no `when`, no more."""
        self._hooks.pop(hook, None)
        if not when:
            return
        self._hooks[hook] = when
        if self._unlisten is None:
            self._counts = self._ask()
            self._unlisten = self._client.listen("counts", self._came)
            watch = _Watch(self._counts)
            threading.Thread(target=self._follow, args=(watch,), name="ec-notices", daemon=True).start()

    def rest(self) -> None:
        """Call nobody any more."""
        self._resting.set()
        self._news.set()
        if self._unlisten is not None:
            self._unlisten()

    def _came(self, header: dict[str, Any], buffers: list[bytes]) -> None:
        self._counts = header
        self._news.set()

    def _ask(self) -> dict[str, Any]:
        return self._client.ask("query", {"what": "counts"})[0]

    def _follow(self, watch: _Watch) -> None:
        while not self._resting.is_set():
            self._news.wait(GATHER if watch.busy else None)
            # what comes within a moment is told together
            self._resting.wait(GATHER if watch.failing(self._counts) else 0.0)
            fresh = self._news.is_set()
            self._news.clear()
            if not fresh:
                with suppress(EcError, TimeoutError):
                    # an engine that is being started again is asked with the next round
                    self._counts = self._ask()
            for notice in watch.see(self._counts, self._client.name):
                self._tell(notice)

    def _tell(self, notice: Notice) -> None:
        for hook, when in list(self._hooks.items()):
            if notice.when in when and not self._resting.is_set():
                try:
                    hook(notice)
                except Exception as error:  # noqa: BLE001 - whatever a person's function raises is theirs to see
                    note(f"the function that is told of flow {notice.flow!r} raised {type(error).__name__}: {error}")


class _Watch:
    """What is new in counts, since they were looked at last."""

    def __init__(self, counts: dict[str, Any]) -> None:
        self._done, self._failed = _sums(counts, "done"), _sums(counts, "failed")
        self._at_end = dict(self._done), dict(self._failed)
        self.busy = not counts.get("idle", True)

    def failing(self, counts: dict[str, Any]) -> bool:
        """Whether calls have failed that were not told."""
        return bool(_more(self._failed, _sums(counts, "failed")))

    def see(self, counts: dict[str, Any], flow: str) -> list[Notice]:
        done, failed, found = _sums(counts, "done"), _sums(counts, "failed"), []
        new = _more(self._failed, failed)
        if new:
            n = sum(new.values())
            where = ", ".join(f"{n} of {name!r}" for name, n in new.items())
            calls = "1 call has failed" if n == 1 else f"{n} calls have failed"
            found.append(Notice("failure", flow, f"flow {flow!r}: {calls}, {where}", {}, new))
        ended, gone = _more(self._at_end[0], done), _more(self._at_end[1], failed)
        if counts.get("idle") and (self.busy or ended or gone):
            n, wrong = sum(ended.values()), sum(gone.values())
            text = f"flow {flow!r} has ended its work: {n} done, {wrong} failed"
            found += [Notice("end", flow, text, ended, gone)] if n or wrong else []
            self._at_end = done, failed
        self._done, self._failed, self.busy = done, failed, not counts.get("idle", True)
        return found


def _sums(counts: dict[str, Any], state: str) -> dict[str, int]:
    return {name: row[state] for name, row in counts.get("sockets", {}).items()}


def _more(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in now.items() if n > before.get(name, 0)}
