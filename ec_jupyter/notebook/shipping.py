"""A function from a cell as it travels: pickled by value under a name that is the same in every kernel.

That is the task of a socket, or a small function that workers evaluate on results: a plug's condition and part, a
socket's key.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import inspect
import io
import linecache
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from keyword import iskeyword
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import cloudpickle

from ec_jupyter.errors import DeclarationError, TaskNotPicklableError, WiringError
from ec_jupyter.nodes.code import ALIASES, Pickler
from ec_jupyter.nodes.current import Part
from ec_jupyter.nodes.surroundings import PLAIN, Surroundings
from ec_jupyter.nodes.worker.invoke import InOrder
from ec_jupyter.notebook.edits import Edit
from ec_jupyter.notebook.identity import MISSING, captured, enclosed, functions_of, global_names, identity
from ec_jupyter.notebook.modules import surroundings
from ec_jupyter.notebook.signatures import Given, outputs, signature, takes_names
from ec_jupyter.notebook.unworked import Unworked
from ec_jupyter.notebook.written import written

HEAVY_BYTES = 1_000_000  # a task that carries more than this from the notebook is worth a warning
_SOURCE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Shipment:
    """A task ready to travel."""

    # what the engine keeps: identity, hash, source, file, signature, captured names, generator, and how it is written
    # down again
    record: dict[str, Any]
    blob: bytes  # the pickled function
    captured: dict[str, Any]  # global names it takes along and the objects they stood for
    # modules of the person's own that it uses, each with a hash of what it is
    modules: dict[str, str] = field(default_factory=dict)
    given: Given = None  # its arguments as the person named them
    warnings: list[str] = field(default_factory=list)  # what the person should know about it


def ship(task: Callable[..., Any], name: str, given: Given = None, beside: Path | None = None) -> Shipment:
    """`task` as the engine takes it for the socket `name`.

    `given`: its arguments, where it does not tell them. `beside`: the folder in which all workers look for modules.
    Raises DeclarationError: it cannot be called, or its signature cannot be read; TaskNotPicklableError: something it
    takes along cannot travel; the text names it.
    """
    if not callable(task):
        raise DeclarationError(f"the task of socket {name!r} is of type {type(task).__name__}, which cannot be called")
    parameters = signature(task, name, given)
    taken = captured(task)
    by_name = given is None and takes_names(task)
    ordered = (p["name"] for p in parameters if not p["kind"].startswith("VAR_"))
    whole = task if by_name else InOrder(task, tuple(ordered))
    around = surroundings(task, beside)
    blob = pickled(whole, name, taken)
    if around != PLAIN:
        blob = pickle.dumps(around, protocol=5) + blob
    file, text = _source(task, name)
    record = {
        "identity": _identity(task, given, around), "sha256": sha256(blob), "source": text, "file": file,
        "signature": parameters, "captured": sorted(taken), "generator": is_generator(task),
        "coroutine": is_coroutine(task), "written": written(task), "ask": {},
        "outputs": {} if is_generator(task) else outputs(task),
    }  # fmt: skip
    if isinstance(task, Unworked):
        record |= {"ask": task.record, "source": f"ec.{task!r}"}
    return Shipment(record, blob, taken, dict(around.modules), given, list(_weight(task, name, blob, taken)))


def _identity(task: object, given: Given, around: Surroundings) -> str:
    extra = [*([] if given is None else [str(given)]), *([] if around == PLAIN else [astuple(around)])]
    return identity((task, *extra)) if extra else identity(task)


def sha256(blob: bytes) -> str:
    """Name under which the engine keeps a blob."""
    return hashlib.sha256(blob).hexdigest()


def is_generator(task: object) -> bool:
    """Whether a call of `task` yields its values one by one."""
    candidates = (task, vars(type(task)).get("__call__"))
    return any(inspect.isgeneratorfunction(c) or inspect.isasyncgenfunction(c) for c in candidates)


def is_coroutine(task: object) -> bool:
    """Whether `task` is an ``async def``, one that yields included."""
    candidates = (task, vars(type(task)).get("__call__"))
    return any(inspect.iscoroutinefunction(c) or inspect.isasyncgenfunction(c) for c in candidates)


def pickled(task: object, name: str, taken: dict[str, Any] | None = None) -> bytes:
    """The bytes of `task`, in which cells bear the stable name ``<socket NAME>``.

    `task`: function, class, callable instance, condition of a plug. `taken`: globals it takes along, to name the
    culprit. Raises TaskNotPicklableError: something in it cannot travel.
    """
    buffer = io.BytesIO()
    try:
        code = _code_of(task)
        # a real file keeps its name: its lines can be read where it is
        own = code.co_filename if code and _is_cell(code.co_filename) else ""
        _Shipper(buffer, own, f"<socket {name}>").dump(task)
    except Exception as error:
        # whatever a user's own __reduce__ raises; our text names the value that raised it
        raise TaskNotPicklableError(_culprit(task, name, captured(task) if taken is None else taken, error)) from error
    return buffer.getvalue()


class _Shipper(Pickler):
    """Pickles by value what other processes cannot import, with file names that no kernel's pid is part of."""

    def __init__(self, buffer: io.BytesIO, own: str, stable: str) -> None:
        self._names = {own: stable} if own else {}
        if own:
            _copy_lines(own, stable)
            ALIASES.setdefault(own, stable)
        super().__init__(buffer)

    def origin(self, code: CodeType) -> tuple[str, ...]:
        file = code.co_filename
        if file in self._names:
            return (self._names[file],)
        self._names[file] = file
        if not _is_cell(file):
            return (file,)
        # a cell is named after the first of its functions that travels; the engine knows the text of the task's only
        name = self._names[file] = ALIASES[file] = f"<cell of {code.co_name}>"
        _copy_lines(file, name)
        return name, _lines(name)


def _copy_lines(file: str, stable: str) -> None:
    """Let this kernel, too, find the text of what comes back under its stable name."""
    if stable != file and file in linecache.cache:
        linecache.cache[stable] = linecache.cache[file]


def _is_cell(file: str) -> bool:
    entry = linecache.cache.get(file)
    # a debugger writes cells to disk as well, but their entry has no time of modification
    return not os.path.exists(file) or (entry is not None and len(entry) > 1 and entry[1] is None)


def _code_of(task: Any) -> CodeType | None:
    """Code a person would call the task's own: under wrappers, inside classes."""
    task = task.function if isinstance(task, InOrder) else task
    while isinstance(task, (functools.partial, MethodType)):
        task = task.func if isinstance(task, functools.partial) else task.__func__
    task = inspect.unwrap(task) if callable(task) else task
    if isinstance(task, FunctionType):
        return task.__code__
    return next((function.__code__ for function in functions_of(task)), None)


def _source(task: object, name: str) -> tuple[str, str]:
    """File name the pickled code bears, and the whole text of it, so that line numbers hold."""
    code = _code_of(task)
    if code is None:
        return f"<socket {name}>", ""
    file = f"<socket {name}>" if _is_cell(code.co_filename) else code.co_filename
    return file, _lines(code.co_filename)


def _lines(file: str) -> str:
    """Text of a cell or file; empty where it is too much to travel."""
    text = "".join(linecache.getlines(file, sys.modules["__main__"].__dict__))
    return text if len(text) <= _SOURCE_BYTES else ""


def _culprit(task: object, name: str, taken: dict[str, Any], error: Exception) -> str:
    reason = str(error) or type(error).__name__
    for what, value in {**taken, **_enclosed(task)}.items():
        if what == "get_ipython":
            return f"task {name!r} has a line with ! or %, or calls get_ipython: IPython stays here; use subprocess"
        if value is not MISSING and _bytes_of(value) is None:
            return f"task {name!r} takes {what!r} along, which cannot travel: {reason}; make it inside the task"
    return f"task {name!r} cannot travel: {reason}"


def _enclosed(task: object) -> dict[str, Any]:
    """Values of the closures and defaults of what travels with `task`, by name."""
    found: dict[str, Any] = {}
    for function in functions_of(task):
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
        found |= enclosed(function) | {p.name: p.default for p in parameters if p.default is not p.empty}
    return found


def _bytes_of(value: object) -> int | None:
    """Size of a value's pickle, or None where it has none."""
    try:
        return len(cloudpickle.dumps(value))
    except Exception:  # noqa: BLE001
        return None  # it does not travel, for whatever reason its own __reduce__ has


def _weight(task: object, name: str, blob: bytes, taken: dict[str, Any]) -> list[str]:
    if len(blob) <= HEAVY_BYTES:
        return []
    sizes = {what: _bytes_of(value) or 0 for what, value in {**taken, **_enclosed(task)}.items()}
    what = max(sizes, key=sizes.__getitem__, default="much")
    size = max(sizes.values(), default=len(blob))
    return [f"task {name!r} carries {what!r} ({size / 2**20:.1f} MiB) from the notebook; pass it as an argument"]


# -- conditions, parts and keys ----------------------------------------------------
@dataclass(frozen=True)
class Expression:
    """An expression, and where its names are looked up."""

    text: str
    space: dict[str, Any]


def shipped(function: Any, word: str, over: str, whose: str, edit: Edit) -> dict[str, Any] | None:
    """A function, or an expression over `over`, as an edit carries it.

    `word`, `over`: the option, and what an expression calls the value it looks at. `whose`: the plug or socket, for
    messages. Raises WiringError: it is neither a function nor an expression.
    """
    if function is None:
        return None
    part = _part(function) if word == "pick" else None
    if part is not None:
        blob = pickle.dumps(part, protocol=5)
        record = {"sha256": sha256(blob), "text": part.text, "blob": edit.buffer(blob)}
        field = {"field": part.place} if isinstance(part.place, str) else {}
        return record | {"written": {"name": "", "code": repr(part.place), "before": {}, "lacks": [], **field}}
    given = Expression(function, vars(sys.modules["__main__"])) if isinstance(function, str) else function
    expression = given if isinstance(given, Expression) else None
    text = expression.text if expression else getattr(given, "__name__", type(given).__name__)
    made = _compiled(expression, word, over) if expression else given
    if not callable(made):
        raise WiringError(f"{word}= takes an expression or a function, not {type(function).__name__}")
    blob = pickled(made, f"{whose} {word}")
    record = {"sha256": sha256(blob), "text": text, "blob": edit.buffer(blob)}
    return record | {"written": written(made, expression.text if expression else None)}


def _part(given: Any) -> Part | None:
    """The part that a person names by a field, a number or a slice; None where it is a function or an expression."""
    if isinstance(given, Expression):
        given = given.text
    named = isinstance(given, str) and given.isidentifier() and not iskeyword(given)
    ends = (given.start, given.stop, given.step) if isinstance(given, slice) else (given,)
    numbered = all(type(end) is int or (end is None and isinstance(given, slice)) for end in ends)
    return Part(given) if named or numbered else None


def _compiled(expression: Expression, word: str, over: str) -> Any:
    try:
        code = compile(f"lambda {over}: ({expression.text})", f"<{word}>", "eval")
    except SyntaxError as error:
        raise WiringError(f"{word} {expression.text!r} is no expression: {error.msg}") from error
    made = eval(code, expression.space)
    for name in global_names(made.__code__):
        if name not in expression.space and not hasattr(builtins, name):
            text = f"{word} {expression.text!r} uses {name!r}, which is not defined here"
            raise WiringError(f"{text}; the value that it looks at is {over!r}")
    return made
