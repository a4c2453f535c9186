"""What a client writes into its log is what its engine reads, as far as it was written."""

from __future__ import annotations

import mmap
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.engine.submit_records import (
    LOT_BYTES,
    LOT_CALLS,
    PAGE,
    WRITTEN,
    Lot,
    Reader,
    Shape,
    Single,
    Words,
    Writer,
    answers,
    lots_of,
)  # fmt: skip

SHAPES = [
    Shape("one", ("x",), ("int",), 3, partial=False),
    Shape("two", ("left", "right"), ("int", "str"), 3, partial=True),
    Shape("none", (), (), 4, partial=False, priority=-3),
]


def told(items: list[Lot | Single]) -> list[tuple[Any, ...]]:
    """Submit for submit what lots and frames say."""
    rows: list[tuple[Any, ...]] = []
    for item in items:
        if isinstance(item, Single):
            rows.append((item.first, item.header["rows"], item.buffers))
            continue
        for at in range(item.frames):
            calls = [column[at * item.each : (at + 1) * item.each] for column in item.columns]
            rows.append((item.first + at, item.shape["socket"], item.each, calls, item.watched))
    return rows


def written(seed: int) -> tuple[list[bytes], list[tuple[Any, ...]]]:
    """Records, and what they say."""
    some, writer = random.Random(seed), Writer()
    records, rows = [], []
    for n in range(1, 60):
        if some.random() < 0.1:
            data = [some.randbytes(some.randrange(50))]
            records.append(writer.frame(n, n, {"k": "submit", "rows": [["one", {}]]}, data))
            rows.append((n, [["one", {}]], data))
            continue
        shape, each, watched = some.choice(SHAPES[:2] + SHAPES[:1] * 5 + SHAPES[2:]), some.choice([1, 1, 1, 3]), False
        calls = [[some.randbytes(some.choice([0, 5, 300])) for _ in shape.names] for _ in range(each)]
        watched = some.random() < 0.1
        values = [value for call in calls for value in call]
        records.append(writer.calls(range(n, n + 1), n, shape, each, values, watched=watched))
        columns = [[call[at] for call in calls] for at in range(len(shape.names))]
        rows.append((n, shape.socket, each, columns, watched))
    return records, rows


@pytest.mark.parametrize("seed", range(30))
def test_what_was_written_is_read_however_it_is_cut_into_pieces(seed: int) -> None:
    records, rows = written(seed)
    data, reader, found, at = b"".join(records), Reader(checked=True), [], 0
    some = random.Random(seed)
    end = 0
    while at < len(data):
        end = min(len(data), end + some.randrange(400))
        items, size = reader.take(data[at:end])
        found += told(items)
        at += size
    assert found == rows
    assert reader.fault is None


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_log_gives_what_stands_before_the_damage(seed: int) -> None:
    records, rows = written(seed)
    some = random.Random(seed)
    bad = some.randrange(len(records))
    data = bytearray(b"".join(records))
    start = sum(map(len, records[:bad]))
    data[start + some.randrange(len(records[bad]))] ^= 1 << some.randrange(8)
    reader = Reader(checked=True)
    items, size = reader.take(bytes(data))
    assert told(items) == rows[:bad]
    # what is cut off by a wrong length is as good as not written
    assert reader.fault is not None or size < len(data)


def test_submits_that_follow_on_each_other_and_are_alike_are_one_lot() -> None:
    writer = Writer()
    data = b"".join(writer.calls(range(n, n + 1), 0, SHAPES[0], 1, [b"%d" % n], watched=False) for n in range(5, 105))
    ((lot,), size) = Reader().take(data)
    assert isinstance(lot, Lot)
    assert (lot.first, lot.frames, lot.calls, size) == (5, 100, 100, len(data))
    assert lot.columns == [[b"%d" % n for n in range(5, 105)]]
    rest = lot.after(50)
    assert isinstance(rest, Lot)
    assert (rest.first, rest.frames, rest.columns[0][0]) == (51, 54, b"51")


def test_what_was_written_after_a_frame_waits_until_that_frame_was_handled() -> None:
    writer = Writer()
    data = b"".join(writer.calls(range(n, n + 1), n, SHAPES[0], 1, [b"x"], watched=False) for n in range(1, 10))
    reader = Reader()
    first, size = reader.take(data, upto=4)
    rest, _ = reader.take(data[size:], upto=9)
    assert [one[0] for one in told(first)] == [1, 2, 3, 4]
    assert [one[0] for one in told(rest)] == [5, 6, 7, 8, 9]


def test_of_many_submits_so_many_are_taken_and_none_that_was_written_after_a_later_frame() -> None:
    writer, reader = Writer(), Reader()
    data = b"".join(
        writer.calls(range(n, n + 1), n // 6, SHAPES[0], 1, [b"%d" % n], watched=False) for n in range(1, 9)
    )
    found, size = reader.take(data, 0, 3)
    assert [(lot.first, lot.frames) for lot in found] == [(1, 3)]
    found, more = reader.take(data[size:], 0, 100)
    assert [(lot.first, lot.frames) for lot in found] == [(4, 2)]
    (lot,), _ = reader.take(data[size + more :], 1, 100)
    assert isinstance(lot, Lot)
    assert (lot.first, lot.columns) == (6, [[b"6", b"7", b"8"]])


def test_a_record_that_was_not_written_after_all_leaves_no_shape_behind() -> None:
    writer = Writer()
    writer.calls(range(1, 2), 0, SHAPES[0], 1, [b"x"], watched=False)
    writer.unmade()
    data = writer.calls(range(2, 3), 0, SHAPES[1], 1, [b"x", b"y"], watched=False)
    (lot,), _ = Reader().take(data)
    assert isinstance(lot, Lot)
    assert lot.shape["socket"] == "two"


def test_answers_of_submits_whose_requests_follow_on_each_other_are_one_row() -> None:
    lot = Lot(7, {"names": ["x"]}, 2, False, [[b"a", b"b", b"c", b"d"]], frames=2)
    assert answers(lot, range(40, 44)) == [(8, {"row": (7, 2, 2, 40)})]
    assert answers(lot, [40, 41, 43, 44]) == [(7, {"ids": [40, 41]}), (8, {"ids": [43, 44]})]


@pytest.mark.parametrize(("calls", "size"), [(1, 9), (1, 9 << 20), (2_000, 9), (2_001, 9), (10_000, 9), (5, 400_000)])
def test_many_calls_are_written_as_submits_of_which_each_is_taken_in_at_one_go(calls: int, size: int) -> None:
    writer, data = Writer(), bytes(size)
    numbers = range(7, 7 + lots_of(calls, [data] * calls))
    record = writer.calls(numbers, 0, SHAPES[0], calls, [data] * calls, watched=False)
    reader, found, at = Reader(checked=True), list[Lot | Single](), 0
    while at < len(record):
        items, size_read = reader.take(record[at:], most=1)
        (lot,) = items
        assert isinstance(lot, Lot)
        assert 0 < lot.calls <= LOT_CALLS
        assert lot.calls == 1 or lot.calls * size <= LOT_BYTES + size
        found += items
        at += size_read
    assert [item.first for item in found] == list(numbers)
    assert sum(item.calls for item in found if isinstance(item, Lot)) == calls


WRITES = """
import mmap, sys
from ec_jupyter.engine.submit_records import WRITTEN, Words
with open(sys.argv[1], "r+b") as file:
    words = Words(mmap.mmap(file.fileno(), 0))
    for n in range(200_000):
        words.put(WRITTEN, (1 << 40) + n)
"""


def test_who_looks_at_a_word_while_it_is_written_finds_the_old_or_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(bytes(PAGE))
    with log.open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        words = Words(page)
        words.put(WRITTEN, 1 << 40)
        last = 0
        with subprocess.Popen([sys.executable, "-c", WRITES, str(log)]) as writer:
            while writer.poll() is None:
                for _ in range(1000):
                    last, before = words.get(WRITTEN), last
                    assert last >= before
        assert writer.returncode == 0
        assert words.get(WRITTEN) == (1 << 40) + 199_999
