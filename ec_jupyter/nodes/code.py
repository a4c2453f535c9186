"""Code objects as they travel: each keeps the name of the file it came from, so that tracebacks have their lines.

The module's name stands in pickled tasks that are on disk: it stays where it is.
"""

from __future__ import annotations

import io
import linecache
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import cloudpickle

ALIASES: dict[str, str] = {}
"""Files of this process by the names under which other processes know their text."""


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of cloudpickle, except that code keeps its file name, whatever cloudpickle makes of that.

    `buffer_callback`: takes the buffers that travel beside the pickle.
    """

    def __init__(self, file: Any, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        reduce = cloudpickle.Pickler.dispatch_table[CodeType]
        ours = {CodeType: self._code, _Nameless: lambda nameless: reduce(nameless.code)}
        # before the pickler is made: the C code looks at it once, then
        self.dispatch_table = ChainMap(ours, cloudpickle.Pickler.dispatch_table)
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)

    def origin(self, code: CodeType) -> tuple[str, ...]:
        """The file name that `code` bears where it arrives, and the text of that file where it has to go along."""
        return (ALIASES.get(code.co_filename, code.co_filename),)

    def _code(self, code: CodeType) -> Any:
        return named, (_Nameless(code), *self.origin(code))


@dataclass(frozen=True, eq=False, slots=True)
class _Nameless:
    """Code whose file name does not matter."""

    code: CodeType


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
