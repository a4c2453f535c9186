"""A flow without a process, a disk or a pool: the engine's parts on rows in memory, and calls that are run at once.

It is asked as an engine is, by frames, and serves them with the same code; what takes its time elsewhere has happened
when the answer is here. `restart` goes on from what was committed.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ec_jupyter.client.result_futures import ResultFutures
from ec_jupyter.engine import ended, missed, open_lots, recovery
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.counts import Counts, leftover
from ec_jupyter.engine.decided import settle
from ec_jupyter.engine.editing import Editor
from ec_jupyter.engine.fleet import Fleet
from ec_jupyter.engine.plug_evaluation import EVALUATE_NAME, SAME
from ec_jupyter.engine.quarantine import Quarantine
from ec_jupyter.engine.questions import Questions
from ec_jupyter.engine.retention import Retention
from ec_jupyter.engine.rpc import Rpc
from ec_jupyter.engine.schedules import Schedules
from ec_jupyter.engine.statistics import Statistics
from ec_jupyter.engine.suspects import Suspects
from ec_jupyter.engine.value_locator import ValueLocator
from ec_jupyter.engine.value_preview import ValuePreview
from ec_jupyter.engine.views import Views
from ec_jupyter.errors import EcError
from ec_jupyter.nodes import values
from ec_jupyter.nodes.worker.invoke import Invocation, Tasks
from ec_jupyter.wire import Call, Header, Outcome, Value
from tests.crash.flowkit import Flow
from tests.store.rig import Memory

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
CPUS = 2


class InPlace:
    """The local node's agent: it runs what it is given when it is told to, one call after the other."""

    name, cpus, state, others = "local", CPUS, "up", 0

    def __init__(self, engine: MemoryEngine, folder: Path) -> None:
        self._engine = engine
        self._invocation = Invocation(Tasks(engine.blob), folder, engine.core.epoch, False, self._emit)
        self._queue: deque[Call] = deque()
        self._cpus: dict[str, int] = {}
        self._call: Call | None = None

    def processor(self, name: str, cpus: int, affinity: object = "auto", weight: float = 1.0) -> None:
        self._cpus[name] = cpus

    def remove(self, name: str) -> None:
        """What it has of it comes to its turn all the same."""

    warm = remove

    def room(self, name: str) -> int:
        return max(0, 2 * self._cpus[name] - len(self._queue))

    def assign(self, name: str, calls: list[Call]) -> None:
        self._queue.extend(calls)

    def recall(self, requests: Collection[int]) -> None:
        back = [call for call in self._queue if call.request in requests]
        self._queue = deque(call for call in self._queue if call not in back)
        self._engine.core.give_back([call.request for call in back])

    def cancel(self, request: int, kind: str = "cancelled") -> None:
        for call in [call for call in self._queue if call.request == request]:
            self._queue.remove(call)
            error = {"type": "CallCancelledError", "message": kind, "traceback": "", "kind": kind}
            self._engine.core.outcome(Outcome(request, call.attempt, "failed", error=error))

    def running(self) -> dict[int, float]:
        return {}

    def used(self) -> list[Any]:
        return []

    def lose(self) -> Call | None:
        """Take the next call away, of which nothing more is heard."""
        return self._queue.popleft() if self._queue else None

    def step(self) -> bool:
        """Run the next call; whether there was one."""
        if not self._queue:
            return False
        call = self._call = self._queue.popleft()
        try:
            value, rest = self._invocation.result(call)
        except Exception as error:  # noqa: BLE001 - whatever a task raises is what its call came to
            value, rest = None, self._invocation.failure(call, error, None)
        said: dict[str, Any] = {"state": "done", "value": value, "started": time.time(), **(rest or {})}
        self._engine.core.outcome(Outcome(call.request, call.attempt, **said))
        return True

    def _emit(self, request: int, index: int, value: Value) -> None:
        assert self._call is not None
        if index >= self._call.skip:
            self._engine.core.yielded(request, self._call.attempt, index, [value])


class PreviewInPlace(ValuePreview):
    """Shows values at once, by what a worker would run."""

    def __init__(self, core: Core, locator: ValueLocator, folder: Path) -> None:
        super().__init__(core, locator, folder, folder, folder)
        self._invocation = Invocation(Tasks(self.blob), folder / "values", core.epoch, False, self._emit)

    def _opened(self, folder: Path, runtime: Path, workdir: Path) -> Any:
        return self

    def _emit(self, request: int, index: int, value: Value) -> None:
        self.yielded(request, 1, index, [value])

    def assign(self, name: str, calls: list[Call]) -> None:
        for call in calls:
            value, rest = self._invocation.result(call)
            self.finished([Outcome(call.request, call.attempt, state="done", value=value, **(rest or {}))])


class Untold:
    """There are no callbacks, and nobody waits for what has ended."""

    kept: Sequence[int] = ()

    def awaited(self, request: int) -> bool:
        return False

    def forget(self, requests: Iterable[int]) -> None:
        """Nobody was told."""

    def clear(self) -> None:
        """The same."""


class MemoryEngine:
    """The parts of one engine, and its loop, which does all there is to do before it answers.

    Attributes
    ----------
    pace : callable
        Whether one more call is run before an answer that does not wait for all of them.
    agent : InPlace
        What runs them.
    at : float
        Seconds that have gone by, as far as calls had to wait for them.
    """

    stalled = lost = None
    broken = looked_at = False
    idle = True
    count, all, ids = 1, (), frozenset[str]()
    id = name = "test"
    greeted = here = True

    def __init__(self, store: Memory, pace: Callable[[], bool] = lambda: True) -> None:
        store.again()
        open_lots.read_back(store)
        suspects = Suspects(store)
        quarantine = Quarantine(store, suspects)
        self.core = core = recovery.reopen(store, PYTHON, suspects)
        self.pace = pace
        self.watchers = set[int]()
        self.agent = InPlace(self, store.folder / "values")
        rest: Any = self
        self._fleet = Fleet(core, quarantine, rest, rest, rest, self.agent, rest, rest)  # type: ignore[arg-type]
        self.schedules = Schedules(core, self._fleet.bounds.full)
        counts = Counts(core, self._fleet, quarantine, lambda: True, lambda: None)
        self._counts = counts
        views = Views(core, self._fleet.members, counts, Statistics(core, self._fleet.members), self.schedules)
        editor = Editor(core, self._fleet, rest, rest, CPUS)
        preview = PreviewInPlace(core, self._fleet.locator, store.folder)
        untold: Any = Untold()
        self._rpc = Rpc(
            core, rest, rest, self._fleet, editor, counts, views, preview, rest, CPUS, untold, Retention(core, untold)
        )  # type: ignore[arg-type]
        self._effects: list[Callable[[], None]] = []
        self._looks: list[Callable[[], None]] = []
        self._draining: list[Header] = []
        self._answer: tuple[Header, list[bytes]] | EcError | None = None
        self._frames = 0
        self._said: dict[int, Header] = {}
        self.questions = Questions(core)
        self.at = 0.0
        self._fleet.bounds.clock = lambda: self.at
        self._fleet.bounds.reload()
        core.now = time.time()
        missed.resume(core)
        self._fleet.begin()
        self.tick()

    def ask(self, kind: str, header: Header, buffers: Iterable[bytes]) -> tuple[Header, list[bytes]]:
        """The answer to a frame, once all that it leads to has happened."""
        self._frames += 1
        self._answer = None
        self.core.now = time.time()
        self._rpc.serve(self, {"k": kind, "n": self._frames, **header}, list(buffers))  # type: ignore[arg-type]
        self.tick()
        if isinstance(self._answer, EcError):
            raise self._answer
        assert self._answer is not None, f"nothing answers {kind}"
        return self._answer

    def question(self, kind: str, header: Header) -> int:
        """Ask, though the answer may come later; its number."""
        self._frames += 1
        self._rpc.serve(self, {"k": kind, "n": self._frames, **header}, [])  # type: ignore[arg-type]
        self.tick()
        return self._frames

    def said(self, question: int) -> Header | None:
        """The answer to a question, if there is one by now."""
        return self._said.get(question)

    def topology(self) -> dict[str, Any]:
        return self._counts.topology()

    def ends(self, request: int) -> tuple[list[Header], list[bytes]]:
        """How a request ended; values that may wait only so long have waited so long before it is said to have not."""
        rows, buffers, unfinished = ended.finished(self.core, [request])
        if unfinished:
            self.core.expiry.due(float("inf"))
            self.questions.due(float("inf"))
            self.tick(whole=True)
            rows, buffers, unfinished = ended.finished(self.core, [request])
        assert not unfinished, f"request {request} has not ended, and nothing more happens by itself"
        return rows, buffers

    # -- the loop --------------------------------------------------------------
    def tick(self, *, whole: bool = False) -> None:
        """Do what there is to do, and all of it where somebody waits for that."""
        core, whole = self.core, whole or bool(self._draining)
        while True:
            self._fleet.bounds.trim()
            settle(core)
            core.journal.commit()
            core.submitted.clear()
            self._fleet.pump()
            self._fleet.bounds.let_in()
            effects, self._effects = self._effects, []
            for effect in effects:
                effect()
            runs = whole or self.pace()
            if runs and self.agent.step():
                continue
            later = [request for request, at in core.delayed.items() if runs and at < float("inf")]
            for request in later:
                core.due(request)
            if later or not core.journal.empty or core.touched:
                continue
            if not whole or not self._fleet.bounds.next:
                break
            self.at = min(self._fleet.bounds.next)
        looks, self._looks = self._looks, []
        for look in looks:
            look()
        for header in self._draining:
            self.reply(leftover(core), to=header)
        self._draining.clear()
        core.ended.clear()

    def blob(self, sha256: str) -> bytes:
        return SAME if sha256 == EVALUATE_NAME else self.core.store.blob(sha256)

    def schedule(self) -> None:
        """A tick follows each frame."""

    def after(self, effect: Callable[[], None]) -> None:
        self._effects.append(effect)

    def look(self, effect: Callable[[], None]) -> None:
        self._looks.append(effect)

    see = look

    # -- the one client, and what is said to all -----------------------------------
    def reply(self, header: Header, buffers: Iterable[bytes] = (), *, to: Header) -> None:
        self._answer, self._said[to["n"]] = ({"k": "ok", **header}, list(buffers)), header

    def refuse(self, error: EcError, *, to: Header) -> None:
        self._answer = error

    def drain(self, client: object, header: Header) -> None:
        self._draining.append(header)

    def accept(self, client: object, header: Header, ids: Sequence[int]) -> None:
        """It asks for ends itself."""

    def before(self, client: object) -> None:
        """It has no log."""

    def take_all(self) -> None:
        """Nobody has."""

    def notice(self, text: str, **more: Any) -> None:
        """It asks for what there is to know."""

    def look_at_counts(self) -> None:
        """It asks for numbers."""


class MemoryClient:
    """A client of such an engine."""

    def __init__(self, store: Memory) -> None:
        self.store = store
        self._names = iter(range(1 << 30))
        self.engine = MemoryEngine(store)
        self.engine_pid = os.getpid()

    def next_engine(self) -> None:
        """The engine is gone; another goes on from what was committed."""
        self.engine = MemoryEngine(self.store)

    @property
    def topology(self) -> dict[str, Any]:
        return self.engine.topology()

    def ask(
        self, kind: str, header: Header | None = None, buffers: Iterable[bytes] = (), *, timeout: float | None = None
    ) -> tuple[Header, list[bytes]]:
        return self.engine.ask(kind, header or {}, buffers)

    def submit(
        self, rows: Iterable[Any], *, partial: bool = False, at: float | None = None, priority: int = 0
    ) -> list[int]:
        table, buffers = [], []
        for socket, arguments, *key in rows:
            heads = {}
            for name, value in arguments.items():
                heads[name] = [value.file, value.size, value.type]
                buffers += [value.data] if value.file is None else []
            table.append([socket, heads, *key])
        how = {"priority": priority, **({"partial": partial} if at is None else {"at": at})}
        return list(self.ask("submit", {"rows": table, **how}, buffers)[0]["ids"])

    def finished(self, request: int) -> Future[Any]:
        rows, buffers = self.engine.ends(request)
        futures = ResultFutures(lambda wanted: None, lambda *args: None)
        futures.receive({"k": "finished", "rows": rows}, buffers)
        return futures.future(request)

    def forget(self, request: int) -> None:
        """It keeps no result."""

    def dump(self, value: object, what: str = "value") -> Value:
        return values.dump(value, self.store.folder / "values", lambda: f"in.test.{next(self._names)}", what=what)

    def load(self, value: Value, timeout: float | None = None) -> object:
        return values.load(value, self.store.folder / "values")

    def close(self) -> None:
        """Nothing is open."""


class MemoryFlow(Flow):
    """A flow in memory, used as one with an engine is."""

    def __init__(self, folder: Path) -> None:
        (folder / "values").mkdir(parents=True)
        self.folder = folder
        self.client = MemoryClient(Memory(folder))  # type: ignore[assignment]
        self.pids = set()

    def restart(self) -> None:
        """Let another engine go on from what was committed."""
        self.client.next_engine()  # type: ignore[attr-defined]

    kill_engine = reopen = restart
