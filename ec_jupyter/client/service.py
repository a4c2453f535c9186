"""A flow's engine as a service of systemd: it starts with the machine, for a flow whose schedules are to go on then."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ec_jupyter.errors import DeclarationError

_UNIT = """\
# written by ec_jupyter; 'ec install-service --remove' takes it away
[Unit]
Description=ec_jupyter: flow {name} in {where}

[Service]
ExecStart={command}
WorkingDirectory={where}
Restart=on-failure
RestartSec=60

[Install]
WantedBy=default.target
"""
# another engine of the flow, a notebook's say, is no trouble: once that has ended, the next try holds the flow


def place(folder: Path) -> Path:
    """Where the unit of a flow is."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", folder.name)
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    return config / "systemd" / "user" / f"ec-jupyter-{name}-{digest}.service"


def unit(folder: Path, executable: str, options: Sequence[str] = ()) -> str:
    """The text of a unit that runs the engine of the flow in `folder`, under this Python."""
    folder = folder.resolve()
    command = [executable, "-m", "ec_jupyter.engine", str(folder), *options]
    where = folder.parent.parent
    return _UNIT.format(name=_plain(folder.name), where=_plain(str(where)), command=" ".join(map(_quoted, command)))


def install(folder: Path, executable: str, options: Sequence[str] = ()) -> Path:
    """Write the unit of a flow; where it is. Raises DeclarationError: it cannot be written; says why."""
    path = place(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit(folder, executable, options))
    except (OSError, ValueError) as error:
        raise DeclarationError(f"the service of flow {folder.name!r} cannot be written: {error}") from None
    return path


def remove(folder: Path) -> bool:
    """Take the unit of a flow away; whether there was one."""
    path = place(folder)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def installed(folder: Path) -> bool:
    """Whether a flow has one."""
    return place(folder).exists()


def steps(path: Path) -> list[str]:
    """Commands that let a unit that was written take effect."""
    return [
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {path.name}",
        "loginctl enable-linger  # to start it with the machine, before you log in",
    ]


def _plain(text: str) -> str:
    if "\n" in text:
        raise ValueError(f"{text!r} has a line break in it")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of a command as systemd reads it."""
    text = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"'
