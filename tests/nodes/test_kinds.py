"""Kinds of nodes come from packages that register them; those of this package are found even without that."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.errors import EcError
from ec_jupyter.nodes import kinds
from tests.crash.flowkit import Flow, opened_flows, wait_until

MODULE = """
from ec_jupyter.errors import DeclarationError
from tests.nodes.inline import Inline

TITLE = "an echo"
HOSTS = "an echo://name"
PROCESSES = False


def place(name, host):
    return {"host": host} if isinstance(host, str) and host.startswith("echo://") else None


def check(record):
    if record.host == "echo://":
        raise DeclarationError(f"node {record.name!r}: an echo has a name")


def open(record, listener, home):
    return Inline(
        listener, name=record.name, cpus=2, folder=home.folder, workdir=home.workdir, epoch=home.epoch
    )


def missing(record, package):
    return f"shout {package}"
"""


@pytest.fixture
def make_flow(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    with opened_flows(tmp_path) as make:
        yield make


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an installed package that has kind ``echo``, for this process and the engines it starts."""
    site = tmp_path / "installed"
    info = site / "ec_echo-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ec_echo.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ec-echo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ec_jupyter.nodes]\necho = ec_echo\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.syspath_prepend(str(site))
    yield site
    kinds.kind.cache_clear()
    sys.modules.pop("ec_echo", None)


def triple(x):
    return 3 * x


def wants():
    import ec_no_such_package  # noqa: F401


def facts(flow: Flow) -> dict[str, Any]:
    return next(row for row in flow.query("counts")["nodes"] if row["name"] == "canyon")


def test_a_kind_of_another_package_is_found_by_its_entry_point_and_runs_calls(
    package: Path, make_flow: Callable[[], Flow]
) -> None:
    flow = make_flow()
    flow.edit({"op": "node", "name": "canyon", "host": "echo://wall"})
    flow.edit({"op": "processor", "name": "far", "nodes": {"canyon": None}})
    wait_until(lambda: facts(flow)["state"] == "up")
    flow.socket(triple, processor="far")
    ids = flow.map("triple", [{"x": x} for x in range(5)])
    flow.drained()
    assert sorted(flow.results("triple")) == [0, 3, 6, 9, 12]
    assert {row["node"] for row in flow.requests(ids=ids)} == {"canyon"}
    flow.socket(wants, processor="far")
    error = flow.row(flow.submit("wants"))["error"]
    assert "node 'canyon' has no package 'ec_no_such_package'" in error["message"]
    assert error["message"].endswith("; shout ec_no_such_package")
    with pytest.raises(EcError, match="is an echo, where a call of 'alone' cannot have a process of its own"):
        flow.socket(triple, "alone", processor="far", fresh=True)
    with pytest.raises(EcError, match="node 'other': an echo has a name"):
        flow.edit({"op": "node", "name": "other", "host": "echo://"})


def test_an_unknown_kind_is_refused_in_one_line_that_names_those_there_are(make_flow: Callable[[], Flow]) -> None:
    flow = make_flow()
    with pytest.raises(EcError, match="no kind of node is called 'moon'; installed: dask, ssh") as found:
        flow.edit({"op": "node", "name": "base", "host": "crater", "kind": "moon"})
    assert "\n" not in str(found.value)


def test_a_flow_whose_kind_of_node_is_not_installed_any_more_opens_and_says_so(
    package: Path, make_flow: Callable[[], Flow]
) -> None:
    flow = make_flow()
    flow.edit({"op": "node", "name": "canyon", "host": "echo://wall"})
    wait_until(lambda: facts(flow)["state"] == "up")
    flow.end()
    (package / "ec_echo-1.0.dist-info" / "entry_points.txt").unlink()
    flow = make_flow()
    wait_until(lambda: facts(flow)["state"] == "down")
    assert "node 'canyon': no kind of node is called 'echo'" in facts(flow)["error"]
    flow.socket(triple)
    assert flow.row(flow.submit("triple", x=2))["state"] == "done"


def test_a_kind_that_cannot_be_imported_is_named_and_the_others_work(package: Path) -> None:
    (package / "ec_echo-1.0.dist-info" / "entry_points.txt").write_text("[ec_jupyter.nodes]\nbroken = ec_no_such\n")
    with pytest.raises(EcError, match="nodes of kind 'broken' cannot be used: ec_no_such: ModuleNotFoundError"):
        kinds.kind("broken")
    assert kinds.place("hpc", "me@hpc") == {"host": "me@hpc", "kind": "ssh", "tls": []}


def test_kinds_of_this_package_are_registered_and_found_where_installed_metadata_are_older(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    entries = project["project"]["entry-points"][kinds.GROUP]
    assert set(entries) == set(kinds.SHIPPED)
    registered = {name: EntryPoint(name, value, kinds.GROUP).load() for name, value in entries.items()}
    kinds.kind.cache_clear()
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())
    assert {name: kinds.kind(name) for name in kinds.SHIPPED} == registered
