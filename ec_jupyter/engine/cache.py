"""Results that are kept to be used again, in files: of calls of the same code with the same arguments.

A result is a file named by its call in a folder named by its code: a line of JSON, then the pickle; a large one is a
link to its value file beside it. What is found there is the result of the next such call, without a worker. Nothing
depends on it: a result that is gone, torn or too old is made anew.

Of calls alike the first is run, and the others wait for its result, without a CPU; without one they are run themselves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import Job
from ec_jupyter.flow.kept import Cached, key
from ec_jupyter.nodes.bootstrap import private
from ec_jupyter.wire import Outcome, Value

log = logging.getLogger(__name__)

READ_BYTES = 64 << 20  # of an argument in a file that is larger, its file has to be the same one
MOST_KEYS = 100_000
LINKED = ".value"


class Cache:
    """The results of one flow's sockets that may be used again."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._keys: dict[int, tuple[Cached, str]] = {}
        self._digests: dict[str, bytes] = {}
        self._sizes: dict[Path, int] = {}
        self._first: dict[tuple[Cached, str], int] = {}  # the newest of calls alike that was to be run
        self._behind: dict[int, list[int]] = {}  # those that wait for the result of a call
        self._alone: set[int] = set()  # those that have waited for a call that ran to its end
        self._topology = core.topology

    # -- calls ---------------------------------------------------------------------
    def left(self, placed: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
        """Those that have to be run, by node; of the others the result was there, or is on its way."""
        cached, jobs, begins = self._core.topology.cached, self._core.jobs, set[int]()
        return {
            node: [request for request in requests if not self._spared(jobs[request], cached, begins)]
            for node, requests in placed.items()
        }

    def let_go(self) -> None:
        """Have calls start, or find the result, that have waited for one that runs no more."""
        core, edited = self._core, self._core.topology is not self._topology
        self._topology = core.topology
        for first in [one for one in self._behind if edited or one not in core.held]:
            for request in self._behind.pop(first):
                if core.delayed.get(request) == math.inf:
                    core.due(request)

    def _spared(self, job: Job, cached: dict[int, Cached], begins: set[int]) -> bool:
        """Whether a call need not run, now at least; one that has to is noted in `begins`."""
        kept = cached.get(job.socket)
        if kept is None or job.deaths:
            return False
        call = self._core.specs.call(job, self._core.topology)
        if any(not isinstance(value, bytes) and not self._here(value) for value in call.values):
            return False
        name = key(call.spec, call.counts, [self._bytes(value) for value in call.values])
        found, alone = self._read(job, kept, name), job.id in self._alone
        self._alone.discard(job.id)
        if found is not None:
            self._core.reused(job, *found)
            return True
        first = self._first.get((kept, name), 0)
        if not alone and (first in begins or first in self._core.held) and self._waits(job):
            self._behind.setdefault(first, []).append(job.id)
            self._core.delayed[job.id] = math.inf
            return True
        begins.add(job.id)
        self._first[kept, name] = job.id
        self._note(job.id, kept, name)
        return False

    def _waits(self, job: Job) -> bool:
        """Whether a call may wait: a full socket lets go of, or refuses, those alone that wait for a CPU."""
        socket = self._core.topology.sockets[job.socket]
        return socket.limit is None or socket.full == "block"

    def _here(self, value: Value) -> bool:
        return value.file is not None and (self._values / value.file).exists()

    def _bytes(self, value: bytes | Value) -> bytes:
        """What tells an argument from others: its pickle, or the digest of its file."""
        if isinstance(value, bytes):
            return value
        assert value.file is not None
        if value.size > READ_BYTES:
            return value.file.encode()
        digest = self._digests.get(value.file)
        if digest is None:
            with (self._values / value.file).open("rb") as file:
                digest = self._digests[value.file] = hashlib.file_digest(file, "blake2b").digest()
            if len(self._digests) > MOST_KEYS:
                del self._digests[next(iter(self._digests))]
        return digest

    def _note(self, request: int, kept: Cached, name: str) -> None:
        self._keys[request] = kept, name
        if len(self._keys) > MOST_KEYS:
            # of calls that were cancelled or given up
            self._keys = {one: known for one, known in self._keys.items() if one in self._core.jobs}
            self._first = {known: one for one, known in self._keys.items()}
            self._alone.intersection_update(self._keys)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Keep what an attempt came to, if it is a result."""
        kept, name = self._keys.pop(job.id, (None, ""))
        if kept is None:
            return
        if self._first.get((kept, name)) == job.id:
            del self._first[kept, name]
        if (outcome.error or {}).get("kind") != "cancelled":
            self._alone.update(self._behind.get(job.id, ()))
        if outcome.state != "done" or outcome.value is None:
            return
        try:
            self._write(job, kept, name, outcome.value)
        except OSError as error:
            log.warning("a result of %s is not kept: %s", self._core.topology.sockets[job.socket].name, error)

    # -- files ---------------------------------------------------------------------
    @property
    def _values(self) -> Path:
        return self._core.values.folder

    def _folder(self, kept: Cached) -> Path:
        return (shared() if kept.shared else self._core.store.folder / "cache") / kept.code

    def _read(self, job: Job, kept: Cached, name: str) -> tuple[Value, str] | None:
        path = self._folder(kept) / name
        try:
            if kept.seconds is not None and time.time() - path.stat().st_mtime > kept.seconds:
                return None
            line, _, data = path.read_bytes().partition(b"\n")
            head = json.loads(line)
            if head["file"]:
                found = Value(None, f"{job.id}.{self._core.epoch}.0.0", head["size"], head["type"])
                _link(path.with_name(name + LINKED), self._values / str(found.file))
            elif zlib.crc32(data) != head["sum"]:
                return None
            else:
                found = Value(data, None, len(data), head["type"])
            # what is used is kept longest; how old it is stays
            os.utime(path, (time.time(), path.stat().st_mtime))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("what is kept in %s is of no use: %s", path, error)
            return None
        return found, f"request {head['request']}" + (f" of flow {head['flow']!r}" if kept.shared else "")

    def _write(self, job: Job, kept: Cached, name: str, value: Value) -> None:
        folder = self._folder(kept)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, data = folder / name, value.data or b""
        if value.file is not None:
            if not (self._values / value.file).exists():
                # on another machine
                return
            path.with_name(name + LINKED).unlink(missing_ok=True)
            _link(self._values / value.file, path.with_name(name + LINKED))
        head = {
            "request": job.id, "flow": self._core.store.folder.name, "type": value.type, "size": value.size,
            "file": value.file is not None, "sum": zlib.crc32(data),
        }  # fmt: skip
        new = path.with_name(f".{secrets.token_hex(8)}")
        new.write_bytes(json.dumps(head).encode() + b"\n" + data)
        new.replace(path)
        if kept.bytes is not None:
            self._fit(folder, kept.bytes, value.size)

    def _fit(self, folder: Path, most: int, more: int) -> None:
        """Remove what was used longest ago until no more is kept than may be."""
        self._sizes[folder] = self._sizes.get(folder, most) + more
        if self._sizes[folder] <= most:
            return
        kept = sorted((path.stat().st_atime, path) for path in folder.iterdir() if not path.name.endswith(LINKED))
        sizes = {path: _size(path) for _, path in kept}
        total = sum(sizes.values())
        for _, path in kept:
            if total <= most:
                break
            _remove(path)
            total -= sizes[path]
        self._sizes[folder] = total

    def clear(self, sockets: Sequence[int]) -> tuple[int, int]:
        """Remove what is kept of some sockets, of any version of their tasks; how many results, and bytes."""
        topology, files, size = self._core.topology, 0, 0
        for folder in {self._folder(kept) for socket in sockets for kept in topology.kept(socket)}:
            for path in [one for one in folder.glob("*") if not one.name.endswith(LINKED)]:
                files, size = files + 1, size + _size(path)
                _remove(path)
            self._sizes.pop(folder, None)
        for request in [one for one in self._keys if (job := self._core.jobs.peek(one)) and job.socket in sockets]:
            # what runs was begun before
            self._first.pop(self._keys.pop(request), None)
        return files, size


def shared() -> Path:
    """Where results are that all flows of this user share. Raises OSError: it is not this user's alone."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(private(os.path.join(home, "ec_jupyter", "results")))


def _link(source: Path, target: Path) -> None:
    """Have a file under a second name; a copy where a disk cannot do that."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except FileExistsError:
        target.unlink()
        _link(source, target)
    except OSError:
        new = target.with_name(f".{secrets.token_hex(8)}")
        shutil.copyfile(source, new)
        new.replace(target)


def _size(path: Path) -> int:
    linked = path.with_name(path.name + LINKED)
    return path.stat().st_size + (linked.stat().st_size if linked.exists() else 0)


def _remove(path: Path) -> None:
    for one in (path, path.with_name(path.name + LINKED)):
        with suppress(FileNotFoundError):
            one.unlink()
