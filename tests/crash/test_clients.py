"""Clients at an engine: several, of another Python or environment, that do not read, that end."""

from __future__ import annotations

import fcntl
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from ec_jupyter.client import client as client_module
from ec_jupyter.client import launch
from ec_jupyter.engine.address import KEY, Proof, socket_path
from ec_jupyter.engine.folder import Folder
from ec_jupyter.engine.submit_log import identity_of
from ec_jupyter.errors import PythonMismatchError
from ec_jupyter.wire import PROTOCOL, FrameReader, encode
from tests.crash.flowkit import Flow, echo, kill, socket_change, wait_until


def shout(x):
    return "z" * 50_000


def test_a_client_of_another_python_is_refused_at_hello_and_the_engine_serves_on(flow, monkeypatch):
    flow.socket(echo)
    monkeypatch.setattr(client_module, "PYTHON", "2.7")
    with pytest.raises(PythonMismatchError, match=r"this notebook 2\.7"):
        client_module.Client.open(flow.folder, "main")
    monkeypatch.undo()
    assert flow.result(flow.submit("echo", x=1)) == 1


def test_a_client_of_another_environment_is_warned(flow, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/another/python")
    other = client_module.Client.open(flow.folder, "main")
    assert "packages may differ" in other.warnings[0]
    other.close()


def test_an_engine_that_can_take_no_further_connection_goes_on_and_takes_it_later(flow, make_flow):
    flow.socket(echo)
    assert flow.result(flow.submit("echo", x=1)) == 1
    pid, limits = flow.engine, resource.prlimit(flow.engine, resource.RLIMIT_NOFILE)
    lines = []
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 20, limits[1]))
    for _ in range(60):
        lines.append(socket.socket(socket.AF_UNIX))
        lines[-1].connect(str(socket_path(flow.folder)))
    wait_until(lambda: "has to wait" in (flow.folder / "engine.log").read_text())
    request = flow.submit("echo", x=2)
    for line in lines:
        line.close()
    assert flow.result(request) == 2
    other = make_flow(flow.folder)
    assert other.result(other.submit("echo", x=3)) == 3
    assert other.engine == flow.engine == pid


def test_an_engine_that_can_open_no_further_file_takes_an_edit_and_shows_its_nodes(flow):
    flow.socket(echo)
    assert flow.result(flow.submit("echo", x=1)) == 1
    pid, limits = flow.engine, resource.prlimit(flow.engine, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, limits[1]))
    flow.socket(echo, "again")
    assert flow.result(flow.submit("again", x=2)) == 2
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert flow.engine == pid


def greeted(flow: Flow, secret: str) -> socket.socket:
    """A bare connection on which a client has said hello."""
    line = launch.reach(flow.folder, "main", sys.executable, [])
    hello = {
        "k": "hello", "n": 0, "protocol": PROTOCOL, "client": identity_of(secret), "secret": secret, "name": secret,
        "pid": os.getpid(), "python": client_module.PYTHON, "executable": sys.executable,
    }  # fmt: skip
    line.sendall(encode(hello))
    return line


def test_a_client_that_reads_nothing_takes_bounded_memory_and_gets_all_once_it_reads(flow):
    flow.socket(shout)
    flow.socket(echo)
    flow.drained()
    flow.ask("pause", sockets=["echo"])
    flow.map("echo", [{"x": "y" * 100}] * 1000)
    requests = flow.map("shout", [{"x": i} for i in range(1500)])
    line = greeted(flow, "slow")
    line.sendall(encode({"k": "subscribe", "n": 1, "kinds": ["counts", "output", "picture"]}))
    line.sendall(encode({"k": "wait", "ranges": [[requests[0], len(requests)]]}))
    questions = range(2, 502)
    for n in questions:
        line.sendall(encode({"k": "query", "n": n, "what": "requests", "socket": "echo", "limit": 1000}))
    engine = psutil.Process(flow.engine)
    before, most = engine.memory_info().rss, 0
    # 1,500 results of 50 kB, and 500 answers of 200 kB and more
    flow.drained()
    for _ in range(20):
        assert flow.query("counts")["sockets"]["shout"]["done"] == 1500
        most = max(most, engine.memory_info().rss)
    assert most - before < 80 << 20
    reader, answers, ends = FrameReader(), set(), set()
    line.settimeout(60)
    while len(answers) < len(questions) or len(ends) < len(requests):
        for header, _ in reader.feed(line.recv(1 << 18)):
            if header["k"] == "ok":
                answers.add(header["n"])
            elif header["k"] == "results":
                ends.update(header["ids"])
            elif header["k"] == "finished":
                ends.update(row["id"] for row in header["rows"] if row["state"] == "done")
        answers &= {*questions}
    assert ends == {*requests}
    line.close()


def test_the_log_of_a_client_that_ends_after_its_line_did_goes_while_the_engine_runs(flow):
    path = flow.folder / "inbox" / f"{identity_of('late')}.log"
    with open(path, "wb") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        with greeted(flow, "late") as line:
            assert line.recv(1 << 16)
        flow.drained()
    wait_until(lambda: not path.exists())


def test_an_edit_among_many_sockets_is_told_in_one_row(flow):
    for n in range(50):
        flow.socket(echo, f"s{n}")
    told = []
    flow.client.listen("topology", lambda header, _: told.append(header["changes"]))
    flow.socket(echo, "more")
    wait_until(lambda: told)
    assert told[0]["sockets"].keys() == {"more"}
    assert "plugs" not in told[0]
    assert len(flow.client.topology["sockets"]) == 51


def test_two_clients_see_each_others_work(flow, make_flow):
    other = make_flow(flow.folder)
    assert other.engine == flow.engine
    flow.socket(echo)
    wait_until(lambda: "echo" in other.client.topology["sockets"])
    request = other.submit("echo", x=4)
    assert flow.result(request) == 4


def frames_of(line: socket.socket) -> Iterator[dict]:
    reader = FrameReader()
    while data := line.recv(1 << 16):
        yield from (header for header, _ in reader.feed(data))


def test_a_question_is_answered_though_an_engine_says_hello_and_is_gone(make_flow, tmp_path, monkeypatch):
    """What listens in between takes the hello and ends, as an engine killed in that moment does."""
    # a runtime folder of its own: engines of others take away what the dead have left
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    flow = make_flow()
    hello = {
        "k": "ok", "n": 0, "flow": flow.client.flow_id, "engine": 0, "cpus": 2, "warnings": [],
        "topology": flow.client.topology,
    }  # fmt: skip
    path = socket_path(flow.folder)
    beside = path.with_suffix(".new")

    def vanish() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(beside))
            listener.listen()
            os.replace(beside, path)
            there.set()
            line, _ = listener.accept()
            path.unlink()
            with line, Folder(flow.folder) as folder:
                frames, proof = frames_of(line), Proof(folder.read(KEY), folder.identity)
                line.sendall(encode(proof.answer(next(frames))))
                proof.accept(next(frames))
                assert next(frames)["k"] == "hello"
                line.sendall(encode(hello))

    there = threading.Event()
    thread = threading.Thread(target=vanish, daemon=True)
    pid = flow.engine
    # before its socket is replaced: it would make another
    os.kill(pid, signal.SIGSTOP)
    thread.start()
    assert there.wait(60)
    # more than the line holds: it is still being sent again when nobody is there to read it
    change, blob = socket_change(lambda data=bytes(8_000_000): len(data), "big")
    asked: list[dict] = []
    asker = threading.Thread(target=lambda: asked.append(flow.client.ask("edit", {"changes": [change]}, [blob])[0]))
    asker.start()
    kill(pid)
    asker.join(60)
    thread.join(60)
    # whom the client has found instead
    assert not thread.is_alive(), (flow.client.life, flow.client.engine_pid, pid, socket_path(flow.folder), path, asked)
    assert asked[0]["revision"] == 1
    assert flow.result(flow.submit("big", data=b"four")) == 4


AT_A_TERMINAL = """
import fcntl, os, signal, sys, termios
from pathlib import Path
from ec_jupyter.client.client import Client
# who runs these tests in the background ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)
# a signal that comes just before a read would leave it waiting: this one has it in writing
interrupted, woken = os.pipe()
os.set_blocking(woken, False)
signal.set_wakeup_fd(woken)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
print("engine", Client.open(Path(sys.argv[1]), "main", linger=600.0, cpus=2).engine_pid, flush=True)
os.read(interrupted, 1)
sys.exit("interrupted")
"""


def terminal_of_a_call():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return "none"
    return "there"


def test_an_engine_outlives_the_terminal_that_it_was_started_from_and_its_calls_have_none(make_flow, tmp_path):
    folder = tmp_path / "notebook" / ".ec_jupyter" / "main"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", AT_A_TERMINAL, str(folder)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    said = b""
    while b"\n" not in said:
        said += os.read(ours, 1000)
    engine = int(said.split()[1])
    os.write(ours, b"\x03")
    assert process.wait(60) != 0
    os.close(ours)
    flow = make_flow(folder)
    assert flow.engine == engine
    flow.socket(terminal_of_a_call, "look")
    assert flow.result(flow.submit("look")) == "none"
