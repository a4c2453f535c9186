"""Logging in to a host: starts a command there, reads the host's facts, sends the bundle if need be."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ec_jupyter.errors import EcError, NodeStartError, PythonMismatchError
from ec_jupyter.nodes import bootstrap
from ec_jupyter.nodes import bundle as bundling
from ec_jupyter.nodes.worker.output import enlarge

LOGIN_SECONDS = 60.0  # how long a host may take until it says what is there
CHATTER_BYTES = 1 << 20
_KEPT_BYTES = 16 * 1024


class Login(Protocol):
    """A way to run a command on a host."""

    host: str
    python: str
    seconds: float

    async def command(self, code: str) -> tuple[list[str], Mapping[str, str]]:
        """The local command, and its environment, that runs Python `code` there."""

    def explain(self, code: int | None, errors: str, said: str) -> EcError:
        """Why there was no answer, from the command's exit code and what it and the host have said."""

    async def close(self) -> None:
        """Nobody will log in again."""


class Process:
    """The local end of a login."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        # a session of its own: an interrupt of a terminal or kernel is not for it
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env=env, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        # a transport will own the descriptors and close them
        # read, write: descriptors of what it says and hears
        self.read, self.write = os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno())
        self._process.stdout.close()
        self._process.stdin.close()
        self.pid = self._process.pid
        self.code: int | None = None
        self._given = False
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self._tail = b""  # the end of what it has said on its other channel
        self._errors = self._process.stderr
        for fd in (self.read, self.write, self._errors.fileno()):
            os.set_blocking(fd, False)
        for fd in (self.read, self.write):
            # room that keeps both its ends from waking up for every small piece
            enlarge(fd)
        self._loop.add_reader(self._errors.fileno(), self._hear)
        threading.Thread(target=self._wait, name=f"login {self.pid}", daemon=True).start()

    def _wait(self) -> None:
        code = self._process.wait()
        with suppress(RuntimeError):  # the loop has ended before
            self._loop.call_soon_threadsafe(self._gone, code)

    def _gone(self, code: int) -> None:
        self.code = code
        if not self._errors.closed:
            self._hear()
        self._deafen()
        self.ended.set()

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            data = os.read(self._errors.fileno(), _KEPT_BYTES)
            if not data:
                return self._deafen()
            self._tail = (self._tail + data)[-_KEPT_BYTES:]
        return None

    def _deafen(self) -> None:
        if not self._errors.closed:
            self._loop.remove_reader(self._errors.fileno())
            self._errors.close()

    @property
    def errors(self) -> str:
        """The end of what it has said on its other channel."""
        return self._tail.decode(errors="replace")

    def give(self) -> tuple[int, int]:
        """The descriptors, which belong to the caller from now on."""
        self._given = True
        return self.read, self.write

    async def close(self) -> None:
        """End it."""
        if not self._given:
            self.give()
            os.close(self.read)
            os.close(self.write)
        if self.code is None:
            self._process.kill()
        try:
            await self.ended.wait()
        finally:
            self._deafen()

    async def send(self, data: bytes) -> None:
        """Write it all; a `BrokenPipeError` where nobody reads."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.write, view) :]
            except BlockingIOError:
                await _ready(self._loop.add_writer, self._loop.remove_writer, self.write)

    async def receive(self) -> bytes:
        """What comes next; empty at the end."""
        while True:
            try:
                return os.read(self.read, 1 << 16)
            except BlockingIOError:
                await _ready(self._loop.add_reader, self._loop.remove_reader, self.read)


async def _ready(add: Callable[..., Any], remove: Callable[[int], Any], fd: int) -> None:
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


async def enter(login: Login, orders: dict[str, Any]) -> tuple[Process, bytes, dict[str, Any]]:
    """Log in and start the agent, or find it running.

    `orders`: what the host is to do; the bundle's hash and our Python are added. Returns tuple: the process, what it
    has said already of the frames, and what is there. Raises EcError: why it cannot be done, in one line with what to
    do.
    """
    sha256, zipped = bundling.bundle()
    text = bundling.first(dict(orders, sha256=sha256, python=list(sys.version_info[:2])))
    command, env = await login.command(bundling.command(text))
    try:
        process = Process(command, env)
    except OSError as error:
        raise NodeStartError(f"{command[0]!r} cannot be run: {error.strerror}") from error
    said = bytearray()
    try:
        return await asyncio.wait_for(_exchange(process, login, text, zipped, said), login.seconds)
    except BaseException as error:
        await process.close()
        if isinstance(error, asyncio.TimeoutError):
            heard = last_line(process.errors or said.decode(errors="replace"))
            raise NodeStartError(f"host {login.host!r} did not answer within {login.seconds:g} s: {heard}") from error
        raise


async def _exchange(
    process: Process, login: Login, text: bytes, zipped: bytes, said: bytearray
) -> tuple[Process, bytes, dict[str, Any]]:
    with suppress(BrokenPipeError):  # what it has said tells why
        await process.send(text)
    facts, rest = await _facts(process, login, said)
    _check(login, facts)
    reply: dict[str, Any] = {"go": True}
    load = not facts["running"] and not facts["bundle"]
    if load:
        reply["size"] = len(zipped)
    try:
        await process.send(json.dumps(reply).encode() + b"\n" + (zipped if load else b""))
    except BrokenPipeError:
        raise await _ended(process, login, said) from None
    return process, rest, facts


async def _facts(process: Process, login: Login, said: bytearray) -> tuple[dict[str, Any], bytes]:
    while True:
        head, found, tail = bytes(said).partition(bootstrap.MAGIC)
        line, whole, rest = tail.partition(b"\n")
        if whole:
            return _read(login, line), rest
        if len(head if found else said) > CHATTER_BYTES or len(tail) > CHATTER_BYTES:
            raise NodeStartError(f"host {login.host!r} says too much: {last_line(head.decode(errors='replace'))}")
        data = await process.receive()
        if not data:
            raise await _ended(process, login, said)
        said += data


async def _ended(process: Process, login: Login, said: bytearray) -> EcError:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(process.ended.wait(), 5.0)
    return login.explain(process.code, process.errors, said.decode(errors="replace"))


def _read(login: Login, line: bytes) -> dict[str, Any]:
    kinds = {"python": list, "executable": str, "pythons": list, "host": str, "bundle": bool, "running": bool}
    try:
        facts = json.loads(line)
        json.dumps(facts, ensure_ascii=False).encode()  # raises where a text has what cannot be passed on
        whole = len(facts["python"]) == 3 and all(type(number) is int for number in facts["python"])
        if whole and all(isinstance(facts[name], kind) for name, kind in kinds.items()):
            return dict(facts)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # told below
    raise NodeStartError(f"host {login.host!r} answers in no way that is ours: {line.decode(errors='replace')[:100]}")


def _check(login: Login, facts: dict[str, Any]) -> None:
    major, minor = facts["python"][:2]
    if (major, minor) != sys.version_info[:2]:
        ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
        there = ", ".join(map(str, facts["pythons"])) or "none other"
        raise PythonMismatchError(
            f"host {login.host!r} runs Python {major}.{minor}, this flow {ours}; "
            f'give python="python{ours}" or the path of one (found there: {there})'
        )
    if "error" in facts:
        raise NodeStartError(f"host {login.host!r} has no place to work in: {facts['error']}")


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
