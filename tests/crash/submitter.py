"""What a notebook does in a kill campaign: submits with ids until told that it is enough. Run as a program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ec_jupyter.client.client import Client

SOCKETS = ("root", "a", "b", "flaky", "failing", "dying", "two")
KEPT = {"brief": 30, "fleeting": 0}
"""Sockets whose runs go once they have ended, but for so many of the newest."""
CHUNK = 10
GC = 50


def submit_until_enough(folder: Path) -> None:
    """Go on where the last of us was killed; every id is submitted again if it may not have been accepted."""
    promised, enough = folder.parent / "promised", folder.parent / "enough"
    client = Client.open(folder, folder.name, linger=5.0, cpus=2)
    at = int(promised.read_text()) if promised.exists() else 0
    going_on = True
    while going_on:
        # once at least: what the last of us submitted as it died may have been accepted
        values = [client.dump(i) for i in range(at, at + CHUNK)]
        rows = [(name, {"x": v}, f"{name}-{at + i}") for i, v in enumerate(values) for name in (*SOCKETS, *KEPT)]
        accepted = client.submit(rows)
        # from here on it is promised, whoever dies
        beside = promised.with_suffix(".new")
        beside.write_text(str(at + CHUNK))
        os.replace(beside, promised)
        client.finished(accepted[0]).result(60)
        at += CHUNK
        if at % GC == 0:
            client.ask("gc", timeout=120)
        going_on = not enough.exists()
    client.ask("drained", timeout=120)
    client.close()


if __name__ == "__main__":
    submit_until_enough(Path(sys.argv[1]))
