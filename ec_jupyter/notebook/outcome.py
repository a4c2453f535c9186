"""The outcome of a request in Python: a value, or the error to raise; and how a cell shows that error.

It shows the line that waited, then the task's own lines; none of ours.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
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
from ec_jupyter.wire import Value

_KINDS: dict[str, type[EcError]] = {
    "died": WorkerDiedError, "timeout": RequestTimeoutError, "memory": MemoryLimitError,
    "cancelled": RequestCancelledError, "expired": JoinExpiredError, "full": QueueFullError,
    "unpicklable": TaskNotPicklableError,
}  # fmt: skip
_STOPPED = ("timeout", "memory")
_OURS = str(Path(__file__).parents[1])
# modes of ``%xmode`` in which the last part of a traceback is the exception alone
_FRAMED = ("Context", "Verbose", "Docs")
INTERRUPTS = KeyboardInterrupt, asyncio.CancelledError


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


# -- in a cell -----------------------------------------------------------------
class Rendering:
    """What IPython shows instead of an exception's traceback: `text`, the worker's, and the lines `after` it."""

    def __init__(self, error: BaseException, text: str, after: list[str]) -> None:
        self._error, self._text, self._after = error, text.rstrip(), after

    def __call__(self) -> list[str]:
        """The lines."""
        return [*self._waiting(), self._text, *self._after]

    def _waiting(self) -> list[str]:
        """The frames of the cell that waited, as IPython shows them."""
        from IPython.core.getipython import get_ipython

        shell: Any = get_ipython()
        frames = _foreign(self._error.__traceback__)
        if shell is None or frames is None or shell.InteractiveTB.mode not in _FRAMED:
            return []
        bare = _Bare().with_traceback(frames)
        bare.__class__ = type(type(self._error).__name__, (_Bare,), {})
        return list(shell.InteractiveTB.structured_traceback(type(bare), bare, frames))[:-1]

    def __reduce__(self) -> tuple[Any, ...]:
        # where the exception goes on to, nothing of ours may be
        return functools.partial, (list, [self._text, *self._after])


def show_groups() -> None:
    """Have IPython ask an exception group for its lines, as it asks any other exception; it shows all frames of one."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell is not None and not shell.custom_exceptions:
        shell.set_custom_exc((BaseExceptionGroup,), _show_group)


def _show_group(shell: Any, kind: Any, error: Any, frames: Any, tb_offset: int | None = None) -> None:
    if hasattr(error, "_render_traceback_"):
        shell._showtraceback(kind, error, error._render_traceback_())
    else:
        shell.showtraceback((kind, error, frames), tb_offset)


class _Bare(Exception):
    """Stands for an exception whose frames alone are wanted."""


def _foreign(frames: TracebackType | None) -> TracebackType | None:
    """The frames that are not ours."""
    kept = []
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_OURS):
            kept.append(frames)
        frames = frames.tb_next
    rest = None
    for one in reversed(kept):
        rest = TracebackType(rest, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return rest


def overdue(text: str) -> TimeoutError:
    """The error of a wait whose time is over: one line in a cell."""
    error = TimeoutError(text)
    error._render_traceback_ = functools.partial(list, [f"TimeoutError: {text}"])  # type: ignore[attr-defined]
    return error


@contextmanager
def going_on(still: Callable[[], str]) -> Iterator[None]:
    """Let an interrupt of a wait be one line, which says what goes on: `still` tells it."""
    try:
        yield
    except INTERRUPTS as error:
        interrupted(error, still())
        raise


def interrupted(error: BaseException, still: str) -> None:
    """Let an interrupt of a wait read as `going_on` has it."""
    line = f"{type(error).__name__}: the wait ended, {still}"
    error._render_traceback_ = functools.partial(list, [line])  # type: ignore[attr-defined]
