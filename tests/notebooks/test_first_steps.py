"""The small notebook."""

from __future__ import annotations

from pathlib import Path

from tests.notebooks.execution import Execution, read_outputs, shipped, shown


def test_first_steps_add_each_pair_once(tmp_path: Path) -> None:
    execution = Execution(tmp_path / "notebooks", "first_steps.ipynb")
    executed = execution.run()
    execution.stop_engines()
    assert shown(executed, "sum") == "[21]"
    assert read_outputs(executed) == read_outputs(shipped("first_steps.ipynb"))


def test_first_steps_show_the_picture_to_whoever_reads_the_file() -> None:
    (picture,) = [cell for cell in shipped("first_steps.ipynb").cells if "picture" in cell.metadata.get("tags", ())]
    (output,) = picture.outputs
    assert output.data["image/svg+xml"].count("add_two") >= 1
    assert "2 waiting" in output.data["image/svg+xml"] or "2 arrived" in output.data["image/svg+xml"]
    assert "add_two(one, two) v1" in output.data["text/plain"]
