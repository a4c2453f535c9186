"""The process on a node's host: its folder, its lock, its log, and the agent server that runs in it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ec_jupyter.nodes import bootstrap
from ec_jupyter.nodes.local.holder import leave
from ec_jupyter.nodes.ssh import environment
from ec_jupyter.nodes.ssh.agent_server import AgentServer
from ec_jupyter.nodes.worker.blame import calls_left


def _own(folder: Path) -> int | None:
    """Take the lock of this node's agent; None if another has it."""
    import fcntl

    path = folder.with_name(folder.name + ".lock")
    end = time.monotonic() + bootstrap.ATTACH_SECONDS
    while time.monotonic() < end:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # whoever had it before may have removed the file meanwhile
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except OSError:
            time.sleep(0.05)
        os.close(fd)
    return None


def main() -> None:
    """Run after the bootstrap; the orders are in the environment."""
    orders = json.loads(os.environ.pop(bootstrap.ENVIRONMENT))
    if orders["requirements"] and not orders.get("inside"):
        environment.move_in(orders)
    for name in ("read", "write", "detach"):
        os.set_inheritable(orders[name], False)
    folder = Path(orders["run"]) / orders["key"]
    lock = _own(folder)
    if lock is None:
        sys.exit("another agent of this node runs on this host")
    with suppress(OSError):  # files that go while they are read: of an agent that was killed a moment ago
        orders["left"] = list(calls_left(folder).items())
    shutil.rmtree(folder, ignore_errors=True)
    bootstrap.private(str(folder))
    log_file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd in (1, 2):
        os.dup2(log_file, fd)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for place in (orders["run"], orders["cache"]):
        with suppress(OSError):  # somebody else tidies too
            bootstrap.tidy(place)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(_main(orders))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(folder.name + ".lock").unlink(missing_ok=True)
    leave(0)


async def _main(orders: dict[str, Any]) -> None:
    server = AgentServer(orders)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.over.set)
    await server.run()
