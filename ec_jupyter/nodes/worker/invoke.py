"""One call inside a worker: function, arguments, result, routes and what went wrong."""

from __future__ import annotations

import asyncio
import inspect
import operator
import os
import pickle
import traceback
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any

from ec_jupyter.errors import StoreDamagedError, TaskNotPicklableError
from ec_jupyter.nodes.batch import Job, Packed
from ec_jupyter.nodes.current import SKIP, rebuilt
from ec_jupyter.nodes.surroundings import PLAIN, Place, Surroundings, opened
from ec_jupyter.nodes.values import dump, load
from ec_jupyter.nodes.worker.output import printable
from ec_jupyter.wire import Value

TASKS_KEPT = 128
"""How many functions a worker keeps; one that is needed again is asked for again."""

_OURS = (os.path.dirname(os.path.dirname(__file__)) + os.sep, os.path.dirname(asyncio.__file__) + os.sep)

Fate = tuple[int, "bool | list[Value]", list[str]]
"""A plug, what it carries of a result, and the keys of that."""
Rest = dict[str, Any]
"""What of an outcome a plain inline result does not have; see `batch.Results`."""


class InOrder:
    """A function that does not tell its arguments: `names` are passed by position, whatever it calls them."""

    def __init__(self, function: Callable[..., Any], names: Sequence[str]) -> None:
        self.function = function
        self.names = names

    def check(self, given: Sequence[str]) -> None:
        """Refuse to leave out an argument before one that is given.

        Raises
        ------
        TypeError
            One is left out.
        """
        for name, wanted in zip(given, self.names, strict=False):
            if name != wanted:
                raise TypeError(f"{wanted!r} is missing before {name!r}: the arguments are passed by position")


class Task:
    """A function, and which of its arguments have to be passed by position."""

    def __init__(self, function: Callable[..., Any] | InOrder, around: Surroundings = PLAIN) -> None:
        self.around = around
        self.by_position: frozenset[str] | None = None
        self.in_order = function if isinstance(function, InOrder) else None
        if isinstance(function, InOrder):
            self.function = function.function
            return
        self.function = function
        self.by_position = frozenset()
        code = getattr(function, "__code__", None)
        if code is None or code.co_posonlyargcount:
            self.by_position = _by_position(function)


def _by_position(function: Callable[..., Any]) -> frozenset[str] | None:
    """Names of positional-only parameters; None where a built-in does not tell them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return frozenset(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)


class Tasks:
    """Functions by the hash of their pickle, each unpickled once.

    Parameters
    ----------
    ask : callable
        Gets the pickle of a hash that is not here.
    place : Place, optional
        The process they run in, where that is ours alone.
    """

    def __init__(self, ask: Callable[[str], bytes], place: Place | None = None) -> None:
        self._ask = ask
        self.place = place
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._tasks: OrderedDict[str, Task] = OrderedDict()

    def add(self, sha256: str, blob: bytes) -> None:
        """Keep a pickle until it is used."""
        self._blobs[sha256] = blob
        while len(self._blobs) > TASKS_KEPT:
            self._blobs.popitem(last=False)

    def get(self, sha256: str) -> Task:
        """The function."""
        task = self._tasks.get(sha256)
        if task is not None:
            self._tasks.move_to_end(sha256)
            return task
        blob = self._blobs.get(sha256)
        if blob is None:
            blob = self._ask(sha256)
        task = self._tasks[sha256] = Task(*opened(blob, self.place))
        self._blobs.pop(sha256, None)
        while len(self._tasks) > TASKS_KEPT:
            self._tasks.popitem(last=False)
        return task


class Invocation:
    """Runs calls, one at a time.

    Parameters
    ----------
    tasks : Tasks
        Where functions and conditions come from.
    folder : Path
        The flow's ``values`` folder.
    epoch : int
        The engine's; part of a value file's name.
    sync : bool
        Whether value files are synced to the disk.
    emit : callable
        Takes request, index and value of each yield.
    """

    def __init__(
        self, tasks: Tasks, folder: Path, epoch: int, sync: bool, emit: Callable[[int, int, Value], None]
    ) -> None:
        self._tasks = tasks
        self._folder = folder
        self._epoch = epoch
        self._sync = sync
        self._emit = emit
        self._pid = os.getpid()
        self._files = 0

    def result(self, job: Job) -> tuple[Value | None, Rest | None]:
        """Run a call; its value and what else there is to say of it. Whatever it raises, raises."""
        self._files = 0
        outcome = self._result(job)
        self._end_fork(0)
        return outcome

    def _end_fork(self, code: int) -> None:
        """End a child that a task has forked and that comes back here: its parent speaks for the call."""
        if os.getpid() != self._pid:
            os._exit(code)

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        # a fork ends here: its loop shares what it waits with with its parent's, and would close it
        try:
            result = await coroutine
        except BaseException:
            self._end_fork(1)
            raise
        self._end_fork(0)
        return result

    def _result(self, job: Job) -> tuple[Value | None, Rest | None]:
        result = self._call(job)
        kind = type(result)
        if kind is CoroutineType:
            result = asyncio.run(self._awaited(result))
            kind = type(result)
        if kind is GeneratorType:
            return None, {"emitted": self._yields(job, result)}
        if kind is AsyncGeneratorType:
            return None, {"emitted": asyncio.run(self._awaited(self._async_yields(job, result)))}
        if result is SKIP:
            return None, {"s": "skipped"}
        value = self._dump(result, job)
        if job.lot.routes:
            return value, {"r": self._routes(job, result)}
        return value, None

    def failure(self, job: Job, error: BaseException, stopped: tuple[str, str] | None) -> Rest:
        """What to say of a call that raised; `stopped`: the kind and message it was stopped with."""
        self._end_fork(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
        source = error.error if isinstance(error, RouteError) else error
        facts: Rest = {"type": type(source).__name__, "message": printable(_message(source)), "kind": "task"}
        if stopped is not None:
            facts.update(type=STOPPED[stopped[0]], message=stopped[1], kind=stopped[0])
        elif isinstance(error, TaskNotPicklableError):
            facts["kind"] = "unpicklable"
        elif isinstance(error, ValueLostError):
            facts |= {"kind": "lost", "lost": error.file}
        if isinstance(error, RouteError):
            facts |= {"plug": error.plug, "step": error.step}
        facts["traceback"] = printable(_traceback(source))
        return {"s": "failed", "error": facts, "e": None if stopped else self._exception(job, error)}

    def _call(self, job: Job) -> Any:
        task = self._load_task(job.lot.task, job)
        if self._tasks.place is not None:
            self._tasks.place.enter(task.around)
        lot = job.lot
        if lot.plain and job.counts is None and not task.by_position and task.by_position is not None:
            arguments = {}
            for (name, _), value in zip(lot.shape, job.values, strict=True):
                arguments[name] = self._load(value, name, job)
            return task.function(**arguments)
        if task.in_order is not None:
            task.in_order.check([name for name, _ in lot.shape])
        args, kwargs = self._bound(job, task.by_position)
        return task.function(*args, **kwargs)

    def _bound(self, job: Job, by_position: frozenset[str] | None) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        at = 0
        counts = job.counts or [1] * len(job.lot.shape)
        for (name, kind), count in zip(job.lot.shape, counts, strict=True):
            value = self._argument(job, name, kind, job.values[at : at + count])
            at += count
            if name.startswith("**"):
                kwargs.update(value)
            elif name.startswith("*"):
                # what came before it has been given by position
                args, kwargs = [*args, *kwargs.values(), *value], {}
            elif by_position is None or name in by_position:
                args.append(value)
            else:
                kwargs[name] = value
        return args, kwargs

    def _argument(self, job: Job, name: str, kind: str, values: Any) -> Any:
        if kind == "v":
            return self._load(values[0], name, job)
        if kind == "l":
            return [self._load(value, name, job) for value in values]
        import json

        rest = iter(values[1:])
        return rebuilt(json.loads(self._plan(values[0])), lambda: self._load(next(rest), name, job))

    def _plan(self, value: Packed) -> bytes:
        return value if isinstance(value, bytes) else value.data or b""

    def _load(self, value: Packed, name: str, job: Job) -> Any:
        try:
            return pickle.loads(value) if isinstance(value, bytes) else load(value, self._folder)
        except StoreDamagedError as error:
            file = value.file if isinstance(value, Value) else None
            raise ValueLostError(f"argument {name!r} of {job.lot.socket!r} is lost: {error}", file or "") from error
        except Exception as error:
            raise TaskNotPicklableError(
                f"argument {name!r} of {job.lot.socket!r} cannot be unpickled: {type(error).__name__}: {error}"
            ) from error

    def _load_task(self, sha256: str, job: Job) -> Task:
        try:
            return self._tasks.get(sha256)
        except Exception as error:
            raise TaskNotPicklableError(
                f"task of {job.lot.socket!r} cannot be unpickled: {type(error).__name__}: {error}"
            ) from error

    def _dump(self, obj: object, job: Job, what: str = "result") -> Value:
        self._end_fork(0)  # before it writes a file
        name = f"{job.request}.{self._epoch}.{job.attempt}.{self._files}"
        value = dump(obj, self._folder, name, sync=self._sync, what=f"{what} of {job.lot.socket!r}")
        if value.file is not None:
            self._files += 1
        return value

    def _yields(self, job: Job, generator: Iterator[Any]) -> int:
        count = 0
        for item in generator:
            if count >= job.skip:
                self._emit(job.request, count, self._yielded(item, count, job))
            count += 1
        return count

    async def _async_yields(self, job: Job, generator: AsyncIterator[Any]) -> int:
        count = 0
        async for item in generator:
            if count >= job.skip:
                self._emit(job.request, count, self._yielded(item, count, job))
            count += 1
        return count

    def _yielded(self, item: object, index: int, job: Job) -> Value:
        # files named by index: a re-execution that skips a prefix makes the same names
        self._files = index
        return self._dump(item, job, f"yield {index}")

    def _routes(self, job: Job, result: Any) -> list[Fate]:
        fates: list[Fate] = []
        for plug, when, spread, key in job.lot.routes:
            step = "when"
            try:
                met = when is None or bool(self._tasks.get(when).function(result))
                step = "map"
                elements = list(result) if met and spread else [result]
                step = "key"
                keys = [key_text(self._tasks.get(key).function(e)) for e in elements] if met and key else []
                step = "map"
                carried = [self._dump(e, job, "element") for e in elements] if met and spread else met
            except Exception as error:
                raise RouteError(plug, step, error) from error
            fates.append((plug, carried, keys))
        return fates

    def _exception(self, job: Job, error: BaseException) -> Value | None:
        """The pickled exception, where it survives the way there and back."""
        if not isinstance(error, Exception) or isinstance(error, RouteError):
            return None  # whoever loads a SystemExit or KeyboardInterrupt and raises it ends itself
        try:
            value = self._dump(error, job, "exception")
            again = load(value, self._folder)
        except Exception:  # noqa: BLE001 - the user's code
            return None  # the text tells it all; the object is an extra
        return value if type(again).__name__ == type(error).__name__ else None


def key_text(key: object) -> str:
    """A key as text that equal keys share.

    Raises
    ------
    TypeError
        It is no key.
    """
    if key is None or isinstance(key, bool):
        return repr(key)
    if isinstance(key, str):
        return repr(str(key))
    if isinstance(key, bytes):
        return repr(bytes(key))
    if isinstance(key, tuple):
        return f"({''.join(f'{key_text(part)},' for part in key)})"
    try:
        return repr(operator.index(key))  # type: ignore[arg-type]
    except TypeError:
        name = type(key).__name__
        raise TypeError(f"a key is a str, int, bytes, bool, None or a tuple of these, not {name}") from None


class ValueLostError(StoreDamagedError):
    """The file of an argument is gone or cut short; `file` is its name."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self.file = file


class RouteError(Exception):
    """A plug's condition, split or key raised; `plug` says which plug, `step` what of it."""

    def __init__(self, plug: int, step: str, error: BaseException) -> None:
        super().__init__(plug, step, error)
        self.plug, self.step = plug, step
        self.error = error


STOPPED = {"timeout": "RequestTimeoutError", "cancelled": "RequestCancelledError", "memory": "MemoryLimitError"}
"""The error a call fails with, by the kind it was stopped with."""


def _cut_end(frames: TracebackType | None) -> None:
    """Cut what is ours at the end: where the interrupt of a call was raised."""
    last = None
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_OURS[0]):
            last = frames
        frames = frames.tb_next
    if last is not None:
        last.tb_next = None


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001 - the user's code
        return f"<message cannot be shown: {type(another).__name__}>"


def _traceback(error: BaseException) -> str:
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    _cut_end(frames)
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception as another:  # noqa: BLE001 - the user's code
        return f"{type(error).__name__} (its traceback cannot be shown: {type(another).__name__})\n"
