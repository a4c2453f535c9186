"""Background tasks that nobody awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Background tasks of one object; the failure of one is told."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed  # gets what a task has raised
        self.running: set[asyncio.Task[Any]] = set()  # those that have not ended

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin one."""
        task = asyncio.get_running_loop().create_task(work)
        self.running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
