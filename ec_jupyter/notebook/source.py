"""The text of a task within the cell or file it came from: found, cut out, and what it needs."""

from __future__ import annotations

import ast
import symtable
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Definition = ast.FunctionDef | ast.AsyncFunctionDef
EXCERPT = 16_384
"""Characters of a task that a picture shows at most."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Text:
    """A task as one can write it down again.

    Attributes
    ----------
    name : str
        Of the function; empty for a lambda.
    code : str
        A ``def`` without our own decorator, or the text of a lambda.
    needs : tuple of str
        Names that have to be bound before it runs.
    """

    name: str
    code: str
    needs: tuple[str, ...]


def described(socket: str, task: Mapping[str, Any]) -> tuple[str | None, str, str]:
    """What a task says it returns, the first paragraph of its docstring, and its own lines of the cell."""
    return _described(socket, *_key(task))


@lru_cache(maxsize=1024)
def _described(socket: str, source: str, arguments: tuple[str, ...], file: str) -> tuple[str | None, str, str]:
    found = _found(socket, source, arguments, file)
    if found is None:
        return None, "", source[:EXCERPT]
    if isinstance(found, ast.Lambda):
        return None, "", ast.get_source_segment(source, found) or ""
    returns = ast.unparse(found.returns) if found.returns is not None else None
    doc = (ast.get_docstring(found) or "").strip().split("\n\n")[0]
    first = min([found.lineno, *(d.lineno for d in found.decorator_list)])
    lines = textwrap.dedent("\n".join(source.splitlines()[first - 1 : found.end_lineno]))
    return returns, " ".join(doc.split()), lines[:EXCERPT]


def text_of(socket: str, task: Mapping[str, Any]) -> Text | None:
    """The task of a socket as text; None where its source does not tell which function it is."""
    source, arguments, file = _key(task)
    found = _found(socket, source, arguments, file)
    if found is None or not _standing(_tree(source), found):
        return None
    captured = tuple(task.get("captured", ()))
    if isinstance(found, ast.Lambda):
        return Text("", ast.get_source_segment(source, found) or ast.unparse(found), captured)
    text = _statement_text(source, found)
    return Text(found.name, text, tuple(dict.fromkeys([*captured, *used(text)])))


def bindings(source: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Statements of a cell that may stand before a task: by the name each binds, its text and what it needs.

    Imports, functions, classes, and names bound to literals or lambdas; nothing that does more than bind.
    """
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for statement in getattr(_tree(source), "body", ()):
        for name in _bound(statement):
            text = _statement_text(source, statement)
            found[name] = text, tuple(dict.fromkeys(used(text)))
    return found


def _key(task: Mapping[str, Any]) -> tuple[str, tuple[str, ...], str]:
    return task.get("source", ""), tuple(p["name"] for p in task["signature"]), task.get("file", "")


@lru_cache(maxsize=64)
def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=1024)
def _found(socket: str, source: str, arguments: tuple[str, ...], file: str) -> Definition | ast.Lambda | None:
    """The function in a text that is the task: as our decorator calls it, by name, or as the only one that fits."""
    tree = _tree(source) if source else None
    if tree is None:
        return None
    # the pickled code bears the name under which the socket was declared first
    names = [socket, *([file[8:-1]] if file.startswith("<socket ") else [])]
    fitting = [n for n in ast.walk(tree) if isinstance(n, (*_FUNCTIONS, ast.Lambda)) and _arguments(n) == arguments]
    functions = [n for n in fitting if isinstance(n, _FUNCTIONS)]
    for name in names:
        called = [f for f in functions if name in _given_names(f)] or [f for f in functions if f.name == name]
        if called:
            return called[-1]
    marked = [f for f in functions if any(_ours(d) for d in f.decorator_list)]
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
        if _ours(decorator) and isinstance(decorator, ast.Call) and decorator.args:
            first = decorator.args[0]
            if isinstance(first, ast.Constant):
                yield str(first.value)


def _ours(decorator: ast.expr) -> bool:
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")) == "socket"


def _standing(tree: ast.Module | None, found: ast.AST) -> bool:
    """Whether a function stands by itself: inside another one it may use what that one has."""
    if tree is None:
        return False
    outer = (n for n in ast.walk(tree) if isinstance(n, (*_FUNCTIONS, ast.Lambda, ast.ClassDef)) and n is not found)
    return not any(inner is found for n in outer for inner in ast.walk(n))


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


def _bound(statement: ast.stmt) -> Iterable[str]:
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, ast.Assign) and _plain(statement.value):
        return [t.id for t in statement.targets if isinstance(t, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and _plain(statement.value):
        return [statement.target.id]
    return ()


def _plain(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Lambda):
        return True
    try:
        ast.literal_eval(value) if value is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return value is not None


def _statement_text(source: str, statement: ast.stmt) -> str:
    if not isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return ast.get_source_segment(source, statement) or ast.unparse(statement)
    around = [f"@{ast.unparse(d)}" for d in statement.decorator_list if not _ours(d)]
    lines = textwrap.dedent("\n".join(source.splitlines()[statement.lineno - 1 : statement.end_lineno]))
    return "\n".join([*around, lines])
