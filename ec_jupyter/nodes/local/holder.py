"""The thread that holds one worker of loky's, and what loky says of the worker's end.

loky owns the process: it starts it, sets its environment, notices its death and its exit code.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from ec_jupyter.nodes.cpu_locks import InheritedFd
from ec_jupyter.nodes.worker.process import serve
from ec_jupyter.nodes.worker.setup import Setup, init

_EXIT = re.compile(r"\{?(?:(SIG\w+)|EXIT)\((-?\d+)\)")


class Holder(threading.Thread):
    """The thread of one slot: nothing but loky's life cycle, one process at a time."""

    def __init__(self, name: str, ended: Callable[[str, str | None], None]) -> None:
        super().__init__(name=name, daemon=True)
        self.orders: queue.SimpleQueue[tuple[Setup, InheritedFd, dict[str, str], float] | None] = queue.SimpleQueue()
        # called on this thread with the process's token and what loky says of its end; None: it ended because it was
        # told to
        self._ended = ended

    def run(self) -> None:
        """Hold one process after the other."""
        while (order := self.orders.get()) is not None:
            self._ended(order[0].token, self._hold(*order))

    def _hold(self, setup: Setup, locks: InheritedFd, env: dict[str, str], idle: float) -> str | None:
        from loky import get_reusable_executor

        try:
            # this thread's own executor: loky keeps one a thread
            executor = get_reusable_executor(
                max_workers=1, timeout=idle, initializer=init, initargs=(setup, locks), env=env
            )
        except Exception as error:  # noqa: BLE001 - the owner is told
            return _said(error)
        try:
            try:
                executor.submit(serve, setup).result()
            finally:
                executor.shutdown(wait=True, kill_workers=True)
        except BaseException as error:  # noqa: BLE001 - the owner is told
            return _said(error)
        return None


def _said(error: BaseException) -> str:
    """What went wrong; not what loky meets next, in tidying up after a process it could not start."""
    first = error
    while first.__context__ is not None and not isinstance(first, OSError):
        first = first.__context__
    told = first if type(error) in (UnboundLocalError, RuntimeError) else error
    return f"{type(told).__name__}: {told}"


def leave(code: int) -> NoReturn:
    """End this process, and at once if a worker is left: loky would wait for its end, and it for ours."""
    if any(isinstance(thread, Holder) for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


def exit_text(text: str | None, pid: int) -> str | None:
    """How a process ended, from what `Holder` says of it."""
    if text is None:
        return None
    found = _EXIT.search(text)
    if found is None:
        return f"worker process {pid or ''} ended: {text}".replace("  ", " ")
    name, code = found.groups()
    how = f"was killed by {name}" if name else f"exited with code {code}"
    return f"worker process {pid} {how}"
