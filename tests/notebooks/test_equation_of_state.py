"""The notebook of the equation of state, whose assertions hold the numbers."""

from __future__ import annotations

from pathlib import Path

from tests.notebooks.execution import Execution, read_outputs, shipped, shown


def test_seven_metals_have_their_sizes_and_moduli_and_one_is_fitted_again_from_its_energies(tmp_path: Path) -> None:
    execution = Execution(tmp_path / "notebooks", "equation_of_state.ipynb")
    try:
        executed = execution.run()
    finally:
        execution.stop_engines()
    assert "Pt 3.9218 276.77" in " ".join(shown(executed, "metals").split())
    assert read_outputs(executed) == read_outputs(shipped("equation_of_state.ipynb"))
