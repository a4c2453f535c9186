"""Frozen records of a flow's topology: what the tables hold and what decisions read."""

from __future__ import annotations

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
    """One argument of a task, as its signature has it.

    Attributes
    ----------
    name : str
        Its name.
    kind : str
        Name of the `inspect.Parameter` kind.
    required : bool
        It has no default.
    default : str or None
        Text of the default, for display.
    annotation : str or None
        Text of the annotation, for display.
    """

    name: str
    kind: str
    required: bool
    default: str | None = None
    annotation: str | None = None

    @property
    def pluggable(self) -> bool:
        """Whether a plug may feed it: ``*args`` and ``**kwargs`` stand for no single argument."""
        return not self.kind.startswith("VAR_")


@dataclass(frozen=True, slots=True)
class Task:
    """One version of a socket's function.

    Attributes
    ----------
    id : int
        Row of this version.
    socket : int
        Its socket.
    version : int
        1, 2, 3... within the socket.
    identity : str
        Hash of what the function is (its AST, defaults and captured values).
    sha256 : str
        Name of the blob that holds the pickled function.
    source, file : str
        Text of the function and the file name its code carries.
    signature : tuple of Parameter
        Its arguments in order.
    captured : tuple of str
        Global names it took along.
    generator : bool
        It yields its values.
    client : str
        Who registered it.
    python : str
        Minor version of Python it was pickled under.
    written : dict
        How it is written down again (`notebook.written`); empty for one that an earlier version registered.
    ask : dict
        Of a task that asks a person instead of being run: the ``prompt``, and the ``choices`` (None: any answer).
    outputs : dict
        The parts that its result is known to have, by name, with the text of their types; empty: nothing is known.
    """

    id: int
    socket: int
    version: int
    identity: str
    sha256: str
    source: str
    file: str
    signature: tuple[Parameter, ...]
    captured: tuple[str, ...] = ()
    generator: bool = False
    client: str = ""
    python: str = ""
    written: dict[str, Any] = field(default_factory=dict, compare=False)
    ask: dict[str, Any] = field(default_factory=dict, compare=False)
    outputs: dict[str, str] = field(default_factory=dict, compare=False)

    def parameter(self, name: str) -> Parameter | None:
        """The argument of that name."""
        return next((p for p in self.signature if p.name == name), None)

    @property
    def arguments(self) -> list[str]:
        """Names that a plug or a submit may give."""
        return [p.name for p in self.signature if p.pluggable]


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
    """An address with a durable queue.

    Attributes
    ----------
    id : int
        Identity that survives renaming.
    name : str
        What people call it.
    processor : str
        Whose CPUs run its calls.
    task : int
        Row of the current task version.
    threads : int or float
        CPUs one call takes; less than 1: its part of one.
    retries : int
        How often a call that raised is tried again.
    backoff : float
        Seconds before the first retry; doubled for each further one.
    timeout : float or None
        Seconds a call may run.
    once : bool
        Fail a call whose worker died instead of running it again.
    fresh : bool
        Run each call in a process in which no other call has run.
    memory : int or None
        Bytes the worker may hold while a call of it runs.
    paused, parked : bool
        Nothing of it starts; it was removed while requests waited.
    position : tuple of float or None
        Place in the picture.
    fixed : dict of str to Fixed
        Values set in the wiring.
    stale : tuple of str
        Captured names that were rebound since the task was registered.
    join : str
        How arrivals find each other: ``"run"``, ``"zip"``, ``"latest"`` or ``"key"``.
    on : tuple of str
        With ``"latest"``: arguments whose arrivals make calls; all of them if empty.
    hold : tuple of str
        Arguments whose newest value serves every later call.
    wait : float or None
        Seconds a value may wait for company.
    key : Condition or None
        With ``"key"``: what gives the key of a value.
    priority : int
        Of what waits for a CPU, calls of a higher one start first.
    rate : str or None
        How often a call may start, such as ``"10/s"``.
    cache : str or None
        Which results are kept to be used again: ``"always"``, ``"shared"``, ``"600s"`` or ``"1000B"``.
    limit : int or None
        How many calls and waiting values it holds before it is full.
    full : str
        What a full one does: ``"block"``, ``"error"`` or ``"drop-oldest"``.
    callback : str or None
        An address that is told of the end of each request.
    """

    id: int
    name: str
    processor: str
    task: int
    threads: float = 1
    retries: int = 0
    backoff: float = 1.0
    timeout: float | None = None
    once: bool = False
    fresh: bool = False
    memory: int | None = None
    paused: bool = False
    parked: bool = False
    position: tuple[float, float] | None = None
    fixed: dict[str, Fixed] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    join: str = "run"
    on: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    wait: float | None = None
    key: Condition | None = None
    priority: int = 0
    rate: str | None = None
    cache: str | None = None
    limit: int | None = None
    full: str = "block"
    callback: str | None = None


FUNCTIONS = ("when", "pick")
"""Fields of a plug that are functions of the result, which workers evaluate."""


@dataclass(frozen=True, slots=True)
class Plug:
    """What feeds a source socket's results, or failures, to one argument of a target.

    Attributes
    ----------
    id : int
        Identity.
    source, target : int
        Sockets.
    argument : str
        Name of the target's argument.
    on : str
        ``"result"`` or ``"error"``.
    map : bool
        One arrival per element of the result.
    gather : bool or str
        The elements of one split become one list; ``"done"`` does not wait for failed ones.
    when : Condition or None
        Feeds only where this holds.
    hops : int or None
        How many calls in a row may lead to one of the cycles that it is part of; None: `flow.topology.MOST_HOPS`.
    pick : Condition or None
        The part of the result that it feeds; None: all of it.
    """

    id: int
    source: int
    target: int
    argument: str
    on: str = "result"
    map: bool = False
    gather: bool | str = False
    when: Condition | None = None
    hops: int | None = None
    pick: Condition | None = None


@dataclass(frozen=True, slots=True)
class Processor:
    """A CPU limit shared by sockets.

    Attributes
    ----------
    name : str
        What people call it.
    cpus : int or None
        How many CPUs' worth of calls may run; None is all of the node's. Where it is on several nodes, None.
    memory : int or None
        Bytes a worker of it may hold.
    affinity : tuple of int or None
        CPUs its workers are bound to; None decides by itself.
    paused : bool
        Nothing of it starts.
    nodes : dict of str to (int or None)
        Where its calls run, if not on the local node alone. Of several nodes each has a limit of its own, None
        being all of the node's CPUs; of one, `cpus` is the limit.
    weight : float
        Its share of the turns where more processors have something to do than a node has CPUs.
    """

    name: str
    cpus: int | None = None
    memory: int | None = None
    affinity: tuple[int, ...] | None = None
    paused: bool = False
    nodes: dict[str, int | None] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that lends CPUs, past the local one.

    Attributes
    ----------
    name : str
        What people call it.
    host : str
        What ``ssh`` is told: ``user@host``, or a name of its configuration.
    cpus : int or None
        CPUs it lends; None is all it has.
    python : str
        The interpreter there.
    ssh : tuple of str
        The client's command.
    ask : bool
        A passphrase may be asked for.
    lease : float
        Seconds that what runs there goes on without an engine.
    requirements : tuple of str
        Packages its tasks need, as pip writes them.
    kind : str
        ``ssh``, or ``dask``: then the host is the address of a Dask scheduler.
    tls : tuple of str
        Files that scheduler wants to see: of the authority, the certificate and its key.
    """

    name: str
    host: str
    cpus: int | None = None
    python: str = "python3"
    ssh: tuple[str, ...] = ("ssh",)
    ask: bool = False
    lease: float = 600.0
    requirements: tuple[str, ...] = ()
    kind: str = "ssh"
    tls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """A text on the canvas, beside the cards.

    Attributes
    ----------
    id : int
        Identity.
    text : str
        What it says; a plain text wherever it is shown.
    place : tuple of float
        x and y of its upper left corner.
    """

    id: int
    text: str
    place: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a socket is called by itself.

    Attributes
    ----------
    id : int
        Identity.
    name : str
        What people call it.
    socket : int
        Which is called, without arguments.
    every : float or None
        Seconds from one tick to the next.
    cron : str or None
        Or when it ticks, as cron writes it.
    zone : str or None
        Time zone of that; None is this machine's.
    missed : str
        What becomes of ticks in whose time no engine ran: ``once``, ``all`` or ``skip``.
    since : float
        Wall clock at which it was declared so.
    """

    id: int
    name: str
    socket: int
    every: float | None = None
    cron: str | None = None
    zone: str | None = None
    missed: str = "once"
    since: float = 0.0


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
