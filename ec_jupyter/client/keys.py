"""What a flow is called in an address: the way to it from the server's root, in characters no proxy touches.

``flights`` is the flow of that name beside a notebook in the root, ``work:night~20runs:flights`` the
one in ``work/night runs``. One flow has one key.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PurePosixPath

from ec_jupyter.client.names import PLAIN
from ec_jupyter.engine.folder import FLOWS
from ec_jupyter.errors import FlowNotFoundError

PATTERN = r"([^/]+)"  # a key in an address; some clients quote the colon
_OTHER = re.compile(rb"[^A-Za-z0-9_.-]")
_ESCAPED = re.compile(rb"~([0-9a-f]{2})")


def key_of(place: PurePosixPath, name: str) -> str:
    """Key of the flow `name` beside the notebooks of `place`, a path from the root."""
    return ":".join(_escape(part) for part in (*place.parts, name))


def _escape(part: str) -> str:
    # a folder's name on disk is bytes, whatever they mean
    return _OTHER.sub(lambda found: b"~%02x" % found[0][0], part.encode(errors="surrogateescape")).decode()


def _unescape(part: str) -> str:
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), part.encode()).decode(errors="surrogateescape")


def folder_of(root: Path, key: str) -> Path:
    """The folder of the flow with that key. Raises FlowNotFoundError: it leads nowhere, or where it may not."""
    *parts, name = (_unescape(part) for part in key.split(":"))
    missing = FlowNotFoundError(f"no flow has the key {key!r} on this server")
    if key_of(PurePosixPath(*parts), name) != key or not PLAIN.fullmatch(name):
        raise missing
    if any(part.startswith(".") or "/" in part or "\0" in part for part in parts):
        raise missing
    try:
        top = root.resolve()
        folder = top.joinpath(*parts, FLOWS, name).resolve(strict=True)
        # after the links have been followed: one that leads out of the root leads nowhere
        if not folder.is_relative_to(top) or not stat.S_ISREG(os.lstat(folder / "flow.db").st_mode):
            raise missing
    except (OSError, RuntimeError):
        raise missing from None
    return folder
