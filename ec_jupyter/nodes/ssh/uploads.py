"""Uploads to a node: calls, and what they need there: sources, functions' code, value files, each sent once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.codec import files_in
from ec_jupyter.nodes.lots import BATCH_CALLS, pack_calls
from ec_jupyter.nodes.ssh.transport import Transport
from ec_jupyter.wire import Call

log = logging.getLogger(__name__)

KEPT_BYTES = 4 << 30  # how many bytes of value files stay on a node; those used longest ago are dropped first


BATCH_BYTES = 128 * 1024


class Uploads:
    """Sends calls, with the code and files that they need unless the node has them."""

    def __init__(
        self, values: Path, blob: Callable[[str], bytes], refused: Callable[[Sequence[Call], str], None]
    ) -> None:
        self._values = values  # the flow's folder of value files
        self._blob = blob  # the code of a task or condition by its hash
        self._refused = refused  # told of calls that no frame can hold, and why
        self._transport: Transport  # the connection, once there is one
        self._sources: dict[str, str] = {}
        self._files: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._blobs: set[str] = set()
        self._moving: set[str] = set()

    def begin(self, transport: Transport, files: Iterable[tuple[str, int]], blobs: Iterable[str]) -> None:
        """A connection begins; note what the node has."""
        self._transport = transport
        self._files = OrderedDict(files)
        self._bytes = sum(self._files.values())
        self._blobs = set(blobs)
        self._sources.clear()
        self._moving.clear()

    def came(self, name: str, size: int) -> None:
        """Note a result that was made there."""
        if name not in self._files:
            self._files[name] = size
            self._bytes += size

    def settled(self) -> None:
        """Everything that was sent has left."""
        self._moving.clear()

    def send(self, processor: str, calls: Iterable[Call]) -> None:
        """Send calls of a processor, several in a frame; those that wait for a file let others pass."""
        share, size, behind = list[Call](), 0, False
        for call in calls:
            waits = self._load(call)
            inline = call.inline_bytes
            if share and (size + inline > BATCH_BYTES or waits != behind or len(share) >= BATCH_CALLS):
                self._pack(processor, share, behind)
                share, size = [], 0
            behind = waits
            share.append(call)
            size += inline
        if share:
            self._pack(processor, share, behind)

    def _pack(self, processor: str, calls: list[Call], behind: bool) -> None:
        try:
            header, buffers = pack_calls(calls, self._sources)
            self._transport.send({**header, "p": processor}, buffers, behind=behind)
        except FrameError as error:
            self._refused(calls, str(error))

    def _load(self, call: Call) -> bool:
        """Send what a call needs; whether it has to wait for some of it."""
        waits = False
        for sha256 in call.spec.code:
            if sha256 not in self._blobs:
                self._send_blob(sha256)
            waits |= sha256 in self._moving
        for name, size in files_in(call):
            if name in self._files:
                self._files.move_to_end(name)
            else:
                self._send_file(name, size)
            waits |= name in self._moving
        return waits

    def _send_blob(self, sha256: str) -> None:
        try:
            data = self._blob(sha256)
        except Exception as error:  # noqa: BLE001 - the call fails there, and says what it misses
            log.error("code %s: %s: %s", sha256, type(error).__name__, error)
            return
        self._transport.send_bytes(data, {"h": sha256})
        self._blobs.add(sha256)
        self._moving.add(sha256)

    def _send_file(self, name: str, size: int) -> None:
        try:
            size = self._transport.send_file(self._values / name, {"n": name})
        except OSError as error:
            log.error("value file %s of %d bytes: %s", name, size, error)
            return
        self.came(name, size)
        self._moving.add(name)

    def trim(self, used: Callable[[], Collection[str]]) -> None:
        """Drop files there where they are more than a node keeps; those that are `used` stay."""
        if self._bytes <= KEPT_BYTES:
            return
        kept, gone = used(), []
        for name in [name for name in self._files if name not in kept]:
            if self._bytes <= KEPT_BYTES:
                break
            self._bytes -= self._files.pop(name)
            gone.append(name)
        self._transport.send({"k": "drop", "f": gone}, behind=True)
