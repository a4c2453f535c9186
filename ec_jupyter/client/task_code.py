"""The code of tasks as a picture asks for it: every version, each with its own lines of its cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from ec_jupyter.client.source import described
from ec_jupyter.errors import DeclarationError

if TYPE_CHECKING:
    from ec_jupyter.client.client import Client

MOST = 100  # versions that are listed: the newest
_KEPT = ("version", "created", "client", "file")


def versions(client: Client, args: Mapping[str, Any]) -> dict[str, Any]:
    """Versions of a socket's task, oldest first."""
    name = str(args["socket"])
    rows = client.ask("query", {"what": "versions", "socket": name})[0]["rows"]
    newest = sorted(rows, key=lambda row: row["version"])[-MOST:]
    return {"rows": [{**{key: row[key] for key in _KEPT}, "source": described(name, row)[2]} for row in newest]}


def no_kernel(client: Client, args: Mapping[str, Any]) -> NoReturn:
    """Refuse what only a kernel can do: no server runs the code that a page sends."""
    raise DeclarationError(
        "no kernel stands behind this picture, and Python is run by the kernel of the notebook that declared it: "
        "open the picture there, or change the cell and run it"
    )
