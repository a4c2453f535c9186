"""Code objects as they travel: each keeps the name of the file it came from, so that tracebacks have their lines.

The module's name stands in pickled tasks that are on disk: it stays where it is.
"""

from __future__ import annotations

import enum
import functools
import io
import linecache
import sys
import threading
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, resolve_bases
from typing import Any, NewType

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
        if (registry := registered(obj)) is not None and not by_reference(obj):
            return dispatching_anew, (registry,)
        if isinstance(obj, type):
            _recognise(obj)
        reduced = super().reducer_override(obj)
        if not isinstance(reduced, tuple) or len(reduced) == 2 or isinstance(obj, FunctionType):
            return reduced  # 2: one that Python has, without a name by which it could be imported
        make, parts, *state = reduced
        if not isinstance(obj, enum.EnumMeta):
            kind, name, bases, body, *rest = parts
            body = dict(body)
            if obj.__qualname__ != name:
                body["__qualname__"] = obj.__qualname__
            if slots := vars(obj).get("__slots__"):
                # empty ones hold nothing, and a named tuple bears no others
                body["__slots__"] = slots
            parts = kind, name, bases, body, *rest
        return class_anew, (obj.__qualname__, make, *parts), *state[:-1], class_filled

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


_DISPATCHES = vars(functools.singledispatch(lambda _: None))["register"].__code__


def registered(function: object) -> dict[type, Any] | None:
    """The functions by type among which one under ``functools.singledispatch`` chooses; None of any other."""
    register = vars(function).get("register") if isinstance(function, FunctionType) else None
    if isinstance(register, FunctionType) and register.__code__ is _DISPATCHES:
        return dict(vars(function)["registry"])
    return None


def dispatching_anew(registry: Mapping[type, Any]) -> Any:
    """A function that chooses among these; what it has chosen so far, which cannot travel, it finds again."""
    function = functools.singledispatch(registry[object])
    for kind, chosen in registry.items():
        function.register(kind, chosen)
    return function


def _hooked(bases: tuple[type, ...]) -> list[type]:
    """Those of the bases, and theirs, that travel by value and do something to each new class."""
    every = dict.fromkeys(kind for base in resolve_bases(bases) for kind in base.__mro__)
    return [kind for kind in every if "__init_subclass__" in vars(kind) and not by_reference(kind)]


def class_anew(place: str, make: Callable[..., type], *parts: Any) -> type:
    """A class as it arrives: the notebook's own where it is that, and without what its bases do to new ones.

    What came of that where it was defined has travelled with it.
    """
    _recognise(_in_notebook(place))
    bases = next(part for part in parts if isinstance(part, tuple))
    hooks = [(base, vars(base)["__init_subclass__"]) for base in _hooked(bases)]
    for base, _ in hooks:
        base.__init_subclass__ = classmethod(lambda cls, **_: None)  # type: ignore[method-assign, assignment]
    try:
        return make(*parts)
    finally:
        for base, hook in hooks:
            base.__init_subclass__ = hook  # type: ignore[method-assign]


def class_filled(kind: type, state: Any) -> type:
    """A class with all that it has; the notebook's own has it, and may have changed it since."""
    if Classes.identity is None or _in_notebook(kind.__qualname__) is not kind:
        cloudpickle.cloudpickle._class_setstate(kind, state)
        _arrived[kind.__qualname__] = kind
    return kind


class Classes:
    """How the process that has the notebook knows its classes: by what they are, so the next one knows them too."""

    identity: Callable[[type], str] | None = None  # None: this process has no notebook


def _recognise(kind: Any) -> None:
    """Let what is of a class of the notebook be of it where it comes back, after the cell or kernel has run again."""
    identity, known = Classes.identity, cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS
    if identity is None or not isinstance(kind, type) or kind.__module__ != "__main__" or kind in known:
        return
    if _in_notebook(kind.__qualname__) is not kind:
        return  # made by a function: there may be others that are alike
    known[kind] = name = f"{kind.__qualname__} {identity(kind)}"
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID[name] = kind


def _in_notebook(place: str) -> Any:
    """What the notebook has by that name."""
    first, *parts = place.split(".")
    found: Any = vars(sys.modules["__main__"]).get(first)
    for part in parts:
        found = getattr(found, part, None)
    return found


_arrived: dict[str, Any] = {}  # functions and classes of the notebook that have come to this process, by name
nameless: set[int] = set()  # threads that look whether a value can do without those: they are to find none of them


def arrived(function: Any) -> None:
    """Keep in mind what of the notebook a function has brought."""
    space = getattr(function, "__globals__", {})
    for name, value in {**space, getattr(function, "__name__", ""): function}.items():
        if isinstance(value, (FunctionType, type)) and value.__module__ == "__main__":
            _arrived[name] = value


def lend_names() -> None:
    """Let the main module of a worker have the notebook's names: pickles and forks that a task makes look there."""

    def found(name: str) -> Any:
        if name in _arrived and threading.get_ident() not in nameless:
            return _arrived[name]
        raise AttributeError(f"module '__main__' has no attribute {name!r}")

    vars(sys.modules["__main__"])["__getattr__"] = found


class Unmade:
    """Stands for an exception, and loads as that one without a call of its class, which may take other arguments."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return raised_anew, (type(self._error), self._error.args), vars(self._error)


def raised_anew(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception with these arguments, for which its class is not asked."""
    return kind.__new__(kind, *args)


def _new_type(kind: Any) -> Any:
    if by_reference(kind):
        return kind.__reduce__()
    return NewType, (kind.__name__, kind.__supertype__), {"__module__": kind.__module__}


REDUCERS: dict[type, Callable[[Any], Any]] = {
    functools._lru_cache_wrapper: _cached,
    # before Python 3.12 it has a lock
    functools.cached_property: lambda made: (functools.cached_property, (made.func,), {"attrname": made.attrname}),
    NewType: _new_type,
}
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
