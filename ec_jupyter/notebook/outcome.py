"""What a request came to, as Python has it: a value, or the error to raise."""

from __future__ import annotations

import re
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ec_jupyter.errors import (
    EcError,
    JoinExpiredError,
    MemoryLimitError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestSkippedError,
    RequestTimeoutError,
    TaskError,
    TaskNotPicklableError,
    WorkerDiedError,
)
from ec_jupyter.wire import Value

if TYPE_CHECKING:
    from ec_jupyter.notebook.client import Client

_FRAME = re.compile(r'^  File "(<socket [^"]+>)", line (\d+), in (\S+)$', re.MULTILINE)

_KINDS: dict[str, type[EcError]] = {
    "died": WorkerDiedError,
    "timeout": RequestTimeoutError,
    "memory": MemoryLimitError,
    "cancelled": RequestCancelledError,
    "expired": JoinExpiredError,
    "unpicklable": TaskNotPicklableError,
}


def value_of(client: Client, row: dict[str, Any]) -> Any:
    """Value of a row whose state is ``done``; a generator's are a list."""
    if row.get("values") is not None:
        return [client.load(value) for value in row["values"]]
    return client.load(row["value"])


def error_of(client: Client, row: dict[str, Any]) -> BaseException | None:
    """What to raise for a finished row; None where it is ``done``.

    The task's own exception where it can be rebuilt here, with a note that says where it was raised
    and the traceback there; else a `TaskError`.
    """
    state = row["state"]
    if state == "done":
        return None
    facts: dict[str, Any] = row.get("error") or {}
    where = f"request {row['id']} of {row.get('socket', '')!r}"
    if state == "unknown":
        return RequestNotFoundError(f"the flow has no request {row['id']}")
    if state == "skipped":
        return RequestSkippedError(f"{where} was skipped: an argument of it can no longer come")
    if state == "cancelled":
        return RequestCancelledError(f"{where} was cancelled")
    error = _rebuilt(client, row.get("exception")) or _stand_in(where, facts)
    at = f" on {facts['node']!r}" if facts.get("node") else ""
    error.add_note(f"raised in {where}{at}, attempt {row.get('attempt', 1)}")
    if facts.get("hint"):
        error.add_note(facts["hint"])
    if facts.get("traceback"):
        error.add_note(facts["traceback"].rstrip())
    return error.with_traceback(_place(facts.get("traceback", "")))


def _place(text: str) -> TracebackType | None:
    """A traceback of one frame that stands where the task raised: a person sees their own line last, not ours."""
    found = _FRAME.findall(text)
    if not found:
        return None
    file, line, name = found[-1]
    code = compile("\n" * (int(line) - 1) + "raise _Here", file, "exec").replace(co_name=name)
    try:
        exec(code, {"_Here": _Here})
    except _Here as here:
        return here.__traceback__.tb_next if here.__traceback__ else None
    return None


class _Here(Exception):
    """Raised where a frame is wanted."""


def _rebuilt(client: Client, value: Value | None) -> BaseException | None:
    if value is None:
        return None
    try:
        error = client.load(value)
    except Exception:  # noqa: BLE001 - its class may be missing here; the stand-in tells what is known
        return None
    return error if isinstance(error, BaseException) else None


def _stand_in(where: str, facts: dict[str, Any]) -> BaseException:
    kind = _KINDS.get(facts.get("kind", ""), TaskError)
    message = facts.get("message") or "it failed"
    named = f"{facts['type']}: {message}" if kind is TaskError and facts.get("type") else message
    return kind(f"{where}: {named}")
