"""The first code that runs on a node's host: says what is there, takes the bundle in, starts the rest.

The source of this module travels as it is, without what only people read, and before it is known
which Python it meets: the standard library alone, and nothing that Python 3.6 cannot read.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import select
import shutil
import signal
import socket
import stat
import sys
import time
import zlib
from typing import Any

MAGIC = b"\x1eEC_JUPYTER "  # begins the line of facts; what a login shell has printed before it is skipped
ENVIRONMENT = "EC_JUPYTER_HOST"
"""Variable that says to the process started from here what it is to do; other users cannot read it."""

DETACHED = b"d"
ATTACH_SECONDS = 10.0  # how long an agent may take to begin to listen, or to end
LEFT_SECONDS = 600.0  # how long the folder of an agent that was killed stays: the next one reads what ran then
_BYTES = 256 * 1024


def private(folder: str) -> str:
    """The folder, made if need be; an `OSError` if it is not this user's alone."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    state = os.lstat(folder)
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise OSError(f"{folder} is not private to this user")
    if not os.access(folder, os.W_OK):
        raise OSError(f"{folder} cannot be written")
    return folder


def base() -> str:
    """Where agents live: on the host itself, never on a file system it shares, and for longer than a login."""
    name = f"ec_jupyter-{os.getuid()}"
    for parent in ("/var/tmp", "/tmp", os.environ.get("TMPDIR", "/tmp")):
        try:
            return private(os.path.join(parent, name))
        except OSError as error:
            last = error
    raise last


def cache() -> str:
    """Where bundles and environments stay: the user's cache, or beside the agents where that cannot be written."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    try:
        if not os.path.isabs(home):
            raise OSError("no home")
        os.makedirs(home, exist_ok=True)
        return private(os.path.join(home, "ec_jupyter"))
    except OSError:
        return private(os.path.join(base(), "cache"))


def store(folder: str, sha256: str, data: bytes) -> str:
    """Write the bundle down, whole or not at all; its path."""
    path = os.path.join(folder, sha256 + ".zip")
    beside = f"{path}.{os.getpid()}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    os.replace(beside, path)
    return path


def cached(folder: str, sha256: str) -> str | None:
    """The path of the bundle if it is here and undamaged."""
    path = os.path.join(folder, sha256 + ".zip")
    try:
        with open(path, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() == sha256:
                os.utime(path)
                return path
    except OSError:
        pass
    return None


def unpacked(path: str) -> str:
    """The folder with what is in the bundle: what Python compiles there it keeps, and of a zip it does not."""
    import tempfile
    import zipfile

    folder = path[: -len(".zip")]
    with zipfile.ZipFile(path) as bundle:
        files = bundle.infolist()
        if not all(_whole(os.path.join(folder, file.filename), file) for file in files):
            beside = tempfile.mkdtemp(prefix=os.path.basename(folder) + ".", dir=os.path.dirname(folder))
            bundle.extractall(beside)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                os.rename(beside, folder)
            except OSError:
                # another login was quicker
                shutil.rmtree(beside, ignore_errors=True)
    return folder


def _whole(path: str, file: Any) -> bool:
    try:
        with open(path, "rb") as there:
            data = there.read()
    except OSError:
        return False
    return bool(len(data) == file.file_size and zlib.crc32(data) == file.CRC)


def locked(path: str) -> bool:
    """Whether an agent holds the lock."""
    import fcntl

    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def attached(run: str, key: str) -> socket.socket | None:
    """A connection to the agent that runs already; None if there is none."""
    end = time.time() + ATTACH_SECONDS
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(os.path.join(run, key, "s"))
            return sock
        except OSError:
            sock.close()
        if not locked(os.path.join(run, key + ".lock")):
            return None
        if time.time() > end:
            raise OSError("an agent is there and does not answer")
        time.sleep(0.05)


def relay(sock: socket.socket) -> None:
    """Pass bytes on between our own ends and the agent until either side has ended."""
    peer = sock.fileno()
    ways = {0: peer, peer: 1}
    while True:
        for fd in select.select(list(ways), [], [])[0]:
            data = os.read(fd, _BYTES)
            if not data:
                return
            while data:
                data = data[os.write(ways[fd], data) :]


def pythons() -> list[str]:
    """Names of the Pythons on the path."""
    found: dict[int, str] = {}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.startswith("python3.") and name[8:].isdigit():
                found.setdefault(int(name[8:]), name)
    return [found[minor] for minor in sorted(found)]


def start(bundle: str, orders: dict[str, Any]) -> int:
    """Start the agent with our ends and wait: until it has ended, or needs them no more."""
    out, into = os.dup(1), os.dup(0)
    stay, leave = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        # what prints by mistake must not end up between frames
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        orders.update({"read": into, "write": out, "detach": leave, "bundle": bundle})
        for fd in (out, into, leave):
            os.set_inheritable(fd, True)
        execute(sys.executable, bundle, orders)
    for fd in (0, 1, out, into, leave):
        os.close(fd)
    if os.read(stay, 1) == DETACHED:
        return 0
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        os.write(2, f"the agent was killed by {signal.Signals(number).name}\n".encode())
        return 128 + number
    return os.WEXITSTATUS(status)


def execute(python: str, bundle: str, orders: dict[str, Any]) -> None:
    """Become the agent."""
    path = [bundle] + orders.get("path", []) + [p for p in [os.environ.get("PYTHONPATH")] if p]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(path))
    env[ENVIRONMENT] = json.dumps(orders)
    os.execve(python, [python, bundle], env)


def main(orders: dict[str, Any]) -> None:
    """Run on the host; `orders` come from the engine."""
    stdin = sys.stdin.buffer
    facts = {
        "python": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "pythons": pythons(),
        "host": platform.node(),
        "bundle": False,
        "running": False,
    }
    bundle = sock = None
    if sys.version_info[:2] == tuple(orders["python"]):
        try:
            folder = cache()
            sock = attached(base(), orders["key"])
            bundle = cached(folder, orders["sha256"])
        except OSError as error:
            facts["error"] = str(error)
        facts.update({"bundle": bundle is not None, "running": sock is not None})
    os.write(1, b"\n" + MAGIC + json.dumps(facts).encode() + b"\n")
    reply = json.loads(stdin.readline().decode() or "{}")
    if not reply.get("go"):
        return
    if sock is not None:
        relay(sock)
        return
    if bundle is None:
        data = stdin.read(reply["size"])
        if hashlib.sha256(data).hexdigest() != orders["sha256"]:
            sys.exit("the bundle did not arrive whole")
        bundle = store(folder, orders["sha256"], data)
    # os._exit: nothing of this process is to be tidied up twice, and stdout is closed
    os._exit(start(unpacked(bundle), dict(orders, cache=folder, run=base())))


def tidy(folder: str, seconds: float = 30 * 24 * 3600.0) -> None:
    """Remove what nobody has used for long: bundles of other versions, folders of agents that were killed."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        age = time.time() - os.stat(path).st_mtime
        if name.endswith(".zip") and age > seconds:
            os.unlink(path)
            shutil.rmtree(path[: -len(".zip")], ignore_errors=True)
        elif age > LEFT_SECONDS and os.path.exists(os.path.join(path, "s")) and not locked(path + ".lock"):
            shutil.rmtree(path, ignore_errors=True)
