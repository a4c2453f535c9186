"""Run rings of tests in other environments than the usual one, each made when it is not there yet.

`python .ci/elsewhere.py oldest`: the oldest release of every dependency that pyproject.toml allows.
`python .ci/elsewhere.py pythons`: the newest of them, on each other Python from 3.11 on that is on the PATH or pyenv's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rings import shortfalls

REPOSITORY = Path(__file__).parents[1]
OLDEST = (
    ("shell",),
    (
        "kernel",
        *(
            f"pure/test_{name}.py"
            for name in ("imports", "options", "public_surface", "shown", "topology", "values_shown")
        ),
        *(f"store/test_{name}.py" for name in ("runtime", "trust")),
    ),
)
"""What other packages have a part in; the rest of those two rings stands on Python and SQLite alone."""

OTHER_IPYKERNELS = "test_ipykernels and not installed"
"""Tests that bring other releases of it along, as they do beside the newest packages."""

PYTHONS = (("shell", "kernel", "notebooks"), ("pure", "store", "nodes"), ("crash", "server"))
"""Rings that need no browser, in groups that run beside each other."""

_MINORS = range(11, 16)


def environment(folder: Path, python: str, resolution: str) -> Path:
    """The Python of an environment with all that the tests need; made anew when pyproject.toml has changed."""
    stamp, inside = folder / ".made", folder / "bin" / "python"
    recipe = (REPOSITORY / "pyproject.toml").read_bytes() + Path(__file__).read_bytes() + python.encode()
    wanted = hashlib.sha256(recipe).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = [sys.executable, "-m", "uv"]
        # the front end is not built again: it lies where make has put it
        build = {**os.environ, **index(), "EC_JUPYTER_FRONT": "skip"}
        shutil.rmtree(folder, ignore_errors=True)
        # with a pip inside, as an environment made by venv has it
        subprocess.run([*uv, "venv", "--seed", "--quiet", "--python", python, str(folder)], check=True, env=build)
        install = [*uv, "pip", "install", "--quiet", "--python", str(inside), "--resolution", resolution]
        subprocess.run([*install, "--editable", ".[test,lab,demo]"], check=True, cwd=REPOSITORY, env=build)
        stamp.write_text(wanted)
    return inside


def index() -> dict[str, str]:
    """Where pip is told to find packages, in the words of uv, which does not read pip's settings."""
    found = {}
    for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        for scope in (":env:", "global"):
            asked = subprocess.run(
                [sys.executable, "-m", "pip", "config", "get", f"{scope}.{setting}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if not asked.returncode and variable not in os.environ:
                found.setdefault(variable, asked.stdout.strip())
    return found


def pythons() -> dict[str, str]:
    """Other Pythons of this machine that this package claims, by their version: those on the PATH, else pyenv's."""
    found = {}
    for minor in _MINORS:
        if minor == sys.version_info.minor:
            continue
        for path in _candidates(minor):
            # a name on the PATH may be a mere shim
            asked = subprocess.run(
                [path, "-c", "import sys, ensurepip; print(sys.executable)"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if not asked.returncode:
                found[f"3.{minor}"] = asked.stdout.strip()
                break
    return found


def _candidates(minor: int) -> list[str]:
    on_path = shutil.which(f"python3.{minor}")
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = sorted(versions.glob(f"3.{minor}.*/bin/python3.{minor}"), reverse=True)
    return [*([on_path] if on_path else []), *map(str, kept)]


def run(label: str, python: Path, groups: Sequence[Sequence[str]], without: str = "") -> list[str]:
    """Run groups of rings, or of files of those, at the same time; what went wrong, one line each."""
    build = REPOSITORY / "build"
    build.mkdir(exist_ok=True)
    print(f"{label}: {', '.join(ring for group in groups for ring in group)}", flush=True)
    left_out = ["-k", f"not ({without})"] if without else []
    running = []
    for group in groups:
        name = build / f"{label}-{'-'.join(_rings(group))}"
        report, log = name.with_suffix(name.suffix + ".report"), name.with_suffix(name.suffix + ".log")
        report.unlink(missing_ok=True)
        command = [str(python), "-m", "pytest", *(f"tests/{ring}" for ring in group), *left_out, f"--junitxml={report}"]
        with log.open("w") as output:
            running.append(
                (report, log, subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT))
            )
    failed = []
    for _, log, process in running:
        if process.wait():
            failed.append(f"{label}: tests fail, see {log.relative_to(REPOSITORY)}")
        print(log.read_text() if process.returncode else log.read_text().splitlines()[-1], flush=True)
    reports = [report for report, _, _ in running if report.exists()]
    wanted = {ring for group in groups for ring in _rings(group)}
    return failed + [f"{label}: {line}" for line in shortfalls(reports, wanted)]


def _rings(group: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(part.partition("/")[0] for part in group))


def main(what: str) -> list[str]:
    """Run what is asked for; what went wrong, one line each."""
    if what == "oldest":
        return run(
            what, environment(REPOSITORY / ".venv-oldest", sys.executable, "lowest-direct"), OLDEST, OTHER_IPYKERNELS
        )
    others = pythons()
    print("pythons: " + (", ".join(others) or "there is no other on the PATH"), flush=True)
    failed = []
    for version, path in others.items():
        failed += run(f"python{version}", environment(REPOSITORY / f".venv-{version}", path, "highest"), PYTHONS)
    return failed


if __name__ == "__main__":
    lines = main(sys.argv[1])
    print("\n".join(lines))
    sys.exit(1 if lines else 0)
