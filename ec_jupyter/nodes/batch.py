"""Many calls in one frame, and many results in one frame: headers in columns, values as buffers.

Neighbours of one task, socket and shape share a *lot*, so that a batch of trivial calls costs a
few small integers each. Inline values travel as buffers, the others as file names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ec_jupyter.nodes.durations import SHORT_SECONDS, Durations
from ec_jupyter.wire import Block, Buffer, Call, Header, Outcome, Value

BATCH_CALLS = 256
BATCH_BYTES = 1 << 20

Packed = bytes | Value
"""An argument's value as a worker gets it: the inline pickle itself, or a value in a file."""


@dataclass
class Lot:
    """What calls of one batch have in common."""

    task: str
    socket: str
    shape: list[tuple[str, str]]
    routes: list[tuple[int, str | None, bool, str | None]]
    fresh: bool
    threads: int
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        # one value an argument, by keyword: nearly every call there is
        self.plain = all(kind == "v" and not name.startswith("*") for name, kind in self.shape)


@dataclass(slots=True)
class Job:
    """One call as a worker holds it; `counts` says how many values each argument has, None: one."""

    request: int
    attempt: int
    run: int
    skip: int
    lot: Lot
    values: Sequence[Packed]
    counts: Sequence[int] | None = None


def short(first: Call, queue: deque[Call], most: int, held: float, durations: Durations) -> list[Call]:
    """Calls off the head of a queue that may leave with `first`: all short, and together no long one.

    Parameters
    ----------
    first : Call
        A short one, taken already.
    queue : deque of Call
        What waits behind it.
    most : int
        How many more.
    held : float
        CPUs that its slot has.
    durations : Durations
        What is known of the tasks.
    """
    task, seconds = first.task, durations.get(first.task)
    left, size = SHORT_SECONDS - (seconds or 0.0), inline_bytes(first)
    calls: list[Call] = []
    while queue and len(calls) < most and seconds is not None:
        call = queue[0]
        if call.task != task:
            task, seconds = call.task, durations.get(call.task)
            if seconds is None:
                break
        left -= seconds
        size += inline_bytes(call)
        if call.once or call.fresh or left < 0 or size > BATCH_BYTES or call.threads > held:
            break
        calls.append(queue.popleft())
    return calls


def pack_calls(calls: Sequence[Call], sources: dict[str, str]) -> tuple[Header, list[Buffer]]:
    """The ``run`` frame of these calls.

    Parameters
    ----------
    calls : sequence of Call
        In the order they are to run.
    sources : dict
        Sources by file name that the worker has already; those sent now are added.
    """
    lots: list[dict[str, Any]] = []
    buffers: list[Buffer] = []
    before: Call | None = None
    for call in calls:
        if before is None or not _alike(before, call):
            lots.append(_lot(call, sources))
        before = call
        lot = lots[-1]
        lot["n"].append(call.request)
        lot["a"].append(call.attempt)
        lot["r"].append(call.run)
        if call.skip:
            lot["k"].append([len(lot["n"]) - 1, call.skip])
        for _, kind, values in call.arguments:
            if kind != "v":
                lot["c"].append(len(values))
            for value in values:
                if value.file is None:
                    buffers.append(value.data or b"")
                else:
                    lot["f"].append([lot["m"], value.head()])
                lot["m"] += 1
    return {"k": "run", "g": lots}, buffers


def _alike(one: Call, two: Call) -> bool:
    return (
        one.task == two.task
        and one.socket == two.socket
        and one.fresh == two.fresh
        and one.threads == two.threads
        and one.routes == two.routes
        and one.source == two.source
        and len(one.arguments) == len(two.arguments)
        and all(a[0] == b[0] and a[1] == b[1] for a, b in zip(one.arguments, two.arguments, strict=True))
    )


def _lot(call: Call, sources: dict[str, str]) -> dict[str, Any]:
    lot: dict[str, Any] = {"task": call.task, "socket": call.socket, "fresh": call.fresh, "routes": call.routes}
    lot["threads"] = call.threads
    lot["shape"] = [(name, kind) for name, kind, _ in call.arguments]
    # request, attempt, run; skips, counts of values and files, all sparse; m: how many values
    lot.update(n=[], a=[], r=[], k=[], c=[], f=[], m=0)
    if call.source is not None and sources.get(call.source[0]) != call.source[1]:
        sources[call.source[0]] = call.source[1]
        lot["source"] = call.source
    return lot


def inline_bytes(call: Call) -> int:
    """Bytes of a call's arguments that travel in its frame."""
    return sum(len(value.data) for _, _, values in call.arguments for value in values if value.data is not None)


def unpack_calls(header: Header, buffers: list[bytes]) -> Iterator[Job]:
    """The calls of a ``run`` frame."""
    at = 0
    for g in header["g"]:
        inline = g["m"] - len(g["f"])
        values: list[Packed] = list(buffers[at : at + inline])
        at += inline
        for index, head in g["f"]:  # ascending, so that each index counts what went before it
            values.insert(index, Value.of(head, ()))
        routes = [(plug, when, spread, key) for plug, when, spread, key in g["routes"]]
        lot = Lot(g["task"], g["socket"], [(n, k) for n, k in g["shape"]], routes, g["fresh"], g["threads"])
        yield from _jobs(g, lot, values)


def _jobs(g: dict[str, Any], lot: Lot, values: list[Packed]) -> Iterator[Job]:
    skips = dict(g["k"])
    counts = iter(g["c"])
    width = len(lot.shape)
    at = 0
    for i, (request, attempt, run) in enumerate(zip(g["n"], g["a"], g["r"], strict=True)):
        each = None if lot.plain else [1 if kind == "v" else next(counts) for _, kind in lot.shape]
        end = at + (width if each is None else sum(each))
        yield Job(request, attempt, run, skips.get(i, 0), lot, values[at:end], each)
        at = end


class Results:
    """What a worker has finished and not sent yet: the columns of a ``done`` frame."""

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self._columns: Header = {}
        self._buffers: list[Buffer] = []

    def add(self, request: int, began: float, seconds: float, value: Value | None, rest: dict[str, Any] | None) -> None:
        """Add one outcome; `rest` holds what a plain inline result does not have (see `Outcome`)."""
        if not self.count:
            self._columns = {"k": "done", "n": [], "o": began, "t": [], "d": [], "y": [], "x": {}}
        columns = self._columns
        columns["n"].append(request)
        # microseconds since the first one began: integers are cheap to write down
        columns["t"].append(int((began - columns["o"]) * 1e6))
        columns["d"].append(int(seconds * 1e6))
        if rest is None and value is not None and value.data is not None:
            columns["y"].append(value.type)
            self._buffers.append(value.data)
            self.bytes += value.size
        else:
            columns["y"].append(None)
            columns["x"][str(self.count)] = self._rest(value, rest or {})
        self.count += 1

    def take(self) -> tuple[Header, list[Buffer]]:
        """The frame; nothing is left here."""
        columns, buffers = self._columns, self._buffers
        if len(set(columns["y"])) == 1:
            columns["y"] = columns["y"][0]
        self.count = self.bytes = 0
        self._columns, self._buffers = {}, []
        return columns, buffers

    def _rest(self, value: Value | None, rest: dict[str, Any]) -> dict[str, Any]:
        rest["v"] = self._value(value)
        rest["e"] = self._value(rest.get("e"))
        if "r" in rest:
            rest["r"] = [
                [plug, fate if isinstance(fate, bool) else [self._value(v) for v in fate], keys]
                for plug, fate, keys in rest["r"]
            ]
        return rest

    def _value(self, value: Value | None) -> list[Any] | None:
        if value is None:
            return None
        if value.data is not None:
            self._buffers.append(value.data)
            self.bytes += value.size
        return value.head()


def unpack_block(header: Header, buffers: list[bytes], attempts: dict[int, int]) -> Block | None:
    """The results of a ``done`` frame; None where it has anything but plain ones of requests in `attempts`."""
    requests, origin = header["n"], header["o"]
    if header["x"] or len(attempts) != len(requests):
        return None
    types = header["y"] if isinstance(header["y"], list) else [header["y"]]
    started = [origin + offset / 1e6 for offset in header["t"]]
    return Block(requests, [attempts[n] for n in requests], buffers, types, started, [d / 1e6 for d in header["d"]])


def unpack_results(header: Header, buffers: list[bytes], attempts: dict[int, int]) -> list[Outcome]:
    """The outcomes of a ``done`` frame; those of requests not in `attempts` are left out."""
    requests = header["n"]
    kinds = header["y"]
    if not isinstance(kinds, list):
        kinds = [kinds] * len(requests)
    origin, extra = header["o"], header["x"]
    rest = iter(buffers)
    outcomes = []
    columns = zip(requests, header["t"], header["d"], kinds, strict=True)
    for i, (request, offset, micros, kind) in enumerate(columns):
        attempt = attempts.get(request, -1)
        if kind is not None:
            data = next(rest)
            outcome = Outcome(request, attempt, "done", Value(data, None, len(data), kind))
        else:
            outcome = _odd(request, attempt, extra[str(i)], rest)
        outcome.started = origin + offset / 1e6
        outcome.seconds = micros / 1e6
        if attempt >= 0:
            outcomes.append(outcome)
    return outcomes


def _odd(request: int, attempt: int, rest: dict[str, Any], buffers: Iterator[bytes]) -> Outcome:
    outcome = Outcome(request, attempt, rest.get("s", "done"))
    if rest["v"] is not None:
        outcome.value = Value.of(rest["v"], buffers)
    if rest["e"] is not None:
        outcome.exception = Value.of(rest["e"], buffers)
    for plug, fate, keys in rest.get("r", ()):
        outcome.routed[plug] = fate if isinstance(fate, bool) else [Value.of(head, buffers) for head in fate]
        if keys:
            outcome.keys[plug] = keys
    outcome.error = rest.get("error")
    outcome.emitted = rest.get("emitted")
    return outcome
