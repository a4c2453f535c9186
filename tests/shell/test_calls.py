"""Requests: submitted, waited for, looked at, stopped, run again."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ec_jupyter as ec
from ec_jupyter.errors import (
    ArgumentsError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestSkippedError,
    RequestTimeoutError,
    TaskNotPicklableError,
    WorkerDiedError,
)
from tests.cases import each_of
from tests.listening import Address

pytestmark = pytest.mark.shared_engine(gated=1)

PASS = "import os; os.read(os.open('gate', os.O_RDONLY), 1)"


@pytest.fixture
def calling(loaded: Any) -> Any:
    """A shell with a flow of a few sockets."""
    loaded.run(
        "import os\nflow = ec.flow()\n"
        "@ec.socket\ndef add(one, two=2): return one + two\n"
        "@ec.socket\ndef fails(x): return 1 / x\n"
        "@ec.socket\ndef join(one, two): return one, two\n"
    )
    loaded.run(f"@ec.socket(processor='gated', cpus=1)\ndef gated(x):\n    {PASS}\n    return x")
    return loaded


# -- submitting --------------------------------------------------------------------
@each_of(
    ("line", "message"),
    [
        ("flow.submit('add', 1, 2, 3)", "'add' takes 2 positional arguments (one, two), not 3"),
        ("flow.submit('add', 1, tow=3)", "'add' has no argument 'tow'; did you mean 'two'?"),
        ("flow.submit('add', 1, one=3)", "'add' got argument 'one' twice"),
        ("%ec_submit add one=1 tow=2", "did you mean 'two'?"),
        ("flow.submit('join', 1)", "'join' lacks 'two'; give it, or say partial=True if it will come from elsewhere"),
        ("flow.submit('join')", "'join' lacks 'one' and 'two'"),
        ("%ec_submit join two=2", "'join' lacks 'one'; give it, or say partial=True"),
        ("flow.map('join', [1, 2])", "'join' lacks 'two'"),
    ],
)
def test_wrong_arguments_are_told_by_name_and_nothing_is_submitted(calling: Any, line: str, message: str) -> None:
    error = calling.fail(line)
    assert isinstance(error, ArgumentsError)
    assert message in str(error)
    assert calling.run("len(flow.requests())") == 0


@each_of(
    ("line", "says"),
    [
        ("flow.requests(by='nope')", "unknown by='nope'; known: id, started"),
        ("flow.requests(state='dome')", "unknown state='dome'; did you mean 'done'?"),
        ("flow.requests(limit='x')", "limit= takes a whole number, 1 or more, or None for all, not 'x'"),
        ("flow.requests(limit=float('nan'))", "limit= takes a whole number, 1 or more, or None for all, not nan"),
        ("flow.requests(limit=-1)", "limit= takes a whole number, 1 or more, or None for all, not -1"),
        ("flow.submit('join', 1, partial='x')", "partial= takes True or False, not 'x'"),
        ("flow.map('join', [1], partial=1)", "partial= takes True or False, not 1"),
        ("flow.requests(limit=0)", "limit= takes a whole number, 1 or more, or None for all, not 0"),
        ("flow.map('add', 3)", "a map of 'add' takes iterables, not 3"),
        ("flow.supply('add')", "say what 'add' gets: flow.supply('add', argument=value)"),
        ("flow.requests(run='x')", "run= takes a request or its number, not 'x'"),
        ("flow.results('add', limit=1.5)", "limit= takes a whole number"),
        ("flow.request('x')", "flow.request takes a request or its number, not 'x'"),
        ("flow.request(2 ** 70)", "flow.request takes a request or its number"),
        ("flow.run('x')", "flow.run takes a request or its number, not 'x'"),
        ("flow.cancel(1.5)", "a request, a run, a socket, or several requests is asked for, not 1.5"),
        ("flow.retry([1, 'x'])", "takes a request or its number, not 'x'"),
        ("flow.replay('x')", "takes a request or its number, not 'x'"),
        ("flow.discard('x')", "something that waits, or a request, is asked for, not 'x'"),
        ("flow.replug('add -> join', 'join')", "flow.replug takes a plug, as flow.plugs has them, not 'add -> join'"),
        ("flow.discard([None])", "discard takes items of flow.waiting(), or requests, not None"),
        ("flow.discard([5])", "discard takes items of flow.waiting(), or requests, not 5"),
        ("flow.wait('x')", "timeout= takes seconds, or None for no limit, not 'x'"),
        ("flow.submit('add', 1).result('x')", "timeout= takes seconds, or None for no limit, not 'x'"),
        ("flow.submit('add', 1).result(float('nan'))", "timeout= takes seconds"),
        ("flow.submit('add', 1, id=7)", "id= takes a text, not 7"),
        ("flow.gc(dry='x')", "dry= takes True or False, not 'x'"),
        ("flow.log(text=3)", "text= takes a text, not 3"),
        ("flow.answer(flow.submit('add', 1), 2, by=3)", "by= takes a text, not 3"),
        ("flow.statistics(course='x')", "course= takes True or False, not 'x'"),
        ("flow.fix('add')", "say what is fixed: flow.fix('add', argument=value)"),
    ],
)
def test_an_argument_of_a_wrong_kind_is_told_with_what_is_taken(calling: Any, line: str, says: str) -> None:
    error = calling.fail(line)
    assert isinstance(error, ArgumentsError)
    assert says in str(error)


@each_of(
    ("line", "says"),
    [
        ("flow.processor(None)", "no processor named None; known: gated, main"),
        ("flow.processor(['main'])", "no processor named ['main']; known: gated, main"),
        ("flow.save('no/folder.json')", "no/folder.json cannot be written: No such file or directory"),
        (
            "flow.supply('join', one=1, element=[flow])",
            "a 'supply' frame cannot be written: Object of type Flow is not",
        ),
    ],
)
def test_what_nobody_expects_is_told_in_one_line_as_well(calling: Any, line: str, says: str) -> None:
    error = calling.fail(line)
    assert isinstance(error, ec.EcError)
    assert says in str(error)


def test_a_request_stands_for_its_number_and_its_run(calling: Any) -> None:
    calling.run("flow.plug('add', 'join.one'); flow.fix('join', two=0); r = flow.submit('add', 1); flow.wait(60)")
    same = "flow.request(r) is r, flow.run(flow.requests('join')[0]).id == r.id == flow.run(r.run).id"
    assert calling.run(same) == (True, True)


def test_a_run_counts_what_runs_as_running(calling: Any, gate: Any, wait_until: Callable[..., Any]) -> None:
    calling.run("flow.plug('add', 'gated', map=True); run = flow.submit('add', [1], [2, 3]).run")
    wait_until(lambda: calling.run("run.counts") == {"done": 1, "running": 1, "queued": 2})
    gate.open(3)
    assert calling.run("run.wait(60).counts") == {"done": 4}


def test_an_argument_that_cannot_travel_submits_nothing(calling: Any) -> None:
    error = calling.fail("import threading\nflow.map('add', [1, 2, threading.Lock()])")
    assert isinstance(error, TaskNotPicklableError)
    assert "argument 'one' of 'add'" in str(error)
    assert calling.run("len(flow.requests())") == 0


def test_the_same_id_at_a_socket_is_the_same_request(calling: Any) -> None:
    assert calling.run("flow.submit('add', 1, id='a') == flow.submit('add', 5, id='a')")
    assert calling.run("%ec_submit --id a add one=9").result(60) == 3


def test_map_takes_what_the_built_in_takes_and_keeps_the_order(calling: Any) -> None:
    assert calling.run("[r.result(60) for r in flow.map('add', range(5), [10, 20, 30])]") == [10, 21, 32]
    assert calling.run("flow.map('add', [])") == []


def test_large_arguments_and_results_come_back_whole(calling: Any) -> None:
    calling.run("import numpy as np\nbig = np.arange(200_000)\nr = flow.submit('add', big, 1)")
    assert calling.run("bool((r.result(60) == big + 1).all())")
    assert calling.run("bool((r.arguments['one'] == big).all())")


def test_an_object_of_a_class_from_a_cell_goes_there_and_back(calling: Any) -> None:
    calling.run("class P:\n    def __init__(self, x): self.x = x\n@ec.socket\ndef f(p): return P(p.x + 1)")
    calling.run("r = flow.submit('f', P(1)).result(60)")
    assert calling.run("isinstance(r, P), r.x") == (True, 2)
    calling.run("@ec.socket\ndef f(p): return P(p.x + 1)")
    assert calling.run("flow['f'].task.version") == 1


def test_a_generator_gives_its_values_as_a_list(calling: Any) -> None:
    calling.run("@ec.socket\ndef several(n):\n    yield from range(n)")
    assert calling.run("flow.submit('several', 3).result(60), flow.submit('several', 0).result(60)") == ([0, 1, 2], [])


# -- results ---------------------------------------------------------------------
def test_a_traceback_shows_lines_of_every_cell_it_comes_through(calling: Any, capsys: Any) -> None:
    calling.run("class P:\n    def half(self, x):\n        return 1 / x")
    calling.run("@ec.socket\ndef g(p, x):\n    return P.half(p, x)")
    # the argument brings the class too, as this kernel has it
    calling.fail("flow.submit('g', P(), 0).result(60)")
    shown = capsys.readouterr().out
    assert re.search(r'"<cell of half>", line 3, in half\n +return 1 / x\n', shown), shown


def test_a_group_of_exceptions_is_shown_as_any_other_failure_and_one_of_the_notebooks_own_as_it_was(
    calling: Any, capsys: Any
) -> None:
    calling.run("@ec.socket\ndef several(x):\n    raise ExceptionGroup('two', [ValueError(1), TypeError(2)])")
    said = shown_by(calling, "r = flow.submit('several', 0)\nr.result(60)", capsys)
    assert not [line for line in said if "/ec_jupyter/" in line], said
    assert [text for text in ("r.result(60)", "TypeError: 2") if any(text in line for line in said)], said
    assert re.search(r"failed at line 3 of its cell .* runs it again$", said[-1]), said
    calling.fail("raise ExceptionGroup('mine', [ValueError(1)])")
    assert "ExceptionGroup: mine (1 sub-exception)" in "".join(capsys.readouterr())


def test_what_waits_says_that_its_task_takes_an_argument_no_more_and_what_lets_it_run(calling: Any) -> None:
    calling.run("r = flow.submit('join', one=1, partial=True)")
    assert calling.run("[(w.missing, w.stranded) for w in flow.waiting()]") == [(["two"], False)]
    calling.run("%%ec_socket join\ndef join(first, two): return first, two")
    assert calling.run("[(w.missing, w.stranded) for w in flow.waiting()]") == [(["first", "two"], True)]
    assert "'join' has no 'one' any more" in calling.run("repr(flow.waiting())")
    story = calling.run("str(flow.story(r))")
    assert "It waits for 'first' and 'two'; it has 'one'." in story
    assert "'join' takes no 'one' any more; a version that does lets it run." in story
    assert f"flow.supply('join', run={calling.run('r.id')}, ...)" in story
    calling.run("flow.supply('join', run=r, first=5, two=6)")
    assert calling.run("r.result(60)") == (5, 6)


def test_results_come_in_order_whatever_their_size(calling: Any) -> None:
    calling.run("@ec.socket\ndef sized(n):\n    return 'x' * n if n < 10_000_000 else None")
    sizes = [1, 5000, 2, 2_000_000, 10_000_000, 3]
    calling.run(f"flow.map('sized', {sizes}); flow.wait(60)")
    found = calling.run("flow.results('sized')")
    assert [len(one) if one is not None else 10_000_000 for one in found] == sizes
    calling.run("@ec.socket\ndef yielding(n):\n    yield from range(n)\nflow.map('yielding', [2, 0, 1]); flow.wait(60)")
    assert calling.run("flow.results('yielding')") == [[0, 1], [], [0]]


def shown_by(calling: Any, cell: str, capsys: Any) -> list[str]:
    """Lines that a cell shows which fails."""
    capsys.readouterr()
    calling.fail(cell)
    return re.sub("\x1b[^m]*m", "", capsys.readouterr().out).splitlines()


def test_a_result_raises_the_tasks_own_exception_and_a_script_is_told_all_of_it(calling: Any) -> None:
    calling.run("%%ec_socket\ndef bad(x):\n    y = 1\n    return y / x")
    error = calling.fail("r = flow.submit('bad', 0)\nr.result(60)")
    n = calling.run("r.id")
    assert isinstance(error, ZeroDivisionError)
    where, text = error.__notes__
    assert where == (
        f"request {n} of 'bad' failed at line 4 of its cell on 'local', attempt 1; "
        f"flow.retry({n}) or %ec_retry {n} runs it again"
    )
    assert 'File "<socket bad>", line 4, in bad' in text
    assert isinstance(calling.run("flow.requests(state='failed')[0].exception()"), ZeroDivisionError)
    assert calling.run("flow.requests(state='failed')[0].error") == "ZeroDivisionError: division by zero"


@each_of("wait", ["r.result(60)", "await r", "raise r.exception(60)", "def f(): r.result(60)\nf()"])
def test_a_failure_in_a_cell_is_the_line_that_waited_then_the_tasks_own_with_their_cause_and_nothing_of_ours(
    calling: Any, capsys: Any, wait: str
) -> None:
    calling.run("def half(x):\n    return 1 / x")
    calling.run(
        "%%ec_socket\ndef bad(x):\n    try:\n        half(x)\n    except ZeroDivisionError as error:\n"
        "        raise ValueError('not zero') from error"
    )
    calling.run("r = flow.submit('bad', 0).wait(60)")
    n = calling.run("r.id")
    lines = shown_by(calling, wait, capsys)
    text = "\n".join(lines)
    assert lines[1].startswith("ValueError ")
    assert any(line.startswith("----> ") and wait.rsplit("\n", maxsplit=1)[-1] in line for line in lines)
    order = ["Cell In[", "line 4, in bad", "line 2, in half", "ZeroDivisionError: ", "direct cause", "line 6, in bad"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert lines[-2:] == [
        "ValueError: not zero",
        f"request {n} of 'bad' failed at line 6 of its cell on 'local', attempt 1; "
        f"flow.retry({n}) or %ec_retry {n} runs it again",
    ]
    assert "hidden" not in text
    assert "ec_jupyter/" not in text


def test_an_exception_of_a_call_goes_on_to_other_processes(calling: Any) -> None:
    calling.run("@ec.socket\ndef name(error): return type(error).__name__, str(error)")
    calling.run("error = flow.submit('fails', 0).exception(60)")
    assert calling.run("flow.submit('name', error).result(60)") == ("ZeroDivisionError", "division by zero")
    again = pickle.loads(pickle.dumps(calling.names["error"]))
    assert again._render_traceback_()[-1].endswith("runs it again")


@each_of(
    ("options", "body", "kind", "builtin"),
    [
        ("", "os._exit(3)", WorkerDiedError, RuntimeError),
        ("timeout=0.5", PASS, RequestTimeoutError, TimeoutError),
        ("", "import threading; return threading.Lock()", (TaskNotPicklableError, TypeError), TypeError),
        ("", "raise type('Odd', (Exception,), {'__init__': lambda s, a, b: None})(1, 2)", Exception, Exception),
    ],
)
def test_each_kind_of_failure_has_its_own_error(
    calling: Any, gate: Any, options: str, body: str, kind: Any, builtin: type
) -> None:
    calling.run(f"@ec.socket({options})\ndef f(x):\n    {body}")
    error = calling.fail("flow.submit('f', 1).result(60)")
    assert isinstance(error, kind)
    assert isinstance(error, builtin)
    assert calling.run("flow.submit('add', 1).result(60)") == 3


def test_a_call_that_crashes_says_at_which_line_and_how_long_it_ran(calling: Any, gate: Any) -> None:
    calling.run(f"@ec.socket(once=True)\ndef crash(x):\n    import ctypes, os\n    {PASS}\n    ctypes.string_at(0)")
    calling.run("r = flow.submit('crash', 1)")
    calling.fail("r.result(0.3)")
    gate.open()
    error = calling.fail("r.result(60)")
    place = r'at File ".*ctypes.*", line \d+ in string_at, called by File "<socket crash>", line 5 in crash'
    assert re.search(place, str(error))
    row = calling.run("r.row()")
    assert row["started"] + row["seconds"] == pytest.approx(row["finished"], abs=0.1)
    assert row["seconds"] > 0.1
    assert (row["slot"] is None, bool(row["pid"])) == (False, True)


def test_a_result_that_is_not_there_in_time_leaves_the_request_in_the_flow(calling: Any, gate: Any) -> None:
    calling.run("r = flow.submit('gated', 7)")
    error = calling.fail("r.result(timeout=0.01)")
    assert isinstance(error, TimeoutError)
    assert f"request {calling.run('r.id')} of 'gated' is " in str(error)
    gate.open()
    assert calling.run("r.result(60)") == 7


def test_a_wait_whose_time_is_over_is_one_line_that_says_why_the_call_has_not_ended(calling: Any, capsys: Any) -> None:
    calling.run("flow.pause('add'); flow.pause('gated')\n@ec.socket(processor='gated')\ndef other(x): return x")
    calling.run("flow.processor('gated').pause()")
    calling.run("@ec.socket(processor='none', cpus=1)\ndef nobody(x): return x\nflow.processor('none').cpus = 0")
    calls = {
        "flow.submit('nobody', 1)": "'nobody' is queued after 0.5 s; processor 'none' has 0 CPUs",
        "flow.submit('add', 1)": "'add' is queued after 0.5 s; socket 'add' is paused",
        "flow.submit('other', 1)": "'other' is queued after 0.5 s; processor 'gated' is paused",
        "flow.submit('join', 1, partial=True)": "'join' waits for other arguments after 0.5 s; "
        "flow.waiting('join') tells which",
    }
    for call, why in calls.items():
        number = calling.run(f"r = {call}; r.id")
        assert shown_by(calling, "r.result(0.5)", capsys) == [
            f"TimeoutError: request {number} of {why}; it stays in the flow"
        ]
    assert [row["note"] for row in calling.run("flow.status().rows") if row["socket"] == "nobody"] == ["0 CPUs"]
    number = calling.run("r = flow.submit('nobody', 1); r.id")
    assert shown_by(calling, "r.run.wait(0.5)", capsys) == [
        f"TimeoutError: run {number} has 1 queued and 0 running requests after 0.5 s; they stay in the flow"
    ]


def test_a_call_that_ran_too_long_is_shown_with_its_limit(calling: Any, gate: Any, capsys: Any) -> None:
    calling.run(f"@ec.socket(timeout=0.5)\ndef f(x):\n    {PASS}")
    number = calling.run("r = flow.submit('f', 1); r.id")
    lines = shown_by(calling, "r.result(60)", capsys)
    assert lines[-2] == f"RequestTimeoutError: request {number} of 'f': 'f' ran longer than 0.5 s"


def test_a_request_can_be_awaited_in_a_cell_and_in_a_plain_loop(calling: Any, gate: Any) -> None:
    async def both(one: Any, two: Any) -> list[Any]:
        return await asyncio.gather(one, two, return_exceptions=True)

    one, two = calling.run("flow.submit('add', 1), flow.submit('fails', 0)")
    found = asyncio.run(both(one, two))
    assert found[0] == 3
    assert isinstance(found[1], ZeroDivisionError)
    calling.run("r = flow.submit('gated', 5)")

    async def impatient() -> None:
        await asyncio.wait_for(calling.names["r"], 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    gate.open()
    assert calling.run("r.result(60)") == 5


def test_who_awaits_is_told_whoever_reads_and_whatever_becomes_of_the_engine(calling: Any, gate: Any) -> None:
    flow = calling.run("flow")

    async def first() -> list[Any]:
        waits = [asyncio.ensure_future(_of(flow.submit("gated", n))) for n in (4, 5)]
        await asyncio.sleep(0)
        # a wait that blocks the loop which reads, and another loop in another thread
        blocking = flow.submit("add", 1).result(60)
        other = await asyncio.to_thread(asyncio.run, _of(flow.submit("add", 2)))
        os.kill(calling.run("flow._client.engine_pid"), signal.SIGKILL)
        gate.open(20)
        return [blocking, other, *await asyncio.gather(*waits)]

    assert asyncio.run(first()) == [3, 4, 4, 5]
    # in the next loop too
    assert asyncio.run(_of(flow.submit("add", 3))) == 5


async def _of(request: Any) -> Any:
    return await asyncio.wait_for(request, 60)


def test_skipped_and_cancelled_requests_say_so(calling: Any, gate: Any) -> None:
    calling.run("@ec.socket\ndef skips(x): return ec.SKIP\nflow.plug('skips', 'add')")
    error = calling.fail("flow.submit('skips', 1).result(60)")
    assert isinstance(error, RequestSkippedError)
    assert str(error).endswith(" of 'skips' was skipped: its task returned ec.SKIP")
    assert "an argument of it can no longer come" in str(calling.fail("flow.requests('add')[-1].result(60)"))
    calling.run("a, b = flow.map('gated', [1, 2])")
    assert calling.run("%ec_cancel b") == 1
    assert isinstance(calling.fail("b.result(60)"), RequestCancelledError)
    assert calling.run("a.cancel()")
    assert isinstance(calling.fail("a.result(60)"), RequestCancelledError)
    assert calling.run("b.state") == "cancelled"


@each_of(
    ("call", "value"),
    [
        ("flow.submit('rest', 1, 2, 3, b=4)", (1, (2, 3), 4, {})),
        ("flow.submit('rest', 1, x=5, b=4)", (1, (), 4, {"x": 5})),
        ("flow.submit('rest', a=1)", (1, (), 2, {})),
        ("flow.map('rest', [1], [2])[0]", (1, (2,), 2, {})),
        ("%ec_submit rest 1 2 3 b=4", (1, (2, 3), 4, {})),
        ("%ec_submit rest 1, 2 + 1, x='a b'", (1, (3,), 2, {"x": "a b"})),
    ],
)
def test_a_task_takes_what_is_left_over_as_a_call_in_python_does(calling: Any, call: str, value: Any) -> None:
    calling.run("@ec.socket\ndef rest(a, *rest, b=2, **more): return a, rest, b, more")
    assert calling.run(f"r = {call}" if call[0] != "%" else call.replace("%", "r = %", 1)) is None
    assert calling.run("r.result(60)") == value
    assert calling.run("flow.recall(r)")["a"] == 1


def test_left_over_arguments_need_all_the_others(calling: Any) -> None:
    calling.run("@ec.socket\ndef rest(*rest, b): return rest, b")
    error = calling.fail("flow.submit('rest', 1, partial=True).id")
    assert isinstance(error, ArgumentsError)
    assert "*rest of 'rest'" in str(error)


# -- looking ---------------------------------------------------------------------
def test_attempts_are_all_that_were_begun_readable_and_a_retry_names_its_socket(calling: Any) -> None:
    calling.run("@ec.socket(retries=1, backoff=0)\ndef boom(x):\n    if x: raise ValueError('bad\\nworse')")
    calling.run("r = flow.submit('boom', 1).wait(60)")
    assert repr(calling.run("flow.retry(r)")) == f"[<request {calling.run('r.id')} of 'boom'>]"
    calling.run("r.wait(60)")
    rows = calling.run("r.attempts").rows
    assert [(row["attempt"], row["state"], row["error"]) for row in rows] == [
        (n, "failed", "ValueError: bad … (line 3)") for n in (1, 2, 3, 4)
    ]
    assert all(re.fullmatch(r"[\d:-]+( [\d:]+)?", row["started"]) and row["seconds"][-1] == "s" for row in rows)
    assert calling.run("flow.requests()").rows[0]["error"] == "ValueError: bad … (line 3)"
    assert calling.run("r.error") == "ValueError: bad …"
    assert [row["state"] for row in calling.run("flow.submit('boom', 0).wait(60).attempts").rows] == ["done"]


def test_numbers_and_texts_that_no_frame_carries_do_not_harm_the_engine_when_a_task_sends_them(calling: Any) -> None:
    engine = calling.run("flow._client.engine_pid")
    calling.run("""
@ec.socket
def odd(total):
    for _ in ec.progress(range(2), total=total, text=chr(0xD800)):
        print(chr(0xDFFF))
    return total
""")
    calling.run("rs = flow.map('odd', [float('nan'), float('inf'), float('-inf')])")
    assert [str(x) for x in calling.run("[r.result(60) for r in rs]")] == ["nan", "inf", "-inf"]
    assert calling.run("flow._client.engine_pid") == engine


def test_how_far_a_running_task_is_stands_in_the_tables_whenever_they_are_asked_for(
    calling: Any, gate: Any, wait_until: Callable[..., Any]
) -> None:
    calling.run(f"@ec.socket\ndef steps(n):\n    for _ in ec.progress(range(n), text='files'):\n        {PASS}")
    calling.run("r = flow.submit('steps', 3)")
    wait_until(lambda: calling.run("r.progress") == "0 of 3 files")
    gate.open()
    wait_until(lambda: calling.run("r.progress") == "1 of 3 files")
    assert calling.run("repr(flow.requests())").count("1 of 3 files") == 1
    assert repr(calling.run("%ec_status")).count("1 of 3 files") == 1
    gate.open(2)
    calling.run("r.result(60)")
    assert calling.run("r.progress, flow.status().rows[-1]['progress']") == (None, "")


@each_of(("total", "shown"), [("float('nan')", "0"), ("1e400", "0"), ("__import__('numpy').int64(7)", "0 of 7")])
def test_a_total_of_any_kind_of_number_is_shown_or_left_out(
    calling: Any, gate: Any, wait_until: Callable[..., Any], total: str, shown: str
) -> None:
    calling.run(f"@ec.socket\ndef steps():\n    for _ in ec.progress([1], total={total}):\n        {PASS}")
    calling.run("r = flow.submit('steps')")
    wait_until(lambda: calling.run("r.progress") == shown)
    gate.open()
    calling.run("r.result(60)")


def test_requests_are_listed_in_order_of_acceptance_or_of_start(calling: Any) -> None:
    calling.run("flow.map('gated', []); rs = flow.map('add', range(50)); flow.wait(60)")
    assert [r.id for r in calling.run("flow.requests('add')")] == [r.id for r in calling.run("rs")]
    started = calling.run("flow.requests('add', by='started')")
    assert sorted(r.id for r in started) == [r.id for r in calling.run("rs")]
    assert [r.started for r in started] == sorted(r.started for r in started)
    assert [r.id for r in calling.run("flow.requests(limit=3)")] == [r.id for r in calling.run("rs")][-3:]
    assert calling.run("flow.requests('add')[-1].arguments") == {"one": 49}
    assert calling.run("flow.requests(state='done').to_frame().shape[0]") == 50


def test_a_record_tells_who_ran_it_when_and_what_it_printed(calling: Any) -> None:
    calling.run("@ec.socket\ndef says(x):\n    print('saying', x)\n    return x\nr = flow.submit('says', 1).wait(60)")
    assert calling.run("r.socket, r.state, r.attempt, r.node, r.task_version, r.run.id == r.id") == (
        "says", "done", 1, "local", 1, True,
    )  # fmt: skip
    assert calling.run("r.output") == "saying 1\n"
    assert calling.run("0 <= r.finished - r.started < 60 and r.pid > 0 and r.done()")


def test_lineage_walks_back_to_the_root_and_forward_to_all_that_came_of_it(calling: Any) -> None:
    calling.run("flow.plug('add', 'join.one'); flow.plug('add', 'join.two'); r = flow.submit('add', 1); flow.wait(60)")
    joined = calling.run("flow.requests('join')[0]")
    assert calling.run("flow.requests('join')[0].parents") == [calling.run("r")]
    first, graph = calling.run("r.id, flow.lineage(r).to_networkx()")
    assert sorted(graph.edges(data="argument")) == [(first, joined.id, "one"), (first, joined.id, "two")]
    assert f"one from {first}, two from {first}" in repr(joined.lineage())


def test_an_unknown_request_is_an_error(calling: Any) -> None:
    assert isinstance(calling.fail("flow.request(99)"), RequestNotFoundError)
    assert isinstance(calling.fail("%ec_cancel 99"), RequestNotFoundError)


def test_recall_brings_back_gathered_values_and_failures(calling: Any) -> None:
    calling.run(
        "@ec.socket\ndef emits(n): yield from range(n)\n@ec.socket\ndef total(values): return sum(values)\n"
        "@ec.socket\ndef quarantine(failure): return failure.type\n"
        "flow.plug('emits', 'total', gather=True); flow.plug('fails', 'quarantine', on='error')\n"
        "a = flow.submit('emits', 3); b = flow.submit('fails', 0); flow.wait(60)"
    )
    assert calling.run("flow.recall(flow.requests('total')[0])") == {"values": [0, 1, 2]}
    failure = calling.run("%ec_debug {}".format(calling.run("flow.requests('quarantine')[0].id")))["failure"]
    assert (failure.type, failure.arguments) == ("ZeroDivisionError", {"x": 0})
    assert calling.run("flow.requests('quarantine')[0].result()") == "ZeroDivisionError"


# -- waiting values ----------------------------------------------------------------
def test_what_waits_can_be_seen_supplied_and_thrown_away(calling: Any) -> None:
    calling.run("flow.plug('add', 'join.one'); a, b = flow.map('add', [1, 5]); flow.wait(60)")
    items = calling.run("%ec_waiting join")
    assert [(i.socket, i.argument, i.value(), i.missing) for i in items] == [
        ("join", "one", 3, ["two"]), ("join", "one", 7, ["two"]),
    ]  # fmt: skip
    assert all(i.since <= time.time() for i in items)
    assert [i.run.id for i in items] == [calling.run("a.id"), calling.run("b.id")]
    calling.run("flow.supply('join', run=b, two='b'); flow.discard(flow.waiting()[0]); flow.wait(60)")
    assert calling.run("b.run.results('join'), a.run.results('join'), len(flow.waiting())") == ([(7, "b")], [], 0)
    error = calling.fail("flow.supply('join', tow=1)")
    assert isinstance(error, ArgumentsError)


@each_of("line", ["flow.submit('join', one=1, partial=True)", "%ec_submit --partial join one=1"])
def test_a_request_that_is_partial_on_purpose_waits_for_the_rest(calling: Any, line: str) -> None:
    calling.run(f"r = {line}")
    assert calling.run("r.state") == "waiting"
    calling.run("flow.supply(flow.waiting('join')[0], two=2)")
    assert calling.run("r.result(60)") == (1, 2)


# -- stopping and starting -----------------------------------------------------------
@each_of("what", ["add", "main", ""])
def test_paused_work_is_accepted_and_starts_in_order_once_resumed(calling: Any, what: str) -> None:
    # on one CPU: of two workers the one that was given the second call may be the first to begin
    calling.run("flow.processor('main', cpus=1)")
    calling.run(f"%ec_pause {what}")
    calling.run("rs = flow.map('add', range(20))")
    left = calling.run("%ec_wait --timeout 60")
    assert left["paused"] == 20
    assert "paused" in repr(left)
    calling.run(f"%ec_resume {what}")
    assert calling.run("[r.result(60) for r in rs]") == list(range(2, 22))
    assert calling.run("[r.id for r in flow.requests('add', by='started')][-20:] == [r.id for r in rs]")


def test_a_failed_request_runs_again_with_the_newest_code_and_its_run_goes_on(calling: Any) -> None:
    calling.run("flow.plug('fails', 'add.one'); r = flow.submit('fails', 0); flow.wait(60)")
    assert isinstance(calling.fail("r.result(60)"), ZeroDivisionError)
    calling.run("@ec.socket\ndef fails(x): return x + 40")
    assert calling.run("%ec_retry r") == [calling.run("r")]
    assert calling.run("r.result(60), r.run.results('add')") == (40, [42])
    assert calling.run("%ec_retry --all") == []


def test_a_replay_runs_again_from_one_socket_only_and_leaves_the_originals(calling: Any) -> None:
    calling.run("flow.plug('add', 'join.one'); flow.fix('join', two=0); r = flow.submit('add', 1); flow.wait(60)")
    calling.run("@ec.socket\ndef join(one, two): return 'new', one")
    calling.run("again = %ec_replay r --from join")
    assert calling.run("again.results('join', 60), r.run.results('join')") == ([("new", 3)], [(3, 0)])
    assert calling.run("len(flow.requests('add'))") == 1


def test_a_wait_that_is_too_long_leaves_the_flow_at_work(calling: Any, gate: Any) -> None:
    calling.run("r = flow.submit('gated', 1)")
    error = calling.fail("%ec_wait --timeout 0.05")
    assert isinstance(error, TimeoutError)
    assert "flow 'main' is at work" in str(error)
    assert isinstance(calling.fail("r.run.wait(0.05)"), TimeoutError)
    gate.open()
    assert calling.run("r.run.wait(60).state") == "done"


def test_drained_can_be_awaited(calling: Any, gate: Any) -> None:
    calling.run("r = flow.submit('gated', 1)")

    async def meanwhile() -> Any:
        left = asyncio.ensure_future(calling.names["flow"].drained())
        await asyncio.sleep(0)
        gate.open()
        return await left

    assert asyncio.run(meanwhile())["failed"] == 0
    assert calling.run("r.state") == "done"


def test_counts_are_facts_and_a_table(calling: Any) -> None:
    calling.run("flow.map('add', range(3)); flow.submit('fails', 0); flow.submit('join', 1, partial=True)")
    calling.run("left = flow.wait(60)")
    status = calling.run("%ec_status")
    assert (status["sockets"]["add"]["done"], status["sockets"]["fails"]["failed"], status["idle"]) == (3, 1, True)
    assert "<td" in status._repr_html_()
    assert calling.run("left.to_frame()['socket'].tolist()") == ["fails", "join"]


def test_clearing_empties_the_flow_and_keeps_the_wiring(calling: Any) -> None:
    calling.run("flow.map('add', range(3)); flow.wait(60); flow.clear()")
    assert calling.run("len(flow.requests()), 'add' in flow") == (0, True)
    assert calling.run("flow.submit('add', 1).result(60)") == 3


def test_who_waits_for_a_request_that_is_cleared_is_told_so(calling: Any, gate: Any, capsys: Any) -> None:
    calling.run("made = [*flow.map('gated', range(3)), flow.submit('join', 1, partial=True), flow.submit('gated', 3)]")
    calling.run("import threading; clear = threading.Timer(0.5, flow.clear); clear.start()")
    for at in range(5):
        error = calling.fail(f"made[{at}].result(60)")
        assert isinstance(error, RequestNotFoundError)
        assert "any more; it was cleared" in str(error)
    gate.open()
    assert calling.run("flow.submit('add', 1).result(60)") == 3


def test_a_large_result_and_its_arguments_are_there_after_gc(calling: Any) -> None:
    calling.run("import numpy as np\ndef ones(n): return np.ones(n)\nflow.declare(ones)")
    calling.run("big = flow.submit('ones', 2_000_000); flow.wait(60)")
    assert calling.run("flow.gc()") == {"files": 0, "bytes": 0}
    assert calling.run("big.result(60).sum(), flow.results('ones')[0].size") == (2_000_000.0, 2_000_000)
    assert calling.run("flow.recall(big), flow.replay(big).results('ones')[0].size") == ({"n": 2_000_000}, 2_000_000)


def test_a_flow_does_not_travel_into_a_task(calling: Any) -> None:
    error = calling.fail("@ec.socket\ndef f(x): return flow")
    assert isinstance(error, TaskNotPicklableError)
    assert "'flow'" in str(error)


def test_a_task_knows_its_own_call(calling: Any) -> None:
    calling.run("@ec.socket\ndef who(x):\n    c = ec.current()\n    return c.request_id, c.run_id, c.attempt, c.socket")
    assert calling.run("r = flow.submit('who', 1); r.result(60) == (r.id, r.run.id, 1, 'who')")
    with pytest.raises(ec.EcError, match="inside a task"):
        ec.current()


def test_submitted_values_lie_in_the_flows_own_folder(calling: Any, notebook_folder: Path) -> None:
    calling.run("flow.submit('add', b'x' * 200_000, b'').result(60)")
    files = [f.name for f in (notebook_folder / ".ec_jupyter" / "main" / "values").iterdir()]
    assert any(name.startswith("in.") for name in files)


def test_a_failure_that_waits_or_was_an_argument_is_loaded_as_one(calling: Any) -> None:
    calling.run("flow.plug('fails', 'join.one', on='error'); flow.submit('fails', 0); flow.wait(60)")
    assert calling.run("e = flow.waiting('join')[0].value(); type(e).__name__, e.arguments") == ("Failure", {"x": 0})
    calling.run("flow.supply(flow.waiting('join')[0], two=1); flow.wait(60)")
    assert calling.run("flow.recall(flow.requests('join')[0])['one'].arguments") == {"x": 0}


def test_all_that_waits_is_listed_and_discarded_however_many(calling: Any) -> None:
    calling.run("rs = flow.map('join', range(1_200), partial=True)")
    assert calling.run("len(flow.waiting())") == 1_200
    calling.run("flow.discard(flow.waiting())")
    assert calling.run("len(flow.waiting()), flow.wait(60)['waiting']") == (0, 0)


def test_a_cancelled_request_that_waited_leaves_nothing_waiting(calling: Any) -> None:
    calling.run("@ec.socket\ndef three(a, b, c): return a, b, c")
    calling.run("r = flow.submit('three', 1, partial=True); flow.supply('three', run=r, b=2)")
    assert calling.run("len(flow.waiting('three'))") == 2
    assert calling.run("%ec_cancel r") == 1
    assert calling.run("len(flow.waiting('three')), r.state") == (0, "cancelled")
    calling.run("r.retry(); flow.supply('three', run=r, c=3)")
    assert calling.run("r.result(60)") == (1, 2, 3)


def test_a_wait_of_no_time_tells_whether_anything_is_left_to_do(calling: Any, gate: Any) -> None:
    calling.run("flow.submit('add', 1).result(60)")
    assert calling.run("flow.wait(0)['failed'], flow.wait(60)['failed']") == (0, 0)
    calling.run("flow.submit('gated', 1)")
    assert isinstance(calling.fail("flow.wait(0)"), TimeoutError)


@each_of("where", ["'collect', element=1", "flow.waiting('collect')[0]"])
def test_an_element_that_a_list_lacks_is_supplied_by_hand(calling: Any, where: str) -> None:
    calling.run("@ec.socket\ndef numbers(n): return list(range(n))\n@ec.socket\ndef div(x): return 6 // (x - 1)")
    calling.run("@ec.socket\ndef collect(xs): return xs\nflow.plug('numbers', 'div.x', map=True)")
    calling.run("flow.plug('div', 'collect.xs', gather=True); flow.submit('numbers', 3); flow.wait(60)")
    calling.run(f"flow.supply({where}, xs=0); flow.wait(60)")
    assert calling.run("flow.requests('numbers')[-1].run.results('collect')") == [[-6, 0, 6]]
    assert calling.run("len(flow.waiting('collect'))") == 0


def test_what_waits_for_an_element_names_it_and_is_supplied_by_it(calling: Any) -> None:
    calling.run("@ec.socket\ndef numbers(n): return list(range(n))\n@ec.socket\ndef div(x): return 6 // (x - 1)")
    calling.run("@ec.socket\ndef collect(xs): return xs\nflow.plug('numbers', 'join.one', map=True)")
    calling.run("flow.plug('numbers', 'div.x', map=True); flow.plug('div', 'collect.xs', gather=True)")
    calling.run("flow.submit('numbers', 3); flow.wait(60)")
    assert calling.run("{w.element: w.missing for w in flow.waiting('join')}") == {(i,): ["two"] for i in range(3)}
    assert calling.run("{w.element: w.missing for w in flow.waiting('collect')}") == {(i,): ["xs[1]"] for i in (0, 2)}
    calling.run("flow.supply('join', element=1, two='b'); flow.supply(flow.waiting('join')[0], two='a'); flow.wait(60)")
    assert calling.run("flow.results('join')") == [(1, "b"), (0, "a")]
    # the element whose call has failed is dropped from the list
    calling.run("flow.discard(flow.requests('div', state='failed')); flow.wait(60)")
    assert calling.run("flow.results('collect')") == [[-6, 6]]


LOST = """
@ec.socket
def numbers(n): return list(range(n))
@ec.socket
def div(x): return 1 // 0
@ec.socket
def collect(xs): return xs
flow.plug('numbers', 'div.x', map=True); flow.plug('div', 'collect.xs', gather=True)
flow.submit('numbers', 3); flow.wait(60)
"""


def test_a_list_of_which_every_element_has_failed_waits_by_name_and_is_supplied(calling: Any) -> None:
    calling.run(LOST)
    assert calling.run("[(w.argument, w.element, w.missing, w.stranded) for w in flow.waiting('collect')]") == [
        ("xs", (), ["xs[0]", "xs[1]", "xs[2]"], False)
    ]
    assert calling.run("repr(flow.waiting()[0])") == "<list waiting at collect.xs for xs[0], xs[1], xs[2]>"
    calling.run("flow.supply('collect', element=1, xs='b'); w = flow.waiting('collect')[0]")
    assert calling.run("w.value(), w.missing") == ("b", ["xs[0]", "xs[2]"])
    calling.run("flow.supply(w, xs='a'); flow.discard(flow.waiting('collect')[0], element=2); flow.wait(60)")
    assert calling.run("flow.results('collect'), len(flow.waiting())") == ([["a", "b"]], 0)


def test_elements_are_dropped_from_a_list_of_which_nothing_has_come_or_the_whole_of_it_is(calling: Any) -> None:
    calling.run(LOST)
    calling.run("w = flow.waiting('collect')[0]; flow.discard(w, element=0); flow.supply(w, element=2, xs='c')")
    calling.run("%ec_stop")
    assert calling.run("[w.missing for w in flow.waiting('collect')]") == [["xs[1]"]]
    calling.run("w.discard(element=1); flow.wait(60)")
    assert calling.run("flow.results('collect'), len(flow.waiting())") == ([["c"]], 0)
    assert "lacks element 1 of collect.xs" in str(calling.fail("w.discard(element=1)"))
    # what comes of a late success has no place any more
    calling.run("@ec.socket\ndef div(x): return x\nflow.retry('div'); flow.wait(60)")
    assert calling.run("flow.results('collect'), len(flow.waiting())") == ([["c"]], 0)
    calling.run("@ec.socket\ndef div(x): return 1 // 0\nr = flow.submit('numbers', 3); flow.wait(60)")
    calling.run("flow.discard(flow.waiting()); flow.wait(60)")
    calling.run("%ec_stop")
    assert calling.run("[q.state for q in r.run.requests if q.socket == 'collect']") == ["skipped"]
    assert calling.run("len(flow.waiting())") == 0


def test_an_element_on_its_way_is_not_dropped_from_its_list(
    calling: Any, gate: Any, wait_until: Callable[..., Any]
) -> None:
    calling.run(f"@ec.socket(processor='gated')\ndef div(x):\n    1 // x\n    {PASS}\n    return x")
    calling.run(LOST.replace("def div(x): return 1 // 0", "def other(): pass").replace("; flow.wait(60)", ""))
    wait_until(lambda: calling.run("len(flow.waiting('collect'))") == 1)
    error = calling.fail("flow.discard(flow.waiting('collect')[0], element=2)")
    assert str(error) == "element 2 of collect.xs is on its way; cancel the call that makes it first"
    calling.run("flow.discard(flow.waiting('collect')[0], element=0)")
    gate.open(2)
    calling.run("flow.wait(60)")
    assert calling.run("flow.results('collect')") == [[1, 2]]
    error = calling.fail("flow.discard(flow.requests('div'), element=0)")
    assert "discard takes element= with items of flow.waiting()" in str(error)


def test_a_submit_and_a_map_to_a_full_socket_wait_for_room_or_say_that_there_is_none(calling: Any) -> None:
    calling.run("@ec.socket(limit=3)\ndef few(x): return x")
    assert calling.run("[r.result(60) for r in flow.map('few', range(20))]") == list(range(20))
    assert calling.run("flow.submit('few', 7).result(60)") == 7
    calling.run("flow.pause('few'); flow.map('few', range(3))")
    (row,) = [row for row in calling.run("flow.status().rows") if row["socket"] == "few"]
    assert row["note"] == "full: holds 3; paused"
    calling.run("few = ec.socket(limit=3, full='error')(few)")
    with pytest.raises(ec.QueueFullError, match=r"'few' is full: it holds 3 \(limit=3\)"):
        calling.run("flow.submit('few', 1)")
    calling.run("few = ec.socket(full='drop-oldest')(few); newest = flow.map('few', range(10, 13)); flow.resume()")
    assert calling.run("[r.result(60) for r in newest]") == [10, 11, 12]
    assert len(calling.run("flow.requests('few', state='skipped')")) == 3


def test_a_priority_of_a_submit_is_taken_in_its_line_as_well_and_one_that_is_none_submits_nothing(calling: Any) -> None:
    assert calling.run("%ec_submit --priority 5 add one=1 two=2").result(60) == 3
    for line in ("%ec_submit --priority high add one=1 two=2", "flow.map('add', [1], [2], priority=101)"):
        with pytest.raises(ec.ArgumentsError, match="a submit: priority= takes a whole number from -100 to 100"):
            calling.run(line)
    assert len(calling.run("flow.requests('add')")) == 1


def test_a_submit_names_who_is_told_of_its_end(calling: Any, wait_until: Callable[..., Any]) -> None:
    address = Address()
    try:
        first = calling.run(f"flow.submit('add', 1, callback={address.url!r}, delay=0.1)")
        second = calling.run(f"%ec_submit --callback {address.url} fails x=0")
        assert first.result(60) == 3
        wait_until(lambda: len(address.told) == 2)
        told = {one["id"]: one["state"] for one in address.told}
        assert told == {first.id: "done", second.id: "failed"}
    finally:
        address.close()
