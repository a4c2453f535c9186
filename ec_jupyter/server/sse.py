"""A flow's picture as server-sent events: the messages of the websocket, for whoever has none."""

from __future__ import annotations

import asyncio

from tornado.iostream import StreamClosedError

from ec_jupyter.server.handlers import Handler, verb_of
from ec_jupyter.server.pictures import Page


class EventsHandler(Page, Handler):
    """The stream of a page, script or service that follows a flow."""

    _gone: asyncio.Event

    @verb_of
    async def get(self, key: str) -> None:
        """Send events until whoever listens is gone."""
        folder = await self.flows.folder(key)
        self._gone = asyncio.Event()
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        # what lies between is to hand each event on as it comes
        self.set_header("X-Accel-Buffering", "no")
        picture = self.flows.look(folder, self, key)
        try:
            await self._gone.wait()
        finally:
            self.flows.leave(picture, self)

    def on_connection_close(self) -> None:
        """Nobody listens any more."""
        super().on_connection_close()
        self._gone.set()

    def send(self, text: str) -> asyncio.Future[None] | None:
        """Begin to send a message."""
        kind = text[7 : text.index('"', 7)]
        self.write(f"event: {kind}\ndata: {text}\n\n")
        try:
            return asyncio.ensure_future(self.flush())
        except StreamClosedError:
            return None
