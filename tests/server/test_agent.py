"""A flow for an agent over HTTP, behind the server's login: asked with the SDK's own client."""

from __future__ import annotations

from typing import Any

import pytest

mcp = pytest.importorskip("mcp")
httpx2 = pytest.importorskip("httpx2")


def test_an_agent_calls_sockets_over_http_as_far_as_its_address_allows(web: Any, flow: Any, jp_http_port: int) -> None:
    from mcp.client.streamable_http import streamable_http_client

    address = f"http://127.0.0.1:{jp_http_port}{web.app.base_url}ec/flows/sums/mcp"
    token = {"Authorization": f"token {web.app.identity_provider.token}"}

    async def ask(query: str, headers: dict[str, str], tool: str, **arguments: Any) -> Any:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            mcp.Client(streamable_http_client(address + query, http_client=http)) as client,
        ):
            names = [one.name for one in (await client.list_tools()).tools]
            return names, await client.call_tool(tool, arguments)

    def asked(query: str, tool: str, headers: dict[str, str] = token, **arguments: Any) -> Any:
        return web.loop.run_until_complete(ask(query, headers, tool, **arguments))

    names, found = asked("?allow=submit", "call_add_two", one=20, two=1)
    request = found.structured_content["request"]
    assert "call_double" in names
    _, found = asked("", "request", request=request, wait=50)
    assert found.structured_content["result"] == 21
    names, found = asked("", "call_add_two", one=1, two=1)
    assert "submit" not in names
    assert found.is_error
    with pytest.raises(BaseException, match=r"403|Forbidden|unhandled"):
        asked("?allow=submit", "status", headers={})
    assert web("flows", "sums", "mcp", params={"allow": "all"}, body={})[0] == 400
    assert web("flows", "none", "mcp", body={})[0] == 404
