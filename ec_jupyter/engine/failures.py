"""What a request fails with where its task did not raise, and when and how often a failed call is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ec_jupyter.model import Socket

MOST_DEATHS = 2  # a request whose worker died more often than this fails for good
MOST_LOSSES = 5  # a call that finds files of its arguments missing more often than this fails
MOST_BACKOFF = 3600.0  # seconds up to which the time before a retry is doubled


def delay_before(socket: Socket, retry: int) -> float:
    """Seconds before the nth retry of a call."""
    return min(socket.backoff * 2.0 ** min(retry - 1, 64), max(socket.backoff, MOST_BACKOFF))


def expired(socket: Socket, missing: Sequence[str]) -> dict[str, Any]:
    """Values of these arguments did not come in time."""
    names = " and ".join(missing)
    message = f"{names} of {socket.name!r} did not come within {socket.wait:g} s (wait={socket.wait:g})"
    return error("JoinExpiredError", "expired", message)


def full(socket: Socket) -> dict[str, Any]:
    """A call came to a full socket."""
    return error("QueueFullError", "full", f"{socket.name!r} is full: it holds {socket.limit} (limit={socket.limit})")


def dropped(socket: Socket) -> dict[str, Any]:
    """A call made room for a newer one."""
    message = f"it was dropped for a newer call: {socket.name!r} holds {socket.limit} (limit={socket.limit})"
    return error("QueueFullError", "dropped", message)


def unanswered(socket: Socket) -> dict[str, Any]:
    """Nobody answered in time."""
    message = f"nobody answered {socket.name!r} within {socket.timeout:g} s (timeout={socket.timeout:g})"
    return error("RequestTimeoutError", "timeout", message)


def cycle(hops: int, limit: int) -> dict[str, Any]:
    """A run goes round in a cycle without an end."""
    return error("CycleError", "cycle", f"{hops} calls in a row led here (limit {limit}): the cycle does not end")


def worker_died(text: str, socket: Socket, deaths: int) -> tuple[dict[str, Any], bool]:
    """A worker died under a call, and whether that was its last try."""
    if socket.once:
        text = f"the worker of {socket.name!r} died ({text}; once=True forbids another try)"
    elif deaths > MOST_DEATHS:
        text = f"the worker died {deaths} times, last: {text}"
    return error("WorkerDiedError", "died", text), socket.once or deaths > MOST_DEATHS


def node_lost(text: str, socket: Socket) -> tuple[dict[str, Any], bool]:
    """A call was lost with its node, and whether that was its last try."""
    if socket.once:
        text = f"{text}, and {socket.name!r} with it; once=True forbids another try"
    return error("NodeLostError", "lost", text), socket.once


def error(name: str, kind: str, message: str) -> dict[str, Any]:
    """A failure as a request has it."""
    return {"type": name, "message": message, "traceback": "", "kind": kind}
