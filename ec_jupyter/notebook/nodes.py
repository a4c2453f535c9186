"""Nodes as a person sees them, and the words that make them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ec_jupyter.client import names
from ec_jupyter.errors import EcError, NodeNotFoundError, NodeStartError, by_name, from_wire
from ec_jupyter.nodes import kinds
from ec_jupyter.notebook.notes import note
from ec_jupyter.notebook.parts import Named

if TYPE_CHECKING:
    from ec_jupyter.client.client import Client
    from ec_jupyter.notebook.edits import Editor
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.views import Processor

LOCAL = "local"


class Node(Named):
    """A machine that lends CPUs to the flow.

    Parameters
    ----------
    flow : Flow
        Where it belongs.
    name : str
        ``local`` is this machine.
    """

    flow: Flow
    _kind, _missing = "nodes", NodeNotFoundError

    @property
    def host(self) -> str:
        """Where it is, as ``ssh`` was told."""
        return str(self._record.get("host") or "")

    @property
    def cpus(self) -> int:
        """How many CPUs it lends; 0 while that is not known."""
        return int(self._record["cpus"])

    @property
    def state(self) -> str:
        """``starting``, ``up``, ``away`` (what it has may run on) or ``down``."""
        return str(self._record.get("state", ""))

    @property
    def error(self) -> str | None:
        """Why it is away or down."""
        error: str | None = self._record.get("error")
        return error

    @property
    def python(self) -> str | None:
        """Version of the Python there."""
        python: str | None = self._record.get("python")
        return python

    @property
    def facts(self) -> dict[str, Any]:
        """What the engine knows of it now: state, CPUs in use, round trip (s), memory (bytes), since when."""
        counts, _ = self.flow._client.ask("query", {"what": "counts"})
        return dict(by_name({row["name"]: row for row in counts["nodes"]}, self.name, NodeNotFoundError))

    @property
    def agent(self) -> Agent:
        """Our process on it."""
        return Agent(self)

    def reach(self) -> Node:
        """Wait until it is there; an interrupt leaves it alone, and it goes on trying.

        Raises
        ------
        EcError
            It cannot be reached, and what to do about it: `HostKeyError`, `SshAuthError`, `HostUnreachableError`,
            `PythonMismatchError`, `NodeStartError`.
        """
        client, heard = self.flow._client, None
        while True:
            news, _ = client.ask("reach", {"node": self.name, "note": heard}, timeout=None)
            match news:
                case {"question": question, "text": text}:
                    # typed where the kernel asks for passwords; sent to the login and kept nowhere
                    client.ask("answer", {"question": question, "text": getpass.getpass(f"{text} ")})
                case {"note": heard}:
                    note(f"node {self.name!r}: {heard}")
                case {"state": "up"}:
                    return self
                case {"type": str(kind), "error": text}:
                    raise from_wire({"type": kind, "message": text})
                case _:
                    raise NodeStartError(news["error"])

    def remove(self) -> None:
        """Take it away; what runs there runs to its end."""
        self.flow._editor.change("remove_node", name=self.name)

    def __repr__(self) -> str:
        record = self._known.get(self.name)
        if record is None:
            return f"<node {self.name!r}, removed>"
        state, error = record.get("state", ""), record.get("error")
        marks = [
            f"{record['cpus']} cpus" if record["cpus"] else record.get("note"),
            state if state not in ("", "up") else "",
            "leaving" if record.get("leaving") else "",
        ]
        return f"{self.name}: {', '.join(filter(None, marks))}" + (f" ({error})" if error and state != "up" else "")


class Agent:
    """The process of the flow on a node; owns its CPUs.

    Parameters
    ----------
    node : Node
        Where it runs.
    """

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def workers(self) -> list[Worker]:
        """Its pools: one for each processor that is placed there."""
        return [
            Worker(self, processor)
            for processor in self.node.flow.processors.values()
            if self.node.name in processor.nodes
        ]

    def __repr__(self) -> str:
        return f"<agent on {self.node.name!r}>"


class Worker:
    """The pool of one processor on one agent: as many worker processes as it may run calls at once.

    Parameters
    ----------
    agent : Agent
        Whose pool it is.
    processor : Processor
        Whose calls it runs.
    """

    def __init__(self, agent: Agent, processor: Processor) -> None:
        self.agent = agent
        self.processor = processor

    @property
    def cpus(self) -> int:
        """How many calls it can run at once."""
        limit = self.processor.nodes.get(self.agent.node.name)
        return self.agent.node.cpus if limit is None else limit

    def __repr__(self) -> str:
        return f"<worker of {self.processor.name!r} on {self.agent.node.name!r}: {self.cpus} cpus>"


class Nodes:
    """What `Flow` can do about the machines it runs on."""

    _client: Client
    _editor: Editor

    @property
    def nodes(self) -> list[Node]:
        """Machines that lend it CPUs; the first is this one."""
        return [Node(cast("Flow", self), record["name"]) for record in self._editor.wiring["nodes"]]

    def node(  # noqa: PLR0913 - each is a field of the record
        self,
        name: str,
        host: Any = None,
        *,
        cpus: int | None = None,
        python: str | None = None,
        ssh: Sequence[str] | None = None,
        ask: bool | None = None,
        lease: float | None = None,
        requirements: Sequence[str] | None = None,
        tls: Sequence[str] | None = None,
    ) -> Node:
        """The node of that name: made, changed by what is given, or looked up.

        A new one is reached over SSH before this returns. Nothing has to be installed there but ``python3`` of
        this notebook's minor version. An interrupt leaves it to be reached later.

        Parameters
        ----------
        name : str
            Letters, digits, ``_`` and ``-``.
        host : str or client or cluster, optional
            ``user@host``, or a name that your SSH configuration knows; the node's own name if left out. Or a Dask
            cluster: your ``distributed.Client``, the cluster itself, or its scheduler's ``tcp://host:port``.
        cpus : int, optional
            CPUs it lends; all it has if left out.
        python : str, optional
            The Python there (``python3``).
        ssh : sequence of str, optional
            Your SSH client and its options (``["ssh"]``).
        ask : bool, optional
            Ask here for a passphrase, where ``ssh`` wants one.
        lease : float, optional
            Seconds for which what runs there goes on when nothing is heard from here (600); 0: not at all.
        requirements : sequence of str, optional
            Packages its tasks need, as pip writes them; they are installed there once, apart from all else.
        tls : sequence of str, optional
            For a scheduler at ``tls://host:port``: the files of the authority, the certificate and its key. A
            ``distributed.Client`` that was given files brings its own.

        Raises
        ------
        EcError
            It cannot be, or cannot be reached; see `Node.reach`.
        """
        given = {
            **({} if host is None else kinds.place(name, host)), "cpus": cpus, "python": python, "ssh": ssh, "ask": ask,
            "lease": lease, "requirements": requirements,
        }  # fmt: skip
        if tls is not None:
            given["tls"] = tls if isinstance(tls, str) else [os.path.abspath(file) for file in tls]
        given = {key: value for key, value in given.items() if value is not None}
        node = Node(cast("Flow", self), name)
        if not given and name in [record["name"] for record in self._editor.wiring["nodes"]]:
            return node
        names.plain_name(name, "node")
        self._editor.change("node", name=name, **given)
        if self._editor.collecting:
            # it is made at the end of the block
            return node
        try:
            return node.reach()
        except NodeNotFoundError:
            # taken away meanwhile
            raise
        except EcError as error:
            hint = f"; it stays a node and is tried again; %ec_node {name} --remove takes it away"
            raise type(error)(f"{error}{hint}") from None
