"""Python that a person writes in the picture: a task, a plug's condition, a socket's key.

It runs in the notebook's own kernel, as cells do.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from functools import partial
from typing import Any

from ec_jupyter.client import names
from ec_jupyter.client.client import Client
from ec_jupyter.client.commands import Fields, Op, WrongCodeError
from ec_jupyter.client.source import EXCERPT, FUNCTIONS, is_ours, used
from ec_jupyter.errors import DeclarationError, EcError, SocketNotFoundError, by_name
from ec_jupyter.notebook.cell import Cell
from ec_jupyter.notebook.parts import FlowLike
from ec_jupyter.notebook.shipping import Expression, shipped
from ec_jupyter.notebook.stale import WATCH


def ops(flow: FlowLike) -> dict[str, Op]:
    """What only a kernel can do for a picture."""
    return {"redefine": partial(_redefine, flow), "when": partial(_condition, flow), "key": partial(_key, flow)}


# -- a task --------------------------------------------------------------------
def _redefine(flow: FlowLike, client: Client, args: Fields) -> Fields:
    """Run the code of a task as its cell would be, and make it the next version."""
    name, text = str(args["socket"]), str(args["source"])
    record = by_name(client.topology["sockets"], name, SocketNotFoundError)
    shell = _shell()
    if len(text) > EXCERPT:
        raise DeclarationError(f"the code of socket {name!r} is too long for the picture: edit it in its cell")
    _refuse_strangers(flow, name, record["task"])
    _refuse_before_its_cells(name, record["task"], text, shell.user_ns)
    _run(flow, shell, name, text)
    return {"version": client.topology["sockets"][name]["task"]["version"]}


def _shell() -> Any:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise DeclarationError("there is no notebook here: code is run by the kernel of the notebook that declared it")
    return shell


def _refuse_strangers(flow: FlowLike, name: str, task: Mapping[str, Any]) -> None:
    owner = task.get("client", "")
    if not names.is_this_notebook(owner, flow.formerly):
        raise DeclarationError(
            f"the code of socket {name!r} belongs to {owner!r}, where what it uses is known: edit it there"
        )


def _refuse_before_its_cells(name: str, task: Mapping[str, Any], text: str, space: Mapping[str, Any]) -> None:
    """After a restart the kernel does not know yet what the task has taken from other cells."""
    needs = set(task.get("captured", ())).intersection(used(text))
    lacks = sorted(word for word in needs if word not in space and not hasattr(builtins, word))
    if lacks:
        raise DeclarationError(
            f"this kernel does not know {', '.join(lacks)}, which {name!r} uses: run the cells above it first"
        )


def _run(flow: FlowLike, shell: Any, name: str, text: str) -> None:
    first = f"%%ec_socket {name}"
    try:
        cell = Cell(shell, first, text)
        task = cell.task(name)
    except EcError as error:
        cause = error.__context__
        line = cause.lineno - 1 if isinstance(cause, SyntaxError) and cause.lineno else None
        raise WrongCodeError(str(error), line) from None
    try:
        space = cell.run()
    except Exception as error:
        if isinstance(error, EcError):
            raise
        raise WrongCodeError(f"{type(error).__name__}: {error}", cell.line_of(error)) from None
    # a decorator of ours has declared it
    if not _declares(text):
        flow.declare(space[task], name)


def _declares(text: str) -> bool:
    functions = [n for n in ast.parse(text).body if isinstance(n, FUNCTIONS)]
    return any(is_ours(decorator) for function in functions for decorator in function.decorator_list)


# -- conditions and keys ---------------------------------------------------------
def _condition(flow: FlowLike, client: Client, args: Fields) -> Fields:
    """Give a plug a condition, or (an empty text) none; the rest of it stays."""
    source, target, argument, on = (str(args[word]) for word in ("source", "target", "argument", "on"))
    ends = (source, target, argument, on)
    found = [p for p in client.topology["plugs"] if (p["source"], p["target"], p["argument"], p["on"]) == ends]
    if not found:
        raise DeclarationError(f"there is no plug {source} -> {target}.{argument} any more")
    text = str(args["text"]).strip()
    when: Any = Expression(text, _shell().user_ns) if text else None
    stays = {word: found[0][word] for word in ("source", "target", "argument", "on", "map", "gather")}
    with flow._editor.edit() as edit:
        edit.add("plug", **stays, when=shipped(when, "when", "result", source, edit), cycle=True)
    return {}


def _key(flow: FlowLike, client: Client, args: Fields) -> Fields:
    """Have a socket join by a key: an expression over ``value``."""
    name, text = str(args["socket"]), str(args["text"]).strip()
    by_name(client.topology["sockets"], name, SocketNotFoundError)
    if name not in WATCH.tasks(flow):
        raise DeclarationError(f"this kernel has not run the cell of {name!r}: run it, or write --key in its line")
    task, given = WATCH.tasks(flow)[name]
    options: Any = {} if given is None else {"signature": given}
    options |= {"key": Expression(text, _shell().user_ns)} if text else {"join": "run"}
    flow.declare(task, name, **options)
    return {}
