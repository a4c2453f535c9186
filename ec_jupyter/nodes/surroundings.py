"""What a task finds around it in a worker: folders of modules, environment, current folder; put back between calls.

The module's name stands in pickled tasks that are on disk: it stays where it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

_getsignal = getattr(signal, "_signal", signal).getsignal  # Python's own wrapper makes an enum of it, for every call
_CHANGES = {"os.chdir", "os.putenv", "os.unsetenv"}
_PROGRAMS = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
}  # fmt: skip


@dataclass(frozen=True)
class Surroundings:
    """What a notebook had when it declared a task."""

    # first, last: folders of modules, before and behind those that every process of this Python has
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    environment: tuple[tuple[str, str | None], ...] = ()  # variables that were set in the notebook, or taken away
    # modules of the person's own that the task uses, with a hash of what they were
    modules: tuple[tuple[str, str], ...] = ()


PLAIN = Surroundings()  # those of a task that needs nothing special


def opened(blob: bytes, place: Place | None = None) -> tuple[Any, Surroundings]:
    """A function and its surroundings from their pickle; `place` is made ready before the function is loaded."""
    stream = BytesIO(blob)
    first = pickle.load(stream)
    if not isinstance(first, Surroundings):
        return first, PLAIN
    if place is not None:
        place.prepare(first)
    return pickle.load(stream), first


class Place:
    """The one of a worker process.

    `elsewhere`: this is another machine than the notebook's: its folders are not here, and variables that the machine
    has itself stay as they are. `started`: told when a task starts another program, or becomes two.
    """

    def __init__(self, elsewhere: bool, started: Callable[[], None]) -> None:
        self._elsewhere, self._started = elsewhere, started
        self._began = time.time()
        self._folder = os.getcwd()
        self._own = dict(os.environ)
        self._given: tuple[tuple[str, str | None], ...] = ()
        self._modules: dict[str, str] = {}
        self._changed = False
        self._interrupt = _getsignal(signal.SIGINT)
        self._parent = os.getppid()
        self._working = False
        sys.addaudithook(self._heard)

    def prepare(self, wanted: Surroundings) -> None:
        """Let a task that is about to be loaded find its modules, as they are now."""
        if not self._elsewhere:
            sys.path[:0] = [folder for folder in wanted.first if folder not in sys.path]
            sys.path += [folder for folder in wanted.last if folder not in sys.path]
        if any(self._is_old(name, made) for name, made in wanted.modules):
            for name, _ in wanted.modules:
                _forget(name)
            importlib.invalidate_caches()
        self._modules.update(wanted.modules)

    def enter(self, wanted: Surroundings) -> None:
        """Begin a call in its surroundings."""
        self._working = True
        if wanted.environment != self._given:
            self._environment(wanted.environment)
            self._changed = False

    def keep(self, names: Iterable[str]) -> None:
        """Take variables, as they are now, for the process's own; between calls."""
        self._own.update({name: os.environ[name] for name in names})
        self._changed = False

    def leave(self) -> None:
        """Put back after a call what it has changed: folder, environment, the signal that stops calls."""
        self._working = False
        if self._changed:
            with suppress(OSError):  # the folder is gone
                os.chdir(self._folder)
            self._environment(self._given)
            self._changed = False
        if _getsignal(signal.SIGINT) is not self._interrupt:
            signal.signal(signal.SIGINT, self._interrupt)

    def _environment(self, given: tuple[tuple[str, str | None], ...]) -> None:
        wanted = dict(self._own)
        for name, value in given:
            if value is None:
                wanted.pop(name, None)
            elif not (self._elsewhere and name in self._own):
                wanted[name] = value
        for name in os.environ.keys() - wanted.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in wanted.items() if os.environ.get(name) != value})
        self._given = given

    def _is_old(self, name: str, made: str) -> bool:
        """Whether a module that is loaded here was loaded before it became what the notebook has."""
        module = sys.modules.get(name)
        if module is None:
            return False
        known = self._modules.get(name)
        if known is not None:
            return known != made
        try:
            # loaded for another reason: as it was when this process began, or later
            return os.stat(module.__file__ or "").st_mtime > self._began
        except (OSError, AttributeError):
            return False

    def _heard(self, event: str, given: tuple[Any, ...]) -> None:
        """Audit hook: notes what has to be put back, and keeps a task from killing what its worker belongs to."""
        if event in _CHANGES:
            if event == "os.chdir" or not _importing():
                self._changed = True
            else:
                # a library has set it up for itself, once
                self._own.update({os.fsdecode(given[0]): os.fsdecode(given[1])} if event == "os.putenv" else {})
        elif self._working and event in _PROGRAMS:
            self._started()
        elif self._working and event in ("os.kill", "os.killpg") and given[1]:
            target = given[0] if event == "os.kill" else -given[0]
            if target in (self._parent, -1, -_group(self._parent)):
                raise PermissionError(f"a task cannot end process {self._parent}, which its worker belongs to")


def _importing() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return pid


def _forget(name: str) -> None:
    """Let the next import of a module read its file."""
    module = sys.modules.pop(name, None)
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        vars(sys.modules[parent]).pop(last, None)
    file = getattr(module, "__file__", None)
    with suppress(OSError, NotImplementedError, TypeError):
        # whole seconds and size are all that Python compares: an edit within a second would not be seen
        os.unlink(importlib.util.cache_from_source(file))  # type: ignore[arg-type]
