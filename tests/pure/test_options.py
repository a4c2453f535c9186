"""Options: what each takes is taken, and anything else is refused with the option's name and what it takes."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ec_jupyter.errors import ArgumentsError, DeclarationError
from ec_jupyter.flow.options import OPTIONS, checked, number_of, time_limit

NEVER = ["nope", math.nan, -math.inf, {"x": 1}, [None], object(), b"1", 1j, "9" * 5000]
"""What no option takes, but those that take texts."""

BAD = [
    ("socket", "timeout", "3"),
    ("socket", "timeout", 0),
    ("socket", "timeout", -1),
    ("socket", "timeout", True),
    ("socket", "timeout", 2**70),
    ("socket", "cpus", 1.5),
    ("socket", "cpus", 0),
    ("socket", "cpus", True),
    ("socket", "cpus", 2**70),
    ("socket", "threads", 0),
    ("socket", "threads", "2"),
    ("socket", "threads", 1.5),
    ("socket", "threads", 0.05),
    ("socket", "retries", -1),
    ("socket", "retries", 1.5),
    ("socket", "retries", 2**70),
    ("socket", "backoff", -1),
    ("socket", "backoff", math.inf),
    ("socket", "memory", "1 parsec"),
    ("socket", "memory", 0),
    ("socket", "memory", 1.5),
    ("socket", "memory", "1e30 GB"),
    ("socket", "once", "yes"),
    ("socket", "fresh", 3),
    ("socket", "concurrent", 0),
    ("socket", "concurrent", 1001),
    ("socket", "concurrent", 2.5),
    ("socket", "priority", 101),
    ("socket", "priority", "high"),
    ("socket", "priority", 0.5),
    ("socket", "limit", 0),
    ("socket", "limit", 50_001),
    ("socket", "limit", "many"),
    ("socket", "full", "wait"),
    ("socket", "callback", "ftp://a/x"),
    ("socket", "callback", 7),
    ("socket", "keep", "soon"),
    ("socket", "keep", 0),
    ("socket", "keep", True),
    ("socket", "rate", 10),
    ("socket", "rate", "fast"),
    ("socket", "rate", "0/s"),
    ("socket", "rate", "1/0s"),
    ("socket", "rate", "1/400d"),
    ("socket", "on", 5),
    ("socket", "hold", [5]),
    ("socket", "wait", "3"),
    ("socket", "processor", 5),
    ("processor", "cpus", "x"),
    ("processor", "cpus", 1.5),
    ("processor", "cpus", -1),
    ("processor", "affinity", "x"),
    ("processor", "affinity", [0, "a"]),
    ("processor", "affinity", [-1]),
    ("processor", "weight", 0),
    ("processor", "weight", 1001),
    ("processor", "weight", "heavy"),
    ("processor", "nodes", 5),
    ("processor", "nodes", [5]),
    ("processor", "nodes", {"local": "x"}),
    ("plug", "gather", "nope"),
    ("plug", "gather", 1),
    ("plug", "map", "yes"),
    ("plug", "on", "sometimes"),
    ("plug", "cycle", "x"),
    ("node", "lease", "x"),
    ("node", "cpus", 0),
    ("rename", "to", 5),
    ("note", "text", 5),
    ("note", "text", "  "),
    ("note", "text", 4001 * "x"),
    ("note", "place", "12"),
    ("note", "place", [1, math.inf]),
]


@pytest.mark.parametrize(("kind", "word", "value"), BAD)
def test_what_an_option_does_not_take_is_refused_with_what_it_takes(kind: str, word: str, value: Any) -> None:
    with pytest.raises(DeclarationError) as refused:
        checked({"op": kind, "name": "a", "source": "a", "target": "b", word: value})
    text = str(refused.value)
    assert f"{word}= takes {OPTIONS[kind][word].takes}, not " in text
    assert text.startswith(f"{kind} '{'a -> b' if kind == 'plug' else 'a'}': ")
    assert len(text) < 200
    assert "\n" not in text


@pytest.mark.parametrize(
    ("word", "value", "held"),
    [
        ("cache", "30d", "2592000s"), ("cache", 1.5, "1.5s"), ("cache", 0.25, "0.25s"), ("cache", "2GB", "2000000000B"),
        ("keep", "30d", "2592000s"), ("keep", 100, "100"), ("keep", "100", "100"), ("keep", "forever", "forever"),
        ("keep", timedelta(hours=1), "3600s"), ("keep", False, None),
    ],
)  # fmt: skip
def test_what_a_record_holds_is_an_option_again(word: str, value: Any, held: str | None) -> None:
    change = {"op": "socket", "name": "a"}
    assert checked({**change, word: value})[word] == held
    assert checked({**change, word: held})[word] == held


@pytest.mark.parametrize(("kind", "word"), [(k, w) for k, words in OPTIONS.items() for w in words])
def test_no_value_of_any_kind_gets_through_or_out_as_another_error(kind: str, word: str) -> None:
    texts = {"processor", "to", "text", "python", "nodes", "on", "hold"}
    for value in NEVER:
        if word in texts and isinstance(value, (str, bytes, dict)):
            continue
        with pytest.raises(DeclarationError):
            checked({"op": kind, "name": "a", word: value})


@pytest.mark.parametrize(
    ("kind", "word", "value", "kept"),
    [
        ("socket", "memory", "1GB", 10**9),
        ("socket", "memory", "512 MiB", 512 << 20),
        ("socket", "memory", "1.5 gib", 3 << 29),
        ("socket", "memory", "2048", 2048),
        ("processor", "memory", "100 kB", 100_000),
        ("socket", "timeout", math.inf, None),
        ("socket", "timeout", 3, 3),
        ("socket", "timeout", None, None),
        ("socket", "retries", np.int64(3), 3),
        ("socket", "timeout", np.float32(0.5), 0.5),
        ("socket", "hold", "a, b c", ["a", "b", "c"]),
        ("processor", "nodes", "gpu1", {"gpu1": None}),
        ("processor", "nodes", ["local", "gpu1"], {"local": None, "gpu1": None}),
        ("processor", "cpus", 0, 0),
        ("plug", "gather", "done", "done"),
    ],
)
def test_what_an_option_takes_is_kept_as_records_hold_it(kind: str, word: str, value: Any, kept: Any) -> None:
    found = checked({"op": kind, "name": "a", word: value})[word]
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize("place", ["x", 5, (1,), (1, math.inf), (math.nan, 1), ("a", "b"), (1, 2, 3), (1e300, 0)])
def test_a_place_is_two_numbers(place: Any) -> None:
    with pytest.raises(DeclarationError, match="place: f= takes x and y, two numbers, or None, not "):
        checked({"op": "position", "positions": {"f": place}})


def test_cpus_of_a_processor_are_said_once() -> None:
    with pytest.raises(DeclarationError, match=r"cpus= and nodes=\{...\} both say how many CPUs"):
        checked({"op": "processor", "name": "p", "cpus": 1, "nodes": {"local": 1}})
    assert checked({"op": "processor", "name": "p", "cpus": 1, "nodes": {"gpu1": None}})["cpus"] == 1


@pytest.mark.parametrize("value", ["x", math.nan, [], True, "3"])
def test_a_time_limit_is_a_number_of_seconds(value: Any) -> None:
    with pytest.raises(ArgumentsError, match="timeout= takes seconds, or None for no limit, not "):
        time_limit(value)


def test_an_endless_time_limit_is_none_and_one_in_the_past_is_over() -> None:
    assert [time_limit(value) for value in (None, math.inf, 1e300, -1, 0, 2.5)] == [None, None, None, 0.0, 0.0, 2.5]


@pytest.mark.parametrize("value", ["x", 1.5, None, True, -1, 2**70])
def test_a_request_is_named_by_a_whole_number(value: Any) -> None:
    with pytest.raises(ArgumentsError, match="takes a request or its number"):
        number_of(value, "flow.request")
