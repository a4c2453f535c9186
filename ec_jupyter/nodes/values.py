"""Values as bytes: pickled once, small ones inline, large ones a file of the flow.

A file holds the pickle and its out-of-band buffers, each at an offset that is a multiple of 64,
so that whoever loads it maps the file and an array inside is a slice of the map, not a copy.
"""

from __future__ import annotations

import errno
import inspect
import mmap
import os
import pickle
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any, BinaryIO, NamedTuple

import cloudpickle

from ec_jupyter.errors import FrameError, StoreDamagedError, TaskNotPicklableError
from ec_jupyter.nodes.code import by_value, nameless
from ec_jupyter.wire import INLINE_BYTES, Value

_MAGIC = b"ECV1"
_COUNT = struct.Struct("<4sI")
_PART = struct.Struct("<QQ")
_ALIGN = 64
_PLAIN: dict[type, str] = {int: "int", float: "float", bool: "bool", type(None): "NoneType", str: "str", bytes: "bytes"}
_dumps = pickle.dumps


def dump(obj: object, folder: Path, name: str | Callable[[], str], *, sync: bool = False, what: str = "value") -> Value:
    """A value that can travel; written to a file of `folder`, which is made if missing, if it is large.

    `name`: the file's, used only where the value becomes one. `sync`: wait until file and folder are on the disk.
    `what`: what to call the value where it cannot travel, such as ``"result of 'f'"``. Raises TaskNotPicklableError: it
    cannot be pickled, and the text names the part at fault; OSError: the file cannot be written.
    """
    plain = small(obj)
    if plain is not None:
        return plain
    data, buffers = _pickled(obj, what)
    size = len(data) + sum(len(b) for b in buffers)
    if size > INLINE_BYTES:
        name = name if isinstance(name, str) else name()
        _write(folder, name, [memoryview(data), *buffers], sync)
        return Value(None, name, size, type_name(obj))
    if buffers:
        data = _banded(obj)
    return Value(data, None, len(data), type_name(obj))


def small(obj: object) -> Value | None:
    """The value of a number, text or None that is not large, with nothing in it to look at; else None."""
    kind = _PLAIN.get(type(obj))
    if kind is None:
        return None
    data = pickle.dumps(obj, 5)
    size = len(data)
    return Value(data, None, size, kind) if size <= INLINE_BYTES else None


class Pickles(NamedTuple):
    """Values of one type, each pickled and small."""

    type: str
    data: Sequence[bytes]


def plain(column: Sequence[object]) -> Pickles | None:
    """The pickles of numbers, texts or None that are of one type, none of them large; else None."""
    kind = _PLAIN.get(type(column[0]))
    if kind is None or (len(column) > 1 and len(set(map(type, column))) > 1):
        return None
    data = [pickle.dumps(one, 5) for one in column]
    return Pickles(kind, data) if max(map(len, data)) <= INLINE_BYTES else None


def smalls(values: Iterable[object]) -> tuple[tuple[str, ...], list[bytes]] | None:
    """Types and pickles of numbers, texts or None, none of them large; None where one is something else."""
    types, data = [], []
    for value in values:
        kind = _PLAIN.get(type(value))
        if kind is None or len(packed := _dumps(value, 5)) > INLINE_BYTES:
            return None
        types.append(kind)
        data.append(packed)
    return tuple(types), data


def write_file(folder: Path, name: str, data: bytes) -> None:
    """Write a pickle as the value file `name`."""
    _write(folder, name, [memoryview(data)], sync=False)


def load(value: Value, folder: Path) -> Any:
    """The object a value stands for; arrays of a file are read-only views of it.

    Raises StoreDamagedError: the value's file is gone or no value file, or was removed after the value had been thrown
    away; MemoryError: this process gets no memory for it; the value is as it was.
    """
    if value.file is None:
        if value.data is None:
            raise StoreDamagedError(f"the value ({value.type}) was thrown away, and flow.gc() has removed its file")
        return pickle.loads(value.data)
    return load_file(value.file, folder)


def load_file(name: str, folder: Path) -> Any:
    """The object in the value file `name`."""
    size = 0
    try:
        with _opened(name, folder) as file:
            spans, size = _spans(file, name), os.fstat(file.fileno()).st_size
            mapped = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
        first, *buffers = (mapped[at : at + length] for at, length in spans)
        return pickle.loads(first, buffers=buffers)
    except (OSError, MemoryError) as error:
        if str(error) and getattr(error, "errno", None) != errno.ENOMEM:
            raise
        raise MemoryError(
            f"a value of {size / 1e6:.0f} MB does not fit into the memory that process {os.getpid()} may still use; "
            "raise its limit (ulimit -v shows it), or use smaller values"
        ) from error


def whole(name: str, folder: Path) -> bool:
    """Whether the value file `name` is there, and not cut short."""
    try:
        with _opened(name, folder) as file:
            _spans(file, name)
    except StoreDamagedError:
        return False
    return True


def _opened(name: str, folder: Path) -> BinaryIO:
    if os.sep in name or name.startswith("."):
        raise FrameError(f"{name!r} is no name of a value file")
    path = folder / name
    try:
        return path.open("rb")
    except OSError as error:
        if error.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            raise  # it says nothing of the file
        raise StoreDamagedError(f"value file {name!r} cannot be read: {error}") from error


def type_name(obj: object) -> str:
    """The qualified name of an object's type, without ``builtins``."""
    kind = type(obj)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    # whoever makes types by hand may name them anything: blocks have a line for each
    return name if name.isidentifier() or name.isprintable() else repr(name)


def _pickled(obj: object, what: str) -> tuple[bytes, list[memoryview]]:
    buffers: list[pickle.PickleBuffer] = []
    thread = threading.get_ident()
    nameless.add(thread)
    try:
        data = pickle.dumps(obj, protocol=5, buffer_callback=buffers.append)
        plain = b"__main__" not in data
    except Exception:  # noqa: BLE001 - a user's __reduce__ raises what it likes
        plain = False  # cloudpickle takes more; if it does not, its error is the one to tell
    finally:
        nameless.discard(thread)
    if not plain:
        buffers = []
        try:
            data = by_value(obj, buffers.append)
        except Exception as error:
            path, culprit = _offender(obj, 0)
            part = f" at {path.strip()}" if path else ""
            raise TaskNotPicklableError(f"{what} cannot travel: {error}{part} ({type_name(culprit)})") from error
    try:
        return data, [b.raw() for b in buffers]
    except BufferError:
        # a buffer that is not contiguous has no raw bytes; copied into the pickle it has
        return _banded(obj), []


def _banded(obj: object) -> bytes:
    """The pickle with its buffers inside."""
    try:
        data = pickle.dumps(obj, protocol=5)
    except Exception:  # noqa: BLE001 - as above
        return by_value(obj)
    return data if b"__main__" not in data else by_value(obj)


def _offender(obj: object, depth: int) -> tuple[str, object]:
    """Path to the innermost element that does not pickle, and the element."""
    for step, element in _elements(obj) if depth < 4 else ():
        try:
            cloudpickle.dumps(element, protocol=5)
        except Exception:  # noqa: BLE001 - as above
            path, culprit = _offender(element, depth + 1)
            return step + path, culprit
    return "", obj


def _elements(obj: object) -> list[tuple[str, object]]:
    if isinstance(obj, dict):
        return [(f"[{key!r}]", value) for key, value in list(obj.items())[:1000]]
    if isinstance(obj, list | tuple):
        return [(f"[{i}]", value) for i, value in enumerate(obj[:1000])]
    if isinstance(obj, FunctionType):
        captured = inspect.getclosurevars(obj)
        return [(f" variable {name!r}", value) for name, value in {**captured.nonlocals, **captured.globals}.items()]
    facts = getattr(obj, "__dict__", None)
    return [(f".{key}", value) for key, value in facts.items()] if isinstance(facts, dict) else []


def _write(folder: Path, name: str, parts: list[memoryview], sync: bool) -> None:
    at = -(-(_COUNT.size + _PART.size * len(parts)) // _ALIGN) * _ALIGN
    head = [_COUNT.pack(_MAGIC, len(parts))]
    offsets = []
    for part in parts:
        head.append(_PART.pack(at, len(part)))
        offsets.append(at)
        at = -(-(at + len(part)) // _ALIGN) * _ALIGN
    beside = folder / f".{name}.{os.getpid()}"
    try:
        with private_file(beside) as file:
            file.write(b"".join(head))
            for offset, part in zip(offsets, parts, strict=True):
                file.seek(offset)
                file.write(part)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, folder / name)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            beside.unlink()
        raise
    if sync:
        sync_to_disk(folder)


def private_file(path: Path) -> BinaryIO:
    """A new file, to be written; its folder is made if missing. Both are this user's alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, flags, 0o600)
    return open(fd, "wb")


def sync_to_disk(path: Path) -> None:
    """Return once a file, or a folder's list of files, is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _spans(file: BinaryIO, name: str) -> list[tuple[int, int]]:
    """Where the parts of a value file begin, and how long they are."""
    try:
        magic, count = _COUNT.unpack(file.read(_COUNT.size))
        size = os.fstat(file.fileno()).st_size
        # no count of a file that is not one of ours is believed
        head = file.read(_PART.size * count if magic == _MAGIC and _PART.size * count <= size else 0)
        spans = list(_PART.iter_unpack(head))
    except OSError as error:
        raise StoreDamagedError(f"value file {name!r} cannot be read: {error}") from error
    except struct.error as error:
        raise StoreDamagedError(f"value file {name!r} is cut short") from error
    if not spans or len(spans) != count or any(at + length > size for at, length in spans):
        raise StoreDamagedError(f"{name!r} is no whole value file")
    return spans
