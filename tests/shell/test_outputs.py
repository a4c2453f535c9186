"""Parts of results: `pick=`, results by name, and what is known of them while plugging."""

from __future__ import annotations

from typing import Any

import pytest

from ec_jupyter.errors import WiringError
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine

SPLIT = """
import dataclasses, typing
flow = ec.flow()
@ec.socket
def split(numbers):
    big = [n for n in numbers if n > 10]
    small = [n for n in numbers if n <= 10]
    return ec.out(big=big, small=small) if big else ec.out(small=small)
@ec.socket
def total(rows): return sum(rows)
@ec.socket
def keep(x): return x
@ec.socket
def double(n): return 2 * n
class Row(typing.TypedDict):
    name: str
    size: int
class Pair(typing.NamedTuple):
    name: str
    size: int
@dataclasses.dataclass
class Record:
    name: str
    size: int
@ec.socket
def row(n) -> Row: return {"name": str(n), "size": n}
@ec.socket
def pair(n) -> Pair: return Pair(str(n), n)
@ec.socket
def record(n) -> Record: return Record(str(n), n)
@ec.socket
def of_int(size: int): return size + 1
@ec.socket
def of_float(size: float): return size / 2
"""


@pytest.fixture
def flow(loaded: Any) -> Any:
    """A flow of sockets whose results have parts; nothing is plugged."""
    loaded.run(SPLIT)
    return loaded


def test_results_by_name_go_where_each_is_plugged_and_what_is_left_out_goes_nowhere(flow: Any) -> None:
    flow.run("%ec_plug split.big -> total.rows")
    flow.run("%ec_plug split.small -> double.n --map")
    whole = flow.run("r = flow.submit('split', [1, 20, 30, 2]); r.result(60)")
    assert (whole, repr(whole)) == ({"big": [20, 30], "small": [1, 2]}, "out(big=[20, 30], small=[1, 2])")
    flow.run("%ec_wait")
    assert flow.run("r.run.results('total')") == [50]
    assert flow.run("sorted(r.run.results('double'))") == [2, 4]
    none = flow.run("r = flow.submit('split', [3]); flow.wait(60); r.run.results('total')")
    assert none == []
    # nobody waits for a part that does not come
    assert flow.run("len(flow.waiting())") == 0


@each_of(
    ("pick", "said", "given"),
    [
        ("'small'", "small", [1, 2, 3]),
        ("lambda r: r['small'][-1]", "<lambda>", 3),
        ("\"len(result['small'])\"", "len(result['small'])", 3),
        ("len", "len", 1),
    ],
)
def test_a_part_is_a_name_an_expression_or_a_function(flow: Any, pick: str, said: str, given: Any) -> None:
    assert flow.run(f"flow.plug('split', 'keep.x', pick={pick}).pick") == said
    assert flow.run("r = flow.submit('split', [1, 2, 3]); flow.wait(60); r.run.results('keep')") == [given]
    flow.run("flow.unplug('split', 'keep.x'); flow.clear()")


@each_of(
    ("pick", "said", "given"),
    [("0", "[0]", 7), ("-1", "[-1]", 9), ("slice(1, None)", "[1:]", [8, 9]), ("slice(None, None, 2)", "[::2]", [7, 9])],
)
def test_a_part_is_a_number_or_a_slice(flow: Any, pick: str, said: str, given: Any) -> None:
    assert flow.run(f"flow.plug('keep', 'double.n', pick={pick}).pick") == said
    assert flow.run("r = flow.submit('keep', [7, 8, 9]); flow.wait(60); r.run.results('double')") == [given * 2]
    flow.run("flow.unplug('keep', 'double.n'); flow.clear()")


@each_of("source", ["row", "pair", "record"])
def test_fields_of_a_typed_dict_named_tuple_or_dataclass_are_parts(flow: Any, source: str) -> None:
    flow.run(f"flow.plug('{source}.size', 'of_float.size')")
    assert flow.run(f"r = flow.submit('{source}', 5); flow.wait(60); r.run.results('of_float')") == [2.5]
    with pytest.raises(WiringError, match=f"the result of '{source}' has no part 'sise'; did you"):
        flow.run(f"flow.plug('{source}.sise', 'keep.x')")
    with pytest.raises(WiringError, match=rf"{source}\.name is of type str, of_int\.size takes int; pick="):
        flow.run(f"flow.plug('{source}.name', 'of_int.size')")
    # the way out that it names
    flow.run(f"flow.plug('{source}', 'of_int.size', pick=lambda r: int(r['name'] if isinstance(r, dict) else r.name))")
    assert flow.run(f"r = flow.submit('{source}', 5); flow.wait(60); r.run.results('of_int')") == [6]
    flow.run(f"flow.unplug('{source}', 'of_int.size'); flow.unplug('{source}.size', 'of_float.size'); flow.clear()")


def test_a_result_by_name_that_no_return_gives_is_refused_and_nothing_changes(flow: Any) -> None:
    before = flow.run("flow.revision")
    flow.run("@ec.socket\ndef parts(n):\n    return ec.out(whole=n // 2, rest=n % 2)")
    with pytest.raises(WiringError, match="the result of 'parts' has no part 'rist'; did you"):
        flow.run("flow.plug('parts.rist', 'keep.x')")
    assert flow.run("flow.revision") == before + 1
    assert flow.completions("%ec_plug parts.r") == ["parts.rest"]
    flow.run("flow.plug('parts.rest', 'keep.x')")
    assert flow.run("r = flow.submit('parts', 7); flow.wait(60); r.run.results('keep')") == [1]


def test_a_part_that_is_not_there_fails_the_request_and_names_the_plug(flow: Any) -> None:
    flow.run("flow.plug('row', 'keep.x', pick='result[\"nam\"]')")
    failed = flow.run("r = flow.submit('row', 1); flow.wait(60); r.exception()")
    assert "nam" in str(failed)
    assert "plug 'row -> keep.x, pick=result[\"nam\"]'" in flow.run("r.row()['error']['message']")


def test_a_part_of_a_failure_goes_where_failures_go(flow: Any) -> None:
    flow.run("@ec.socket\ndef broken(n): raise ValueError('no ' + str(n))")
    flow.run("flow.plug('broken', 'keep.x', on='error', pick='message')")
    assert flow.run("r = flow.submit('broken', 4); flow.wait(60); r.run.results('keep')") == ["no 4"]


def test_another_part_is_what_comes_from_then_on_and_undo_takes_that_back(flow: Any) -> None:
    flow.run("flow.plug('pair', 'keep.x', pick='name')")
    flow.run("flow.plug('pair', 'keep.x', pick='size')")
    assert flow.run("len(flow.plugs)") == 1
    assert flow.run("r = flow.submit('pair', 3); flow.wait(60); r.run.results('keep')") == [3]
    flow.run("flow.undo()")
    assert flow.run("r = flow.submit('pair', 4); flow.wait(60); r.run.results('keep')") == ["4"]
    # a picture that changes something else of it leaves the part as it is
    flow.run("flow.replug(flow.plugs[0], target='double.n')")
    assert flow.run("flow.plugs[0].pick") == "name"


def test_parts_are_written_down_and_made_again(flow: Any) -> None:
    flow.run("with flow.edit():\n  flow.plug('split.small', 'total.rows')\n  flow.plug('pair', 'keep.x', pick=0)")
    flow.run("flow.plug('row', 'double.n', pick='result[\"size\"]', when='result[\"size\"] > 1')")
    text = flow.run("flow.to_code()")
    assert "flow.plug('split', 'total.rows', pick='small')" in text
    assert "flow.plug('pair', 'keep.x', pick=0)" in text
    assert """pick='result["size"]'""" in text
    saved = flow.run("flow.save('parts.json'); flow.undo(); flow.undo(); len(flow.plugs)")
    assert saved == 0
    flow.run("again = ec.load('parts.json', name='again')")
    assert flow.run("sorted(p.pick for p in again.plugs)") == ["[0]", 'result["size"]', "small"]
    assert flow.run("r = again.submit('row', 4); again.wait(60); r.run.results('double')") == [8]
