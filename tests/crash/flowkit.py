"""A flow from plain Python for tests: its engine is real, and ends with the test by the pid it gave."""

from __future__ import annotations

import hashlib
import inspect
import os
import select
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

from ec_jupyter.client.client import Client
from ec_jupyter.errors import EcError, EngineError
from ec_jupyter.notebook.unworked import Unworked
from ec_jupyter.wire import Value, unpacked

SECONDS = 60.0  # nothing here takes that long; a claim that is not true by then is false


def wait_until(claim: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """First true value of `claim`; fails after `seconds`."""
    tick, left = threading.Event(), seconds / 0.02
    while not (found := claim()):
        assert (left := left - 1) > 0, f"not so within {seconds} s"
        tick.wait(0.02)
    return found


def gone(pid: int, seconds: float = SECONDS) -> None:
    """Wait until a process has ended."""
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        ready, _, _ = select.select([fd], [], [], seconds)
        os.close(fd)
        assert ready, f"process {pid} has not ended within {seconds} s"


def kill(pid: int) -> None:
    """End a process at once, and wait for that; one that has ended is no error."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    gone(pid)


class Gate:
    """What tasks wait at until the test lets them pass: a named pipe, then a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._held: int | None = os.open(path, os.O_RDWR)

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> None:
        """Let all pass, those that come later too."""
        if self._held is not None:
            beside = self.path.with_suffix(".open")
            beside.touch()
            os.replace(beside, self.path)
            os.close(self._held)
            self._held = None


class Marks:
    """Lines that tasks leave, in the order in which they did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def __str__(self) -> str:
        return str(self.path)

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def reach(self, n: int) -> list[str]:
        """The lines once there are `n`."""
        return wait_until(lambda: len(self.lines) >= n and self.lines)


def mark(path: str, text: object) -> None:
    """Leave a line; for tasks."""
    with open(path, "a") as file:
        file.write(f"{text}\n")


def passing(path: str) -> None:
    """Wait at a gate; for tasks."""
    with open(path, "rb") as file:
        file.read()


def echo(x):
    """What it is given; for tasks."""
    return x


def hold(x, marks, gate):
    """Say that it runs, then wait at a gate; for tasks."""
    mark(marks, x)
    passing(gate)
    return x


class Flow:
    """A flow in a folder, through a plain client."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.options = {"linger": 5.0, "cpus": 2, **options}
        self.client = Client.open(folder, folder.name, **self.options)
        self.pids = {self.client.engine_pid}

    @property
    def engine(self) -> int:
        """Pid of the engine as the client knows it."""
        self.pids.add(self.client.engine_pid)
        return self.client.engine_pid

    # -- wiring ----------------------------------------------------------------
    def edit(self, *changes: dict[str, Any], blobs: Iterable[bytes] = ()) -> dict[str, Any]:
        return self.client.ask("edit", {"changes": list(changes)}, list(blobs))[0]

    def socket(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        key: Callable[..., Any] | None = None,
        **options: Any,
    ) -> str:
        change, blob = socket_change(function, name, **options)
        blobs = [blob]
        if key is not None:
            change["key"] = function_change(key, "key", blobs)
        self.edit(change, blobs=blobs)
        return change["name"]

    def plug(self, source: str, target: str, **options: Any) -> None:
        change, blobs = plug_change(source, target, **options)
        self.edit(change, blobs=blobs)

    def fix(self, target: str, value: Any) -> None:
        socket, _, argument = target.partition(".")
        data = self.client.dump(value).data
        assert data is not None
        change = {"op": "fix", "socket": socket, "argument": argument, "value": 0, "type": "", "text": repr(value)}
        self.edit(change, blobs=[data])

    def unplug(self, source: str, target: str) -> None:
        name, _, argument = target.partition(".")
        self.edit({"op": "unplug", "source": source, "target": name, "argument": argument or None})

    # -- requests --------------------------------------------------------------
    def values(self, arguments: dict[str, Any]) -> dict[str, Value]:
        return {name: self.client.dump(value) for name, value in arguments.items()}

    def submit(self, socket: str, key: str | None = None, /, **arguments: Any) -> int:
        return self.client.submit([(socket, self.values(arguments), key)])[0]

    def submit_some(self, socket: str, key: str | None = None, /, **arguments: Any) -> int:
        """A submit that says that the rest will come."""
        return self.client.submit([(socket, self.values(arguments), key)], partial=True)[0]

    def map(self, socket: str, rows: Iterable[dict[str, Any]], *, partial: bool = False) -> list[int]:
        return list(self.client.submit([(socket, self.values(row)) for row in rows], partial=partial))

    def row(self, request: int, seconds: float = SECONDS) -> dict[str, Any]:
        """How a request ended, once it has."""
        self.client.forget(request)
        return self.client.finished(request).result(seconds)

    def result(self, request: int, seconds: float = SECONDS) -> Any:
        row = self.row(request, seconds)
        assert row["state"] == "done", row.get("error", row)
        return self.client.load(row["value"])

    def requests(self, **query: Any) -> list[dict[str, Any]]:
        return unpacked(self.query("requests", limit=1_000_000, **query))

    def results(self, socket: str) -> list[Any]:
        """What the done requests of a socket came to, in order of acceptance."""
        rows = self.requests(socket=socket, state="done")
        return [self.result(row["id"]) for row in rows]

    def query(self, what: str, /, **query: Any) -> dict[str, Any]:
        return self.client.ask("query", {"what": what, **query})[0]

    def ask(self, kind: str, **header: Any) -> dict[str, Any]:
        return self.client.ask(kind, header)[0]

    def count(self, socket: str) -> dict[str, int]:
        """Requests of a socket by state, and how many values wait at it in all."""
        row = self.query("counts")["sockets"][socket]
        return row | {"arrived": sum(row["arrived"].values())}

    def waiting(self, socket: str) -> list[dict[str, Any]]:
        return self.query("waiting", socket=socket)["rows"]

    def state(self, request: int) -> str:
        return self.requests(ids=[request])[0]["state"]

    def supply(self, socket: str, run: int | None = None, /, **values: Any) -> None:
        kept = self.values(values)
        header = {"socket": socket, "values": {n: v.head() for n, v in kept.items()}}
        if run is not None:
            header["run"] = run
        self.client.ask("supply", header, [v.data for v in kept.values() if v.data is not None])

    def answer(self, request: int, said: Any, who: str = "anna") -> None:
        """Answer what a request asks: by a choice, or, given as a tuple of one, by a value."""
        if isinstance(said, tuple):
            value = self.client.dump(said[0])
            assert value.data is not None
            self.client.ask("respond", {"request": request, "value": value.head(), "who": who}, [value.data])
        else:
            self.ask("respond", request=request, choice=said, who=who)

    def drained(self, seconds: float = 120.0) -> dict[str, int]:
        return self.client.ask("drained", timeout=seconds)[0]

    # -- lives and deaths --------------------------------------------------------
    def kill_engine(self) -> None:
        """SIGKILL for the engine; the client finds another with its next question."""
        kill(self.engine)

    def reopen(self) -> None:
        """Another client, as a new kernel would."""
        self.client.close()
        self.client = Client.open(self.folder, self.folder.name, **self.options)
        self.pids.add(self.client.engine_pid)

    def restart(self) -> None:
        """Kill the engine, and let another start on the same folder."""
        self.kill_engine()
        self.reopen()

    def stop(self) -> None:
        """End the engine as a person does; all stays on disk."""
        pid = self.engine
        with suppress(EcError):
            self.ask("stop")
        gone(pid)
        self.client.close()

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        self.pids.add(self.client.engine_pid)
        self.client.close()
        for pid in self.pids:
            if engine_of(pid) == self.folder:
                kill(pid)

    def workers(self) -> list[psutil.Process]:
        """Processes that the engine has started."""
        return psutil.Process(self.engine).children(recursive=True)


def damaged(flow, *statements):
    """Stop the flow and change its database behind its back."""
    flow.drained()
    flow.stop()
    with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def engine_of(pid: int) -> Path | None:
    """The folder that an engine process runs; None for a process that is none, for pids come again."""
    with suppress(psutil.Error):
        command = psutil.Process(pid).cmdline()
        if "ec_jupyter.engine" in command:
            return Path(command[command.index("ec_jupyter.engine") + 1])
    return None


def socket_change(
    function: Callable[..., Any], name: str | None = None, **options: Any
) -> tuple[dict[str, Any], bytes]:
    """The edit that makes a socket, and its task's pickle."""
    blob = pickled(function)
    digest = hashlib.sha256(blob).hexdigest()
    signature = [
        {"name": p.name, "kind": p.kind.name, "required": p.default is p.empty and not p.kind.name.startswith("VAR_")}
        for p in inspect.signature(function).parameters.values()
    ]
    task = {
        "identity": digest, "sha256": digest, "source": "", "file": "", "signature": signature,
        "generator": inspect.isgeneratorfunction(function), "coroutine": inspect.iscoroutinefunction(function),
    }  # fmt: skip
    if isinstance(function, Unworked):
        task["ask"] = function.record
    return {"op": "socket", "name": name or function.__name__, "blob": 0, "task": task, **options}, blob


def plug_change(
    source: str,
    target: str,
    when: Callable[..., Any] | None = None,
    pick: Callable[..., Any] | None = None,
    **options: Any,
) -> tuple[dict[str, Any], list[bytes]]:
    """The edit that makes a plug, and the pickles of its functions."""
    name, _, argument = target.partition(".")
    change = {"op": "plug", "source": source, "target": name, "argument": argument or None, **options}
    blobs: list[bytes] = []
    for word, function in (("when", when), ("pick", pick)):
        if function is not None:
            change[word] = function_change(function, word, blobs)
    return change, blobs


def function_change(function: Callable[..., Any], text: str, blobs: list[bytes]) -> dict[str, Any]:
    """A function that an edit brings; its pickle becomes one of the blobs."""
    blob = pickled(function)
    blobs.append(blob)
    return {"sha256": hashlib.sha256(blob).hexdigest(), "text": text, "blob": len(blobs) - 1}


def pickled(function: Callable[..., Any]) -> bytes:
    """A function by value, with what this kit gives tasks: workers need not find the tests."""
    modules = {sys.modules[__name__], sys.modules.get(function.__module__)} - {None, sys.modules["ec_jupyter"]}
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(function)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


@contextmanager
def opened_flows(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    """Opens flows, in a folder of the test's own unless another is given; they end with the block."""
    flows: list[Flow] = []

    def make(folder: Path | None = None, **options: Any) -> Flow:
        folder = folder or tmp_path / "notebook" / ".ec_jupyter" / "main"
        folder.parent.mkdir(parents=True, exist_ok=True)
        flows.append(Flow(folder.resolve(), **options))
        return flows[-1]

    try:
        yield make
    finally:
        for flow in flows:
            flow.end()


def ask(flow, header, buffers=()):
    """The answer to a frame, or the text of what refuses it; an error of ours fails the test."""
    try:
        return flow.client.ask(header["k"], {k: v for k, v in header.items() if k != "k"}, list(buffers), timeout=20)[0]
    except TimeoutError:
        return "no answer yet"
    except EngineError as error:
        raise AssertionError(f"{header}: {error}") from error
    except EcError as error:
        return str(error)


def views(flow):
    """Every question about every request and socket; an error of ours would raise."""
    rows = flow.requests()
    for row in rows:
        for what in ("lineage", "arguments", "result", "attempts", "output"):
            flow.query(what, id=row["id"])
    for what in ("waiting", "counts", "tree"):
        flow.query(what)
    return {row["id"]: row["state"] for row in rows}


def facts(error):
    """What a task can read of a failure."""
    return {
        "type": error.type, "message": error.message, "socket": error.socket, "arguments": error.arguments,
        "attempt": error.attempt, "trace": "ValueError" in error.traceback, "request": error.request,
    }  # fmt: skip


def told(error):
    """What a failure is, with what its arguments are."""
    if isinstance(error, list):
        return [told(one) for one in error]
    if type(error).__name__ != "Failure":
        return error
    arguments = {name: told(one) for name, one in error.arguments.items()}
    return [type(error).__name__, error.socket, error.message, arguments]


def shown(error, told=told):
    """A task that gives back what a failure is."""
    return told(error)
