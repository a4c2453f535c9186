"""``ec``: a flow seen, fed and steered from a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.client.launch import running
from tests.cases import each_of

EC = [sys.executable, "-c", "from ec_jupyter.cli.main import main; main()"]


# -- looking -------------------------------------------------------------------
def test_a_flow_is_listed_under_the_name_by_which_commands_know_it(shell: Any, place: Path) -> None:
    (row,) = [row for row in shell.json("list") if row["name"] == "sums"]
    assert (row["path"], row["running"], row["sockets"]) == ("sums", True, 5)
    assert "sums" in shell("list").stdout
    assert (
        shell.json("status", f"{place}/sums")["running"] == shell.json("status", f"{place}/.ec_jupyter/sums")["running"]
    )


def test_counts_and_requests_are_told_to_people_and_to_programs(shell: Any) -> None:
    done = shell.json("submit", "sums", "add_two", "one=1", "two=2", "--wait")[0]
    failed = shell.json("submit", "sums", "double", "x=13", "--wait", code=3)[0]
    assert (done["state"], done["result"], failed["state"]) == ("done", 3, "failed")
    sockets = {row["socket"]: row for row in shell.json("status", "sums")["sockets"]}
    assert sockets["add_two"]["done"] >= 1
    assert sockets["double"]["failed"] >= 1
    rows = shell.json("requests", "sums", "--state", "failed")
    assert failed["id"] in [row["id"] for row in rows]
    text = shell("requests", "sums", str(done["id"]), str(failed["id"])).stdout
    assert "ValueError: unlucky" in text
    assert "Traceback (most recent call last)" in text
    assert "add_two" in shell("status", "sums").stdout
    # how large it is: told of a flow, and in the list of them
    size = shell.json("status", "sums")["size"]
    assert size["total"] == size["database"] + size["values"] + size["logs"] > 0
    assert "MiB on disk (database " in shell("status", "sums").stdout
    (row,) = [row for row in shell.json("list") if row["name"] == "sums"]
    assert row["size"]["total"] > 0


def test_what_no_json_can_say_is_shown_as_text_and_unpickled_only_where_that_is_asked_for(shell: Any) -> None:
    row = shell.json("submit", "sums", "odd", "x=5", "--wait")[0]
    assert "result" not in row
    assert row["preview"]["text"] == "{5}"
    assert shell.json("wait", "sums", str(row["id"]), "--unpickle")[0]["preview"] == {"text": "{5}"}


def test_log_has_what_a_task_printed_and_goes_on_with_what_comes(shell: Any, place: Path) -> None:
    shell("submit", "sums", "add_two", "one=70", "two=2", "--wait")
    assert "adds 70 2" in shell("log", "sums", "--text", "ADDS").stdout
    follower = subprocess.Popen([*EC, "log", "sums", "-f", "--json", "-n", "1"], stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        follower.stdout.readline()
        shell("submit", "sums", "add_two", "one=71", "two=2")
        assert any("adds 71 2" in json.loads(line)["text"] for line in follower.stdout)
    finally:
        follower.terminate()
        follower.communicate()


def test_doctor_says_what_is_wrong_by_its_exit_code(shell: Any, place: Path) -> None:
    rows = {row["check"]: row for row in shell.json("doctor", "sums")}
    assert {rows[check]["state"] for check in ("trust", "database", "Python", "engine")} == {"good"}
    copy = place / ".ec_jupyter" / "copy"
    copy.mkdir()
    (copy / "flow.db").write_bytes(b"no database at all" * 100)
    rows = {row["check"]: row for row in shell.json("doctor", "copy", code=1)}
    assert (rows["trust"]["state"], rows["database"]["state"]) == ("bad", "bad")
    (copy / "flow.db").unlink()
    copy.rmdir()


# -- giving work -----------------------------------------------------------------
def test_values_are_json_a_text_where_the_task_takes_one_or_a_file(shell: Any, place: Path) -> None:
    (place / "x.json").write_text("[1, 2]")
    assert shell.json("submit", "sums", "hello", "name=Ann B.", "--wait")[0]["result"] == "hello Ann B."
    assert shell.json("submit", "sums", "double", "x=@x.json", "--wait")[0]["result"] == [1, 2, 1, 2]
    read = shell("submit", "sums", "double", "x=@-", "--wait", "--json", typed='"ab"')
    assert json.loads(read.stdout)[0]["result"] == "abab"


def test_the_same_id_is_the_same_request(shell: Any) -> None:
    one, same = (shell("submit", "sums", "double", "x=1", "--id", "monday").stdout for _ in range(2))
    assert one == same


def test_a_call_for_later_starts_at_its_time(shell: Any) -> None:
    request = shell("submit", "sums", "double", "x=5", "--delay", "1d").stdout.strip()
    assert shell.json("requests", "sums", request)[0]["state"] == "delayed"
    shell("cancel", "sums", request)
    assert shell.json("submit", "sums", "double", "x=5", "--at", "2020-01-31 06:00", "--wait")[0]["result"] == 10


def test_who_waits_is_told_by_the_exit_code_what_came_of_it(shell: Any) -> None:
    good, bad = (shell("submit", "sums", "double", f"x={x}").stdout.strip() for x in (4, 13))
    assert shell.json("wait", "sums", good)[0]["result"] == 8
    assert [row["state"] for row in shell.json("wait", "sums", good, bad, code=3)] == ["done", "failed"]
    asked = shell("submit", "sums", "approve", "value=1").stdout.strip()
    assert f"request {asked} has not ended" in shell.refused("wait", "sums", asked, "--timeout", "0.1", code=4)
    shell("answer", "sums", asked, "yes")
    assert shell.json("wait", "sums", asked)[0]["result"] == "yes"
    assert "was answered" in shell.refused("answer", "sums", asked, "no")


def test_who_interrupts_a_wait_is_told_what_goes_on_and_how_to_wait_again(shell: Any) -> None:
    shell("pause", "sums", "double")
    request = shell("submit", "sums", "double", "x=6").stdout.strip()
    # from within, once the wait has long begun
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    said = shell.refused("wait", "sums", request, code=130)
    assert said == f"the wait ended, request {request} goes on; ec wait sums {request} waits again"
    shell("resume", "sums")
    assert shell.json("wait", "sums", request)[0]["result"] == 12


def test_who_interrupts_a_log_that_is_followed_ends_it(shell: Any) -> None:
    shell("submit", "sums", "add_two", "one=1", "two=2", "--wait")
    pipe = subprocess.PIPE
    follower = subprocess.Popen([*EC, "log", "sums", "-f"], stdout=pipe, stderr=pipe, text=True)
    assert follower.stdout is not None
    follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    assert (follower.communicate()[1], follower.returncode) == ("", 0)


def test_what_waits_for_company_is_listed_until_it_is_cancelled(shell: Any) -> None:
    said = shell.refused("submit", "sums", "add_two", "one=1")
    assert said == "'add_two' lacks 'two'; give it, or say --partial if it will come from elsewhere"
    said = shell.refused("submit", "sums", "add_two", "one=1", "two=2", "--delay", "1h", "--at", "2040-01-01")
    assert said.startswith("a submit: --delay and --at both say when it may start")
    request = int(shell("submit", "sums", "add_two", "one=1", "--partial").stdout)
    (row,) = [row for row in shell.json("waiting", "sums", "--socket", "add_two") if row["request"] == request]
    assert row["missing"] == ["two"]
    assert shell.json("cancel", "sums", str(request)) == {"cancelled": 1}


def test_retry_names_what_runs_again(shell: Any) -> None:
    bad = shell.json("submit", "sums", "double", "x=13", "--wait", code=3)[0]["id"]
    assert shell.json("retry", "sums", str(bad)) == {"ids": [bad]}
    assert shell.json("wait", "sums", str(bad), code=3)[0]["state"] == "failed"


def test_a_paused_socket_starts_nothing_until_it_is_resumed(shell: Any) -> None:
    shell("pause", "sums", "double")
    request = shell("submit", "sums", "double", "x=2").stdout.strip()
    said = shell.refused("wait", "sums", request, "--timeout", "0.1", code=4)
    assert said == f"request {request} has not ended; socket 'double' is paused; it goes on"
    assert shell.json("requests", "sums", request)[0]["state"] == "queued"
    shell("resume", "sums")
    assert shell.json("wait", "sums", request)[0]["result"] == 4


def test_waiting_for_all_tells_what_is_left(shell: Any) -> None:
    shell.json("submit", "sums", "double", "x=13", "--wait", code=3)
    left = shell.json("wait", "sums", code=3)
    assert left["failed"] >= 1
    assert "nothing is queued or running" in shell("wait", "sums", code=3).stdout
    assert set(shell.json("gc", "sums")) == {"files", "bytes"}


# -- what cannot be done -----------------------------------------------------------
@each_of(
    ("words", "code", "said"),
    [
        (["status", "sum"], 1, "no flow 'sum'"),
        (["submit", "sums", "double", "x=1", "--delay", "soon"], 1, "soon"),
        (["submit", "sums", "duble", "x=1"], 1, "did you mean 'double'?"),
        (["submit", "sums", "double", "y=1"], 1, "double"),
        (["submit", "sums", "double", "x=1", "x=2"], 1, "'double' got argument 'x' twice"),
        (["export", "sums", "-o", "nowhere/sums.py"], 1, "Could not open file 'nowhere/sums.py': No such file"),
        (["submit", "sums", "double", "x"], 1, "'x' is no ARGUMENT=VALUE; 'double' takes x"),
        (["submit", "sums", "double", "x=abc"], 1, "argument 'x': 'abc' is no JSON"),
        (["submit", "sums", "double", "x=@nowhere"], 1, "the file 'nowhere' cannot be read"),
        (["submit", "sums", "add_two", "one=1"], 1, "two"),
        (["wait", "sums", "999999"], 1, "no request 999999"),
        (["pause", "sums", "duble"], 1, "did you mean 'double'?"),
        (["log", "sums", "--socket", "duble"], 1, "did you mean 'double'?"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(shell: Any, words: list[str], code: int, said: str) -> None:
    before = len(shell.json("requests", "sums"))
    assert said in shell.refused(*words, code=code)
    assert len(shell.json("requests", "sums")) == before


@each_of(
    "words", [["retry", "sums"], ["cancel", "sums", "1", "--all"], ["requests", "sums", "--state", "dead"], ["nope"]]
)
def test_a_command_that_cannot_be_read_ends_with_two(shell: Any, words: list[str]) -> None:
    assert "Error:" in shell(*words, code=2).stderr


# -- completion, life --------------------------------------------------------------
@each_of(("words", "last"), [("ec s", "status"), ("ec status su", "sums"), ("ec submit sums a", "add_two")])
def test_a_shell_completes_commands_flows_and_sockets(shell: Any, place: Path, words: str, last: str) -> None:
    n = len(words.split()) - 1
    said = {"_EC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(n)}
    done = subprocess.run(EC, env={**os.environ, **said}, capture_output=True, text=True, check=True)
    assert last in [line.rpartition(",")[2] for line in done.stdout.split()]


def test_it_is_a_command_of_jupyter_too() -> None:
    jupyter = Path(sys.executable).parent / "jupyter"
    done = subprocess.run([str(jupyter), "ec", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: jupyter ec ")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_a_shell(shell: Any, name: str) -> None:
    assert "_EC_COMPLETE" in shell("completion", name).stdout


def test_a_flow_that_was_stopped_is_looked_at_without_being_started(shell: Any, place: Path, wait_until: Any) -> None:
    done = shell.json("submit", "sums", "double", "x=3", "--wait")[0]["id"]
    shell("stop", "sums")
    wait_until(lambda: not running(place / ".ec_jupyter" / "sums"))
    at_rest = shell.json("status", "sums")
    assert at_rest["counts"]["done"] >= 1
    assert at_rest["size"]["total"] > at_rest["size"]["database"] > 0
    assert " on disk (database " in shell("status", "sums").stdout
    assert shell.json("requests", "sums", str(done))[0]["state"] == "done"
    assert "'sums' is stopped; start it" in shell.refused("requests", "sums")
    assert [row["running"] for row in shell.json("list") if row["name"] == "sums"] == [False]
    assert not running(place / ".ec_jupyter" / "sums")
    assert shell.json("submit", "sums", "double", "x=4", "--wait")[0]["result"] == 8
    shell("stop", "sums")
    wait_until(lambda: not running(place / ".ec_jupyter" / "sums"))
    shell("start", "sums")
    assert running(place / ".ec_jupyter" / "sums")


# -- a service -----------------------------------------------------------------
def test_a_service_is_written_with_what_lets_it_take_effect_and_taken_away(
    shell: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = shell("install-service", "sums", "--cpus", "2").stdout
    (unit,) = (tmp_path / "systemd" / "user").iterdir()
    assert f"systemctl --user enable --now {unit.name}" in said
    assert f'"{place}/.ec_jupyter/sums" "--cpus" "2"' in unit.read_text()
    assert f"systemctl --user disable --now {unit.name}" in shell("install-service", "sums", "--remove").stdout
    assert not unit.exists()
