"""A saved flow made again: its tasks run through the same registration as those of cells."""

from __future__ import annotations

import ast
import json
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ec_jupyter.errors import DeclarationError, EcError
from ec_jupyter.notebook.notes import note
from ec_jupyter.notebook.recipe import FORMAT, VERSION

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow

_SHAPES: dict[str, type] = {"name": str, "processors": dict, "before": list, "sockets": dict, "plugs": list}


def load(path: str | os.PathLike[str], name: str | None = None, folder: str | os.PathLike[str] | None = None) -> Flow:
    """Make a flow as `Flow.save` wrote it down: processors, sockets with their tasks, plugs, fixed values, places.

    The code in the file is run, as that of a cell is. What is there already under the same names becomes
    what the file says, the rest stays; so loading twice changes nothing.

    Parameters
    ----------
    path : path
        The file.
    name : str, optional
        Name of the flow, instead of the one it was saved under.
    folder : path, optional
        Where it lives, as for `ec_jupyter.flow`.

    Returns
    -------
    Flow
        The flow; warnings tell what of it could not be made.

    Raises
    ------
    DeclarationError
        The file is no saved flow, or its code does not run.
    """
    from ec_jupyter.notebook.flow import open_flow

    document = read(path)
    tasks = dict(_tasks(document, str(path)))
    flow = open_flow(name or document["name"], folder=folder)
    try:
        _declare(flow, document, tasks)
        _wire(flow, document, tasks)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, EcError):
            raise
        raise DeclarationError(f"{path} is no whole saved flow: {type(error).__name__}: {error}") from error
    return flow


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A saved flow's document.

    Raises
    ------
    DeclarationError
        The file is none.
    """
    try:
        document = json.loads(Path(path).read_text())
    except OSError as error:
        raise DeclarationError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DeclarationError(f"{path} is no saved flow: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DeclarationError(f"{path} is no saved flow: it does not begin as flow.save() writes one")
    if document.get("version") != VERSION:
        raise DeclarationError(f"{path} was saved by another version: format {document.get('version')}, not {VERSION}")
    for key, kind in _SHAPES.items():
        if not isinstance(document.get(key), kind):
            raise DeclarationError(f"{path} is no saved flow: its {key!r} is no {kind.__name__}")
    return document


def _tasks(document: Mapping[str, Any], path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The function of each socket, from its text."""
    # of their own: the notebook's names are not touched, and only what the file lacks is taken from there
    main = vars(sys.modules["__main__"])
    space: dict[str, Any] = {"__name__": "__main__"}
    lacking = [word for word in document.get("unbound", ()) if word not in main]
    space |= {word: main[word] for word in document.get("unbound", ()) if word in main}
    if lacking:
        note(f"the tasks of {path} use what is not in it: {', '.join(lacking)}")
    before = "".join(f"{text}\n\n" for text in document["before"])
    _run("", before, f"<saved {document['name']}>", space, path)
    for name, part in document["sockets"].items():
        if not isinstance(part, dict) or not isinstance(part.get("code"), str):
            note(f"socket {name!r} was saved without the source of its task and is left out")
            continue
        word = part.get("function") or "__task__"
        text = part["code"] if part.get("function") else f"__task__ = {part['code']}"
        _run(before, text, f"<saved {document['name']}.{name}>", space, path)
        if not callable(space.get(word)):
            raise DeclarationError(f"{path}: the code of socket {name!r} makes no function {word!r}")
        yield name, space[word]


def _run(before: str, text: str, file: str, space: dict[str, Any], path: str) -> None:
    """Run `text` as what follows `before`, which has been run, in a file that is nowhere but here."""
    whole = f"{before}{text}\n"
    try:
        tree = ast.parse(whole)
        ends = len(ast.parse(before).body)
        compiled = compile(ast.Module(tree.body[ends:], []), file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise DeclarationError(f"{path}: the code of {file} is not Python: {error}") from error
    # no time stamp: linecache then never looks for a file; what is needed stands in it, so that it can be saved again
    linecache.cache[file] = (len(whole), None, whole.splitlines(keepends=True), file)
    try:
        exec(compiled, space)
    except Exception as error:
        raise DeclarationError(f"{path}: the code of {file} cannot be run: {type(error).__name__}: {error}") from error


def _declare(flow: Flow, document: Mapping[str, Any], tasks: Mapping[str, Callable[..., Any]]) -> None:
    with flow.edit():
        for name, settings in document.get("nodes", {}).items():
            flow.node(name, **settings)
        for name, settings in document["processors"].items():
            flow.processor(name, **settings)
        for name, task in tasks.items():
            part = document["sockets"][name]
            flow.declare(task, name, processor=part["processor"], **part["options"])


def _wire(flow: Flow, document: Mapping[str, Any], tasks: Mapping[str, Callable[..., Any]]) -> None:
    there = {name: socket.fixed for name, socket in flow.sockets.items()}
    with flow.edit():
        for name in tasks:
            part = document["sockets"][name]
            for argument, text in part["fixed"].items():
                if text is None:
                    note(f"{name}.{argument} had a fixed value that is no literal; fix it anew")
                elif text != there[name].get(argument):
                    flow.fix(name, **{argument: ast.literal_eval(text)})
        for plug in document["plugs"]:
            _plug(flow, plug, tasks)
        flow.place(**{n: document["sockets"][n]["position"] for n in tasks if document["sockets"][n]["position"]})
    paused = [*document.get("paused", ()), *(name for name in tasks if document["sockets"][name]["paused"])]
    if paused:
        flow.pause(*paused)


def _plug(flow: Flow, plug: Mapping[str, Any], tasks: Mapping[str, Callable[..., Any]]) -> None:
    says = f"plug {plug['source']} -> {plug['target']}.{plug['argument']}"
    if "function" in plug:
        note(f"{says} is left out: its condition is the function {plug['function']}; plug it anew with when=")
    elif {plug["source"], plug["target"]} <= tasks.keys():
        options = {key: value for key, value in plug.items() if key not in ("source", "target")}
        flow.plug(plug["source"], plug["target"], **options)
    else:
        note(f"{says} is left out with its socket")
