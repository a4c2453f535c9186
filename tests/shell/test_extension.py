"""Loading the extension, and magics that go wrong before any engine is asked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError

from ec_jupyter.errors import MagicUsageError
from ec_jupyter.notebook.config import EC, settings
from ec_jupyter.notebook.lines import call_arguments, ends, submit_options

pytestmark = pytest.mark.shared_engine

MAGICS = [
    "ec_answer",
    "ec_ask",
    "ec_cancel",
    "ec_clear_cache",
    "ec_cron",
    "ec_debug",
    "ec_every",
    "ec_flow",
    "ec_gc",
    "ec_group",
    "ec_keep",
    "ec_log",
    "ec_node",
    "ec_pause",
    "ec_pipeline",
    "ec_plug",
    "ec_processor",
    "ec_redo",
    "ec_replay",
    "ec_requests",
    "ec_resume",
    "ec_retry",
    "ec_schedules",
    "ec_sleep",
    "ec_socket",
    "ec_statistics",
    "ec_status",
    "ec_stop",
    "ec_story",
    "ec_submit",
    "ec_undo",
    "ec_ungroup",
    "ec_unplug",
    "ec_unschedule",
    "ec_wait",
    "ec_waiting",
]


def ours(shell: Any) -> list[str]:
    """Names of the magics that are ours."""
    kinds = shell.ip.magics_manager.magics.values()
    return sorted(name for kind in kinds for name in kind if name.startswith("ec_"))


def test_loading_prints_nothing_and_starts_nothing(
    shell: Any, notebook_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shell.run("%load_ext ec_jupyter")
    assert capfd.readouterr() == ("", "")
    assert ours(shell) == MAGICS
    assert list(notebook_folder.iterdir()) == []
    shell.run("%unload_ext ec_jupyter")


def test_unloading_leaves_nothing_of_ours(shell: Any) -> None:
    matchers = list(shell.ip.Completer.custom_matchers)
    callbacks = {event: list(found) for event, found in shell.ip.events.callbacks.items()}
    shell.run("%load_ext ec_jupyter")
    shell.run("%unload_ext ec_jupyter")
    assert ours(shell) == []
    assert "FlowMagics" not in shell.ip.magics_manager.registry
    assert shell.ip.Completer.custom_matchers == matchers
    assert not any(isinstance(part, EC) for part in shell.ip.configurables)
    assert {event: list(found) for event, found in shell.ip.events.callbacks.items()} == callbacks


def test_loading_loads_neither_flow_nor_networkx_nor_widgets() -> None:
    code = (
        "import sys; from tests.conftest import Shell; s = Shell(); s.run('%load_ext ec_jupyter');"
        "print([m for m in ('networkx', 'ipywidgets', 'loky', 'pandas', 'tqdm', 'ec_jupyter.notebook.flow') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_settings_can_be_seen_and_set(loaded: Any) -> None:
    loaded.run("%config EC.cpus = 3")
    assert settings().cpus == 3
    with pytest.raises(TraitError, match="at least 1, not 0"):
        settings().cpus = 0


def test_help_of_a_magic_shows_its_options_and_an_example(loaded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    loaded.run("%%ec_socket?")
    shown = capsys.readouterr().out
    assert "%ec_socket [-p PROC]" in shown
    assert "--retries" in shown
    assert "def add_two(one, two)" in shown


def test_an_unknown_option_names_the_nearest_and_runs_nothing(loaded: Any) -> None:
    error = loaded.fail("%%ec_socket --cpu 2\nran = True\ndef f(): pass")
    assert isinstance(error, MagicUsageError)
    assert str(error) == "%ec_socket: no option '--cpu'; did you mean '--cpus'?"
    assert "ran" not in loaded.names


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = 1", "the cell defines no function"),
        ("", "the cell defines no function"),
        ("def f(): pass\ndef g(): pass", "the cell defines f, g; say which"),
    ],
)
def test_a_cell_without_one_function_runs_nothing(loaded: Any, body: str, message: str) -> None:
    error = loaded.fail(f"%%ec_socket\nran = True\n{body}")
    assert isinstance(error, MagicUsageError)
    assert message in str(error)
    assert "ran" not in loaded.names


def test_a_syntax_error_shows_only_the_cells_own_lines(loaded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    error = loaded.fail("%%ec_socket\ndef f(:\n    pass")
    assert isinstance(error, MagicUsageError)
    shown = capsys.readouterr().out
    assert "SyntaxError" in shown
    assert "def f(:" in shown
    assert "line 2" in shown
    assert len(shown.splitlines()) <= 8
    assert "interactiveshell" not in shown


def test_an_error_of_ours_is_one_line(loaded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    loaded.fail("%ec_plug only_one")
    shown = capsys.readouterr().out
    assert shown.startswith("MagicUsageError: ec_plug: ")
    assert len(shown.strip().splitlines()) == 1


def test_arguments_are_python_with_or_without_commas() -> None:
    space = {"x": 3}
    assert call_arguments("1, two=x + 1", space) == ([1], {"two": 4})
    assert call_arguments("one=1 two=x + 1", space) == ([], {"one": 1, "two": 4})
    assert call_arguments("one=[1, 2] two='a b=c'", space) == ([], {"one": [1, 2], "two": "a b=c"})
    assert call_arguments("one=x == 3", space) == ([], {"one": True})
    assert call_arguments("", space) == ([], {})
    assert call_arguments("1 x two='a b'", space) == ([1, 3], {"two": "a b"})
    for wrong in ("one=", "1 +", "*x"):
        with pytest.raises(MagicUsageError):
            call_arguments(wrong, space)
    with pytest.raises(MagicUsageError, match="no option '--prio'; did you mean '--priority'"):
        call_arguments("one=1 --prio 3", space)


@pytest.mark.parametrize(
    ("line", "options", "rest"),
    [
        ("--id x --partial add one=1", {"id": "x", "partial": True}, "add one=1"),
        ("add one=1 --id x --partial", {"id": "x", "partial": True}, "add one=1"),
        ("--delay=2h add one=[1, 2]   --priority -5 ", {"delay": "2h", "priority": "-5"}, "add one=[1, 2]"),
        ("add --at '2030-01-31 06:00'", {"at": "2030-01-31 06:00"}, "add"),
        ("add one='a --id b'", {}, "add one='a --id b'"),
        ("add one=1 --idle x", {}, "add one=1 --idle x"),
    ],
)
def test_options_of_a_submit_stand_before_or_after_the_rest(line: str, options: dict[str, Any], rest: str) -> None:
    assert submit_options(line) == (options, rest)


def test_a_wrong_expression_of_a_submit_is_shown_and_nothing_of_ours(loaded: Any, capsys: Any) -> None:
    loaded.fail("%ec_submit add one=1 two=nobody + 1")
    shown = re.sub("\x1b[^m]*m", "", capsys.readouterr().out)
    assert "----> 1 nobody + 1" in shown
    assert "lines.py" not in shown


def test_a_mistyped_flow_is_named_and_not_made(loaded: Any, notebook_folder: Path) -> None:
    loaded.run("import ec_jupyter as ec; ec.flow('flights')")
    for line in ("%ec_status --flow flihgts", "%ec_submit add one=1 --flow flihgts", "%ec_cancel --flow flihgts 3"):
        error = loaded.fail(line)
        assert str(error) == "no flow 'flihgts' beside this notebook; did you mean 'flights'?"
    assert [path.name for path in (notebook_folder / ".ec_jupyter").iterdir()] == ["flights"]


def test_an_arrow_needs_no_spaces() -> None:
    assert ends("a->b.c --on error") == ends("a -> b.c --on error") == ends("a b.c --on error")


def test_options_complete_on_a_magics_line(loaded: Any) -> None:
    assert loaded.completions("%%ec_socket f --re", "%%ec_socket f --re\ndef f(): pass") == ["--retries"]


def test_completion_leaves_other_lines_alone(loaded: Any) -> None:
    loaded.run("value = 'x'")
    assert any("upper" in text for text in loaded.completions("value.upp"))
