"""A saved flow made again: its tasks run through the same registration as those of cells."""

from __future__ import annotations

import json
import linecache
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ec_jupyter.client.recipe import FORMAT, VERSION
from ec_jupyter.client.source import used
from ec_jupyter.errors import DeclarationError, EcError
from ec_jupyter.model import FUNCTIONS
from ec_jupyter.notebook.notes import note
from ec_jupyter.notebook.shipping import Expression
from ec_jupyter.notebook.written import SPACES

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow

# what a file that was changed by hand, or is damaged, leads to
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
_SHAPES: dict[str, type] = {"name": str, "processors": dict, "sockets": dict, "plugs": list}


def load(path: str | os.PathLike[str], name: str | None = None, folder: str | os.PathLike[str] | None = None) -> Flow:
    """Make a flow as `Flow.save` wrote it down: processors, sockets with their tasks, plugs, fixed values, places.

    The code in the file is run, as that of a cell is. What is there already under the same names becomes
    what the file says, the rest stays; so loading twice changes nothing. It is one edit: one undo takes all of it
    back, and a file of which something cannot be leaves the flow as it was.

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
        The flow.

    Raises
    ------
    DeclarationError
        The file is no saved flow, or its code does not run.
    """
    from ec_jupyter.notebook.flow import open_flow

    document = read(path)
    try:
        _make_all(_Bench(document, str(path)), document)
        flow = open_flow(name or document["name"], folder=folder)
        there = {name: socket.fixed for name, socket in flow.sockets.items()}
        with flow.edit():
            _declare(flow, document)
            _wire(flow, document, there)
        _pause(flow, document)
    except _DAMAGE as error:
        # of ours: what cannot be declared or wired; not that the engine or the disk cannot
        said = str(error) if isinstance(error, EcError) else f"{type(error).__name__}: {error}"
        raise DeclarationError(said if str(path) in said else f"{path} cannot be loaded: {_line(said)}") from error
    return flow


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A saved flow's document. Raises DeclarationError: the file is none."""
    try:
        document = json.loads(Path(path).read_text())
    except OSError as error:
        raise DeclarationError(f"{path} cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise DeclarationError(f"{path} is no saved flow: its JSON is nested too deeply") from error
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


class _Bench:
    """Where the code of a saved flow is run; the notebook's names are not touched."""

    def __init__(self, document: Mapping[str, Any], path: str) -> None:
        self.space: dict[str, Any] = {"__name__": "__main__"}
        self._path, self._flow = path, document["name"]
        main = vars(sys.modules["__main__"])
        lacking = [word for word in document.get("unbound", ()) if word not in main]
        self.space |= {word: main[word] for word in document.get("unbound", ()) if word in main}
        if lacking:
            note(f"the tasks of {path} use what is not in it: {', '.join(lacking)}")
        self._bound: dict[str, str] = {}

    def make(self, what: str, saved: Mapping[str, Any]) -> Any:
        """The function or value that was written down."""
        self._prepare(what, saved.get("before", {}))
        if "text" in saved:
            return Expression(saved["text"], self.space)
        name, code = saved.get("name") or "", saved["code"]
        if name:
            self._bind(what, name, code)
            if not callable(self.space.get(name)):
                raise DeclarationError(f"{self._path}: the code of {what} makes no function {name!r}")
            return self.space[name]
        self._run(what, f"_made = {code}")
        return self.space.pop("_made")

    def _prepare(self, what: str, before: Mapping[str, str]) -> None:
        """Have names stand for what they stood for, in a space of its own where they stand for something else here."""
        changed = {name for name, text in before.items() if self._bound.get(name, text) != text}
        if changed:
            self.space = dict(self.space)
            kept: dict[str, str] = {}
            for name, text in self._bound.items():
                # what uses such a name looks it up where it was made
                if name in changed or changed.intersection(used(text)):
                    changed.add(name)
                else:
                    kept[name] = text
            self._bound = kept
        for name, text in before.items():
            if name not in self._bound:
                self._bind(what, name, text)

    def _bind(self, what: str, name: str, text: str) -> None:
        self._run(what, text)
        self._bound[name] = text

    def _run(self, what: str, text: str) -> None:
        """Run a piece of code in a file that is nowhere but here."""
        file = f"<saved {self._flow}: {what}>"
        while linecache.getlines(file) not in ([], text.splitlines(keepends=True)):
            file = f"{file[:-1]}'>"
        try:
            compiled = compile(text, file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            # the last: its parser's own stack is full
            said = str(error) or "it is nested too deeply"
            raise DeclarationError(f"{self._path}: the code of {what} is not Python: {said}") from error
        # no time stamp: linecache then never looks for a file
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        SPACES[file] = self.space
        try:
            exec(compiled, self.space)
        except Exception as error:
            said = _line(f"{type(error).__name__}: {error}")
            raise DeclarationError(f"{self._path}: the code of {what} cannot be run: {said}") from error


def _line(text: str) -> str:
    return " ".join(text.split())


def _make_all(bench: _Bench, document: Mapping[str, Any]) -> None:
    """Put what was written down in the place of how it was, before anything of the flow is touched.

    In the order in which it was: a name may stand for one thing in one task, and for another in the next.
    """
    for name, part in document["sockets"].items():
        part["task"] = bench.make(f"socket {name!r}", part["task"])
        if part.get("key"):
            part["options"]["key"] = bench.make(f"key= of socket {name!r}", part["key"])
        part["fixed"] = {a: bench.make(f"{name}.{a}", value) for a, value in part["fixed"].items()}
    for plug in document["plugs"]:
        for word in FUNCTIONS:
            if word in plug:
                plug[word] = bench.make(f"{word}= of plug '{plug['source']} -> {plug['target']}'", plug[word])


def _declare(flow: Flow, document: Mapping[str, Any]) -> None:
    for name, settings in document.get("nodes", {}).items():
        flow.node(name, **settings)
    for name, settings in document["processors"].items():
        flow.processor(name, **settings)
    for name, part in document["sockets"].items():
        flow.declare(part["task"], name, processor=part["processor"], **part["options"])


def _wire(flow: Flow, document: Mapping[str, Any], there: Mapping[str, Mapping[str, str]]) -> None:
    for name, part in document["sockets"].items():
        for argument, value in part["fixed"].items():
            if repr(value)[:200] != there.get(name, {}).get(argument):
                flow.fix(name, **{argument: value})
    for plug in document["plugs"]:
        options = {key: value for key, value in plug.items() if key not in ("source", "target")}
        flow.plug(plug["source"], plug["target"], **options)
    for group, sockets in document.get("groups", {}).items():
        flow.group(group, *sockets)
    for given in document.get("notes", ()):
        if given not in [{"text": one["text"], "place": one["place"]} for one in flow.notes]:
            flow.note(given["text"], given["place"])
    for given in document.get("schedules", ()):
        options = {word: given[word] for word in ("zone", "name", "missed", "paused") if word in given}
        kind = "every" if "every" in given else "cron"
        getattr(flow, kind)(given[kind], given["socket"], **options)
    flow.place(**{name: part["position"] for name, part in document["sockets"].items() if part["position"]})


def _pause(flow: Flow, document: Mapping[str, Any]) -> None:
    paused = [*document.get("paused", ()), *(name for name, part in document["sockets"].items() if part["paused"])]
    if paused:
        flow.pause(*paused)
