"""The words for nodes: `%ec_node`, `flow.node`, `--node`, and what tables say of them."""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.errors import (
    DeclarationError,
    HostKeyError,
    HostUnreachableError,
    MagicUsageError,
    NodeNotFoundError,
    NodeStartError,
    WiringError,
)
from tests.cases import each_of

SOCKET = """
flow = ec.flow()
@ec.socket(processor="fit")
def double(x): return 2 * x
"""


@pytest.fixture
def client(tmp_path: Path) -> str:
    """Stands for ``ssh``: a shell on this machine, in a home of its own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return script(tmp_path / "ssh", f'for last; do :; done\nexport HOME={home} TMPDIR={home}\nexec sh -c "$last"')


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest.fixture
def noded(loaded: Any, client: str) -> Any:
    """A shell whose flow has a node of two CPUs."""
    loaded.run(SOCKET)
    loaded.run(f"%ec_node hpc me@hpc --cpus 2 --ssh {client} --python {sys.executable}")
    return loaded


def test_a_node_is_up_when_its_magic_is_through_and_runs_calls(noded: Any) -> None:
    node = noded.run("%ec_node hpc")
    assert (node.state, node.cpus, node.host, node.error) == ("up", 2, "me@hpc", None)
    assert node.python.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert repr(node) == "hpc: 2 cpus"
    noded.run("%ec_processor fit --node hpc")
    request = noded.run("flow.submit('double', 4)")
    assert request.result(60) == 8
    assert request.node == "hpc"
    assert node.facts["used"] == 0
    assert "hpc: 0 of 2 CPUs in use" in repr(noded.run("%ec_status"))
    assert [row["node"] for row in noded.run("%ec_requests double").rows] == ["hpc"]


@each_of(
    ("line", "nodes", "cpus"),
    [
        ("%ec_processor fit --node local:1 --node hpc:2", {"local": 1, "hpc": 2}, 3),
        ("flow.processor('fit', nodes={'local': 1, 'hpc': 2})", {"local": 1, "hpc": 2}, 3),
        ("flow['fit'].cpus = {'local': 1, 'hpc': 1}", {"local": 1, "hpc": 1}, 2),
        ("flow['fit'].nodes = 'hpc'", {"hpc": None}, None),
        ("%ec_processor fit --node hpc --cpus 1", {"hpc": 1}, 1),
        ("flow.processor('fit', nodes=['local', 'hpc'])", {"local": None, "hpc": None}, None),
    ],
)
def test_a_processor_is_placed_by_magic_by_call_and_by_attribute_alike(
    noded: Any, line: str, nodes: dict[str, int | None], cpus: int | None
) -> None:
    noded.run(line)
    processor = noded.run("flow['fit']")
    assert (processor.nodes, processor.cpus) == (nodes, cpus)
    assert [worker.agent.node.name for worker in processor.workers] == list(nodes)
    assert noded.run("flow.submit('double', 4).result(60)") == 8


def test_the_tree_and_the_outline_say_which_processor_is_where(noded: Any) -> None:
    noded.run("%ec_processor fit --node local:1 --node hpc:2")
    assert "fit (local: 1, hpc: 2)" in repr(noded.run("flow"))
    assert "hpc" in repr(noded.run("flow.tree()"))
    noded.run("%ec_processor fit --node hpc:2")
    assert "fit (2 CPUs of hpc)" in repr(noded.run("flow"))
    assert [worker.processor.name for worker in noded.run("flow.node('hpc').agent.workers")] == ["fit"]


def test_a_node_that_is_taken_away_is_gone_from_the_flow(noded: Any, wait_until: Any) -> None:
    node = noded.run("node = flow.node('hpc'); node")
    noded.run("%ec_node hpc --remove")
    wait_until(lambda: [n.name for n in noded.run("flow.nodes")] == ["local"])
    assert isinstance(noded.fail("node.remove()"), NodeNotFoundError)
    assert isinstance(noded.fail("node.cpus"), NodeNotFoundError)
    assert repr(node) == "<node 'hpc', removed>"


@each_of(
    ("line", "kind", "message"),
    [
        ("%ec_node local --cpus 3", DeclarationError, "'local' is this machine"),
        ("%ec_node a.b", DeclarationError, "cannot name a node"),
        ("%ec_node hpc --cpus 0", DeclarationError, "cpus= takes a whole number of CPUs, at least 1, not 0"),
        ("flow.node('hpc', '-oProxyCommand=x')", DeclarationError, "is no host"),
        ("%ec_processor fit --node hcp", NodeNotFoundError, "'hcp'; did you mean 'hpc'?"),
        ("%ec_processor fit --node hpc:many", MagicUsageError, "NODE:N, not 'hpc:many'"),
        ("flow.processor('fit', nodes=['hpc', 'local'], cpus=2)", DeclarationError, "say how many CPUs on each"),
        ("flow.processor('alone', nodes='hpc'); flow.remove(flow.node('hpc'))", WiringError, "move it first"),
        ("flow.processor('alone', nodes='hpc', cpus=2); flow.declare(abs, 'a', processor='alone', threads=3)",
         DeclarationError, "takes 3 CPUs and processor 'alone' has 2"),
        ("%ec_node hpc --python \"a'b\"", DeclarationError, "is no path"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_the_way_out(noded: Any, line: str, kind: type, message: str) -> None:
    error = noded.fail(line)
    assert isinstance(error, kind), error
    assert message in str(error)


def test_a_node_that_cannot_be_reached_fails_the_cell_with_its_cause_and_is_tried_again_by_the_same_line(
    loaded: Any, client: str, tmp_path: Path
) -> None:
    loaded.run(SOCKET)
    says = "No ED25519 host key is known for hpc and you have requested strict checking."
    known = f'if test -e {tmp_path}/known; then exec {client} "$@"; fi'
    wrong = script(tmp_path / "wrong", f'{known}\necho "{says}" >&2\nexit 255')
    line = f"%ec_node hpc --cpus 1 --ssh {wrong} --python {sys.executable}"
    assert isinstance(loaded.fail(line), HostKeyError)
    assert isinstance(loaded.fail(line), HostKeyError)
    assert loaded.run("flow.node('hpc').state") == "down"
    loaded.run("%ec_processor fit --node hpc")
    request = loaded.run("flow.submit('double', 4)")
    assert loaded.run("flow.wait(60)")["paused"] == 1
    (tmp_path / "known").touch()
    assert loaded.run(line).state == "up"
    assert request.result(60) == 8


def test_a_node_that_is_there_and_is_declared_otherwise_is_there_when_the_line_is_through(noded: Any) -> None:
    for cpus in (1, 2):
        assert noded.run(f"%ec_node hpc --cpus {cpus}").state == "up"
        assert noded.run("flow.node('hpc').cpus") == cpus
    assert isinstance(noded.fail("%ec_node hpc --python python9"), NodeStartError)


def test_who_waits_for_a_node_that_is_taken_away_meanwhile_is_told(
    loaded: Any, tmp_path: Path, wait_until: Any
) -> None:
    loaded.run(SOCKET)
    silent = script(tmp_path / "silent", f"touch {tmp_path}/tried\nexec sleep 300")
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(loaded.run("flow.node"), "hpc", "me@hpc", ssh=[silent])
        wait_until((tmp_path / "tried").exists)
        wait_until(lambda: "hpc" in [node.name for node in loaded.run("flow.nodes")])
        loaded.run("flow.remove('hpc')")
        assert isinstance(waits.exception(60), NodeNotFoundError)


def test_a_passphrase_is_asked_for_in_the_cell(
    loaded: Any, client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda text: asked.append(text) or "open sesame")
    asking = script(
        tmp_path / "asking",
        f'test "$("$SSH_ASKPASS" "Enter passphrase for key:")" = "open sesame" || exit 255\nexec {client} "$@"',
    )
    loaded.run(SOCKET)
    node = loaded.run(f"%ec_node hpc --ask --cpus 1 --ssh {asking} --python {sys.executable}")
    assert node.state == "up"
    assert [text.strip() for text in asked] == ["Enter passphrase for key:"]


def test_a_host_without_python_is_told_so(loaded: Any, client: str) -> None:
    loaded.run("flow = ec.flow()")
    error = loaded.fail(f"%ec_node hpc --ssh {client} --python python3.9999")
    assert isinstance(error, NodeStartError)
    assert "has no 'python3.9999'" in str(error)
    assert str(error).endswith("; it stays a node and is tried again; %ec_node hpc --remove takes it away")
    loaded.run("@ec.socket(processor='fit')\ndef double(x): return 2 * x")
    loaded.run("flow.processor('fit', nodes='hpc'); r = flow.submit('double', 4)")
    late = str(loaded.fail("r.result(0.1)"))
    assert "; its processor 'fit' has no other node, and node 'hpc' is " in late
    loaded.run("flow.processor('fit', nodes='local'); flow.remove('hpc')")
    assert loaded.run("r.result(60), [node.name for node in flow.nodes]") == (8, ["local"])


def test_a_saved_flow_has_its_nodes_and_placements(noded: Any, client: str) -> None:
    noded.run("%ec_processor fit --node local:1 --node hpc:2")
    code = noded.run("flow.to_code()")
    assert f"flow.node('hpc', host='me@hpc', cpus=2, python='{sys.executable}', ssh=['{client}'])" in code
    assert "flow.processor('fit', nodes={'local': 1, 'hpc': 2})" in code
    noded.run("flow.save('saved.json'); other = ec.load('saved.json', 'other')")
    assert noded.run("other.node('hpc').host") == "me@hpc"
    assert noded.run("other['fit'].nodes") == {"hpc": 2, "local": 1}
    assert noded.run("other.submit('double', 4).result(60)") == 8


def test_a_clusters_certificates_are_saved_with_it(loaded: Any) -> None:
    loaded.run("flow = ec.flow()")
    given = "'cluster', 'tls://127.0.0.1:1', tls=('ca.pem', 'cert.pem', 'key.pem')"
    # nobody is there, but it is the flow's from now on
    assert isinstance(loaded.fail(f"flow.node({given})"), HostUnreachableError)
    files = [os.path.abspath(name) for name in ("ca.pem", "cert.pem", "key.pem")]
    assert f"flow.node('cluster', host='tls://127.0.0.1:1', tls={files})" in loaded.run("flow.to_code()")
    loaded.run("flow.save('saved.json')")
    assert json.loads(Path("saved.json").read_text())["nodes"]["cluster"]["tls"] == files
    refused = loaded.fail("flow.node('other', 'tls://127.0.0.1:1', tls='ca.pem')")
    assert "the files of the authority, the certificate and its key" in str(refused)


def test_names_of_nodes_are_completed(noded: Any) -> None:
    assert "hpc" in noded.completions("%ec_node h")
    assert "hpc" in noded.completions("%ec_processor fit --node h")


def test_a_package_that_is_not_there_is_named_with_its_line_and_the_way_to_have_it_there(noded: Any) -> None:
    noded.run('@ec.socket(processor="fit")\ndef far(x):\n    import ec_far_away\n    return x')
    noded.run("%ec_processor fit --node hpc")
    request = noded.run("r = flow.submit('far', 1); r")
    error = noded.fail("r.result(60)")
    assert isinstance(error, ModuleNotFoundError)
    wanted = "node 'hpc' has no package 'ec_far_away', which line 3 needs (import ec_far_away); %ec_node hpc --require"
    assert any(note.startswith(wanted) for note in error.__notes__)
    assert wanted in request.error


def test_a_call_that_failed_on_a_node_is_debugged_here(noded: Any, monkeypatch: Any, capsys: Any) -> None:
    noded.run("FACTOR = 10")
    noded.run(
        "@ec.socket(processor='fit')\ndef unlucky(x):\n    secret = x * FACTOR\n    "
        "raise ValueError(f'unlucky {secret}')"
    )
    noded.run("%ec_processor fit --node hpc")
    number = noded.run("bad = flow.submit('unlucky', 13); bad.wait(60); bad.id")
    assert noded.run("bad.state, bad.node") == ("failed", "hpc")
    monkeypatch.setattr(sys, "stdin", StringIO("p secret, x\nq\n"))
    assert noded.run(f"%ec_debug {number}") == {"x": 13}
    said = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "(130, 13)" in said
    assert "unlucky 130" in said
    assert noded.run("bad.state, bad.attempt, len(flow.requests())") == ("failed", 1, 1)
