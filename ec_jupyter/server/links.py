"""The server's connections to engines: one per flow, opened at its first use and closed some time after its last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from ec_jupyter.client.client import Client
from ec_jupyter.client.outside import opened, startable

UNUSED_SECONDS = 20.0  # seconds that a connection stays open after its last use: an idle engine waits for its clients
THREADS = 32
CLIENT_NAME = "the Jupyter server"

_T = TypeVar("_T")


class Link:
    """One flow's connection, if it is open, how many use it, and how many of those do more than ask once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.users = self.attached = 0
        self.client: Client | None = None
        self.opening = asyncio.Lock()

    def attach(self, more: int) -> None:
        """Count who is attached: for them the next engine is started when one dies; nobody else's look starts one."""
        self.attached += more
        if self.client is not None:
            self.client.follow(self.attached > 0)


class Links:
    """Connections by flow. Only the event loop touches them; whatever may block is done in a thread."""

    def __init__(self, unused: float = UNUSED_SECONDS) -> None:
        self.unused = unused  # seconds after which a connection that nobody uses is closed
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ec-server")
        self._links: dict[Path, Link] = {}
        self._closed = False

    async def thread(self, call: Callable[..., _T], *args: object) -> _T:
        """What `call` returns, called off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    @asynccontextmanager
    async def use(self, folder: Path, *, start: bool = False, attach: bool = False) -> AsyncIterator[Client]:
        """The client of a flow for the time of the block, as `opened` has it; `attach`: the next engine follows it."""
        link = self._links.setdefault(folder, Link(folder))
        link.users += 1
        link.attach(start or attach)
        try:
            async with link.opening:
                if link.client is None or not link.client.connected:
                    client = await self.thread(_connected, link, start)
                    link.client = client
                    link.attach(0)
                    if self._closed:
                        client.close()
            yield link.client
        finally:
            link.users -= 1
            link.attach(-(start or attach))
            if not link.users:
                asyncio.get_running_loop().call_later(self.unused, self._close_unused, link)

    async def ask(
        self, folder: Path, call: Callable[..., _T], *args: object, start: bool = False, attach: bool = False
    ) -> _T:
        """What `call` returns, called off the event loop with the client of a flow; else as `use`."""
        async with self.use(folder, start=start, attach=attach) as client:
            return await self.thread(call, client, *args)

    def _close_unused(self, link: Link) -> None:
        if link.users or self._links.get(link.folder) is not link:
            return
        del self._links[link.folder]
        if link.client is not None and not self._closed:
            self._threads.submit(link.client.close)

    def forget(self, folder: Path) -> None:
        """Close the connection to a flow that is not there any more."""
        link = self._links.pop(folder, None)
        if link is not None and link.client is not None:
            self._threads.submit(link.client.close)

    def close(self) -> None:
        """Close every connection; engines go on."""
        self._closed = True
        links, self._links = self._links, {}
        for link in links.values():
            if link.client is not None:
                link.client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _connected(link: Link, start: bool) -> Client:
    """A client that is connected to an engine; blocks until it is."""
    client = link.client
    if client is not None and client.lost:
        client.close()
        client = None
    if client is None:
        return opened(link.folder, CLIENT_NAME, start=start, follow=link.attached > 0)
    startable(link.folder, start=start)
    client.ask("ping", timeout=60)
    return client
