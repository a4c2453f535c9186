"""The outcome of a request in Python: a value, or the error to raise."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ec_jupyter.client.client import Client
from ec_jupyter.client.texts import OWN_LINE, skipped_text
from ec_jupyter.client.waits import Deadline
from ec_jupyter.errors import (
    EcError,
    JoinExpiredError,
    MemoryLimitError,
    QueueFullError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestSkippedError,
    RequestTimeoutError,
    TaskError,
    TaskNotPicklableError,
    WorkerDiedError,
)
from ec_jupyter.notebook.rendering import Rendering, show_groups
from ec_jupyter.wire import Value

_KINDS: dict[str, type[EcError]] = {
    "died": WorkerDiedError, "timeout": RequestTimeoutError, "memory": MemoryLimitError,
    "cancelled": RequestCancelledError, "expired": JoinExpiredError, "full": QueueFullError,
    "unpicklable": TaskNotPicklableError,
}  # fmt: skip
_STOPPED = ("timeout", "memory")


def value_of(client: Client, row: dict[str, Any], deadline: Deadline | None = None) -> Any:
    """Value of a row whose state is ``done``; a generator's are a list."""

    def load(value: Value) -> Any:
        return client.load(value, None if deadline is None else deadline.left)

    return [load(value) for value in row["values"]] if row.get("values") is not None else load(row["value"])


def error_of(client: Client, row: dict[str, Any], deadline: Deadline | None = None) -> BaseException | None:
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
        return RequestNotFoundError(f"the flow has no request {row['id']} any more; it was cleared, or not to be kept")
    again = f"flow.retry({row['id']}) or %ec_retry {row['id']} runs it again"
    if state == "skipped" and facts.get("kind") == "dropped":
        return QueueFullError(f"{where}: {facts['message']}")
    if state == "skipped":
        return RequestSkippedError(f"{where} was skipped: {skipped_text(row)}")
    if state == "cancelled":
        return RequestCancelledError(f"{where} was cancelled; {again}")
    return _failed(_rebuilt(client, row.get("exception"), deadline) or _stand_in(where, facts), where, row, again)


def _failed(error: BaseException, where: str, row: dict[str, Any], again: str) -> BaseException:
    """The error with what is known of it: as notes for a script, as a cell shows it for IPython."""
    facts: dict[str, Any] = row.get("error") or {}
    text = facts.get("traceback", "").rstrip()
    own = OWN_LINE.findall(text)
    at = (f" at line {own[-1]} of its cell" if own else "") + (f" on {facts['node']!r}" if facts.get("node") else "")
    last = f"{where} failed{at}, attempt {row.get('attempt', 1)}; {again}"
    for note in filter(None, (last, facts.get("hint"), text)):
        error.add_note(note)
    if isinstance(error, BaseExceptionGroup):
        show_groups()
    if text:
        # of a call that was stopped the traceback tells where, and not why
        why = f"{type(error).__name__}: {error}" if facts.get("kind") in _STOPPED else ""
        # an exception with slots is shown as Python does
        with suppress(AttributeError):
            error._render_traceback_ = Rendering(error, text, [*filter(None, [why, facts.get("hint")]), last])  # type: ignore[attr-defined]
    return error


def _rebuilt(client: Client, value: Value | None, deadline: Deadline | None) -> BaseException | None:
    if value is None:
        return None
    try:
        error = client.load(value, None if deadline is None else deadline.left)
    except Exception:  # noqa: BLE001 - its class may be missing here; the stand-in tells what is known
        return None
    return error if isinstance(error, BaseException) else None


def _stand_in(where: str, facts: dict[str, Any]) -> BaseException:
    kind = _KINDS.get(facts.get("kind", ""), TaskError)
    message = facts.get("message") or "it failed"
    named = f"{facts['type']}: {message}" if kind is TaskError and facts.get("type") else message
    return kind(f"{where}: {named}")
