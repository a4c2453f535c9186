"""A flow for an agent over HTTP, behind the server's login: the SDK's own transport, one question a POST."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from tornado import web

from ec_jupyter.client.tools import checked
from ec_jupyter.server.checks import Refused
from ec_jupyter.server.handlers import Handler, verb_of

Message = MutableMapping[str, Any]


class AgentHandler(Handler):
    """The address of a flow that an agent is given."""

    @verb_of
    async def post(self, key: str) -> None:
        """Answer a message of the protocol; read-only unless ``allow`` in the address says more."""
        folder = await self.flows.folder(key)
        allow = checked(self.get_query_argument("allow", ""))
        try:
            from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

            from ec_jupyter.client.mcp import server
        except ImportError:
            raise Refused(501, "the extra 'mcp' is not installed there: pip install 'ec_jupyter[mcp]'") from None
        made = server(folder.name, allow, lambda start, call: self.flows.links.ask(folder, call, start=start))
        manager = StreamableHTTPSessionManager(made, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request(self._scope(), self._receive, self._send)

    @verb_of
    async def get(self, key: str) -> None:
        """No stream is offered: each answer comes with its question."""
        raise web.HTTPError(405)

    def _scope(self) -> dict[str, Any]:
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.request.headers.get_all()]
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": self.request.method,
            "scheme": self.request.protocol, "path": self.request.path, "raw_path": self.request.path.encode(),
            "query_string": b"", "root_path": "", "headers": headers, "client": None, "server": None,
        }  # fmt: skip

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": self.request.body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.set_status(message["status"])
            for name, value in message["headers"]:
                if name.lower() != b"content-length":
                    self.set_header(name.decode(), value.decode("latin-1"))
        else:
            self.write(message.get("body", b""))
