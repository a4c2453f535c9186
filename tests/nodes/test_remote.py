"""A node in another process: what the local agent does, over a connection that can be cut."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ec_jupyter.errors import FrameError, NodeStartError, PythonMismatchError
from ec_jupyter.nodes import bootstrap, bundle
from ec_jupyter.nodes.ssh.agent import RemoteAgent
from ec_jupyter.wire import PROTOCOL
from tests.nodes.far import FarRig, Pipe, ended, kill, ready, tree
from tests.nodes.rig import Gate, number_in, wait_until
from tests.nodes.tasks import add, hold, mark


@pytest.fixture
def rig(far: FarRig) -> FarRig:
    return far


@pytest.fixture
async def agent(rig: FarRig) -> RemoteAgent:
    agent = await rig.start()
    agent.processor("main", 2)
    return agent


def whoami():
    return os.getpid(), sys.executable, os.getcwd(), sorted(p for p in sys.path if "ec_jupyter" in p)


def spun(seconds):
    import time

    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def ones(count):
    return np.ones(count)


def doubled(array):
    return array * 2


def total(values):
    return sum(len(v) for v in values)


def beside(x):
    import near.inside

    return near.inside.twice(x)


def imports(name):
    __import__(name)


def absent():
    import far_away  # noqa: F401


def counted(count):
    for i in range(count):
        yield bytes([i]) * (100_000 if i % 2 else 10)


async def test_call_on_a_node_comes_to_the_same_as_here(rig: FarRig, agent: RemoteAgent) -> None:
    call = rig.call(add, {"one": 1, "two": 2})
    await rig.run(agent, call)
    assert rig.result(call.request) == 3


async def test_node_runs_from_what_travels_alone(rig: FarRig, agent: RemoteAgent) -> None:
    call = rig.call(whoami)
    await rig.run(agent, call)
    pid, _, folder, path = rig.result(call.request)
    assert pid in tree(rig.host_pid(agent))
    assert folder == str(Path.home())
    assert path[0].endswith(bundle.bundle()[0])


async def test_large_array_goes_there_and_back_as_files(rig: FarRig, agent: RemoteAgent) -> None:
    array = np.arange(300_000.0)
    call = rig.call(doubled, {"array": array})
    outcome = await rig.run(agent, call)
    assert outcome.value is not None
    assert outcome.value.file == f"{call.request}.7.1.0"
    assert np.array_equal(rig.result(call.request), array * 2)


async def test_result_that_lies_there_is_not_sent_there_again(rig: FarRig, agent: RemoteAgent) -> None:
    first = rig.call(ones, {"count": 100_000})
    await rig.run(agent, first)
    value = rig.ear.outcomes[first.request].value
    assert value is not None
    assert value.file is not None
    (rig.values / value.file).unlink()
    second = rig.call(doubled, arguments=[("array", "v", [value])])
    await rig.run(agent, second)
    assert rig.result(second.request).sum() == 200_000


async def test_frame_larger_than_a_part_arrives(rig: FarRig, agent: RemoteAgent) -> None:
    call = rig.call(total, arguments=[("values", "l", [rig.value(b"x" * 60_000) for _ in range(40)])])
    await rig.run(agent, call)
    assert rig.result(call.request) == 2_400_000


async def test_yields_come_in_order_whatever_their_size(rig: FarRig, agent: RemoteAgent) -> None:
    call = rig.call(counted, {"count": 9})
    outcome = await rig.run(agent, call)
    assert outcome.emitted == 9
    assert [index for index, _ in rig.ear.yields[call.request]] == list(range(9))


async def test_module_beside_the_notebook_is_found_by_a_task_there(rig: FarRig, agent: RemoteAgent) -> None:
    folder = rig.folder / "near"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "inside.py").write_text("from near.deeper import factor\n\n\ndef twice(x):\n    return factor * x\n")
    (folder / "deeper.py").write_text("factor = 2\n")
    call = rig.call(beside, {"x": 4})
    await rig.run(agent, call)
    assert rig.result(call.request) == 8


async def test_neither_a_failure_nor_a_cancel_in_a_modules_first_import_shows_what_brings_it(
    rig: FarRig, agent: RemoteAgent
) -> None:
    (rig.folder / "faulty.py").write_text("def nope():\n    return 1 / 0\n\n\nnope()\n")
    (rig.folder / "endless.py").write_text("print('begun', flush=True)\nwhile True:\n    pass\n")
    failed = await rig.run(agent, rig.call(imports, {"name": "faulty"}))
    call = rig.call(imports, {"name": "endless"})
    agent.assign("main", [call])
    await rig.ear.until(lambda: "begun" in str(rig.ear.printed))
    agent.cancel(call.request)
    await rig.done([call])
    stopped = rig.ear.outcomes[call.request]
    for outcome, line in ((failed, "return 1 / 0"), (stopped, "endless.py")):
        trace = outcome.error["traceback"]
        assert "__import__(name)" in trace
        assert line in trace
        assert "find_spec" not in trace
        assert "exec_module" not in trace
        assert "importlib" not in trace


async def test_module_that_is_nowhere_is_missed_as_ever(rig: FarRig, agent: RemoteAgent) -> None:
    outcome = await rig.run(agent, rig.call(absent))
    assert outcome.error is not None
    assert outcome.error["type"] == "ModuleNotFoundError"


async def test_facts_say_what_the_node_is(rig: FarRig, agent: RemoteAgent) -> None:
    await rig.ear.until(lambda: agent.facts()["memory"] and agent.facts()["round_trip"] is not None)
    facts = agent.facts()
    assert facts["state"] == "up"
    assert facts["cpus"] == agent.cpus
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 0 < facts["memory"]["used"] < facts["memory"]["total"]
    assert facts["error"] is None


async def test_what_processes_there_use_is_told_while_they_work(rig: FarRig, agent: RemoteAgent) -> None:
    await rig.run(agent, rig.call(spun, {"seconds": 0.5}))
    await rig.ear.until(lambda: sum(cpu for _, _, cpu, _ in agent.used()) > 0.5)
    assert {name for name, *_ in agent.used()} == {"main"}
    assert max(held for *_, held in agent.used()) > 1 << 20
    assert {pid for _, pid, *_ in agent.used()} >= {pid for pid in rig.ear.pids if pid}


async def test_closing_leaves_no_process_and_no_folder(rig: FarRig, agent: RemoteAgent) -> None:
    await rig.run(agent, rig.call(add, {"one": 1, "two": 2}))
    pids, place = tree(rig.host_pid(agent)), rig.place(agent)
    await agent.close()
    await ended(pids)
    await wait_until(lambda: not place.exists() and not Path(f"{place}.lock").exists())


# cut connections


def cut(agent: RemoteAgent) -> None:
    """End the login, as a kill -9 of `ssh` does."""
    assert agent._session.transport is not None
    agent._session.transport.close("cut by the test")


async def test_call_runs_on_while_the_connection_is_cut_and_has_its_effect_once(
    rig: FarRig, agent: RemoteAgent
) -> None:
    gate = rig.gate()
    call = rig.call(hold, {"gate": str(gate), "x": 5})
    agent.assign("main", [call])
    await rig.ear.until(lambda: call.request in rig.ear.begun)
    pid = rig.host_pid(agent)
    cut(agent)
    assert agent.state == "away"
    gate.open()
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    assert rig.result(call.request) == 5
    assert agent.state == "up"
    assert rig.host_pid(agent) == pid
    assert rig.ear.gone == []


async def test_calls_over_a_connection_cut_again_and_again_come_back_once_each(rig: FarRig, agent: RemoteAgent) -> None:
    task = rig.task(add)
    calls = [rig.call(task, {"one": i, "two": b"x" * (70_000 if i % 50 == 7 else 9)}) for i in range(400)]
    bad = {call.request for call in calls}
    for i in range(0, 400, 40):
        agent.assign("main", calls[i : i + 40])
        if i % 120 == 40:
            cut(agent)
            agent.retry()
            await rig.ear.until(lambda: agent.state == "up")
        await asyncio.sleep(0)
    await rig.ear.until(lambda: bad <= rig.ear.outcomes.keys(), 60)  # each fails: a number and bytes do not add
    assert rig.ear.gone == []
    assert all(outcome.state == "failed" for outcome in rig.ear.outcomes.values())


async def test_node_that_is_silent_is_away_and_its_calls_are_lost_with_its_lease(rig: FarRig) -> None:
    agent = await rig.start(lease=2.4)
    agent.processor("main", 1)
    path = rig.folder / "pid"
    call = rig.call(mark, {"path": str(path)})
    agent.assign("main", [call])
    await wait_until(lambda: number_in(path))
    pids = tree(rig.host_pid(agent))
    # nobody can log in again, and what is there is heard of no more
    agent._session.login = Pipe("/nonexistent/python")
    cut(agent)
    await rig.ear.until(lambda: rig.ear.gone)
    assert rig.ear.gone == [call.request]
    assert rig.ear.states == ["up", "away", "down"]
    # by then the agent has ended, with all it had started
    await ended(pids, 0.5)
    assert "lease" in str(agent.facts()["error"])
    assert not rig.place(agent).exists()


async def test_agent_without_lease_ends_with_its_channel(rig: FarRig) -> None:
    agent = await rig.start(lease=0.0)
    agent.processor("main", 1)
    path = rig.folder / "pid"
    agent.assign("main", [rig.call(mark, {"path": str(path)})])
    await wait_until(lambda: number_in(path))
    pids = tree(rig.host_pid(agent))
    agent._session.login = Pipe("/nonexistent/python")
    cut(agent)
    await ended(pids, 5.0)


async def test_agent_whose_folder_was_removed_ends_with_its_lease(rig: FarRig) -> None:
    agent = await rig.start(lease=3.0)
    pids = tree(rig.host_pid(agent))
    shutil.rmtree(rig.place(agent))
    agent._session.login = Pipe("/nonexistent/python")
    cut(agent)
    await ended(pids, 20.0)


async def test_killed_agent_is_started_anew_and_its_calls_are_lost_at_once(rig: FarRig, agent: RemoteAgent) -> None:
    path = rig.folder / "pid"
    call = rig.call(mark, {"path": str(path)})
    agent.assign("main", [call])
    await wait_until(lambda: number_in(path))
    pids = tree(rig.host_pid(agent))
    kill(pids[0])
    await rig.ear.until(lambda: rig.ear.gone == [call.request])
    await ended(pids)
    await rig.ear.until(lambda: agent.state == "up")
    again = rig.call(add, {"one": 1, "two": 1})
    await rig.run(agent, again)
    assert rig.result(again.request) == 2


ENGINE = """
import asyncio, hashlib, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.nodes.far import FarRig, kill
from tests.nodes import tasks
import cloudpickle, os
cloudpickle.register_pickle_by_value(tasks)

async def main():
    folder = Path({folder!r})
    rig = FarRig.__new__(FarRig)
    FarRig.__init__(rig, folder, folder)
    agent = await rig.start(2)
    agent.processor("main", 2)
    calls = [rig.call(tasks.hold, dict(gate=str(folder / "gate"), x=i)) for i in range(3)]
    agent.assign("main", calls)
    await rig.ear.until(lambda: len(rig.ear.begun) >= 2)
    print(rig.host_pid(agent), *[call.request for call in calls], flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_engine_started_after_kill_gets_the_results_of_the_one_before(tmp_path: Path, by_value: None) -> None:
    gate = Gate(tmp_path)
    (tmp_path / "values").mkdir()
    shutil.rmtree(tmp_path / "values")
    code = ENGINE.format(root=str(Path(__file__).parents[2]), folder=str(tmp_path))
    engine = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert engine.stdout is not None
    pid, *requests = map(int, engine.stdout.readline().split())
    engine.kill()
    engine.wait()
    engine.stdout.close()
    gate.open()
    shutil.rmtree(tmp_path / "values")
    rig = FarRig(tmp_path, tmp_path)
    rig.epoch = 8
    agent = rig.make(2)
    # one that never was there, and one of another attempt
    agent.adopt(dict.fromkeys([*requests, 999], (1, "main")))
    await agent.start()
    try:
        await rig.ear.until(lambda: rig.ear.outcomes.keys() == set(requests) and rig.ear.gone == [999])
        assert rig.host_pid(agent) == pid
        assert sorted(rig.result(request) for request in requests) == [0, 1, 2]
    finally:
        await agent.close()


async def test_call_nobody_adopts_makes_room_for_what_comes_next(rig: FarRig) -> None:
    agent = await rig.start()
    agent.processor("main", 1)
    path = rig.folder / "pid"
    call = rig.call(mark, {"path": str(path)})
    agent.assign("main", [call])
    await wait_until(lambda: number_in(path))
    await agent.close(keep=True)
    rig.epoch = 8
    later = await rig.start()
    later.processor("main", 1)
    await rig.run(later, rig.call(add, {"one": 1, "two": 1}))
    assert call.request not in rig.ear.outcomes


async def test_call_given_to_a_node_that_is_away_comes_back_at_once(rig: FarRig, agent: RemoteAgent) -> None:
    cut(agent)
    assert agent.room("main") == 0
    call = rig.call(add, {"one": 1, "two": 1})
    agent.assign("main", [call])
    assert rig.ear.back == [call.request]


async def test_values_there_go_when_there_are_too_many(
    rig: FarRig, agent: RemoteAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ec_jupyter.nodes.ssh.uploads.KEPT_BYTES", 1 << 20)
    for i in range(4):
        call = rig.call(doubled, {"array": np.full(50_000, float(i))})
        await rig.run(agent, call)
    files = rig.place(agent) / "values"
    await wait_until(lambda: sum(path.stat().st_size for path in files.iterdir()) <= 2 << 20)
    assert rig.result(call.request)[0] == 6.0


async def test_call_cancelled_while_the_node_is_away_ends_cancelled(rig: FarRig, agent: RemoteAgent) -> None:
    path = rig.folder / "pid"
    call = rig.call(mark, {"path": str(path)})
    agent.assign("main", [call])
    await wait_until(lambda: number_in(path))
    cut(agent)
    agent.cancel(call.request)
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    error = rig.ear.outcomes[call.request].error
    assert error is not None
    assert error["kind"] == "cancelled"


# hosts that are not as they should be


OTHERS = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"))
if OTHERS:  # a Python there always is: the one of another minor that the next test pretends

    @pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.parts[-3])
    async def test_first_code_runs_on_any_python(rig: FarRig, python: Path) -> None:
        minor = ".".join(python.parts[-3].split(".")[:2])
        env = {**os.environ, "PATH": f"{python.parent}:/usr/bin:/bin"}
        agent = await rig.begin(login=Pipe(str(python), env))
        if minor == f"{sys.version_info[0]}.{sys.version_info[1]}":
            await ready(agent)
            return
        with pytest.raises(PythonMismatchError, match=f"runs Python {minor}, .*found there: .*python{minor}"):
            await ready(agent)


async def test_other_python_is_refused_with_what_the_host_has(rig: FarRig) -> None:
    script = rig.folder / "python"
    facts = {
        "python": [3, 9, 1], "executable": "x", "pythons": ["python3.9", "python3.12"], "host": "x",
        "bundle": True, "running": False,
    }  # fmt: skip
    line = bootstrap.MAGIC + json.dumps(facts).encode()
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.buffer.write({line!r} + b'\\n')\n")
    script.chmod(0o755)
    agent = await rig.begin(login=Pipe(str(script)))
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.raises(PythonMismatchError) as caught:
        await ready(agent)
    assert str(caught.value) == (
        f"host 'localhost' runs Python 3.9, this flow {ours}; "
        f'give python="python{ours}" or the path of one (found there: python3.9, python3.12)'
    )
    assert agent.state == "down"


async def test_host_without_python_is_named(rig: FarRig) -> None:
    agent = await rig.begin(login=Pipe("/nonexistent/python"))
    with pytest.raises(NodeStartError, match="/nonexistent/python"):
        await ready(agent)


async def test_chatter_before_the_answer_is_skipped(rig: FarRig) -> None:
    script = rig.folder / "python"
    script.write_text(f'#!/bin/sh\necho "Welcome, {{user}}!"; echo "last login: never"; exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    agent = await rig.start(login=Pipe(str(script)))
    assert agent.state == "up"


async def test_home_that_cannot_be_written_is_no_hindrance(rig: FarRig) -> None:
    env = {**os.environ, "HOME": "/proc/nowhere"}
    env.pop("XDG_CACHE_HOME", None)
    agent = await rig.start(login=Pipe(env=env))
    assert agent.state == "up"


async def test_damaged_bundle_is_replaced(rig: FarRig) -> None:
    home = rig.folder / "home with spaces"
    home.mkdir()
    env = {**os.environ, "HOME": str(home)}
    env.pop("XDG_CACHE_HOME", None)
    path = home / ".cache" / "ec_jupyter" / f"{bundle.bundle()[0]}.zip"
    first = await rig.start(login=Pipe(env=env))
    await first.close()
    assert bootstrap.cached(str(path.parent), path.stem)
    # what a Python needs first, and what it would run half
    module = path.with_suffix("") / "ec_jupyter" / "wire.py"
    for damaged in (path, module):
        whole = damaged.read_bytes()
        damaged.write_bytes(b"damaged")
        again = await rig.start(login=Pipe(env=env))
        assert again.state == "up"
        assert damaged.read_bytes() == whole
        await again.close()


async def test_a_host_compiles_once_what_travels_there(rig: FarRig) -> None:
    home = rig.folder / "home"
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "PYTHONPYCACHEPREFIX")}

    async def compiled() -> dict[Path, int]:
        agent = await rig.start(login=Pipe(env={**env, "HOME": str(home)}))
        await agent.close()
        return {path: path.stat().st_mtime_ns for path in home.rglob("wire.*.pyc")}

    first = await compiled()
    assert first
    assert await compiled() == first


GARBAGE = {
    "noise": "sys.stdout.buffer.write(b'\\xff' * 100)",
    "no frame": "say(b'\\x05\\0\\0\\0\\0\\0\\0\\0hello')",
    "huge": "sys.stdout.buffer.write(struct.pack('<II', 10, 1 << 29))",
    "deep": "say(struct.pack('<II', 200_000, 0) + b'[' * 200_000)",
    "early": "frame({'k': 'done', 'u': 1})",
    "welcome": "frame({'k': 'welcome', 'protocol': 'x'})",
    "surrogate": "frame({'k': 'note', 'x': 'PAIR'})",
    "path": "welcome(); frame({'k': 'open', 'z': 9, 'f': {'n': '../../etc/passwd'}})",
    "name": "welcome(); frame({'k': 'open', 'z': 9, 'f': {'n': 'in.1'}})",
    "no block": "welcome(); frame({'k': 'done', 'u': 1})",
    "block": "welcome(); frame({'k': 'done', 'u': 1, 'b': [3]}, b'abc')",
    "outcome": "welcome(); frame({'k': 'ended', 'u': 1, 'o': [[1, 1, 0, 0, 0, 0, {}]]})",
    "text": "welcome(); frame({'k': 'died', 'u': 1, 'n': 1, 'a': 1, 'x': 7})",
    "infinite": "welcome(); frame({'k': 'facts', 'used': 1e999, 'low': 1})",
    "kind": "welcome(); frame({'k': 'evil'})",
    "part": "welcome(); frame({'k': 'part'})",
    "pong": "welcome(); frame({'k': 'pong', 'n': 77, 'w': 1})",
}
HOSTILE = """#!{python}
import json, struct, sys
code = sys.stdin.buffer.readline  # whatever is sent is ignored
def say(data):
    sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
def frame(header, body=b""):
    data = json.dumps(header).replace("PAIR", chr(92) + "ud800").encode()
    say(struct.pack("<II", len(data), len(body)) + data + body)
def welcome():
    frame({{"k": "welcome", "protocol": {protocol}, "boot": "x", "spec": {spec!r}, "machine": [], "pid": 1, "cpus": 2,
           "files": [], "blobs": []}})
facts = {{"python": list(sys.version_info[:3]), "executable": "x", "pythons": [], "host": "x",
         "bundle": True, "running": False}}
say(b"\\n" + {magic!r} + json.dumps(facts).encode() + b"\\n")
{what}
sys.stdout.flush()
while sys.stdin.buffer.read1(65536):
    pass
"""


@pytest.mark.parametrize("what", GARBAGE)
async def test_what_a_hostile_node_sends_is_its_error_and_nobody_elses(rig: FarRig, what: str) -> None:
    script = rig.folder / "python"
    script.write_text("")
    agent = rig.make(login=Pipe(str(script)))
    script.write_text(
        HOSTILE.format(
            python=sys.executable,
            protocol=PROTOCOL,
            spec=agent._session._orders["spec"],
            magic=bootstrap.MAGIC,
            what=GARBAGE[what],
        )
    )
    script.chmod(0o755)
    call = rig.call(add, {"one": 1, "two": 2})
    agent.processor("main", 1)
    await agent.start()
    agent.assign("main", [call])
    await rig.ear.until(lambda: agent.facts()["error"])
    assert agent.state in ("away", "down")
    assert "it sent what is no frame of ours" in agent.facts()["error"]
    assert call.request not in rig.ear.outcomes
    assert not (rig.folder / "passwd").exists()


def test_names_of_files_cannot_leave_their_folder() -> None:
    from ec_jupyter.nodes.codec import file_name

    for name in ("../x", "a/b", ".hidden", "", "a\0b", 7, None, "/etc/passwd"):
        with pytest.raises(FrameError):
            file_name(name)
