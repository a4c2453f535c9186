"""What is bounded, and what goes first: priorities, in memory."""

from __future__ import annotations

import pytest

from ec_jupyter import ask
from ec_jupyter.errors import DeclarationError


def echo(x):
    return x


def order(flow):
    """Arguments of the calls that have ended, in the order in which they began."""
    rows = sorted(flow.requests(state="done"), key=lambda row: (row["started"], row["id"]))
    return [flow.result(row["id"]) for row in rows]


# -- priorities ------------------------------------------------------------------------
def test_calls_of_a_socket_with_a_higher_priority_start_first_and_a_new_one_counts_at_once(flow):
    for name, priority in (("low", -1), ("plain", 0), ("high", 3)):
        flow.socket(echo, name, priority=priority)
    flow.client.ask("pause", {"processors": ["main"]})
    for x in range(2):
        for name in ("low", "plain", "high"):
            flow.submit(name, x=f"{name}{x}")
    flow.restart()
    flow.socket(echo, "low", priority=50)
    flow.client.ask("resume", {"processors": ["main"]})
    flow.drained()
    assert order(flow) == ["low0", "low1", "high0", "high1", "plain0", "plain1"]


def test_a_socket_that_asks_a_person_has_no_priority(flow):
    with pytest.raises(DeclarationError, match="asks a person, so priority= has no meaning"):
        flow.socket(ask("Approve?"), "approve", priority=1)
