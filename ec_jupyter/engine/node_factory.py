"""Opens nodes by their kind; a node whose kind is not installed is down, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ec_jupyter.engine.stale_filter import StaleFilter
from ec_jupyter.errors import DeclarationError
from ec_jupyter.model import Node
from ec_jupyter.nodes import kinds
from ec_jupyter.nodes.agents import Home, NodeAgent


def open_node(spec: Node, listener: StaleFilter, home: Home) -> NodeAgent:
    """The agent of a node."""
    try:
        return kinds.kind(spec.kind).open(spec, listener, home)
    except DeclarationError as error:
        # the flow was made where it was installed
        return cast(NodeAgent, _Missing(DeclarationError(f"node {spec.name!r}: {error}")))


class _Missing:
    """Stands for the agent of a node that cannot be opened: it does not start."""

    def __init__(self, error: DeclarationError) -> None:
        self._error = error

    def adopt(self, calls: Mapping[int, tuple[int, str]]) -> None:
        """Nothing: those are lost with their lease."""

    async def start(self) -> None:
        """Say why."""
        raise self._error

    async def close(self) -> None:
        """Nothing is open."""
