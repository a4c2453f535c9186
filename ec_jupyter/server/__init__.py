"""The Jupyter server's side: flows under its root folder over REST and a websocket, with no kernel in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__: list[str] = []


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "ec_jupyter.server"}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    """Add the addresses under ``/ec``; no flow is looked for before somebody asks."""
    # loaded with the first server that wants it: every other import of the package does without tornado
    from ec_jupyter.server.extension import load

    load(app)
