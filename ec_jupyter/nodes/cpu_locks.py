"""The CPUs of this machine, shared by all agents of one user: a file for each CPU, locked by the agent that uses it.

A lock belongs to an open file that the agent's workers inherit, so it is released when the last of
them has ended, however that happened. Two more locks show who waits: ``waiting`` is shared by all agents
that wait, and ``first`` is held by the one that takes what becomes free. So a claim of several CPUs can
reserve one after the other, and no two claims can deadlock.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any, Protocol

from ec_jupyter.nodes import bootstrap
from ec_jupyter.nodes import cpus as machine

if TYPE_CHECKING:  # a worker, which inherits a lock and takes none, starts without
    import asyncio

log = logging.getLogger(__name__)

VARIABLE = "EC_CPUS_SHARED"
"""``0``: every flow has the CPUs for itself; an absolute path: the folder of the locks; unset: the user's own."""

HOLD_SECONDS = 0.2  # how long calls that follow each other may use a CPU while another agent waits for one
LOOK_SECONDS = 0.01  # how often a waiting agent looks for a free CPU
KEEP_SECONDS = 0.005  # how long an unused CPU stays locked, so that calls in a row need not lock it each
PATIENCE = 3  # how many looks an agent that gives way skips, so that the others come first on a busy machine too
EXTRA = 1 << 16  # numbers from here on are no CPUs: an agent that lends more than there are may have these besides


class Holder(Hashable, Protocol):
    """What holds CPUs, such as a slot."""

    @property
    def pins(self) -> machine.Pins:
        """CPUs it would like best."""

    def bind(self, cpus: machine.Pins) -> None:
        """It has these CPUs for now."""


class InheritedFd:
    """Open files that a process inherits when this is among what it is started with."""

    def __init__(self, fds: Sequence[int]) -> None:
        self.fds = tuple(fds)

    def __reduce__(self) -> tuple[Any, ...]:
        popen: Any = get_spawning_popen()
        if popen is not None:
            for fd in self.fds:
                popen.duplicate_for_child(fd)
        return InheritedFd, (self.fds,)

    def keep(self) -> None:
        """Have them end with this process: what it starts does not inherit them."""
        for fd in self.fds:
            os.set_inheritable(fd, False)
        os.register_at_fork(after_in_child=self._drop)

    def _drop(self) -> None:
        for fd in self.fds:
            with suppress(OSError):  # a task may have closed all there is
                os.close(fd)


def folder() -> str:
    """Where the locks are: one folder a user and machine, whatever session an agent was started from.

    Raises OSError: there is none that is the user's alone, or none is wanted.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen == "0":
        raise OSError(f"{VARIABLE}=0")
    if chosen and not os.path.isabs(chosen):
        raise OSError(f"{VARIABLE}={chosen} is neither 0 nor an absolute path")
    # named by the start of the machine: another one may share the file system
    return bootstrap.private(chosen or os.path.join(bootstrap.base(), f"cpus-{machine.boot_id()[:8]}"))


def numbers(cpus: int) -> list[int]:
    """CPUs an agent that lends so many may use: all the machine has, and extra ones up to its own count."""
    count = machine.cpu_count()
    real = machine.available()[:count] or list(range(count))
    return real + list(range(EXTRA, EXTRA + cpus - len(real)))


class _Share:
    """Holds one CPU for several holders that each take a part of it."""

    pins: machine.Pins = ()

    def __init__(self) -> None:
        self.cpus: machine.Pins = ()
        self.parts: dict[Holder, float] = {}

    def bind(self, cpus: machine.Pins) -> None:
        """Note which it has got."""
        self.cpus = cpus


class CpuLocks:
    """The machine's CPUs that one agent has locked; the lender of its `Ledger`.

    A CPU that is given back and soon taken again stays, without a question to anybody, until it was
    here for `HOLD_SECONDS` and another agent waits. A call is never cut short. An agent that
    lends more CPUs than the machine has runs as many calls as it lends: two of eight on two CPUs
    run eight together. Everything is called on the loop's thread.
    """

    def __init__(self, cpus: int, retry: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self.trouble: str | None = None  # why nothing is shared: every claim is granted then
        self._retry = retry  # called when claims that were refused may be tried again
        self._loop = loop  # the agent's
        self._opened: list[int] = []
        self._files: dict[int, int] = {}
        self._since: dict[int, float] = {}  # CPUs locked here
        self._held: dict[Holder, list[int]] = {}
        self._shares: list[_Share] = []
        self._spare: list[int] = []  # locked, and used by nobody
        self._waits = self._first = self._refused = self._settling = False
        self._alone = 0.0  # nobody else is asked for before this time
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._open(folder(), numbers(cpus))
        except OSError as error:
            self._fail(error)

    def _open(self, place: str, wanted: Sequence[int]) -> None:
        self._opened.append(os.open(place, os.O_RDONLY))
        with suppress(OSError):  # not every system locks folders
            # what tidies folders for temporary files by age leaves alone what is locked
            fcntl.flock(self._opened[0], fcntl.LOCK_SH | fcntl.LOCK_NB)
        for name in ("waiting", "first", *map(str, wanted)):
            self._opened.append(os.open(os.path.join(place, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._waiting_fd, self._first_fd = self._opened[1:3]
        self._files = dict(zip(wanted, self._opened[3:], strict=True))
        self._free(self._first_fd)  # fails here and now where files cannot be locked

    def _fail(self, error: OSError) -> None:
        if self.trouble is None:
            self.trouble = str(error)
            log.warning("this flow's CPUs are not shared with other flows: %s", error)

    @property
    def fds(self) -> tuple[int, ...]:
        """What workers are to inherit."""
        return tuple(self._files.values()) if self.trouble is None else ()

    # what the ledger asks

    def take(self, holder: Holder, cpus: float) -> bool:
        """Lock CPUs for a holder; False, and `retry` is called later, while too few are free.

        While another agent waits, only what is here already is given. Less than one is a part of a CPU that holders
        share.
        """
        if cpus < 1:
            return self._take_part(holder, cpus)
        if self.trouble is not None:
            self._held[holder] = []
            return True
        if len(self._spare) < cpus and not self._first and self._awaited():
            return self._wait()
        got: list[int] = []
        for number in dict.fromkeys((*holder.pins, *self._spare, *self._files)):
            if len(got) == cpus:
                break
            if number in self._spare or self._lock(number):
                got.append(number)
        if len(got) < cpus:
            self._spare = got
            return self._wait()
        return self._granted(holder, got)

    def _take_part(self, holder: Holder, part: float) -> bool:
        share = next((one for one in self._shares if sum(one.parts.values()) + part < 1.0005), None)
        if share is None:
            share = _Share()
            if not self.take(share, 1):
                return False
            self._shares.append(share)
        share.parts[holder] = part
        if share.cpus:
            holder.bind(share.cpus)
        return True

    def _shared(self, holder: Holder) -> _Share | None:
        return next((one for one in self._shares if holder in one.parts), None)

    def _granted(self, holder: Holder, got: list[int]) -> bool:
        self._held[holder] = got
        self._spare = [number for number in self._spare if number not in got]
        if self._first:
            # what was put aside was not used meanwhile; and now it is another one's turn
            self._since.update(dict.fromkeys(got, time.monotonic()))
            self._pass()
        if all(number < EXTRA for number in got):
            holder.bind(tuple(got))
        self._settle_soon()
        return True

    def give(self, holder: Holder) -> None:
        """Take back what a holder has; one that has nothing is no error."""
        if self._shares and (share := self._shared(holder)) is not None:
            del share.parts[holder]
            if share.parts:
                return
            self._shares.remove(share)
            holder = share
        got = self._held.pop(holder, [])
        self._spare += got
        if self._overdue(got):
            self._pass()
            self._settle()
            self._look_in(PATIENCE * LOOK_SECONDS)
        self._settle_soon()

    def due(self, holder: Holder) -> bool:
        """Whether a holder is to begin no further call, for another agent has waited long enough."""
        return self._overdue(self._held.get((self._shared(holder) or holder) if self._shares else holder, []))

    def others(self) -> int:
        """How many of these CPUs other agents use now."""
        return sum(not self._free(fd) for number, fd in self._files.items() if number not in self._since)

    def close(self) -> None:
        """Let go of everything; what is claimed from now on is granted."""
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()
        self._shares.clear()
        self._since.clear()
        self._spare.clear()
        for fd in self._opened:
            self._unlock(fd)  # workers have these open, too
            os.close(fd)
        self.trouble = self.trouble or "the agent has ended"
        self._opened.clear()
        self._files.clear()

    # waiting

    def _wait(self) -> bool:
        """Be refused, seen to wait, and asked again."""
        self._refused = True
        if not self._waits:
            # from now on only a look makes it the first: whoever waits with it has as many looks
            self._waits = True
            self._stand()
        if not self._first:
            self._settle()
        self._look_in(LOOK_SECONDS, later=False)
        return False

    def _stand(self) -> None:
        """Show that this agent waits, and become the first of the waiting if none is."""
        # held already, or for a moment in the way of who looks: then the next look does it
        self._try(self._waiting_fd, fcntl.LOCK_SH)
        self._first = self._first or self._try(self._first_fd, fcntl.LOCK_EX)

    def _look_in(self, seconds: float, later: bool = True) -> None:
        if self._timer is not None:
            if not later:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.trouble is None and self._waits:
            self._stand()
        self._refused = False
        self._retry()
        if not self._refused and self._waits:
            self._waits = False
            self._pass()
            self._unlock(self._waiting_fd)
            self._settle()

    def _pass(self) -> None:
        """Give up being the first of the waiting."""
        if self._first:
            self._first = False
            self._unlock(self._first_fd)

    def _awaited(self) -> bool:
        """Whether another agent waits for a CPU."""
        if not self._waits:
            return not self._free(self._first_fd)
        # made exclusive and shared again: what fails has been lost, hence is taken anew
        alone = self._try(self._waiting_fd, fcntl.LOCK_EX)
        self._try(self._waiting_fd, fcntl.LOCK_SH)
        return not alone

    def _overdue(self, got: Sequence[int]) -> bool:
        if not got or self.trouble is not None:
            return False
        now = time.monotonic()
        if now < self._alone or now - min(self._since[number] for number in got) < HOLD_SECONDS:
            return False
        if self._awaited():
            return True
        self._alone = now + LOOK_SECONDS
        return False

    # locks

    def _settle_soon(self) -> None:
        if self._spare and not self._settling:
            self._settling = True
            self._loop.call_later(KEEP_SECONDS, self._settled)

    def _settled(self) -> None:
        self._settling = False
        if not self._first:
            self._settle()

    def _settle(self) -> None:
        """Unlock what nobody uses."""
        while self._spare:
            number = self._spare.pop()
            del self._since[number]
            self._unlock(self._files[number])

    def _lock(self, number: int) -> bool:
        """Lock a CPU that is locked nowhere."""
        if number in self._since or number not in self._files or not self._try(self._files[number], fcntl.LOCK_EX):
            return False
        self._since[number] = time.monotonic()
        return True

    def _free(self, fd: int) -> bool:
        """Whether nobody else has locked a file for itself."""
        # shared, so that those who ask do not see each other
        if not self._try(fd, fcntl.LOCK_SH):
            return False
        self._unlock(fd)
        return True

    def _try(self, fd: int, how: int) -> bool:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # out of locks, say: to run too much is better than not to run
            self._fail(error)
        return True

    def _unlock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_UN)
        except OSError as error:
            self._fail(error)
