"""The text of a value, made in a worker: nobody else unpickles what a user's task has made."""

from __future__ import annotations

import json
import pickle
import reprlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ec_jupyter.nodes.values import type_name
from ec_jupyter.nodes.worker.output import printable
from ec_jupyter.nodes.worker.rich import bundle, close_figures

TEXT_CHARACTERS = 2000
JSON_BYTES = 1 << 20
PIECE = 32 * 1024  # characters a yield carries: well below what becomes a file of the flow
_PLAIN = (str, int, float, bool, type(None))


def look(value: Any, plain: bool = False, rich: bool = False, find: str = "") -> Iterator[str]:
    """Facts of a value as JSON, then its JSON in pieces, if `plain` and it is plain data, or, if `rich`, its bundle.

    Yields str: ``{"text": ..., "type": ...}``; then nothing, or text that is together JSON, of the value or of
    `rich.bundle`. Where a text is to be found, `value` is a list of pickles, and it is ``{"at": ...}``: the first that
    shows it.
    """
    if find:
        yield json.dumps({"at": next((at for at, one in enumerate(value) if find.casefold() in _as_text(one)), None)})
        return
    yield json.dumps({"text": text(value), "type": type_name(value)})
    whole = as_json(value) if plain else json.dumps(bundle(value, text)) if rich else ""
    close_figures()
    yield from (whole[at : at + PIECE] for at in range(0, len(whole), PIECE))


def text(value: Any) -> str:
    """The repr of a value, cut where it is long; of large containers only the beginning is looked at."""
    try:
        found = _Short().repr(value)
    except Exception as error:  # noqa: BLE001
        # an element of a set or dict that raises while it is looked at
        found = f"<{type_name(value)} that cannot be shown: {type(error).__name__}: {error}>"
    return printable(found if len(found) <= TEXT_CHARACTERS else found[: TEXT_CHARACTERS - 1] + "…")


def _as_text(pickled: bytes) -> str:
    """The text of a value whose case does not matter; empty where it cannot be read."""
    try:
        return text(pickle.loads(pickled)).casefold()
    except Exception:  # noqa: BLE001
        # whatever the class of one value raises, the others are looked at
        return ""


def as_json(value: Any) -> str:
    """A value as JSON; empty where it is not plain JSON data, or too long."""
    if not _is_plain(value):
        return ""
    found = []
    left = JSON_BYTES
    try:
        for part in json.JSONEncoder(allow_nan=False).iterencode(value):
            left -= len(part)
            if left < 0:
                return ""
            found.append(part)
    except (ValueError, RecursionError):
        return ""  # no number of JSON's, or a list in itself
    return "".join(found)


def _is_plain(value: Any) -> bool:
    todo, left = [value], JSON_BYTES
    while todo:
        one = todo.pop()
        left -= 1
        if left < 0:
            return False
        if type(one) is dict:
            if not all(type(key) is str for key in one):
                return False
            todo.extend(one.values())
        elif type(one) is list:
            todo.extend(one)
        elif type(one) not in _PLAIN:
            return False
    return True


class _Short(reprlib.Repr):
    """Reprs of containers cut where they are long, in the order they have."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 8
        self.maxtuple = self.maxlist = self.maxarray = self.maxdict = 200
        self.maxset = self.maxfrozenset = self.maxdeque = 200
        self.maxstring = self.maxlong = self.maxother = TEXT_CHARACTERS

    def repr_instance(self, x: Any, level: int) -> str:
        """Whatever its own repr says; reprlib would hide what that raises."""
        try:
            found = repr(x)
        except Exception as error:  # noqa: BLE001
            # a user's __repr__ may raise anything, and that is what there is to see
            return f"<{type_name(x)} whose repr raises {type(error).__name__}: {error}>"
        return found if len(found) <= self.maxother else found[: self.maxother - 1] + "…"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """A dict as it is: reprlib would sort its keys."""
        if not x:
            return "{}"
        if level <= 0:
            return "{...}"
        parts = [f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in islice(x.items(), self.maxdict)]
        return "{" + ", ".join([*parts, "..."] if len(x) > self.maxdict else parts) + "}"
