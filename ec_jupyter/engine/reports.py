"""What the agents of nodes say of calls, and what follows for the flow."""

from __future__ import annotations

import json
import logging
import time

from ec_jupyter.engine import lots
from ec_jupyter.engine.clients import Clients
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.fleet import Fleet
from ec_jupyter.engine.lone import LoneCalls
from ec_jupyter.engine.plug_evaluation import EVALUATE_NAME, SAME
from ec_jupyter.engine.quarantine import Quarantine
from ec_jupyter.engine.statistics import Statistics
from ec_jupyter.engine.store import Store
from ec_jupyter.engine.value_preview import ValuePreview
from ec_jupyter.wire import Block, Outcome, Value

log = logging.getLogger(__name__)


class Reports:
    """The engine, as agents know it: a `nodes.agents.Listener`."""

    core: Core
    store: Store
    clients: Clients
    fleet: Fleet
    lone: LoneCalls
    preview: ValuePreview
    quarantine: Quarantine
    statistics: Statistics
    closing = False

    def schedule(self) -> None:
        """Let a tick follow."""
        raise NotImplementedError

    def blob(self, sha256: str) -> bytes:
        """The bytes of a task or condition."""
        return SAME if sha256 == EVALUATE_NAME else self.store.blob(sha256)

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> None:
        """A call has begun."""
        if self.lone.started(request, at, slot, pid):
            return
        socket = self.core.started(request, attempt, at, slot, pid)
        if socket is not None:
            self.fleet.troubles.pop(self.core.topology.sockets[socket].processor, None)
            self.core.states.changed.add(socket)
            self.clients.look_at_counts()

    def finished(self, outcomes: list[Outcome]) -> None:
        """Calls came to an end."""
        self.lone.interrupt()
        core = self.core
        core.now = time.time()
        for outcome in outcomes:
            core.suspects.call(outcome.request)
            job = core.jobs.get(outcome.request)
            if job is not None:
                self.statistics.ended(job, outcome)
                if outcome.state == "done" and self.preview.newest.watched:
                    self.preview.newest.note([outcome.request])
            core.outcome(outcome)
        core.suspects.end()
        if self.quarantine.calls:
            self.quarantine.ended((outcome.request for outcome in outcomes), core.journal)
        self.schedule()

    def done(self, block: Block) -> None:
        """Calls ended well, with small results."""
        if self.lone.done(block):
            return
        self.lone.interrupt()
        core = self.core
        core.now = time.time()
        if self.preview.newest.watched:
            self.preview.newest.note(block.requests)
        lots.take(core, block, self.statistics.ran)
        core.suspects.end()
        if self.quarantine.calls:
            self.quarantine.ended(block.requests, core.journal)
        self.schedule()

    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None:
        """A generator yielded."""
        self.lone.interrupt()
        self.core.suspects.call(request)
        self.core.yielded(request, attempt, first, values)
        self.core.suspects.end()
        self.schedule()

    def returned(self, requests: list[int]) -> None:
        """Calls came back that never started."""
        self.lone.interrupt()
        self.core.give_back(requests)
        self.schedule()

    def died(self, request: int, attempt: int, text: str) -> None:
        """A worker died under a call."""
        if self.closing:
            # killed by us: on disk the call is as it was before it began, and nobody is to blame
            return
        self.lone.interrupt()
        self.core.now = time.time()
        self.core.suspects.call(request)
        job = self.core.current(request, attempt)
        if job is not None:
            self.statistics.died(job)
        self.core.died(request, attempt, text)
        self.core.suspects.end()
        self.quarantine.ended([request], self.core.journal)
        self.core.journal.add("add_event", (self.core.now, "died", str(request), text))
        self.schedule()

    def output(self, request: int, stream: str, text: str) -> None:
        """A task printed, logged or warned."""
        if request < 0:
            # what runs beside the requests has no place where anybody would look for it
            return
        self.lone.interrupt()
        self.core.journal.add("add_output", (request, stream, text, self.core.now))
        self.clients.output(request, stream, text)
        self.schedule()

    def progress(self, request: int, done: float, total: float | None, text: str) -> None:
        """A task says how far it is."""
        self.lone.interrupt()
        job = self.core.jobs.get(request)
        if job is not None and job.assigned:
            job.extra["progress"] = {"done": done, "total": total, "text": text}
            self.core.states.changed.add(job.socket)
            self.clients.look_at_counts()

    def room(self, processor: str) -> None:
        """The agent may take more."""
        if not self.lone.calm:
            self.schedule()

    def trouble(self, processor: str, text: str) -> None:
        """Workers of a processor do not start."""
        log.error("processor %s: %s", processor, text)
        self.fleet.troubles[processor] = text
        self.core.journal.add("add_event", (self.core.now, "trouble", processor, json.dumps(text)))
        self.clients.notice(f"workers of processor {processor!r} do not start: {text}", logged=True)
        self.schedule()
