"""What a flow's files take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ec_jupyter.engine.disk import FEW, Disk, measured


def fill(folder: Path, files: dict[str, int]) -> None:
    for name, size in files.items():
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(bytes(size))


def test_a_flows_files_are_its_database_its_values_and_its_logs_and_not_what_a_link_leads_to(tmp_path: Path) -> None:
    flow = tmp_path / "flow"
    fill(tmp_path, {"elsewhere": 10_000})
    flow.mkdir()
    fill(flow, {"flow.db": 100, "flow.db-wal": 20, "values/a": 3, "values/b": 4, "inbox/one.log": 7, "engine.log": 1})
    assert measured(flow) == {"database": 120, "values": 7, "logs": 8, "total": 135}
    (flow / "values/link").symlink_to(tmp_path / "elsewhere")
    (flow / "away").symlink_to(tmp_path)
    found = measured(flow)
    assert found is not None
    assert found["total"] < 1000


def test_the_size_of_few_files_is_told_at_once_and_stands_for_a_while(tmp_path: Path) -> None:
    fill(tmp_path, {"flow.db": 100})
    disk = Disk(tmp_path)
    assert disk.size() == {"database": 100, "values": 0, "logs": 0, "total": 100}
    fill(tmp_path, {"flow.db": 200})
    assert disk.size() == {"database": 100, "values": 0, "logs": 0, "total": 100}


def test_who_asks_for_the_size_of_many_files_does_not_wait_for_their_count(tmp_path: Path, wait_until: Any) -> None:
    fill(tmp_path, {f"values/{n}": 10 for n in range(FEW + 1)})
    disk = Disk(tmp_path)
    size = 10 * (FEW + 1)
    known = {"database": 0, "values": size, "logs": 0, "total": size}
    # the thread may be as fast as who asks
    assert disk.size() in (None, known)
    wait_until(lambda: disk.size() == known)


def test_a_folder_that_is_gone_has_no_size(tmp_path: Path) -> None:
    assert Disk(tmp_path / "gone").size() is None
