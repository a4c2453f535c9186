"""One call in a thread of this process: it can be stopped, and what it prints is its own."""

from __future__ import annotations

import copyreg
import ctypes
import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ec_jupyter.nodes import current
from ec_jupyter.nodes.code import keep_source
from ec_jupyter.nodes.codec import unpack_outcomes
from ec_jupyter.nodes.lots import Results, pack_calls, unpack_block, unpack_calls
from ec_jupyter.nodes.worker.invoke import Invocation, Rest
from ec_jupyter.nodes.worker.output import RATE_BYTES, Stream, amount, folded, printable
from ec_jupyter.wire import Call, Outcome, Value


class Turn:
    """Runs one call."""

    def __init__(self, call: Call, invocation: Invocation, tell: Callable[..., None], workdir: Path) -> None:
        self.call, self.began = call, time.monotonic()
        self._invocation, self._tell, self._workdir = invocation, tell, workdir
        self._stopped: tuple[str, str] | None = None
        self._inside = 0
        self._guard = threading.Lock()
        self._left, self._dropped = RATE_BYTES, 0

    def stop(self, kind: str, text: str) -> None:
        """Interrupt the call as soon as Python code of its runs."""
        with self._guard:
            if self._stopped is None:
                self._stopped = (kind, text)
                if self._inside:
                    _raise(self._inside, KeyboardInterrupt)

    def run(self) -> Outcome:
        """What the call comes to, by way of the frames that take one to a worker and back."""
        header, buffers = pack_calls([self.call], {})
        for name, text in header.get("x", {}).items():
            keep_source(name, text)
        (job,) = unpack_calls(bytes(buffers[0]))
        results, began = Results(), time.time()
        with self._stage(job):
            value, rest = self._outcome(job)
        results.add(job, began, time.time() - began, value, rest)
        ((header, buffers),) = results.take()
        data = [bytes(one) for one in buffers]
        (outcome,) = unpack_block(data[0]).outcomes() if header["k"] == "done" else unpack_outcomes(header, data)
        outcome.pid = os.getpid()
        return outcome

    def _outcome(self, job: Call) -> tuple[Value | None, Rest | None]:
        try:
            try:
                with self._guard:
                    if self._stopped is None:
                        self._inside = threading.get_ident()
                result = self._invocation.result(job) if self._inside else (None, None)
            finally:
                with self._guard:
                    # what has not come through by now must not reach what this thread does next
                    _raise(threading.get_ident(), None)
                    self._inside = 0
        except BaseException as error:  # noqa: BLE001 - the call's outcome
            frames = error.__traceback__
            error.with_traceback(frames.tb_next if frames is not None else None)  # this one is ours
            return None, self._invocation.failure(job, error, self._stopped)
        if self._stopped is not None:
            return None, self._invocation.failure(job, KeyboardInterrupt(), self._stopped)
        return result

    @contextmanager
    def _stage(self, job: Call) -> Iterator[None]:
        """Make this process what a worker is to a call, for as long as it runs."""
        log = logging.StreamHandler(Stream("log", 2, self._put))
        log.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        streams = {"stdin": io.StringIO(), "stdout": Stream("stdout", 1, self._put)}
        streams["stderr"] = Stream("stderr", 2, self._put)
        with (
            patch.multiple(sys, path=[*sys.path, str(self._workdir)], **streams),
            patch.multiple(current.place, call=lambda: job, say=self._progress),
            patch.object(logging.root, "handlers", [log]),
            patch.dict(copyreg.dispatch_table, _own_exceptions(), clear=True),
            warnings.catch_warnings(),
        ):
            # what the tests make of warnings and the log is not the call's
            warnings.resetwarnings()
            warnings.showwarning = _shown
            yield
        if self._dropped:
            self._tell("output", job.request, "stderr", f"\n... {amount(self._dropped)} more\n")
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(f"{self._workdir}{os.sep}"):
                del sys.modules[name]

    def _put(self, stream: str, text: str) -> None:
        fits = text[: self._left]
        self._left -= len(fits)
        self._dropped += len(text) - len(fits)
        if fits:
            self._tell("output", self.call.request, stream, printable(folded(fits)))

    def _progress(self, done: float, total: float | None, text: str) -> None:
        self._tell("progress", self.call.request, done, total, text)


def _own_exceptions() -> dict[type, Any]:
    """How things are pickled, but for what a client of Dask has had done to the exceptions of this process."""
    return {
        kind: reduce for kind, reduce in copyreg.dispatch_table.items()
        if not (isinstance(kind, type) and issubclass(kind, BaseException))
    }  # fmt: skip


def _shown(*warning: Any) -> None:
    sys.stderr.write(warnings.formatwarning(*warning[:4]))


def _raise(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
