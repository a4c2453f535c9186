"""A node's reports that the engine has not confirmed yet: in memory, and past some size on disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ec_jupyter.wire import Buffer, Header, encode

MEMORY_BYTES = 16 << 20
PRINTED_BYTES = 4 << 20  # what tasks may print while nobody confirms it; more is dropped


@dataclass
class Unit:
    """One frame that has to arrive."""

    number: int  # identity; the confirmation names it
    requests: frozenset[int]  # whom it is about: units of one request arrive in the order they were made
    files: list[tuple[str, int]]  # names and sizes of value files that have to be there before it
    data: bytes | None  # the frame; None: on disk
    size: int
    printed: int = 0  # bytes of printed text in it


class Spool:
    """Units in the order they were made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # where those lie for which there is no room in memory
        self._units: OrderedDict[int, Unit] = OrderedDict()
        self._unsent: OrderedDict[int, Unit] = OrderedDict()
        self._number = 0
        self._bytes = 0
        self._printed = 0

    def add(
        self, header: Header, buffers: Iterable[Buffer], requests: Iterable[int], files: list[tuple[str, int]]
    ) -> None:
        """Add a frame; it gets its number. Raises FrameError: it is too large for a frame."""
        printed = len(header.get("x", "")) if header["k"] == "output" else 0
        if printed and self._printed + printed > PRINTED_BYTES:
            return
        header["u"] = self._number + 1
        data = encode(header, list(buffers))
        self._number += 1
        self._printed += printed
        unit = Unit(self._number, frozenset(requests), files, data, len(data), printed)
        if self._bytes + unit.size > MEMORY_BYTES:
            self._path(unit).write_bytes(data)
            unit.data = None
        else:
            self._bytes += unit.size
        self._units[unit.number] = self._unsent[unit.number] = unit

    def unsent(self) -> Iterator[Unit]:
        """Take units, in order, that are to be sent."""
        while self._unsent:
            yield self._unsent.popitem(last=False)[1]

    def again(self) -> None:
        """Everything is to be sent: nobody knows what of it arrived."""
        self._unsent = OrderedDict(self._units)

    def data(self, unit: Unit) -> bytes:
        """The frame of a unit."""
        return self._path(unit).read_bytes() if unit.data is None else unit.data

    def confirmed(self, numbers: Iterable[int]) -> None:
        """Forget units that have arrived."""
        for number in numbers:
            unit = self._units.pop(number, None)
            if unit is None:
                continue
            self._unsent.pop(number, None)
            self._printed -= unit.printed
            if unit.data is None:
                self._path(unit).unlink(missing_ok=True)
            else:
                self._bytes -= unit.size

    def forget(self, requests: set[int]) -> None:
        """Forget units about nobody but these requests."""
        self.confirmed([unit.number for unit in self._units.values() if unit.requests <= requests])

    def requests(self) -> set[int]:
        """Requests that something is still to be told of."""
        return {request for unit in self._units.values() for request in unit.requests}

    def lowest(self) -> int:
        """The lowest number that is not confirmed, or the next."""
        return next(iter(self._units), self._number + 1)

    def _path(self, unit: Unit) -> Path:
        return self._folder / str(unit.number)
