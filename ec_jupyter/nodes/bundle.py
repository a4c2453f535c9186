"""What travels to a node's host: the bootstrap as text, and everything else as one zip."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from ec_jupyter.errors import NodeStartError
from ec_jupyter.nodes import bootstrap
from ec_jupyter.wire import encode

PACKAGE = Path(__file__).parents[1]
AT_HOME = {
    "bundle.py", "downloads.py", "kinds.py", "tasks.py", "ssh/kind.py", "dask/kind.py",
    "ssh/agent.py", "ssh/in_flight.py", "ssh/login.py", "ssh/openssh.py", "ssh/session.py",
    "ssh/uploads.py",
    "dask/agent.py", "dask/batches.py", "dask/cluster.py", "dask/files.py", "dask/workers.py",
}  # fmt: skip
"""Modules of this package that stay: those the engine uses."""

_MAIN = "from ec_jupyter.nodes.ssh.host import main\n\nif __name__ == '__main__':\n    main()\n"
_WHEN = (1980, 1, 1, 0, 0, 0)  # the oldest a zip knows: the same files make the same bytes


def travelling() -> list[Path]:
    """The modules of this package that a host gets."""
    names = ("__init__.py", "errors.py", "version.py", "wire.py", "flow/__init__.py", "flow/ledger.py")
    room = PACKAGE / "nodes"
    ours = (path for path in sorted(room.rglob("*.py")) if path.relative_to(room).as_posix() not in AT_HOME)
    return [*(PACKAGE / name for name in names), *ours]


@cache
def bundle() -> tuple[str, bytes]:
    """SHA-256 and bytes of the zip that a bare Python runs."""
    files = {"__main__.py": _MAIN.encode()}
    for path in travelling():
        files[path.relative_to(PACKAGE.parent).as_posix()] = path.read_bytes()
    for name in ("loky", "cloudpickle"):
        files.update(_package(name))
    data = _zipped(files)
    return hashlib.sha256(data).hexdigest(), data


@cache
def pip_frame() -> bytes:
    """A frame with pip as a zip, for hosts that have none. Raises NodeStartError: there is none here either."""
    return encode({"k": "pip"}, [_zipped(_package("pip"))])


def first(orders: dict[str, Any]) -> bytes:
    """The text that the command on the host reads and runs."""
    return f"{_plain_source()}\nmain(__import__('json').loads({json.dumps(orders)!r}))\n".encode()


def command(text: bytes) -> str:
    """Python code for a command line that reads as many bytes and runs them."""
    # no quote, backslash, dollar, exclamation mark or line end: every shell passes it between single quotes
    return f"import sys;exec(sys.stdin.buffer.read({len(text)}))"


@cache
def _plain_source() -> str:
    """The bootstrap without comments, docstrings and annotations, which old Pythons could not read."""
    tree = ast.parse(Path(bootstrap.__file__).read_text())
    tree = _Plain().visit(tree)
    return ast.unparse(ast.fix_missing_locations(tree))


class _Plain(ast.NodeTransformer):
    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module in ("__future__", "typing") else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node


def _package(name: str) -> dict[str, bytes]:
    """The Python files of an installed package, and the certificates that pip brings."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise NodeStartError(f"{name} is not installed here, and a node needs it")
    folder = Path(found.origin).parent
    paths = [path for path in folder.rglob("*") if path.suffix in (".py", ".pem", ".txt", ".typed")]
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in sorted(paths)}


def _zipped(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in sorted(files):
            zipped.writestr(zipfile.ZipInfo(name, _WHEN), files[name], zipfile.ZIP_DEFLATED)
    return sink.getvalue()
