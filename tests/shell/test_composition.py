"""Several plugs at a word: what is wired, what comes of it, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from ec_jupyter.errors import EcError
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine

SOCKETS = """
flow = ec.flow()
@ec.socket
def numbers(n): return list(range(n))
@ec.socket
def double(x): return 2 * x
@ec.socket
def add_one(x): return x + 1
@ec.socket
def pair(one, two): return (one, two)
@ec.socket
def total(xs): return sum(xs)
def plugs(): return sorted(repr(plug) for plug in flow.plugs)
"""


@pytest.fixture
def parts(loaded: Any) -> Any:
    """A shell whose flow has sockets, and no plugs."""
    loaded.run(SOCKETS)
    return loaded


def wired(parts: Any) -> list[tuple[str, str, str, bool, Any]]:
    return sorted((p.source, p.target, p.argument, p.map, p.gather) for p in parts.run("flow.plugs"))


def test_a_pipeline_plugs_each_part_into_the_next_and_is_one_edit(parts: Any) -> None:
    made = parts.run("made = ec.pipeline(double, 'add_one', flow['total'].name + '.xs'); made")
    assert (repr(made), made.inputs, made.outputs) == ("<double -> add_one -> total>", ("double",), ("total",))
    assert wired(parts) == [("add_one", "total", "xs", False, False), ("double", "add_one", "x", False, False)]
    parts.run("flow.undo()")
    assert wired(parts) == []
    assert parts.completions("%ec_pipeline double -> pair.o") == ["pair.one"]
    assert repr(parts.run("%ec_pipeline double -> add_one -> pair.two")) == "<double -> add_one -> pair>"
    assert wired(parts) == [("add_one", "pair", "two", False, False), ("double", "add_one", "x", False, False)]


def test_parts_beside_each_other_come_together_in_order(parts: Any) -> None:
    made = parts.run("ec.pipeline('numbers', ec.parallel(len, 'total'), 'pair', flow=flow)")
    assert repr(made) == "<numbers -> (len | total) -> pair>"
    assert parts.run("flow.submit('numbers', 4).run.results('pair', 60)") == [(4, 6)]


def test_each_element_has_a_call_and_their_results_go_on_as_a_list(parts: Any) -> None:
    parts.run("ec.pipeline('numbers', ec.each(ec.pipeline('double', 'add_one')), 'total')")
    assert ("numbers", "double", "x", True, False) in wired(parts)
    assert ("add_one", "total", "xs", False, True) in wired(parts)
    assert parts.run("flow.submit('numbers', 4).run.results('total', 60)") == [1 + 3 + 5 + 7]
    parts.run("flow.undo(); flow.undo(); ec.each('double', numbers)")
    assert wired(parts) == [("numbers", "double", "x", True, False)]


def test_a_funnel_feeds_arguments_in_order_or_by_name(parts: Any) -> None:
    assert repr(parts.run("ec.funnel(double, add_one, into=pair)")) == "<(double, add_one) -> pair>"
    assert wired(parts) == [("add_one", "pair", "two", False, False), ("double", "pair", "one", False, False)]
    parts.run("flow.undo(); ec.funnel(two='double', one=ec.each('add_one', 'numbers'), into='pair')")
    assert ("double", "pair", "two", False, False) in wired(parts)
    assert ("add_one", "pair", "one", False, True) in wired(parts)


def test_what_has_been_split_is_gathered_wherever_it_goes_on(parts: Any) -> None:
    parts.run("ec.funnel(ec.each(double, numbers), ec.pipeline('numbers', len), into=pair)")
    assert parts.run("flow.submit('numbers', 3).run.results('pair', 60)") == [([0, 2, 4], 3)]
    parts.run("flow.undo(); flow.undo(); flow.undo(); ec.pipeline(ec.pipeline('numbers', ec.each('add_one')), 'total')")
    assert parts.run("flow.submit('numbers', 3).run.results('total', 60)") == [6]


def test_a_function_that_is_no_task_yet_becomes_one(parts: Any) -> None:
    parts.run("def negative(x): return -x\nec.pipeline('double', negative)")
    assert parts.run("flow.submit('double', 2).run.results('negative', 60)") == [-4]


@each_of(
    ("line", "said"),
    [
        ("ec.pipeline('double')", "pipeline takes two parts or more, not 1"),
        ("ec.pipeline('double', 'ad_one')", "no socket named 'ad_one'; did you mean 'add_one'"),
        ("ec.pipeline('double', 5)", "a part is a socket, its name or a function, not 5"),
        ("ec.pipeline(ec.parallel('double', 'add_one'), 'total')", "2 results come to 'total', which takes 1 argument"),
        (
            "ec.pipeline(ec.parallel('double', 'add_one'), ec.parallel('total', 'numbers'))",
            "do not tell which of 2 inputs of <(total | numbers)> they are for",
        ),
        ("ec.pipeline('add_one', 'double', 'add_one')", "would close a cycle"),
        ("ec.parallel()", "parallel takes one part or more"),
        ("ec.parallel(ec.each('double'), 'total')", "parallel takes no each(...); put it around"),
        ("ec.funnel(into='pair')", "funnel takes what is to come together"),
        ("ec.funnel('double', into=ec.parallel('pair', 'total'))", "funnel leads into one socket"),
        ("ec.funnel(three='double', into='pair')", "'pair' has no argument 'three'"),
        ("ec.each('double', [1, 2])", "a socket that gives the items, not [1, 2]; for the calls of some values"),
        ("ec.each('double', 5)", "each takes a socket that gives the items, not 5"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_plugs_nothing(parts: Any, line: str, said: str) -> None:
    error = parts.fail(line)
    assert isinstance(error, EcError)
    assert said in str(error)
    assert "\n" not in str(error)
    assert wired(parts) == []


def grouped(parts: Any) -> dict[str, list[str]]:
    return {name: sorted(some) for name, some in parts.run("flow.groups").items()}


def test_a_composition_with_a_group_puts_its_sockets_into_it_in_the_same_edit(parts: Any) -> None:
    parts.run("ec.pipeline('numbers', ec.each('double', group='middle'), 'total', group='sums')")
    assert grouped(parts) == {"middle": ["double"], "sums": ["numbers", "total"]}
    assert parts.run("flow['double'].group, flow['pair'].group") == ("middle", None)
    parts.run("flow.undo()")
    assert (grouped(parts), wired(parts)) == ({"middle": ["double"]}, [])
    parts.run("flow.undo()")
    assert grouped(parts) == {}
    parts.run("ec.funnel(ec.parallel('double', 'add_one', group='beside'), into='pair', group='end')")
    assert grouped(parts) == {"beside": ["add_one", "double"], "end": ["pair"]}


def test_a_group_is_made_renamed_and_dissolved_in_code_and_by_magic(parts: Any) -> None:
    parts.run("flow.group('fit', 'double', add_one)")
    parts.run("%ec_group rest pair total")
    parts.run("%ec_ungroup rest total")
    parts.run("flow.rename_group('rest', 'last')")
    assert grouped(parts) == {"fit": ["add_one", "double"], "last": ["pair"]}
    assert "pair(one, two) v1, in group last" in parts.run("repr(flow)")
    assert parts.completions("%ec_ungroup f") == ["fit"]
    assert parts.completions("%ec_group fit to") == ["total"]
    parts.run("%ec_pipeline numbers -> total --group last")
    assert parts.completions("%ec_pipeline numbers -> total --group la") == ["last"]
    parts.run("flow.ungroup('fit')")
    assert grouped(parts) == {"last": ["numbers", "pair", "total"]}
    error = parts.fail("flow.group('fit')")
    assert str(error) == "group 'fit' has no sockets; name those that it is to hold"
