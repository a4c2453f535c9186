"""The kind ``ssh``: a host that is reached by the user's own ``ssh``."""

from __future__ import annotations

from typing import Any

from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Home, NodeAgent, OpenListener
from ec_jupyter.nodes.ssh.openssh import Ssh

TITLE = "a host behind SSH"
HOSTS = "user@host"
PROCESSES = True


def place(name: str, host: object) -> dict[str, Any] | None:
    """Any text that is no address of another kind is one for `ssh`."""
    return {"host": host, "tls": []} if isinstance(host, str) and "://" not in host else None


def check(record: Node) -> None:
    """Refuse a host, Python or command that cannot be. Raises DeclarationError: one of them cannot be."""
    Ssh(record.host, python=record.python, client=record.ssh)


def open(record: Node, listener: OpenListener, home: Home) -> NodeAgent:
    """The agent behind a login."""
    from ec_jupyter.nodes.ssh.agent import RemoteAgent

    login = Ssh(record.host, python=record.python, client=record.ssh, ask=listener.ask if record.ask else None)
    return RemoteAgent(record, listener, home, login)


def missing(record: Node, package: str) -> str:
    """The option that installs a package there."""
    words = " ".join((*record.requirements, package))
    wanted = f'"{words}"' if " " in words else words
    return f"%ec_node {record.name} --require {wanted} installs it there, if that is its name on PyPI"
