"""Where a flow's engine can be found: a Unix socket named by the folder's identity."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ec_jupyter.errors import StoreError


def runtime_folder() -> Path:
    """The user's own short folder for sockets, made if need be.

    Raises
    ------
    StoreError
        It belongs to somebody else.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "ec_jupyter" if base and os.access(base, os.W_OK) else Path(f"/tmp/ec_jupyter-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise StoreError(f"{folder} is not private to this user; remove it or set XDG_RUNTIME_DIR")
    return folder


def socket_path(folder: Path) -> Path:
    """The socket of a flow's engine: a hash, for a path to it may have 108 bytes at most."""
    state = folder.stat()
    name = hashlib.sha256(f"{state.st_dev}:{state.st_ino}:{folder.resolve()}".encode()).hexdigest()[:20]
    return runtime_folder() / f"{name}.sock"
