"""What a notebook has around its functions: folders of modules, variables, and modules of the person's own."""

from __future__ import annotations

import ast
import dis
import hashlib
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import psutil

from ec_jupyter.nodes.code import by_reference
from ec_jupyter.nodes.surroundings import Surroundings
from ec_jupyter.notebook.identity import walk

_PROCESS = {
    "TERM", "PYDEVD_USE_FRAME_EVAL", "CLICOLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PAGER", "GIT_PAGER", "MPLBACKEND",
    "COLUMNS", "LINES", "KERNEL_ID", "PYTEST_CURRENT_TEST", "PYTEST_VERSION",
}  # fmt: skip
"""Variables that say something of the process itself, set by what it runs in; and all of Jupyter's, ``JPY_...``."""

_OURS = str(Path(__file__).parents[1])


def surroundings(task: object, beside: Path | None = None) -> Surroundings:
    """What `task` finds around it in the notebook; `beside`: the folder that all workers look into."""
    return Surroundings(*_folders(beside), environment(), tuple(sorted(used(task).items())))


# folders of modules


def _folders(beside: Path | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Entries of ``sys.path`` that were added, before and behind those of Python."""
    common = _common()
    first: list[str] = []
    last: list[str] = []
    standard = False
    for entry in sys.path:
        folder = os.path.abspath(entry)
        if folder in common:
            # the folder that Python started in comes first in a worker
            standard = standard or bool(entry)
        elif beside is None or folder != str(beside):
            (last if standard and entry else first).append(folder)
    return tuple(dict.fromkeys(first)), tuple(dict.fromkeys(last))


@cache
def _common() -> frozenset[str]:
    """Folders that every process of this Python looks into."""
    paths = sysconfig.get_paths()
    library = paths["stdlib"]
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    found = {library, paths["platstdlib"], paths["purelib"], paths["platlib"], os.path.join(library, "lib-dynload")}
    found |= {os.path.join(os.path.dirname(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix})), archive)}
    found |= {*site.getsitepackages(), site.getusersitepackages()}
    for folder in list(found):
        for listed in Path(folder).glob("*.pth"):
            with suppress(OSError, UnicodeDecodeError):
                found |= {os.path.join(folder, line) for line in listed.read_text().splitlines() if line.strip()}
    found |= set(filter(None, _AT_START.get("PYTHONPATH", "").split(os.pathsep)))
    return frozenset(map(os.path.abspath, found))


# variables


# the environment that this process began with
_AT_START = psutil.Process().environ()


def environment() -> tuple[tuple[str, str | None], ...]:
    """Variables that were set or taken away in this process since it began."""
    names = {*_AT_START, *os.environ} - _PROCESS
    return tuple(
        (name, os.environ.get(name))
        for name in sorted(names)
        if not name.startswith("JPY_") and _AT_START.get(name) != os.environ.get(name)
    )


# modules


def used(task: object) -> dict[str, str]:
    """Modules of the person's own that `task` uses, themselves and through others; each with a hash of its file."""
    found: dict[str, str] = {}
    todo = list(_named(task))
    while todo:
        name = todo.pop()
        file = _file(name)
        if name in found or file is None:
            continue
        made = _made(file, name)
        if made is None:
            continue
        found[name] = made[0]
        todo += [*made[1], name.rpartition(".")[0]]
    return found


def changed(modules: Mapping[str, str]) -> list[str]:
    """Those of `modules` whose file says something else by now."""
    return [name for name, before in modules.items() if (_hash_now(name) or before) != before]


def _hash_now(name: str) -> str | None:
    file = _file(name)
    made = None if file is None else _made(file, name)
    return None if made is None else made[0]


def _named(task: object) -> Iterator[str]:
    """Names of modules that a task takes along, takes things from, or imports when it runs."""
    for part in walk(task):
        if isinstance(part, ModuleType):
            yield part.__name__
            inside = part.__name__ + "."
            yield from [name for name in list(sys.modules) if name.startswith(inside)] if _file(part.__name__) else ()
        elif isinstance(part, (FunctionType, type)) and by_reference(part):
            yield part.__module__
        elif isinstance(part, FunctionType):
            yield from _imports(part.__code__)


def _imports(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            yield str(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _imports(inner)


def _file(name: str) -> str | None:
    """The Python file of a module of the person's own."""
    if not name or name == "__main__":
        return None
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) if module is not None else _found(name)
    if not isinstance(file, str) or not file.endswith(".py") or file.startswith(_OURS + os.sep):
        return None
    return None if any(file.startswith(folder + os.sep) for folder in _libraries()) else file


@cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({*(paths[name] for name in names), *site.getsitepackages(), site.getusersitepackages()})


def _found(name: str) -> str | None:
    """Where a module would be found that nobody has imported here."""
    parent, _, _ = name.rpartition(".")
    if name in sys.builtin_module_names or name.partition(".")[0] in sys.stdlib_module_names:
        return None
    if parent:
        file = _file(parent)
        if file is None or os.path.basename(file) != "__init__.py":
            return None
    try:
        spec = PathFinder.find_spec(name, [os.path.dirname(file)] if parent and file else None)
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin


def _made(file: str, name: str) -> tuple[str, tuple[str, ...]] | None:
    """Hash of what a module's file says, comments and layout aside, and the names it imports."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    return _read(file, name, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _read(file: str, name: str, _time: int, _size: int) -> tuple[str, tuple[str, ...]] | None:
    try:
        raw = Path(file).read_bytes()
    except OSError:
        return None
    try:
        tree = ast.parse(raw)
    except (SyntaxError, ValueError, RecursionError):
        return hashlib.sha256(raw).hexdigest()[:20], ()
    package = name if os.path.basename(file) == "__init__.py" else name.rpartition(".")[0]
    names = tuple(dict.fromkeys(_imported(tree, package)))
    return hashlib.sha256(ast.dump(tree).encode(errors="surrogatepass")).hexdigest()[:20], names


def _imported(tree: ast.Module, package: str) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
            except (ImportError, ValueError):
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
