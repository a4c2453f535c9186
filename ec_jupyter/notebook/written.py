"""How things from a notebook are written down again: as code that makes the like of them, and what that needs.

Taken down when a task, a condition or a fixed value is declared, so that it says what the workers
have, whatever the notebook's names stand for later.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import inspect
import linecache
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from ec_jupyter.client.source import FUNCTIONS, Definition, first_line, is_ours, parsed, used
from ec_jupyter.nodes.code import by_reference
from ec_jupyter.notebook.identity import MISSING, enclosed, functions_of, global_names

# where names of code that is no cell's are looked up, by the file it was run as
SPACES: dict[str, Mapping[str, Any]] = {}
MOST_CHARACTERS = 10_000  # values whose text is longer are data, not wiring
_LITERALS = (type(None), bool, int, str, bytes, complex, type(...))


class CannotWriteError(Exception):
    """Why something has no text that makes it again."""


def written(thing: object, text: str | None = None) -> dict[str, Any]:
    """A thing as a record that can be written down; of a function, with the expression that a person gave as `text`.

    Returns dict: ``code``, with ``name`` where that is a definition of that name and not an expression; ``before``,
    statements by the name each binds, in order; ``lacks``, names that nothing binds. Or ``why`` it cannot be.
    """
    writer = _Writer()
    try:
        name, code = writer.expressed(thing, text) if text is not None else writer.top(thing)
        before = {n: text for n, text in writer.before.items() if n != name}
        compile("\n".join([*before.values(), code]), "<written>", "exec", dont_inherit=True)
    except CannotWriteError as error:
        return {"why": str(error)}
    except SyntaxError as error:
        return {"why": f"it cannot stand by itself: {error.msg}"}
    except RecursionError:
        return {"why": "it holds itself"}
    return {"name": name, "code": code, "before": before, "lacks": list(writer.lacks)}


class _Writer:
    """Writes one thing; remembers what its code needs."""

    def __init__(self) -> None:
        self.before: dict[str, str] = {}  # statements by the name each binds; what a statement needs comes before it
        self.lacks: dict[str, None] = {}  # names that stand for nothing
        self._open: set[str] = set()

    # -- names -------------------------------------------------------------------
    def _bind(self, name: str, value: object) -> None:
        """Have a name stand for a value, wherever it is used."""
        if value is MISSING:
            self.lacks[name] = None
        elif name not in self._open:
            self._open.add(name)
            try:
                self._put(name, self._statement(name, value))
            finally:
                self._open.discard(name)

    def _put(self, name: str, text: str) -> None:
        if self.before.setdefault(name, text) != text:
            raise CannotWriteError(f"{name!r} stands for two things in it")

    def _statement(self, name: str, value: object) -> str:
        if isinstance(value, ModuleType):
            return f"import {name}" if value.__name__ == name else f"import {value.__name__} as {name}"
        place = _place(value)
        if place is not None and "." not in place[1]:
            module, word = place
            if module == "builtins":
                return f"{name} = {word}"
            return f"from {module} import {word}" + (f" as {name}" if word != name else "")
        if isinstance(value, type):
            own, text = self._class(value)
        elif isinstance(inspect.unwrap(value) if callable(value) else value, FunctionType):
            own, text = self.defined(value)
        else:
            own, text = "", self._whose(name, value)
        return text if own == name else f"{name} = {text}" if not own else f"{text}\n{name} = {own}"

    def _whose(self, name: str, value: object) -> str:
        try:
            return self.expression(value)
        except CannotWriteError as error:
            raise CannotWriteError(f"{name!r} is {error}") from None

    def _use(self, text: str, space: Mapping[str, Any], but: Iterable[str] = ()) -> None:
        """Bind the global names that a piece of code uses."""
        known = vars(sys.modules["builtins"])
        for name in dict.fromkeys(used(text)):
            if name in but or (name not in space and name in known):
                continue
            self._bind(name, space.get(name, MISSING))

    # -- what is written ------------------------------------------------------------
    def top(self, thing: Any) -> tuple[str, str]:
        """The thing itself: a definition with its name, or an expression with none."""
        wraps = callable(thing) and isinstance(inspect.unwrap(thing), FunctionType)
        return self.defined(thing) if wraps and not isinstance(thing, MethodType) else ("", self.expression(thing))

    def expressed(self, function: Any, text: str) -> tuple[str, str]:
        """The function that an expression was made to, as that expression."""
        self._use(f"({text})", function.__globals__, but=function.__code__.co_varnames)
        return "", text

    # -- functions and classes -----------------------------------------------------
    def defined(self, function: Any) -> tuple[str, str]:
        """A function as a definition, with its name; or as an expression, with none."""
        place = _place(function)
        if place is not None:
            return "", self._at(*place)
        inner = inspect.unwrap(function)
        if not isinstance(inner, FunctionType):
            raise CannotWriteError(f"a {type(function).__name__} without source")
        found, source = source_of(inner.__code__)
        if isinstance(found, ast.Lambda):
            if inner is not function:
                raise CannotWriteError("a wrapped lambda")
            name, text = "", ast.get_source_segment(source, found) or ast.unparse(found)
        else:
            own = _own_decorators(found)
            if inner is not function and not own:
                raise CannotWriteError(f"{inner.__name__!r} in a wrapper that its own source does not show")
            name, text = found.name, _definition(source, found, own)
        space = {**inner.__globals__, **enclosed(inner)}
        self._use(text, space, but={name})
        for word in inner.__code__.co_freevars:
            if word != name:
                self._bind(word, space.get(word, MISSING))
        return name, text

    def _class(self, made: type) -> tuple[str, str]:
        found, source, space = _class_node(made)
        text = _definition(source, found, found.decorator_list)
        self._use(text, space, but={found.name})
        return found.name, text

    def _at(self, module: str, path: str) -> str:
        """An expression for what lies somewhere in a module that can be imported."""
        if module == "builtins":
            return path
        self._put(module.split(".", maxsplit=1)[0], f"import {module}")
        return f"{module}.{path}"

    # -- values ---------------------------------------------------------------------
    def expression(self, value: Any) -> str:
        """An expression that makes the like of a value."""
        text = self._expression(value)
        if len(text) > MOST_CHARACTERS:
            raise CannotWriteError(f"a {type(value).__name__} of {len(text)} characters")
        return text

    def _expression(self, value: Any) -> str:
        if type(value) in _LITERALS:
            return repr(value)
        if type(value) is float:
            return repr(value) if value - value == 0 else f"float({str(value)!r})"
        if type(value) in (list, tuple, set, frozenset, dict):
            return self._collection(value)
        return self._called(value) if callable(value) else self._object(value)

    def _called(self, value: Any) -> str:
        if isinstance(value, functools.partial):
            return self._partial(value)
        if isinstance(value, MethodType):
            return f"{self._expression(value.__self__)}.{value.__name__}"
        if isinstance(value, type) or _place(value) is not None:
            return self._named(value)
        if isinstance(inspect.unwrap(value), FunctionType):
            return self._function(value)
        return self._object(value)

    def _collection(self, value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self._expression(k)}: {self._expression(v)}" for k, v in value.items()) + "}"
        parts = [self._expression(part) for part in value]
        inside = ", ".join(parts)
        if isinstance(value, tuple):
            return f"({inside},)" if len(parts) == 1 else f"({inside})"
        if isinstance(value, list):
            return f"[{inside}]"
        return f"{type(value).__name__}([{inside}])" if not parts or isinstance(value, frozenset) else f"{{{inside}}}"

    def _partial(self, value: Any) -> str:
        given = [self._expression(part) for part in (value.func, *value.args)]
        given += [f"{name}={self._expression(part)}" for name, part in value.keywords.items()]
        self._put("functools", "import functools")
        return f"functools.partial({', '.join(given)})"

    def _named(self, value: Any) -> str:
        place = _place(value)
        if place is not None:
            return self._at(*place)
        self._bind(value.__name__, value)
        return str(value.__name__)

    def _function(self, value: Any) -> str:
        name, text = self.defined(value)
        if not name:
            return f"({text})" if text.startswith("lambda") else text
        self._bind(name, value)
        return name

    def _object(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            return f"{self._named(kind)}[{value.name!r}]"
        if isinstance(value, ModuleType):
            self._put(value.__name__.split(".")[0], f"import {value.__name__}")
            return value.__name__
        if dataclasses.is_dataclass(value):
            names = [one.name for one in dataclasses.fields(value) if one.init]
            given = [f"{name}={self._expression(getattr(value, name))}" for name in names]
            return f"{self._named(kind)}({', '.join(given)})"
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return f"{self._named(kind)}({', '.join(self._expression(part) for part in value)})"
        return self._by_repr(value)

    def _by_repr(self, value: Any) -> str:
        """The repr, where it is code for the same value, as that of dates, paths, decimals and ranges."""
        kind = type(value)
        place = _place(kind)
        if place is None or place[0] == "__main__":
            raise CannotWriteError(f"a {kind.__qualname__}, which has no code that makes it again")
        module, path = place
        top = module.split(".")[0]
        space = {top: sys.modules[top], kind.__name__: kind, **({"np": sys.modules[top]} if top == "numpy" else {})}
        try:
            text = repr(value)
            again = eval(text, space) if len(text) <= MOST_CHARACTERS else None
            same = type(again) is kind and bool(again == value)
        except Exception as error:
            raise CannotWriteError(f"a {kind.__qualname__}, which has no code that makes it again") from error
        if not same:
            raise CannotWriteError(f"a {kind.__qualname__}, which has no code that makes it again")
        if module != "builtins":
            self._put(top, f"import {module}")
            if text.startswith(f"{kind.__name__}("):
                return f"{module}.{text}" if path == kind.__name__ else f"{module}.{path}{text[len(kind.__name__) :]}"
            if text.startswith("np."):
                self._put("np", "import numpy as np")
        return text


def _place(value: Any) -> tuple[str, str] | None:
    """Module and path from which a function, class or other named thing can be imported."""
    if not callable(value) or not by_reference(value):
        return None
    module, path = value.__module__, value.__qualname__
    # those that C implements say where they are implemented
    public = sys.modules.get(module.lstrip("_"))
    if module.startswith("_") and public is not None and getattr(public, path, None) is value:
        module = public.__name__
    return module, path


# -- where source is found --------------------------------------------------------
@lru_cache(maxsize=128)
def _functions(tree: ast.Module) -> list[Definition | ast.Lambda]:
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Lambda, *FUNCTIONS))]


def _parsed(file: str) -> tuple[ast.Module, str]:
    source = "".join(linecache.getlines(file, sys.modules["__main__"].__dict__))
    tree = parsed(source)
    if tree is None:
        raise CannotWriteError(f"in {file}, which cannot be read as Python")
    return tree, source


def source_of(code: CodeType) -> tuple[Definition | ast.Lambda, str]:
    """The definition that a code object was compiled from, and the source around it."""
    tree, source = _parsed(code.co_filename)
    found: list[Any] = []
    for node in _functions(tree):
        if isinstance(node, ast.Lambda):
            fits = code.co_name == "<lambda>" and node.lineno == code.co_firstlineno and _compiles_to(node, code)
        else:
            fits = node.name == code.co_name and first_line(node) == code.co_firstlineno
        if fits:
            found.append(node)
    if not found:
        raise CannotWriteError(f"{code.co_name!r}, whose source is not known")
    if len({ast.dump(node) for node in found}) > 1:
        raise CannotWriteError(f"a lambda beside others like it in line {code.co_firstlineno}")
    return found[0], source


def _compiles_to(node: ast.Lambda, code: CodeType) -> bool:
    arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    if tuple(arguments) != code.co_varnames[: len(arguments)]:
        return False
    made: Any = compile(ast.Expression(node), "<written>", "eval", dont_inherit=True).co_consts[0]
    constants = [c for c in made.co_consts if not isinstance(c, CodeType)]
    names = sorted({*global_names(made), *made.co_varnames})
    # what an enclosing function has is a global name where the lambda stands alone
    known = sorted({*global_names(code), *code.co_freevars, *code.co_varnames})
    return constants == [c for c in code.co_consts if not isinstance(c, CodeType)] and names == known


def _class_node(made: type) -> tuple[ast.ClassDef, str, Mapping[str, Any]]:
    """The statement that made a class of a cell, the source around it, and where its names are looked up."""
    methods = [f for f in functions_of(made) if f.__qualname__.startswith(f"{made.__qualname__}.")]
    for method in methods:
        for node, source in _classes(made.__name__, [method.__code__.co_filename]):
            if any(first_line(n) == method.__code__.co_firstlineno for n in ast.walk(node) if isinstance(n, FUNCTIONS)):
                return node, source, method.__globals__
    # one without methods says nothing of its place: the newest cell that has such a class
    cells = [file for file, entry in reversed(linecache.cache.items()) if len(entry) > 1 and entry[1] is None]
    for file, node, source in ((f, n, s) for f in cells for n, s in _classes(made.__name__, [f])):
        space = SPACES.get(file, vars(sys.modules["__main__"]))
        if _fields_of(node) == set(inspect.get_annotations(made)):
            return node, source, space
    raise CannotWriteError(f"the class {made.__name__!r}, whose source is not known")


def _classes(name: str, files: Iterable[str]) -> Iterator[tuple[ast.ClassDef, str]]:
    for file in files:
        try:
            tree, source = _parsed(file)
        except CannotWriteError:
            continue
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
        yield from ((node, source) for node in reversed(nodes))


def _fields_of(node: ast.ClassDef) -> set[str]:
    return {s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}


def _own_decorators(found: Definition) -> list[ast.expr]:
    """Decorators inside of ours, which are part of the task; those outside are not."""
    ours = [at for at, decorator in enumerate(found.decorator_list) if is_ours(decorator)]
    return found.decorator_list[ours[-1] + 1 :] if ours else found.decorator_list


def _definition(source: str, found: Definition | ast.ClassDef, decorators: list[ast.expr]) -> str:
    around = [f"@{ast.unparse(decorator)}" for decorator in decorators]
    lines = textwrap.dedent("\n".join(source.splitlines()[found.lineno - 1 : found.end_lineno]))
    return "\n".join([*around, lines])
