"""A topology being edited: one record after another, each change noted before and after. Pure."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ec_jupyter.errors import DeclarationError, SocketNotFoundError, by_name
from ec_jupyter.flow.options import checked_name
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import KINDS, LOCAL, Socket

SAID = 4  # how many names the history lists
Change = dict[str, Any]
Touched = tuple[str, Any, Any, Any]  # kind of record, its key, the record before and after; None where there is none
TABLES = {kind: f"{kind}s" for kind in KINDS}  # by kind of record, the table of a topology that has it
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


@dataclass
class Limits:
    """What an edit has to know that is not in the topology."""

    cpus: int  # CPUs of this machine
    python: str  # minor version the flow runs under
    load: Callable[[int], int]  # how many requests and arrivals a socket (by id) holds
    arrived: Callable[[int], int] = lambda socket: 0  # how many of those are arrivals
    nodes: dict[str, int] = field(default_factory=dict)  # CPUs of the other nodes that have said how many they lend
    here: Sequence[int] = ()  # numbers of this machine's CPUs that the flow may use; empty where they are not known
    # what a kind of node is, such as `a Dask cluster`, if no call can have a process of its own there; else None
    without_processes: Callable[[str], str | None] = lambda kind: None

    @property
    def lent(self) -> dict[str, int]:
        """CPUs by node."""
        return {**self.nodes, LOCAL: self.cpus}


@dataclass
class Edited:
    """A new topology and how it differs."""

    topology: Topology  # the next revision; the same object if nothing changed
    touched: list[Touched] = field(default_factory=list)  # records before and after
    warnings: list[str] = field(default_factory=list)  # what the person should know
    text: str = ""  # one line for the history


class Draft:
    """A topology being edited."""

    def __init__(self, topology: Topology, new_id: Callable[[], int], limits: Limits) -> None:
        self.base = topology
        self.topology = topology
        self.new_id = new_id
        self.limits = limits
        self.touched: list[Touched] = []
        self.warnings: list[str] = []
        self.says: list[str] = []

    def get(self, kind: str, key: Any) -> Any:
        """A record as the draft has it; None where there is none."""
        return getattr(self.topology, TABLES[kind]).get(key)

    def put(self, kind: str, key: Any, record: Any) -> None:
        """Replace one record; None removes it."""
        table = dict(getattr(self.topology, TABLES[kind]))
        before = table.get(key)
        if before == record:
            return
        if record is None:
            del table[key]
        else:
            table[key] = record
        self.topology = replace(self.topology, **{TABLES[kind]: table})  # type: ignore[arg-type]
        self.touched.append((kind, key, before, record))

    def socket(self, name: str) -> Socket:
        """The socket of that name."""
        return self.topology.sockets[by_name(self.topology.names, name, SocketNotFoundError)]

    def finish(self) -> Edited:
        """The result of the edit."""
        if not self.touched:
            return Edited(self.base, [], self.warnings, "")
        topology = replace(self.topology, revision=self.base.revision + 1)
        return Edited(topology, self.touched, self.warnings, "; ".join(self.says))


def check_name(kind: str, name: object) -> str:
    """A name that a socket, processor or node may have. Raises DeclarationError: it is none; offers one that is."""
    text = checked_name(kind, name)
    good = text.isidentifier() and not keyword.iskeyword(text) if kind == "socket" else bool(_NAME.match(text))
    if not good:
        offer = re.sub(r"\W+", "_", text).strip("_") or kind
        offer = f"_{offer}" if offer[0].isdigit() or keyword.iskeyword(offer) else offer
        raise DeclarationError(f"{text!r} is no name for a {kind}; try {offer!r}")
    return text
