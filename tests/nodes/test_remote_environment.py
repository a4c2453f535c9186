"""What a node's tasks require is installed there once, or the node says why it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ec_jupyter.errors import NodeStartError
from tests.nodes.far import FarRig, Pipe, ready


@pytest.fixture
def rig(far: FarRig) -> FarRig:
    return far


def wheel(folder: Path, name: str, text: str) -> Path:
    """A wheel of one module."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", text)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def environment(rig: FarRig, python_folder: str) -> dict[str, str]:
    """A host's environment: a home of its own, nothing on the path but this Python, no network."""
    home = rig.folder / "home"
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "PATH": f"{python_folder}:/usr/bin:/bin", "PIP_NO_INDEX": "1"}


def answer():
    import ecneeds

    return ecneeds.answer, sys.executable


async def made(rig: FarRig, login: Pipe) -> tuple[object, str]:
    requirement = wheel(rig.folder / "wheels", "ecneeds", "answer = 42\n")
    agent = await rig.start(login=login, requirements=[str(requirement)])
    agent.processor("main", 1)
    call = rig.call(answer)
    await rig.run(agent, call)
    await agent.close()
    found, python = rig.result(call.request)
    return found, python


async def test_required_package_is_there_for_tasks_and_made_once(rig: FarRig) -> None:
    env = environment(rig, str(Path(sys.executable).resolve().parent))
    found, python = await made(rig, Pipe(str(Path(sys.executable).resolve()), env))
    assert found == 42
    envs = rig.folder / "home" / ".cache" / "ec_jupyter" / "envs"
    assert Path(python).is_relative_to(envs)
    (wanted,) = envs.glob("*/requirements.txt")
    stamp = wanted.stat().st_mtime_ns
    notes = []
    rig.ear.node = lambda name: notes.append(rig.ear.agents[name].facts()["note"])  # type: ignore[method-assign]
    await made(rig, Pipe(str(Path(sys.executable).resolve()), env))
    assert len(list(envs.glob("*/made"))) == 1
    assert not any(notes)
    assert wanted.stat().st_mtime_ns == stamp


async def test_environment_nobody_asks_for_is_removed_unless_somebody_runs_in_it(rig: FarRig) -> None:
    python = Path(sys.executable).resolve()
    login = Pipe(str(python), environment(rig, str(python.parent)))
    envs = rig.folder / "home" / ".cache" / "ec_jupyter" / "envs"
    for name in ("ecold", "ecused"):
        requirement = wheel(rig.folder / "wheels", name, "answer = 42\n")
        agent = await rig.start(login=login, name=name, requirements=[str(requirement)])
        if name == "ecold":
            await agent.close()
    for done in envs.glob("*/made"):
        os.utime(done, (0, 0))
    requirement = wheel(rig.folder / "wheels", "ecnew", "answer = 42\n")
    await rig.start(login=login, name="new", requirements=[str(requirement)])
    left = {path.read_text().partition("/ec")[2].partition("-")[0] for path in envs.glob("*/requirements.txt")}
    assert left == {"used", "new"}


async def test_python_without_pip_gets_pip_from_here(rig: FarRig) -> None:
    # as Debian's: no ensurepip, so that no environment can be made
    script = rig.folder / "python3"
    real = Path(sys.executable).resolve()
    script.write_text(
        f'#!/bin/sh\ncase "$*" in "-m venv"*) echo "ensurepip is not available"; exit 1;; esac\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    env = {**environment(rig, str(real.parent)), "EC_TEST_PYTHON": str(script)}
    site = rig.folder / "site"
    site.mkdir()
    # sys.executable is what environments are made with
    (site / "sitecustomize.py").write_text("import os, sys\nsys.executable = os.environ['EC_TEST_PYTHON']\n")
    env["PYTHONPATH"] = str(site)
    found, python = await made(rig, Pipe(str(real), env))
    assert found == 42
    assert "envs" not in python


async def test_python_whose_pip_was_never_installed_makes_an_environment_with_one(rig: FarRig) -> None:
    # as it comes before anybody has run ensurepip
    venv = rig.folder / "bare"
    subprocess.run([Path(sys.executable).resolve(), "-m", "venv", "--without-pip", venv], check=True)
    bare = venv / "bin" / "python"
    found, python = await made(rig, Pipe(str(bare), environment(rig, str(bare.parent))))
    assert found == 42
    assert Path(python).is_relative_to(rig.folder / "home" / ".cache" / "ec_jupyter" / "envs")


async def test_requirement_nobody_has_is_the_nodes_error(rig: FarRig) -> None:
    env = environment(rig, str(Path(sys.executable).resolve().parent))
    agent = await rig.begin(
        login=Pipe(str(Path(sys.executable).resolve()), env), requirements=["ec-no-such-package==9.9"]
    )
    with pytest.raises(NodeStartError, match=r"node .far. requires cannot be installed on host .localhost.: .*ec-no"):
        await ready(agent)
    assert agent.state == "down"
    envs = rig.folder / "home" / ".cache" / "ec_jupyter" / "envs"
    assert not [path for path in envs.iterdir() if path.is_dir()]


async def test_uv_is_used_where_it_is(rig: FarRig) -> None:
    # the words of uv that are used, done by what is here
    folder = rig.folder / "bin"
    folder.mkdir()
    uv = folder / "uv"
    uv.write_text(
        '#!/bin/sh\necho "uv: $*" >> "$HOME/said"\n'
        'case "$1" in venv) exec "$3" -m venv --without-pip "$4" "$5";; pip) exec "$4" -m pip install -r "$6";; esac\n'
    )
    uv.chmod(0o755)
    python = Path(sys.executable).resolve()
    found, _ = await made(rig, Pipe(str(python), environment(rig, f"{folder}:{python.parent}")))
    assert found == 42
    said = (rig.folder / "home" / "said").read_text().splitlines()
    assert [line.split()[1] for line in said] == ["venv", "pip"]
