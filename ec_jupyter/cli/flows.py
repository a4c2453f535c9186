"""Which flow, socket or request is meant: arguments of commands, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ec_jupyter.client import probe
from ec_jupyter.client.client import Client
from ec_jupyter.client.flow_index import FlowIndex
from ec_jupyter.client.outside import opened
from ec_jupyter.engine.folder import FLOWS
from ec_jupyter.engine.trust import check_links
from ec_jupyter.errors import FlowNotFoundError, nearest


def folder_of(text: str) -> Path:
    """The folder of a flow that is named from here.

    Raises FlowNotFoundError: there is none; the text names the nearest; UntrustedFlowError: the way to it is another
    user's link.
    """
    path = Path(text).expanduser().absolute()
    for folder in (path.parent / FLOWS / path.name, path):
        if (folder / "flow.db").is_file():
            check_links(folder)
            return folder.resolve()
    raise FlowNotFoundError(f"no flow {text!r} in {Path.cwd()}; {nearest(text, paths(Path.cwd()))}")


def paths(root: Path) -> list[str]:
    """What the flows below a folder are called from there."""
    return [row["path"] for row in FlowIndex(root).take()]


@contextmanager
def client_of(folder: Path, *, start: bool) -> Iterator[Client]:
    """A client of a flow, for the time of the block; `start` an engine where none runs, or the next one if it dies."""
    client = opened(folder, "ec", start=start, follow=start)
    try:
        yield client
    finally:
        client.close()


def _flows(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(path) for path in paths(Path.cwd()) if path.startswith(incomplete)]


def _sockets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    folder = ctx.params.get("flow")
    names = probe.sockets(folder) if isinstance(folder, Path) else []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


flow_argument = click.argument("flow", type=folder_of, shell_complete=_flows)
flow_if_any = click.argument("flow", type=folder_of, required=False, shell_complete=_flows)
socket_option = click.option("--socket", shell_complete=_sockets, help="Of this socket only.")
socket_argument = click.argument("socket", shell_complete=_sockets)
names_argument = click.argument("names", nargs=-1, metavar="[SOCKET|PROCESSOR]...", shell_complete=_sockets)
