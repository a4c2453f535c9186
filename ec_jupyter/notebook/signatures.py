"""What a task tells of itself: its arguments, and the parts that its result is known to have.

Arguments are read from it, known for what Python's own functions do not tell, or given by the person.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import operator
import typing
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from ec_jupyter.errors import DeclarationError
from ec_jupyter.nodes.code import registered
from ec_jupyter.nodes.current import out
from ec_jupyter.notebook.identity import enclosed
from ec_jupyter.notebook.written import CannotWriteError, source_of

_KNOWN: dict[Any, str] = {
    max: "first, second=None",
    min: "first, second=None",
    int: "x=0, base=10",
    str: "object='', encoding='utf-8', errors='strict'",
    bool: "object=False",
    bytes: "source=b'', encoding='utf-8', errors='strict'",
    dict: "items=()",
    set: "iterable=()",
    frozenset: "iterable=()",
    range: "start, stop=None, step=1",
    slice: "start, stop=None, step=None",
    getattr: "object, name, default=None",
}
"""Python tells no arguments of these, or not every release does."""

_ONE = (operator.itemgetter, operator.attrgetter, operator.methodcaller)
_TEXT = 80


# arguments as a person names them: ``"x, base=10"``, or None where the task tells them
Given = str | inspect.Signature | None


def signature(task: Callable[..., Any], name: str, given: Given = None) -> list[dict[str, Any]]:
    """Arguments of `task`, or those `given`, as records: name, kind, required, text of default and annotation."""
    found = _given(given, name) if given is not None else _read(task, name)
    return [
        {
            "name": p.name,
            "kind": p.kind.name,
            "required": p.default is p.empty and not p.kind.name.startswith("VAR_"),
            "default": None if p.default is p.empty else _text(p.default),
            "annotation": _annotation(p.annotation),
        }
        for p in found.parameters.values()
    ]


def tells_arguments(task: Callable[..., Any]) -> bool:
    """Whether Python knows the arguments of `task` by itself."""
    try:
        inspect.signature(task)
    except (TypeError, ValueError):
        return False
    return True


def takes_names(task: Callable[..., Any]) -> bool:
    """Whether `task` takes its arguments by the names it tells: a wrapper tells those of what it wraps."""
    if not tells_arguments(task) or registered(task) is not None:
        return False
    if not hasattr(task, "__wrapped__") or isinstance(task, functools._lru_cache_wrapper):
        return True
    own = inspect.signature(task, follow_wrapped=False).parameters
    told = inspect.signature(task).parameters.values()
    named = {p.name for p in told if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named <= own.keys() or any(p.kind is p.VAR_KEYWORD for p in own.values())


def _read(task: Callable[..., Any], name: str) -> inspect.Signature:
    if tells_arguments(task):
        return inspect.signature(task)
    known = _known(task)
    if known is None:
        raise DeclarationError(
            f"the task of socket {name!r} does not tell its arguments; "
            "name them in the order it takes them: signature='x, y=1'"
        )
    return known


def _known(task: Any) -> inspect.Signature | None:
    """What is known of the arguments of a built-in, or of a partial of one."""
    if isinstance(task, functools.partial):
        whole = _known(task.func)
        if whole is None:
            return None
        left = [p for p in list(whole.parameters.values())[len(task.args) :] if p.name not in task.keywords]
        # a partial takes at least one more
        return whole.replace(parameters=[p.replace(default=p.empty) if p is left[0] else p for p in left])
    if isinstance(task, _ONE):
        return _parsed("object")
    try:
        text = _KNOWN.get(task)
    except TypeError:  # an object without a hash
        return None
    return None if text is None else _parsed(text)


def _given(given: Any, name: str) -> inspect.Signature:
    if isinstance(given, inspect.Signature):
        return given
    try:
        return _parsed(given)
    except Exception as error:
        # a default may be any expression, and raise anything
        raise DeclarationError(
            f"signature={given!r} of socket {name!r} is no list of arguments such as 'x, y=1': {error}"
        ) from error


def _parsed(text: str) -> inspect.Signature:
    return inspect.signature(eval(f"lambda {text}: None", {}))


def _annotation(annotation: Any) -> str | None:
    """What a function says of an argument, as it is written; under the postponed annotations it is text already."""
    if annotation is inspect.Parameter.empty:
        return None
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _text(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001
        # a user's __repr__ may raise anything, and the text is for display only
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


# -- parts of the result -----------------------------------------------------------
def outputs(task: Callable[..., Any]) -> dict[str, str]:
    """Names of the parts and the texts of their types (``""``: not known); empty where nothing is known.

    A task tells by its return annotation, if that is a `TypedDict`, a dataclass or a named tuple; or by its source, if
    whatever it returns is written as ``out(name=...)``.
    """
    function = inspect.unwrap(task)
    if not isinstance(function, FunctionType):
        return {}
    return _fields(_returned(function)) or _named(function)


def _returned(function: FunctionType) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001 - an annotation may be any expression, and raise anything
        return None


def _fields(kind: Any) -> dict[str, str]:
    if not isinstance(kind, type):
        return {}
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif typing.is_typeddict(kind):
        names = list(kind.__annotations__)
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
    else:
        return {}
    try:
        types = typing.get_type_hints(kind)
    except Exception:  # noqa: BLE001 - as above
        types = {}
    return {name: inspect.formatannotation(types[name]) if name in types else "" for name in names}


def _named(function: FunctionType) -> dict[str, str]:
    try:
        node, _ = source_of(function.__code__)
    except CannotWriteError:
        return {}
    returned = [node.body] if isinstance(node, ast.Lambda) else [one.value for one in _returns(node.body)]
    space = {**function.__globals__, **enclosed(function)}
    names: dict[str, str] = {}
    for one in returned:
        if not isinstance(one, ast.Call) or one.args or _thing(one.func, space) is not out:
            return {}
        for keyword in one.keywords:
            if keyword.arg is None:
                return {}
            names[keyword.arg] = ""
    return names


def _returns(body: list[ast.stmt]) -> Iterator[ast.Return]:
    """The returns of a function, without those of functions in it."""
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def _thing(called: ast.expr, space: dict[str, Any]) -> Any:
    """What a name, or a dotted one, stands for."""
    if isinstance(called, ast.Name):
        return space.get(called.id)
    return getattr(_thing(called.value, space), called.attr, None) if isinstance(called, ast.Attribute) else None
