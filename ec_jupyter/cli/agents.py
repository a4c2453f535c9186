"""A flow for an agent, over this process's standard streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ec_jupyter.cli.flows import flow_argument
from ec_jupyter.client.client import Client
from ec_jupyter.client.outside import opened
from ec_jupyter.client.tools import checked
from ec_jupyter.errors import EngineLostError


@click.command()
@flow_argument
@click.option(
    "--allow", default="", metavar="WORDS", help="What it may do beyond looking: submit, edit, or submit,edit."
)
def mcp(flow: Path, allow: str) -> None:
    """Serve a flow to an agent by the Model Context Protocol, over standard input and output.

    Its sockets are tools with their types and docstrings; a submit gives the number of a request at once. Read-only
    unless --allow says more. Needs: pip install 'ec_jupyter[mcp]'.
    """
    words = checked(allow)
    try:
        from mcp.server.stdio import stdio_server

        from ec_jupyter.client.mcp import server
    except ImportError as error:
        raise click.ClickException(
            f"the extra 'mcp' is not installed ({error}): pip install 'ec_jupyter[mcp]'"
        ) from None

    async def serve() -> None:
        clients: list[Client] = []
        try:
            made = server(flow.name, words, lambda start, call: asyncio.to_thread(_with, flow, clients, start, call))
            async with stdio_server() as (read, write):
                await made.run(read, write, made.create_initialization_options())
        finally:
            for client in clients:
                client.close()

    asyncio.run(serve())


def _with(flow: Path, clients: list[Client], start: bool, call: Callable[[Client], Any]) -> Any:
    """Call something with the one connection there is; made when it is needed, for a flow may start later."""
    if clients and not clients[0].connected and not start:
        raise EngineLostError(f"flow {flow.name!r} does not run")
    if not clients:
        clients.append(opened(flow, "an agent", start=start, follow=start))
    clients[0].follow(start)
    return call(clients[0])


COMMANDS = (mcp,)
