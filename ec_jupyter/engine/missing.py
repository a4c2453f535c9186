"""What to say of a package that a node lacks. Pure."""

from __future__ import annotations

import re
from typing import Any

from ec_jupyter.model import Node

_NAMED = re.compile(r"No module named '(\w+)")
_FRAME = re.compile(r'^ *File ".*", line (\d+), in .*\n +(\S.*)$', re.MULTILINE)


def hint(error: dict[str, Any], node: Node) -> str | None:
    """Which package a call has missed on a node, the line that needs it, and how it gets there; None if it failed else.

    Parameters
    ----------
    error : dict
        The failed call's ``type``, ``message`` and ``traceback``.
    node : Node
        Where it ran.
    """
    found = _NAMED.match(str(error.get("message", "")))
    if error.get("type") != "ModuleNotFoundError" or found is None:
        return None
    package = found[1]
    frames = _FRAME.findall(str(error.get("traceback", "")))
    line = f", which line {frames[-1][0]} needs ({frames[-1][1]})" if frames else ""
    if node.kind == "dask":
        cure = "install it where the cluster's workers run"
    else:
        words = " ".join((*node.requirements, package))
        wanted = f'"{words}"' if " " in words else words
        cure = f"%ec_node {node.name} --require {wanted} installs it there, if that is its name on PyPI"
    return f"node {node.name!r} has no package {package!r}{line}; {cure}"
