"""One call inside a worker: function, arguments, result, routes and what went wrong."""

from __future__ import annotations

import inspect
import operator
import os
import pickle
import traceback
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any

from ec_jupyter.errors import StoreDamagedError, TaskNotPicklableError
from ec_jupyter.nodes.code import Unmade, arrived
from ec_jupyter.nodes.current import SKIP, rebuilt
from ec_jupyter.nodes.surroundings import PLAIN, Place, Surroundings, opened
from ec_jupyter.nodes.values import dump, load, small
from ec_jupyter.nodes.worker.output import printable
from ec_jupyter.wire import Call, CallSpec, Fate, Packed, Value

TASKS_KEPT = 128  # how many functions a worker keeps; one that is needed again is asked for again
_loads = pickle.loads
_generation = 0  # how many forks lie between this process and the one that has loaded this
_OURS = tuple(
    folder + os.sep
    for folder in (os.path.dirname(os.path.dirname(__file__)), os.path.join(os.path.dirname(os.__file__), "asyncio"))
)

_IMPORTING = "<frozen importlib"

Steps = tuple[str | None, str | None, bool, str | None]
"""What is done with a result for a plug: condition, part, whether it is split, key."""

Rest = dict[str, Any]  # fields of an `Outcome` that a small result alone does not have
Told = tuple[Value | None, Rest | None]  # what a call came to: its value, and what else there is to say


def _after_fork() -> None:
    global _generation  # noqa: PLW0603 - to ask for the process's number takes as long as a small call
    _generation += 1


os.register_at_fork(after_in_child=_after_fork)


class InOrder:
    """A function that does not tell its arguments: `names` are passed by position, whatever it calls them."""

    def __init__(self, function: Callable[..., Any], names: Sequence[str]) -> None:
        self.function = function
        self.names = names

    def check(self, given: Sequence[str]) -> None:
        """Refuse to leave out an argument before one that is given. Raises TypeError: one is left out."""
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


def bound(arguments: Iterable[tuple[str, Any]], by_position: frozenset[str] | None) -> tuple[list[Any], dict[str, Any]]:
    """Arguments, in order, as a task takes them: those by position, and those by keyword."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, value in arguments:
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


class Tasks:
    """Functions by the hash of their pickle, each unpickled once."""

    def __init__(self, ask: Callable[[str], bytes], place: Place | None = None) -> None:
        self._ask = ask  # gets the pickle of a hash that is not here
        self.place = place  # the process they run in, where that is ours alone
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
        arrived(task.function)
        self._blobs.pop(sha256, None)
        while len(self._tasks) > TASKS_KEPT:
            self._tasks.popitem(last=False)
        return task


class Invocation:
    """Runs calls, one at a time."""

    def __init__(
        self, tasks: Tasks, folder: Path, epoch: int, sync: bool, emit: Callable[[int, int, Value], None]
    ) -> None:
        self._tasks = tasks  # where functions and conditions come from
        self._folder = folder  # the flow's `values` folder
        self._epoch = epoch  # the engine's; part of a value file's name
        self._sync = sync  # whether value files are synced to the disk
        self._emit = emit  # takes request, index and value of each yield
        self._generation = _generation
        self._files = 0
        self._spec: CallSpec | None = None
        self._task: Task
        self._names: list[str] | None = None

    def beside(self, emit: Callable[[int, int, Value], None]) -> Invocation:
        """One for calls that run beside each other."""
        return Invocation(self._tasks, self._folder, self._epoch, self._sync, emit)

    def around(self, call: Call) -> Surroundings:
        """What a call finds around it."""
        return self._load_task(call.spec.task, call).around

    def result(self, call: Call) -> Told:
        """Run a call; its value and what else there is to say of it. Whatever it raises, raises."""
        self._files = 0
        result = self._call(call)
        value = None if call.spec.routes else small(result)
        outcome = self._result(call, result) if value is None else (value, None)
        self._end_fork(0)
        return outcome

    def _end_fork(self, code: int) -> None:
        """End a child that a task has forked and that comes back here: its parent speaks for the call."""
        if _generation != self._generation:
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

    async def awaited(self, call: Call) -> Told:
        """As `result`, of a call of an ``async def``, for a loop that runs others meanwhile."""
        result = self._call(call)
        if type(result) is AsyncGeneratorType:
            return None, {"emitted": await self._awaited(self._async_yields(call, result))}
        if type(result) is CoroutineType:
            result = await self._awaited(result)
        # from here on no other call has its turn
        self._files = 0
        return self._given(call, result)

    def _result(self, call: Call, result: Any) -> Told:
        if type(result) is CoroutineType:
            result = _finished(self._awaited(result))
        return self._given(call, result)

    def _given(self, call: Call, result: Any) -> Told:
        kind = type(result)
        if kind is GeneratorType:
            return None, {"emitted": self._yields(call, result)}
        if kind is AsyncGeneratorType:
            return None, {"emitted": _finished(self._awaited(self._async_yields(call, result)))}
        if result is SKIP:
            return None, {"state": "skipped"}
        value = self._dump(result, call)
        if call.spec.routes:
            return value, self._routes(call, result)
        return value, None

    def failure(self, call: Call, error: BaseException, stopped: tuple[str, str] | None) -> Rest:
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
        return {"state": "failed", "error": facts, "exception": None if stopped else self._exception(call, error)}

    def _prepare(self, spec: CallSpec, call: Call) -> None:
        """Get the function of calls like this one, and the names of their arguments where each is given by name."""
        self._task = self._load_task(spec.task, call)
        by_keyword = spec.plain and self._task.by_position == frozenset()
        self._spec, self._names = spec, [name for name, _ in spec.shape] if by_keyword else None

    def _arguments(self, call: Call, names: list[str]) -> dict[str, Any]:
        values, arguments = iter(call.values), {}
        for name in names:
            value = next(values)
            try:
                arguments[name] = _loads(value) if value.__class__ is bytes else load(value, self._folder)  # type: ignore[arg-type]
            except Exception as error:
                raise _not_loaded(value, name, call, error) from error
        return arguments

    def _call(self, call: Call) -> Any:
        if call.spec is not self._spec:
            self._prepare(call.spec, call)
        task, place = self._task, self._tasks.place
        if place is not None:
            place.enter(task.around)
        if self._names is not None:
            return task.function(**self._arguments(call, self._names))
        if task.in_order is not None:
            task.in_order.check([name for name, _ in call.spec.shape])
        args, kwargs = self._bound(call, task.by_position)
        return task.function(*args, **kwargs)

    def _bound(self, call: Call, by_position: frozenset[str] | None) -> tuple[list[Any], dict[str, Any]]:
        given: list[tuple[str, Any]] = []
        at = 0
        counts = call.counts or [1] * len(call.spec.shape)
        for (name, kind), count in zip(call.spec.shape, counts, strict=True):
            given.append((name, self._argument(call, name, kind, call.values[at : at + count])))
            at += count
        return bound(given, by_position)

    def _argument(self, call: Call, name: str, kind: str, values: Any) -> Any:
        if kind == "v":
            return self._load(values[0], name, call)
        if kind == "l":
            return [self._load(value, name, call) for value in values]
        import json

        rest = iter(values[1:])
        return rebuilt(json.loads(self._plan(values[0])), lambda: self._load(next(rest), name, call))

    def _plan(self, value: Packed) -> bytes:
        return value if isinstance(value, bytes) else value.data or b""

    def _load(self, value: Packed, name: str, call: Call) -> Any:
        try:
            return _loads(value) if isinstance(value, bytes) else load(value, self._folder)
        except Exception as error:
            raise _not_loaded(value, name, call, error) from error

    def _load_task(self, sha256: str, call: Call) -> Task:
        try:
            return self._tasks.get(sha256)
        except Exception as error:
            raise TaskNotPicklableError(
                f"task of {call.spec.socket!r} cannot be unpickled: {type(error).__name__}: {error}"
            ) from error

    def _dump(self, obj: object, call: Call, what: str = "result") -> Value:
        self._end_fork(0)  # before it writes a file, or sends what a generator has yielded
        value = small(obj)
        if value is not None:
            return value
        name = f"{call.request}.{self._epoch}.{call.attempt}.{self._files}"
        value = dump(obj, self._folder, name, sync=self._sync, what=f"{what} of {call.spec.socket!r}")
        if value.file is not None:
            self._files += 1
        return value

    def _yields(self, call: Call, generator: Iterator[Any]) -> int:
        count = 0
        for item in generator:
            if count >= call.skip:
                self._emit(call.request, count, self._yielded(item, count, call))
            count += 1
        return count

    async def _async_yields(self, call: Call, generator: AsyncIterator[Any]) -> int:
        count = 0
        async for item in generator:
            if count >= call.skip:
                self._emit(call.request, count, self._yielded(item, count, call))
            count += 1
        return count

    def _yielded(self, item: object, index: int, call: Call) -> Value:
        # files named by index: a re-execution that skips a prefix makes the same names
        self._files = index
        return self._dump(item, call, f"yield {index}")

    def _routes(self, call: Call, result: Any) -> Rest:
        routed: dict[int, Fate] = {}
        named: dict[int, list[str]] = {}
        for plug, when, pick, spread, key in call.spec.routes:
            at = ["when"]
            try:
                routed[plug], keys = self._fate(call, result, (when, pick, spread, key), at)
            except Exception as error:
                raise RouteError(plug, at[0], error) from error
            if keys:
                named[plug] = keys
        return {"routed": routed, "keys": named}

    def _fate(self, call: Call, result: Any, steps: Steps, at: list[str]) -> tuple[Fate, list[str]]:
        """What a plug carries of a result, and the keys of that; `at` has the step at hand."""
        when, pick, spread, key = steps
        if when is not None and not self._tasks.get(when).function(result):
            return False, []
        at[0] = "pick"
        part = self._tasks.get(pick).function(result) if pick else result
        if part is SKIP:
            return False, []
        at[0] = "map"
        elements = list(part) if spread else [part]
        at[0] = "key"
        keys = [key_text(self._tasks.get(key).function(e)) for e in elements] if key else []
        at[0] = "map" if spread else "pick"
        if spread:
            return [self._dump(e, call, "element") for e in elements], keys
        return (self._dump(part, call, "part") if pick else True), keys

    def _exception(self, call: Call, error: BaseException) -> Value | None:
        """The pickled exception, where it survives the way there and back."""
        if not isinstance(error, Exception) or isinstance(error, RouteError):
            return None  # whoever loads a SystemExit or KeyboardInterrupt and raises it ends itself
        for form in (error, Unmade(error)):
            # the text tells it all; the object is an extra
            with suppress(Exception):  # the user's code
                value = self._dump(form, call, "exception")
                again = load(value, self._folder)
                if (type(again).__name__, _message(again)) == (type(error).__name__, _message(error)):
                    return value
        return None


def _not_loaded(value: Packed, name: str, call: Call, error: Exception) -> Exception:
    """What to raise where an argument cannot be loaded."""
    if isinstance(error, StoreDamagedError):
        file = value.file if isinstance(value, Value) else None
        return ValueLostError(f"argument {name!r} of {call.spec.socket!r} is lost: {error}", file or "")
    if isinstance(error, MemoryError):
        return MemoryError(f"argument {name!r} of {call.spec.socket!r}: {error}")
    text = f"argument {name!r} of {call.spec.socket!r} cannot be unpickled: {type(error).__name__}: {error}"
    return TaskNotPicklableError(text)


def key_text(key: object) -> str:
    """A key as text that equal keys share. Raises TypeError: it is no key."""
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


def _finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    # few tasks are coroutines: without this import a worker starts in an eighth less time
    import asyncio

    return asyncio.run(coroutine)


def _theirs(frames: TracebackType | None) -> TracebackType | None:
    """What is the user's of a traceback: not what calls a task, brings it modules or interrupts it."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    kept = []
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith((_OURS[0], _IMPORTING)):
            kept.append(frames)
        frames = frames.tb_next
    for one, after in zip(kept, [*kept[1:], None], strict=False):
        one.tb_next = after
    return kept[0] if kept else None


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001 - the user's code
        return f"<message cannot be shown: {type(another).__name__}>"


def _traceback(error: BaseException) -> str:
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = _theirs(one.__traceback__)
            todo += [other for other in (one.__cause__, one.__context__) if other is not None]
    try:
        return "".join(traceback.format_exception(error))
    except Exception as another:  # noqa: BLE001 - the user's code
        return f"{type(error).__name__} (its traceback cannot be shown: {type(another).__name__})\n"
