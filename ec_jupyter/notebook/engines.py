"""Whether a flow has an engine at the moment."""

from __future__ import annotations

import socket
from pathlib import Path

from ec_jupyter.engine.address import socket_path


def running(folder: Path) -> bool:
    """Whether an engine serves the flow in `folder`; starts none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(str(socket_path(folder)))
        except OSError:
            return False
    return True
