"""What a flow is made of, as a person sees it: each view reads the client's last topology."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ec_jupyter.client.texts import clock_text, cpus_text, plug_options, shown
from ec_jupyter.errors import ProcessorNotFoundError, SocketNotFoundError, WiringError
from ec_jupyter.notebook.nodes import LOCAL, Node, Worker
from ec_jupyter.notebook.parts import Named, Part
from ec_jupyter.notebook.tables import Table

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.request import Request


class SocketOptions(TypedDict, total=False):
    """Options of a socket; what is left out keeps its value, or takes the default.

    Attributes
    ----------
    processor : str
        Whose CPUs run its calls (``main``).
    cpus : int
        CPUs of that processor, where this makes it.
    threads : int or float
        CPUs one call takes (1); 0.5: two calls share one, each in a process of its own, down to 0.1.
    concurrent : int
        How many calls of an ``async def`` run at once in one worker, on one event loop, sharing its CPUs (1).
    retries : int
        How often a call that raised is tried again (0).
    backoff : float
        Seconds before the first retry, doubled for each further one (1).
    timeout : float or None
        Seconds a call may run, or a person may take to answer what it asks (no limit).
    once : bool
        Fail a call whose worker died instead of running it again (False).
    fresh : bool
        Run each call in a process of its own, in which no other call has run and none will; that takes 0.1 to
        0.3 s more, and the time its imports take (False).
    memory : int, str or None
        Bytes a worker may hold while a call runs (no limit), or a size such as ``"512 MiB"`` or ``"1GB"``.
    priority : int
        Of the calls that wait for a CPU of the processor, those of a higher priority start first, from -100 to 100
        (0). After fifteen that passed it, one of a lower priority has its turn.
    rate : str or None
        How often a call may start (no limit): ``"10/s"``, ``"90/m"``, ``"5/h"``, ``"1/30s"``; evenly, so that no more
        than ten start in any second. A retry counts, and so does what an engine before this one has started.
    cache : bool, str, float, timedelta or None
        Results that are used again, for calls with the same arguments of the same code (its values that it took along
        and its nodes' packages included): True, for so many seconds or ``"7d"``, up to a size such as ``"2 GB"``, or
        ``"shared"`` with all your flows. Of calls alike at the same time one runs, and the others wait for its result.
        False ends that. `Flow.clear_cache` forgets them.
    limit : int or None
        How many calls, queued and running, and values that wait for company it holds before it is full (no limit).
    full : str
        What a full one does. ``"block"`` (the default): a submit waits, and what feeds the socket starts no further
        calls, up the graph, until there is room. ``"error"``: a submit raises `QueueFullError`, and a call that plugs
        make fails with it. ``"drop-oldest"``: the call that is queued for longest is skipped, and the log says so;
        the newest stays, also where all that the socket may hold runs.
    callback : str or None
        An address, by http or https, that the engine tells of the end of each request by a POST: at least once, with
        a key (none).
    keep : str, int, timedelta or None
        Which of the ended runs that begin at this socket stay, in place of what `Flow.keep` says of time and number:
        those of a time (``"7d"``), so many of the newest (``100``), or all, ``"forever"``. False ends that.
    join : str
        How values find each other: by ``"run"`` (the default), ``"zip"`` (in order of arrival, whatever their
        runs) or ``"latest"`` (each arrival makes a call with the newest of the others).
    on : list of str
        With ``join="latest"``: the arguments whose arrivals make calls (all).
    hold : list of str
        Arguments whose newest value serves every later call.
    wait : float or None
        Seconds a value may wait for the others of its call, which then fails with `JoinExpiredError` (no limit).
    key : callable or str
        Values with equal keys make a call, whatever their runs: a function of the value, or an expression over
        ``value``; a key is a str, int, bytes, bool, None or a tuple of these.
    signature : str or inspect.Signature
        The arguments, such as ``"x, y=1"``, of a task that does not tell them: some of Python's own functions and
        types. Values are passed to it in this order.
    """

    processor: str
    cpus: int
    threads: float
    concurrent: int
    retries: int
    backoff: float
    timeout: float | None
    once: bool
    fresh: bool
    memory: int | str | None
    priority: int
    rate: str | None
    cache: bool | str | float | timedelta | None
    limit: int | None
    full: str
    callback: str | None
    keep: bool | str | int | timedelta | None
    join: str
    on: Sequence[str]
    hold: Sequence[str]
    wait: float | None
    key: str | Callable[[Any], Any]
    signature: str | inspect.Signature


# what a magic may say, and a socket tells of itself
SOCKET_WORDS = tuple(word for word in SocketOptions.__annotations__ if word != "signature")


class Argument:
    """A parameter of a task; has its own queue of arrivals.

    Attributes
    ----------
    name, kind : str
        Its name, and the name of its `inspect.Parameter` kind.
    required : bool
        It has no default.
    default, annotation : str or None
        Their text.
    task : Task
        Whose argument it is.
    """

    def __init__(self, task: Task, record: dict[str, Any]) -> None:
        self.task = task
        self.name: str = record["name"]
        self.kind: str = record["kind"]
        self.required: bool = record["required"]
        self.default: str | None = record.get("default")
        self.annotation: str | None = record.get("annotation")

    @property
    def fixed(self) -> str | None:
        """Text of the value fixed in the wiring."""
        return self.task.socket.fixed.get(self.name)

    @property
    def plugs(self) -> list[Plug]:
        """Plugs that feed it."""
        socket = self.task.socket
        return [p for p in socket.flow.plugs if (p.target, p.argument) == (socket.name, self.name)]

    def __repr__(self) -> str:
        annotation = f": {self.annotation}" if self.annotation else ""
        return self.name + annotation + (f" = {self.default}" if self.default is not None else "")


class Task:
    """The newest version of a socket's function.

    Parameters
    ----------
    socket : Socket
        Whose task it is.
    """

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    @property
    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = self.socket._record["task"]
        return record

    @property
    def version(self) -> int:
        """1, 2, 3..."""
        return int(self._record["version"])

    @property
    def source(self) -> str:
        """Text of the cell it came from."""
        return str(self._record.get("source", ""))

    @property
    def arguments(self) -> dict[str, Argument]:
        """Its arguments by name, in order."""
        return {record["name"]: Argument(self, record) for record in self._record["signature"]}

    @property
    def captured(self) -> list[str]:
        """Global names it took along when it was registered."""
        return list(self._record.get("captured", ()))

    @property
    def stale(self) -> list[str]:
        """Those of them that were bound anew since; running the cell again takes the new values."""
        return list(self._record.get("stale", ()))

    @property
    def client(self) -> str:
        """Notebook that registered it."""
        return str(self._record.get("client", ""))

    def __repr__(self) -> str:
        stale = f", stale: {', '.join(self.stale)}" if self.stale else ""
        return f"{self.socket.name}({', '.join(map(repr, self.arguments.values()))}) v{self.version}{stale}"


class _Pausable(Named):
    """What takes work, and may be kept from starting it."""

    flow: Flow

    @property
    def paused(self) -> bool:
        """Nothing of it starts."""
        return bool(self._record["paused"])

    def pause(self) -> None:
        """Go on accepting, start nothing."""
        self.flow.pause(cast("Socket | Processor", self))

    def resume(self) -> None:
        """Start again, in order."""
        self.flow.resume(cast("Socket | Processor", self))


class Socket(_Pausable):
    """An address with a durable queue and one task.

    Parameters
    ----------
    flow : Flow
        Where it is.
    name : str
        Its name.
    """

    _kind, _missing = "sockets", SocketNotFoundError

    @property
    def task(self) -> Task:
        """Its function, in the newest version."""
        return Task(self)

    @property
    def processor(self) -> Processor:
        """Whose CPUs run its calls."""
        return Processor(self.flow, self._record["processor"])

    @property
    def plugs(self) -> list[Plug]:
        """Plugs that come to it or leave it."""
        return [p for p in self.flow.plugs if self.name in (p.source, p.target)]

    @property
    def options(self) -> dict[str, Any]:
        """Its options as they are in force, under the words that declare them."""
        record = self._record
        key = (record.get("key") or {}).get("text")
        lists = {name: list(record[name]) for name in ("on", "hold")}
        cpus = self.flow._wiring["processors"][record["processor"]]["cpus"]
        return {name: record.get(name) for name in SOCKET_WORDS} | lists | {"key": key, "cpus": cpus}

    @property
    def fixed(self) -> dict[str, str]:
        """Text of the values fixed in the wiring, by argument."""
        return {name: value["text"] for name, value in self._record["fixed"].items()}

    @property
    def versions(self) -> Table:
        """Versions of its task, oldest first."""
        reply, _ = self.flow._client.ask("query", {"what": "versions", "socket": self.name})
        rows = sorted(reply["rows"], key=lambda row: row["version"])
        return Table([shown(row, created=clock_text) for row in rows], ["version", "created", "client", "python"])

    def requests(self, **given: Any) -> Table:
        """Its requests; as `Flow.requests`."""
        return self.flow.requests(self.name, **given)

    def waiting(self) -> Table:
        """What waits at its arguments; as `Flow.waiting`."""
        return self.flow.waiting(self.name)

    def submit(self, *values: Any, **arguments: Any) -> Request:
        """One call of it; as `Flow.submit`."""
        return self.flow.submit(self.name, *values, **arguments)

    def map(self, *iterables: Iterable[Any], partial: bool = False) -> list[Request]:
        """A call for each element; as `Flow.map`."""
        return self.flow.map(self.name, *iterables, partial=partial)

    def plug(self, target: str | Socket | Callable[..., Any], **options: Any) -> Plug:
        """Feed what it gives to `target`; as `Flow.plug`."""
        return self.flow.plug(self, target, **options)

    def fix(self, **arguments: Any) -> None:
        """Give arguments a value in the wiring; as `Flow.fix`."""
        self.flow.fix(self, **arguments)

    def unfix(self, *arguments: str) -> None:
        """Take fixed values away; as `Flow.unfix`."""
        self.flow.unfix(self, *arguments)

    @property
    def group(self) -> str | None:
        """The group that it is in; `Flow.group`."""
        name: str | None = self._record.get("group")
        return name

    def rename(self, to: str) -> Socket:
        """The same socket under another name; plugs and requests stay with it."""
        return self.flow.rename(self, to)

    def remove(self, *, force: bool = False) -> None:
        """Take it away; as `Flow.remove`."""
        self.flow.remove(self, force=force)

    def __repr__(self) -> str:
        record = self._known.get(self.name)
        if record is None:
            return f"<socket {self.name!r}, removed>"
        paused = ", paused" if record["paused"] else ""
        return f"<socket {self.task!r} on {record['processor']!r}{paused}>"


class Processor(_Pausable):
    """A CPU limit shared by sockets.

    Parameters
    ----------
    flow : Flow
        Where it is.
    name : str
        Its name.
    """

    _kind, _missing = "processors", ProcessorNotFoundError

    @property
    def cpus(self) -> int | None:
        """How many CPUs' worth of its calls may run; None is all of its node's. May be set, live, also by node.

        Of a processor on several nodes it is what they lend it together, None where one of them lends all it has.
        """
        cpus = [n for n in self.nodes.values() if n is not None]
        return sum(cpus) if len(cpus) == len(self.nodes) else None

    @cpus.setter
    def cpus(self, cpus: int | Mapping[str, int | None]) -> None:
        if isinstance(cpus, Mapping):
            self.flow.processor(self.name, nodes=cpus)
        else:
            self.flow.processor(self.name, cpus=cpus)

    @property
    def nodes(self) -> dict[str, int | None]:
        """Where its calls run, and how many CPUs' worth of them there; None is all of the node's. May be set, live."""
        record = self._record
        nodes: dict[str, int | None] = record.get("nodes") or {LOCAL: None}
        return nodes if len(nodes) > 1 else dict.fromkeys(nodes, record["cpus"])

    @nodes.setter
    def nodes(self, nodes: str | Iterable[str] | Mapping[str, int | None]) -> None:
        self.flow.processor(self.name, nodes=nodes)

    @property
    def memory(self) -> int | None:
        """Bytes a worker of it may hold. May be set."""
        memory: int | None = self._record.get("memory")
        return memory

    @memory.setter
    def memory(self, memory: int | str) -> None:
        self.flow.processor(self.name, memory=memory)

    @property
    def weight(self) -> float:
        """Its share of the turns where calls wait for CPUs. May be set."""
        return float(self._record.get("weight", 1.0))

    @weight.setter
    def weight(self, weight: float) -> None:
        self.flow.processor(self.name, weight=weight)

    @property
    def sockets(self) -> dict[str, Socket]:
        """Its sockets by name."""
        return {name: s for name, s in self.flow.sockets.items() if s._record["processor"] == self.name}

    @property
    def workers(self) -> list[Worker]:
        """Its pools: one on each agent."""
        return [Worker(Node(self.flow, name).agent, self) for name in self.nodes]

    def remove(self) -> None:
        """Take it away; it must have no socket."""
        self.flow.remove(self)

    def __repr__(self) -> str:
        record = self._known.get(self.name)
        if record is None:
            return f"<processor {self.name!r}, removed>"
        return f"<processor {self.name!r}: {cpus_text(record)}{', paused' if record['paused'] else ''}>"


class Plug(Part):
    """What carries a socket's results, or failures, to one argument of another.

    Attributes
    ----------
    source, target, argument : str
        From where to where.
    on : str
        ``"result"`` or ``"error"``.
    map : bool
        One arrival per element.
    gather : bool or str
        Elements become one list.
    when : str or None
        Text of its condition.
    hops : int or None
        How many calls in a row may lead to one of its cycle (None: 10,000).
    pick : str or None
        The part of the result that it carries; None: all of it.
    id : int or None
        Identity; None while the edit that makes it is not sent.
    """

    def __init__(self, flow: Flow, record: dict[str, Any]) -> None:
        self.flow: Flow = flow
        self.id: int | None = record.get("id")
        self.source: str = record["source"]
        self.target: str = record["target"]
        self.argument: str | None = record["argument"]
        self.on: str = record.get("on", "result")
        self.map: bool = record.get("map", False)
        self.gather: bool | str = record.get("gather", False)
        self.when: str | None = record.get("when")
        self.hops: int | None = record.get("hops")
        self.pick: str | None = record.get("pick")

    @classmethod
    def between(cls, flow: Flow, source: str, target: str, argument: str | None, on: str) -> Plug:
        """The plug in force between the two, or one that only says so while an edit collects."""
        ends = {"source": source, "target": target, "on": on}
        for record in reversed(flow._wiring["plugs"]):
            if all(record[key] == end for key, end in ends.items()) and argument in (None, record["argument"]):
                return cls(flow, record)
        return cls(flow, {**ends, "argument": argument})

    @property
    def label(self) -> str:
        """``source -> target.argument``."""
        return f"{self.source} -> {self.target}" + (f".{self.argument}" if self.argument else "")

    def unplug(self) -> None:
        """Take it away."""
        if self.argument is None:
            raise WiringError(f"plug {self.label!r} is part of an edit that is not sent yet")
        self.flow.unplug(self.source, self.target, argument=self.argument, on=self.on)

    def __repr__(self) -> str:
        return f"<plug {' '.join([self.label, *plug_options(vars(self))])}>"
