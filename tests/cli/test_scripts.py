"""A flow from a file, and a file from a flow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

EC = [sys.executable, "-c", "from ec_jupyter.cli.main import main; main()"]
FLOW = """
import sys

import ec_jupyter as ec

SCALE = 10


def scaled(x):
    return x * SCALE


@ec.socket
def load(x: int):
    return scaled(x)


@ec.socket(retries=1)
def show(value):
    if value == 130:
        raise ValueError("unlucky")
    return f"it is {value}"


if __name__ == "__main__":
    flow = ec.flow()
    flow.plug("load", "show.value")
    flow.map("load", [int(x) for x in sys.argv[1:]])
"""


def ran(*words: str, code: int = 0) -> str:
    done = subprocess.run([*EC, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_file_is_a_flow_as_cells_are_and_what_it_submits_is_waited_for(notebook_folder: Path, request: Any) -> None:
    request.addfinalizer(lambda: ran("stop", "nightly_sums"))
    Path("nightly_sums.py").write_text(FLOW)
    assert "nothing is queued or running; 0 waiting, 0 failed" in ran("run", "nightly_sums.py", "1", "2")
    rows = json.loads(ran("requests", "nightly_sums", "--socket", "show", "--json"))
    assert [row["state"] for row in rows] == ["done", "done"]
    # the same file again is the same flow; the exit code says that a request has failed
    assert "1 failed" in ran("run", "nightly_sums.py", "13", code=3)
    assert json.loads(ran("status", "nightly_sums", "--json"))["sockets"][0]["done"] == 3
    written = ran("export", "nightly_sums", "--script")
    Path("again").mkdir()
    Path("again/nightly.py").write_text(written)
    subprocess.run([sys.executable, "nightly.py"], cwd="again", check=True, capture_output=True)
    request.addfinalizer(lambda: ran("stop", "again/nightly_sums"))
    ran("submit", "again/nightly_sums", "load", "x=4", "--wait")
    ran("wait", "again/nightly_sums")
    assert "'it is 40'" in ran("requests", "again/nightly_sums", "2")
    assert "@flow.socket" in ran("export", "nightly_sums")
    assert ran("export", "nightly_sums", "--svg").startswith("<svg")
    ran("export", "nightly_sums", "--wiring", "-o", "wiring.json")
    assert list(json.loads(Path("wiring.json").read_text())["sockets"]) == ["load", "show"]


def test_a_file_that_raises_ends_with_its_own_traceback(notebook_folder: Path) -> None:
    Path("broken.py").write_text("raise RuntimeError('not today')\n")
    said = ran("run", "broken.py", code=1)
    assert said.splitlines()[:2] == ["Traceback (most recent call last):", '  File "broken.py", line 1, in <module>']
    assert said.endswith("RuntimeError: not today\n")
    Path("broken.py").write_text("def f(:\n")
    assert ran("run", "broken.py", code=1).splitlines()[0] == '  File "broken.py", line 1'
