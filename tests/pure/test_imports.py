"""Imports point down, and what travels to a bare host imports nothing that is not there."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

from ec_jupyter.nodes.bundle import travelling

PACKAGE = Path(__file__).parents[2] / "ec_jupyter"
ROOMS = ["errors", "wire", "model", "flow", "nodes", "engine", "client", "notebook", "server", "cli"]
NODES = ["", "worker", "local", "ssh", "dask"]
LARGEST_CIRCLE = {"engine": 3, "notebook": 13}
"""Modules of a room that may know each other; a number here may go down, and none may be added."""

BUNDLE = [path for path in travelling() if path.name != "__init__.py"]
ON_BARE_HOST = {"loky", "cloudpickle"}
WHERE_PRESENT = {"psutil", "numpy"}
LATE = ["networkx", "ipywidgets", "anywidget", "loky", "pandas", "IPython", "distributed", "jupyter_server"]


@cache
def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """What a module's text is made of."""
    return list(ast.walk(ast.parse(path.read_text())))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> list[tuple[ast.stmt, str]]:
    """Every import of a module, also those inside functions and under TYPE_CHECKING."""
    return list(_imports_of(path))


def _imports_of(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    name = dotted(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) + "." if node.level else ""
            source = (base + (node.module or "")).rstrip(".")
            yield from ((node, f"{source}.{alias.name}") for alias in node.names)


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "ec_jupyter" and len(parts) > 1 and parts[1] in ROOMS else None


def guarded(path: Path) -> set[int]:
    """Lines of the imports that a `try` around them lets fail."""
    tries = (node for node in nodes_of(path) if isinstance(node, ast.Try))
    return {child.lineno for node in tries for child in node.body if isinstance(child, (ast.Import, ast.ImportFrom))}


def upward(path: Path) -> list[str]:
    own = room_of(dotted(path))
    if own is None:
        return []
    targets = ((node, room_of(name)) for node, name in imports_of(path))
    return [
        f"{dotted(path)}:{node.lineno} imports {room}"
        for node, room in targets
        if room and ROOMS.index(room) > ROOMS.index(own)
    ]


def test_no_room_imports_from_a_room_above_it() -> None:
    assert [line for path in modules() for line in upward(path)] == []


OUTSIDE = ("server", "cli")
"""What comes to a flow with no kernel: each knows what lies below, and neither notebook nor the other."""


@pytest.mark.parametrize("room", OUTSIDE)
def test_who_comes_from_outside_needs_no_notebook(room: str) -> None:
    others = {"notebook", *OUTSIDE} - {room}
    own = [path for path in modules() if room_of(dotted(path)) == room]
    assert [name for path in own for _, name in imports_of(path) if room_of(name) in others] == []


INSIDE_JOINS = {"parties", "calls", "tombstones", "policies"}
"""What the join table is made of."""


def test_outside_the_flow_joins_are_changed_by_the_methods_of_their_table_alone() -> None:
    reached = [
        f"{dotted(path)}:{node.lineno}"
        for path in modules()
        if room_of(dotted(path)) != "flow"
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr in INSIDE_JOINS
        if isinstance(node.value, ast.Attribute) and node.value.attr == "joins"
    ]
    inside = {f"ec_jupyter.flow.{name}" for name in ("party", "calls", "cell", "tree", "tombstones", "policy")}
    known = [
        f"{dotted(path)} imports {name}"
        for path in modules()
        if room_of(dotted(path)) != "flow"
        for _, name in imports_of(path)
        if name.rpartition(".")[0] in inside
    ]
    assert reached + known == []


def floor(name: str) -> int:
    """Which room of the nodes a module is in, from the bottom up; the last two know nothing of each other."""
    parts = name.removeprefix("ec_jupyter.nodes.").split(".")
    return NODES.index(parts[0]) if parts[0] in NODES else 0


def test_kinds_of_nodes_know_what_they_share_and_not_each_other() -> None:
    wrong = []
    for path in modules():
        own = dotted(path)
        for _, name in imports_of(path):
            if own.startswith("ec_jupyter.nodes.") and name.startswith("ec_jupyter.nodes."):
                above = floor(name) > floor(own)
                if above or {floor(own), floor(name)} == {NODES.index("ssh"), NODES.index("dask")}:
                    wrong.append(f"{own} imports {name}")
    assert wrong == []


@cache
def circles() -> list[list[str]]:
    """Modules that know each other, also for their types alone, or when a function is called."""
    known = {dotted(path) for path in modules()}
    graph = nx.DiGraph()
    for path in modules():
        found = {name if name in known else name.rpartition(".")[0] for _, name in imports_of(path)}
        graph.add_edges_from((dotted(path), name) for name in found & known)
    return [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]


def test_modules_that_know_each_other_are_of_one_room() -> None:
    assert [group for group in circles() if len({name.rpartition(".")[0] for name in group}) > 1] == []


@pytest.mark.parametrize("room", ROOMS)
def test_modules_of_a_room_know_each_other_one_way_but_for_a_few(room: str) -> None:
    found = [group for group in circles() if any(room_of(name) == room for name in group)]
    assert [group for group in found if len(group) > LARGEST_CIRCLE.get(room, 1)] == []


def test_modules_import_each_other_in_no_circle() -> None:
    known = {dotted(path) for path in modules()}
    needs: dict[str, set[str]] = {}
    for path in modules():
        names = [name for node, name in imports_of(path) if node.col_offset == 0]
        # `from a import b` names module a.b, or name b of module a
        found = {name if name in known else name.rpartition(".")[0] for name in names}
        needs[dotted(path)] = (found & known) - {dotted(path)}
    settled: set[str] = set()
    while ready := {name for name, others in needs.items() if name not in settled and others <= settled}:
        settled |= ready
    assert sorted(set(needs) - settled) == []


@pytest.mark.parametrize("path", BUNDLE, ids=dotted)
def test_what_travels_imports_only_what_a_bare_host_has(path: Path) -> None:
    travelling = {dotted(other) for other in BUNDLE}
    allowed = set(sys.stdlib_module_names) | ON_BARE_HOST
    optional = guarded(path)
    foreign = []
    for node, target in imports_of(path):
        top = target.split(".")[0]
        ours = target in travelling or target.rpartition(".")[0] in travelling
        if not ours and top not in allowed and not (top in WHERE_PRESENT and node.lineno in optional):
            foreign.append(f"{node.lineno}: {target}")
    assert foreign == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, ec_jupyter; print([name for name in {LATE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"
