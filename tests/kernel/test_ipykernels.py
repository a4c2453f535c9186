"""The picture beside a cell that computes, on every release of ipykernel that there is support for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.conftest import loaded
from tests.kernel.ipykernels import OLDER, folder
from tests.kernel.pagekit import SOCKETS, VIEW, Page, shown

BLOCKS = "import os; print('blocked', flush=True); os.read(os.open('gate', os.O_RDONLY), 1)"


@pytest.fixture(params=["installed", *OLDER])
def page(request: Any, kernels: Callable[..., Any]) -> Page:
    """A page that looks at a flow with two sockets, in a kernel of one release."""
    version = request.param
    kernel = loaded(kernels() if version == "installed" else kernels(folder(version)))
    found = kernel.run("import ipykernel; ipykernel.__version__").text.strip("'")
    assert version in ("installed", found)
    kernel.run(SOCKETS)
    page = Page(kernel, shown(kernel)[VIEW]["model_id"])
    assert (page.subshell is not None) == (int(found.split(".")[0]) >= 7)
    return page


def test_beside_a_busy_cell_numbers_come_and_commands_are_answered_at_once_or_without_subshells_after_it(
    page: Page, gate: Any
) -> None:
    kernel = page.kernel
    page.hello()
    cell = kernel.begin(f"sent = flow.submit('emit', 1); {BLOCKS}; print(flow.plugs)")
    page.listen(lambda: any("blocked" in m["content"].get("text", "") for m in page.outputs))
    page.listen(lambda: page.counts()["emit"]["done"] == 1)
    assert not page.ended(cell)
    for at, (argument, target) in enumerate([("left", "join"), ("right", "join"), ("middle", "join")]):
        change = {"op": "plug", "source": "emit", "target": target, "argument": argument, "on": "result"}
        page.send(k="command", id=str(at), op="edit", args={"changes": [change]}, revision=None)
    if page.subshell is None:
        # the page calls it busy meanwhile; nothing is lost
        many = len(page.metrics)
        page.listen(lambda: len(page.metrics) >= many + 2)
        assert not page.answers
        gate.open(1)
    page.listen(lambda: len(page.answers) == 3)
    assert [page.answers[str(at)]["ok"] for at in range(3)] == [True, True, False]
    page.listen(lambda: page.graphs and len(page.graphs[-1]["plugs"]) == 2)
    if page.subshell is not None:
        assert not page.ended(cell)
        gate.open(1)
    page.listen(lambda: page.ended(cell))
    kernel.replied(cell)
    said = "".join(m["content"].get("text", "") for m in page.outputs)
    assert ("plug emit -> join.left" in said) == (page.subshell is not None)
    # what took its time comes on a thread of its own
    assert "emit" in page.ask("code")["text"]
    assert "Traceback" not in said
