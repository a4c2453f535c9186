"""What the engine is handling, so that the next engine knows what ended it, and sets that aside in the end.

It is named in a mapped file: that costs no write, and stands there however the process ends.
"""

from __future__ import annotations

import json
import logging
import struct
import time

from ec_jupyter.engine.rows import SQL, Rows
from ec_jupyter.engine.side_calls import EVALUATE, CallId
from ec_jupyter.model import Socket

log = logging.getLogger(__name__)

MOST_DEATHS = 3  # engines that may end while they handle one thing
KINDS = (
    "", "request", "party", "value", "socket", "plug", "task", "something", "processor", "node", "note", "schedule",
)  # fmt: skip
NOTHING, REQUEST, PARTY, VALUE, SOCKET, PLUG, TASK, SOMETHING, PROCESSOR, NODE, NOTE, SCHEDULE = range(len(KINDS))

_NAMED = struct.Struct("<Bq")
_WHY_AT, _SIZE = 16, 1024
_DEATHS, _ASIDE = "deaths:", "aside:"


def unit_of(kind: int, key: int | str) -> str:
    """The name of a thing here: ``"request 5"``, ``"processor 'gpu'"``."""
    return f"{KINDS[kind]} {key!r}"


class Suspects:
    """What is named, how many engines each has ended, and what was set aside for that."""

    def __init__(self, store: Rows) -> None:
        self._store = store
        self._map = store.board("engine.handling", _SIZE)
        meta = store.meta
        # what is set aside ("request 5"), and why
        self.aside = {key.removeprefix(_ASIDE): why for key, why in meta.items() if key.startswith(_ASIDE)}
        self._deaths = {key.removeprefix(_DEATHS): int(n) for key, n in meta.items() if key.startswith(_DEATHS)}
        self._well: set[str] = set()
        kind, _ = self.named
        self.careful = kind == SOMETHING  # an engine has ended and nothing was named: from now on more is
        if kind not in (NOTHING, SOMETHING):
            self._charge()
        self.end()

    # -- naming ------------------------------------------------------------------
    @property
    def named(self) -> tuple[int, int]:
        """Kind and identity of what is being handled, or was when the last engine ended."""
        kind, key = _NAMED.unpack_from(self._map)
        return (kind if kind < len(KINDS) else NOTHING), key

    @property
    def exact(self) -> bool:
        """Whether an engine has ended lately: each request is handled by itself then, so that what is named is it."""
        return self.careful or bool(self._deaths)

    def begin(self, kind: int, key: int) -> None:
        """Name what is handled from now on."""
        _NAMED.pack_into(self._map, 0, kind, key)
        if self._deaths:
            self._well.add(unit_of(kind, key))

    def call(self, number: int) -> None:
        """Name a request, or the value whose plug a call of such a number evaluates."""
        if number >= 0:
            self.begin(REQUEST, number)
        elif (call := CallId.of(number)).kind == EVALUATE:
            self.begin(VALUE, call.n)

    def end(self) -> None:
        """Nothing is being handled."""
        _NAMED.pack_into(self._map, 0, NOTHING, 0)

    def fell(self, error: BaseException | None) -> None:
        """Note that the engine ends over what is named, if anything is."""
        if self.named[0] == NOTHING:
            self.begin(SOMETHING, 0)
        text = (f"{type(error).__name__}: {error}" if error is not None else "").encode()[: _SIZE - _WHY_AT - 1]
        self._map[_WHY_AT : _WHY_AT + len(text) + 1] = text + b"\0"

    def committed(self) -> None:
        """What was handled is on disk, and the engine lives: its earlier deaths were not its fault."""
        for unit in self._well & self._deaths.keys() if self._well else ():
            del self._deaths[unit]
            self._store.write("drop_meta", (_DEATHS + unit,))
        self._well.clear()

    # -- setting aside -------------------------------------------------------------
    def _charge(self) -> None:
        kind, key = self.named
        unit = unit_of(kind, key)
        why = self._map[_WHY_AT:].partition(b"\0")[0].decode(errors="replace")
        deaths = self._deaths[unit] = self._deaths.get(unit, 0) + 1
        log.error("the last engine ended while it handled %s (%s time): %s", unit, deaths, why or "killed")
        self._store.write("put_meta", (_DEATHS + unit, str(deaths)))
        if deaths >= MOST_DEATHS:
            self.set_aside(kind, key, f"the engine ended {deaths} times while it handled it ({why or 'killed'})")

    def set_aside(self, kind: int, key: int | str, why: str) -> None:
        """Leave something out from now on; requests fail with the reason, and can be retried or discarded."""
        unit = unit_of(kind, key)
        log.error("%s is set aside: %s", unit, why)
        self.aside[unit] = why
        self._deaths.pop(unit, None)
        message = f"{unit} was set aside: {why}; flow.retry tries it again, flow.discard gives it up"
        error = json.dumps({"type": "", "message": message, "traceback": "", "kind": "aside"})
        self._store.before_reading(True)
        with self._store.transaction() as db:
            db.execute(SQL["put_meta"], (_ASIDE + unit, why))
            db.execute(SQL["drop_meta"], (_DEATHS + unit,))
            db.execute(SQL["add_event"], (time.time(), "aside", unit, why))
            if kind == REQUEST:
                db.execute(SQL["fail_request"], (error, time.time(), key))
            elif kind == PARTY:
                db.execute(SQL["fail_party"], {"error": error, "now": time.time(), "party": key})

    def out(self, kind: int, key: int | str) -> bool:
        """Whether something is set aside."""
        return bool(self.aside) and unit_of(kind, key) in self.aside

    def why(self, *things: tuple[int, int | str]) -> str | None:
        """Why the first of these things that is set aside was."""
        return next((self.aside[unit_of(*thing)] for thing in things if self.out(*thing)), None)

    def keys(self, kind: int) -> list[int]:
        """Identities of the things of a kind that are set aside; of one whose things have numbers."""
        return [int(unit.split()[1]) for unit in self.aside if unit.startswith(f"{KINDS[kind]} ")]

    def stopped(self, socket: Socket) -> str | None:
        """Why nothing of a socket starts, where it, its task or its processor is set aside."""
        return self.why((SOCKET, socket.id), (TASK, socket.task), (PROCESSOR, socket.processor)) if self.aside else None

    def clear(self) -> None:
        """Forget requests, parties and values that were set aside, which are gone; the wiring stays as it is."""
        for kind in (REQUEST, PARTY, VALUE):
            for key in self.keys(kind):
                self.take_back(kind, key)

    def take_back(self, kind: int, key: int | str) -> None:
        """Take something back that was set aside: a person tries it again, or gives it up."""
        unit = unit_of(kind, key)
        if self.aside.pop(unit, None) is not None:
            self._store.write("drop_meta", (_ASIDE + unit,))
