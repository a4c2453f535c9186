"""The table of a request's states: what there is no way to, and who leads out of an end."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.engine.rows import SQL
from ec_jupyter.flow.states import (
    COUNTED,
    ENDED,
    EVENTS,
    NEW,
    PERSONS,
    STATES,
    TRANSITIONS,
    Event,
    Named,
    States,
    TransitionError,
)

ENGINE = Path(__file__).parents[2] / "ec_jupyter" / "engine"


def test_each_state_is_reached_and_each_event_is_of_some_use() -> None:
    ways = nx.DiGraph((before, state) for (before, _), state in TRANSITIONS.items())
    assert nx.descendants(ways, NEW) == set(STATES)
    assert {event for _, event in TRANSITIONS} == set(EVENTS)


def test_from_each_state_a_request_can_still_be_done_but_for_those_that_are_skipped() -> None:
    ways = nx.DiGraph((before, state) for (before, _), state in TRANSITIONS.items())
    assert set(STATES) - nx.ancestors(ways, "done") == {"done", "skipped"}
    assert [event for before, event in TRANSITIONS if before == "skipped"] == []


def test_an_end_is_left_by_a_persons_word_alone_but_for_a_result_that_a_plug_cannot_take() -> None:
    leads = {(before, event) for before, event in TRANSITIONS if before in ENDED}
    assert leads - {("done", "refused")} == {(before, event) for before, event in leads if event in PERSONS}
    assert {before for before, event in TRANSITIONS if event in PERSONS} == {"failed", "cancelled"}


@pytest.mark.parametrize("before", [NEW, *STATES])
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_cannot_be_is_refused_by_name_and_changes_nothing(before: str, event: Event) -> None:
    states, request = States(), Named(7, 1, before)
    if (before, event) in TRANSITIONS:
        assert states.move(request, event) == request.state == TRANSITIONS[before, event]
        return
    with pytest.raises(TransitionError, match=f"request 7 is {before or 'new'} and cannot be {event}"):
        states.move(request, event)
    assert request.state == before
    assert not states.counts


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(EVENTS)), max_size=60))
def test_counts_are_what_the_states_of_the_requests_say(events: list[tuple[int, Event]]) -> None:
    states = States()
    requests = {number: Named(number, number % 2, NEW) for number in range(1, 7)}
    for number, event in events:
        if (requests[number].state, event) in TRANSITIONS:
            states.move(requests[number], event)
    expected: dict[int, dict[str, int]] = {}
    for request in requests.values():
        if request.state:
            row = expected.setdefault(request.socket, {})
            row[COUNTED[request.state]] = row.get(COUNTED[request.state], 0) + 1
    found = {socket: {s: n for s, n in row.items() if n} for socket, row in states.counts.items()}
    assert {socket: row for socket, row in found.items() if row} == expected


# -- the statements ------------------------------------------------------------
STATEMENTS: dict[str, tuple[Event, ...]] = {
    "fill_request": ("fired",), "strand": ("stranded",), "claim": ("claimed",),
    "again": ("returned", "tried again", "retried"),
    "finish": ("finished", "answered", "failed", "skipped", "cancelled"),
    "finish_well": ("finished", "answered"), "fail_request": ("set aside",), "fail_party": ("set aside",),
    "fail_done": ("refused",), "done_again": ("taken after all",), "give_up": ("given up",),
}  # fmt: skip
"""Statements that set the state of a request, and the events that they write down."""

OF_FOLLOWERS = {"finish_joined", "follow_again"}
"""A request that was joined to another is written as that one is."""


def setting() -> set[str]:
    """Statements that set the state of requests that are there."""
    return {name for name, sql in SQL.items() if "UPDATE request" in sql and "SET state" in sql}


def changed(name: str, before: str) -> bool:
    """Whether a statement takes a request that is in a state on disk."""
    db = sqlite3.connect(":memory:")
    db.executescript(resources.files("ec_jupyter.engine").joinpath("schema.sql").read_text())
    db.execute(
        "INSERT INTO request (id, socket, run, state, arguments, created) VALUES (1, 1, 1, ?, '{}', 0)", (before,)
    )
    sql = SQL[name]
    if ":" in sql:
        return db.execute(sql, {"error": "", "now": 0, "party": 1, "request": 1}).rowcount == 1
    # the state that it sets, and whatever else: none of it is looked at
    return db.execute(sql, [1] * sql.count("?")).rowcount == 1


def test_every_statement_that_sets_a_state_is_known_with_its_events() -> None:
    assert setting() == STATEMENTS.keys() | OF_FOLLOWERS


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_takes_the_requests_that_its_events_can_befall_and_no_other(name: str) -> None:
    taken = {before for before in STATES if changed(name, before)}
    assert taken == {before for before, event in TRANSITIONS if before and event in STATEMENTS[name]}


# -- who sets one ---------------------------------------------------------------
def assigned(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            yield from (target for target in targets if isinstance(target, ast.Attribute))


def test_no_module_of_the_engine_sets_a_requests_state_or_counts_one_itself() -> None:
    wrong = []
    for path in ENGINE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for target in assigned(tree):
            if target.attr == "state" and getattr(target.value, "id", "") in ("job", "request", "twin"):
                wrong.append(f"{path.name}:{target.lineno}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                wrong += [f"{path.name}:{node.lineno}"] if "counts" in ast.unparse(node.value) else []
    assert wrong == []
