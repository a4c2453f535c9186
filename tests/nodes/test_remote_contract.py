"""What holds for the local agent holds for one behind a link: the same tests, on a node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cloudpickle
import pytest

from tests.nodes import test_calls, test_contract, test_failures, test_output, test_stopping
from tests.nodes.far import FarRig
from tests.nodes.rig import Rig

MODULES = (test_calls, test_contract, test_failures, test_output, test_stopping)
DIFFERENT = {
    "test_cancel_of_a_queued_call_ends_it_without_running",  # not before the call returns: it is a message
    "test_task_is_sent_once_and_again_when_the_worker_had_to_forget_it",  # there, and not asked for here again
}
INSIDE = {
    # of a worker alone, which is the same there
    "test_task_of_any_kind_gives_its_result",
    "test_worker_goes_on_after_a_call_that_raises",
    "test_worker_survives_whatever_is_done_to_its_streams",
    "test_output_below_python_never_blocks_the_task",
    "test_forked_child_prints_and_leaves_the_worker_alone",
    "test_descriptors_and_child_processes_are_heard_too",
    "test_rewritten_line_is_folded_into_its_last_state",
    "test_cancel_ends_a_loop_in_c",
    "test_call_that_goes_on_after_the_interrupt_is_killed_after_the_grace",
}
for _module in MODULES:
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and _name not in DIFFERENT | INSIDE:
            globals()[_name] = _test


@pytest.fixture
def by_value() -> Iterator[None]:
    for module in MODULES:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in MODULES:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
async def rig(tmp_path: Path, by_value: None) -> AsyncIterator[Rig]:
    rig = FarRig(tmp_path, tmp_path)
    yield rig
    await rig.finish()
