"""An engine with a fault: a program that runs the real one and does to it what a test asks for.

``python -m tests.crash.mortal FOLDER die N``: ends itself, as by SIGKILL, before statement N of the
transactions in which a request is finished. ``... clock FILE``: the wall clock is as many seconds
off as the file says. ``... late N`` and ``... mute N`` end the engine as well: before statement N from the moment on at
which calls that came alone are written, and once it has kept the result of the Nth of those and told nobody; such calls
wait for ever to be written with others. ``... pages FILE``: the database may have as many pages as the file says.
``... tick N``: ends itself before statement N of the transactions in which a schedule ticks.
``... held FILE``: an empty file is filled with how many things are held in containers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from ec_jupyter.engine import lone
from ec_jupyter.engine.loop import Engine
from ec_jupyter.engine.result_log import ResultLog
from ec_jupyter.engine.schedules import NEXT


def die_at(engine: Engine, n: int) -> None:
    """SIGKILL before the nth statement from the first transaction on that finishes a request."""
    count = 0

    def before(statement: str) -> None:
        nonlocal count
        ends = any(engine.core.journal.rows[name] for name in ("finish", "finish_well", "add_ended"))
        if count == 0 and not (statement.startswith("BEGIN") and ends):
            return
        count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)

    engine.store.db.set_trace_callback(before)


def die_at_tick(engine: Engine, n: int) -> None:
    """SIGKILL before the nth statement from the first transaction on in which a schedule moves on."""
    count = 0

    def before(statement: str) -> None:
        nonlocal count
        moved = any(row[0].startswith(NEXT) for name, row in engine.core.journal._steps if name == "put_meta")
        if count or (statement.startswith("BEGIN") and moved):
            count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)

    engine.store.db.set_trace_callback(before)


def be_late(engine: Engine, n: int) -> None:
    """SIGKILL before the nth statement from the first transaction on that writes what was told before."""
    count = 0

    def before(statement: str) -> None:
        nonlocal count
        if count or (statement.startswith("BEGIN") and engine.results.size):
            count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)

    engine.store.connection.set_trace_callback(before)


def be_mute(n: int) -> None:
    """SIGKILL once the nth result is kept."""
    append, count = ResultLog.append, 0

    def keep(log: ResultLog, record: bytes) -> bool:
        nonlocal count
        count += append(log, record)
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    ResultLog.append = keep  # type: ignore[method-assign]


def shift_clock(path: Path) -> None:
    """Let everybody in this process read another wall clock; workers keep theirs."""
    real: Callable[[], float] = time.time
    time.time = lambda: real() + float(path.read_text() or 0)


def bound_pages(engine: Engine, path: Path) -> None:
    """Follow the limit that the file sets, and say so beside it."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        text = path.read_text()
        engine.store.db.execute(f"PRAGMA max_page_count = {int(text or 1 << 30)}")
        path.with_suffix(".seen").write_text("full" if text else "")
        loop.call_later(0.05, look)

    look()


def tell_held(path: Path) -> None:
    """Write how many objects there are, and how many things lie in them, whenever the file is empty."""

    def look() -> None:
        if not path.stat().st_size:
            gc.collect()
            # a dict of nothing but numbers is not known to the collector, but to who holds it
            found = {id(o): o for o in gc.get_objects()}
            # not of modules: up to 3.12.5, asyncio's shows what it keeps for its next iterators, which is then
            # freed twice, and each later collection goes round in it without end (python/cpython#122695)
            holders = (o for o in found.values() if not isinstance(o, ModuleType))
            found |= {id(o): o for o in gc.get_referents(*holders)}
            lengths = (len(o) for o in found.values() if isinstance(o, dict | list | set | deque))
            path.write_text(str(len(found) + sum(lengths)))
        loop.call_later(0.05, look)

    loop = asyncio.get_running_loop()
    look()


async def run(folder: Path, fault: str, what: str) -> None:
    if fault == "clock":
        shift_clock(Path(what))
    if fault in ("late", "mute"):
        lone.BOOK_SECONDS = 1_000.0
    if fault == "mute":
        be_mute(int(what))
    linger = 0.0 if fault == "die" else 30.0
    engine = Engine(folder, folder.parent.parent, 2, linger=linger)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: engine.unhandled(context))
    if fault == "die":
        die_at(engine, int(what))
    if fault == "tick":
        die_at_tick(engine, int(what))
    if fault == "late":
        be_late(engine, int(what))
    await engine.start()
    await engine.listen()
    if fault == "held":
        tell_held(Path(what))
    if fault == "pages":
        bound_pages(engine, Path(what))
    os.write(1, b"up\n")
    await engine.stopped.wait()
    await engine.clients.close()
    await engine.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
