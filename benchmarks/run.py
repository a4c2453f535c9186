"""Ours beside raw loky: `PEERBENCH=folder-of-the-harness make bench`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "ec_jupyter"


def main() -> int:
    """Run the harness with our adapter added; its tables go to the terminal, its rows to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", default=f"loky,{NAME}")
    parser.add_argument("--workloads", default="W1,W2,W3,W4,W7,W9")
    parser.add_argument("--out", type=Path, default=Path("build") / "bench.json")
    args, rest = parser.parse_known_args()
    if "PEERBENCH" not in os.environ:
        parser.error("PEERBENCH names no folder: set it to where the harness's run.py lies (benchmarks/README.md)")
    harness = Path(os.environ["PEERBENCH"]) / "run.py"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "PEERBENCH_PATH": str(HERE), "PEERBENCH_ADAPTERS": f"{NAME}=peers_adapter:EcJupyter"}
    command = [sys.executable, str(harness), "--systems", args.systems, "--workloads", args.workloads]
    return subprocess.call([*command, "--out", str(args.out), *rest], env=environ)


if __name__ == "__main__":
    sys.exit(main())
