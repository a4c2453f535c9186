"""Frozen records of a flow's topology: what the tables hold and what decisions read."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import asdict, dataclass, field, replace
from typing import Any

LOCAL = "local"
"""Name of the node that is this machine."""

REUSED = "cache"
"""Where calls ran whose result was there already: the name of no node."""

MAIN = "main"
"""Name of the processor that is always there."""

POSITIONAL = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")
"""Kinds of parameters that take a value by position."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a task, as its signature has it."""

    name: str
    kind: str  # name of the `inspect.Parameter` kind
    required: bool
    default: str | None = None  # text of the default, for display
    annotation: str | None = None  # text of the annotation, for display

    @property
    def pluggable(self) -> bool:
        """Whether a plug may feed it: ``*args`` and ``**kwargs`` stand for no single argument."""
        return not self.kind.startswith("VAR_")


@dataclass(frozen=True, slots=True)
class Task:
    """One version of a socket's function."""

    id: int  # row of this version
    socket: int
    version: int  # 1, 2, 3... within the socket
    identity: str  # hash of what the function is (its AST, defaults and captured values)
    sha256: str  # name of the blob that holds the pickled function
    # source, file: text of the function and the file name its code carries
    source: str
    file: str
    signature: tuple[Parameter, ...]  # its arguments in order
    captured: tuple[str, ...] = ()  # global names it took along
    generator: bool = False
    client: str = ""  # who registered it
    python: str = ""  # minor version of Python it was pickled under
    # how it is written down again (`notebook.written`); empty for one that an earlier version registered
    written: dict[str, Any] = field(default_factory=dict, compare=False)
    # of a task that asks a person instead of being run: the `prompt`, and the `choices` (None: any answer)
    ask: dict[str, Any] = field(default_factory=dict, compare=False)
    # the parts that its result is known to have, by name, with the text of their types; empty: nothing is known
    outputs: dict[str, str] = field(default_factory=dict, compare=False)
    coroutine: bool = field(default=False, compare=False)  # it is an `async def`

    def parameter(self, name: str) -> Parameter | None:
        """The argument of that name."""
        return next((p for p in self.signature if p.name == name), None)

    @property
    def arguments(self) -> list[str]:
        """Names that a plug or a submit may give."""
        return [p.name for p in self.signature if p.pluggable]

    def lacking(self, given: Container[str]) -> list[str]:
        """Names of arguments that have no default and are not among some that have a value."""
        return [p.name for p in self.signature if p.pluggable and p.required and p.name not in given]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value set in the wiring: row of the value, its type, its text, and how it is written down again."""

    value: int
    type: str
    text: str
    written: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """A plug's `when` or `pick`, or a socket's `key`: hash of the pickle, its text, how it is written down again."""

    sha256: str
    text: str
    written: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Socket:
    """An address with a durable queue."""

    id: int  # identity that survives renaming
    name: str  # what people call it
    processor: str  # whose CPUs run its calls
    task: int  # row of the current task version
    threads: float = 1  # CPUs one call takes; less than 1: its part of one
    retries: int = 0  # how often a call that raised is tried again
    backoff: float = 1.0  # seconds before the first retry; doubled for each further one
    timeout: float | None = None  # seconds a call may run
    once: bool = False  # fail a call whose worker died instead of running it again
    fresh: bool = False  # run each call in a process in which no other call has run
    memory: int | None = None  # bytes the worker may hold while a call of it runs
    # paused, parked: nothing of it starts; it was removed while requests waited
    paused: bool = False
    parked: bool = False
    position: tuple[float, float] | None = None  # place in the picture
    fixed: dict[str, Fixed] = field(default_factory=dict)  # values set in the wiring
    stale: tuple[str, ...] = ()  # captured names that were rebound since the task was registered
    join: str = "run"  # how arrivals find each other: "run", "zip", "latest" or "key"
    on: tuple[str, ...] = ()  # with "latest": arguments whose arrivals make calls; all of them if empty
    hold: tuple[str, ...] = ()  # arguments whose newest value serves every later call
    wait: float | None = None  # seconds a value may wait for company
    key: Condition | None = None  # with "key": what gives the key of a value
    priority: int = 0  # of what waits for a CPU, calls of a higher one start first
    rate: str | None = None  # how often a call may start, such as "10/s"
    cache: str | None = None  # which results are kept to be used again: "always", "shared", "600s" or "1000B"
    limit: int | None = None  # how many calls and waiting values it holds before it is full
    full: str = "block"  # what a full one does: "block", "error" or "drop-oldest"
    callback: str | None = None  # an address that is told of the end of each request
    keep: str | None = None  # how long ended runs stay that begin here: "forever", "600s" or how many of them, "100"
    concurrent: int = 1  # so many calls run at once in one worker, on one event loop, and take `threads` CPUs together
    group: str | None = None  # of the sockets with the same one, which a picture folds to one card

    @property
    def share(self) -> float:
        """CPUs that one of its calls takes where as many as may overlap do."""
        return self.threads if self.concurrent == 1 else self.threads / self.concurrent

    def workers(self, calls: int) -> int:
        """How many workers run so many of its calls."""
        return -(-calls // self.concurrent)


FUNCTIONS = ("when", "pick")
"""Fields of a plug that are functions of the result, which workers evaluate."""


@dataclass(frozen=True, slots=True)
class Plug:
    """What feeds a source socket's results, or failures, to one argument of a target."""

    id: int
    source: int
    target: int
    argument: str  # name of the target's argument
    on: str = "result"  # "result" or "error"
    map: bool = False  # one arrival per element of the result
    gather: bool | str = False  # the elements of one split become one list; "done" does not wait for failed ones
    when: Condition | None = None  # feeds only where this holds
    # how many calls in a row may lead to one of the cycles that it is part of; None: `flow.topology.MOST_HOPS`
    hops: int | None = None
    pick: Condition | None = None  # the part of the result that it feeds; None: all of it

    @property
    def steps(self) -> dict[str, str]:
        """What a worker does for it, in order, as a person writes it."""
        functions = {word: f"{word}={one.text}" for word, one in (("when", self.when), ("pick", self.pick)) if one}
        return functions | ({"map": "map=True"} if self.map else {})


@dataclass(frozen=True, slots=True)
class Processor:
    """A CPU limit shared by sockets."""

    name: str  # what people call it
    # how many CPUs' worth of calls may run; None is all of the node's. Where it is on several nodes, None
    cpus: int | None = None
    memory: int | None = None  # bytes a worker of it may hold
    affinity: tuple[int, ...] | None = None  # CPUs its workers are bound to; None decides by itself
    paused: bool = False  # nothing of it starts
    # where its calls run, if not on the local node alone. Of several nodes each has a limit of its own, None being all
    # of the node's CPUs; of one, `cpus` is the limit
    nodes: dict[str, int | None] = field(default_factory=dict)
    weight: float = 1.0  # its share of the turns where more processors have something to do than a node has CPUs


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that lends CPUs, past the local one."""

    name: str  # what people call it
    host: str  # what `ssh` is told: `user@host`, or a name of its configuration
    cpus: int | None = None  # CPUs it lends; None is all it has
    python: str = "python3"  # the interpreter there
    ssh: tuple[str, ...] = ("ssh",)  # the client's command
    ask: bool = False  # a passphrase may be asked for
    lease: float = 600.0  # seconds that what runs there goes on without an engine
    requirements: tuple[str, ...] = ()  # packages its tasks need, as pip writes them
    kind: str = "ssh"  # `ssh`, or `dask`: then the host is the address of a Dask scheduler
    tls: tuple[str, ...] = ()  # files that scheduler wants to see: of the authority, the certificate and its key


@dataclass(frozen=True, slots=True)
class Note:
    """A text on the canvas, beside the cards."""

    id: int
    text: str  # what it says; a plain text wherever it is shown
    place: tuple[float, float]  # x and y of its upper left corner


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a socket is called by itself."""

    id: int
    name: str  # what people call it
    socket: int  # which is called, without arguments
    every: float | None = None  # seconds from one tick to the next
    cron: str | None = None  # or when it ticks, as cron writes it
    zone: str | None = None  # time zone of that; None is this machine's
    missed: str = "once"  # what becomes of ticks in whose time no engine ran: `once`, `all` or `skip`
    since: float = 0.0  # wall clock at which it was declared so
    paused: bool = False  # it does not tick


Record = Socket | Plug | Processor | Task | Node | Note | Schedule
KINDS: dict[str, type[Any]] = {
    "socket": Socket, "plug": Plug, "processor": Processor, "task": Task, "node": Node, "note": Note,
    "schedule": Schedule,
}  # fmt: skip


def to_json(record: Record) -> dict[str, Any]:
    """A record as JSON can hold it."""
    return asdict(record)


def from_json(kind: str, data: dict[str, Any]) -> Any:
    """The record `to_json` wrote down; `kind` is a key of `KINDS`."""
    record = KINDS[kind](**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
    if isinstance(record, Socket):
        fixed = {k: Fixed(**v) if isinstance(v, dict) else v for k, v in record.fixed.items()}
        return replace(record, fixed=fixed, key=Condition(**record.key) if isinstance(record.key, dict) else record.key)
    if isinstance(record, Plug):
        when, pick = (Condition(**one) if isinstance(one, dict) else one for one in (record.when, record.pick))
        return replace(record, when=when, pick=pick)
    if isinstance(record, Task):
        return replace(record, signature=tuple(Parameter(**p) if isinstance(p, dict) else p for p in record.signature))
    return record
