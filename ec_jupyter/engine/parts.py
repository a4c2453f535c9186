"""What parts of the engine need of those above them; `loop` makes all parts and ties them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ec_jupyter.errors import EcError, StoreError, StoreLostError
from ec_jupyter.wire import Header

Answer = tuple[dict[str, Any], list[bytes]]  # what a question is answered with: a header's fields, and buffers


class Clock(Protocol):
    """The loop, which ends each tick with a commit."""

    @property
    def stalled(self) -> StoreError | None:
        """Why the disk takes nothing at present; None while it does."""

    def schedule(self) -> None:
        """Let a tick, which ends with a commit, follow what has come in by now."""

    def rouse(self) -> None:
        """Let a tick take what clients have logged."""

    def after(self, effect: Callable[[], None]) -> None:
        """Do something that others can see, once what was decided is on disk."""

    def stall(self, error: sqlite3.Error) -> None:
        """The disk takes nothing: hold what is decided, and try again."""

    def fall(self, context: dict[str, Any]) -> None:
        """End at a defect of ours."""


class Loop(Clock, Protocol):
    """The loop, as those need it who speak with clients."""

    stopped: asyncio.Event
    lost: StoreLostError | None
    broken: bool

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing is queued that may start."""

    @property
    def quiet(self) -> bool:
        """Nothing is going on, and nothing is to be written or told; what came alone is not counted."""

    def rung(self, client: str) -> bool:
        """Start what a client has submitted, if it is like the last call that came alone; whether it is."""

    def interrupt(self) -> bool:
        """Have calls that came alone be as any others: something else comes in; whether some were booked."""

    def heard(self, take: Callable[[bytes], None], data: bytes) -> None:
        """Take what a client has sent; where nothing else has come in, the tick follows at once."""

    def look(self, effect: Callable[[], object]) -> None:
        """Do what changes nothing, once this tick is on disk."""

    def see(self, effect: Callable[[], None]) -> None:
        """As `look`, of what answers a client and asks for nothing."""

    def look_around(self) -> bool:
        """Whether the flow is where it was."""

    def commit(self) -> None:
        """Write what is decided, and let it out."""


class Audience(Protocol):
    """All clients."""

    @property
    def looked_at(self) -> bool:
        """Whether a client shows a picture of the flow."""

    def notice(self, text: str, *, logged: bool = False, **more: Any) -> None:
        """Tell everybody something they should know; it is in the log too, if it was not `logged` with more to say."""

    def topology(self) -> None:
        """Show everybody what has changed in the wiring or in a node."""

    def look_at_counts(self) -> None:
        """Push counts soon, to those who asked for them."""


class Asker(Protocol):
    """The client that sent a frame, or has submitted something."""

    id: str

    @property
    def here(self) -> bool:
        """Whether it is connected still."""

    def accepted(self, answers: Sequence[tuple[int, Any]]) -> None:
        """Say which requests submits have led to, by their numbers."""

    def reply(self, header: Header, buffers: Iterable[bytes] = (), *, to: Header) -> None:
        """Answer a frame once this tick is on disk."""

    def refuse(self, error: EcError, *, to: Header) -> None:
        """Answer a frame with an error."""
