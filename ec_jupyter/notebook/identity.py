"""What a function is: a hash that comments, layout, position and cell number leave alone.

It covers the syntax tree, the defaults and the values a function takes along, to any depth; never
the pickle, whose bytes change with line numbers and random class ids.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, TypeVar

import cloudpickle

from ec_jupyter.client.source import is_ours
from ec_jupyter.nodes.code import REDUCERS, Classes, by_reference, registered

_OURS = str(Path(__file__).parents[1])
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_CLASS_NOISE = {
    "__dict__", "__slotnames__", "_abc_impl", "__weakref__", "__module__", "__firstlineno__", "__static_attributes__",
}  # fmt: skip
_GLOBAL = {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"}

MISSING = object()  # stands for a global name that a function uses and nobody has bound yet


def identity(task: object) -> str:
    """Hash of what `task` is; equal for what behaves equally, whatever cell it came from."""
    return _Digest().of(task)


Classes.identity = identity


def global_names(code: CodeType) -> list[str]:
    """Global names that a code object and the ones inside it use, in order of their first use."""
    names = dict.fromkeys(
        step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL and isinstance(step.argval, str)
    )
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names |= dict.fromkeys(global_names(inner))
    return list(names)


def captured_globals(function: FunctionType) -> dict[str, Any]:
    """Globals a function takes along: name to value, or to `MISSING`; builtins are everywhere."""
    space = function.__globals__
    builtins = space.get("__builtins__", {})
    known = vars(builtins) if isinstance(builtins, ModuleType) else builtins
    names = [name for name in global_names(function.__code__) if name in space or name not in known]
    return {name: space.get(name, MISSING) for name in names}


@contextmanager
def being_defined(task: object) -> Iterator[None]:
    """Let a function that a decorator gets be found by its own name, as it is in a moment: it may call itself."""
    function, name = inspect.unwrap(task) if callable(task) else task, getattr(task, "__name__", "")
    if not isinstance(function, FunctionType) or not _is_bound_next(name):
        yield
        return
    if name in function.__code__.co_freevars:
        # within another function
        (function.__closure__ or ())[function.__code__.co_freevars.index(name)].cell_contents = task
    space, before = function.__globals__, function.__globals__.get(name, MISSING)
    space[name] = task
    try:
        yield
    finally:
        if before is MISSING:
            del space[name]
        else:
            space[name] = before


def _is_bound_next(name: str) -> bool:
    """Whether what the caller of ours does next is to give what it gets this name."""
    frame: Any = sys._getframe(1)
    while frame.f_code.co_filename.startswith((_OURS, contextlib.__file__)):
        frame = frame.f_back
    after = (step for step in dis.get_instructions(frame.f_code) if step.offset > frame.f_lasti)
    step = next(after)
    return step.opname in ("STORE_NAME", "STORE_GLOBAL", "STORE_DEREF") and step.argval == name


def functions_of(value: object) -> Iterator[FunctionType]:
    """Functions that travel by value when `value` does: its own first, then what those take along."""
    return (part for part in walk(value) if isinstance(part, FunctionType) and not by_reference(part))


def walk(value: object) -> Iterator[Any]:
    """A value and what travels with it, or is imported for it, as far as it may hold functions."""
    todo, seen = [value], {id(None)}
    while todo:
        part = todo.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        todo += _parts(part)


def _parts(value: Any) -> Iterable[Any]:
    """What of `value` may hold functions that travel with it."""
    if isinstance(value, (*_PLAIN, ModuleType, BuiltinFunctionType)):
        return ()
    if isinstance(value, (FunctionType, type)) and by_reference(value):
        return ()
    if (registry := registered(value)) is not None:
        return [*registry, *registry.values()]
    if isinstance(value, FunctionType):
        return [*enclosed(value).values(), *captured_globals(value).values()]
    if isinstance(value, type):
        return [*vars(value).values(), *value.__bases__]
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    # a method, a wrapper such as lru_cache's, an object of a class from a cell
    return (getattr(value, "__func__", None), getattr(value, "__wrapped__", None), type(value))


def enclosed(function: FunctionType) -> dict[str, Any]:
    """Values of the names a function takes from the functions around it; unbound ones are left out."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if _filled(cell)}


def captured(task: object) -> dict[str, Any]:
    """Globals that `task`, and every function that travels with it, takes along."""
    found: dict[str, Any] = {}
    for function in functions_of(task):
        found = captured_globals(function) | found
    return found


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # the name in the enclosing function is not bound yet
        return False


# hashes of the syntax trees that have been seen here, by instructions, name and line
_SYNTAX: dict[tuple[str, str, int], str] = {}


class _Digest:
    """Hashes values by their structure; one use, for it remembers what it has met."""

    def __init__(self) -> None:
        # the values too: an id is only good while its object lives
        self._met: dict[int, tuple[int, object]] = {}

    def of(self, value: object) -> str:
        if isinstance(value, _PLAIN):
            return _hash(type(value).__name__, repr(value))
        if id(value) in self._met:
            return f"again:{self._met[id(value)][0]}"
        self._met[id(value)] = (len(self._met), value)
        exact = self._EXACT.get(type(value))
        if exact:
            return exact(self, value)
        for kind, method in self._KINDS:
            if isinstance(value, kind):
                return method(self, value)
        return self._reduced(value)

    def _sequence(self, value: Any) -> str:
        # a million floats have one repr, quicker than a million hashes
        if len(value) > 64 and set(map(type, value)) <= {bool, int, float, str, type(None)}:
            return _hash(type(value).__name__, repr(list(value)))
        return _hash(type(value).__qualname__, *map(self.of, value))

    def _set(self, value: Any) -> str:
        return _hash(type(value).__qualname__, *sorted(map(self.of, value)))

    def _function(self, value: FunctionType) -> str:
        if by_reference(value):
            # its text too: a module beside the notebook may have changed and been loaded anew
            return _hash("import", value.__module__, value.__qualname__, self._code(value.__code__))
        if (registry := registered(value)) is not None:
            return _hash("dispatch", self.of(registry))
        cells = enclosed(value)
        taken = {name: found for name, found in captured_globals(value).items() if found is not MISSING}
        extra = {name: part for name, part in vars(value).items() if name != "__wrapped__"}
        parts = (value.__defaults__, value.__kwdefaults__, cells, taken, extra, str(value.__annotations__))
        return _hash("function", self._code(value.__code__), *map(self.of, parts))

    def _code(self, code: CodeType) -> str:
        # Python has the bytecode of every function, but the text only of what came from a file or a cell
        instructions = _instructions(code)
        known = (instructions, code.co_qualname, code.co_firstlineno)
        if known not in _SYNTAX:
            syntax = _syntax(code)
            if syntax is None:
                return instructions
            # the same code may come back from a pickle, without the name of its file or under another's
            _SYNTAX[known] = _hash(syntax)
        return _SYNTAX[known]

    def _class(self, value: type) -> str:
        if by_reference(value):
            return _hash("import", value.__module__, value.__qualname__)
        body = {name: part for name, part in vars(value).items() if name not in _CLASS_NOISE}
        return _hash("class", value.__name__, self.of(value.__bases__), self.of(body))

    def _reduced(self, value: Any) -> str:
        reduce = REDUCERS.get(type(value)) or cloudpickle.Pickler.dispatch_table.get(type(value))
        try:
            parts = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:  # noqa: BLE001
            # a user's own __reduce__ may raise anything; shipping has reported what cannot travel
            return _hash("opaque", type(value).__qualname__, type(error).__name__)
        if isinstance(parts, str):
            return _hash("import", parts)
        # items of a list or dict subclass come as iterators
        return _hash("object", *(self.of(list(p) if hasattr(p, "__next__") else p) for p in parts))

    _KINDS: Final[tuple[tuple[Any, Callable[[Any, Any], str]], ...]] = (
        (FunctionType, _function),
        (ModuleType, lambda self, value: _hash("module", value.__name__)),
        (type, _class),
        (MethodType, lambda self, value: _hash("method", self.of(value.__func__), self.of(value.__self__))),
        (functools.partial, lambda self, v: _hash("partial", *map(self.of, (v.func, v.args, v.keywords)))),
        ((staticmethod, classmethod), lambda self, value: _hash(type(value).__name__, self.of(value.__func__))),
        # by the pickle each would be another one
        (TypeVar, lambda self, v: _hash("variable", v.__name__, *map(self.of, (v.__constraints__, v.__bound__)))),
        (property, lambda self, value: _hash("property", *map(self.of, (value.fget, value.fset, value.fdel)))),
    )
    _EXACT: Final[dict[type, Callable[[Any, Any], str]]] = {
        list: _sequence, tuple: _sequence, set: _set, frozenset: _set,
        dict: lambda self, value: _hash("dict", *(self.of(part) for item in value.items() for part in item)),
    }  # fmt: skip


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _instructions(code: CodeType) -> str:
    """Hash of what code does, by its bytecode."""
    consts = [_instructions(c) if isinstance(c, CodeType) else identity(c) for c in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return _hash(code.co_code.hex(), repr(names), repr(counts), *consts)


def _syntax(code: CodeType) -> str | None:
    """Tree of a ``def`` as text, without our own decorator; None where its source is not known."""
    if code.co_name == "<lambda>":
        return None  # a line may hold several, and the code does not say which it is
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None
    if len(tree.body) != 1 or not isinstance(tree.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    definition = tree.body[0]
    if definition.name != code.co_name:
        return None  # the file has another text by now
    definition.decorator_list = [d for d in definition.decorator_list if not is_ours(d)]
    return ast.dump(tree)
