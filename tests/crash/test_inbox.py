"""A submit that has returned is accepted, whoever dies before the engine has seen it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ec_jupyter.client import submit_log
from ec_jupyter.client.client import PYTHON, Client
from ec_jupyter.client.submit_log import SubmitLog
from ec_jupyter.client.waits import background
from ec_jupyter.engine import open_lots
from ec_jupyter.engine.address import connect
from ec_jupyter.engine.submit_records import LOT_CALLS, PAGE, Shape
from ec_jupyter.wire import PROTOCOL, FrameReader, encode
from tests.crash.flowkit import SECONDS, Flow, Marks, echo, kill, mark, wait_until

N = 40


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "marks")


@pytest.fixture
def wired(make_flow: Callable[..., Flow], marks: Marks) -> Flow:
    flow = make_flow()
    path = str(marks)

    def leave(text: object) -> None:
        mark(path, text)

    flow.socket(leave)
    return flow


@pytest.fixture
def acceptor(wired: Flow) -> Iterator[subprocess.Popen[str]]:
    """A second client of the flow, whose submits the stopped engine has not seen."""
    command = [sys.executable, "-m", "tests.crash.acceptor", str(wired.folder), str(N)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "accepted\n"
    yield process
    with suppress(ProcessLookupError):
        os.kill(wired.engine, signal.SIGCONT)
    process.kill()
    process.communicate()


def logs(flow: Flow) -> list[Path]:
    return list((flow.folder / "inbox").glob("*.log"))


def test_submits_of_a_killed_client_are_run_once_by_the_engine_that_never_saw_them(
    wired: Flow, acceptor: subprocess.Popen[str], marks: Marks
) -> None:
    kill(acceptor.pid)
    os.kill(wired.engine, signal.SIGCONT)
    assert sorted(map(int, marks.reach(N))) == list(range(N))
    wired.client.ask("drained")
    assert len(marks.lines) == N
    # only the log of the client that lives is left
    wait_until(lambda: len(logs(wired)) == 1)


def test_submits_are_run_once_when_client_and_engine_are_both_killed(
    wired: Flow, acceptor: subprocess.Popen[str], marks: Marks
) -> None:
    kill(acceptor.pid)
    kill(wired.engine)
    wired.client.ask("drained")
    assert sorted(map(int, marks.lines)) == list(range(N))
    assert wired.client.ask("query", {"what": "requests", "socket": "leave"})[0]["records"] == N


def test_submits_that_a_killed_engine_never_saw_are_sent_again_and_taken_once(wired: Flow, marks: Marks) -> None:
    client = wired.client
    os.kill(wired.engine, signal.SIGSTOP)
    accepted = [client.submit([("leave", {"text": client.dump(i)})]) for i in range(N)]
    kill(wired.engine)
    ids = [one[0] for one in accepted]
    assert len(set(ids)) == N
    assert [client.finished(i).result(60)["state"] for i in ids] == ["done"] * N
    assert sorted(map(int, marks.lines)) == list(range(N))


def test_a_frame_that_a_client_died_writing_was_not_accepted_and_hinders_nothing(
    wired: Flow, marks: Marks, make_flow: Callable[..., Flow]
) -> None:
    value = wired.client.dump("whole")
    log = SubmitLog(wired.folder / "inbox" / "gone.log")
    shape = Shape("leave", ("text",), (value.type,), wired.client.topology["revision"], partial=False)
    log.append(log.writer.calls(range(1, 2), 0, shape, 1, [value.data or b""], watched=False))
    # what it wrote of the next one lies behind the word that says how far the log is written
    torn = log.writer.calls(range(2, 3), 0, shape, 1, [value.data or b""], watched=False)[:-3]
    os.pwrite(log._fd, torn, PAGE + log.held)
    log.close(remove=False)
    kill(wired.engine)
    wired.client.ask("drained")
    assert marks.lines == ["whole"]
    wait_until(lambda: len(logs(wired)) == 1)


def test_a_submit_that_the_engine_refuses_says_why_when_it_is_looked_at(wired: Flow) -> None:
    client = wired.client
    os.kill(wired.engine, signal.SIGSTOP)
    try:
        # removed in the frame before: this client still believes that the socket is there
        removal = client._send("edit", {"changes": [{"op": "remove", "name": "leave"}]})
        accepted = client.submit([("leave", {"text": client.dump(1)})])
    finally:
        os.kill(wired.engine, signal.SIGCONT)
    client._wait(removal, 60)
    with pytest.raises(LookupError, match="no socket named 'leave'"):
        accepted[0]


def test_a_result_that_came_before_the_client_was_back_is_told_all_the_same(wired: Flow, marks: Marks) -> None:
    client = wired.client
    # who waited for a result asks for the next with the submit itself
    assert client.finished(client.submit([("leave", {"text": client.dump("first")})])[0]).result(60)["state"] == "done"
    os.kill(wired.engine, signal.SIGSTOP)
    accepted = client.submit([("leave", {"text": client.dump("second")})])
    with client._lock:
        # while this one cannot come back, another client's engine runs what is in the log
        kill(wired.engine)
        other = Flow(wired.folder)
        marks.reach(2)
        other.drained()
    try:
        assert client.finished(accepted[0]).result(60)["state"] == "done"
    finally:
        other.end()


def test_the_identity_of_a_client_that_lives_cannot_be_taken(wired: Flow, marks: Marks) -> None:
    client = wired.client
    hello = {
        "k": "hello", "n": 0, "protocol": PROTOCOL, "client": client.id, "secret": "", "python": PYTHON,
        "executable": sys.executable,
    }  # fmt: skip
    value = client.dump("stranger")
    row = {"k": "submit", "n": 1_000_000, "rows": [["leave", {"text": value.head()}]], "logged": True}
    line = connect(wired.folder, 30)
    assert line is not None
    with line:
        line.sendall(encode(hello) + encode(row, [value.data or b""]))
        reader = FrameReader()
        while not (frames := reader.feed(line.recv(1 << 16))):
            pass
        assert "identity of another" in frames[0][0]["error"]["message"]
    # what it would have suppressed is taken
    assert client.finished(client.submit([("leave", {"text": client.dump("mine")})])[0]).result(60)["state"] == "done"
    assert marks.lines == ["mine"]


def size(text: str) -> int:
    return len(text)


def states(flow: Flow, ids: Sequence[int]) -> list[str]:
    return [flow.client.finished(i).result(60)["state"] for i in ids]


def test_where_a_log_cannot_be_mapped_it_is_written_and_nothing_is_lost(
    make_flow: Callable[..., Flow], marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_log, "networked", lambda folder: True)
    flow, path = make_flow(), str(marks)

    def leave(text: object) -> None:
        mark(path, text)

    flow.socket(leave)
    assert not flow.client._open_log().mapped
    first = [flow.client.submit([("leave", {"text": flow.client.dump(i)})]) for i in range(N)]
    assert states(flow, [one[0] for one in first]) == ["done"] * N
    os.kill(flow.engine, signal.SIGSTOP)
    more = [flow.client.submit([("leave", {"text": flow.client.dump(i)})]) for i in range(N, 2 * N)]
    kill(flow.engine)
    assert states(flow, [one[0] for one in more]) == ["done"] * N
    assert sorted(map(int, marks.lines)) == list(range(2 * N))


@pytest.mark.parametrize("mapped", [True, False])
def test_a_log_begins_anew_once_all_in_it_is_answered_and_nothing_is_taken_twice(
    make_flow: Callable[..., Flow], monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    monkeypatch.setattr(submit_log, "networked", lambda folder: not mapped)
    flow = make_flow()
    flow.socket(size)
    text = {"text": flow.client.dump("x" * 60_000)}
    ids: list[int] = []
    for n in (3, 30, 1, 8):
        ids += [i for some in [flow.client.submit([("size", text)]) for _ in range(n)] for i in some]
        assert states(flow, ids[-n:]) == ["done"] * n
    assert len(set(ids)) == 42
    log = flow.client._open_log()
    wait_until(lambda: log.held < submit_log.ROOM_BYTES // 2)
    assert log.end > 42 * 60_000
    assert log.path.stat().st_size <= submit_log.ROOM_BYTES
    # what was left in it is read by the next engine, and known to be taken
    kill(flow.engine)
    assert flow.client.submit([("size", text)])[0] not in ids
    assert flow.count("size")["done"] + flow.count("size")["queued"] == 43


def test_a_submit_waits_while_a_stopped_engine_is_far_behind_and_goes_on_with_it(wired: Flow, marks: Marks) -> None:
    big = {"text": wired.client.dump("x" * 60_000)}
    submitted: list[Sequence[int]] = []
    os.kill(wired.engine, signal.SIGSTOP)

    def submit() -> None:
        for _ in range(60):
            submitted.append(wired.client.submit([("leave", big)]))

    submitting = background(submit, "submits")
    wait_until(lambda: wired.client._open_log().full)
    held = wired.client._open_log().held
    assert held < 2 * submit_log.MOST_BYTES
    assert not submitting.done()
    os.kill(wired.engine, signal.SIGCONT)
    submitting.result(60)
    assert states(wired, [some[0] for some in submitted]) == ["done"] * 60
    assert len(marks.lines) == 60


def requests_in(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "flow.db")) as db:
        open_lots.show(db)
        return int(db.execute("SELECT count(*) FROM request").fetchone()[0])


@pytest.mark.parametrize("seen", [False, True])
def test_of_many_calls_that_are_accepted_together_a_killed_engine_loses_none(
    make_flow: Callable[..., Flow], seen: bool
) -> None:
    flow = make_flow()
    flow.socket(echo)
    flow.client.ask("pause", {"sockets": ["echo"]})
    os.kill(flow.engine, signal.SIGSTOP)
    n = 3 * LOT_CALLS + 5
    accepted = flow.client.submit([("echo", {"x": flow.client.dump(i)}) for i in range(n)])
    if seen:
        # some of it is taken in, perhaps
        os.kill(flow.engine, signal.SIGCONT)
        wait_until(lambda: requests_in(flow.folder))
    kill(flow.engine)
    ids = accepted.ids(SECONDS)
    assert sorted(ids) == sorted(set(ids))
    assert flow.count("echo")["queued"] == requests_in(flow.folder) == n
    flow.client.ask("resume", {"sockets": ["echo"]})
    asked = [0, 1, LOT_CALLS, n - 1]
    rows = [flow.client.finished(ids[at]).result(SECONDS) for at in asked]
    assert [flow.client.load(row["value"]) for row in rows] == asked


def test_a_call_does_not_wait_until_all_that_another_client_has_submitted_is_taken_in(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow()
    flow.socket(echo)
    flow.client.ask("pause", {"sockets": ["echo"]})
    other = Client.open(flow.folder, flow.folder.name, **flow.options)
    value = flow.client.dump(1)
    os.kill(flow.engine, signal.SIGSTOP)
    many = flow.client.submit([("echo", {"x": value})] * (10 * LOT_CALLS))
    one = other.submit([("echo", {"x": value})])
    os.kill(flow.engine, signal.SIGCONT)
    assert one.ids(SECONDS)[0] < many.ids(SECONDS)[-1]
    other.close()
