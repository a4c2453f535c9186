"""How a failed call is shown in a cell: the line that waited for it, then its own lines; none of ours."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

_OURS = str(Path(__file__).parents[1])
# modes of ``%xmode`` in which the last part of a traceback is the exception alone
_FRAMED = ("Context", "Verbose", "Docs")


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


INTERRUPTS = KeyboardInterrupt, asyncio.CancelledError


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
