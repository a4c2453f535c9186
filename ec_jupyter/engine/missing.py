"""The hint for a package that a node lacks. Pure."""

from __future__ import annotations

import re
from typing import Any

from ec_jupyter.model import Node
from ec_jupyter.nodes.kinds import kind

_NAMED = re.compile(r"No module named '(\w+)")
_FRAME = re.compile(r'^ *File ".*", line (\d+), in .*\n +(\S.*)$', re.MULTILINE)


def hint(error: dict[str, Any], node: Node) -> str | None:
    """The package that a call missed on a node, the line that needs it and how to install it; None for other failures.

    `error`: the failed call's ``type``, ``message`` and ``traceback``.
    """
    found = _NAMED.match(str(error.get("message", "")))
    if error.get("type") != "ModuleNotFoundError" or found is None:
        return None
    package = found[1]
    frames = _FRAME.findall(str(error.get("traceback", "")))
    line = f", which line {frames[-1][0]} needs ({frames[-1][1]})" if frames else ""
    return f"node {node.name!r} has no package {package!r}{line}; {kind(node.kind).missing(node, package)}"
