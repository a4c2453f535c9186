"""Joins by order, by the newest, by key; held arguments; values that may wait only so long: words and engines."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from ec_jupyter.errors import ArgumentsError, DeclarationError, JoinExpiredError, WiringError
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine

SOCKETS = """
flow = ec.flow()
@ec.socket
def left(x): return x
@ec.socket
def right(x): return x
"""
PLUGS = """
flow.plug("left", "pair.one")
flow.plug("right", "pair.two")
"""


def wired(shell: Any, magic: str, plugs: str = PLUGS) -> Any:
    """A shell whose flow joins two sockets' results in `pair`, declared by `magic`."""
    shell.run(SOCKETS)
    shell.run(f"{magic}\ndef pair(one, two): return (one, two)")
    shell.run(plugs)
    return shell


def feed(shell: Any, *calls: tuple[str, Any]) -> None:
    """Submit one by one, each when the one before is done."""
    for socket, value in calls:
        shell.run(f"flow.submit({socket!r}, {value!r}).result(60)")
    shell.run("flow.wait()")


def pairs(shell: Any) -> list[Any]:
    return shell.run("[r.result(60) for r in flow.requests('pair', state='done')]")


def anew(shell: Any) -> None:
    """Kill the engine; the next word finds another."""
    os.kill(shell.run("flow._client.engine_pid"), signal.SIGKILL)


def test_zip_pairs_in_order_of_arrival_over_killed_engines(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --join zip")
    feed(loaded, ("left", 1), ("left", 2), ("left", 3))
    anew(loaded)
    feed(loaded, ("right", 10))
    anew(loaded)
    feed(loaded, ("right", 20))
    assert pairs(loaded) == [(1, 10), (2, 20)]
    (row,) = loaded.run("flow.waiting('pair')")
    assert (row.value(), row.missing) == (3, ["two"])
    # each call of a zip is a run of its own
    assert loaded.run("len({r.run.id for r in flow.requests('pair')})") == 2


def test_latest_takes_the_newest_and_on_says_what_makes_calls(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --join latest --on one")
    feed(loaded, ("right", 1), ("right", 2), ("left", "a"))
    anew(loaded)
    feed(loaded, ("right", 3), ("left", "b"), ("left", "c"))
    assert pairs(loaded) == [("a", 2), ("b", 3), ("c", 3)]
    assert loaded.run("len(flow.waiting('pair'))") == 0


def test_equal_keys_meet_whatever_came_first_over_killed_engines(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --key \"value['day']\"")
    feed(loaded, ("left", {"day": "Mon", "n": 1}), ("left", {"day": "Tue", "n": 2}))
    anew(loaded)
    feed(loaded, ("right", {"day": "Tue", "n": 3}), ("right", {"day": "Sun", "n": 4}))
    assert [(one["n"], two["n"]) for one, two in pairs(loaded)] == [(2, 3)]
    # brought by hand, a value takes the key of what waits for it
    loaded.run("flow.supply('pair', two='by hand')")
    loaded.run("flow.wait()")
    assert pairs(loaded)[-1] == ({"day": "Mon", "n": 1}, "by hand")


def test_elements_of_a_map_have_keys_each(loaded: Any) -> None:
    loaded.run(SOCKETS)
    loaded.run("@ec.socket(key=lambda value: value % 3)\ndef pair(one, two): return (one, two)")
    loaded.run("flow.plug('left', 'pair.one', map=True); flow.plug('right', 'pair.two')")
    feed(loaded, ("left", [0, 1, 2]), ("right", 7))
    assert pairs(loaded) == [(1, 7)]


def test_what_is_no_key_fails_the_call_it_came_of(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --key value/2")
    request = loaded.run("flow.submit('left', 1)")
    with pytest.raises(Exception, match=r"a key is a str, int, bytes, bool, None or a tuple of these, not float"):
        request.result(60)


def test_a_held_value_serves_every_later_call_over_killed_engines(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --hold two")
    feed(loaded, ("left", 1))
    assert pairs(loaded) == []
    feed(loaded, ("right", "model 1"), ("left", 2))
    anew(loaded)
    feed(loaded, ("left", 3), ("right", "model 2"), ("left", 4))
    assert pairs(loaded) == [(1, "model 1"), (2, "model 1"), (3, "model 1"), (4, "model 2")]
    loaded.run("flow.supply('pair', two='by hand')")
    feed(loaded, ("left", 5))
    assert pairs(loaded)[-1] == (5, "by hand")


def test_a_value_that_waited_too_long_fails_its_call_and_a_retry_waits_again(loaded: Any, wait_until: Any) -> None:
    wired(loaded, "%%ec_socket --wait 0.2")
    loaded.run("flow.submit('left', 1).result(60)")
    wait_until(lambda: loaded.run("flow.requests('pair', state='failed')"))
    (failed,) = loaded.run("flow.requests('pair', state='failed')")
    with pytest.raises(JoinExpiredError, match=r"two of 'pair' did not come within 0\.2 s"):
        failed.result(60)
    loaded.run("flow['pair']; ec.flow().declare(pair, wait=None)")
    loaded.run("flow.retry('pair')")
    (waits,) = loaded.run("flow.waiting('pair')")
    assert (waits.value(), waits.missing) == (1, ["two"])
    feed(loaded, ("right", 2))
    assert pairs(loaded) == [(1, 2)]


def test_the_time_a_value_may_wait_goes_on_while_no_engine_runs(loaded: Any, wait_until: Any) -> None:
    wired(loaded, "%%ec_socket --wait 0.5")
    loaded.run("flow.submit('left', 1).result(60)")
    anew(loaded)
    wait_until(lambda: loaded.run("flow.requests('pair', state='failed')"))


@each_of(
    ("words", "message"),
    [
        ("hold=['one', 'two']", "'pair' holds all its arguments"),
        ("hold='tow'", "did you mean 'two'"),
        ("on='one'", r"on= says which arguments make calls with join='latest'"),
        ("join='latest', wait=3", "wait= has no meaning with join='latest'"),
        ("join='latest', on='one', hold='one'", "'one' is held, so it makes no call"),
        ("join='zipp'", "did you mean 'zip'"),
        ("wait=0", "wait= takes seconds over 0"),
        ("key='value', join='zip'", "by key or join='zip', not both"),
    ],
)
def test_words_that_do_not_go_together_are_refused(loaded: Any, words: str, message: str) -> None:
    loaded.run(SOCKETS)
    with pytest.raises(DeclarationError, match=message):
        loaded.run(f"@ec.socket({words})\ndef pair(one, two): return (one, two)")


def test_how_a_socket_joins_is_not_changed_under_what_waits(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --join zip")
    feed(loaded, ("left", 1))
    with pytest.raises(WiringError, match=r"1 value waits at 'pair', so how it joins cannot change"):
        loaded.run("flow.declare(pair, join='latest')")
    loaded.run("flow.discard(flow.waiting('pair')[0])")
    loaded.run("flow.declare(pair, join='latest')")
    loaded.run("flow.undo()")
    feed(loaded, ("left", 2), ("right", 20))
    assert pairs(loaded) == [(2, 20)]


def test_a_list_of_one_run_cannot_be_gathered_where_runs_do_not_decide(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --join zip", "flow.plug('left', 'right.x', map=True)")
    with pytest.raises(WiringError, match="put a socket between them that gathers"):
        loaded.run("flow.plug('right', 'pair.one', gather=True)")


@each_of(
    ("options", "why"),
    [
        ("--key value", "it joins by key"),
        ("--join latest", "it joins by latest"),
        ("--hold one", "'one' is held there"),
    ],
)
@each_of("partial", [True, False])
def test_a_submit_that_cannot_wait_for_the_rest_is_refused_at_once(
    loaded: Any, options: str, why: str, partial: bool
) -> None:
    wired(loaded, f"%%ec_socket {options}")
    error = loaded.fail(f"flow.submit('pair', one=1, partial={partial})")
    assert isinstance(error, ArgumentsError)
    assert str(error) == f"'pair' lacks 'two'; {why}, so give all arguments, or bring values with flow.supply"
    assert loaded.run("len(flow.requests())") == 0


def test_a_submit_need_not_bring_what_is_held(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --hold two")
    loaded.run("first = flow.submit('pair', one=1)")
    feed(loaded, ("right", "kept"))
    assert loaded.run("[r.result(60) for r in (first, flow.submit('pair', one=2))]") == [(1, "kept"), (2, "kept")]


def test_a_request_cancelled_while_it_waits_in_a_zip_takes_its_value_along(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --join zip")
    request = loaded.run("flow.submit('pair', one='mine', partial=True)")
    loaded.run("flow.wait()")
    request.cancel()
    assert loaded.run("len(flow.waiting('pair'))") == 0
    feed(loaded, ("left", 1), ("right", 2))
    assert pairs(loaded) == [(1, 2)]
    request.retry()
    feed(loaded, ("right", 3))
    assert request.result(60) == ("mine", 3)


def test_a_cleared_flow_holds_nothing_any_more(loaded: Any) -> None:
    wired(loaded, "%%ec_socket --hold two")
    feed(loaded, ("right", "old"), ("left", 1))
    loaded.run("flow.clear()")
    feed(loaded, ("left", 2))
    assert pairs(loaded) == []
    feed(loaded, ("right", "new"))
    assert pairs(loaded) == [(2, "new")]
