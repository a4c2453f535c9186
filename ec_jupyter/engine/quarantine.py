"""Calls that ran when an engine, or the agent of a node, was killed: one that may have done it runs alone there.

A task can end the process above it through another program, and nobody can see who has sent a signal. So deaths are
counted for all calls that ran. Those that have seen too many begin the work of the next process, one after the other,
each alone for a while; only a death in that time is charged to one. A person who kills engines by hand, and a long call
that is always there, do no harm to each other. What a plug looks at, and a value made anew, are short, and nothing is
lost with them: they have no turn of their own, and give up after one death more.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

from ec_jupyter.engine.journal import Journal
from ec_jupyter.engine.rows import Rows, id_list
from ec_jupyter.engine.runtime import last_calls
from ec_jupyter.engine.side_calls import REMAKE, CallId
from ec_jupyter.engine.suspects import MOST_DEATHS, REQUEST, Suspects
from ec_jupyter.flow.placement import Holdings
from ec_jupyter.model import LOCAL

log = logging.getLogger(__name__)

MOST_BESIDE = 2  # engines, or agents, that may be killed while a call runs, before it has to run alone
PLAIN_CALL = 4  # the same, and how many may be while it runs alone, of a call that has started no other program
# how long a call runs alone at first; doubled with each further death, for what kills later than that
ALONE_SECONDS = 5.0
_KILLED, _ALONE = "killed:", "alone"


@dataclass
class Seen:
    """Deaths while a call ran, and while nothing else did; and whether it started programs."""

    deaths: int = 0
    alone: int = 0
    program: bool = False

    @property
    def suspicious(self) -> bool:
        """Whether it has to run alone."""
        return self.deaths >= (MOST_BESIDE if self.program else PLAIN_CALL)

    @property
    def seconds(self) -> float:
        """How long it runs alone."""
        return ALONE_SECONDS * 2.0 ** min(self.deaths - MOST_BESIDE, 20)

    def verdict(self, call: int, what: str) -> str | None:
        """Why a call is to be given up, once it is."""
        if call > 0 and self.alone >= (MOST_DEATHS if self.program else PLAIN_CALL):
            return f"{what} was killed {self.alone} times while it ran alone ({self.deaths} times in all)"
        if call < 0 and self.deaths > (MOST_BESIDE if self.program else PLAIN_CALL):
            return f"{what} was killed {self.deaths} times while it ran"
        return None


class Quarantine:
    """Counts deaths for the calls that saw them, and says which of these run alone, where and when."""

    def __init__(self, store: Rows, suspects: Suspects) -> None:
        self._store = store  # the flow's, before anything of it is read
        meta = store.meta
        killed = {key.removeprefix(_KILLED): text for key, text in meta.items() if key.startswith(_KILLED)}
        # unfinished calls that ran when the engine, or an agent, was killed
        self.calls = {int(key): Seen(**json.loads(text)) for key, text in killed.items()}
        # what is no request and is given up, and why: looks, and values that are made anew
        self.refused: dict[int, str] = {}
        self._alone: dict[str, tuple[int, float]] = {}
        self._turns: dict[str, list[int]] = {}
        found = last_calls(store.folder)
        last = int(meta[_ALONE]) if _ALONE in meta else None
        if found or self.calls:
            self._charge_last(found, last, suspects)
        if last is not None:
            store.write("drop_meta", (_ALONE,))
        # the one that was alone goes first: others that were tried before it ran beside it still
        self._take_turns(LOCAL, sorted(self.calls, key=lambda request: (request != last, request)))

    # -- charging ----------------------------------------------------------------
    def _charge_last(self, found: dict[int, bool], last: int | None, suspects: Suspects) -> None:
        named = (id_list([*found, *self.calls]),)
        alive = {request for (request,) in self._store.rows("unfinished_among", named)}
        alive |= {-arrival for (arrival,) in self._store.rows("looked_at", named)}
        alive |= {call for call in found if CallId.of(call).kind == REMAKE}
        for call in self.calls.keys() - alive:
            self._forget(call)
        ran = {call: program for call, program in found.items() if call in alive}
        for call, why in self._charge(ran, last, "the engine").items():
            if call > 0:
                suspects.set_aside(REQUEST, call, why)
        for call in ran:
            if call in self.calls:
                self._store.write("put_meta", (f"{_KILLED}{call}", json.dumps(asdict(self.calls[call]))))
            else:
                self._store.write("drop_meta", (f"{_KILLED}{call}",))

    def charge(self, node: str, ran: Mapping[int, bool]) -> dict[int, str]:
        """Count the death of a node's agent for the calls that `ran` there; those that are given up, and why."""
        last, _ = self._alone.pop(node, (None, 0.0))
        guilty = self._charge(ran, last, f"the agent of node {node!r}")
        self._take_turns(node, [call for call in ran if call in self.calls])
        return guilty

    def _charge(self, ran: Mapping[int, bool], last: int | None, what: str) -> dict[int, str]:
        guilty = {}
        for call, program in ran.items():
            seen = self.calls.setdefault(call, Seen())
            seen.deaths += 1
            seen.program |= program
            seen.alone += ran.keys() == {last}
            log.warning("%s was killed while request %s ran (%s time)", what, call, seen.deaths)
            why = seen.verdict(call, what)
            if why is not None:
                del self.calls[call]
                guilty[call] = why
        self.refused |= {call: why for call, why in guilty.items() if call < 0}
        return guilty

    def _forget(self, call: int) -> None:
        del self.calls[call]
        self._store.write("drop_meta", (f"{_KILLED}{call}",))

    # -- running alone ---------------------------------------------------------
    def _take_turns(self, node: str, calls: list[int]) -> None:
        self._turns[node] = [call for call in calls if call > 0 and self.calls[call].suspicious]

    @property
    def nodes(self) -> set[str]:
        """Where a call runs alone, or is about to."""
        return {node for node, turns in self._turns.items() if turns} | self._alone.keys()

    def turn(self, node: str) -> int | None:
        """The next call that is to run alone on a node; each has one turn in a process's life, at its beginning."""
        return self._turns[node].pop(0) if self._turns.get(node) else None

    def begin(self, node: str, request: int) -> float:
        """A call is about to start alone; for how many seconds others wait for it at most."""
        seen = self.calls[request]
        self._alone[node] = request, time.monotonic() + seen.seconds
        if node == LOCAL:
            self._note("put_meta", (_ALONE, str(request)))
        log.warning("request %s runs alone on %s: %s", request, node, self.shown()[str(request)])
        return seen.seconds

    def shown(self) -> dict[str, str]:
        """The calls that run alone, and why."""
        found = {}
        for node, (request, _) in self._alone.items():
            what = "the engine" if node == LOCAL else f"the agent of node {node!r}"
            if request in self.calls:
                found[str(request)] = f"{what} was killed {self.calls[request].deaths} times while it ran"
        return found

    def runs(self, node: str, held: Holdings) -> bool:
        """Whether a call runs alone on a node still; `held` is what agents have."""
        if node not in self._alone:
            return False
        request, until = self._alone[node]
        if request in held and request in self.calls and time.monotonic() < until:
            return True
        del self._alone[node]
        if node == LOCAL:
            self._note("drop_meta", (_ALONE,))
        return False

    def _note(self, name: str, row: tuple[str, ...]) -> None:
        # a full disk: a death is charged to nobody, and the next engine has to be killed once more
        with suppress(sqlite3.OperationalError):
            self._store.write(name, row)

    def ended(self, calls: Iterable[int], journal: Journal) -> None:
        """Attempts have come to an end, and the engine lives: nothing is held against those calls any more."""
        for call in calls:
            if self.calls.pop(call, None) is not None:
                journal.step("drop_meta", (f"{_KILLED}{call}",))
