"""A client that stops the engine, submits, says so, and waits to be killed. Run as a program."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ec_jupyter.client.client import Client


def accept(folder: Path, n: int) -> None:
    """Submit `n` requests that the engine cannot see before it is let go on."""
    client = Client.open(folder, folder.name, linger=5.0, cpus=2)
    os.kill(client.engine_pid, signal.SIGSTOP)
    for i in range(n):
        client.submit([("leave", {"text": client.dump(i)})])
    sys.stdout.write("accepted\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    accept(Path(sys.argv[1]), int(sys.argv[2]))
