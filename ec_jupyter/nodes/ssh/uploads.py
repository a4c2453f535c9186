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
        self._sources: dict[str, str] = {}
        self._files: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._blobs: set[str] = set()
        self._moving: set[str] = set()

    def reset(self, files: Iterable[tuple[str, int]], blobs: Iterable[str]) -> None:
        """Note what the node has at the beginning of a connection."""
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

    def send(self, transport: Transport, processor: str, calls: Iterable[Call]) -> None:
        """Send calls of a processor, several in a frame; those that wait for a file let others pass."""
        share, size, behind = list[Call](), 0, False
        for call in calls:
            waits = self._load(transport, call)
            inline = call.inline_bytes
            if share and (size + inline > BATCH_BYTES or waits != behind or len(share) >= BATCH_CALLS):
                self._pack(transport, processor, share, behind)
                share, size = [], 0
            behind = waits
            share.append(call)
            size += inline
        if share:
            self._pack(transport, processor, share, behind)

    def _pack(self, transport: Transport, processor: str, calls: list[Call], behind: bool) -> None:
        try:
            header, buffers = pack_calls(calls, self._sources)
            transport.send({**header, "p": processor}, buffers, behind=behind)
        except FrameError as error:
            self._refused(calls, str(error))

    def _load(self, transport: Transport, call: Call) -> bool:
        """Send what a call needs; whether it has to wait for some of it."""
        waits = False
        for sha256 in call.spec.code:
            if sha256 not in self._blobs:
                self._send_blob(transport, sha256)
            waits |= sha256 in self._moving
        for name, size in files_in(call):
            if name in self._files:
                self._files.move_to_end(name)
            else:
                self._send_file(transport, name, size)
            waits |= name in self._moving
        return waits

    def _send_blob(self, transport: Transport, sha256: str) -> None:
        try:
            data = self._blob(sha256)
        except Exception as error:  # noqa: BLE001 - the call fails there, and says what it misses
            log.error("code %s: %s: %s", sha256, type(error).__name__, error)
            return
        transport.send_bytes(data, {"h": sha256})
        self._blobs.add(sha256)
        self._moving.add(sha256)

    def _send_file(self, transport: Transport, name: str, size: int) -> None:
        try:
            size = transport.send_file(self._values / name, {"n": name})
        except OSError as error:
            log.error("value file %s of %d bytes: %s", name, size, error)
            return
        self.came(name, size)
        self._moving.add(name)

    @property
    def full(self) -> bool:
        """Whether more lies there than a node keeps."""
        return self._bytes > KEPT_BYTES

    def surplus(self, used: Collection[str]) -> list[str]:
        """Files there that are to go until it is full no more; those `used` stay. They are forgotten here."""
        gone = []
        for name in [name for name in self._files if name not in used]:
            if not self.full:
                break
            self._bytes -= self._files.pop(name)
            gone.append(name)
        return gone
