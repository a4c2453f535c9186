"""Results that are used again: for which calls, for how long, and how one sees it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.errors import DeclarationError, SocketNotFoundError
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine

TASKS = """
from pathlib import Path
flow = ec.flow()
ran = Path("ran.txt").resolve()
ran.write_text("")
FACTOR = 2
def count():
    return len(ran.read_text())
@ec.socket(cache=True)
def times(x):
    with ran.open("a") as file:
        file.write(".")
    return x * FACTOR
@ec.socket
def keep(x): return x
"""


@pytest.fixture
def flow(loaded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A shell with a socket whose results are used again; `count()` says how often its task has run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loaded.run(TASKS)
    return loaded


def kept(flow: Any) -> list[Path]:
    folder: Path = flow.run("flow.folder") / "cache"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_result_is_used_again_for_the_same_arguments_goes_on_and_says_so(flow: Any) -> None:
    flow.run("flow.plug('times', 'keep.x', when='result > 5')")
    first, again, other = (flow.run(f"r = flow.submit('times', {x}); r.result(60); r") for x in (3, 3, 4))
    assert (first.result(), again.result(), other.result()) == (6, 6, 8)
    assert (first.reused, again.reused, other.reused) == (False, True, False)
    assert flow.run("count()") == 2
    flow.run("flow.wait(60)")
    assert flow.run("flow.results('keep')") == [6, 6, 8]
    assert again.node == "cache"
    lines = flow.run(f"flow.log(run={again.id})")
    assert [(line["kind"], line["level"], line["text"]) for line in lines] == [
        ("reused", "info", f"the result of request {first.id}")
    ]
    assert flow.run("sum(r.reused for r in flow.map('times', [3, 4, 5, 3])) if flow.wait(60) or True else 0") in (2, 3)
    assert flow.run("[r.result(60) for r in flow.map('times', [3, 4, 5, 3])]") == [6, 8, 10, 6]
    assert flow.run("count()") == 3


def test_other_code_or_other_captured_values_make_it_anew_and_the_former_finds_its_own_again(flow: Any) -> None:
    flow.run("flow.submit('times', 3).result(60)")
    redefine = "@ec.socket(cache=True)\ndef times(x):\n    ran.open('a').write('.')\n    return x {} FACTOR"
    flow.run(redefine.format("+"))
    assert flow.run("flow.submit('times', 3).result(60)") == 5
    flow.run("FACTOR = 10")
    flow.run(redefine.format("+"))
    assert flow.run("flow.submit('times', 3).result(60)") == 13
    assert flow.run("count()") == 3
    flow.run("FACTOR = 2")
    flow.run(redefine.format("+"))
    assert flow.run("r = flow.submit('times', 3); r.result(60), r.reused") == (5, True)


def test_a_large_result_is_used_again_and_outlives_its_request_and_the_collection(flow: Any) -> None:
    flow.run("@ec.socket(cache=True)\ndef many(n):\n    return bytes(n)")
    assert flow.run("len(flow.submit('many', 300_000).result(60))") == 300_000
    flow.run("flow.clear(); flow.gc()")
    assert flow.run("r = flow.submit('many', 300_000); len(r.result(60)), r.reused") == (300_000, True)
    # of a large argument the content counts
    flow.run("@ec.socket(cache=True)\ndef size(data):\n    return len(data)")
    assert flow.run("[flow.submit('size', bytes(n)).result(60) for n in (200_000, 9)]") == [200_000, 9]
    assert flow.run("flow.submit('size', bytes(200_000)).wait(60).reused")


@each_of("text", ["cache='1h'", "cache=3600", "cache=__import__('datetime').timedelta(hours=1)"])
def test_a_result_that_is_too_old_is_made_anew(flow: Any, text: str) -> None:
    flow.run(f"flow.declare(times, {text}); flow.clear_cache(); ran.write_text('')")
    assert flow.run("[flow.submit('times', 3).result(60) for _ in range(2)], count()") == ([6, 6], 1)
    for path in kept(flow):
        os.utime(path, (time.time(), time.time() - 3_700))
    assert flow.run("flow.submit('times', 3).result(60), count()") == (6, 2)


def test_of_more_than_may_be_kept_what_was_used_longest_ago_goes(flow: Any) -> None:
    flow.run("@ec.socket(cache='1 MB')\ndef many(n):\n    return bytes(300_000) + bytes([n])")
    for n in (1, 2, 3, 1, 4):
        flow.run(f"flow.submit('many', {n}).result(60)")
    assert sum(path.stat().st_size for path in kept(flow)) <= 1_000_000
    reused = {n: flow.run(f"flow.submit('many', {n}).wait(60).reused") for n in (1, 4)}
    assert reused == {1: True, 4: True}


@pytest.mark.own_engine
def test_flows_share_results_where_they_are_asked_to(flow: Any) -> None:
    flow.run("flow.declare(times, cache='shared'); flow.submit('times', 3).result(60)")
    flow.run("other = ec.flow('other'); other.declare(times, cache='shared')")
    assert flow.run("r = other.submit('times', 3); r.result(60), r.reused, count()") == (6, True, 1)
    assert "of flow" in flow.run("other.log(run=r)")[0]["text"]
    assert not kept(flow)


def test_results_are_forgotten_by_name(flow: Any) -> None:
    flow.run("flow.declare(keep, cache=True); flow.submit('keep', 1).result(60); flow.submit('times', 1).result(60)")
    said = flow.run("%ec_clear_cache times")
    assert said["results"] == 1
    assert said["bytes"] > 0
    assert [flow.run(f"flow.submit('{name}', 1).wait(60).reused") for name in ("keep", "times")] == [True, False]
    with pytest.raises(SocketNotFoundError, match="did you mean 'times'"):
        flow.run("flow.clear_cache('time')")
    assert flow.run("flow.clear_cache()['results']") == 2
    assert flow.run("flow.clear_cache()") == {"results": 0, "bytes": 0}


def test_what_has_no_result_is_not_kept_and_false_ends_it(flow: Any) -> None:
    flow.run("@ec.socket(cache=True)\ndef odd(x):\n    ran.open('a').write('.')\n    return ec.SKIP if x else 1 / x")
    for x in (0, 1):
        flow.run(f"[flow.submit('odd', {x}).wait(60) for _ in range(2)]")
    assert flow.run("count()") == 4
    flow.run("flow.submit('times', 3).wait(60); flow.declare(times, cache=False)")
    assert flow.run("flow.submit('times', 3).wait(60).reused") is False


@each_of(
    ("line", "message"),
    [
        ("flow.declare(keep, cache='5X')", "cache= takes True, 'shared', a time such as '7d' or a size"),
        ("flow.declare(keep, cache='sometimes')", "cache= takes True"),
        ("flow.declare(keep, cache=0)", "cache= takes True"),
        ("@ec.socket(cache=True)\ndef g(n):\n    yield n", "cache= keeps a result, and a generator has none"),
        ("flow.node('cache', 'somewhere')", "give the node another name"),
        ("flow.socket(ec.ask('ok?'), name='asks', cache=True)", "so cache= has no meaning"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_refused_and_changes_nothing(flow: Any, line: str, message: str) -> None:
    before = flow.run("flow.revision")
    with pytest.raises(DeclarationError, match=message):
        flow.run(line)
    assert flow.run("flow.revision") == before


def test_the_magic_keeps_results_and_the_wiring_is_written_down_with_it(flow: Any) -> None:
    flow.run("%%ec_socket --cache 7d\ndef seventh(x): return x / 7")
    assert flow.run("flow.submit('seventh', 7).result(60); flow.submit('seventh', 7).wait(60).reused")
    text = flow.run("flow.to_code()")
    assert "cache='604800s'" in text
    assert "cache='always'" in text
