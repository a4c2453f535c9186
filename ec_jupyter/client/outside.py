"""A flow as those see it who come from outside of a notebook (the server, a command line, an agent).

They unpickle nothing: what JSON can say goes in, and comes out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ec_jupyter.client import probe
from ec_jupyter.client.client import PYTHON, Client
from ec_jupyter.client.launch import running
from ec_jupyter.engine.trust import trusted
from ec_jupyter.errors import ArgumentsError, EcError, EngineError, EngineLostError, RequestNotFoundError
from ec_jupyter.flow.options import callback_of

PREVIEW_SECONDS = 60
SHOWN = (*probe.REQUEST, "node")

Row = dict[str, Any]


# -- the connection ------------------------------------------------------------
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


# -- requests ------------------------------------------------------------------
def submit(  # noqa: PLR0913 - what a submit takes, by name
    client: Client,
    socket: str,
    arguments: Mapping[str, Any],
    submit_id: str | None = None,
    *,
    partial: bool = False,
    at: float | None = None,
    priority: int = 0,
    wait: bool = False,
    callback: str | None = None,
) -> int:
    """The number of a new request, which is on disk. A full socket refuses it, or lets it `wait`."""
    if at is not None and partial:
        raise ArgumentsError(
            "'delay' and 'at' go with a whole call: one that is partial starts when its arguments come"
        )
    how: Row = {"priority": priority, "callback": callback_of(callback)}
    how |= {"partial": partial} if at is None else {"at": at}
    held = {key: client.dump(value) for key, value in arguments.items()}
    row = [socket, {key: value.head() for key, value in held.items()}, submit_id]
    buffers = [value.data for value in held.values() if value.data is not None]
    client.admit(socket, 1) if wait else None
    return int(client.ask("submit", {"rows": [row], **how}, buffers)[0]["ids"][0])


def row(client: Client, request: int) -> Row:
    """What the engine says of a request; its result is looked at in a worker, never here.

    Of one that is done: ``preview`` (``text``, ``type``, ``size``), ``result`` where JSON can say it, and ``problem``
    where it cannot be shown.
    """
    known = client.row(request)
    found = {name: known.get(name) for name in SHOWN}
    if found["state"] != "done":
        return found
    try:
        reply, _ = client.ask("preview", {"request": request, "result": True, "json": True}, timeout=PREVIEW_SECONDS)
    except EngineError:
        raise
    except EcError as error:
        # the request is done all the same
        return found | {"preview": None, "problem": str(error)}
    found |= {"problem": None, "preview": {name: reply.get(name) for name in ("text", "type", "size")}}
    if reply.get("json") is not None:
        found["result"] = json.loads(reply["json"])
    return found


def row_at_rest(folder: Path, request: int) -> Row:
    """What the disk says of a request; its result only an engine's worker may look at."""
    found = probe.request(folder, request)
    if found is None:
        raise RequestNotFoundError(f"no request {request} in this flow")
    if found["state"] == "done":
        found |= {"preview": None, "problem": f"flow {folder.name!r} does not run: start it to see the result"}
    return found
