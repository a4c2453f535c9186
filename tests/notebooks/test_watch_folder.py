"""The notebook that watches a folder, whose assertions hold the numbers."""

from __future__ import annotations

from pathlib import Path

from tests.notebooks.execution import Execution, read_outputs, shipped


def test_files_that_come_are_measured_once_and_what_is_odd_is_asked(tmp_path: Path) -> None:
    execution = Execution(tmp_path / "notebooks", "watch_folder.ipynb")
    try:
        executed = execution.run()
    finally:
        execution.stop_engines()
    assert read_outputs(executed) == read_outputs(shipped("watch_folder.ipynb"))
    # a schedule goes on without the notebook; this one has ended
    assert sorted(path.name for path in (tmp_path / "notebooks" / "taken").iterdir())[0] == "friday.csv"
