"""Downloads from a node: results that arrive as files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.codec import file_name
from ec_jupyter.nodes.values import sync_to_disk
from ec_jupyter.wire import Value

_RESULT = re.compile(r"(-?\d{1,18})\.(\d{1,18})\.(\d{1,18})\.(\d{1,9})\Z", re.ASCII)


class Downloads:
    """Takes a node's files into the flow's folder of values, under names as local workers give."""

    def __init__(self, values: Path, epoch: int, sync: bool) -> None:
        self._values = values  # that folder
        self._epoch = epoch  # the engine's: in a name it keeps a file from being swept away
        self._sync = sync  # whether files are synced to the disk

    def named(self, name: object) -> tuple[str, int, int]:
        """What a file of the node is called here, and whose result it is: request and attempt. Raises FrameError."""
        found = _RESULT.match(file_name(name))
        if found is None:
            raise FrameError(f"{name!r:.100} is no name of a result")
        request, _, attempt, number = map(int, found.groups())
        return f"{request}.{self._epoch}.{attempt}.{number}", request, attempt

    def beside(self, name: object) -> Path:
        """The path it is written to until it has arrived."""
        return self._values / f".{self.named(name)[0]}.{os.getpid()}"

    def take(self, name: object, *, keep: bool) -> bool:
        """A file has arrived: rename it to its name, or remove it unless `keep`; returns `keep`."""
        beside = self.beside(name)
        if not keep:
            beside.unlink(missing_ok=True)
            return False
        if self._sync:
            sync_to_disk(beside)
        beside.replace(self._values / self.named(name)[0])
        if self._sync:
            sync_to_disk(self._values)
        return True

    def has(self, request: int, attempt: int, value: Value) -> bool:
        """Whether a value is here, which takes the name it has here. Raises FrameError: it is of another call."""
        if value.file is None:
            return True
        name, *whose = self.named(value.file)
        if whose != [request, attempt]:
            raise FrameError(f"{value.file!r:.100} is the result of another call")
        value.file = name
        return (self._values / name).exists()
