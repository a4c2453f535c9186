"""A flow as a server of the Model Context Protocol, by the official SDK: its tools, over whatever carries messages."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from jsonschema import Draft202012Validator
from mcp import types
from mcp.server.lowlevel import Server

from ec_jupyter.client.client import Client
from ec_jupyter.client.tools import Tool, tools
from ec_jupyter.errors import EcError, nearest
from ec_jupyter.version import VERSION

# calls a function with a client of the flow, off the event loop; starts an engine where the first argument says so
Use = Callable[[bool, Callable[[Client], Any]], Awaitable[Any]]


def server(name: str, allow: Collection[str], use: Use) -> Server[Any]:
    """A server with the tools of one flow.

    `allow`: what is allowed beyond looking: ``"submit"``, ``"edit"``. A tool that is not is not there. `use`: how the
    flow is reached.
    """

    async def known() -> dict[str, Tool]:
        # to list the sockets is to look, unless they may be called
        try:
            topology = await use(bool(allow), lambda client: client.topology)
        except EcError:
            topology = {}
        return tools(topology, allow)

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_told(tool) for tool in (await known()).values()])

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            found = await _called(params.name, params.arguments or {})
        except (EcError, TimeoutError) as error:
            return _result({"error": str(error), "type": type(error).__name__}, failed=True)
        return _result(found, failed=False)

    async def _called(word: str, args: dict[str, Any]) -> Any:
        here = await known()
        tool = here.get(word)
        if tool is None:
            raise EcError(f"no tool {word!r} is allowed; {nearest(word, here)}")
        wrong = next(Draft202012Validator(tool.schema).iter_errors(args), None)
        if wrong is not None:
            raise EcError(f"{word!r}: {wrong.message}")
        return await use(bool(tool.needs), lambda client: tool.does(client, args))

    text = f"Flow {name!r}: its sockets take requests, which run in parallel and end later; look at them by number."
    return Server(name, version=VERSION, instructions=text, on_list_tools=list_tools, on_call_tool=call_tool)


def _told(tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(read_only_hint=not tool.needs, destructive_hint=tool.name in ("cancel", "edit"))
    return types.Tool(name=tool.name, description=tool.text, input_schema=tool.schema, annotations=hints)


def _result(found: Any, *, failed: bool) -> types.CallToolResult:
    text = json.dumps(found, ensure_ascii=False, default=str)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=json.loads(text), is_error=failed
    )
