"""What a person types for calls that are to come later."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.client import launch, service
from ec_jupyter.errors import ArgumentsError, DeclarationError, EcError
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine

CELL = """
flow = ec.flow()
@ec.socket
def echo(x): return x
"""


@pytest.fixture
def timed(loaded: Any) -> Any:
    """A shell with a flow of one socket."""
    loaded.run(CELL)
    return loaded


def test_a_call_for_later_is_seen_as_delayed_and_runs_at_its_time(timed: Any) -> None:
    began = time.time()
    request = timed.run("%ec_submit --delay 1h echo x=1")
    assert request.state == "delayed"
    assert request.due == pytest.approx(began + 3600, abs=60)
    assert timed.run("[r.id for r in flow.requests(state='delayed')]") == [request.id]
    (row,) = timed.run("flow.status()").rows
    assert (row["note"], row["queued"]) == ("1 waits for its time", 0)
    with pytest.raises(TimeoutError, match=rf"{request.id} of 'echo' waits for its time, .*, and has not ended"):
        request.result(0.2)
    assert timed.run("flow.submit('echo', 2, delay=0.2).result(60)") == 2
    assert timed.run("flow.submit('echo', 3, at=__import__('time').time() + 0.2).result(60)") == 3
    assert timed.run("echo(1), flow['echo'].submit(4, delay='0.1s').result(60)") == (1, 4)
    assert request.cancel()
    assert (request.state, request.due) == ("cancelled", None)


@each_of(
    ("words", "said"),
    [
        ("delay='soon'", r"delay= takes seconds, or a time such as '90s', '5m', '2h' or '1d', not 'soon'"),
        ("delay=-1", r"delay= takes seconds, .*, not -1"),
        ("at='tomorrow'", r"at= takes a datetime, its text such as '2030-01-31 06:00', or seconds .*, not 'tomorrow'"),
        ("delay=1, at=2", r"delay= and at= both say when it may start; give one"),
        ("delay=1, partial=True", r"delay= goes with a whole call"),
        ("callback='ftp://x'", r"callback= takes an address by http or https, .*, not 'ftp://x'"),
    ],
)
def test_what_is_no_time_is_refused_by_the_name_of_its_option_and_submits_nothing(
    timed: Any, words: str, said: str
) -> None:
    with pytest.raises(ArgumentsError, match=said):
        timed.run(f"flow.submit('echo', 1, {words})")
    assert timed.run("len(flow.requests())") == 0


@each_of(
    ("given", "seconds"),
    [
        ("'90s'", 90), ("'1h30m'", 5400), ("'1 w'", 604_800), ("__import__('datetime').timedelta(days=2)", 172_800),
    ],
)  # fmt: skip
def test_a_time_is_written_in_the_words_people_use(timed: Any, given: str, seconds: float) -> None:
    due = timed.run(f"flow.submit('echo', 1, delay={given}).due")
    assert due == pytest.approx(time.time() + seconds, abs=60)


def test_a_time_of_day_is_this_machines_unless_it_says_otherwise(timed: Any) -> None:
    tomorrow = (datetime.now() + timedelta(days=1)).replace(microsecond=0)
    assert timed.run(f"flow.submit('echo', 1, at='{tomorrow}').due") == tomorrow.timestamp()
    assert timed.run("flow.submit('echo', 1, at='2090-01-01T00:00+00:00').due") == 3786912000


# -- sleeps ------------------------------------------------------------------------
def test_a_value_sleeps_in_the_wiring_and_goes_on(timed: Any) -> None:
    made = timed.run("%ec_sleep nap 0.3s")
    assert repr(made).startswith("<socket nap(value)")
    timed.run("flow.plug(echo, 'nap'); flow.declare(lambda x: -x, 'after'); flow.plug('nap', 'after')")
    run = timed.run("flow.submit('echo', 5).run")
    assert run.results("after", 60) == [-5]
    timed.run("flow.socket(ec.sleep('2d'), name='nap')")
    assert timed.run("flow['nap'].task.source") == "ec.sleep(172800)"
    request = timed.run("flow.submit('nap', 1)")
    with pytest.raises(TimeoutError, match=r"of 'nap' waits for its time, .*, and has not ended after 0\.2 s"):
        request.result(0.2)
    with pytest.raises(TimeoutError, match="is at work after"):
        timed.run("%ec_wait --timeout 0.2")
    request.cancel()
    assert "ec_jupyter.sleep(172800)" in timed.run("flow.to_code()")
    timed.run("flow.save('naps.json'); other = ec.load('naps.json', 'other')")
    assert timed.run("other['nap'].task.source") == "ec.sleep(172800)"
    assert timed.run("ec.sleep(0.01)('right here')") == "right here"


@each_of(
    ("line", "said"),
    [
        ("%ec_sleep nap soon", "ec.sleep: seconds= takes seconds, or a time such as '90s', '5m', '2h' or '1d', over 0"),
        ("flow.socket(ec.sleep(1))", "a socket that sleeps needs a name: flow.socket(ec.sleep(1), name='...')"),
        ("flow.socket(ec.sleep(1), 'nap', retries=2)", "socket 'nap' sleeps, so retries= has no meaning"),
        ("flow.socket(ec.sleep(1), 'nap', signature='x')", "sleeps, so signature= has no meaning; its time is that of"),
    ],
)
def test_what_is_no_sleep_is_refused_in_one_line(timed: Any, line: str, said: str) -> None:
    error = timed.fail(line)
    assert isinstance(error, EcError)
    assert said in str(error)


# -- schedules ---------------------------------------------------------------------
TICKS = """
flow = ec.flow()
@ec.socket
def poll(folder="."): return folder
@ec.socket
def watch(folder): return folder
"""


@pytest.fixture
def ticking(loaded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A shell with something to call at times."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    loaded.run(TICKS)
    return loaded


def test_a_person_schedules_calls_sees_them_and_takes_them_away(ticking: Any) -> None:
    made = ticking.run("%ec_every 1h poll")
    assert repr(made) == "<schedule poll: every 1h>"
    assert (made.socket, made.missed) == ("poll", "once")
    assert made.next == pytest.approx(time.time() + 3600, abs=60)
    ticking.run('%ec_cron "0 6 * * 1-5" poll --zone Europe/Berlin --missed all --name morning')
    rows = ticking.run("%ec_schedules").rows
    told = [(row["name"], row["socket"], row["when"], row["missed"]) for row in rows]
    assert told == [("poll", "poll", "every 1h", "once"), ("morning", "poll", "cron 0 6 * * 1-5 Europe/Berlin", "all")]
    assert all(row["next"] for row in rows)
    assert ticking.completions("%ec_unschedule m") == ["morning"]
    assert "--missed" in ticking.completions("%ec_every 1h poll --m")
    ticking.run("%ec_unschedule morning")
    assert [one.name for one in ticking.run("flow.schedules")] == ["poll"]
    assert ticking.run("flow.undo()") == "unschedule morning"
    ticking.run("flow.schedules[1].remove(); made = flow.schedules[0]; flow.unschedule(made)")
    assert ticking.run("repr(made), len(flow.schedules)") == ("<schedule poll, taken away>", 0)


def test_a_schedule_calls_by_itself(ticking: Any, wait_until: Any) -> None:
    ticking.run("flow.every(1, poll)")
    wait_until(lambda: len(ticking.run("flow.results('poll')")) >= 2)
    ticking.run("flow.unschedule('poll')")


def test_a_schedule_is_paused_and_ticks_again_from_then_on(ticking: Any) -> None:
    made = ticking.run("%ec_every 1h poll --missed skip --paused")
    assert (repr(made), made.paused, made.next) == ("<schedule poll: every 1h, paused>", True, None)
    assert "flow.every(3600.0, 'poll', missed='skip', paused=True)" in ticking.run("flow.to_code()")
    made.resume()
    assert (made.when, made.missed, made.paused) == ("every 1h", "skip", False)
    assert made.next == pytest.approx(time.time() + 3600, abs=60)
    made.pause()
    assert ticking.run("flow.undo()") == "schedule poll: every 1h, paused"
    assert ticking.run("[row['next'] != '' for row in flow.schedules.rows]") == [True]


def test_a_copy_of_a_flow_has_its_schedules_paused(ticking: Any) -> None:
    ticking.run("flow.every('5m', poll); flow.cron('0 6 * * *', 'poll', zone='UTC', missed='all', name='dawn')")
    ticking.run("twin = flow.duplicate('twin')")
    rows = "[(row['name'], row['socket'], row['when'], row['missed']) for row in {}.schedules.rows]"
    was = ticking.run(rows.format("flow"))
    assert ticking.run(rows.format("twin")) == [(name, end, f"{when}, paused", how) for name, end, when, how in was]
    assert ticking.run("[one.next is None for one in twin.schedules]") == [True, True]
    ticking.run("for one in twin.schedules: one.resume()")
    assert ticking.run(rows.format("twin")) == was
    assert ticking.run("[one.next is None for one in twin.schedules]") == [False, False]


def test_schedules_are_written_down_and_loaded_again(ticking: Any) -> None:
    ticking.run("flow.every('5m', poll, missed='skip', paused=True)")
    ticking.run("flow.cron('0 6 * * *', 'poll', zone='UTC', name='dawn')")
    code = ticking.run("flow.to_code()")
    assert "flow.every(300.0, 'poll', missed='skip', paused=True)" in code
    assert "flow.cron('0 6 * * *', 'poll', zone='UTC', name='dawn')" in code
    wanted = ticking.run("[(r['name'], r['when'], r['missed']) for r in flow.schedules.rows]")
    ticking.run("flow.save('ticks.json'); other = ec.load('ticks.json', 'other')")
    assert ticking.run("[(r['name'], r['when'], r['missed']) for r in other.schedules.rows]") == wanted
    ticking.run(code.replace("ec.flow()", "ec.flow('third')"))
    assert ticking.run("[(r['name'], r['when'], r['missed']) for r in flow.schedules.rows]") == wanted


@each_of(
    ("line", "said"),
    [
        ("%ec_every often poll", "schedule: every= takes a time such as '90s', '5m', '2h' or '1d', at least 1 s"),
        ("%ec_every 5m watch", "'watch' needs 'folder'; give them defaults, or fix them with flow.fix"),
        ("%ec_every 5m pol", "no socket named 'pol'; did you mean 'poll'"),
        ("%ec_every 5m poll --missed never", "invalid choice: 'never'"),
        ('%ec_cron "6 * *" poll', "cron= takes five fields as cron has them"),
        ('%ec_cron "0 6 * * *" poll --zone Berlin', "zone= takes the name of a time zone"),
        ("%ec_unschedule nightly", "no schedule named 'nightly'"),
        ("flow.every('5m', 'poll', missed=1)", "missed= takes 'once', 'all' or 'skip', not 1"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_in_one_line(ticking: Any, line: str, said: str) -> None:
    error = ticking.fail(line)
    assert isinstance(error, EcError)
    assert said in str(error)
    assert "\n" not in str(error)
    assert len(ticking.run("flow.schedules")) == 0


def test_changes_of_one_edit_know_its_schedules(ticking: Any) -> None:
    changes = ("flow.every('5m', 'poll')", "flow.unschedule('poll')", "flow.every('7m', 'poll')")
    ticking.run("with flow.edit():\n    " + "\n    ".join(changes))
    assert [row["when"] for row in ticking.run("flow.schedules").rows] == ["every 7m"]


# -- a service ---------------------------------------------------------------------
def test_a_service_starts_the_engine_of_its_flow(ticking: Any, wait_until: Any) -> None:
    flow = ticking.names["flow"]
    assert not service.installed(flow.folder)
    flow.stop()
    path = service.install(flow.folder, sys.executable, ["--linger", "1"])
    assert service.installed(flow.folder)
    unit = configparser.ConfigParser(interpolation=None)
    unit.read(path)
    assert unit["Install"]["WantedBy"] == "default.target"
    assert unit["Service"]["Restart"] == "on-failure"
    command = shlex.split(unit["Service"]["ExecStart"].replace("%%", "%").replace("$$", "$"))
    engine = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: launch.running(flow.folder))
    finally:
        engine.terminate()
        assert engine.wait(60) == 0
    assert (service.remove(flow.folder), service.remove(flow.folder)) == (True, False)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "run").mkdir(mode=0o700)
    folder = tmp_path / '100% "a" $HOME' / ".ec_jupyter" / "main"
    folder.mkdir(parents=True)
    path = service.install(folder, sys.executable, ["--linger", "1", "--cpus", "2"])

    def said() -> str:
        command = ["systemd-analyze", "--user", "verify", str(path)]
        space = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")}
        return subprocess.run(command, env=space, capture_output=True, text=True, timeout=60, check=True).stderr

    assert said() == ""
    path.write_text(path.read_text().replace("on-failure", "often"))
    assert "ignoring: often" in said()


def test_a_unit_quotes_what_systemd_would_read_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / '100% "a" $HOME' / ".ec_jupyter" / "main"
    (line,) = [line for line in service.unit(folder, "/usr/bin/python3").splitlines() if line.startswith("ExecStart")]
    assert line.endswith(r'100%% \"a\" $$HOME/.ec_jupyter/main"')
    with pytest.raises(DeclarationError, match=r"cannot be written: .* has a line break in it"):
        service.install(tmp_path / "a\nb", "python3")
