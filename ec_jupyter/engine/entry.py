"""How the engine gets to a node: by the user's own ``ssh``."""

from __future__ import annotations

from ec_jupyter.engine.hearing import Hearing
from ec_jupyter.engine.member import Home, NodeAgent
from ec_jupyter.model import Node
from ec_jupyter.nodes.remote import RemoteAgent
from ec_jupyter.nodes.ssh import Ssh


def check(spec: Node) -> None:
    """See whether a node can be as it was declared; nobody is called yet.

    Raises
    ------
    DeclarationError
        Its host, its Python or its client cannot be.
    """
    Ssh(spec.host, python=spec.python, client=spec.ssh)


def open_node(spec: Node, listener: Hearing, home: Home) -> NodeAgent:
    """The engine's end of a node."""
    login = Ssh(spec.host, python=spec.python, client=spec.ssh, ask=listener.ask if spec.ask else None)
    return RemoteAgent(
        listener, name=spec.name, login=login, flow=home.flow, folder=home.folder, workdir=home.workdir,
        epoch=home.epoch, cpus=spec.cpus, lease=spec.lease, requirements=spec.requirements, sync=home.sync,
        after=listener.after,
    )  # fmt: skip
