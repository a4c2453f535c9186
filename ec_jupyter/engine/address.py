"""Where a flow's engine listens, and a line to it.

The engine's socket is in a folder of its own below the user's runtime folder. A file in the flow's
folder says where, so it is found whatever the name of that folder is.
"""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ec_jupyter.engine.folder import Folder
from ec_jupyter.engine.key import KEY, Proof
from ec_jupyter.errors import FrameError, StoreError
from ec_jupyter.nodes import bootstrap
from ec_jupyter.wire import FrameReader, Header, encode

# file in the flow's folder that says where its engine listens; there while the engine runs, or was killed
ADDRESS = "engine.address"
LONGEST = 70  # bytes of a runtime folder: a path to a socket in it may have 108
FULL_SECONDS = 0.01  # between tries to connect to an engine that has not taken those before


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


def socket_path(folder: Path) -> Path | None:
    """Where the engine of a flow listens, or did when it was killed; None after one that ended as it should."""
    with suppress(OSError), Folder(folder) as place:
        return _path(place)
    return None


def _path(place: Folder) -> Path:
    path = os.fsdecode(place.read(ADDRESS))
    if not os.path.isabs(path) or "\0" in path:
        raise FileNotFoundError(ADDRESS)
    return Path(path)


def connect(folder: Path, seconds: float) -> socket.socket | None:
    """A line to the engine of a flow, which has proved that it is that flow's; None where there is none.

    Raises TimeoutError: there is an engine, and it has not answered in so many seconds.
    """
    try:
        with Folder(folder) as place:
            path, proof = _path(place), Proof(place.read(KEY), place.identity)
    except OSError:
        return None
    deadline = time.monotonic() + seconds
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _call(line, path, deadline)
        line.sendall(encode(proof.question()))
        line.sendall(encode(proof.agree(_first_frame(line, deadline))))
    except TimeoutError:
        line.close()
        raise
    except (OSError, FrameError):
        line.close()
        return None
    line.settimeout(None)
    return line


def _call(line: socket.socket, path: Path, deadline: float) -> None:
    """Connect to a process of this user."""
    line.settimeout(max(0.001, deadline - time.monotonic()))
    while True:
        try:
            line.connect(str(path))
            break
        except BlockingIOError:
            # as many as may wait to be taken do; a socket with a time limit is not put in line
            if time.monotonic() > deadline:
                raise TimeoutError("the engine does not take connections") from None
            time.sleep(FULL_SECONDS)
    if peer(line) not in (None, os.getuid()):
        raise ConnectionRefusedError("it belongs to another user")


def _first_frame(line: socket.socket, deadline: float) -> Header:
    reader = FrameReader(limit=4096)
    while True:
        line.settimeout(max(0.001, deadline - time.monotonic()))
        data = line.recv(4096)
        frames = reader.feed(data)
        if frames:
            return frames[0][0]
        if not data:
            raise ConnectionResetError


def peer(line: socket.socket) -> int | None:
    """The user at the other end of a line; None where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, user, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)
