"""What a node tells the engine of its calls: made into frames, kept in the spool, sent as the connection takes them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.codec import files_of, pack_outcomes, values_of
from ec_jupyter.nodes.lots import pack_block
from ec_jupyter.nodes.ssh.spool import Spool, Unit
from ec_jupyter.nodes.ssh.transport import Transport
from ec_jupyter.wire import INLINE_BYTES, Block, Buffer, Header, Outcome

log = logging.getLogger(__name__)

UNIT_BYTES = 2 * INLINE_BYTES  # outcomes share a frame up to about so much
BACKLOG_BYTES = 1 << 20


class Reports:
    """Reports that have to arrive, whichever connection takes them."""

    def __init__(self, spool: Spool, values: Path) -> None:
        self._spool = spool  # keeps them until they are confirmed
        self._values = values  # the node's folder of value files
        self._busy: set[int] = set()
        self._transport: Transport | None = None

    def begin(self, transport: Transport) -> None:
        """Send everything to this connection: nobody knows what of it the one before took along."""
        self._transport = transport
        self._busy.clear()
        self._spool.again()
        self._send()

    def pause(self) -> None:
        """There is no connection that takes reports."""
        self._transport = None

    def drained(self) -> None:
        """The connection takes more."""
        if self._transport is not None and not self._transport.bulky:
            self._busy.clear()
        self._send()

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Calls have ended, each in its own way."""
        share: list[Outcome] = []
        size = 0
        for outcome in outcomes:
            inline = sum(len(value.data) for value in values_of(outcome) if value.data is not None)
            if share and (size + inline > UNIT_BYTES or _files(outcome) or _files(share[-1])):
                self._keep(share)
                share, size = [], 0
            share.append(outcome)
            size += inline
        if share:
            self._keep(share)
        self._send()

    def _keep(self, outcomes: list[Outcome]) -> None:
        files = [file for outcome in outcomes for file in _files(outcome)]
        try:
            self._spool.add(*pack_outcomes(outcomes), [outcome.request for outcome in outcomes], files)
        except FrameError as error:
            # one result of a great many values, for small ones never share a frame that large
            for one in outcomes:
                facts = {"type": "TaskNotPicklableError", "message": str(error), "traceback": "", "kind": "unpicklable"}
                gone = Outcome(one.request, one.attempt, "failed", error=facts, started=one.started)
                self._spool.add(*pack_outcomes([gone]), [one.request], [])

    def done(self, block: Block) -> None:
        """Calls have ended well."""
        for part in block.parts(UNIT_BYTES):
            self._spool.add(*pack_block(part), part.requests, [])
        self._send()

    def add(
        self, header: Header, requests: Iterable[int], buffers: Iterable[Buffer] = (),
        files: Iterable[tuple[str, int]] = (),
    ) -> None:  # fmt: skip
        """Report about these requests; the files have to be there before it."""
        self._spool.add(header, buffers, requests, list(files))
        self._send()

    def _send(self) -> None:
        """Send as many as the connection takes now."""
        transport = self._transport
        if transport is None or transport.backlog >= BACKLOG_BYTES:
            return
        for unit in self._spool.unsent():
            self._put(transport, unit)
            if transport.backlog >= BACKLOG_BYTES:
                break

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
        transport.put(self._spool.data(unit), behind=behind)


def _files(outcome: Outcome) -> list[tuple[str, int]]:
    return files_of(values_of(outcome))
