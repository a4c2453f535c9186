"""Other releases of ipykernel, each in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "build" / "ipykernels"

OLDER = ["6.29.5", "6.31.0", "7.0.1", "7.3.0"]
"""Beside the one that is installed: the oldest, the last 6 that the picture was watched on, the first 7, the last
that sent a page's message where the page had said."""


def folder(version: str) -> Path:
    """Where a release lies; it is fetched once."""
    place = FOLDER / version
    if not place.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        # two sessions may fetch it at a time: the first is in place, the second is thrown away
        made = Path(tempfile.mkdtemp(dir=FOLDER, prefix=f".{version}-"))
        install = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"]
        # releases before 7.2 import nest_asyncio, which the newest needs no more
        subprocess.run([*install, "--target", str(made), f"ipykernel=={version}", "nest-asyncio"], check=True)
        try:
            made.rename(place)
        except OSError:
            shutil.rmtree(made)
    return place
