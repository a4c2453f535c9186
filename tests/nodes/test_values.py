"""The codec of values, and what is known of how long calls take."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec_jupyter.errors import FrameError, StoreDamagedError, TaskNotPicklableError
from ec_jupyter.nodes.durations import SHORT_SECONDS, Durations
from ec_jupyter.nodes.values import dump, load
from ec_jupyter.wire import INLINE_BYTES, Value


@pytest.mark.parametrize("count", [0, 1, 100, 65_000, 70_000, 3_000_000])
@pytest.mark.parametrize("sync", [False, True])
def test_value_of_any_size_comes_back_equal(tmp_path: Path, count: int, sync: bool) -> None:
    obj = {"bytes": b"x" * count, "array": np.arange(count // 8), "text": "ü" * (count // 2), "none": None}
    value = dump(obj, tmp_path / "values", "v", sync=sync)
    assert (value.file == "v") == (value.size > INLINE_BYTES)
    assert value.file is not None or value.size == len(value.data or b"")
    back = load(value, tmp_path / "values")
    assert np.array_equal(back.pop("array"), obj.pop("array"))
    assert back == obj


def test_arrays_of_a_file_start_on_a_cache_line_and_are_no_copies(tmp_path: Path) -> None:
    arrays = [np.full(shape, 7.5) for shape in (5, 1001, 20_000, (300, 70))]
    value = dump([*arrays, np.asfortranarray(arrays[-1]), arrays[2][::3]], tmp_path, "arrays")
    back = load(value, tmp_path)
    for array, original in zip(back, arrays, strict=False):
        assert np.array_equal(array, original)
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable
    assert not [path for path in tmp_path.iterdir() if path.name != "arrays"]


def test_what_the_main_module_defines_travels_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scope: dict[str, object] = {"__name__": "__main__"}
    exec("class Point:\n    def __init__(self, x):\n        self.x = x", scope)
    point = scope["Point"](3)  # type: ignore[operator]
    monkeypatch.setattr(sys.modules["__main__"], "Point", scope["Point"], raising=False)
    value = dump(point, tmp_path, "point")
    monkeypatch.delattr(sys.modules["__main__"], "Point")
    assert load(value, tmp_path).x == 3
    assert value.type == "__main__.Point"


def closing_over(held: object) -> object:
    def inner() -> object:
        return held

    return inner


class Connection:
    def __init__(self) -> None:
        self.inner = threading.Lock()


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (threading.Lock, " (_thread.lock)"),
        (lambda: [1, {"a": (threading.Lock(),)}], " at [1]['a'][0] (_thread.lock)"),
        (lambda: closing_over(threading.Lock()), " at variable 'held' (_thread.lock)"),
        (Connection, ".inner (_thread.lock)"),
    ],
)
def test_value_that_cannot_travel_is_told_with_the_part_at_fault(tmp_path: Path, make: object, where: str) -> None:
    with pytest.raises(TaskNotPicklableError) as caught:
        dump(make(), tmp_path, "v", what="argument 'x'")  # type: ignore[operator]
    assert str(caught.value).startswith("argument 'x' cannot travel: cannot pickle '_thread.lock' object")
    assert where in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    value = dump(b"x" * 100_000, tmp_path, "good")
    whole = (tmp_path / "good").read_bytes()
    for name, data in (("empty", b""), ("short", whole[:10]), ("cut", whole[:-50]), ("other", b"\x80" * 500)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StoreDamagedError, match=name):
            load(Value(None, name, 1, "bytes"), tmp_path)
    with pytest.raises(StoreDamagedError, match="missing"):
        load(Value(None, "missing", 1, "bytes"), tmp_path)
    for name in ("../good", ".good", "/etc/passwd"):
        with pytest.raises(FrameError):
            load(Value(None, name, 1, "bytes"), tmp_path)
    assert len(load(value, tmp_path)) == 100_000


def test_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()  # so that the rename fails
    with pytest.raises(OSError, match="directory"):
        dump(b"x" * 100_000, tmp_path, "v")
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


class Odd:
    """Pickles, but only once for each attempt to see how often it is tried."""

    tries = 0

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        Odd.tries += 1
        return os.getpid, ()


def test_small_value_is_pickled_once(tmp_path: Path) -> None:
    value = dump(Odd(), tmp_path, "odd")
    assert Odd.tries == 1
    assert pickle.loads(value.data or b"") == os.getpid()


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_duration_stays_within_what_was_seen(seen: list[float]) -> None:
    durations = Durations()
    for seconds in seen:
        durations.learn("t", seconds)
    assert min(seen) <= (durations.get("t") or 0) <= max([*seen, 15e-6]) + 1e-9


def test_task_counts_as_short_only_once_it_is_known_and_soon_after_its_imports() -> None:
    durations = Durations()
    assert not durations.short("t")
    durations.learn("t", 0.2)  # the call that imported numpy
    calls = 0
    while not durations.short("t"):
        durations.learn("t", 0.0001)
        calls += 1
    assert calls <= 6
    assert (durations.get("t") or 1) <= SHORT_SECONDS
