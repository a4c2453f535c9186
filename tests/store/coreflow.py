"""A flow as `tests.pure.play` plays it, on the engine's core and its rows: what a call comes to is said by the test."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ec_jupyter.engine import lots, rerun
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.decided import settle
from ec_jupyter.engine.job import Job, StoredValue
from ec_jupyter.flow.tag import Path, from_text, path
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Plug
from ec_jupyter.wire import Block, Outcome, Value
from tests.pure.simulation import SKIP
from tests.store.rig import Memory, agrees, begin_one, start, submit, value

ERROR = {"type": "ValueError", "message": "no", "traceback": "", "kind": "task"}


@dataclass
class Row:
    """One request, as its row has it."""

    flow: CoreFlow
    id: int
    socket: str
    run: int
    party: int
    tag: str
    state: str
    emitted: int
    failed: bool
    given: str

    @property
    def path(self) -> Path:
        return path(from_text(self.tag))

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """What it is called with, by argument; lists of what is gathered."""
        rows = self.flow.core.store.db.execute(
            "SELECT id, arguments, inputs FROM request WHERE id = ?", (self.id,)
        ).fetchall()
        found = self.flow.core.values.arguments(self.given, self.flow.core.values.of_requests(rows))
        unpacked = {name: [self._thing(one) for one in some] for name, (_, some, _) in found.items()}
        return {name: some if found[name][0] == "l" else some[0] for name, some in unpacked.items()}

    def _thing(self, stored: StoredValue) -> Any:
        data = stored.value.data or b""
        if stored.place != "error":
            return pickle.loads(data)
        facts = json.loads(data)
        return ("error", facts["socket"], self.flow.calls[facts["request"]].path)


class CoreFlow:
    """The core of an engine on rows in memory.

    Attributes
    ----------
    topology : Topology
        Its wiring.
    core : Core
        That of its present engine.
    """

    def __init__(self, topology: Topology) -> None:
        self.core: Core = start(Memory(), topology)
        self.topology = self.core.topology

    # -- what there is ---------------------------------------------------------
    @property
    def calls(self) -> dict[int, Row]:
        """All requests; one whose call has said that it sends nothing is done."""
        found = self.core.store.db.execute(
            "SELECT r.id, r.socket, r.run, coalesce(run.party, r.run), r.tag, "
            "CASE WHEN r.state = 'skipped' AND r.attempt > 0 AND r.error IS NULL THEN 'done' ELSE r.state END, "
            "r.emitted, r.error IS NOT NULL, r.arguments FROM request r LEFT JOIN run ON run.id = r.run"
        )
        names = self.topology.sockets
        return {row[0]: Row(self, row[0], names[row[1]].name, *row[2:7], bool(row[7]), row[8]) for row in found}

    @property
    def rows(self) -> list[Any]:
        """All arrivals."""
        return self.core.store.db.execute("SELECT id FROM arrival").fetchall()

    def submit(self, name: str) -> Row:
        request = submit(self.core, name)
        return self.calls[request]

    # -- what calls come to ------------------------------------------------------
    def _begun(self, call: Row) -> tuple[int, int]:
        if call.id not in self.core.held:
            return begin_one(self.core, call.id)
        found = self.core.jobs.peek(call.id)
        return call.id, found.attempt if isinstance(found, Job) else 1

    def _take(self, outcome: Outcome) -> None:
        self.core.outcome(outcome)
        self.core.journal.commit()

    def end(self, call: Row, value: Any) -> None:
        assert value is SKIP
        self._take(Outcome(*self._begun(call), "skipped"))

    def end_each(self, call: Row, values: Mapping[int, Any], when: Callable[[Plug], bool]) -> None:
        """A call ends well; its plugs carry the elements named, or its place."""
        routed: dict[int, bool | list[Value]] = {}
        for plug in self.topology.results[self.topology.names[call.socket]]:
            if plug.id in self.topology.examined:
                passed: bool | list[Value] = [value(one) for one in values[plug.id]] if plug.map else True
                routed[plug.id] = passed if when(plug) else False
        result = value((call.socket, call.path))
        if routed:
            self._take(Outcome(*self._begun(call), "done", result, routed=routed))
            return
        request, attempt = self._begun(call)
        lots.take(
            self.core, Block([request], [attempt], [result.data or b""], [result.type], [1.0], [0.1]), lambda *_: None
        )
        self.core.suspects.end()
        self.core.journal.commit()

    def emit(self, call: Row) -> None:
        """A generator yields once more."""
        self.core.yielded(*self._begun(call), call.emitted, [value((call.socket, call.path, call.emitted))])
        self.core.journal.commit()
        # a worker says of every yield that its plugs carry it
        for one in [one for some in self.core.evaluation.calls().values() for one in some]:
            self._take(Outcome(one.request, one.attempt, "done", routed={plug: True for plug, *_ in one.spec.routes}))

    def exhaust(self, call: Row) -> None:
        """A generator ends well."""
        self._take(Outcome(*self._begun(call), "done", emitted=call.emitted))

    def fail(self, call: Row) -> None:
        self._take(Outcome(*self._begun(call), "failed", error=ERROR))

    # -- what a person does, and time ----------------------------------------------
    def retry(self, call: Row) -> None:
        rerun.retry(self.core, {"ids": [call.id]})
        self.core.journal.commit()

    def give_up(self, call: Row) -> None:
        rerun.discard(self.core, [], call.id)
        self.core.journal.commit()

    def settle(self) -> None:
        settle(self.core)
        self.core.journal.commit()

    def restart(self) -> None:
        """The engine is killed, and the next one goes on from what was committed."""
        before = self._standing()
        self.core = start(self.core.store)
        assert self._standing() == before
        self.agrees()

    def _standing(self) -> tuple[list[int], list[int]]:
        return sorted(a.id for a in self.core.joins.all_waiting()), sorted(self.core.jobs)

    def agrees(self) -> None:
        """Memory and rows say the same."""
        agrees(self.core)
