"""What a node's tasks need beyond the standard library: an environment, made once and reused.

Runs on the host before the agent does. ``uv`` makes it where it is installed, else ``venv`` and
pip; where Python came without those, pip itself comes from the engine. What they say goes to the
engine line by line, which is also the sign that this host is alive.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ec_jupyter.nodes import bootstrap
from ec_jupyter.wire import FrameReader, encode

ALIVE_SECONDS = 1.0
KEPT_SECONDS = 90 * 24 * 3600.0
"""An environment that was asked for last so long ago is removed, unless somebody runs in it."""

_DONE = "made"


class Failed(Exception):
    """The environment cannot be made; the text says why in one line."""


class Line:
    """The way to the engine before there is a loop: frames, one after the other."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._lock = threading.Lock()
        for fd in (read, write):
            os.set_blocking(fd, True)

    def say(self, header: dict[str, Any]) -> None:
        """Send a frame; this process ends where nobody is there any more."""
        data = encode(header)
        with self._lock:
            while data:
                try:
                    data = data[os.write(self._write, data) :]
                except OSError:
                    os._exit(1)

    def pip(self) -> bytes:
        """What Python runs as pip, a zip from the engine."""
        self.say({"k": "want", "x": "pip"})
        reader, whole = FrameReader(), FrameReader()
        while data := os.read(self._read, 1 << 18):
            for header, buffers in reader.feed(data):
                # it is large, so it comes in parts
                if header["k"] == "part":
                    self.say({"k": "got", "n": len(buffers[0])})
                    if frames := whole.feed(buffers[0]):
                        return frames[0][1][0]
        os._exit(1)


def move_in(orders: dict[str, Any]) -> NoReturn:
    """Become the same process again, in an environment that has what is required."""
    line = Line(orders["read"], orders["write"])
    ended = threading.Event()

    def alive() -> None:
        while not ended.wait(ALIVE_SECONDS):
            line.say({"k": "note", "x": ""})

    threading.Thread(target=alive, daemon=True).start()
    try:
        python, path = environment(Path(orders["cache"]) / "envs", orders["requirements"], line)
    except (Failed, OSError) as error:
        line.say({"k": "failed", "x": str(error)})
        sys.exit(str(error))
    ended.set()
    for name in ("read", "write", "detach"):
        os.set_inheritable(orders[name], True)
    bootstrap.execute(python, orders["bundle"], dict(orders, inside=True, path=path))
    raise AssertionError("unreachable")


def environment(folder: Path, requirements: Sequence[str], line: Line) -> tuple[str, list[str]]:
    """The Python to run, and further folders it looks into; made if need be. Raises Failed: it cannot be."""
    lines = sorted({one.strip() for one in requirements if one.strip()})
    key = hashlib.sha256("\n".join([sys.executable, sys.version, *lines]).encode()).hexdigest()[:20]
    place = folder / key
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _opened(folder / f"{key}.lock")
    if not (place / _DONE).exists():
        # two nodes of one host may want the same; the second finds it made
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / _DONE).exists():
            _fill(place, lines, line)
        fcntl.flock(lock, fcntl.LOCK_SH)
    os.utime(place / _DONE)
    # held as long as this process lives, also under another Python: who uses an environment keeps it
    os.set_inheritable(lock, True)
    _sweep(folder)
    python = place / "venv" / "bin" / "python"
    return (str(python), []) if python.exists() else (sys.executable, [str(place / "lib")])


def _opened(path: Path) -> int:
    """A file that stands for an environment, locked as in use."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def _sweep(folder: Path) -> None:
    """Remove environments that nobody uses, and nobody has asked for in a long time."""
    for done in folder.glob(f"*/{_DONE}"):
        # in use, or just being removed by another
        with open(folder / f"{done.parent.name}.lock", "w") as lock, suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - done.stat().st_mtime > KEPT_SECONDS:
                done.unlink()
                shutil.rmtree(done.parent, ignore_errors=True)


def _fill(place: Path, lines: Sequence[str], line: Line) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    (place / "requirements.txt").write_text("\n".join(lines) + "\n")
    try:
        _make(place, lambda text: line.say({"k": "note", "x": text}), line.pip)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    (place / _DONE).touch()


def _make(place: Path, note: Callable[[str], None], pip: Callable[[], bytes]) -> None:
    wanted = str(place / "requirements.txt")
    venv = place / "venv"
    inside = str(venv / "bin" / "python")
    uv = shutil.which("uv", path=os.pathsep.join([os.environ.get("PATH", ""), os.path.expanduser("~/.local/bin")]))
    if uv is not None:
        _run([uv, "venv", "--python", sys.executable, "--system-site-packages", str(venv)], note)
        _run([uv, "pip", "install", "--python", inside, "-r", wanted], note)
        return
    if _has_venv(venv, note):
        _run([inside, "-m", "pip", "install", "--disable-pip-version-check", "-r", wanted], note)
        return
    shutil.rmtree(venv, ignore_errors=True)
    zipped = place / "pip.zip"
    zipped.write_bytes(pip())
    _run(
        [sys.executable, str(zipped / "pip"), "install", "--disable-pip-version-check",
         "--target", str(place / "lib"), "-r", wanted],
        note,
    )  # fmt: skip
    zipped.unlink()


def _has_venv(venv: Path, note: Callable[[str], None]) -> bool:
    """Make an environment that sees the host's pip, or has its own; False where Python came without, as Debian's."""
    inside = str(venv / "bin" / "python")
    try:
        # a pip of its own takes as long as ten of these
        _run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(venv)], note)
        try:
            _run([inside, "-c", "import pip"], note)
        except Failed:
            _run([inside, "-m", "ensurepip"], note)
    except Failed:
        return False
    return True


def _run(command: list[str], note: Callable[[str], None]) -> None:
    """Run a command and pass on what it says; of a failure, the line that tells why."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", bootstrap.ENVIRONMENT)}
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env
        )
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from error
    said: list[str] = []
    assert process.stdout is not None
    for raw in process.stdout:
        text = raw.decode(errors="replace").strip()
        if text:
            said.append(text)
            note(text)
    if process.wait():
        told = [text for text in said if "error" in text.lower() or "\u00d7" in text] or said[-1:]
        text = told[-1] if told else f"{command[0]} ended with code {process.returncode}"
        raise Failed(text)
