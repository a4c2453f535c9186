"""What pictures of a flow have shown: values, checked, for a worker made them, and the newest counts."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from typing import Any

from ec_jupyter.client.rpc import Rpc

# what a page shows; no kind that needs scripts
MIMES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "text/html", "text/latex", "text/markdown")
SMALL_BYTES = 48 * 1024  # what is larger is not in a still picture: its text is
KEPT_BYTES = 512 * 1024  # all that a still picture has of values
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*\Z")


def checked(text: str) -> dict[str, Any]:
    """A representation that a worker made, with only what a page knows how to show.

    `text`: JSON of `nodes.worker.rich.bundle`, or whatever a worker that a value has taken over says in its place.
    """
    try:
        told = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict):
        return {}
    found = {key: told[key] for key in ("plain", "note") if isinstance(told.get(key), str)}
    parts = {"table": _table(told.get("table")), "array": _array(told.get("array")), "data": _data(told.get("data"))}
    return {**found, **{key: part for key, part in parts.items() if part}}


def displayed(text: str) -> dict[str, Any]:
    """What a task displayed, of the text that its output has: ``text`` and a `look` that is checked."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return {"text": "", "type": "", "size": 0, "look": {}}
    return {"text": str(told.get("text", "")), "type": "", "size": 0, "look": checked(json.dumps(told.get("look")))}


def _texts(value: Any) -> list[str]:
    return [one if isinstance(one, str) else str(one)[:60] for one in value] if isinstance(value, list) else []


def _sizes(value: Any) -> list[int]:
    return [one for one in value if type(one) is int] if isinstance(value, list) else []


def _table(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict) or not isinstance(told.get("rows"), list):
        return {}
    rows = [_texts(row) for row in told["rows"]]
    columns, index, shape = _texts(told.get("columns")), _texts(told.get("index")), _sizes(told.get("shape"))
    return {"columns": columns, "index": index, "rows": rows, "shape": shape} if shape else {}


def _array(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict) or not _sizes(told.get("shape")) or not isinstance(told.get("points"), list):
        return {}
    points = [_number(one) for one in told["points"]]
    low, high = _number(told.get("low")), _number(told.get("high"))
    dtype = str(told.get("dtype"))[:40]
    return {"shape": _sizes(told["shape"]), "dtype": dtype, "points": points, "low": low, "high": high}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _data(told: Any) -> dict[str, str]:
    kinds = [mime for mime in MIMES if isinstance(told.get(mime), str)] if isinstance(told, dict) else []
    kinds = [mime for mime in kinds if mime in ("image/svg+xml", *MIMES[4:]) or _BASE64.match(told[mime])]
    return {kinds[0]: told[kinds[0]]} if kinds else {}


class Seen:
    """The last values that pictures of this client have shown, by socket."""

    def __init__(self) -> None:
        # for each socket the answer that a picture got, without what is too large to be kept
        self.looks: dict[str, dict[str, Any]] = {}
        self._sizes: dict[str, int] = {}

    def keep(self, socket: str, shown: Mapping[str, Any]) -> None:
        """A picture shows this now."""
        kept = {"text": shown["text"][:400], "type": shown["type"], "look": shown.get("look", {})}
        size = len(json.dumps(kept))
        if size > SMALL_BYTES:
            kept, size = {**kept, "look": {}}, 500
        looks = {name: look for name, look in self.looks.items() if name != socket}
        self._sizes[socket] = size
        while looks and sum(self._sizes[name] for name in looks) + size > KEPT_BYTES:
            looks.pop(next(iter(looks)))
        # replaced, never changed: another thread may draw it
        self.looks = {**looks, socket: kept}


class Numbers:
    """The newest counts of a flow.

    An answer may be taken by its thread only after a push that is newer was: a push is kept, for the engine
    pushes after each change.
    """

    def __init__(self) -> None:
        self.newest: dict[str, Any] | None = None  # the counts; None before the first
        self._pushes = 0
        self._lock = threading.Lock()

    def pushed(self, counts: dict[str, Any]) -> None:
        """Take counts that the engine has pushed; called on the client's thread."""
        with self._lock:
            self.newest = counts
            self._pushes += 1

    def ask(self, client: Rpc, timeout: float) -> None:
        """Ask the engine for all counts as of now. Raises EcError, TimeoutError: it cannot be reached in time."""
        before = self._pushes
        answer, _ = client.ask("query", {"what": "counts"}, timeout=timeout)
        with self._lock:
            if self._pushes == before:
                self.newest = answer
