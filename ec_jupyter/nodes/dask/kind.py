"""The kind ``dask``: a cluster that is reached by its scheduler; nothing of Dask is imported before one is opened."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from ec_jupyter.errors import DeclarationError
from ec_jupyter.model import Node
from ec_jupyter.nodes.agents import Home, NodeAgent, OpenListener

TITLE = "a Dask cluster"
HOSTS = "a Dask client, cluster or address"
PROCESSES = False


def place(name: str, host: object) -> dict[str, Any] | None:
    """An address with a scheme, a client, or a cluster. Raises DeclarationError: its certificates are no files."""
    address = host
    if not isinstance(host, str):
        address = getattr(host, "scheduler_address", None) or getattr(getattr(host, "scheduler", None), "address", None)
    if not isinstance(address, str) or "://" not in address:
        return None
    security = getattr(host, "security", None)
    tls: list[Any] = [getattr(security, word, None) for word in ("tls_ca_file", "tls_client_cert", "tls_client_key")]
    if any("\n" in str(file) for file in tls):
        raise DeclarationError(f"node {name!r}: its TLS certificates are in memory; the engine needs them as files")
    return {"host": address, "tls": [os.path.abspath(file) for file in tls] if all(tls) else []}


def check(record: Node) -> None:
    """Refuse what is no scheduler's address, or not three certificates. Raises DeclarationError; also without Dask."""
    if importlib.util.find_spec("distributed") is None:
        raise DeclarationError(f"node {record.name!r} is a Dask cluster: pip install 'ec_jupyter[dask]'")
    if record.host.startswith("inproc://"):
        raise DeclarationError(
            f"node {record.name!r}: {record.host} is inside the notebook's process, out of the engine's reach; "
            "use LocalCluster(processes=True)"
        )
    if "://" not in record.host:
        raise DeclarationError(
            f"node {record.name!r}: {record.host!r} is no address of a scheduler, such as tcp://host:8786"
        )
    if len(record.tls) not in (0, 3):
        raise DeclarationError(
            f"node {record.name!r}: TLS takes three files: the authority, the certificate and its key"
        )


def open(record: Node, listener: OpenListener, home: Home) -> NodeAgent:
    """The agent of a cluster."""
    from ec_jupyter.nodes.dask.agent import DaskAgent

    return DaskAgent(record, listener, home)


def missing(record: Node, package: str) -> str:
    """Only who runs the cluster can install something."""
    return "install it where the cluster's workers run"
