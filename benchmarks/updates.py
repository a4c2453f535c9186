"""What a live picture costs its kernel and its engine: 200 sockets, ten updates a second, in CPU time.

    python benchmarks/updates.py

A real kernel with a real flow. For the kernel the engine's counts are made up, so that each update changes as many
sockets as it says. Of the engine it is what it uses for one look at all counts and for one value on a card, beyond
what a question costs, times how often a picture has them: calls under way would cost more than what is sought.
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
flow.map("step_0", range(10)); flow.wait(60)
import psutil
engine = psutil.Process(flow._client.engine_pid)

def used():
    times = engine.cpu_times()
    return times.user + times.system

def each(ask, n=400):
    # milliseconds of the engine for one of them
    cpu = used()
    for at in range(n):
        ask(at)
    return 1000 * (used() - cpu) / n

for i in range(200):
    flow.submit(f"step_{i}", i)
flow.wait(60)
client = flow._client
ping = each(lambda at: client.ask("ping"))
counts = each(lambda at: client.ask("query", {"what": "counts"})) - ping
def anew(at):
    client.ask("preview", {"request": requests[at], "result": True, "rich": True})
requests = [r.id for r in flow.map("step_1", range(400))]
flow.wait(60)
made = each(anew) - ping
print(f"engine, counts of 200 sockets, ten times a second: {counts:.3f} ms each, {counts:.1f} % of a core")
# PER_SECOND of labextension/src/editor/looks.ts
print(f"engine, the new value of a card, four times a second: {made:.3f} ms each, {0.4 * made:.1f} % of a core")
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
print(*(f"kernel, {n} of 200 sockets change: {drive(n) - own:.1f} % of a core" for n in (200, 20)), sep="\\n")
flow.stop()
"""


def main() -> int:
    """Start a kernel, and print what it says."""
    with tempfile.TemporaryDirectory(prefix="ec_updates_") as folder:
        manager, client = start_new_kernel(cwd=folder)
        try:
            for code in (SETUP, DRIVE):
                client.execute_interactive(code, timeout=300, output_hook=_show)
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
