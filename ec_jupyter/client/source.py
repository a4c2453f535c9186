"""The text of a task within the cell or file it came from, and the names that a text uses."""

from __future__ import annotations

import ast
import symtable
import textwrap
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

Definition = ast.FunctionDef | ast.AsyncFunctionDef
EXCERPT = 16_384  # characters of a task that a picture shows at most
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def described(socket: str, task: Mapping[str, Any]) -> tuple[str | None, str, str]:
    """What a task says it returns, the first paragraph of its docstring, and its own lines of the cell."""
    arguments = tuple(p["name"] for p in task["signature"])
    return _described(socket, task.get("source", ""), arguments, task.get("file", ""))


@lru_cache(maxsize=1024)
def _described(socket: str, source: str, arguments: tuple[str, ...], file: str) -> tuple[str | None, str, str]:
    found = _found(socket, source, arguments, file)
    if found is None:
        return None, "", source[:EXCERPT]
    if isinstance(found, ast.Lambda):
        return None, "", ast.get_source_segment(source, found) or ""
    returns = ast.unparse(found.returns) if found.returns is not None else None
    doc = (ast.get_docstring(found) or "").strip().split("\n\n")[0]
    lines = textwrap.dedent("\n".join(source.splitlines()[first_line(found) - 1 : found.end_lineno]))
    return returns, " ".join(doc.split()), lines[:EXCERPT]


def first_line(definition: Definition) -> int:
    """Where a definition begins, its decorators included."""
    return min([definition.lineno, *(decorator.lineno for decorator in definition.decorator_list)])


@lru_cache(maxsize=128)
def parsed(source: str) -> ast.Module | None:
    """The tree of a text; None where it is not Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=1024)
def _found(socket: str, source: str, arguments: tuple[str, ...], file: str) -> Definition | ast.Lambda | None:
    """The function in a text that is the task: as our decorator calls it, by name, or as the only one that fits."""
    tree = parsed(source) if source else None
    if tree is None:
        return None
    # the pickled code bears the name under which the socket was declared first
    names = [socket, *([file[8:-1]] if file.startswith("<socket ") else [])]
    fitting = [n for n in ast.walk(tree) if isinstance(n, (*FUNCTIONS, ast.Lambda)) and _arguments(n) == arguments]
    functions = [n for n in fitting if isinstance(n, FUNCTIONS)]
    for name in names:
        called = [f for f in functions if name in _given_names(f)] or [f for f in functions if f.name == name]
        if called:
            return called[-1]
    marked = [f for f in functions if any(is_ours(d) for d in f.decorator_list)]
    for some in (marked, functions, fitting):
        if len(some) == 1:
            return some[0]
    return None


def _arguments(function: Definition | ast.Lambda) -> tuple[str, ...]:
    a = function.args
    stars = ([a.vararg] if a.vararg else [], [a.kwarg] if a.kwarg else [])
    return tuple(x.arg for x in [*a.posonlyargs, *a.args, *stars[0], *a.kwonlyargs, *stars[1]])


def _given_names(function: Definition) -> Iterator[str]:
    for decorator in function.decorator_list:
        if is_ours(decorator) and isinstance(decorator, ast.Call) and decorator.args:
            first = decorator.args[0]
            if isinstance(first, ast.Constant):
                yield str(first.value)


def is_ours(decorator: ast.expr) -> bool:
    """Whether a decorator is ``socket``, by which a function is declared."""
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")) == "socket"


def used(text: str) -> Iterator[str]:
    """Global names that a piece of code uses, those of its functions included."""
    try:
        todo = [symtable.symtable(text, "<cell>", "exec")]
    except (SyntaxError, ValueError):
        return
    top = todo[0]
    while todo:
        table = todo.pop()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                yield symbol.get_name()
        todo += table.get_children()
