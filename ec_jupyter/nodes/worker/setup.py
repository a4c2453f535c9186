"""What a worker process is before it takes calls: its group, its CPUs, and its channels to the agent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass

from ec_jupyter.nodes import cpus
from ec_jupyter.nodes.code import lend_names
from ec_jupyter.nodes.cpu_locks import InheritedFd
from ec_jupyter.wire import encode

_SET_SIGNAL = 10  # F_SETSIG of Linux, which Python does not name


@dataclass(frozen=True)
class Setup:
    """How a worker process is set up: what is the same for all of an agent, and what is new for each."""

    folder: str
    workdir: str
    epoch: int
    sync: bool
    fetch: bool
    token: str = ""
    address: str = ""
    blame: str = ""
    pins: cpus.Pins = ()
    limits: tuple[str, ...] = ()


failed: list[BaseException] = []
_life: list[socket.socket] = []


def init(setup: Setup, locks: InheritedFd) -> None:
    """Prepare the process before anything of the user's is loaded; loky's initializer."""
    try:
        # a group of its own: a task's children die with it, a terminal's interrupt never comes here
        os.setpgid(0, 0)
        locks.keep()
        _live_with_agent(setup)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        cpus.pin(setup.pins)
        with open(os.devnull) as nothing:
            # nobody is there to answer: input() ends at once instead of waiting for ever
            os.dup2(nothing.fileno(), 0)
        # loky's own, of which processes that a task starts know nothing: a pool would start them again for ever
        multiprocessing.set_start_method(None, force=True)
        lend_names()
        os.chdir(setup.workdir)
        if not setup.fetch:
            # elsewhere it is the user's home there: the notebook's modules come from the notebook's folder
            sys.path.insert(0, setup.workdir)
    except BaseException as error:  # noqa: BLE001 - told by `serve`
        # raised here it would only say that the pool is broken; `serve` raises it where it is heard
        failed.append(error)


def leave() -> None:
    """End this process and all it has started, at once."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _live_with_agent(setup: Setup) -> None:
    """Have the kernel kill this process and all it has started once the agent is gone.

    The control thread does the same, but not before there is one, nor while a task holds the GIL.
    """
    try:
        life = connected(setup, "life")
    except OSError:
        os._exit(1)  # gone already: loky would wait for its next message until the idle time is over
    _life.append(life)
    with suppress(ImportError, AttributeError, OSError):  # where the system has no such signal
        import fcntl

        fd = life.fileno()
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgid(0))
        fcntl.fcntl(fd, _SET_SIGNAL, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    with suppress(BlockingIOError):
        # nothing is ever sent on it, so that an answer means that it has ended meanwhile
        life.recv(1, socket.MSG_DONTWAIT)
        leave()


def connected(setup: Setup, channel: str) -> socket.socket:
    """A channel to the agent."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(setup.address)
    except (ConnectionRefusedError, FileNotFoundError):
        # the agent was killed while this process started; nobody else would ever end it
        leave()
    sock.sendall(encode({"k": "hello", "token": setup.token, "channel": channel, "pid": os.getpid()}))
    return sock
