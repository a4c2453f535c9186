"""A call made once more in this kernel, with the code that it ran and its very arguments, to be debugged."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from ec_jupyter.client.client import Client
from ec_jupyter.errors import ArgumentsError
from ec_jupyter.nodes.code import keep_source
from ec_jupyter.nodes.current import place
from ec_jupyter.nodes.surroundings import opened
from ec_jupyter.nodes.worker.invoke import Task, bound
from ec_jupyter.wire import Call, CallSpec

_BETWEEN = ("ec_jupyter.", "asyncio.", "concurrent.")

# failures that a call would bring upon this kernel
_ENDS = {"died": "its worker died", "memory": "it took too much memory", "timeout": "it ran too long"}


def call_again(client: Client, row: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """What a request's call returns here, or raises. Raises ArgumentsError: no code runs for it."""
    number, socket = int(row["id"]), str(row["socket"])
    told, (blob, *_) = client.ask("query", {"what": "task", "id": number})
    if not told["runs"]:
        raise ArgumentsError(f"request {number} of {socket!r} runs no code that could be debugged")
    if told["file"].startswith("<") and told["source"]:
        # a debugger shows the lines of the very version
        keep_source(told["file"], told["source"])
    task = Task(*opened(blob))
    if task.in_order is not None:
        task.in_order.check(list(arguments))
    args, kwargs = bound(arguments.items(), task.by_position)
    before = place.call
    place.call = lambda: Call(number, max(1, int(row["attempt"])), int(row["run"]), CallSpec("", socket))
    try:
        made = task.function(*args, **kwargs)
        if inspect.iscoroutine(made) or inspect.isasyncgen(made):
            return _awaited(made)
        return list(made) if inspect.isgenerator(made) else made
    finally:
        place.call = before


def _awaited(made: Any) -> Any:
    """What an ``async def`` comes to: in a thread, for the loop of this one runs the cell."""

    async def whole() -> Any:
        return [value async for value in made] if inspect.isasyncgen(made) else await made

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(asyncio.run, whole()).result()
    finally:
        # whoever interrupts the cell does not wait for it
        pool.shutdown(wait=False)


def theirs(trace: TracebackType | None) -> TracebackType | None:
    """The frames of a task, without ours that call it."""
    found = trace
    while found is not None and str(found.tb_frame.f_globals.get("__name__", "")).startswith(_BETWEEN):
        found = found.tb_next
    return found or trace


def danger(row: Mapping[str, Any]) -> str | None:
    """Why a call that failed is better not made here; None where it may be."""
    return _ENDS.get((row.get("error") or {}).get("kind", ""))
