"""What kills its engine through another program; and calls that are only there when engines are killed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ec_jupyter.engine.suspects import REQUEST
from tests.crash.fleetkit import World
from tests.crash.flowkit import echo, mark, passing


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime folder of this test alone: engines of others take away what the dead have left."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def kill_engine(x):
    subprocess.run(["kill", "-KILL", str(os.getppid())], check=True)
    return x


def kill_engine_at_two(x):
    return kill_engine(x) if x == 2 else x


def count(n):
    yield from range(n)


def large(marks):
    """Some 2 MB; kills its engine once it is made anew."""
    if os.path.getsize(marks):
        kill_engine(0)
    mark(marks, "made")
    return bytes(2_000_000)


def size(x):
    return len(x)


def hold(x, marks, gate):
    subprocess.run(["true"], check=True)
    mark(marks, x)
    passing(gate)
    return x


def test_a_task_that_kills_its_engine_through_another_program_is_set_aside_and_a_call_beside_it_is_not(
    flow, marks, gate
):
    flow.socket(hold)
    flow.socket(kill_engine)
    beside = flow.submit("hold", x=1, marks=str(marks), gate=str(gate))
    marks.reach(1)
    guilty = flow.submit("kill_engine", x=2)
    row = flow.row(guilty)
    assert (row["state"], row["error"]["kind"]) == ("failed", "aside")
    assert "the engine was killed 3 times while it ran alone" in row["error"]["message"]
    gate.open()
    assert flow.result(beside) == 1
    flow.ask("discard", request=guilty)
    assert flow.state(guilty) == "skipped"


def test_calls_that_run_while_engines_are_killed_by_hand_are_not_charged(flow, marks, gate):
    flow.socket(hold)
    requests = [flow.submit("hold", x=x, marks=str(marks), gate=str(gate)) for x in range(2)]
    # the third engine begins with one of them alone, and says so
    for begun in (2, 4, 5):
        marks.reach(begun)
        alone = flow.query("counts")["alone"]
        assert alone == ({} if begun < 5 else {str(requests[0]): "the engine was killed 2 times while it ran"})
        flow.kill_engine()
    marks.reach(6)
    gate.open()
    assert [flow.result(request) for request in requests] == [0, 1]
    assert flow.query("counts")["alone"] == {}


def test_a_condition_that_kills_its_engine_through_another_program_fails_the_request_with_its_plug(flow):
    flow.socket(count)
    flow.socket(echo)
    flow.plug("count", "echo.x", when=kill_engine_at_two)
    request = flow.submit("count", n=4)
    assert flow.drained()["failed"] == 1
    message = flow.row(request)["error"]["message"]
    assert message.startswith("plug 'count -> echo.x, when=when': the engine was killed 3 times while it ran")
    flow.ask("discard", request=request)
    flow.drained()
    assert flow.state(request) == "done"


def test_a_lost_value_whose_making_kills_the_engine_is_given_up_and_who_needs_it_says_so(flow, marks):
    flow.socket(large)
    flow.socket(size)
    flow.plug("large", "size.x")
    flow.ask("pause", sockets=["size"])
    flow.submit("large", marks=str(marks))
    flow.drained()
    for path in (flow.folder / "values").iterdir():
        path.unlink()
    flow.ask("resume", sockets=["size"])
    (needs,) = flow.requests(socket="size")
    assert "the engine was killed 3 times while it ran" in flow.row(needs["id"])["error"]["message"]


def test_a_request_whose_row_no_database_takes_is_named_for_the_next_engine(tmp_path):
    world = World((tmp_path / "notebook" / ".ec_jupyter" / "main").resolve())
    world.folder.parent.mkdir(parents=True)
    flow = world.open()
    flow.socket(echo)
    flow.ask("pause", names=["echo"])
    good, bad = (flow.submit("echo", x=x) for x in range(2))

    def written() -> tuple[int, int]:
        journal = world.engine.core.journal
        for request, text in ((good, "said"), (bad, "\udc80")):
            journal.add("add_output", (request, "stdout", text, 0.0))
        with pytest.raises(UnicodeEncodeError):
            world.engine.commit()
        journal.forget("add_output", lambda row: True)
        return world.engine.core.suspects.named

    assert world.do(written) == (REQUEST, bad)
    world.close(broken=True)
