"""Parts of a flow, which another flow refuses: names and numbers mean something else there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ec_jupyter.client.client import Client
from ec_jupyter.errors import EcError, OtherFlowError, by_name

if TYPE_CHECKING:
    from ec_jupyter.notebook.edits import Editor


class FlowLike(Protocol):
    """A flow, as those know it who are given one."""

    _client: Client
    _editor: Editor
    closed: bool
    formerly: frozenset[str | None]

    @property
    def plug(self) -> Callable[..., Any]:
        """Makes a plug, or changes one."""

    @property
    def declare(self) -> Callable[..., Any]:
        """Makes a function the task of a socket."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def folder(self) -> Path:
        """Where it lives."""


class Part:
    """A socket, request, run or the like of a flow."""

    __slots__ = ()
    flow: FlowLike


class Named(Part):
    """A part that the wiring knows by its name."""

    _kind: ClassVar[str]
    _missing: ClassVar[type[EcError]]

    def __init__(self, flow: FlowLike, name: str) -> None:
        self.flow = flow
        self.name = name

    @property
    def _known(self) -> Mapping[str, Any]:
        known: Mapping[str, Any] | list[dict[str, Any]] = self.flow._editor.wiring[self._kind]
        return {row["name"]: row for row in known} if isinstance(known, list) else known

    @property
    def _record(self) -> dict[str, Any]:
        return dict(by_name(self._known, self.name, self._missing))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and (self.flow, self.name) == (other.flow, other.name)

    def __hash__(self) -> int:
        return hash((id(self.flow), self.name))


def check_own(flow: FlowLike, things: Iterable[object]) -> None:
    """Refuse what belongs to another flow. Raises OtherFlowError: one of them does; names both."""
    for thing in things:
        if isinstance(thing, Part) and thing.flow is not flow and not _same(thing.flow, flow):
            theirs, ours = _names(thing.flow, flow)
            raise OtherFlowError(f"{thing!r} is of flow {theirs}, not of flow {ours}; use the flow that it is of")


def _same(one: FlowLike, other: FlowLike) -> bool:
    # closed and opened again
    return one._client.flow_id == other._client.flow_id


def _names(one: FlowLike, other: FlowLike) -> tuple[str, str]:
    """What tells two flows apart: their names, or else where they are."""
    if one.name != other.name:
        return repr(one.name), repr(other.name)
    if one.folder != other.folder:
        return f"{one.name!r} in {one.folder}", f"{other.name!r} in {other.folder}"
    return f"{one.name!r} as it was before its folder was replaced", f"{other.name!r} as it is now"
