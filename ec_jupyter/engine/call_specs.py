"""Makes calls of jobs: what alike calls have in common is worked out once for each state of the wiring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from ec_jupyter.engine.job import Job, StoredValue, argument_value
from ec_jupyter.engine.jobs import JobLot, some
from ec_jupyter.engine.submit_records import Lot
from ec_jupyter.flow.topology import Topology
from ec_jupyter.wire import Call, CallSpec, Packed


@dataclass(slots=True)
class Plan:
    """A spec, and how the values of its arguments are found."""

    spec: CallSpec  # what the calls share
    # places of a job's arguments, in the order in which they travel; past their end, of the fixed ones. None: as they
    # are
    picks: list[int] | None
    fixed: list[int]  # the socket's fixed values that are given as well


class CallSpecs:
    """Makes the calls of one flow."""

    def __init__(self, fixed: Mapping[int, StoredValue]) -> None:
        self._fixed = fixed  # fixed values of sockets, by row
        self._topology: Topology | None = None
        # by socket, kinds of the given arguments (None: one value each) and their names
        self._plans: dict[tuple[int, str | None, tuple[str, ...]], Plan] = {}

    def call(self, job: Job, topology: Topology) -> Call:
        """A job as its agent gets it, with the newest version of its task."""
        self._follow(topology)
        values: list[Packed] = []
        for kind, stored, _ in job.arguments.values():
            one = stored[0] if kind == "v" else None
            if one is None or one.place == "error":
                return self._any(job, topology)
            value = one.value
            values.append((value.data or b"") if value.file is None else value)
        # nearly always: one value an argument
        plan = self._plan_of(job.socket, tuple(job.arguments), topology)
        if plan.fixed:
            values += [self._fixed[row].value.packed for row in plan.fixed]
        if plan.picks is not None:
            values = [values[i] for i in plan.picks]
        return Call(job.id, job.attempt, job.run, plan.spec, values, None, job.emitted)

    def calls(self, lot: JobLot, requests: Sequence[int], topology: Topology) -> list[Call]:
        """First attempts at some requests of a lot, which follow each other in it or not."""
        self._follow(topology)
        plan = self._plan_of(lot.socket, lot.names, topology)
        where = lot.where(requests)
        columns: list[Iterable[Packed]] = [some(column, where) for column in lot.columns]
        columns += [repeat(self._fixed[row].value.packed) for row in plan.fixed]
        if plan.picks is not None:
            columns = [columns[i] for i in plan.picks]
        spec, values = plan.spec, zip(*columns, strict=False) if columns else repeat(())
        return [
            Call(request, 1, run, spec, given)
            for request, run, given in zip(requests, some(lot.runs, where), values, strict=False)
        ]

    def plan(self, socket: int, names: Sequence[str], topology: Topology) -> Plan:
        """How calls with arguments of these names are made, by this wiring."""
        self._follow(topology)
        return self._plan_of(socket, tuple(names), topology)

    def lone(self, plan: Plan, request: int, item: Lot) -> Call:
        """The first attempt at what a submit of one call has led to."""
        values: list[Packed] = [column[0] for column in item.columns]
        if plan.fixed:
            values += [self._fixed[row].value.packed for row in plan.fixed]
        if plan.picks is not None:
            values = [values[i] for i in plan.picks]
        return Call(request, 1, request, plan.spec, values)

    def _follow(self, topology: Topology) -> None:
        if topology is not self._topology:
            self._topology = topology
            self._plans.clear()

    def _any(self, job: Job, topology: Topology) -> Call:
        kinds = ""
        given: list[list[Packed]] = []
        for kind, stored, _ in job.arguments.values():
            how, parts = argument_value(kind, stored)
            kinds += how
            given.append([one.value.packed for one in parts])
        plan = self._planned(job.socket, kinds, tuple(job.arguments), topology)
        given += [[self._fixed[row].value.packed] for row in plan.fixed]
        if plan.picks is not None:
            given = [given[i] for i in plan.picks]
        counts = None if plan.spec.single else [len(some) for some in given]
        return Call(
            job.id, job.attempt, job.run, plan.spec, [value for some in given for value in some], counts, job.emitted
        )

    def _plan_of(self, socket: int, names: tuple[str, ...], topology: Topology) -> Plan:
        """The plan of calls that have one value an argument."""
        return self._plans.get((socket, None, names)) or self._planned(socket, "v" * len(names), names, topology)

    def _planned(self, socket: int, kinds: str, names: tuple[str, ...], topology: Topology) -> Plan:
        key = socket, kinds if kinds.strip("v") else None, names
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _plan(socket, kinds, names, topology)
        return plan


def _plan(number: int, kinds: str, given: tuple[str, ...], topology: Topology) -> Plan:
    socket = topology.sockets[number]
    task = topology.tasks[socket.task]
    fixed = [(name, one.value) for name, one in socket.fixed.items() if name not in given]
    names = [*zip(given, kinds, strict=True), *((name, "v") for name, _ in fixed)]
    picks = list(range(len(names)))
    if task.version > 1:
        # queued for a version that had an argument this one has not
        known = {p.name for p in task.signature}
        picks = [i for i in picks if i >= len(given) or names[i][0].lstrip("*") in known]
    # what is passed by position is passed in this order
    order = {p.name: i for i, p in enumerate(task.signature)}
    picks.sort(key=lambda i: order.get(names[i][0].lstrip("*"), len(order)))
    examined = topology.examined
    spec = CallSpec(
        task.sha256, socket.name, tuple(names[i] for i in picks),
        tuple((p.id, *examined[p.id]) for p in topology.results[number] if p.id in examined),
        socket.timeout, socket.threads, socket.fresh, socket.memory or topology.processor(number).memory,
        (task.file, task.source) if task.source else None, socket.once, socket.concurrent,
    )  # fmt: skip
    return Plan(spec, None if picks == list(range(len(names))) else picks, [row for _, row in fixed])
