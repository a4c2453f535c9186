"""The server's connections to engines: one a flow, opened by whoever wants it first, closed when nobody does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from ec_jupyter.engine.trust import trusted
from ec_jupyter.errors import EngineLostError
from ec_jupyter.notebook.client import PYTHON, Client
from ec_jupyter.notebook.engines import running
from ec_jupyter.server import glance

UNUSED_SECONDS = 20.0
"""How long a connection outlives its last use: an engine that could end waits for its clients."""

THREADS = 32
CLIENT_NAME = "the Jupyter server"

_T = TypeVar("_T")


class Link:
    """One flow's connection, if it is open, and how many use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.users = 0
        self.client: Client | None = None
        self.opening = asyncio.Lock()


class Links:
    """Connections by flow. Only the event loop touches them; whatever may block is done in a thread.

    Parameters
    ----------
    unused : float
        Seconds after which a connection that nobody uses is closed.
    """

    def __init__(self, unused: float = UNUSED_SECONDS) -> None:
        self.unused = unused
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ec-server")
        self._links: dict[Path, Link] = {}
        self._closed = False

    async def thread(self, call: Callable[..., _T], *args: object) -> _T:
        """What `call` returns, called off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    @asynccontextmanager
    async def use(self, folder: Path, *, start: bool = False) -> AsyncIterator[Client]:
        """The client of a flow, for the time of the block.

        Parameters
        ----------
        folder : Path
            The flow's folder, which exists.
        start : bool
            Start an engine where none runs: what only looks does not say so.

        Raises
        ------
        EngineLostError
            No engine runs and none is to be started.
        UntrustedFlowError
            One is to be started for a flow that came from elsewhere.
        EngineStartError, StoreError, PythonMismatchError
            One cannot be started, or cannot be talked to.
        """
        link = self._links.setdefault(folder, Link(folder))
        link.users += 1
        try:
            async with link.opening:
                if link.client is None or not link.client.connected:
                    client = await self.thread(_connected, folder, link.client, start)
                    link.client = client
                    if self._closed:
                        client.close()
            yield link.client
        finally:
            link.users -= 1
            if not link.users:
                asyncio.get_running_loop().call_later(self.unused, self._close_unused, link)

    def _close_unused(self, link: Link) -> None:
        if link.users or self._links.get(link.folder) is not link:
            return
        del self._links[link.folder]
        if link.client is not None and not self._closed:
            self._threads.submit(link.client.close)

    def close(self) -> None:
        """Hang up everywhere; engines go on."""
        self._closed = True
        links, self._links = self._links, {}
        for link in links.values():
            if link.client is not None:
                link.client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _connected(folder: Path, client: Client | None, start: bool) -> Client:
    """A client with a line to an engine; blocks until it has one."""
    executable = None
    if not running(folder):
        if not start:
            what = "the engine of flow {} was killed" if glance.killed(folder) else "flow {} is stopped"
            raise EngineLostError(f"{what.format(repr(folder.name))}; start it to go on with what is on disk")
        trusted(folder)
        recorded = glance.read(folder)
        glance.check_python(folder.name, recorded["python"], PYTHON)
        executable = _executable(recorded.get("executable"))
    if client is not None and client.lost:
        client.close()
        client = None
    if client is None:
        return Client.open(folder, folder.name, client_name=CLIENT_NAME, executable=executable)
    client.ask("ping", timeout=60)
    return client


def _executable(recorded: str | None) -> str:
    """The Python that the flow's packages are in, if it is still there."""
    return recorded if recorded and Path(recorded).is_file() else sys.executable
