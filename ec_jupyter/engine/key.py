"""The key of a flow, and how a client and an engine prove to each other that they know it.

The key is a file in the flow's folder that only its owner can read. Each side sends a number of its
own and gets back a keyed hash over both numbers and the identity of the folder; so neither sends the
key, a proof is good for one connection, and a copied folder proves nothing to the engine of the
first.
"""

from __future__ import annotations

import hmac
import secrets

from ec_jupyter.engine.folder import Folder
from ec_jupyter.errors import FrameError
from ec_jupyter.wire import Header

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
