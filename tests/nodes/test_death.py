"""What becomes of a worker that dies, of its culprit, its mates and its neighbours."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.wire import Call
from tests.nodes.rig import Rig, gone, number_in, session, slots, wait_until

ROOT = Path(__file__).parents[2]


def hold(gate):
    """Runs until the file `gate` is gone."""
    while os.path.exists(gate):
        time.sleep(0.005)
    return "held"


def work(x, how):
    """Ends its worker if x is 10."""
    if x != 10:
        return x
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "sockets":
        os.closerange(3, 256)
        time.sleep(60)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(60)
    return None


def ident():
    return os.getpid()


async def batch(rig: Rig, agent: Agent, how: str, count: int = 32) -> list[Call]:
    """A batch of short calls, one of which ends its worker, assigned at once."""
    task = rig.task(work)
    for _ in range(8):  # until the first call's imports no longer count
        await rig.run(agent, rig.call(task, {"x": 1, "how": how}, socket="work"))
    calls = [rig.call(task, {"x": x, "how": how}, socket="work") for x in range(count)]
    agent.assign("main", calls)
    return calls


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("exit", "exited with code 3"),
        ("SIGKILL", "was killed by SIGKILL"),
        ("SIGTERM", "was killed by SIGTERM"),
        ("segfault", "was killed by SIGSEGV (Fatal Python error: Segmentation fault)"),
        ("sockets", "was killed by SIGKILL"),
    ],
)
async def test_culprit_of_a_batch_is_charged_and_its_mates_and_sibling_are_not(
    rig: Rig, agent: Agent, how: str, text: str
) -> None:
    gate = rig.folder / "gate"
    gate.touch()
    sibling = rig.call(hold, {"gate": str(gate)})
    agent.assign("main", [sibling])
    await rig.ear.until(lambda: sibling.request in rig.ear.begun)
    calls = await batch(rig, agent, how)
    culprit = calls[10].request
    mates = {call.request for call in calls} - {culprit}
    ear = rig.ear
    await ear.until(lambda: culprit in ear.dead and mates <= set(ear.outcomes) | set(ear.back))
    assert set(ear.dead) == {culprit}
    assert text in ear.dead[culprit]
    if how == "segfault":
        assert re.search(r"\) at .* in string_at, called by .*test_death.py\", line \d+ in work$", ear.dead[culprit])
    assert not set(ear.back) & set(ear.outcomes)
    # the slot serves again, and the sibling has noticed nothing
    agent.assign("main", [call for call in calls if call.request in ear.back])
    await ear.until(lambda: mates <= set(ear.outcomes))
    assert sibling.request not in ear.outcomes
    gate.unlink()
    await ear.until(lambda: sibling.request in ear.outcomes)
    assert rig.result(sibling.request) == "held"
    assert culprit not in ear.outcomes


async def test_worker_killed_while_idle_charges_nobody(rig: Rig, single: Agent) -> None:
    call = rig.call(ident)
    outcome = await rig.run(single, call)
    os.kill(outcome.pid, signal.SIGKILL)
    again = rig.call(ident)
    single.assign("main", [again])
    await rig.ear.until(lambda: again.request in rig.ear.outcomes or again.request in rig.ear.back)
    if again.request in rig.ear.back:
        single.assign("main", [again])
        await rig.ear.until(lambda: again.request in rig.ear.outcomes)
    assert not rig.ear.dead
    assert rig.result(again.request) != outcome.pid


def family(path):
    child = subprocess.Popen(["sleep", "300"])
    with open(path, "w") as file:
        file.write(f"{child.pid}\n")
    os._exit(1)


async def test_children_of_a_dead_worker_die_with_it(rig: Rig, single: Agent) -> None:
    path = rig.folder / "pid"
    call = rig.call(family, {"path": str(path)})
    single.assign("main", [call])
    await rig.ear.until(lambda: call.request in rig.ear.dead)
    child = number_in(path)
    assert child is not None
    await wait_until(lambda: gone(child))


async def test_close_leaves_no_process(rig: Rig, agent: Agent) -> None:
    path = rig.folder / "pid"
    call = rig.call(nursing, {"path": str(path)})
    agent.assign("main", [call, rig.call(ident)])
    await wait_until(lambda: number_in(path) is not None)
    pids = [slot.pid for slot in slots(agent)]
    await agent.close()
    for pid in [number_in(path), *filter(None, pids)]:
        await wait_until(lambda pid=pid: gone(pid))
    rig.agents.clear()


def nursing(path):
    child = subprocess.Popen(["sleep", "300"])
    with open(path, "w") as file:
        file.write(f"{child.pid}\n")
    child.wait()


HOST = """
    import asyncio, io, sys
    from pathlib import Path
    from tests.nodes.rig import Rig

    def counting(path):
        import os
        with open(path + ".loop", "w") as file:
            file.write(f"{os.getpid()}\\n")
        return sum(range(10**12))

    def nursing(path):
        import os, subprocess
        child = subprocess.Popen(["sleep", "300"])
        with open(path + ".worker", "w") as file:
            file.write(f"{os.getpid()}\\n")
        with open(path, "w") as file:
            file.write(f"{child.pid}\\n")
        child.wait()

    async def main():
        if sys.argv[3] == "fileless":
            sys.stderr = io.StringIO()
        rig = Rig(Path(sys.argv[1]), Path(sys.argv[2]))
        agent = await rig.start()
        agent.processor("main", 2)
        agent.warm("main")
        call = rig.call(nursing, {"path": sys.argv[1] + "/pid"})
        agent.assign("main", [call])
        outcome = await rig.run(agent, rig.call(lambda: 1 + 1))
        agent.assign("main", [rig.call(counting, {"path": sys.argv[1] + "/pid"})])
        print(rig.result(outcome.request), flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


def host(rig: Rig, kind: str = "file", source: str = HOST, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(source), str(rig.folder), str(rig.runtime), kind]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


async def test_workers_and_their_children_die_with_the_agents_process(rig: Rig) -> None:
    process = host(rig)
    try:
        assert process.stdout is not None
        await wait_until(lambda: number_in(rig.folder / "pid") is not None)
        assert process.stdout.readline() == "2\n"
        # one worker waits for a child, the other is in a loop in C that lets none of its threads run
        paths = [rig.folder / name for name in ("pid", "pid.worker", "pid.loop")]
        await wait_until(lambda: all(number_in(path) for path in paths))
        pids = [number_in(path) for path in paths]
        assert not any(gone(pid) for pid in pids if pid is not None)
    finally:
        process.kill()
        process.communicate()
    for pid in pids:
        await wait_until(lambda pid=pid: gone(pid))
    for path in rig.runtime.iterdir():  # killed, it could not tidy up
        path.unlink()


STARTING = """
    import asyncio, sys
    from pathlib import Path
    from tests.nodes.rig import Rig

    async def main():
        rig = Rig(Path(sys.argv[1]), Path(sys.argv[2]))
        agent = await rig.start()
        agent.processor("main", 2)
        agent.assign("main", [rig.call(abs), rig.call(abs)])
        await asyncio.Event().wait()

    asyncio.run(main())
"""


@pytest.mark.parametrize("stage", ["spawned", "in its own group"])
async def test_workers_that_are_starting_die_with_the_agents_process(rig: Rig, stage: str) -> None:
    process = host(rig, source=STARTING, start_new_session=True, stderr=subprocess.DEVNULL)

    def reached() -> bool:
        groups = session(process.pid)
        return any(pid == group for pid, group in groups.items()) if stage != "spawned" else len(groups) > 1

    try:
        await wait_until(reached)
    finally:
        process.kill()
        process.communicate()
    await wait_until(lambda: not session(process.pid))
    for path in rig.runtime.iterdir():
        path.unlink()


@pytest.mark.parametrize("stderr", [subprocess.DEVNULL, None])
async def test_worker_starts_where_stderr_is_no_terminal_or_no_file(rig: Rig, stderr: int | None) -> None:
    options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = host(rig, "fileless" if stderr is None else "file", **options)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "2\n"
    finally:
        process.kill()
        process.communicate()
    for path in rig.runtime.iterdir():
        path.unlink()


async def test_worker_that_cannot_start_hands_its_calls_back_and_says_why(rig: Rig) -> None:
    agent = await rig.start(workdir=rig.folder / "missing")
    agent.processor("main", 1)
    call = rig.call(ident)
    agent.assign("main", [call])
    await rig.ear.until(lambda: rig.ear.troubles)
    assert rig.ear.back == [call.request]
    assert "FileNotFoundError" in rig.ear.troubles[0]
    assert agent.room("main") == 0
    # it is tried again, and works once the cause is gone
    (rig.folder / "missing").mkdir()
    outcome = await rig.run(agent, call)
    assert outcome.state == "done"
