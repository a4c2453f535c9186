"""The flow's state in memory, and what each event does to it and to the journal.

Every method is called on the engine's loop. None of them lets anybody see anything: what they
decide is in the journal, in `ended` and in the lanes until the tick has committed it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable
from itertools import count
from typing import Any

from ec_jupyter.engine import failures
from ec_jupyter.engine.call_specs import CallSpecs
from ec_jupyter.engine.expiry import Expiry
from ec_jupyter.engine.job import NO_ATTEMPT, Argument, Ended, EndedLot, Job, StoredValue, Values, attempt_of, failure
from ec_jupyter.engine.jobs import JobLot, Jobs
from ec_jupyter.engine.journal import Journal
from ec_jupyter.engine.plug_evaluation import PlugEvaluation, Route, explained
from ec_jupyter.engine.row_values import fits, result_id
from ec_jupyter.engine.rows import Rows
from ec_jupyter.engine.side_calls import SideCalls
from ec_jupyter.engine.suspects import REQUEST, Suspects
from ec_jupyter.flow.dispatch import Dispatch
from ec_jupyter.flow.join import JoinTable, Source
from ec_jupyter.flow.placement import Holdings
from ec_jupyter.flow.states import Event, States
from ec_jupyter.flow.tag import Tag, to_text
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL, REUSED, Plug, Processor
from ec_jupyter.nodes.codec import values_of
from ec_jupyter.wire import Call, Outcome, Value


class Core:
    """What the flow is made of while its engine runs."""

    def __init__(self, store: Rows, suspects: Suspects | None = None) -> None:
        self.store = store
        self.suspects = suspects or Suspects(store)  # what is being handled, and what was set aside
        self.journal = Journal(store)
        self.values = Values(store)
        self.epoch = int(store.meta["epoch"])
        self.python = store.meta.get("python", "")
        self.topology = Topology()
        self.dispatch = Dispatch()
        self.held = Holdings()  # what agents have, and where
        # whether a node of a processor is there, or may be soon
        self.reachable: Callable[[Processor], bool] = lambda processor: True
        self.attempted: Callable[[Job, Outcome], None] = lambda job, outcome: None
        # takes note of value files that somebody has not found, or found cut short
        self.miss: Callable[[Iterable[str]], None] = lambda files: None
        self.stop: Callable[[int], None] = lambda request: None  # ends a call, wherever it is
        # writes down, and queues, what the join table decided; whether there was anything. `decided` does it
        self.absorb: Callable[[], bool] = lambda: False
        self.jobs = Jobs(self.held)  # unfinished requests in memory: queued, assigned, waiting or delayed
        self.jobs.alone, self.journal.lots.members = self.journal.lots.alone, self.jobs.members
        self.states = States()  # moves requests from state to state, and counts them
        self.ended: list[Ended | EndedLot] = []  # requests that ended in this tick, of those that somebody waits for
        self.watched: Container[int] = ()  # requests that somebody waits for
        self.delayed: dict[int, float] = {}  # requests that may not start before a time of the monotonic clock
        # requests of this tick by socket and the id they were submitted under
        self.submitted: dict[tuple[int, str], int] = {}
        self.followers: dict[int, list[int]] = {}
        self.fixed: dict[int, StoredValue] = {}
        self.specs = CallSpecs(self.fixed)
        self.touched: set[int] = set()  # parties of which something ended in this tick
        self.evaluation = PlugEvaluation(self)
        self.side_calls = SideCalls()
        self.expiry = Expiry(self)
        self.ranks: dict[int, int] = {}  # priorities of runs that were submitted with one and have not ended
        self.ranks_kept = 0  # with more, those of runs that have ended are forgotten
        self.hops = 0  # how many calls led to those that are being made
        self.now = time.time()
        self.start_ids(0, 0, 0, 0)

    def start_ids(self, request: int, value: int, arrival: int, record: int) -> None:
        """Go on numbering after these."""
        self.new_request = count(request + 1).__next__
        self.new_value = count(value + 1).__next__
        self.new_arrival = count(arrival + 1).__next__
        self.new_record = count(record + 1).__next__
        self.joins = JoinTable(self.topology, self.new_request, self.new_arrival)

    # -- values --------------------------------------------------------------
    def store_value(self, value: Value) -> StoredValue:
        """Give a value a row."""
        stored = StoredValue(self.new_value(), value, "file" if value.file else "inline")
        self.journal.add("add_value", stored.row())
        return stored

    def _result(self, job: Job, value: Value) -> StoredValue:
        """What a call returned: in the row of its request, if it is small."""
        return StoredValue(result_id(job.id), value, "inline") if fits(value) else self.store_value(value)

    def store_error(self, job: Job, error: dict[str, Any]) -> StoredValue:
        """A failure as a value that plugs carry."""
        stored = failure(self.new_value(), job, self.topology.sockets[job.socket].name, error)
        self.journal.add("add_value", stored.row())
        return stored

    # -- counting ------------------------------------------------------------
    def load(self, socket: int) -> int:
        """How many requests and waiting arrivals a socket holds."""
        counter = self.states.counts.get(socket, Counter())
        return counter["waiting"] + counter["queued"] + self.arrived(socket)

    def arrived(self, socket: int) -> int:
        """How many values wait at a socket."""
        return sum(arrival.socket == socket for arrival in self.joins.all_waiting())

    # -- acceptance ----------------------------------------------------------
    def add_request(self, job: Job, event: Event, inputs: bytes | None = None) -> None:
        """Write a new request down, with the arguments (packed) that stand in its row."""
        state = self.states.move(job, event)
        revision, tag, arguments = self.topology.revision, to_text(job.tag), job.arguments_json()
        row = (job.id, job.socket, job.run, tag, state, job.hops, revision, arguments, self.now, inputs)
        self.journal.add("add_request", row)

    def queue_new(self, job: Job, event: Event, inputs: bytes | None = None) -> None:
        """Write a new request down and queue it."""
        self.add_request(job, event, inputs)
        self.enqueue(job)

    def hold_until(self, job: Job, at: float) -> None:
        """Let a request that is written down as queued wait for its time, by the wall clock."""
        self.journal.add("again", (job.attempt, job.deaths, at, job.id))
        self.jobs[job.id] = job
        self.wait_until(job, at)

    def wait_until(self, job: Job, at: float) -> None:
        """Have a request start at its time; one that is there may start now."""
        job.extra["at"] = at
        self.delayed[job.id] = time.monotonic() + max(0.0, at - self.now)

    def clock_set(self) -> None:
        """The wall clock has been set, or the machine has slept: what waits for a time of it is due at another."""
        self.now = time.time()
        for request in self.delayed:
            job = self.jobs.get(request)
            if job is not None and "at" in job.extra:
                self.wait_until(job, job.extra["at"])

    def enqueue(self, job: Job) -> None:
        """Queue a request that is written down as queued."""
        if self.dispatch.push(job.socket, job.id, self.ranks.get(job.run, 0)):
            self.jobs[job.id] = job

    def bring(self, socket: int, name: str, party: int, run: int, tag: Tag, argument: Argument) -> None:
        """Give a join the values of one argument of another call, as if they had arrived."""
        kind, values, _ = argument
        if kind == "l":
            self.joins.supply_list(socket, name, party, run, tag, values)
        else:
            self.joins.supply(socket, name, party, run, tag, values[0])

    # -- calls ---------------------------------------------------------------
    def call(self, job: Job, node: str = LOCAL) -> Call:
        """One attempt at a job, as the agent of a node gets it."""
        self.suspects.begin(REQUEST, job.id)
        socket = self.topology.sockets[job.socket]
        job.attempt += 1
        job.assigned, job.node, job.task, job.started = True, node, socket.task, None
        if job.extra:
            job.extra.clear()
        self.held.hold(job.id, node, socket.processor, socket.share)
        return self.specs.call(job, self.topology)

    def startable(self, socket: int) -> bool:
        """Whether calls of a socket may start."""
        record, processor = self.topology.sockets[socket], self.topology.processor(socket)
        if record.paused or record.parked or processor.paused or self.suspects.stopped(record):
            return False
        if socket in self.topology.unworked:
            return False
        return self.reachable(processor) and self.topology.tasks[record.task].python == self.python

    def sleeps(self, socket: int) -> bool:
        """Whether calls of a socket end by themselves, once their time has come."""
        stopped = self.topology.sockets[socket].paused or self.topology.processor(socket).paused
        return socket in self.topology.sleeping and not stopped

    def give_back(self, requests: Iterable[int]) -> None:
        """Queue calls again that an agent never started."""
        for request in requests:
            if request < 0:
                self.side_calls.returned(request)
                continue
            job = self.jobs.peek(request)
            if job is None or request not in self.held:
                continue
            if isinstance(job, JobLot):
                job.begun.pop(request, None)
                self.held.release(request)
                run = job.runs[job.place(request)]
            else:
                job.attempt -= 1
                if job.state == "running":
                    self.journal.add("again", (job.attempt, job.deaths, None, job.id))
                self.states.move(job, "returned")
                self._unassign(job)
                run = job.run
            self.dispatch.push(job.socket, request, self.ranks.get(run, 0))

    def claim(self, job: Job) -> None:
        """Write a start to disk: the call must not run twice, or may outlive this engine."""
        self.states.move(job, "claimed")
        self.journal.add("claim", (job.attempt, job.node, job.task, job.id))

    def _unassign(self, job: Job) -> None:
        job.assigned = False
        self.held.release(job.id)

    # -- outcomes ------------------------------------------------------------
    def current(self, request: int, attempt: int) -> Job | None:
        """The job an answer is for; None if that attempt was given up."""
        job = self.jobs.get(request)
        return job if job is not None and job.assigned and job.attempt == attempt else None

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> int | None:
        """A call has begun: its socket; None if that attempt was given up."""
        found = self.jobs.peek(request)
        if isinstance(found, JobLot):
            if attempt != 1 or request not in self.held:
                return None
            found.begun[request] = at, slot, pid
        elif found is None or not found.assigned or found.attempt != attempt:
            return None
        else:
            found.started, found.extra["slot"], found.extra["pid"] = at, slot, pid
        return found.socket

    def outcome(self, outcome: Outcome) -> None:
        """Take what an attempt came to; a late answer of one that was given up changes nothing."""
        if outcome.request < 0:
            if not self.side_calls.outcome(outcome):
                self.late(outcome)
            return
        job = self.current(outcome.request, outcome.attempt)
        if job is None:
            self.late(outcome)
            return
        if job.socket in self.topology.cached:
            self.attempted(job, outcome)
        if outcome.state == "failed":
            self._failed(job, outcome)
        else:
            self._done(job, outcome)

    def late(self, outcome: Outcome) -> None:
        """Drop the files of an answer that came too late."""
        self.values.drop_files(list(values_of(outcome)))

    def _done(self, job: Job, outcome: Outcome, event: Event | None = None) -> None:
        stored = self._result(job, outcome.value) if outcome.value is not None else None
        self.end(job, event or ("finished" if outcome.state == "done" else "skipped"), stored, outcome=outcome)
        self._go_on(job, stored, outcome)

    def reused(self, job: Job, value: Value, whose: str) -> None:
        """The result of an earlier call is that of a request too, which no worker gets."""
        job.task, job.node = self.topology.sockets[job.socket].task, REUSED
        self.journal.add("add_event", (self.now, "reused", str(job.id), f"the result of {whose}"))
        self._done(job, Outcome(job.id, job.attempt, "done", value))

    def answered(self, job: Job, value: Value) -> None:
        """A person said what the result of a request is that no worker has."""
        job.task = self.topology.sockets[job.socket].task
        self._done(job, Outcome(job.id, job.attempt, "done", value), "answered")

    def slept(self, job: Job) -> None:
        """The time of a request has come that no worker has: its result is the value that it was given."""
        job.task = self.topology.sockets[job.socket].task
        fixed = [self.fixed[one.value] for one in self.topology.sockets[job.socket].fixed.values()]
        value = [*(values[0] for _, values, _ in job.arguments.values()), *fixed][0]
        stored = StoredValue(result_id(job.id), value.value, "inline") if fits(value.value) else value
        outcome = Outcome(job.id, job.attempt, "done", value.value)
        self.end(job, "answered", stored, outcome=outcome)
        self._go_on(job, stored, outcome)

    def _go_on(self, job: Job, stored: StoredValue | None, outcome: Outcome) -> None:
        """Send on what a call came to that ended well."""
        source = Source(job.id, job.socket, job.party, job.run, job.tag, job.late)
        topology, self.hops = self.topology, job.hops + 1
        for plug in topology.results.get(job.socket, ()):
            self._carry(source, plug, stored, outcome)
        if not job.late:
            for plug in topology.errors.get(job.socket, ()):
                self.joins.tombstone(source, plug, silent=True)
        self.joins.finished(job.party)
        self.absorb()
        self.hops = 0
        if "fault" in job.extra:
            self.evaluation.fault(source, job.extra["fault"])

    def _carry(self, source: Source, plug: Plug, stored: StoredValue | None, outcome: Outcome) -> None:
        """Send what one plug gets of a call that ended well."""
        if outcome.state == "skipped":
            self.joins.tombstone(source, plug)
        elif outcome.emitted is not None:
            self.close(source, str(source.request), outcome.emitted, [plug])
        elif stored is not None and plug.id in outcome.routed and plug.id in self.topology.examined:
            route = Route(0, source, plug.id, stored, None)
            self.evaluation.carry(route, plug, outcome.routed[plug.id], outcome.keys.get(plug.id))
        elif stored is not None:
            self.send(source, plug, stored)

    def send(self, source: Source, plug: Plug, stored: StoredValue, at: int | None = None) -> None:
        """Send a result, or one yield of it, through a plug, once a worker has evaluated the plug if it has to."""
        if plug.id in self.topology.examined:
            self.evaluation.ask(source, plug, stored, at)
        elif at is None:
            self.joins.result(source, plug, stored)
        else:
            self.joins.element(source, plug, stored, at, at, str(source.request))

    def close(self, source: Source, split: str, n: int, plugs: list[Plug]) -> None:
        """A split has all its elements."""
        self.journal.add("set_fan", (split, source.party, n))
        self.joins.close(source, split, n, plugs)

    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None:
        """Take values that a running generator has yielded, each once."""
        job = self.current(request, attempt)
        if job is None:
            self.values.drop_files(values)
            return
        source = Source(job.id, job.socket, job.party, job.run, job.tag, job.late)
        self.hops = job.hops + 1
        for at, value in enumerate(values, first):
            if at < job.emitted:
                continue
            stored = self.store_value(value)
            self.journal.add("add_emission", (job.id, at, stored.id))
            for plug in self.topology.results.get(job.socket, ()):
                self.send(source, plug, stored, at)
            job.emitted = at + 1
        self.journal.add("emitted", (job.emitted, job.id))
        self.absorb()
        self.hops = 0

    def died(self, request: int, attempt: int, text: str) -> None:
        """A worker died under a call: try again, unless that has happened too often."""
        if request < 0:
            self.side_calls.died(request, attempt, text)
        job = self.current(request, attempt)
        if job is None:
            return
        job.deaths += 1
        error, last = failures.worker_died(text, self.topology.sockets[job.socket], job.deaths)
        if last:
            self.fail(job, error)
        else:
            self._try_again(job, error, Outcome(request, attempt, "failed"), 0.0)

    def lost(self, request: int, node: str, text: str) -> None:
        """An attempt is over with the node it ran on: try again, and charge it to nobody."""
        job = self.jobs.get(request)
        if job is None or not job.assigned or job.node != node:
            return
        error, last = failures.node_lost(text, self.topology.sockets[job.socket])
        if last:
            self.fail(job, error)
        else:
            self._try_again(job, error, Outcome(request, job.attempt, "failed"), 0.0, "lost")

    def _failed(self, job: Job, outcome: Outcome) -> None:
        unsaid = {"type": "TaskError", "message": "failed", "traceback": "", "kind": "task"}
        error = explained(self, outcome.error or unsaid)
        socket = self.topology.sockets[job.socket]
        job.tries += 1
        if "fault" in job.extra:
            self._fail(job, job.extra["fault"], outcome)
        elif error.get("lost") and self._brings(job, error["lost"]):
            job.tries -= 1
            self._try_again(job, error, outcome, 0.0, "lost")
        elif error["kind"] == "cancelled":
            self.end(job, "cancelled", outcome=outcome)
        elif error["kind"] != "unpicklable" and job.tries <= socket.retries:
            self._try_again(job, error, outcome, failures.delay_before(socket, job.tries))
        else:
            self._fail(job, error, outcome)

    def _brings(self, job: Job, file: str) -> bool:
        """Whether a missing value file will be fetched or made again; the try is not counted."""
        job.extra["lost"] = job.extra.get("lost", 0) + 1
        self.miss([file])
        return bool(job.extra["lost"] <= failures.MOST_LOSSES)

    def _try_again(self, job: Job, error: dict[str, Any], outcome: Outcome, delay: float, how: str = "failed") -> None:
        text = json.dumps({**error, "node": job.node})
        began, *ran = attempt_of(job, outcome, self.now)
        row = (job.id, job.attempt, how, text, began or self.now, *ran, self.now)
        self.journal.add("add_attempt", row)
        self.states.move(job, "tried again")
        self.journal.add("again", (job.attempt, job.deaths, self.now + delay if delay else None, job.id))
        self._unassign(job)
        if delay:
            # the wall clock may be set while it waits
            self.delayed[job.id] = time.monotonic() + delay
        else:
            self.dispatch.push(job.socket, job.id, self.ranks.get(job.run, 0))

    def due(self, request: int) -> None:
        """A delayed retry may start now."""
        job = self.jobs.get(request)
        if self.delayed.pop(request, None) is not None and job is not None:
            if job.socket in self.topology.unworked:
                # its own time begins
                job.created = self.now
            self.dispatch.push(job.socket, request, self.ranks.get(job.run, 0))

    def halt(self, request: int, error: dict[str, Any]) -> None:
        """Let a request fail though its task goes well: a call of it is stopped, wherever it is, or not begun."""
        job = self.jobs[request]
        if job.assigned:
            job.extra.setdefault("fault", error)
            self.stop(request)
        else:
            self.dispatch.drop(job.socket, request)
            self.delayed.pop(request, None)
            self.fail(job, error)

    def drop(self, job: Job, error: dict[str, Any]) -> None:
        """Let go of a queued request, for good: what would have come of it is skipped."""
        self.dispatch.drop(job.socket, job.id)
        self.end(job, "skipped", error=error)
        self.journal.add("add_event", (self.now, "dropped", str(job.id), error["message"]))
        self._go_on(job, None, Outcome(job.id, job.attempt, "skipped"))

    def fail(self, job: Job, error: dict[str, Any]) -> None:
        """Let a request fail for good without another try."""
        self._fail(job, error, Outcome(job.id, job.attempt, "failed"))

    def _fail(self, job: Job, error: dict[str, Any], outcome: Outcome) -> None:
        exception = self.store_value(outcome.exception) if outcome.exception is not None else None
        error = {**error, "node": job.node, "slot": outcome.slot, "attempt": job.attempt}
        self.end(job, "failed", error=error, exception=exception, outcome=outcome)
        self.journal.add("add_event", (self.now, "failed", str(job.id), f"{error.get('type')}: {error.get('message')}"))
        plugs = self.topology.errors.get(job.socket, ())
        if plugs and not job.late:
            source = Source(job.id, job.socket, job.party, job.run, job.tag)
            stored = self.store_error(job, error)
            before, self.hops = self.hops, job.hops + 1
            # that a cycle does not end is nothing to go round with
            ring = self.topology.cycles.get(job.socket, ()) if error["kind"] == "cycle" else ()
            for plug in plugs:
                if plug.target not in ring:
                    self.carry_failure(source, plug, stored)
            self.absorb()
            self.hops = before

    def carry_failure(self, source: Source, plug: Plug, stored: StoredValue) -> None:
        """Send a failure through a plug, once a worker has asked the plug's condition of it, or taken a part."""
        if plug.when is None and plug.pick is None:
            self.joins.result(source, plug, stored)
        else:
            self.evaluation.ask(source, plug, stored, state="failed")

    def end(
        self,
        job: Job,
        event: Event,
        value: StoredValue | None = None,
        error: dict[str, Any] | None = None,
        exception: StoredValue | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """Write down what a request came to; failed and cancelled ones may be queued again later."""
        ran = NO_ATTEMPT
        if outcome is not None:
            job.emitted = outcome.emitted or job.emitted
            ran = attempt_of(job, outcome, self.now)
        started, seconds, slot, pid = ran
        state = self.states.move(job, event)
        text = json.dumps(error) if error else None
        result, raised = value.id if value else None, exception.id if exception else None
        data, kind = (value.value.data, value.value.type) if value is not None and value.id < 0 else (None, None)
        end = (
            job.node, slot, pid, job.task or None, self.topology.revision, started, self.now, seconds, data, kind,
            job.id,
        )  # fmt: skip
        if state != "done" or job.deaths or job.late or job.emitted or value is None:
            wrong = (state, result, text, raised, job.attempt, job.deaths, job.emitted)
            self.journal.add("finish", (*wrong, *end))
        else:
            self.journal.add("finish_well", (result, job.attempt, *end))
        self.jobs.forget(job.id)
        self.evaluation.ended(job.id, state)
        self.held.release(job.id)
        self.touched.add(job.party)
        if job.id in self.watched:
            self.ended.append(Ended(job.id, job.socket, job.attempt, state, value, error, exception))
        for follower in self.followers.pop(job.id, ()):
            how = (state, result, text, raised, self.topology.revision, started, self.now, seconds, job.id)
            self.journal.add("finish_joined", how)
            self.ended.append(Ended(follower, job.socket, 0, state, value, error, exception))
