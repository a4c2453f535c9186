"""What is kept of a socket: results that are used again, and ended runs; how long, and how much of them. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ec_jupyter.model import Node, Socket, Task
from ec_jupyter.wire import CallSpec

ALWAYS = "always"  # what `cache` is where results are kept for good
SHARED = "shared"  # what `cache` is where all flows of a person share the results
FOREVER = "forever"  # what `keep` is where they stay, whatever the flow says


@dataclass(frozen=True)
class Cached:
    """What is kept of one socket's results."""

    # what results share that may stand for each other: of one task, with what it captured, in one environment
    code: str
    shared: bool = False  # other flows find them
    seconds: float | None = None  # how old a result may be
    bytes: int | None = None  # how much is kept; what was used longest ago goes first


def cached(socket: Socket, task: Task, nodes: Iterable[Node]) -> Cached | None:
    """What is kept of a socket's results; None: nothing."""
    text = socket.cache
    if text is None:
        return None
    packages = sorted({package for node in nodes for package in node.requirements})
    code = _digest([json.dumps([task.identity, task.python, packages]).encode()])
    if text in (ALWAYS, SHARED):
        return Cached(code, text == SHARED)
    return Cached(code, bytes=int(text[:-1])) if text.endswith("B") else Cached(code, seconds=float(text[:-1]))


def key(spec: CallSpec, counts: Sequence[int] | None, values: Iterable[bytes]) -> str:
    """What calls of one task share that have the same arguments, pickled alike."""
    return _digest([json.dumps([spec.shape, counts]).encode(), *values])


def _digest(parts: Iterable[bytes]) -> str:
    found: Any = hashlib.blake2b(digest_size=20)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return str(found.hexdigest())


@dataclass(frozen=True)
class Keep:
    """Which of the ended runs that begin at one socket stay."""

    seconds: float | None = None  # those that are younger
    runs: int | None = None  # the newest
    sized: bool = True  # they go where the flow is larger than it is to be

    @classmethod
    def of(cls, text: str) -> Keep:
        """What a socket's `keep` says: ``"forever"``, ``"600s"`` or ``"100"``."""
        if text == FOREVER:
            return cls(sized=False)
        return cls(seconds=float(text[:-1])) if text.endswith("s") else cls(runs=int(text))
