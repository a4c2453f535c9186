"""``python -m ec_jupyter.engine FOLDER``: runs the engine of one flow until it has nothing to do."""

from __future__ import annotations

import argparse
import asyncio
import errno
import fcntl
import gc
import json
import logging
import os
import signal
import sqlite3
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path

from ec_jupyter.engine.folder import refusal
from ec_jupyter.engine.loop import Engine
from ec_jupyter.engine.runtime import sweep
from ec_jupyter.engine.turns import Turns, run
from ec_jupyter.errors import EcError, EngineStartError, StoreLockedError, to_wire
from ec_jupyter.nodes.cpus import cpu_count
from ec_jupyter.nodes.local.handles import raise_limit
from ec_jupyter.nodes.local.holder import leave


def main() -> int:
    """Run an engine; 0 when it ended because it was asked to or had nothing to do."""
    parser = argparse.ArgumentParser(prog="python -m ec_jupyter.engine", description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="the flow's folder")
    add("--cpus", type=int, help="CPUs it may use (default: all this process may use)")
    add("--durability", choices=("process", "power"), default="process")
    add("--linger", type=float, default=60.0, help="seconds it stays with nothing to do and nobody there")
    add("--workdir", type=Path, help="where tasks run (default: beside the flows' folder)")
    add("--ready", type=int, help="file descriptor to write one line of JSON to once it listens")
    options = parser.parse_args()
    _leave_terminal()
    # requests wait in memory by the thousand and hardly ever in cycles: looking through them all, often, finds nothing
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    raise_limit()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        return run(lambda turns: _run(options, turns))
    except (EcError, OSError, MemoryError, RuntimeError) as error:
        why = _why(options.folder, error)
        if why is None:
            raise
        _say(options, {"error": to_wire(why)})
        # that another was quicker is no error: whoever asked is served by it
        level = logging.INFO if isinstance(why, StoreLockedError) else logging.ERROR
        logging.getLogger("ec_jupyter.engine").log(level, "%s", why)
        return 1


def _leave_terminal() -> None:
    """Give up the terminal that this was started from: no call is to ask there, or to end with it."""
    with suppress(OSError):
        # nearly always there is none
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)


def _why(folder: Path, error: Exception) -> EcError | None:
    """Why the engine cannot run, to the person whose machine it is; None where it is a defect of ours."""
    if isinstance(error, EcError):
        return error
    if isinstance(error, OSError) and error.errno != errno.ENOMEM:
        return refusal(folder, error)
    if isinstance(error, RuntimeError) and "new thread" not in str(error):
        return None
    return EngineStartError(
        f"the engine of the flow in {folder} gets no more memory or threads ({error or 'out of memory'}): "
        "raise the limit that it runs under (ulimit -a shows it), or end other programs"
    )


async def _run(options: argparse.Namespace, turns: Turns) -> int:
    folder = options.folder.resolve()
    workdir = options.workdir or folder.parent.parent
    engine = Engine(
        folder, workdir, options.cpus or cpu_count(), options.durability, options.linger, alone=lambda: turns.lone
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stopped.set)
    loop.set_exception_handler(lambda _, context: engine.unhandled(context))
    try:
        await engine.start()
    except sqlite3.Error as error:
        raise engine.store.explain(error) from error
    await engine.listen()
    threading.Thread(target=sweep, name="ec-sweep", daemon=True).start()
    # the last that can fail: whoever has started it is told the reason
    _say(options, {"engine": os.getpid()})
    await engine.stopped.wait()
    await engine.clients.close()
    await engine.close()
    if engine.lost is not None:
        logging.shutdown()
        os._exit(1)
    return int(engine.broken)


def _say(options: argparse.Namespace, line: dict[str, object]) -> None:
    """Tell who has started the engine, once, how that went."""
    fd, options.ready = options.ready, None
    if fd is not None:
        os.write(fd, json.dumps(line).encode() + b"\n")
        os.close(fd)


if __name__ == "__main__":
    leave(main())
