"""An engine's own folder for sockets and mapped files, and what engines that were killed have left behind.

A locked file in the folder says that its engine lives: the lock goes with the process, however it
ends, and no other process can be taken for it. Whoever makes or removes such a folder holds the lock
of the folder above meanwhile, so nobody removes one that is just being made.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ec_jupyter.engine.address import socket_path
from ec_jupyter.engine.folder import Folder, locked
from ec_jupyter.errors import StoreError
from ec_jupyter.nodes import bootstrap
from ec_jupyter.nodes import cpus as machine
from ec_jupyter.nodes.worker import blame

log = logging.getLogger(__name__)

OWNER = "owner"  # the locked file: it names the engine's process
# in a flow's folder: what was left of its last engine's calls, written by whoever took that away
KILLED = "engine.killed"
GATE = "gate"
GATE_SECONDS = 1.0  # who holds it does so for less than a thousandth of that, unless it is stopped
_ENGINE = re.compile(r"e-\w{8}")
_SHARED = Path("/dev/shm")
LONGEST = 70  # bytes of a runtime folder: a path to a socket in it may have 108


def runtime_folder() -> Path:
    """The user's own short folder for sockets, made if need be; another where somebody has taken the usual name."""
    for place in _places():
        with suppress(OSError):
            return Path(bootstrap.private(place))
    try:
        return Path(tempfile.mkdtemp(prefix=f"{_name()}-", dir="/tmp"))
    except OSError as error:
        text = f"no folder for sockets can be made in /tmp ({error.strerror}); set XDG_RUNTIME_DIR to one of your own"
        raise StoreError(text) from error


def runtime_folders() -> list[Path]:
    """All of the user's own, in the order in which they are taken."""
    return [Path(place) for place in dict.fromkeys(_places()) if _owned(place) and not os.path.islink(place)]


def _name() -> str:
    return f"ec_jupyter-{os.getuid()}"


def _places() -> Iterator[str]:
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and len(os.fsencode(base)) <= LONGEST and _owned(base):
        yield os.path.join(base, "ec_jupyter")
    yield f"/tmp/{_name()}"
    with os.scandir("/tmp") as entries:
        yield from sorted(e.path for e in entries if e.name.startswith(f"{_name()}-") and _owned(e.path))


def _owned(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.getuid()
    except OSError:
        return False


class Runtime:
    """The folder of this process, the engine of a `flow`; it ends with `close`. Raises StoreError: none can be made."""

    def __init__(self, flow: Path | None = None) -> None:
        above = runtime_folder()
        with _gate(above, fcntl.LOCK_SH):
            self.folder = Path(tempfile.mkdtemp(prefix="e-", dir=above))  # where it is, with a short path
            self._fd = os.open(self.folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.write(self._fd, json.dumps({**_process(os.getpid()), "flow": str(flow or "")}).encode())

    @property
    def there(self) -> bool:
        """Whether the folder is where it was made, with its lock in it."""
        with suppress(OSError):
            return os.path.samestat(os.lstat(self.folder / OWNER), os.fstat(self._fd))
        return False

    def close(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._fd)


def last_calls(flow: Path) -> dict[int, bool]:
    """Calls that ran in workers of a flow's last engine when it was killed, and whether those had started programs."""
    # what says where an engine listens is there after one that was killed
    listened = socket_path(flow)
    if listened is None:
        return {}
    found = _calls_left(listened.parent)
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads((flow / KILLED).read_text())
        if told["engine"] == listened.parent.name:
            found |= {int(request): bool(program) for request, program in told["calls"].items()}
    return found


def _hand_over(owner: dict[str, Any], folder: Path) -> None:
    """Leave what workers of an engine last said in its flow's folder: the next engine there has not read it yet."""
    flow = Path(owner.get("flow") or "/")
    listened, calls = socket_path(flow), _calls_left(folder)
    if listened is not None and listened.parent == folder and calls:
        with suppress(OSError), Folder(flow) as place:
            place.write(KILLED, json.dumps({"engine": folder.name, "calls": calls}).encode())


def _calls_left(folder: Path) -> dict[int, bool]:
    found: dict[int, bool] = {}
    with suppress(OSError, ValueError, TypeError, KeyError):
        if json.loads((folder / OWNER).read_text())["boot"] != machine.boot_id():
            return found
        found = blame.calls_left(folder)
    return found


def sweep(folders: Iterable[Path] | None = None) -> int:
    """Remove what engines that live no more have left, in `folders` or all of the user's; how many those were."""
    places = runtime_folders() if folders is None else folders
    return sum(_sweep(folder / name) for folder in places for name in _names(folder))


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(folder) if _ENGINE.fullmatch(name)]
    return []


def _sweep(folder: Path) -> bool:
    """Remove what one engine has left, if it lives no more."""
    try:
        with _gate(folder.parent, fcntl.LOCK_EX, wait=False), Folder(folder) as place:
            owner = _dead(place)
            if owner is None or not _remove_semaphores(owner):
                return False
            _hand_over(owner, folder)
            place.remove(OWNER)
    except OSError as error:
        log.debug("%s stays: %s", folder, error)
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _dead(place: Folder) -> dict[str, Any] | None:
    """What the engine of a folder wrote about its process, if that has ended; else None."""
    try:
        fd = os.open(OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
    except FileNotFoundError:
        return {}
    with open(fd, "rb") as file:
        if not locked(fd):
            return None
        try:
            found = json.load(file)
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}


def _remove_semaphores(owner: dict[str, Any]) -> bool:
    """Remove the semaphores that loky made in a process that has ended; False while another has its number."""
    here = _process(os.getpid())
    if not owner or any(owner.get(key) != here[key] for key in ("boot", "namespace")):
        # of another start of the machine, or of a container: who has that number there cannot be seen
        return True
    # one with the same start has ended too, and waits for whoever started it to notice
    if _process(owner["pid"])["started"] not in (None, owner["started"]):
        return False
    for path in _SHARED.glob(f"sem.loky-{int(owner['pid'])}-*"):
        with suppress(OSError):
            if path.lstat().st_uid == os.getuid():
                path.unlink()
    return True


def _process(pid: int) -> dict[str, Any]:
    """Which process a number means: when it started, on which start of the machine, in which container."""
    facts = _said(Path(f"/proc/{int(pid)}/stat").read_text).rpartition(")")[2].split()
    started = facts[19] if len(facts) > 19 else None
    return {
        "pid": pid,
        "started": started,
        "boot": machine.boot_id(),
        "namespace": _said(lambda: os.readlink("/proc/self/ns/pid")),
    }


def _said(read: Callable[[], str]) -> str:
    with suppress(OSError):
        return read()
    return ""


@contextmanager
def _gate(folder: Path, how: int, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a runtime folder: wait so long and go on without it, or raise at once where not to `wait`."""
    fd = os.open(folder / GATE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + GATE_SECONDS
        while not locked(fd, how) and time.monotonic() < end:
            if not wait:
                raise BlockingIOError(errno.EWOULDBLOCK, "somebody makes or removes a folder in it", str(folder))
            time.sleep(0.001)
        yield
    finally:
        os.close(fd)
