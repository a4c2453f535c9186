"""Names: which may be used, and what the notebook and its flow are called."""

from __future__ import annotations

import hashlib
import keyword
import os
import re
import sys
import unicodedata
from collections.abc import Collection
from pathlib import Path

from ec_jupyter.engine.folder import FLOWS
from ec_jupyter.errors import DeclarationError
from ec_jupyter.flow.options import checked_name

PLAIN = re.compile(r"[A-Za-z0-9_-]+")  # every name of a flow
_scripts: list[Path] = []


def socket_name(name: str) -> str:
    """`name`, if a socket may be called so. Raises DeclarationError: it is no Python identifier; suggests one."""
    checked_name("socket", name)
    if name.isidentifier() and not keyword.iskeyword(name):
        return name
    near = re.sub(r"\W+", "_", name).strip("_") or "task"
    near = f"{near}_" if keyword.iskeyword(near) else near if near.isidentifier() else f"_{near}"
    raise DeclarationError(f"{name!r} cannot name a socket, which takes a Python identifier; try {near!r}")


def plain_name(name: str, kind: str) -> str:
    """`name`, if a flow or processor may be called so: letters, digits, ``_`` and ``-``.

    `kind`: ``"flow"`` or ``"processor"``, for the message. Raises DeclarationError: it has other characters; the text
    suggests a name without them.
    """
    if PLAIN.fullmatch(checked_name(kind, name)):
        return name
    raise DeclarationError(
        f"{name!r} cannot name a {kind}, which takes letters, digits, '_' and '-'; try {_plain(name)!r}"
    )


def _plain(text: str) -> str:
    # a letter with a mark is that letter
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9_-]+", "_", bare).strip("_") or "main"


def _called(stem: str) -> str:
    """What the flow of a notebook or script is called; another one for each, where letters have to go."""
    plain = _plain(stem)
    lost = any(c.isalnum() for c in stem if _plain(c) == "main")
    return f"{plain}-{hashlib.sha256(stem.encode()).hexdigest()[:6]}" if lost else plain


def notebook_path() -> Path | None:
    """The notebook this kernel runs, where the front end tells.

    JupyterLab and Notebook set ``JPY_SESSION_NAME``, VS Code a variable in the namespace, papermill
    one when it is asked to (``--inject-paths``).
    """
    space = vars(sys.modules["__main__"])
    told = (os.environ.get("JPY_SESSION_NAME"), space.get("__vsc_ipynb_file__"), space.get("PAPERMILL_INPUT_PATH"))
    return next((Path(path) for path in told if isinstance(path, str) and path.endswith(".ipynb")), None)


def be_script(path: Path) -> None:
    """Let this process be the script at `path`, whose own flow is named after it."""
    _scripts[:] = [path]


def flow_name() -> str:
    """Name of the notebook's own flow: the notebook's or script's, or ``main`` where that is not known."""
    path = notebook_path() or next(iter(_scripts), None)
    return _called(path.stem) if path else "main"


def client_name() -> str:
    """Who we are for others who use the same flow."""
    path = notebook_path() or next(iter(_scripts), None)
    return path.name if path else f"kernel {os.getpid()}"


def is_this_notebook(owner: str, formerly: Collection[str | None]) -> bool:
    """Whether a client's name is this notebook's own, or one of those that it had formerly, or says nothing."""
    mine = client_name()
    # two kernels without a notebook may be one person's restart
    return owner in ("", mine, *formerly) or (owner.startswith("kernel ") and mine.startswith("kernel "))


def flow_folder(name: str) -> Path:
    """Folder of the flow of that name: beside the notebook, whose folder is the kernel's."""
    return Path.cwd() / FLOWS / name
