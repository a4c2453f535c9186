"""Whatever is done to a flow in memory, in whatever order, calls lost and workers dead among it.

Nothing accepted is lost, every view answers, and what is counted is what the rows say. ``EC_SEQUENCES`` sets how many
sequences are tried, ``EC_FIRST_SEQUENCE`` from which seed on.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.crash.sequences import Sequence
from tests.store.memoryflow import MemoryEngine, MemoryFlow
from tests.store.rig import agrees

FIRST = int(os.environ.get("EC_FIRST_SEQUENCE", "0"))
SEEDS = int(os.environ.get("EC_SEQUENCES", "40"))


class InMemory(Sequence):
    """A sequence in which calls run when chance has it."""

    def __init__(self, flow: MemoryFlow, seed: int) -> None:
        super().__init__(flow, seed)
        self.doings += [self.lose, self.lose, self.die, self.die]
        self.pace()

    @property
    def engine(self) -> MemoryEngine:
        return self.flow.client.engine  # type: ignore[attr-defined,no-any-return]

    def pace(self) -> None:
        self.engine.pace = lambda: self.random.random() < 0.6

    def step(self, doing: Any) -> None:
        super().step(doing)
        agrees(self.engine.core)

    def kill(self) -> None:
        super().kill()
        self.pace()

    def lose(self) -> str:
        """Calls come back that were never begun."""
        call = self.engine.agent.lose()
        if call is not None:
            self.engine.core.give_back([call.request])
            self.engine.tick()
        return str(call and call.request)

    def die(self) -> str:
        """A worker dies under a call."""
        call = self.engine.agent.lose()
        if call is not None:
            self.engine.core.died(call.request, call.attempt, "killed by signal 9")
            self.engine.tick()
        return str(call and call.request)

    def check(self) -> None:
        ids = [row["id"] for row in self.look()]
        assert set(self.accepted) <= set(ids), "accepted requests are gone"
        agrees(self.engine.core)
        assert not self.engine.core.suspects.aside

    def ends(self) -> dict[int, Any]:
        """The same from memory; a result that a plug brought back by a redo cannot take stays what it was."""
        rows = self.engine.core.store.db.execute(
            "SELECT id, CASE WHEN json_extract(error, '$.ended') THEN 'done' ELSE state END, result FROM request"
        ).fetchall()
        return {key: (state, result) for key, state, result in rows if state in ("done", "skipped")}


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_whatever_is_done_in_whatever_order_nothing_is_lost_and_counts_are_what_the_rows_say(
    flow: MemoryFlow, seed: int
) -> None:
    sequence = InMemory(flow, seed)
    try:
        sequence.run(60)
    except BaseException as error:
        error.add_note("\n".join(sequence.done))
        raise
