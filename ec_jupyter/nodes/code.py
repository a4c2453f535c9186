"""Code objects as they travel: each keeps the name of the file it came from, so that tracebacks have their lines.

The module's name stands in pickled tasks that are on disk: it stays where it is.
"""

from __future__ import annotations

import enum
import functools
import io
import linecache
import sys
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import cloudpickle

ALIASES: dict[str, str] = {}  # files of this process by the names under which other processes know their text


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of cloudpickle, except that code keeps its file name, classes their slots, functions their cache.

    `buffer_callback`: takes the buffers that travel beside the pickle.
    """

    def __init__(self, file: Any, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        reduce = cloudpickle.Pickler.dispatch_table[CodeType]
        ours = {CodeType: self._code, _Nameless: lambda nameless: reduce(nameless.code), **REDUCERS}
        # before the pickler is made: the C code looks at it once, then
        self.dispatch_table = ChainMap(ours, cloudpickle.Pickler.dispatch_table)
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)

    def origin(self, code: CodeType) -> tuple[str, ...]:
        """The file name that `code` bears where it arrives, and the text of that file where it has to go along."""
        return (ALIASES.get(code.co_filename, code.co_filename),)

    def reducer_override(self, obj: Any) -> Any:
        """As cloudpickle, which makes a class without its slots: what they hold would not load where it has them."""
        if not isinstance(obj, (type, FunctionType)):
            return NotImplemented  # as cloudpickle says of them; asked of every object, so it is not called for that
        reduced = super().reducer_override(obj)
        slots = vars(obj).get("__slots__")
        # empty ones hold nothing, and a named tuple bears no others
        if not isinstance(reduced, tuple) or not slots or isinstance(obj, enum.EnumMeta):
            return reduced
        make, (kind, name, bases, body, *rest), *state = reduced
        return make, (kind, name, bases, {**body, "__slots__": slots}, *rest), *state

    def _code(self, code: CodeType) -> Any:
        return named, (_Nameless(code), *self.origin(code))


@dataclass(frozen=True, eq=False, slots=True)
class _Nameless:
    """Code whose file name does not matter."""

    code: CodeType


def by_reference(value: Any) -> bool:
    """Whether a worker finds a function or class by its import path, as pickle would."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if module is None or module.__name__ in {"__main__", *cloudpickle.list_registry_pickle_by_value()}:
        return False
    if module.__name__ == "builtins":
        return True  # also the types that have no name there, as those of descriptors
    found: Any = module
    for part in getattr(value, "__qualname__", "<none>").split("."):
        found = getattr(found, part, None)
    return found is value


def _cached(function: Any) -> Any:
    """How a function under ``functools.cache`` travels: the function, and the way to cache it anew."""
    if by_reference(function):
        return function.__reduce__()
    return cached_anew, (function.__wrapped__, *function.cache_parameters().values())


def cached_anew(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """A function under a cache of its own, which is empty."""
    return functools.lru_cache(maxsize, typed)(function)


REDUCERS: dict[type, Callable[[Any], Any]] = {functools._lru_cache_wrapper: _cached}
"""How what cloudpickle would take for importable travels."""


def by_value(obj: object, buffer_callback: Callable[[Any], Any] | None = None) -> bytes:
    """The pickle of an object with the code that other processes cannot import."""
    sink = io.BytesIO()
    Pickler(sink, buffer_callback).dump(obj)
    return sink.getvalue()


def named(code: CodeType, file: str, text: str | None = None) -> CodeType:
    """Code as it arrives, under the name of its file; `text` is what that file holds."""
    if text is not None:
        keep_source(file, text)
    return code.replace(co_filename=file)


def keep_source(name: str, text: str) -> None:
    """Let tracebacks show the lines of a cell: code of the file `name` has this source."""
    # no time stamp: linecache then never looks for a file
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
