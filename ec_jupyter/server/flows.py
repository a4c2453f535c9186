"""The server's flows: where they are, its connections to them, and the pages that show them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ec_jupyter.client.flow_index import FlowIndex, folder_of
from ec_jupyter.server.links import Links
from ec_jupyter.server.pictures import Page, Picture

FRESH_SECONDS = 2.0  # seconds for which the list of all flows is cached
EVENTS = "https://events.ec-jupyter.org/flow/v1"


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
