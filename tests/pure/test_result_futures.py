"""Which results a client asks for, when one of many requests is looked at."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest

from ec_jupyter.client.result_futures import AHEAD, MOST_ROWS, ResultFutures

MANY = 3 * MOST_ROWS


class Reader:
    """Result futures of requests that have all ended; each question is answered at once."""

    def __init__(self, requests: Iterable[int]) -> None:
        self.futures = ResultFutures(self._ask, lambda holds, deadline: None)
        self.futures.accepted(requests)
        self.frames = self.sent = 0

    def _ask(self, requests: list[int]) -> None:
        self.frames += 1
        self.sent += len(requests)
        self.futures.receive({"k": "results", "ids": requests, "types": "int"}, [b"%d" % n for n in requests])

    def look(self, requests: Iterable[int]) -> tuple[int, int]:
        """How often it asked for them, and how many outcomes were sent."""
        self.frames = self.sent = 0
        for request in requests:
            assert self.futures.future(request).result(0)["value"].data == b"%d" % request
        return self.frames, self.sent


@pytest.fixture
def reader() -> Iterator[Reader]:
    return Reader(range(MANY))


@pytest.mark.parametrize("order", [range(MANY), range(MANY - 1, -1, -1)])
def test_in_order_many_results_come_at_once(reader: Reader, order: range) -> None:
    frames, sent = reader.look(order)
    assert frames < MANY // AHEAD + 20
    assert sent <= MANY + AHEAD


def test_in_no_order_few_results_come_in_vain(reader: Reader) -> None:
    _, sent = reader.look(random.Random(1).sample(range(MANY), MANY))
    assert sent < 3 * MANY


def test_a_second_look_at_many_results_brings_few_that_nobody_looks_at(reader: Reader) -> None:
    looked = range(MANY, 2 * MANY)
    reader.futures.accepted(looked)
    reader.look(looked)
    _, sent = reader.look(looked)
    assert sent < 3 * MANY


def test_an_interrupt_before_the_engine_was_asked_leaves_it_open() -> None:
    asked: list[list[int]] = []

    def ask(requests: list[int]) -> None:
        asked.append(requests)
        if len(asked) == 1:
            raise KeyboardInterrupt

    futures = ResultFutures(ask, lambda holds, deadline: None)
    futures.accepted(range(3))
    with pytest.raises(KeyboardInterrupt):
        futures.future(0)
    # what is asked on the next line
    assert futures.open() == [[0, 3]]
    # cut off even before it was noted
    futures.asked.clear()
    assert not futures.future(0).done()
    assert asked[1:] == [[0]]
