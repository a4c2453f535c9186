"""What a live picture costs its kernel: 200 sockets, ten updates a second, in Python's CPU time.

    python benchmarks/updates.py

A real kernel with a real flow; the engine's counts are made up, so that each update changes as many sockets as it says.
"""

from __future__ import annotations

import sys
import tempfile

from jupyter_client.manager import start_new_kernel

SETUP = """
%load_ext ec_jupyter
import copy, threading, time
import ec_jupyter as ec

def work(x): return x

flow = ec.flow()
with flow.edit():
    for i in range(200):
        flow.declare(work, f"step_{i}")
picture = flow.editor
picture._heard(picture, {"k": "hello", "view": "one"}, [])
base = flow._client.ask("query", {"what": "counts"})[0]
"""
DRIVE = """
def drive(changing, seconds=10.0):
    began, cpu, n = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < seconds:
        n += 1
        counts = copy.deepcopy(base)
        for i in range(changing):
            counts["sockets"][f"step_{i}"]["done"] = n
        picture._counts_came(counts, [])
        time.sleep(max(0.0, began + n * 0.1 - time.monotonic()))
    return 100 * (time.process_time() - cpu) / seconds

def copies(changing, seconds=10.0):
    cpu = time.process_time()
    for n in range(100):
        counts = copy.deepcopy(base)
    return 100 * (time.process_time() - cpu) / seconds

own = copies(200)
print(*(f"{n} of 200 sockets change: {drive(n) - own:.1f} % of a core" for n in (200, 20)), sep="\\n")
flow.stop()
"""


def main() -> int:
    """Start a kernel, and print what it says."""
    with tempfile.TemporaryDirectory(prefix="ec_updates_") as folder:
        manager, client = start_new_kernel(cwd=folder)
        try:
            for code in (SETUP, DRIVE):
                client.execute_interactive(code, timeout=120, output_hook=_show)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    return 0


def _show(message: dict) -> None:
    content = message["content"]
    sys.stdout.write(content.get("text", "") if message["msg_type"] == "stream" else "")
    if message["msg_type"] == "error":
        raise RuntimeError("\n".join(content["traceback"]))


if __name__ == "__main__":
    sys.exit(main())
