"""A picture over a websocket, or as events for who has none: what a notebook's widget gets, and the wiring."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from jupyter_server.utils import ensure_async
from tornado import web
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ec_jupyter.errors import FlowNotFoundError
from ec_jupyter.server.flows import Flows, Page, Picture
from ec_jupyter.server.handlers import Handler, verb_of

MOST_BYTES = 1 << 16  # the longest message a page has to send


class LiveHandler(Page, WebSocketMixin, WebSocketHandler, JupyterHandler):
    """The websocket of a page that shows a flow."""

    auth_resource = "ec_flows"
    picture: Picture | None = None

    @property
    def flows(self) -> Flows:
        """The flows of this server."""
        return self.settings["ec_flows"]  # type: ignore[no-any-return]

    @property
    def max_message_size(self) -> int:
        """Bytes that a message may have."""
        return MOST_BYTES

    @ws_authenticated
    async def get(self, key: str) -> None:
        """Open the websocket, if there is such a flow and the user may see it."""
        may = self.authorizer.is_authorized(self, self.current_user, "read", self.auth_resource)
        if not await ensure_async(may):
            raise web.HTTPError(403)
        self.key = key
        try:
            self.folder = await self.flows.folder(key)
        except FlowNotFoundError as error:
            raise web.HTTPError(404, "%s", str(error)) from None
        await super().get(key)

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Add the page to its flow."""
        super().open(*args, **kwargs)
        self.picture = self.flows.look(self.folder, self, self.key)

    def on_message(self, message: str | bytes) -> None:
        """Handle a message of the page about itself; commands come over REST."""
        try:
            said = json.loads(message)
        except (ValueError, RecursionError):
            return
        kind = said.get("k") if isinstance(said, dict) else None
        if kind == "look":
            self.visible = bool(said.get("visible"))
        if kind in ("hello", "look") and self.visible and self.picture is not None:
            self.picture.again(self)

    def send(self, text: str) -> asyncio.Future[None] | None:
        """Begin to send a message."""
        try:
            return self.write_message(text)
        except WebSocketClosedError:
            # on_close follows, and takes this page away
            return None

    def on_close(self) -> None:
        """Remove the page."""
        if self.picture is not None:
            self.flows.leave(self.picture, self)


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
