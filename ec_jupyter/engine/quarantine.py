"""Calls that ran here when an engine was killed: one that may have done it runs alone, and is set aside in the end.

A task can end its engine through another program, and nobody can see who has sent a signal. So deaths are counted
for all calls that ran. Those that have seen too many begin the next engine's work, one after the other, each alone
for a while; only a death in that time is charged to one. A person who kills engines by hand, and a long call that is
always there, do no harm to each other.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass

from ec_jupyter.engine.journal import Journal
from ec_jupyter.engine.runtime import last_calls
from ec_jupyter.engine.store import Store, id_list
from ec_jupyter.engine.suspects import MOST_DEATHS, REQUEST, Suspects
from ec_jupyter.flow.placement import Holdings

log = logging.getLogger(__name__)

MOST_BESIDE = 2
"""Engines that may be killed while a call runs, before it has to run alone."""

PLAIN_CALL = 4
"""The same, and how many may be while it runs alone, of a call that has started no other program."""

ALONE_SECONDS = 5.0
"""How long a call runs alone at first; doubled with each further death, for what kills its engine later than that."""

_KILLED, _ALONE = "killed:", "alone"


@dataclass
class Seen:
    """Engines that were killed while a call ran, and while nothing else did; and whether it started programs."""

    deaths: int = 0
    alone: int = 0
    program: bool = False

    @property
    def suspicious(self) -> bool:
        """Whether it has to run alone."""
        return self.deaths >= (MOST_BESIDE if self.program else PLAIN_CALL)

    @property
    def guilty(self) -> bool:
        """Whether it is to be set aside."""
        return self.alone >= (MOST_DEATHS if self.program else PLAIN_CALL)

    @property
    def seconds(self) -> float:
        """How long it runs alone."""
        return ALONE_SECONDS * 2.0 ** min(self.deaths - MOST_BESIDE, 20)


class Quarantine:
    """Counts the deaths of engines for the calls that saw them, and says which of these run alone, and when.

    Parameters
    ----------
    store : Store
        The flow's, before anything of it is read.
    suspects : Suspects
        Sets aside what is charged.

    Attributes
    ----------
    calls : dict of int to Seen
        Unfinished requests that ran when an engine was killed.
    alone : int or None
        The one that runs alone now.
    """

    def __init__(self, store: Store, suspects: Suspects) -> None:
        self._store = store
        meta = store.meta
        killed = {key.removeprefix(_KILLED): text for key, text in meta.items() if key.startswith(_KILLED)}
        self.calls = {int(key): Seen(**json.loads(text)) for key, text in killed.items()}
        self.alone: int | None = None
        self._until = 0.0
        found = last_calls(store.folder)
        last = int(meta[_ALONE]) if _ALONE in meta else None
        if found or self.calls:
            self._charge(found, last, suspects)
        if last is not None:
            store.write("drop_meta", (_ALONE,))
        # the one that was alone goes first: others that were tried before it ran beside it still
        order = sorted(self.calls, key=lambda request: (request != last, request))
        self._turns = [request for request in order if self.calls[request].suspicious]

    def _charge(self, found: dict[int, bool], last: int | None, suspects: Suspects) -> None:
        named = id_list([*found, *self.calls])
        unfinished = {request for (request,) in self._store.rows("unfinished_among", (named,))}
        for request in self.calls.keys() - unfinished:
            self._forget(request)
        ran = {request: program for request, program in found.items() if request in unfinished}
        for request, program in ran.items():
            seen = self.calls.setdefault(request, Seen())
            seen.deaths += 1
            seen.program |= program
            seen.alone += ran.keys() == {last}
            log.warning("request %s ran when the last engine was killed (%s time)", request, seen.deaths)
            if seen.guilty:
                self._forget(request)
                why = f"the engine was killed {seen.alone} times while it ran alone ({seen.deaths} times in all)"
                suspects.set_aside(REQUEST, request, why)
            else:
                self._store.write("put_meta", (f"{_KILLED}{request}", json.dumps(asdict(seen))))

    def _forget(self, request: int) -> None:
        del self.calls[request]
        self._store.write("drop_meta", (f"{_KILLED}{request}",))

    # -- running alone ---------------------------------------------------------
    @property
    def active(self) -> bool:
        """Whether a call runs alone, or is about to."""
        return bool(self._turns) or self.alone is not None

    def turn(self) -> int | None:
        """The next call that is to run alone; each has one turn in an engine's life, at its beginning."""
        return self._turns.pop(0) if self._turns else None

    def begin(self, request: int) -> float:
        """A call is about to start alone; for how many seconds others wait for it at most."""
        seen = self.calls[request]
        self.alone, self._until = request, time.monotonic() + seen.seconds
        self._note("put_meta", (_ALONE, str(request)))
        log.warning("request %s runs alone: %s", request, self.shown()[str(request)])
        return seen.seconds

    def shown(self) -> dict[str, str]:
        """The call that runs alone, and why; empty where none does."""
        seen = self.calls.get(self.alone) if self.alone is not None else None
        return {str(self.alone): f"the engine was killed {seen.deaths} times while it ran"} if seen is not None else {}

    def runs(self, held: Holdings) -> bool:
        """Whether a call runs alone still; `held` is what agents have."""
        if self.alone is None:
            return False
        if self.alone in held and self.alone in self.calls and time.monotonic() < self._until:
            return True
        self.alone = None
        self._note("drop_meta", (_ALONE,))
        return False

    def _note(self, name: str, row: tuple[str, ...]) -> None:
        # a full disk: a death is charged to nobody, and the next engine has to be killed once more
        with suppress(sqlite3.OperationalError):
            self._store.write(name, row)

    def ended(self, requests: Iterable[int], journal: Journal) -> None:
        """Attempts have come to an end, and the engine lives: nothing is held against those calls any more."""
        for request in requests:
            if self.calls.pop(request, None) is not None:
                journal.step("drop_meta", (f"{_KILLED}{request}",))
