"""Makes calls of jobs: what alike calls have in common is worked out once for each state of the wiring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ec_jupyter.engine.job import Job, StoredValue, argument_value
from ec_jupyter.flow.topology import Topology
from ec_jupyter.wire import Call, CallSpec, Packed


@dataclass(slots=True)
class _Plan:
    """A spec, and how the values of its arguments are found.

    Attributes
    ----------
    spec : CallSpec
        What the calls share.
    picks : list of int or None
        Places of a job's arguments, in the order in which they travel; past their end, of the fixed ones. None: as
        they are.
    fixed : list of int
        The socket's fixed values that are given as well.
    """

    spec: CallSpec
    picks: list[int] | None
    fixed: list[int]


class CallSpecs:
    """Makes the calls of one flow.

    Parameters
    ----------
    fixed : mapping of int to StoredValue
        Fixed values of sockets, by row.
    """

    def __init__(self, fixed: Mapping[int, StoredValue]) -> None:
        self._fixed = fixed
        self._topology: Topology | None = None
        self._plans: dict[tuple[int, str, tuple[str, ...]], _Plan] = {}

    def call(self, job: Job, topology: Topology) -> Call:
        """A job as its agent gets it, with the newest version of its task."""
        if topology is not self._topology:
            self._topology = topology
            self._plans.clear()
        kinds = ""
        given: list[list[Packed]] = []
        for kind, stored, _ in job.arguments.values():
            if kind == "v" and stored[0].place != "error":
                kinds += "v"
                given.append([stored[0].value.packed])
                continue
            how, parts = argument_value(kind, stored)
            kinds += how
            given.append([one.value.packed for one in parts])
        key = job.socket, kinds, tuple(job.arguments)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _plan(*key, topology)
        given += [[self._fixed[row].value.packed] for row in plan.fixed]
        if plan.picks is not None:
            given = [given[i] for i in plan.picks]
        values = given[0] if len(given) == 1 else [value for some in given for value in some]
        counts = None if plan.spec.single else [len(some) for some in given]
        return Call(job.id, job.attempt, job.run, plan.spec, values, counts, job.emitted)


def _plan(number: int, kinds: str, given: tuple[str, ...], topology: Topology) -> _Plan:
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
        (task.file, task.source) if task.source else None, socket.once,
    )  # fmt: skip
    return _Plan(spec, None if picks == list(range(len(names))) else picks, [row for _, row in fixed])
