"""Run the ring of kernel tests on other releases of ipykernel: `python .ci/ipykernels.py [version ...]`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.kernel.ipykernels import OLDER, folder  # noqa: E402


def run(versions: list[str]) -> int:
    """Run the ring on each release; the number of those on which it failed."""
    failed = []
    for version in versions:
        print(f"ipykernel {version}", flush=True)
        path = os.pathsep.join(filter(None, [str(folder(version)), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "pytest", "tests/kernel", "-q"]
        if subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": path}, check=False).returncode:
            failed.append(version)
    print("failed on: " + (", ".join(failed) or "none"))
    return len(failed)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or OLDER))
