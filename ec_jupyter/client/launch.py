"""A flow's engine: whether there is one, and how it is started."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from ec_jupyter.client.transport import Transport
from ec_jupyter.client.waits import Deadline
from ec_jupyter.engine.address import connect
from ec_jupyter.engine.folder import refusal
from ec_jupyter.errors import EngineLostError, EngineStartError, FrameError, StoreLockedError, from_wire
from ec_jupyter.wire import FrameReader, Header, encode

log = logging.getLogger(__name__)

START_SECONDS = 30.0  # an engine that has not said it listens by then did not start
LOOK_SECONDS = 1.0  # an engine that has not proved by then that it is there is busy, or stopped
MOST_DEATHS = 8  # engines that end without an answer between them: it is the question that ends them


def running(folder: Path) -> bool:
    """Whether an engine serves the flow in `folder`; starts none."""
    try:
        sock = connect(folder, LOOK_SECONDS)
    except TimeoutError:
        return True  # it is busy, or stopped
    if sock is not None:
        sock.close()
    return sock is not None


def reach(folder: Path, name: str, executable: str, options: Sequence[str], *, start: bool = True) -> socket.socket:
    """A connection to the engine of a flow; one is started, if none runs, under `executable` with these `options`.

    Raises EngineStartError, StoreError: it cannot run on that folder; says why; EngineLostError: it runs and does not
    answer, or none runs and none is to `start`.
    """
    command = [executable, "-m", "ec_jupyter.engine", str(folder), *options]
    deadline = time.monotonic() + START_SECONDS
    killed = 0
    while True:
        try:
            sock = connect(folder, max(LOOK_SECONDS, deadline - time.monotonic()))
        except TimeoutError:
            raise EngineLostError(_silent(name)) from None
        if sock is not None:
            return sock
        if not start:
            raise EngineLostError(f"no engine of flow {name!r} runs, and to look starts none")
        try:
            killed += not _start(folder, name, command, last=killed == MOST_DEATHS)
        except StoreLockedError:
            # another client is starting it right now, or it is just ending
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def ended(pid: int, name: str) -> None:
    """Return once the engine that was told to stop has ended. Raises EngineLostError: it does not."""
    try:
        psutil.Process(pid).wait(START_SECONDS)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        raise EngineLostError(f"the engine of flow {name!r} (process {pid}) does not end") from None


def _start(folder: Path, name: str, command: list[str], *, last: bool) -> bool:
    """Start an engine and wait until it says that it listens, or why it cannot; False if it was killed."""
    ready, write = os.pipe()
    log_path = folder / "engine.log"
    try:
        output = open(log_path, "ab")  # noqa: SIM115 - closed below, with its own error's name
    except OSError as error:
        os.close(ready)
        os.close(write)
        raise refusal(folder, error) from error
    with output:
        # a group of its own, which leaves the terminal: an interrupt or the end of this kernel does not reach it. In a
        # session of its own it would be scheduled apart from who waits for it, milliseconds later where much else runs
        process = subprocess.Popen(
            [*command, "--ready", str(write)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=[write], process_group=0,
        )  # fmt: skip
    os.close(write)
    with open(ready, "rb") as pipe:
        said = pipe.readline()
    if not said and process.wait() < 0 and not last:
        return False
    threading.Thread(target=process.wait, name="ec-engine-end", daemon=True).start()
    if not said:
        tail = log_path.read_text(errors="replace").strip().splitlines()[-1:]
        raise EngineStartError(f"the engine of flow {name!r} did not start ({''.join(tail)}); its log: {log_path}")
    answer = json.loads(said)
    if "error" in answer:
        raise from_wire(answer["error"])
    return True


def dial(reach: Callable[[], socket.socket], hello: Header) -> Transport:
    """A connection on which an engine has answered a hello; one that was just ending is followed by another."""
    deadline = Deadline(START_SECONDS)
    while not deadline.over:
        transport = Transport(reach())
        try:
            if _answers(transport, encode(dict(hello)), deadline):
                return transport
        except FrameError:
            # no engine of ours
            log.warning("what answers at the address of the engine speaks another language")
        transport.close()
    text = f"no engine of the flow has answered in {START_SECONDS:g} s: it is stopped or busy, or ends at once"
    raise EngineLostError(text)


def _answers(transport: Transport, hello: bytes, deadline: Deadline) -> bool:
    """Whether a hello is answered: by the first frame, for an engine tells nothing before that."""
    transport.send(hello)
    while not transport.frames:
        if not transport.wait(deadline.left) or not transport.read():
            break
    return bool(transport.frames)


def stop(folder: Path, name: str) -> bool:
    """End the engine of a flow, whatever version it is of; False where none runs. Raises TimeoutError: it is silent."""
    try:
        sock = connect(folder, START_SECONDS)
        if sock is None:
            return False
        said = asked(sock, "stop", START_SECONDS)
    except TimeoutError:
        raise TimeoutError(_silent(name)) from None
    if said is not None and said["k"] == "error":
        raise from_wire(said["error"])
    return True


def asked(sock: socket.socket, kind: str, seconds: float) -> Header | None:
    """The answer to a frame, on a line that is closed then; None where that ended before."""
    reader = FrameReader()
    with sock, suppress(ConnectionError):
        sock.settimeout(seconds)
        sock.sendall(encode({"k": kind, "n": 1}))
        while data := sock.recv(1 << 18):
            if frames := reader.feed(data):
                return frames[0][0]
    return None


def _silent(name: str) -> str:
    return f"the engine of flow {name!r} has not answered in {START_SECONDS:g} s: it is stopped or busy"
