"""How the engine gets to a node: by the user's own ``ssh``, or by the scheduler of a Dask cluster."""

from __future__ import annotations

import importlib.util

from ec_jupyter.engine.member import Home, NodeAgent
from ec_jupyter.engine.stale_filter import StaleFilter
from ec_jupyter.errors import DeclarationError
from ec_jupyter.model import Node
from ec_jupyter.nodes.dask.agent import DaskAgent
from ec_jupyter.nodes.ssh.agent import RemoteAgent
from ec_jupyter.nodes.ssh.openssh import Ssh


def check(spec: Node) -> None:
    """See whether a node can be as it was declared; nobody is called yet.

    Raises
    ------
    DeclarationError
        Its host, its Python or its client cannot be.
    """
    if spec.kind == "dask":
        _check_dask(spec)
    else:
        Ssh(spec.host, python=spec.python, client=spec.ssh)


def _check_dask(spec: Node) -> None:
    if importlib.util.find_spec("distributed") is None:
        raise DeclarationError(f"node {spec.name!r} is a Dask cluster: pip install 'ec_jupyter[dask]'")
    if spec.host.startswith("inproc://"):
        raise DeclarationError(
            f"node {spec.name!r}: {spec.host} is inside the notebook's process, out of the engine's reach; "
            "use LocalCluster(processes=True)"
        )
    if "://" not in spec.host:
        raise DeclarationError(
            f"node {spec.name!r}: {spec.host!r} is no address of a scheduler, such as tcp://host:8786"
        )
    if len(spec.tls) not in (0, 3):
        raise DeclarationError(f"node {spec.name!r}: TLS takes three files: the authority, the certificate and its key")


def open_node(spec: Node, listener: StaleFilter, home: Home) -> NodeAgent:
    """The engine's end of a node."""
    if spec.kind == "dask":
        return DaskAgent(
            listener, name=spec.name, address=spec.host, tls=spec.tls, flow=home.flow, folder=home.folder,
            workdir=home.workdir, epoch=home.epoch, cpus=spec.cpus, lease=spec.lease, sync=home.sync,
        )  # fmt: skip
    login = Ssh(spec.host, python=spec.python, client=spec.ssh, ask=listener.ask if spec.ask else None)
    return RemoteAgent(
        listener, name=spec.name, login=login, flow=home.flow, folder=home.folder, workdir=home.workdir,
        epoch=home.epoch, cpus=spec.cpus, lease=spec.lease, requirements=spec.requirements, sync=home.sync,
        after=listener.after,
    )  # fmt: skip
