"""How much room a flow takes on the disk: looked at rarely, told at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# bytes of a flow's files: of its ``database``, its ``values``, its ``logs`` (all else), and in ``total``
Sizes = dict[str, int]
FEW = 64  # so many files are looked at while somebody waits, which takes 0.2 ms
REST_SECONDS = 5.0
SHARE = 100  # what was looked at stands for 5 s, or for this many times as long as the look took
_DATABASE, _VALUES = "flow.db", "values"


def measured(folder: Path, most: int | None = None) -> Sizes | None:
    """What a flow's files take; None where there are more than `most` of them, OSError where they cannot be read."""
    found = {"database": 0, "values": 0, "logs": 0}
    for n, (kind, size) in enumerate(_files(folder), 1):
        if most is not None and n > most:
            return None
        found[kind] += size
    return {**found, "total": sum(found.values())}


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Kind and bytes of each file; of links nothing."""
    todo = [("", folder)]
    while todo:
        kind, place = todo.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append((kind or ("values" if entry.name == _VALUES else "logs"), Path(entry.path)))
                    continue
                try:
                    size = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    # it went while we looked
                    continue
                yield kind or ("database" if entry.name.startswith(_DATABASE) else "logs"), size


class Disk:
    """How large the flow in a folder is, as of a while ago."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: Sizes | None = None
        self._next = 0.0

    def size(self) -> Sizes | None:
        """What is known by now; of many files they are counted in a thread, and None is known before the first time."""
        began = time.monotonic()
        if began >= self._next:
            self._next = began + REST_SECONDS
            if not self._look(FEW):
                self._next = float("inf")
                threading.Thread(target=self._look_at_all, name="ec-disk", daemon=True).start()
        return self._known

    def _look(self, most: int | None) -> bool:
        """Take the size, where there are no more files than that."""
        try:
            found = measured(self._folder, most)
        except OSError:
            # the folder goes; whoever stops the engine for that says so
            return True
        self._known = found or self._known
        return found is not None

    def _look_at_all(self) -> None:
        began = time.monotonic()
        self._look(None)
        ended = time.monotonic()
        self._next = ended + max(REST_SECONDS, SHARE * (ended - began))
