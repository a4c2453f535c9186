"""The user's own OpenSSH: how it is called, how it asks, and what its failures mean."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ec_jupyter.errors import (
    DeclarationError,
    EcError,
    HostKeyError,
    HostUnreachableError,
    NodeStartError,
    SshAuthError,
)
from ec_jupyter.nodes.ssh.login import LOGIN_SECONDS, last_line

OPTIONS = {
    "StrictHostKeyChecking": "yes",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ConnectTimeout": "15",
    "ClearAllForwardings": "yes",
    "ControlPath": "none",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "PermitLocalCommand": "no",
    "EscapeChar": "none",
    "LogLevel": "ERROR",
}
"""What is said whatever the user's configuration says; all else is the user's."""

ASK_SECONDS = 300.0
Ask = Callable[[str], Awaitable[str | None]]
"""Takes what `ssh` asks, such as for a passphrase; the answer, or None to give up."""

_BARE = re.compile(r"[\w./~+-]+\Z", re.ASCII)
_UNKNOWN = re.compile(r"No (\S+) host key is known for (\S+)")
_NO_PYTHON = re.compile(r"not found|no such file|unknown command", re.IGNORECASE)


class Ssh:
    """Logs in with the user's own `ssh`; without `ask`, it never asks for a passphrase. Raises DeclarationError."""

    def __init__(
        self, host: str, *, python: str = "python3", client: Sequence[str] = ("ssh",), ask: Ask | None = None
    ) -> None:
        if not host or host.startswith("-") or any(c.isspace() or ord(c) < 32 for c in host):
            raise DeclarationError(f"{host!r} is no host: give it as ssh takes it, such as 'me@host'")
        if not client or any("stricthostkeychecking" in part.lower() for part in client):
            raise DeclarationError("ssh is a command with its options, and host keys are always checked")
        self.host = host  # what `ssh` takes: `me@host` or a name of its configuration
        self.python = python  # the Python there
        self.seconds = LOGIN_SECONDS if ask is None else ASK_SECONDS
        self._quoted = _quoted(python)
        self._client = [str(part) for part in client]  # the command, with options of the user's own
        self._asking = None if ask is None else Asking(ask)

    async def command(self, code: str) -> tuple[list[str], Mapping[str, str]]:
        """The `ssh` command that runs Python `code` there."""
        options = [part for name, value in OPTIONS.items() for part in ("-o", f"{name}={value}")]
        env = dict(os.environ)
        if self._asking is None:
            options += ["-o", "BatchMode=yes"]
        else:
            options += ["-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"]
            env.update(SSH_ASKPASS=await self._asking.open(), SSH_ASKPASS_REQUIRE="force")
        return [*self._client, "-T", *options, "--", self.host, f"{self._quoted} -c '{code}'"], env

    def explain(self, code: int | None, errors: str, said: str) -> EcError:
        """The error that what `ssh` said stands for."""
        host = self.host
        for pattern, kind, text in _FAILURES:
            if re.search(pattern, errors):
                return kind(f"{text.format(host=host, try_it=self._by_hand(host))} ({_line(errors, pattern)})")
        if code == 127 or (code != 255 and _NO_PYTHON.search(errors)):
            return NodeStartError(
                f'host {host!r} has no {self.python!r} for a login without a terminal; give python="/path/to/python3" '
                f"({last_line(errors)})"
            )
        if code == 255 or code is None:
            return HostUnreachableError(f"ssh to {host!r} ended: {last_line(errors or said)}; {self._by_hand(host)}")
        return NodeStartError(f"{self.python!r} on host {host!r} ended with code {code}: {last_line(errors or said)}")

    def _by_hand(self, host: str) -> str:
        return f"try {shlex.join([*self._client, host])!r} in a terminal"

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            await self._asking.close()


_FAILURES: list[tuple[str, type[EcError], str]] = [
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        HostKeyError,
        "host {host!r} shows another key than before: somebody may listen in, or the host was set up anew; "
        "ask who runs it, then remove the old key with ssh-keygen -R",
    ),
    (
        "No .* host key is known|Host key verification failed|authenticity of host",
        HostKeyError,
        "the key of host {host!r} is not known; {try_it} once and check the fingerprint",
    ),
    (
        "[Pp]ermission denied|Too many authentication failures|No more authentication methods|"
        "no mutual signature|Authentication failed",
        SshAuthError,
        "host {host!r} does not let us in; {try_it}, then ssh-add the key, or give ask=True for its passphrase",
    ),
    (
        "Could not resolve hostname|Name or service not known|nodename nor servname",
        HostUnreachableError,
        "no host of the name {host!r} is known; check the name, or its entry in ~/.ssh/config",
    ),
    (
        "Connection refused",
        HostUnreachableError,
        "host {host!r} refuses: no SSH server listens there; check the port, or start sshd",
    ),
    (
        "timed out|No route to host|Network is unreachable|Host is down|Connection reset|Connection closed by|"
        "kex_exchange_identification|banner exchange",
        HostUnreachableError,
        "host {host!r} does not answer; check that it is on and that the network lets you through",
    ),
    (
        "Bad configuration option|Bad owner or permissions|terminating, .* bad configuration|Can't open user config",
        NodeStartError,
        "ssh does not accept its configuration for host {host!r}",
    ),
]


class Asking:
    """Answers what `ssh` asks: a program it starts for each question, which asks us."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask  # gets each question
        self._folder: Path | None = None
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> str:
        """The program's path."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ec"))  # for this user alone
            program = self._folder / "ask"
            code = f"import sys;sys.argv[0]={str(self._folder / 's')!r};{_PROGRAM}"
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS -c {shlex.quote(code)} "$@"\n')
            program.chmod(0o700)
            self._server = await asyncio.start_unix_server(self._answer, str(self._folder / "s"))
        return str(self._folder / "ask")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ValueError, ConnectionError):
            answer = await self._ask(str(json.loads(await reader.readline())))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


_PROGRAM = (
    "import json,socket;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[0]);f=s.makefile('rw');"
    "f.write(json.dumps(sys.argv[1])+chr(10));f.flush();a=json.loads(f.readline() or 'null');"
    "sys.exit(1) if a is None else print(a)"
)


def _quoted(python: str) -> str:
    if _BARE.match(python):
        return python  # so that a shell there still finds what ~ stands for
    if not python or any(c in "'\\!" or ord(c) < 32 for c in python):
        raise DeclarationError(f"{python!r} is no path that every shell takes")
    return f"'{python}'"


def _line(text: str, pattern: str) -> str:
    """The line that says it, without its frame of at signs."""
    found = [line.strip() for line in text.splitlines() if re.search(pattern, line)]
    return _UNKNOWN.sub(r"no \1 key is known for \2", found[0].strip("@ \t."))[:200]
