"""A client for who comes to a flow from outside of a notebook: the server, a command line, an agent."""

from __future__ import annotations

import sys
from pathlib import Path

from ec_jupyter.client import probe
from ec_jupyter.client.client import PYTHON, Client
from ec_jupyter.client.launch import running
from ec_jupyter.engine.trust import trusted
from ec_jupyter.errors import EngineLostError


def opened(folder: Path, client_name: str, *, start: bool, follow: bool) -> Client:
    """A client that is connected to a flow's engine; blocks until it is.

    `start`: start an engine where none runs, under the Python that the flow's last one had. `follow`: the next one
    too, if this dies. Raises EngineLostError: none runs and none is to; UntrustedFlowError: the flow came from
    elsewhere; EngineStartError, StoreError, PythonMismatchError: it cannot be started, or talked to.
    """
    executable = startable(folder, start=start)
    return Client.open(
        folder, folder.name, client_name=client_name, executable=executable, follow=follow or executable is not None
    )


def startable(folder: Path, *, start: bool) -> str | None:
    """The Python that an engine is to be started under; None where one runs."""
    if running(folder):
        return None
    if not start:
        raise EngineLostError(f"{probe.at_rest(folder).text}; start it to go on with what is on disk")
    trusted(folder)
    recorded = probe.read(folder)
    probe.check_python(folder.name, recorded["python"], PYTHON)
    return executable_of(recorded.get("executable"))


def executable_of(recorded: str | None) -> str:
    """The Python that the flow's packages are in, if it is still there."""
    return recorded if recorded and Path(recorded).is_file() else sys.executable
