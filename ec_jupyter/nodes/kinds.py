"""Kinds of nodes: packages that register a module as an entry point of the group ``ec_jupyter.nodes``."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from ec_jupyter.errors import DeclarationError
from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Home, NodeAgent, OpenListener

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

log = logging.getLogger(__name__)

GROUP = "ec_jupyter.nodes"
SHIPPED = ("ssh", "dask")
"""Kinds in this package: found by the names of their modules where the installed metadata are older than they."""


class Kind(Protocol):
    """What the module of a kind has; its entry point's name is the ``kind`` of the records of its nodes."""

    TITLE: str
    """What such a node is, such as ``a Dask cluster``."""

    HOSTS: str
    """What `place` takes, such as ``a Dask client, cluster or address``."""

    PROCESSES: bool
    """Whether a call can have a process of its own there (``fresh=True``), or share one (``concurrent=``)."""

    def place(self, name: str, host: object) -> dict[str, Any] | None:
        """Fields of the record of node `name` at `host`, ``host`` among them; None where another kind may take it."""

    def check(self, record: Node) -> None:
        """Raise a `DeclarationError` if the record cannot be right; nothing is connected for it."""

    def open(self, record: Node, listener: OpenListener, home: Home) -> NodeAgent:
        """The agent of a node, not started; a `StoringAgent` where results may stay."""

    def missing(self, record: Node, package: str) -> str:
        """How a Python package gets to the node."""


def _registered() -> dict[str, EntryPoint]:
    # a tenth of an engine's imports, which has other nodes than this machine in few flows
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


@cache
def kind(name: str) -> Kind:
    """The kind of that name. Raises DeclarationError: there is none, or it cannot be loaded."""
    registered = _registered()
    if name not in registered:
        if name in SHIPPED:
            return cast(Kind, importlib.import_module(f"{GROUP}.{name}.kind"))
        known = ", ".join(sorted({*SHIPPED, *registered}))
        raise DeclarationError(f"no kind of node is called {name!r}; installed: {known}")
    try:
        return cast(Kind, registered[name].load())
    except Exception as error:
        # another package's, of as many kinds as it has
        raise DeclarationError(
            f"nodes of kind {name!r} cannot be used: {registered[name].value}: {type(error).__name__}: {error}"
        ) from error


def place(name: str, host: object) -> dict[str, Any]:
    """The fields of a node's record that say where it is, its ``kind`` among them.

    Kinds of other packages are asked before ours, so that an address of theirs is not taken for one of Dask's. Raises
    DeclarationError: no kind takes such a host.
    """
    hosts = []
    for word, one in _installed():
        found = one.place(name, host)
        if found is not None:
            return {**found, "kind": word}
        hosts.append(one.HOSTS)
    raise DeclarationError(f"node {name!r}: a {type(host).__name__} is neither {' nor '.join(reversed(hosts))}")


def _installed() -> Iterator[tuple[str, Kind]]:
    for word in sorted(_registered().keys() - set(SHIPPED)):
        try:
            yield word, kind(word)
        except DeclarationError as error:
            log.warning("%s", error)
    for word in reversed(SHIPPED):
        yield word, kind(word)


def without_processes(name: str) -> str | None:
    """The title of a kind whose calls cannot have processes of their own; None for any other, or an unknown one."""
    try:
        found = kind(name)
    except DeclarationError:
        return None
    return None if found.PROCESSES else found.TITLE
