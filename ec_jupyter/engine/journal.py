"""What a tick has to write: rows gathered by statement, written in one transaction.

Memory runs ahead of the disk by one tick at most, and nothing that anybody can see happens
before the commit: replies, pushes and the start of calls wait for it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from ec_jupyter.engine.open_lots import OpenLots
from ec_jupyter.engine.rows import OF_REQUESTS, SQL, Parameters, Rows, write_all

Row = Sequence[Any]

# the hot statements, in the order in which rows of one tick refer to each other
ORDER = (
    "add_blob", "add_value", "add_run", "add_rank", "add_lot", "add_request", "add_ended", "strand", "fill_request",
    "add_emission", "drop_arrival", "add_arrival", "add_passed", "set_arrival", "join_request", "finish",
    "finish_well", "finish_joined", "add_attempt", "again", "emitted", "set_fan", "drop_accepted", "claim",
    "add_output", "add_event", "drop_lot",
)  # fmt: skip
# where rows of the hot statements name the request that they are of
REQUESTS = {
    "finish": -1, "finish_well": -1, "finish_joined": -1, "add_attempt": 0, "again": -1, "add_emission": 0,
    "emitted": -1, "add_output": 0, "add_arrival": 7, "add_passed": 0, "claim": -1, "add_request": 0,
    "fill_request": -1, "strand": 0, "add_ended": 0,
}  # fmt: skip


class Journal:
    """Rows to be written with the next commit."""

    def __init__(self, store: Rows) -> None:
        self.store = store
        self.rows: dict[str, list[Row]] = {name: [] for name in ORDER}  # rows of the hot statements, by name
        self._steps: list[tuple[str, Parameters]] = []
        self.answers: dict[str, dict[int, Any]] = {}  # per client, what was answered to frames that changed something
        self.lots = OpenLots(self.rows, store)  # requests that have one row together
        store.before_reading = self.lots.before_reading
        self._commits = 0

    def add(self, name: str, row: Row) -> None:
        """Write a row with one of the hot statements."""
        self.rows[name].append(row)

    def add_all(self, name: str, rows: Iterable[Row]) -> None:
        """Write rows with one of the hot statements."""
        self.rows[name].extend(rows)

    def step(self, name: str, row: Parameters = ()) -> None:
        """Run any named statement after the hot ones, in the order given."""
        self._steps.append((name, row))

    def answer(self, client: str, frame: int, reply: Any) -> None:
        """Keep the answer to a frame with what the frame led to."""
        self.answers.setdefault(client, {})[frame] = reply

    @property
    def position(self) -> tuple[int, int]:
        """Its position: how often it was written, and how many rows wait."""
        return self._commits, len(self._steps) + self.lots.waiting + sum(map(len, self.rows.values()))

    def grown(self, since: tuple[int, int]) -> bool:
        """Whether rows came in since it stood at that position."""
        commits, rows = self.position
        return rows > (since[1] if commits == since[0] else 0)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self._steps or self.answers or self.lots.queued or self.lots.ended) and not any(self.rows.values())

    def forget(self, name: str, unwanted: Callable[[Row], bool]) -> None:
        """Drop rows of a hot statement that were added in this tick."""
        self.rows[name] = [row for row in self.rows[name] if not unwanted(row)]

    def commit(self) -> None:
        """Write everything, or nothing; what could not be written stays for the next try.

        Raises sqlite3.Error: nothing was written; RuntimeError: a request would have been finished twice: a defect of
        ours, refused by the fence.
        """
        if self.empty:
            return
        asked = any(name in OF_REQUESTS for name, _ in self._steps)
        if asked:
            self.lots.spread()
        self.rows["add_lot"], apart = self.lots.records(asked=asked)
        with self.store.transaction() as db:
            for name, rows in chain(self.rows.items(), apart.items()):
                if rows:
                    self._write(db, name, rows)
            for client, replies in ((c, r) for c, r in self.answers.items() if r):
                # one row for all of a tick, under its last frame
                db.execute(SQL["add_accepted"], (client, max(replies), json.dumps(replies)))
            for name, row in self._steps:
                db.execute(SQL[name], row)
        for rows in self.rows.values():
            rows.clear()
        self.lots.written()
        self._steps.clear()
        self.answers.clear()
        self._commits += 1
        self.store.committed()

    def culprit(self) -> int | None:
        """The request of the first row that cannot be written; None where no single one is at fault."""
        with self.store.transaction() as db:
            for name, rows in chain(self.rows.items(), self.lots.rows().items()):
                for row in rows:
                    try:
                        self._write(db, name, [row])
                    except (sqlite3.Error, ValueError, OverflowError, RuntimeError):
                        db.execute("ROLLBACK")
                        db.execute("BEGIN")
                        return self._request(name, row)
            db.execute("ROLLBACK")
            db.execute("BEGIN")
        return None

    def _request(self, name: str, row: Row) -> int | None:
        if name == "add_value":
            owners = [r[-1] for r in self.rows["finish"] if row[0] in (r[1], r[3])]
            owners += [r[-1] for r in self.rows["finish_well"] if row[0] == r[0]]
            owners += [r[0] for r in self.rows["add_emission"] if r[2] == row[0]]
            return owners[0] if owners else None
        return row[REQUESTS[name]] if name in REQUESTS else None

    @staticmethod
    def _write(db: sqlite3.Connection, name: str, rows: list[Row]) -> None:
        written = write_all(db, name, rows)
        if name in ("finish", "finish_well") and written != len(rows):
            raise RuntimeError(f"{len(rows) - written} requests would have been finished twice")
