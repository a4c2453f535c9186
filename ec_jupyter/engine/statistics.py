"""What sockets, processors and nodes have done in the last hour: gathered as calls end, looked at once a second.

A call that ends costs an entry in a list; counting is done for all of a second together. The disk has a copy that is
some seconds old, of which the next engine goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job
from ec_jupyter.engine.jobs import JobLot
from ec_jupyter.engine.member import Members
from ec_jupyter.flow.measures import POINTS, STEP, Measures, Of
from ec_jupyter.model import LOCAL
from ec_jupyter.wire import Header, Outcome

MOST_HELD = 4_000  # calls that are counted at once, at most
# seconds for which what was seen at a look is taken to have been so; a machine that slept did nothing
LONGEST_LOOK = 5.0
USE_SECONDS = 5.0  # between two looks at what processes have used, while calls run
SAVE_SECONDS = 5.0  # between two copies on disk, at least
Who = tuple[str, int]  # a process: its node, and its identity there


class Statistics:
    """The last hour of a flow."""

    def __init__(self, core: Core, members: Members) -> None:
        self._core, self._members = core, members
        now = time.time()
        self._measures = Measures(now)
        self._measures.restore(core.store.rows("statistics"), now)
        self._ended: list[tuple[int, str, int, Sequence[float], Sequence[float], float, int]] = []
        self._held = 0
        self._shares: dict[Who, dict[int, float]] = {}
        self._late: set[Who] = set()
        self._cpu: dict[Who, float] = {}
        self._worked = False
        self._looked = now
        self._use = self._save = 0.0

    # -- what happens ----------------------------------------------------------
    def ran(
        self,
        socket: int,
        node: str,
        pid: int,
        seconds: Sequence[float],
        begun: Sequence[float],
        created: float,
        failed: int = 0,
    ) -> None:
        """Calls of a socket have ended; `begun`: when the first attempts of them began; `created`: when accepted."""
        self._ended.append((socket, node, pid, seconds, begun, created, failed))
        self._held += len(seconds)
        if self._held > MOST_HELD:
            self._count()

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A call has ended by itself, or was stopped."""
        failed = outcome.state == "failed" and (outcome.error or {}).get("kind") != "cancelled"
        begun = [outcome.started] if outcome.attempt == 1 and outcome.started else []
        self.ran(job.socket, job.node, outcome.pid, [outcome.seconds], begun, job.created, int(failed))

    def died(self, job: Job) -> None:
        """A call has ended with its process."""
        now = self._core.now
        self.ran(job.socket, job.node, 0, [max(0.0, now - (job.started or now))], [], job.created, 1)

    def _count(self) -> None:
        if not self._ended:
            return
        found: dict[tuple[int, str], tuple[list[float], list[float], list[int]]] = {}
        for socket, node, pid, seconds, begun, created, failed in self._ended:
            took, waited, failures = found.setdefault((socket, node), ([], [], []))
            took.extend(seconds)
            waited.extend([at - created for at in begun])
            failures.append(failed)
            if pid:
                self._share((node, pid), socket, sum(seconds))
        self._ended.clear()
        self._held, self._worked = 0, True
        for (socket, node), (took, waited, failures) in found.items():
            self._measures.ran([*self._of(socket), Of("node", node)], took, waited, sum(failures))

    def _of(self, socket: int) -> list[Of]:
        record = self._core.topology.sockets.get(socket)
        processor = [] if record is None else [Of("processor", record.processor)]
        return [Of("socket", str(socket)), *processor]

    def _share(self, who: Who, socket: int, seconds: float) -> None:
        """Note for how long a process was at work for a socket."""
        mine = self._shares.setdefault(who, {})
        mine[socket] = mine.get(socket, 0.0) + seconds

    # -- once a second ---------------------------------------------------------
    def look(self) -> None:
        """See what is queued and runs, and what processes have used."""
        now = time.time()
        self._count()
        self._measures.advance(now)
        seconds = min(max(0.0, now - self._looked), LONGEST_LOOK)
        self._looked = now
        self._stand(self._members.running(), seconds)
        if self._worked and now >= self._use:
            self._use, self._worked = now + USE_SECONDS, False
            self._look_at_use()

    def _stand(self, running: Iterable[int], seconds: float) -> None:
        core, sockets = self._core, self._core.topology.sockets
        runs: Counter[int] = Counter()
        nodes: Counter[str] = Counter()
        for request in running:
            job = core.jobs.peek(request)
            if job is not None:
                runs[job.socket] += 1
                node = LOCAL if isinstance(job, JobLot) else job.node
                nodes[node] += 1
                if pid := _process(job, request):
                    # one that goes on for long is what its process works at
                    self._share((node, pid), job.socket, seconds)
        processors: dict[str, list[int]] = {}
        for socket, states in core.states.counts.items():
            queued, at_work = states.get("queued", 0), runs[socket]
            if (queued or at_work) and socket in sockets:
                queued = max(0, queued - at_work)
                self._measures.stands(Of("socket", str(socket)), queued, at_work, seconds)
                sums = processors.setdefault(sockets[socket].processor, [0, 0])
                sums[0] += queued
                sums[1] += at_work
        for name, (queued, at_work) in processors.items():
            self._measures.stands(Of("processor", name), queued, at_work, seconds)
        for name, at_work in nodes.items():
            self._measures.stands(Of("node", name), 0, at_work, seconds)
        self._worked = self._worked or bool(nodes)

    def _look_at_use(self) -> None:
        """Let each socket have its share of what processes have used: that of the time for which they ran its calls."""
        before, self._cpu = self._cpu, {}
        nodes, processors = dict[Of, list[float]](), dict[Of, list[float]]()
        for node, (processor, pid, cpu, memory) in self._members.used():
            who = (node, pid)
            self._cpu[who] = cpu
            used = max(0.0, cpu - before.get(who, 0.0))
            _add(nodes, Of("node", node), used, memory)
            if processor:
                _add(processors, Of("processor", processor), used, memory)
            # another machine tells of what was used a moment later
            mine = self._shares.pop(who, {}) if used or node == LOCAL else {}
            self._divide(used, memory, mine, processors if not processor else {})
        for of, (whole, held) in processors.items():
            self._measures.used(of, whole, int(held))
        for facts in self._members.facts():
            of = Of("node", facts["name"])
            whole, held = nodes.get(of, (0.0, 0.0))
            self._measures.used(of, whole, (facts.get("memory") or {}).get("used") or int(held))
        # what ran on other machines is kept for the next look, where they have yet to tell what it used
        self._shares = {who: mine for who, mine in self._shares.items() if who[0] != LOCAL and who not in self._late}
        self._late = set(self._shares)
        self._worked = self._worked or bool(self._shares)

    def _divide(self, used: float, memory: int, mine: dict[int, float], processors: dict[Of, list[float]]) -> None:
        """Give sockets their shares of what a process used, and their processors, too, where it is no one's alone."""
        whole = sum(mine.values())
        held: set[Of] = set()
        for socket, seconds in mine.items():
            share = used * seconds / whole if whole else 0.0
            for of in self._of(socket):
                if of.kind == "socket":
                    self._measures.used(of, share, memory)
                else:
                    _add(processors, of, share, 0 if of in held else memory)
                    held.add(of)

    # -- the disk --------------------------------------------------------------
    def save(self, *, surely: bool = False) -> bool:
        """Have what has changed written with the next commit; whether there was anything, and it was time."""
        now = time.monotonic()
        if now < self._save and not surely:
            return False
        self._count()
        rows = self._measures.unsaved()
        if rows:
            self._save = now + SAVE_SECONDS
            for row in rows:
                self._core.journal.step("put_statistic", row)
            self._core.journal.step("trim_statistics", (self._measures.began - STEP,))
            self._core.journal.step("trim_events")
        return bool(rows)

    # -- what is asked -----------------------------------------------------------
    def minute(self) -> dict[str, dict[str, Any]]:
        """Of each socket, calls a second in the last minute, and quantiles of their seconds; null where nothing ran."""
        self._count()
        now, words = time.time(), ("per_second", "p50", "p95")
        self._measures.advance(now)
        found = {}
        for socket in self._core.topology.sockets.values():
            if not socket.parked:
                row = self._measures.minute(Of("socket", str(socket.id)), now)
                found[socket.name] = {word: row[word] for word in words}
        return found

    def answer(self, header: Header) -> dict[str, Any]:
        """The last hour: a row each; with `pulse` how many calls ended in each point, with `course` the points too."""
        self._count()
        now = time.time()
        self._measures.advance(now)
        rows, courses = [], []
        for of, name in self._whose(header.get("by"), header.get("name")):
            about = {"of": of.kind, "name": name}
            row = {**about, **self._measures.hour(of, now)}
            if header.get("pulse"):
                row["pulse"] = self._measures.pulse(of)
            rows.append(row)
            if header.get("course"):
                courses += [{**about, **point} for point in self._measures.course(of, now)]
        began = min(self._measures.began, now)
        found = {"time": now, "began": began, "step": STEP, "points": POINTS, "rows": rows}
        return found | ({"course": courses} if header.get("course") else {})

    def _whose(self, kind: str | None, name: str | None) -> list[tuple[Of, str]]:
        """All that may be shown, by the name that people know, as far as it is asked for."""
        wiring = self._core.topology
        found = [(Of("socket", str(s.id)), s.name) for s in wiring.sockets.values() if not s.parked]
        found += [(Of("processor", one), one) for one in wiring.processors]
        found += [(Of("node", facts["name"]), facts["name"]) for facts in self._members.facts()]
        return [pair for pair in found if kind in (None, pair[0].kind) and name in (None, pair[1])]


def _add(sums: dict[Of, list[float]], of: Of, used: float, memory: int) -> None:
    mine = sums.setdefault(of, [0.0, 0])
    mine[0] += used
    mine[1] += memory


def _process(job: Any, request: int) -> int:
    """The process that runs a request; 0 where that is not known."""
    if isinstance(job, JobLot):
        return job.begun[request][2] if request in job.begun else 0
    return int(job.extra.get("pid") or 0)
