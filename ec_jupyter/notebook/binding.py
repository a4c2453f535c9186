"""From the arguments of a submit to the arguments of a task, by its signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ec_jupyter.client.submit import Form
from ec_jupyter.errors import ArgumentsError, nearest
from ec_jupyter.flow.options import shown
from ec_jupyter.model import POSITIONAL


class Binding:
    """Binds values to the arguments of one task; `bounded`: its submits ask whether there is room."""

    def __init__(self, socket: str, signature: Sequence[Mapping[str, Any]], bounded: bool = False) -> None:
        self.socket, self.bounded = socket, bounded
        self.positional = [p["name"] for p in signature if p["kind"] in POSITIONAL]
        self.names = [p["name"] for p in signature if not p["kind"].startswith("VAR_")]
        self.form = Form(socket, tuple(self.positional))
        self._known = frozenset(self.names)
        self._rest = next((f"*{p['name']}" for p in signature if p["kind"] == "VAR_POSITIONAL"), None)
        # so many values, all by position, are a whole call of no particular kind; -1: no number is
        self.plain = -1 if bounded or len(self.positional) != len(signature) else len(signature)
        self._more = next((f"**{p['name']}" for p in signature if p["kind"] == "VAR_KEYWORD"), None)

    def bind(self, values: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Name to value, in the order given; whether they are enough is not looked at.

        What a ``*rest`` or ``**more`` of the task takes is under that name, stars included. Raises ArgumentsError:
        there are too many, or one is unknown or given twice.
        """
        if len(values) > len(self.positional) and self._rest is None:
            takes = f"{len(self.positional)} positional argument{'' if len(self.positional) == 1 else 's'}"
            raise ArgumentsError(f"{self.socket!r} takes {takes} ({', '.join(self.positional)}), not {len(values)}")
        bound = dict(zip(self.positional, values, strict=False))
        if self._rest is not None and len(values) > len(self.positional):
            bound[self._rest] = tuple(values[len(self.positional) :])
        for name, value in keywords.items():
            if name not in self._known and self._more is not None:
                bound.setdefault(self._more, {})[name] = value
                continue
            if name not in self._known:
                raise ArgumentsError(f"{self.socket!r} has no argument {name!r}; {nearest(name, self.names)}")
            if name in bound:
                raise ArgumentsError(f"{self.socket!r} got argument {name!r} twice")
            bound[name] = value
        return bound

    def rows(self, iterables: Sequence[Iterable[Any]]) -> list[tuple[Any, ...]]:
        """What each call of a map gets; the shortest iterable tells how many. ArgumentsError: one is none."""
        return [*zip(*map(self._elements, iterables), strict=False)]

    def _elements(self, given: Iterable[Any]) -> Iterator[Any]:
        try:
            return iter(given)
        except TypeError:
            raise ArgumentsError(f"a map of {self.socket!r} takes iterables, not {shown(given)}") from None

    def columns(self, rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """Name to what several calls give by position, all as many; errors as of `bind`."""
        bound = self.bind([*zip(*rows, strict=True)], {})
        return {name: [*zip(*column, strict=True)] if name == self._rest else column for name, column in bound.items()}
