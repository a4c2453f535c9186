"""Ended runs that a flow is not to keep: whole ones go, the oldest first, while nothing else is to be done.

A run goes if each of its requests was done, skipped or cancelled, or has failed long ago, nothing of it is on its way
or waits, and no other run has anything of it: a replay of it, or a call that took one of its values. So whatever stays
can be looked at, retried and replayed as before.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ec_jupyter.engine.callbacks import Callbacks
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.rows import OF_PARTY, SQL, id_list

REST_SECONDS = 10.0  # how long nothing is looked for once all was looked at; at least, and ...
RESTED = 20  # ... so many times as long as the look took, for a flow may be large
STEP = 200  # so many requests are looked at in a row: what comes in meanwhile waits some milliseconds
GONE = {"done", "skipped", "cancelled"}
LINES = 2_000


@dataclass(frozen=True)
class Limits:
    """What stays of a flow's ended runs."""

    seconds: float | None = None  # those that are younger
    runs: int | None = None  # the newest
    bytes: int | None = None  # as many as the flow's database and values have room for
    failed: float | None = None  # of those with a failed call, those of which something ended within so many seconds

    def __bool__(self) -> bool:
        return self != Limits()


@dataclass(frozen=True)
class _Bounds:
    """Which runs of those that begin alike are not to stay, in one round."""

    newest: int  # those up to this one, as there are too many
    before: float  # those that ended before this
    sized: bool  # as many as the flow is too large by

    def passed(self, run: int, at: float, excess: float) -> bool:
        return run <= self.newest or at < self.before or (self.sized and excess > 0)


class Retention:
    """What one flow is to keep."""

    def __init__(self, core: Core, callbacks: Callbacks) -> None:
        self._core, self._callbacks = core, callbacks
        self.limits = Limits(**json.loads(core.store.meta.get("keep") or "{}"))
        self._at = 0  # up to which request this round has looked
        self._usual, self._own = _Bounds(0, 0.0, True), dict[int, _Bounds]()  # of all runs, of those of a socket
        self._failed = 0.0  # failures before this are not to stay
        self._newest = dict[int | None, int]()  # by socket, and of all others, the newest run that is one too many
        self._replayed: set[int] = set()
        self._rest = self._spent = 0.0

    @property
    def wanted(self) -> bool:
        """Whether anything is not to stay."""
        return bool(self.limits) or bool(self._core.topology.keeps)

    def keep(self, limits: Limits) -> None:
        """Keep so much from now on."""
        self.limits, self._at, self._rest = limits, 0, 0.0
        text = json.dumps(asdict(limits)) if limits else ""
        self._core.store.meta["keep"] = text
        self._core.journal.step("put_meta", ("keep", text))

    def size(self) -> int:
        """Bytes of the flow's values and of what its database holds."""
        db = self._core.store.ended
        (pages,), (free,), (page,) = (
            db.execute(f"PRAGMA {word}").fetchone() for word in ("page_count", "freelist_count", "page_size")
        )
        (values,) = db.execute("SELECT coalesce(sum(size), 0) FROM value WHERE file IS NOT NULL").fetchone()
        return int((pages - free) * page + values)

    def collect(self) -> None:
        """Let all go that may by now; else as `step`."""
        self._at = 0  # the round that goes on is by an earlier time
        while self.step():
            pass

    def due(self) -> bool:
        """Let some go, if it is time for that; whether there may be more."""
        began = time.monotonic()
        if not self.wanted or began < self._rest:
            return False
        more = self.step()
        now = time.monotonic()
        self._spent += now - began
        if not more:
            self._rest, self._spent = now + max(REST_SECONDS, RESTED * self._spent), 0.0
        return more

    def step(self) -> bool:
        """Let some go; whether there may be more. Nothing is to be written meanwhile."""
        if not self.wanted:
            return False
        db = self._core.store.db
        if not self._at:
            self._begin(db)
        rows = db.execute(
            f"SELECT r.id, {OF_PARTY}, r.socket, r.created FROM request r LEFT JOIN run ON run.id = r.run "
            "WHERE r.id > ? ORDER BY r.id LIMIT ?",
            (self._at, STEP),
        ).fetchall()
        excess = self.size() - self.limits.bytes if self.limits.bytes is not None else 0
        bounds = [self._usual, *self._own.values()]
        newest, before = max(one.newest for one in bounds), max(self._failed, *(one.before for one in bounds))
        chosen: dict[int, bool] = {}
        for request, party, socket, at in rows:
            if request > newest and at >= before and excess <= 0:
                break
            if party in chosen:
                continue
            # a look at what stays anyway costs little
            passed = at < self._failed or self._own.get(socket, self._usual).passed(request, at, excess)
            chosen[party] = passed and self._ended(db, party, excess)
            excess -= _weight(db, party) if chosen[party] and excess > 0 else 0
        parties = [party for party, goes in chosen.items() if goes]
        if parties:
            self._remove(parties)
        self._at = rows[-1][0] if chosen and len(rows) == STEP else 0
        return bool(self._at)

    def _begin(self, db: sqlite3.Connection) -> None:
        now, limits, keeps = time.time(), self.limits, self._core.topology.keeps
        self._newest = {socket: at for socket, at in self._newest.items() if socket is None or socket in keeps}
        others = f"socket NOT IN ({','.join(map(str, keeps))})"
        newest = self._too_many(db, None, others, limits.runs)
        self._usual = _Bounds(newest, 0.0 if limits.seconds is None else now - limits.seconds, True)
        self._own = {
            socket: _Bounds(
                self._too_many(db, socket, f"socket = {socket}", keep.runs),
                0.0 if keep.seconds is None else now - keep.seconds,
                keep.sized,
            )
            for socket, keep in keeps.items()
        }
        self._failed = 0.0 if limits.failed is None else now - limits.failed
        query = "SELECT DISTINCT replay_of FROM run WHERE replay_of IS NOT NULL"
        self._replayed = {party for (party,) in db.execute(query)}

    def _too_many(self, db: sqlite3.Connection, socket: int | None, which: str, runs: int | None) -> int:
        """The newest run that is one too many; 0 if none is."""
        if runs is None:
            return 0
        # what was too many stays so: the next round looks at what came since alone
        query = (
            f"SELECT id FROM request WHERE id > ? AND run = id AND joined IS NULL AND {which} "
            "ORDER BY id DESC LIMIT 1 OFFSET ?"
        )
        found = db.execute(query, (self._newest.get(socket, 0), runs)).fetchone()
        self._newest[socket] = found[0] if found else self._newest.get(socket, 0)
        return self._newest[socket]

    def _ended(self, db: sqlite3.Connection, party: int, excess: float) -> bool:
        """Whether a party is not to stay, nothing more comes of it, and nothing else has anything of it."""
        core = self._core
        if party in self._replayed:
            return False
        ids = _members(db, party)
        listed = id_list(ids)
        query = f"SELECT state, count(*), max(finished) FROM request WHERE id IN {_LISTED} GROUP BY state"
        found = db.execute(query, (listed,)).fetchall()
        last = max((at or 0.0 for _, _, at in found), default=0.0)
        failed = sum(n for state, n, _ in found if state == "failed")
        if not {state for state, _, _ in found} <= (GONE | {"failed"} if failed and last < self._failed else GONE):
            return False
        roots = db.execute(f"SELECT socket, id FROM request WHERE id IN {_LISTED} AND run = id", (listed,))
        rules = [(run, self._own.get(socket, self._usual)) for socket, run in roots]
        if not all(rule.sized if failed else rule.passed(run, last, excess) for run, rule in rules):
            return False
        if not core.joins.at_rest(party, failed) or (failed and core.suspects.aside):
            return False
        if any(one in core.evaluation.origins or one in core.jobs or self._callbacks.awaited(one) for one in ids):
            return False
        asked = {"party": party, "ids": listed, "failed": failed}
        # what is held, or the newest, may be in calls of any other run
        sockets = core.topology.sockets
        for target, argument in [port for query in _PORTS for port in db.execute(query, asked)]:
            if target in sockets and (sockets[target].join == "latest" or argument in sockets[target].hold):
                return False
        return not any(db.execute(query, asked).fetchone() for query in _NEEDED)

    def _remove(self, parties: list[int]) -> None:
        core = self._core
        with core.store.transaction() as db:
            ids = [request for party in parties for request in _members(db, party)]
            asked = {"ids": id_list(ids), "parties": id_list(parties)}
            counts = db.execute(_COUNTS, asked).fetchall()
            values = (id_list(sorted(_owned(db, asked))),)
            files = [name for (name,) in db.execute(f"SELECT file FROM value WHERE id IN {_LISTED}", values)]
            for statement in _REMOVED:
                db.execute(statement, asked)
            db.execute(f"DELETE FROM value WHERE id IN {_LISTED}", values)
            # who is numbered next is told from the newest there is
            db.execute(SQL["put_meta"], ("request", str(core.new_request())))
            db.execute(_LINES, {"lines": LINES})
            named = {name for name in files if name and not db.execute(_NAMED, (name,)).fetchone()}
        for socket, state, n in counts:
            core.states.found(socket, state, -n)
        for request in ids:
            core.ranks.pop(request, None)
        for party in parties:
            core.joins.forget(party)
        self._callbacks.forget(ids)
        for name in named:
            (core.values.folder / name).unlink(missing_ok=True)


_LISTED = "(SELECT value FROM json_each(?))"
_IDS = "(SELECT value FROM json_each(:ids))"
_PARTIES = "(SELECT value FROM json_each(:parties))"

_COUNTS = f"SELECT socket, state, count(*) FROM request WHERE id IN {_IDS} AND joined IS NULL GROUP BY 1, 2"
_PORTS = (
    f"SELECT DISTINCT target, argument FROM arrival WHERE source_request IN {_IDS}",
    "SELECT DISTINCT target, argument FROM arrival WHERE source_request IS NULL AND party = :party",
)
_TOLD = "key IN (SELECT 'callback:' || value FROM json_each(:ids))"
_NEEDED = (
    # something of it waits, or is on its way
    "SELECT 1 FROM arrival WHERE party = :party "
    "AND (state = 'waiting' OR (state = 'shared' AND NOT :failed) OR state = 'routing')",
    f"SELECT 1 FROM arrival WHERE source_request IN {_IDS} "
    "AND state NOT IN ('used', 'discarded', 'dropped', 'left', 'decided') AND NOT (state = 'shared' AND :failed)",
    "SELECT 1 FROM arrival WHERE party = :party AND source_request IS NULL AND state IN ('held', 'superseded')",
    # another run took one of its values
    f"SELECT 1 FROM arrival a JOIN request r ON r.id = a.request LEFT JOIN run ON run.id = r.run "
    f"WHERE a.source_request IN {_IDS} AND {OF_PARTY} <> :party",
    f"SELECT 1 FROM arrival a JOIN request r ON r.id = a.request LEFT JOIN run ON run.id = r.run "
    f"WHERE a.party = :party AND a.source_request IS NULL AND {OF_PARTY} <> :party",
    f"SELECT 1 FROM passed p JOIN request r ON r.id = p.request LEFT JOIN run ON run.id = r.run "
    f"WHERE p.source IN {_IDS} AND {OF_PARTY} <> :party",
    # somebody is to be told of its end
    f"SELECT 1 FROM meta WHERE {_TOLD} AND json_extract(value, '$.told') IS NULL",
)

_REMOVED = (
    f"DELETE FROM request WHERE id IN {_IDS}",
    f"DELETE FROM attempt WHERE request IN {_IDS}",
    f"DELETE FROM emission WHERE request IN {_IDS}",
    f"DELETE FROM output WHERE request IN {_IDS}",
    f"DELETE FROM passed WHERE source IN {_IDS}",
    f"DELETE FROM arrival WHERE source_request IN {_IDS}",
    f"DELETE FROM arrival WHERE source_request IS NULL AND party IN {_PARTIES}",
    f"DELETE FROM meta WHERE {_TOLD}",
    f"DELETE FROM fan WHERE party IN {_PARTIES}",
    f"DELETE FROM rank WHERE run IN {_IDS}",
    f"DELETE FROM run WHERE id IN {_IDS} OR id IN {_PARTIES}",
)
_LINES = (
    "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE time < "
    "(SELECT created FROM request ORDER BY id LIMIT 1) ORDER BY seq LIMIT :lines)"
)
_NAMED = "SELECT 1 FROM value WHERE file = ? LIMIT 1"


def _members(db: sqlite3.Connection, party: int) -> list[int]:
    return [request for (request,) in db.execute(SQL["ids_of_party"], {"party": party})]


def _weight(db: sqlite3.Connection, party: int) -> int:
    """Some bytes that a party takes."""
    asked = {"ids": id_list(_members(db, party)), "parties": id_list([party])}
    (rows,) = db.execute(f"SELECT sum(500 + length(inputs) + length(bytes)) FROM request WHERE id IN {_IDS}", asked)
    owned = (id_list(sorted(_owned(db, asked))),)
    (values,) = db.execute(f"SELECT coalesce(sum(size), 0) FROM value WHERE id IN {_LISTED}", owned)
    return int((rows[0] or 0) + values[0])


def _owned(db: sqlite3.Connection, asked: dict[str, Any]) -> Iterator[int]:
    """Values that came to be in these runs: results, what was given, and parts of either; those of others stay."""
    for result, exception, arguments in db.execute(
        f"SELECT result, exception, arguments FROM request WHERE id IN {_IDS}", asked
    ):
        yield from _positive((result, exception))
        for _, given, came in json.loads(arguments).values():
            yield from _positive(given if not came else ())
    for statement in (
        f"SELECT value FROM emission WHERE request IN {_IDS}",
        f"SELECT value FROM arrival WHERE source_request IN {_IDS}",
        f"SELECT value FROM arrival WHERE source_request IS NULL AND party IN {_PARTIES}",
    ):
        yield from _positive(value for (value,) in db.execute(statement, asked))


def _positive(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None and value > 0]
