"""A processor as a backend of joblib: `Parallel` and scikit-learn on a flow's workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import ec_jupyter as ec
from ec_jupyter.errors import ProcessorNotFoundError

pytestmark = pytest.mark.shared_engine(pool=2)


@pytest.fixture
def flow(loaded: Any) -> Any:
    loaded.run("flow = ec.flow(); flow.processor('pool', cpus=2)")
    return loaded.names["flow"]


def where(value: int) -> tuple[int, int]:
    return value, os.getpid()


def fails_at_three(value: int) -> int:
    if value == 3:
        raise ValueError("three")
    return value


def total(array: Any) -> tuple[float, bool]:
    return float(array.sum()), isinstance(array, np.memmap)


def nested(value: int) -> list[int]:
    return Parallel(n_jobs=2)(delayed(pow)(value, n) for n in range(3))


def test_parallel_runs_its_calls_in_workers_of_the_processor(flow: ec.Flow) -> None:
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        found = Parallel()(delayed(where)(n) for n in range(40))
    assert [value for value, _ in found] == list(range(40))
    assert os.getpid() not in {pid for _, pid in found}
    assert {pid for _, pid in found} <= {request.pid for request in flow.requests(socket="pool_calls")}


def test_functions_of_the_notebook_travel(loaded: Any, flow: ec.Flow) -> None:
    loaded.run("import joblib\nfactor = 3\ndef scaled(x): return factor * x")
    loaded.run("with joblib.parallel_config('ec_jupyter', flow=flow, processor='pool'):\n"
               "    out = joblib.Parallel(n_jobs=2)(joblib.delayed(scaled)(n) for n in range(5))")  # fmt: skip
    assert loaded.names["out"] == [0, 3, 6, 9, 12]


@pytest.mark.parametrize(("asked", "given"), [(None, 2), (1, 1), (2, 2), (8, 2), (-1, 2), (-2, 1)])
def test_no_more_calls_run_than_the_processor_has_cpus(flow: ec.Flow, asked: Any, given: int) -> None:
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        assert joblib.effective_n_jobs(-1 if asked is None else asked) == given


def test_an_error_of_a_call_is_raised_and_the_rest_is_cancelled(flow: ec.Flow) -> None:
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        with pytest.raises(ValueError, match="three"):
            Parallel(batch_size=1)(delayed(fails_at_three)(n) for n in range(100))
        assert Parallel()(delayed(abs)(n) for n in [-1, -2]) == [1, 2], "and the backend goes on"
    flow.wait(60)
    requests = flow.requests(socket="pool_calls")
    assert {request.state for request in requests} <= {"done", "failed", "cancelled"}
    assert len(requests) < 100, "what had not been handed over yet never is"


def test_results_come_as_a_generator(flow: ec.Flow) -> None:
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        results = Parallel(return_as="generator")(delayed(abs)(-n) for n in range(10))
        assert next(results) == 0
        assert list(results) == list(range(1, 10))


def test_a_large_array_is_written_once_and_mapped(flow: ec.Flow, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = np.ones(500_000)
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        found = Parallel(batch_size=1)(delayed(total)(array) for _ in range(20))
    assert found == [(500_000.0, True)] * 20
    assert not list(tmp_path.glob("ec_jupyter.joblib.*")), "the file goes with the call that needed it"
    stored = sum(file.stat().st_size for file in (flow.folder / "values").iterdir())
    assert stored < array.nbytes


def test_a_parallel_inside_a_call_keeps_to_its_cpu(flow: ec.Flow) -> None:
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        assert Parallel()(delayed(nested)(n) for n in [2, 3]) == [[1, 2, 4], [1, 3, 9]]


def test_a_processor_that_is_not_there_is_named(flow: ec.Flow) -> None:
    with (
        joblib.parallel_config("ec_jupyter", flow=flow, processor="poll"),
        pytest.raises(ProcessorNotFoundError, match="did you mean 'pool'"),
    ):
        Parallel()(delayed(abs)(n) for n in range(3))


# -- scikit-learn ----------------------------------------------------------------------
def test_cross_validation_gives_the_same_scores_as_without(flow: ec.Flow) -> None:
    features, target = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500)
    alone = cross_val_score(model, features, target, cv=5)
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        scores = cross_val_score(model, features, target, cv=5, n_jobs=2)
    assert scores.tolist() == alone.tolist()
    assert {r.state for r in flow.requests(socket="pool_calls")} == {"done"}


def test_a_random_forest_is_the_same_as_without(flow: ec.Flow) -> None:
    features, target = load_digits(return_X_y=True)
    alone = RandomForestClassifier(20, random_state=0).fit(features, target)
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        forest = RandomForestClassifier(20, random_state=0, n_jobs=2).fit(features, target)
        found = forest.predict(features)
    assert (found == alone.predict(features)).all()
    assert len(flow.requests(socket="pool_calls")) >= 2


def output(program: str, folder: Path) -> str:
    """What a program prints that says nothing of errors."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


# -- being there ------------------------------------------------------------------------
@pytest.mark.parametrize("imports", ["import joblib; import ec_jupyter as ec", "import ec_jupyter as ec"])
def test_the_backend_is_known_whichever_is_imported_first(notebook_folder: Path, imports: str) -> None:
    program = f"""
{imports}
with ec.flow() as flow:
    flow.processor("pool", cpus=2)
    import joblib
    assert joblib.__spec__.loader.exec_module.__self__ is joblib.__spec__.loader
    with joblib.parallel_config("ec_jupyter", flow=flow, processor="pool"):
        print(joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(4)))
"""
    assert output(program, notebook_folder) == "[0, 1, 2, 3]\n"


def test_opening_a_flow_does_not_import_joblib(notebook_folder: Path) -> None:
    program = "import sys, ec_jupyter as ec\nwith ec.flow(): print('joblib' in sys.modules)"
    assert output(program, notebook_folder) == "False\n"
