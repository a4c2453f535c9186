"""The unfinished requests in memory: those that are alike as lots in columns, any other as a job by itself.

A request of a lot becomes a job when somebody needs it by itself: to cancel it, because its worker died, to show how
far it is. Until then it is a place in columns.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, repeat
from typing import Any

from ec_jupyter.engine.job import Argument, Job, StoredValue
from ec_jupyter.engine.row_values import argument_id, pack_all
from ec_jupyter.flow.placement import Holdings
from ec_jupyter.flow.tag import ROOT
from ec_jupyter.wire import Value

Where = slice | list[int]  # places in a lot


@dataclass(slots=True, eq=False)
class JobLot:
    """Queued requests of one socket that are alike: no splits, one small value an argument, never tried before.

    Each is queued, or an agent of this machine has its first attempt: then `Holdings` has it.
    """

    socket: int  # whose they are
    ids: Sequence[int]  # identities, ascending
    parties: Sequence[int]
    runs: Sequence[int]
    names: tuple[str, ...]  # names of the arguments
    types: Sequence[str | Sequence[str]]  # for each argument the type of all values, or that of each
    columns: Sequence[Sequence[bytes]]  # for each argument the pickled values
    created: float  # wall clock of their acceptance
    # for each argument the identities of the values, and of the arrivals by which they came; None: the values were
    # submitted, and stand in the rows of these requests
    given: Sequence[tuple[Sequence[int], Sequence[int]]] | None = None
    hops: int = 0  # how many calls led to each
    task: int = 0  # the version that those run which an agent has; 0: none yet
    # of requests that are known to run: when that began, slot and process
    begun: dict[int, tuple[float, int, int]] = field(default_factory=dict)
    revision: int = 0  # of the wiring when they were accepted
    left: int = 0  # how many have no row of their own; 0: all that are here have one
    # of requests that ended before they were taken in: when each was accepted, and when it ended
    times: tuple[Sequence[float], Sequence[float]] | None = None

    def place(self, request: int) -> int:
        """The place of one request."""
        return request - self.ids.start if isinstance(self.ids, range) else bisect_left(self.ids, request)

    def where(self, requests: Sequence[int]) -> Where:
        """The places of some requests."""
        first = self.place(requests[0])
        last = first + len(requests)
        if (
            last <= len(self.ids)
            and self.ids[last - 1] == requests[-1]
            and (len(requests) == 1 or all(map(int.__eq__, self.ids[first:last], requests)))
        ):
            return slice(first, last)
        return [self.place(request) for request in requests]

    def part(self, where: Where) -> JobLot:
        """Some of them, as a lot of their own."""
        return JobLot(
            self.socket, some(self.ids, where), some(self.parties, where), some(self.runs, where), self.names,
            [kinds if isinstance(kinds, str) else some(kinds, where) for kinds in self.types],
            [some(column, where) for column in self.columns], self.created,
            None if self.given is None else [(some(keys, where), some(came, where)) for keys, came in self.given],
            self.hops, self.task, revision=self.revision,
        )  # fmt: skip

    def arguments(self, where: Where) -> tuple[list[str], Iterable[bytes | None]]:
        """The arguments of some as the columns of their rows hold them: those that are named, and those inside."""
        ids, came = some(self.ids, where), "" if self.given is None else "%d"
        pattern = "{" + ",".join([f'"{name}":["v",[%d],[{came}]]' for name in self.names]) + "}"
        columns: list[Sequence[int]] = [some(column, where) for pair in self.given or () for column in pair]
        inside: Iterable[bytes | None] = repeat(None)
        if self.given is None:
            columns = [[argument_id(request, at) for request in ids] for at in range(len(self.names))]
            kinds = [kind for kind in self.types if isinstance(kind, str)]
            inside = pack_all([some(column, where) for column in self.columns], kinds, len(ids))
        return [pattern % row for row in zip(*columns, strict=True)] if columns else [pattern] * len(ids), inside

    def rows(self, where: Where) -> list[Sequence[Any]]:
        """Rows of some that are queued."""
        named, inside = self.arguments(where)
        return list(zip(
            some(self.ids, where), repeat(self.socket), some(self.runs, where), repeat(""), repeat("queued"),
            repeat(self.hops), repeat(self.revision), named, repeat(self.created), inside,
        ))  # fmt: skip

    def job(self, request: int) -> Job:
        """One of them by itself, as it is while it is queued."""
        at = self.place(request)
        arguments: dict[str, Argument] = {}
        for n, (name, kinds, column) in enumerate(zip(self.names, self.types, self.columns, strict=True)):
            value = Value(column[at], None, len(column[at]), kinds if isinstance(kinds, str) else kinds[at])
            key, arrivals = argument_id(request, n), list[int]()
            if self.given is not None:
                key, arrivals = self.given[n][0][at], [self.given[n][1][at]]
            arguments[name] = ("v", (StoredValue(key, value, "inline"),), arrivals)
        job = Job(request, self.socket, self.parties[at], self.runs[at], ROOT, arguments, self.created, "queued")
        job.hops = self.hops
        return job


def some(column: Sequence[Any], where: Where) -> Sequence[Any]:
    """What stands at places of a column."""
    return column[where] if isinstance(where, slice) else [column[at] for at in where]


class Jobs:
    """Unfinished requests in memory by identity: queued, assigned, waiting or delayed."""

    alone: Callable[[JobLot, int], None]  # told of a request of a lot that is by itself from now on

    def __init__(self, held: Holdings) -> None:
        self._held = held  # what agents have
        self._found: dict[int, Job | JobLot] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __contains__(self, request: int) -> bool:
        return request in self._found

    def __getitem__(self, request: int) -> Job:
        job = self.get(request)
        if job is None:
            raise KeyError(request)
        return job

    def __setitem__(self, request: int, job: Job) -> None:
        self._found[request] = job

    def get(self, request: int) -> Job | None:
        """One request by itself, from now on; None where there is no such one."""
        found = self._found.get(request)
        if not isinstance(found, JobLot):
            return found
        job = self._found[request] = found.job(request)
        self.alone(found, request)
        if request in self._held:
            job.assigned, job.attempt, job.task = True, 1, found.task
            if request in found.begun:
                job.started, job.extra["slot"], job.extra["pid"] = found.begun.pop(request)
        return job

    def pop(self, request: int) -> Job:
        """Take one out that is here."""
        job = self[request]
        del self._found[request]
        return job

    def forget(self, request: int) -> None:
        """Take one out, if it is here."""
        self._found.pop(request, None)

    def runs(self) -> set[int]:
        """Their runs."""
        found = set(self._found.values())
        return {run for one in found for run in (one.runs if isinstance(one, JobLot) else (one.run,))}

    def values(self) -> list[Job]:
        """All of them, each by itself."""
        return [self[request] for request in self._found]

    def clear(self) -> None:
        """Forget all."""
        self._found.clear()

    # -- lots ------------------------------------------------------------------
    def put(self, lot: JobLot) -> None:
        """Add the requests of a lot."""
        self._found.update(dict.fromkeys(lot.ids, lot))

    def members(self, lot: JobLot) -> list[int]:
        """Requests of a lot that are not by themselves."""
        return [request for request in lot.ids if self._found.get(request) is lot]

    def known(self, requests: Iterable[int]) -> list[int]:
        """Those of some requests that are here."""
        return list(filter(self._found.__contains__, requests))

    def peek(self, request: int) -> Job | JobLot | None:
        """The job of a request, or the lot that it is in."""
        return self._found.get(request)

    def drop(self, requests: Iterable[int]) -> None:
        """Forget some that are here."""
        for request in requests:
            del self._found[request]

    def stretches(self, requests: Sequence[int]) -> list[tuple[Job | JobLot | None, int]]:
        """Of requests in any order what they are, and how many that follow each other are in the same lot."""
        found = list(map(self._found.get, requests))
        if found and found.count(found[0]) == len(found):
            return [(found[0], len(found))]
        return [(one, sum(1 for _ in group)) for one, group in groupby(found)]

    def move(self, party: int, older: int) -> None:
        """A party has gone into an older one."""
        lots = {lot for lot in set(self._found.values()) if isinstance(lot, JobLot) and party in lot.parties}
        for request, found in list(self._found.items()):
            job = found if isinstance(found, Job) else self[request] if found in lots else None
            if job is not None and job.party == party:
                job.party = older
