"""A client's line to the engine of a flow: where that listens, and how each proves that it knows the flow's key.

The engine's socket is in a folder of its own below the user's runtime folder. A file in the flow's
folder says where, so it is found whatever the name of that folder is.

The key is a file in the flow's folder that only its owner can read. Each side sends a number of its
own and gets back a keyed hash over both numbers and the identity of the folder; so neither sends the
key, a proof is good for one connection, and a copied folder proves nothing to the engine of the
first.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

from ec_jupyter.engine.folder import Folder
from ec_jupyter.errors import FrameError
from ec_jupyter.wire import FrameReader, Header, encode

# file in the flow's folder that says where its engine listens; there while the engine runs, or was killed
ADDRESS = "engine.address"
FULL_SECONDS = 0.01  # between tries to connect to an engine that has not taken those before
KEY = "flow.key"
KEY_BYTES = 32


def make_key(folder: Folder, *, anew: bool) -> bytes:
    """The flow's key; made if there is none that its owner alone can read, or `anew`."""
    try:
        found = b"" if anew else folder.read(KEY)
    except OSError:
        found = b""
    if len(found) != KEY_BYTES:
        found = secrets.token_bytes(KEY_BYTES)
        folder.write(KEY, found)
    return found


class Proof:
    """One side's part of the proof on one connection."""

    def __init__(self, key: bytes, identity: str) -> None:
        self._key, self._identity = key, identity
        self._mine, self._theirs = secrets.token_hex(16), ""

    def question(self) -> Header:
        """The client's first frame."""
        return {"k": "prove", "number": self._mine}

    def answer(self, header: Header) -> Header:
        """The engine's answer to the client's first frame. Raises FrameError: it is another frame."""
        if header["k"] != "prove" or not isinstance(header.get("number"), str):
            raise FrameError("the first frame must ask for a proof that the engine knows the flow's key")
        self._theirs = header["number"]
        return {"k": "proof", "number": self._mine, "proof": self._hash("engine", self._theirs, self._mine)}

    def agree(self, header: Header) -> Header:
        """The client's second frame, once the engine has proved that it knows the key.

        Raises FrameError: it has not.
        """
        self._theirs = str(header.get("number"))
        self._check("engine", self._mine, self._theirs, header)
        return {"k": "proof", "proof": self._hash("client", self._mine, self._theirs)}

    def accept(self, header: Header) -> None:
        """See whether the client's second frame proves that it knows the key. Raises FrameError: it does not."""
        self._check("client", self._theirs, self._mine, header)

    def _check(self, role: str, client: str, engine: str, header: Header) -> None:
        said = str(header.get("proof")).encode(errors="replace")
        if header["k"] != "proof" or not hmac.compare_digest(said, self._hash(role, client, engine).encode()):
            raise FrameError(f"the {role} does not know the flow's key")

    def _hash(self, role: str, client: str, engine: str) -> str:
        text = "\0".join((role, client, engine, self._identity))
        return hmac.new(self._key, text.encode(errors="replace"), "sha256").hexdigest()


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
