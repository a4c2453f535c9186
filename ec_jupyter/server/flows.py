"""The server's flows: where they are, its connections to them, and what is pushed to the pages that show them.

A page is sent the wiring when it changes, and the numbers while it is open.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from ec_jupyter.client import probe, scene
from ec_jupyter.client.client import Client
from ec_jupyter.client.connection import EngineState
from ec_jupyter.client.flow_index import FlowIndex, folder_of
from ec_jupyter.client.launch import running
from ec_jupyter.client.seen import Numbers
from ec_jupyter.errors import EcError
from ec_jupyter.server.links import Links

log = logging.getLogger(__name__)

FRESH_SECONDS = 2.0  # seconds for which the list of all flows is cached
EVENTS = "https://events.ec-jupyter.org/flow/v1"

SHORTEST = 0.1  # seconds between two messages to a page, at least
BEAT = 1.0  # seconds between two messages, at most: a page that hears nothing for three says that its numbers are old
COUNT_SECONDS = 10.0


class Flows:
    """The flows under one root folder."""

    def __init__(self, root: Path, emit: Callable[[dict[str, Any]], object]) -> None:
        self.root = root  # the server's root folder
        self.links = Links()
        self.emit = emit  # takes the data of an event
        self._index = FlowIndex(root)
        self._pictures: dict[Path, Picture] = {}
        self._taking: asyncio.Future[dict[str, Any]] | None = None
        self._taken = 0.0

    async def all(self) -> dict[str, Any]:
        """Rows of all flows, and whether the walk that found them came to its end."""
        old = self._taking is not None and self._taking.done() and time.monotonic() - self._taken > FRESH_SECONDS
        if self._taking is None or old:
            self._taking = asyncio.ensure_future(self._take())
        # one walk for all who ask meanwhile, and it ends even if the first of them has gone
        return await asyncio.shield(self._taking)

    async def _take(self) -> dict[str, Any]:
        rows = await self.links.thread(self._index.take)
        self._taken = time.monotonic()
        return {"flows": rows, "complete": self._index.complete}

    def changed(self) -> None:
        """Discard the cached answer: an engine was started or stopped."""
        if self._taking is not None and self._taking.done():
            self._taking = None

    async def folder(self, key: str) -> Path:
        """The folder of the flow with that key. Raises FlowNotFoundError: there is none under the root."""
        return await self.links.thread(folder_of, self.root, key)

    def look(self, folder: Path, page: Page, key: str) -> Picture:
        """Add a page to a flow."""
        picture = self._pictures.get(folder)
        if picture is None:
            picture = Picture(folder, self.links, lambda name, n: self._failed(key, folder, name, n))
            self._pictures[folder] = picture
        picture.add(page)
        return picture

    def leave(self, picture: Picture, page: Page) -> None:
        """Remove a page."""
        if picture.remove(page) and self._pictures.get(picture.folder) is picture:
            del self._pictures[picture.folder]

    def _failed(self, key: str, folder: Path, socket: str, n: int) -> None:
        self.emit({"action": "failed", "key": key, "flow": folder.name, "socket": socket, "requests": n})

    def close(self) -> None:
        """Close every connection; engines go on."""
        for picture in self._pictures.values():
            picture.close()
        self.links.close()


# -- pages -----------------------------------------------------------------------
class Page:
    """A page that shows a flow."""

    visible = True
    _leaving: asyncio.Future[None] | None = None

    def send(self, text: str) -> asyncio.Future[None] | None:
        """Begin to send a message; None where the page is gone."""
        raise NotImplementedError

    def say(self, text: str) -> asyncio.Future[None] | None:
        """Send a short message in any case."""
        sent = self.send(text)
        if sent is not None:
            sent.add_done_callback(_seen)
        return sent

    def tell(self, text: str) -> bool:
        """Send a message; False where the last one is still on its way, or the page is gone."""
        if self._leaving is None or self._leaving.done():
            self._leaving = self.say(text)
            return self._leaving is not None
        return False


def _seen(sent: asyncio.Future[None]) -> None:
    """Ignore the error of a message to a page that was closed."""
    if not sent.cancelled():
        sent.exception()


class Picture:
    """One flow as its pages see it, on the event loop; `failed` is told how many more calls of a socket have failed."""

    def __init__(self, folder: Path, links: Links, failed: Callable[[str, int], None]) -> None:
        self.folder, self._links, self._failed = folder, links, failed
        self.pages: dict[Page, bool] = {}
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._changed = asyncio.Event()
        self._numbers = Numbers()
        self._shown: dict[str, Any] | None = None
        self._graph = ""
        self._seq = 0
        self._topology: dict[str, Any] | None = None
        self._life: EngineState | None = None
        self._rest = EngineState("connecting", "", 0.0)
        self._task: asyncio.Task[None] | None = None

    def add(self, page: Page) -> None:
        """Add a page: it is sent everything first, then what changes."""
        self.pages[page] = True
        if self._graph:
            page.tell(self._graph)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def again(self, page: Page) -> None:
        """Send a page everything again."""
        if page in self.pages:
            self.add(page)

    def remove(self, page: Page) -> bool:
        """Remove a page; True if it was the last."""
        self.pages.pop(page, None)
        if not self.pages:
            self.close()
        return not self.pages

    def close(self) -> None:
        """Remove every page."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        undo: list[Callable[[], None]] = []
        try:
            while True:
                try:
                    await self._step(undo)
                except Exception:
                    # an error in one update must not stop later ones
                    log.exception("picture of flow %s", self.folder.name)
                await asyncio.sleep(SHORTEST)
                try:
                    await asyncio.wait_for(self._changed.wait(), BEAT - SHORTEST)
                except TimeoutError:
                    continue
        finally:
            for forget in undo:
                forget()
            await self._stack.aclose()

    async def _step(self, undo: list[Callable[[], None]]) -> None:
        life = self._client.life if self._client is not None else self._rest
        if life.state == "running" and (self._life is None or self._life.state != "running"):
            # another engine than the one whose numbers are shown
            await self._count()
        elif life.state not in ("running", "starting"):
            await self._connect(undo)
            life = self._client.life if self._client is not None else self._rest
        self._tell_life(life)
        await self._show()

    def _tell_life(self, life: EngineState) -> None:
        """Push the engine's state: when it changes, and each second while it does not run."""
        new, self._life = self._life != life, life
        text = json.dumps(life.header())
        for page, fresh in self.pages.items():
            if page.visible and (new or fresh):
                page.say(text)
            elif page.visible and life.state != "running":
                page.tell(text)

    async def _connect(self, undo: list[Callable[[], None]]) -> None:
        """Find the engine, if one runs; a picture starts none."""
        if self._client is not None and self._client.lost:
            # what lies at the path from now on is another flow
            await self._let_go(undo)
        if not await self._links.thread(running, self.folder):
            if self._client is None and self._rest.state == "connecting":
                self._rest = await self._links.thread(probe.at_rest, self.folder)
            return
        try:
            if self._client is None:
                self._client = await self._stack.enter_async_context(self._links.use(self.folder, attach=True))
                undo += await self._links.thread(self._listen, self._client, asyncio.get_running_loop())
        except (EcError, TimeoutError):
            # it went away again; the next beat looks anew
            return
        await self._count()

    async def _let_go(self, undo: list[Callable[[], None]]) -> None:
        """Leave the flow that was at the path; the next look finds the one that is there then."""
        while undo:
            undo.pop()()
        await self._stack.aclose()
        self._client, self._topology, self._shown, self._numbers = None, None, None, Numbers()
        self._rest = EngineState("connecting", "", 0.0)

    async def _count(self) -> None:
        """Ask for all counts, which are pushed in full."""
        assert self._client is not None
        try:
            await self._links.thread(self._numbers.ask, self._client, COUNT_SECONDS)
            self._shown = None
        except (EcError, TimeoutError):
            # the next beat looks anew
            self._life = None

    def _listen(self, client: Client, loop: asyncio.AbstractEventLoop) -> list[Callable[[], None]]:
        def news(header: dict[str, Any], buffers: list[bytes]) -> None:
            if header["k"] == "counts":
                self._numbers.pushed(header)
            loop.call_soon_threadsafe(self._changed.set)

        return [client.listen(kind, news) for kind in ("topology", "counts", "picture", "engine")]

    async def _show(self) -> None:
        self._changed.clear()
        client, counts = self._client, self._numbers.newest
        if client is None or counts is None or not client.connected:
            return
        if client.topology is not self._topology:
            await self._show_graph(client)
        if not any(page.visible for page in self.pages):
            return
        self._tell_failed(self._shown, counts)
        self._seq += 1
        text = self._metrics(counts, self._shown)
        whole = self._metrics(counts, None) if any(self.pages.values()) else ""
        self._shown = counts
        for page, fresh in self.pages.items():
            if page.visible:
                # what a page has missed it gets with the next whole message
                self.pages[page] = not page.tell(whole if fresh and whole else text)

    def _metrics(self, counts: dict[str, Any], previous: dict[str, Any] | None) -> str:
        return json.dumps({"k": "metrics", **scene.metrics(counts, previous, self._seq), "time": time.time()})

    async def _show_graph(self, client: Client) -> None:
        topology = client.topology
        graph = await self._links.thread(scene.graph, topology, client.name)
        self._topology = topology
        self._graph = json.dumps({"k": "graph", "graph": graph})
        for page in self.pages:
            if not page.tell(self._graph):
                # a graph must not be missed: let the next look send it again
                self._topology = None

    def _tell_failed(self, before: dict[str, Any] | None, now: dict[str, Any]) -> None:
        for name, row in now["sockets"].items() if before else ():
            more = row["failed"] - before["sockets"].get(name, row)["failed"] if before else 0
            if more > 0:
                self._failed(name, more)
