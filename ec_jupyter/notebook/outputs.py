"""The parts that a task's result is known to have: from what it says it returns, or from its `out(...)`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from ec_jupyter.nodes.current import out
from ec_jupyter.notebook.identity import enclosed
from ec_jupyter.notebook.written import CannotWriteError, source_of


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
