"""Locates value files that are remote or lost.

A remote file is fetched when something on this machine needs it. A lost one is computed again: the call whose result it
was runs once more, with the same arguments and version of its task, and its result goes nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial

from ec_jupyter.engine import failures, recovery
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job, argument_value
from ec_jupyter.engine.member import Member, Members
from ec_jupyter.engine.parts import Clock
from ec_jupyter.engine.side_calls import REMAKE, CallId
from ec_jupyter.errors import EcError, NodeLostError
from ec_jupyter.flow.placement import choose
from ec_jupyter.model import LOCAL
from ec_jupyter.nodes import values as files
from ec_jupyter.nodes.tasks import Tasks
from ec_jupyter.wire import Call, Outcome, Value

log = logging.getLogger(__name__)


class ValueLocator:
    """Knows which value files are not in the flow's folder, and fetches or recomputes them."""

    def __init__(self, core: Core, members: Members, clock: Clock) -> None:
        self.files: set[str] = set()  # names of value files that are not in the flow's folder
        self._core, self._members, self._clock = core, members, clock
        self._folder = core.values.folder
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks(self._failed)
        self._news = asyncio.Event()

    def load(self) -> None:
        """Find the files that the last engine left elsewhere."""
        self.files = self._core.values.missing()

    def close(self) -> None:
        """Fetch nothing more."""
        for task in [*self._tasks.running, *self._coming.values()]:
            task.cancel()

    @property
    def busy(self) -> bool:
        """Whether any file is being fetched."""
        return bool(self._coming)

    # -- what is where ---------------------------------------------------------
    def stays(self, file: str) -> None:
        """A result stayed on the node that made it."""
        self.files.add(file)
        job = self._core.jobs.get(int(file.partition(".")[0]))
        if job is not None and self._core.topology.sockets[job.socket].once:
            # it could not be made anew
            self.fetch([file], self._came)

    def lacking(self, values: Iterable[Value], node: str = LOCAL) -> list[str]:
        """Files of these values that a node cannot read."""
        if not self.files:
            return []
        names = {value.file for value in values if value.file is not None and value.file in self.files}
        member = self._members.get(node)
        return [name for name in names if member is None or not member.holds(name)]

    def usable(self, job: Job, node: str) -> bool:
        """Whether a call can start on a node; if not, it waits until the files it lacks have been fetched."""
        if not self.files:
            return True
        names = self.lacking(
            (v.value for kind, some, _ in job.arguments.values() for v in argument_value(kind, some)[1]), node
        )
        if names:
            self._core.delayed[job.id] = math.inf
            self.fetch(names, partial(self._let_start, job))
        return not names

    def visible(self, call: Call, node: str) -> bool:
        """Whether a plug evaluation can read its value on a node; if not, the value is fetched and evaluated then."""
        names = self.lacking(call.files(), node)
        if names:
            self.fetch(names, partial(self._evaluate_again, call))
        return not names

    def _evaluate_again(self, call: Call, error: EcError | None) -> None:
        side_calls = self._core.side_calls
        if error is None:
            side_calls.returned(call.request)
        else:
            side_calls.outcome(Outcome(call.request, call.attempt, "failed", error={"message": str(error)}))
        self._clock.schedule()

    def _let_start(self, job: Job, error: EcError | None) -> None:
        core = self._core
        if core.jobs.get(job.id) is not job or core.delayed.get(job.id) != math.inf:
            # it was cancelled, or changed
            return
        core.now = time.time()
        if error is None:
            core.due(job.id)
        else:
            del core.delayed[job.id]
            core.fail(job, failures.error(type(error).__name__, "lost", str(error)))
        self._clock.schedule()

    def changed(self) -> None:
        """A node has come or gone."""
        self._news.set()
        self._news = asyncio.Event()

    def free(self, member: Member) -> bool:
        """Whether a leaving node holds nothing any more; what it holds is fetched."""
        held = [name for name in self.files if member.holds(name)]
        coming = [name for name in held if name not in self._coming]
        if coming:
            self.fetch(coming, self._came)
        return not held

    def forget(self, named: Collection[str]) -> None:
        """Forget files that no row names any more."""
        gone = self.files.difference(named)
        self.files -= gone
        for member in self._members.values():
            if gone and member.ready:
                member.release(gone)

    def miss(self, names: Iterable[str]) -> None:
        """Check files that may be missing from the flow's folder, or incomplete."""
        self.files.update(name for name in names if not files.whole(name, self._folder))

    # -- getting it --------------------------------------------------------------
    def fetch(self, names: Collection[str], then: Callable[[EcError | None], None]) -> None:
        """Fetch files, then call `then`, with the error of one that is lost for good."""
        self._tasks.spawn(self._fetch(names, then))

    async def _fetch(self, names: Collection[str], then: Callable[[EcError | None], None]) -> None:
        error: EcError | None = None
        for name in names:
            try:
                await self.home(name)
            except EcError as one:
                error = one
        then(error)

    async def home(self, name: str) -> None:
        """Fetch a file, unless it is here. Raises EcError: it is lost, and cannot be made anew."""
        if name not in self.files:
            return
        if name not in self._coming:
            task = self._coming[name] = asyncio.get_running_loop().create_task(self._get(name))
            task.add_done_callback(lambda done: self._coming.pop(name, None))
        await asyncio.shield(self._coming[name])

    def _came(self, error: EcError | None) -> None:
        if error is not None:
            log.warning("%s", error)
        self._clock.schedule()

    async def _get(self, name: str) -> None:
        while True:
            news = self._news
            for member in self._members.values():
                if member.holds(name) and await member.agent.bring(name):
                    self.files.discard(name)
                    return
            # a node that may have it may only be away
            if not any(m.keeps and m.state in ("starting", "away") for m in self._members.values()):
                break
            await news.wait()
        await self._remake(name)
        self.files.discard(name)

    # -- making it anew ------------------------------------------------------------
    async def _remake(self, name: str) -> None:
        call, processor, values = self._recipe(name)
        log.info("value file %s is lost: %s runs again", name, call.spec.socket)
        self.miss(value.file for value in values if value.file is not None and value.file not in self.files)
        while True:
            news = self._news
            node = self.node_of(processor)
            if node is None:
                await news.wait()
                continue
            for one in self.lacking(values, node):
                await self.home(one)
            end = await self._run(call, processor, node)
            if end is not None:
                break
        if end.state != "done" or end.value is None:
            raise self._lost(name, f"making it anew failed: {(end.error or {}).get('message', end.state)}")
        await self._name(end.value, name)

    async def _run(self, call: Call, processor: str, node: str) -> Outcome | None:
        """What it came to, or None if it is to be tried again."""
        end: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        remake = CallId(REMAKE, call.request)
        attempt = self._core.side_calls.send(remake, partial(_tell, end), node)
        if attempt is not None:
            again = replace(call, request=remake.number, attempt=attempt)
            self._members[node].agent.assign(processor, [again])
        return await end

    async def _name(self, made: Value, name: str) -> None:
        """Give the recomputed file the name of the lost one."""
        if made.file is None:
            files.write_file(self._folder, name, made.data or b"")
            return
        if made.file in self.files:
            await self.home(made.file)
        (self._folder / made.file).replace(self._folder / name)

    def node_of(self, processor: str) -> str | None:
        """The node of a processor for a call that is short, and that others wait for; None while there is none."""
        spots = self._members.spots(self._core.topology.processors[processor])
        for spot in spots:
            spot.room = max(1, spot.room)
        chosen = choose([spot for spot in spots if spot.cap], 1)
        return chosen.node if chosen is not None else None

    def _recipe(self, name: str) -> tuple[Call, str, list[Value]]:
        """The call whose result a file is, its processor, and its arguments."""
        core, request = self._core, name.partition(".")[0]
        core.journal.commit()
        row = core.store.one("made_by", (int(request), name)) if request.isdigit() else None
        if row is None:
            raise self._lost(name, "it is no call's result, which could be made anew")
        socket, task = row
        record = core.topology.sockets.get(socket)
        if record is None or task not in core.topology.tasks:
            raise self._lost(name, "the socket that made it was removed")
        if record.once:
            raise self._lost(name, f"{record.name!r} runs once only")
        job = recovery.job_from_disk(core, int(request))
        call = core.specs.call(job, core.topology)
        version = core.topology.tasks[task]
        source = (version.file, version.source) if version.source else None
        spec = replace(call.spec, task=version.sha256, source=source, routes=())
        call = replace(call, spec=spec, skip=0, attempt=1)
        if any(v.place == "gone" for _, some, _ in job.arguments.values() for v in some):
            raise self._lost(name, "the arguments it was made of were reclaimed")
        return call, core.topology.processor(socket).name, call.files()

    def _lost(self, name: str, why: str) -> NodeLostError:
        request = name.partition(".")[0]
        return NodeLostError(f"the value of request {request} is on no node any more, and {why}")

    def _failed(self, error: BaseException) -> None:
        self._clock.fall({"message": "a value cannot be brought", "exception": error})


def _tell(end: asyncio.Future[Outcome | None], outcome: Outcome | None) -> None:
    """Let whoever waits go on, unless nobody does any more."""
    if not end.done():
        end.set_result(outcome)
