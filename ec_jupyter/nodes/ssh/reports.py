"""What a node tells the engine of its calls: frames that are sent as the connection takes them.

They are kept until the engine has confirmed them: in memory, and past some size on disk.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.codec import files_of, pack_outcomes, values_of
from ec_jupyter.nodes.lots import pack_block
from ec_jupyter.nodes.ssh.transport import Transport
from ec_jupyter.wire import INLINE_BYTES, Block, Buffer, Header, Outcome, encode

log = logging.getLogger(__name__)

UNIT_BYTES = 2 * INLINE_BYTES  # outcomes share a frame up to about so much
BACKLOG_BYTES = 1 << 20
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


class Reports:
    """Reports that have to arrive, in the order they were made, whichever connection takes them."""

    def __init__(self, spool: Path, values: Path) -> None:
        self._spool = spool  # the folder of those for which there is no room in memory
        self._values = values  # the node's folder of value files
        self._units: OrderedDict[int, Unit] = OrderedDict()
        self._unsent: OrderedDict[int, Unit] = OrderedDict()
        self._number = self._bytes = self._printed = 0
        self._busy: set[int] = set()
        self._transport: Transport | None = None

    # the connection

    def begin(self, transport: Transport) -> None:
        """Send everything to this connection: nobody knows what of it the one before took along."""
        self._transport = transport
        self._busy.clear()
        self._unsent = OrderedDict(self._units)
        self._send()

    def pause(self) -> None:
        """There is no connection that takes reports."""
        self._transport = None

    def drained(self) -> None:
        """The connection takes more."""
        if self._transport is not None and not self._transport.bulky:
            self._busy.clear()
        self._send()

    def _send(self) -> None:
        """Send as many as the connection takes now."""
        transport = self._transport
        while transport is not None and self._unsent and transport.backlog < BACKLOG_BYTES:
            self._put(transport, self._unsent.popitem(last=False)[1])

    def _put(self, transport: Transport, unit: Unit) -> None:
        # what is large lets others pass, but nothing overtakes within one request
        behind = bool(unit.files) or not unit.requests.isdisjoint(self._busy)
        for name, size in unit.files:
            try:
                transport.send_file(self._values / name, {"n": name})
            except OSError as error:
                log.error("value file %s of %d bytes: %s", name, size, error)
        if behind:
            self._busy |= unit.requests
        transport.put(self._path(unit).read_bytes() if unit.data is None else unit.data, behind=behind)

    # what there is to tell

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Calls have ended, each in its own way."""
        share: list[Outcome] = []
        size = 0
        for outcome in outcomes:
            inline = sum(len(value.data) for value in values_of(outcome) if value.data is not None)
            if share and (size + inline > UNIT_BYTES or _files(outcome) or _files(share[-1])):
                self._share(share)
                share, size = [], 0
            share.append(outcome)
            size += inline
        if share:
            self._share(share)

    def _share(self, outcomes: list[Outcome]) -> None:
        header, buffers = pack_outcomes(outcomes)
        files = [file for outcome in outcomes for file in _files(outcome)]
        try:
            self.add(header, [outcome.request for outcome in outcomes], buffers, files)
        except FrameError as error:
            # one result of a great many values, for small ones never share a frame that large
            for one in outcomes:
                facts = {"type": "TaskNotPicklableError", "message": str(error), "traceback": "", "kind": "unpicklable"}
                gone = Outcome(one.request, one.attempt, "failed", error=facts, started=one.started)
                self.add(pack_outcomes([gone])[0], [one.request])

    def done(self, block: Block) -> None:
        """Calls have ended well."""
        for part in block.parts(UNIT_BYTES):
            header, buffers = pack_block(part)
            self.add(header, part.requests, buffers)

    def add(
        self, header: Header, requests: Iterable[int], buffers: Iterable[Buffer] = (),
        files: Iterable[tuple[str, int]] = (),
    ) -> None:  # fmt: skip
        """Report about these requests; the files have to be there before it. Raises FrameError: too large."""
        printed = len(header.get("x", "")) if header["k"] == "output" else 0
        if printed and self._printed + printed > PRINTED_BYTES:
            return
        header["u"] = self._number + 1
        data = encode(header, list(buffers))
        self._number += 1
        self._printed += printed
        unit = Unit(self._number, frozenset(requests), list(files), data, len(data), printed)
        if self._bytes + unit.size > MEMORY_BYTES:
            self._path(unit).write_bytes(data)
            unit.data = None
        else:
            self._bytes += unit.size
        self._units[unit.number] = self._unsent[unit.number] = unit
        self._send()

    # what is kept

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
        return self._spool / str(unit.number)


def _files(outcome: Outcome) -> list[tuple[str, int]]:
    return files_of(values_of(outcome))
