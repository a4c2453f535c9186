"""What tasks print: Python's streams, logging's last resort and the file descriptors below them.

Text written while a call runs is tagged with its request. Text written while none runs goes
where the worker's stderr went before. Writing never raises into a task.
"""

from __future__ import annotations

import codecs
import io
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from operator import itemgetter

RATE_BYTES = 64 * 1024  # a request may print as much at once and as much each second; the rest is counted only
SHOWN = 50  # so many values may a request display; the rest is counted only
TICK_SECONDS = 0.1
_CHUNK = 1 << 20  # all that a pipe holds
_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which Python 3.10 knows only where it was built on Linux

Say = Callable[[int, str, str], None]


def printable(text: str) -> str:
    """The text without lone surrogates, which no frame can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def folded(text: str) -> str:
    r"""The text as a terminal would leave it: of a line rewritten with ``\r`` the last state."""
    if "\r" not in text:
        return text
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        last = line.rstrip("\r").rpartition("\r")[2]
        # a line that begins with it rewrites what was sent already
        lines.append("\r" + last if line.startswith("\r") and last else last)
    return "\n".join(lines)


class Stream(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr`` in a worker; closing it does nothing."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, fd: int, put: Callable[[str, str], None]) -> None:
        self.name = name
        self._fd = fd
        self._put = put
        self.buffer = io.FileIO(fd, "wb", closefd=False)

    def write(self, text: str) -> int:
        """Take text; it leaves with the next tick or with the end of the call."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._put(self.name, text)
        return len(text)

    def fileno(self) -> int:
        """The descriptor below; faulthandler and subprocess ask for it."""
        return self._fd

    def writable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Nothing: a task that closes its stdout must not take that of the next call."""


class LastResort(logging.Handler):
    """Takes what no handler of the user's took; `put` gets a stream and text."""

    def __init__(self, put: Callable[[str, str], None]) -> None:
        super().__init__(logging.WARNING)
        self._put = put
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self._put("log", self.format(record) + "\n")


class Printed:
    """What one request prints, as far as it has not left, and how much more it may."""

    __slots__ = ("allowance", "dropped", "refilled", "request", "shown", "texts")

    def __init__(self, request: int = 0, now: float = 0.0) -> None:
        self.request = request  # 0: nobody's
        self.texts: list[tuple[str, str]] = []
        self.dropped = self.shown = 0
        self.allowance, self.refilled = RATE_BYTES, now

    def keep(self, stream: str, text: str) -> int:
        """Keep as much of a text as it may print now, and count the rest; how much was kept."""
        # once text is missing, a later piece would read as if it followed
        fits = "" if self.dropped else text[: self.allowance]
        self.allowance -= len(fits)
        self.dropped += len(text) - len(fits)
        if fits:
            self.texts.append((stream, fits))
        return len(fits)

    def refill(self, now: float) -> None:
        """Let it print as much again if a second has passed."""
        if now - self.refilled >= 1:
            self.allowance, self.refilled = RATE_BYTES, now
            self.admit()

    def admit(self) -> None:
        """Say how much is missing, and go on."""
        if self.dropped:
            self.texts.append(("stderr", f"\n... {amount(self.dropped)} more\n"))
            self.dropped = 0

    def take(self) -> list[tuple[str, str]]:
        """What leaves now: stream and text of each stretch of one stream."""
        texts, self.texts = self.texts, []
        stretches = groupby(texts, itemgetter(0))
        return [(stream, printable(folded("".join([text for _, text in some])))) for stream, some in stretches]


class Output:
    """Collects what is printed in this process; made once in a worker."""

    def __init__(self, say: Say) -> None:
        self._say = say  # called with request, stream and text, from any thread
        self._lock = threading.Lock()
        self._printed = Printed()
        self._full: dict[Printed, None] = {}  # those of which something has not left
        self.alone()
        self._forked = self._woken = self._draining = False
        self._outside = os.dup(2)
        self._wake, self._waker = os.pipe()
        self._pipes = {self._pipe(1): "stdout", self._pipe(2): "stderr"}
        self._decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in self._pipes}
        # asked after each call, which epoll answers in half the time
        self._ready = select.epoll() if hasattr(select, "epoll") else select.poll()
        for fd in self._pipes:
            self._ready.register(fd, select.POLLIN)

    def install(self) -> None:
        """Put the streams in place and start the thread that reads the descriptors."""
        sys.stdout = Stream("stdout", 1, self.put)
        sys.stderr = Stream("stderr", 2, self.put)
        logging.lastResort = LastResort(self.put)
        os.register_at_fork(after_in_child=self._after_fork)
        threading.Thread(target=self._read, name="output", daemon=True).start()

    def begin(self, request: int, now: float) -> None:
        """From `now` on the monotonic clock, text is this request's."""
        printed = self._printed
        printed.request, printed.shown = request, 0
        printed.allowance, printed.refilled = RATE_BYTES, now

    def end(self, printed: Printed | None = None) -> None:
        """Send what the request has printed so far; from now on, its text is nobody's."""
        printed = printed or self._printed
        self.catch()
        if printed.texts or printed.dropped:
            with self._lock:
                self._flush(printed, last=True)
        printed.request = 0

    def share(self, whose: Callable[[], Printed], beyond: Callable[[], Printed]) -> None:
        """Have several print at once: whose text it is that is printed where this is asked, or beyond Python."""
        self._whose, self._beyond = whose, beyond

    def alone(self) -> None:
        """Have one print at a time, as at first."""
        self.share(lambda: self._printed, lambda: self._printed)

    def catch(self) -> None:
        """Take what has come by the descriptors, before somebody else's text may come by them."""
        if self._ready.poll(0) or self._draining:
            # what the other thread has read and not kept yet, this waits for
            self._drain()

    def put(self, stream: str, text: str) -> None:
        """Take text that was printed."""
        if self._forked:
            _write(2 if stream != "stdout" else 1, text)
            return
        with self._lock:
            self._keep(self._whose(), stream, text)

    def show(self, value: str) -> None:
        """Take what is kept of a displayed value; it stands after what was printed before it."""
        with self._lock:
            printed = self._whose()
            if not printed.request or self._forked:
                return
            printed.shown += 1
            if printed.shown <= SHOWN:
                self._flush(printed)
                self._say(printed.request, "display", value)
            elif printed.shown == SHOWN + 1:
                printed.texts.append(("stderr", f"\n... only the first {SHOWN} displayed values are kept\n"))
                self._full[printed] = None

    def _keep(self, printed: Printed, stream: str, text: str) -> None:
        if not printed.request:
            _write(self._outside, text)
            return
        printed.refill(time.monotonic())
        printed.keep(stream, text)
        self._full[printed] = None
        if not self._woken:
            self._woken = True
            os.write(self._waker, b"w")

    def _flush(self, printed: Printed, *, last: bool = False) -> None:
        if last:
            printed.admit()
        self._full.pop(printed, None)
        for stream, text in printed.take():
            self._say(printed.request, stream, text)

    def _read(self) -> None:
        watch = select.poll()
        for fd in (self._wake, *self._pipes):
            watch.register(fd, select.POLLIN)
        while True:
            ready = watch.poll()
            if any(fd == self._wake for fd, _ in ready):
                os.read(self._wake, _CHUNK)
            self._drain()
            # gathers what is printed in a row; a call that ends meanwhile sends it itself
            time.sleep(TICK_SECONDS / 2)
            with self._lock:
                self._woken = False
                for printed in list(self._full):
                    self._flush(printed)

    def _drain(self) -> None:
        with self._lock:
            self._draining = True
            for fd, _ in self._ready.poll(0):
                with suppress(BlockingIOError):  # another thread has read it since
                    text = self._decoders[fd].decode(os.read(fd, _CHUNK))
                    if text:
                        # asked once it is read: who wrote it does not go on before it is kept
                        self._keep(self._beyond(), self._pipes[fd], text)
            self._draining = False

    def _pipe(self, fd: int) -> int:
        """Replace a descriptor by a pipe; its reading end."""
        reading, writing = os.pipe()
        os.dup2(writing, fd)
        os.close(writing)
        os.set_blocking(reading, False)
        # code that prints while it holds the GIL stops for good once the pipe is full
        enlarge(reading)
        return reading

    def _after_fork(self) -> None:
        # threads do not survive a fork: what a child prints takes the descriptor's way
        self._forked = True


def enlarge(fd: int) -> None:
    """Give a pipe as much room as it can have, where the system lets it."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_BYTES)


def _write(fd: int, text: str) -> None:
    with suppress(OSError):  # nobody reads it: then it is lost, as on a closed terminal
        os.write(fd, text.encode("utf-8", "backslashreplace"))


def amount(count: int) -> str:
    """A number of bytes as people read it."""
    size, unit = (1 << 30, "GiB") if count >= 1 << 30 else (1 << 20, "MiB") if count >= 1 << 20 else (1 << 10, "KiB")
    return f"{count / size:.1f} {unit}"
