"""A function becomes the task of a socket."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.errors import DeclarationError
from ec_jupyter.notebook.views import SocketOptions
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine


def test_the_function_stays_a_plain_one_that_can_be_called_by_hand(loaded: Any) -> None:
    loaded.run("%%ec_socket\ndef add_two(one, two):\n    return one + two")
    assert loaded.run("add_two(1, 2)") == 3
    assert loaded.run("len(ec.flow().requests())") == 0
    assert loaded.run("ec.flow().submit('add_two', 1, two=2).result(60)") == 3


def test_the_decorator_gives_the_function_itself(loaded: Any) -> None:
    loaded.run("def plain(x): return x\nkept = ec.socket('named', retries=2, timeout=9.5)(plain)")
    assert loaded.run("kept is plain")
    assert loaded.run("ec.flow()['named'].options['retries'], ec.flow()['named'].options['timeout']") == (2, 9.5)
    loaded.run("@ec.socket\ndef bare(x): return x")
    assert loaded.run("list(ec.flow().sockets)") == ["named", "bare"]


FACTORIAL = "def task(n): return 1 if n < 2 else n * task(n - 1)"


@each_of(
    ("cell", "expected"),
    [
        (f"@ec.socket\n{FACTORIAL}", 6),
        # the former one is what the name stands for when the decorator is called
        (f"def task(n): return 0\n@ec.socket(retries=1)\n{FACTORIAL}", 6),
        (f"import functools\n@ec.socket\n@functools.cache\n{FACTORIAL}", 6),
        (f"def made():\n  @ec.socket\n  {FACTORIAL}\nmade()", 6),
        # no definition: the name stands for another by now
        (f"{FACTORIAL}\nformer = task\ndef task(n): return 7\nec.socket(former, name='task')", 21),
    ],
)
def test_a_function_that_calls_itself_is_a_task(loaded: Any, cell: str, expected: int) -> None:
    loaded.run(cell)
    assert loaded.run("ec.flow().submit('task', 3).result(60)") == expected
    assert "stale" not in loaded.run("repr(ec.flow().status())")


WRAPPED = "import functools\ndef {0}(f):\n  @functools.wraps(f)\n  def inner({1}): return f({1})\n  return inner\n"


@each_of("taken", ["*values", "value", "*a, **k"])
def test_a_wrapper_that_names_its_arguments_otherwise_gets_them_in_order(loaded: Any, taken: str) -> None:
    loaded.run(f"{WRAPPED.format('same', taken)}@ec.socket\n@same\ndef task(x): return x + 1")
    assert loaded.run("ec.flow().submit('task', 3).result(60)") == 4
    assert loaded.run("ec.flow().submit('task', x=3).result(60)") == 4


@each_of("method", [None, "spawn"])
def test_a_task_may_have_processes_of_its_own(loaded: Any, method: str | None) -> None:
    loaded.run(
        "@ec.socket\ndef task(xs):\n  import math, multiprocessing\n"
        f"  with multiprocessing.get_context({method!r}).Pool(1) as pool:\n    return pool.map(math.sqrt, xs)"
    )
    assert loaded.run("ec.flow().submit('task', [4, 9]).result(60)") == [2, 3]


def test_pickles_and_forks_of_a_task_find_what_the_notebook_has(loaded: Any) -> None:
    loaded.run("class Point:\n  def __init__(self, x): self.x = x")
    loaded.run("def double(point): return Point(point.x * 2)")
    loaded.run(
        "@ec.socket\ndef task(points):\n  import multiprocessing, pickle\n"
        "  with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    return pool.map(double, pickle.loads(pickle.dumps(points)))"
    )
    assert loaded.run("[type(p) is Point and p.x for p in ec.flow().submit('task', [Point(1)]).result(60)]") == [2]


def test_every_option_of_the_magic_reaches_the_socket(loaded: Any) -> None:
    loaded.run(
        "%%ec_socket other -p maths --cpus 2 --threads 2 --retries 3 --backoff 0.5 --timeout 60 --memory 1000000000 "
        "--once --fresh --priority -7 --rate 10/s --cache 2GB "
        "--limit 9 --full drop-oldest --callback http://a.example/x --keep 7d\ndef f(x): return x"
    )
    assert loaded.run("ec.flow()['maths.other'].options") == {
        "threads": 2, "retries": 3, "backoff": 0.5, "timeout": 60.0, "once": True, "fresh": True, "memory": 1000000000,
        "processor": "maths", "cpus": 2, "join": "run", "on": [], "hold": [], "wait": None, "key": None,
        "priority": -7, "rate": "10/s", "cache": "2000000000B", "limit": 9, "full": "drop-oldest",
        "callback": "http://a.example/x", "keep": "604800s", "concurrent": 1,
    }  # fmt: skip
    assert loaded.run("ec.flow().processor('maths').cpus") == 2


def test_the_same_cell_again_is_the_same_version_and_a_changed_one_is_the_next(loaded: Any) -> None:
    cell = "%%ec_socket\ndef f(x):\n    return x + {}"
    loaded.run(cell.format(1))
    loaded.run("f_before = ec.flow().submit('f', 1)")
    assert loaded.run("f_before.result(60)") == 2
    loaded.run(cell.format(1))
    assert loaded.run("len(ec.flow()['f'].versions), ec.flow()['f'].task.version") == (1, 1)
    loaded.run(cell.format(10))
    assert loaded.run("len(ec.flow()['f'].versions), ec.flow()['f'].task.version") == (2, 2)
    assert loaded.run("r = ec.flow().submit('f', 1); r.result(60), r.task_version") == (11, 2)
    assert loaded.run("f_before.task_version") == 1


def test_plugs_and_waiting_values_survive_a_new_version(loaded: Any) -> None:
    loaded.run("@ec.socket\ndef a(x): return x\n@ec.socket\ndef f(one, two): return one + two\nflow = ec.flow()")
    loaded.run("flow.plug('a', 'f.one'); r = flow.submit('a', 1); flow.wait(60)")
    loaded.run("@ec.socket\ndef f(one, two): return one * two")
    loaded.run("flow.supply('f', two=5); flow.wait(60)")
    assert loaded.run("r.run.results('f')") == [5]


def test_the_last_expression_of_the_cell_is_shown(loaded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    loaded.run("%%ec_socket\ndef f(x): return x\nf('tried by hand')")
    assert "tried by hand" in capsys.readouterr().out


def test_an_error_in_the_cell_registers_nothing_and_shows_its_own_line(
    loaded: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    error = loaded.fail("%%ec_socket\ndef f(x): return x\n1 / 0")
    assert isinstance(error, ZeroDivisionError)
    shown = capsys.readouterr().out
    assert "line 3" in shown
    assert "exec(" not in shown
    assert loaded.run("list(ec.flow().sockets)") == []


@each_of(("name", "offer"), [("add-two", "add_two"), ("2nd", "_2nd"), ("class", "class_"), ("a b", "a_b")])
def test_a_name_that_cannot_be_gets_an_offer(loaded: Any, name: str, offer: str) -> None:
    error = loaded.fail(f"ec.socket({name!r})(lambda x: x)")
    assert isinstance(error, DeclarationError)
    assert repr(name) in str(error)
    assert repr(offer) in str(error)


def test_a_lambda_and_an_object_can_be_tasks(loaded: Any) -> None:
    loaded.run("%%ec_socket\ntriple = lambda x: 3 * x")
    loaded.run("class Adder:\n def __init__(s, n): s.n = n\n def __call__(s, x): return x + s.n")
    loaded.run("flow = ec.flow()\nflow.declare(Adder(5), 'adder')")
    assert loaded.run("flow.submit('triple', 2).result(60), flow.submit('adder', 2).result(60)") == (6, 7)


@each_of(
    ("task", "given", "expected"),
    [
        ("max", "(1, 2)", 2),
        ("max", "([3, 4],)", 4),
        ("int", "('12',)", 12),
        ("int", "('101', 2)", 5),
        ("abs", "(-1,)", 1),
        ("str.upper", "('a',)", "A"),
        ("dict", "([('a', 1)],)", {"a": 1}),
        ("partial(int, base=2)", "('101',)", 5),
        ("partial(max, 5)", "(3,)", 5),
        ("partial(pow, 2)", "(3,)", 8),
        ("operator.itemgetter(1)", "([1, 2],)", 2),
    ],
)
def test_a_function_or_type_of_python_can_be_a_task(loaded: Any, task: str, given: str, expected: object) -> None:
    loaded.run("import operator\nfrom functools import partial\nflow = ec.flow()")
    version = loaded.run(f"flow.declare({task}, 'f').task.version")
    assert loaded.run(f"flow.submit('f', *{given}).result(60)") == expected
    assert loaded.run(f"flow.declare({task}, 'f').task.version") == version


def test_arguments_that_a_task_does_not_tell_can_be_given(loaded: Any) -> None:
    loaded.run("flow = ec.flow()\nclass Odd:\n __signature__ = 3\n def __call__(self, *args): return args\nodd = Odd()")
    error = loaded.fail("flow.declare(odd, 'odd')")
    assert str(error).endswith("name them in the order it takes them: signature='x, y=1'")
    assert "is no list of arguments" in str(loaded.fail("flow.declare(odd, 'odd', signature='x, y=1/0')"))
    loaded.run("flow.declare(odd, 'odd', signature='x, y=1')\nflow.declare(max, 'max', signature='a, b')")
    assert loaded.run("flow.submit('odd', y=2, x=1).result(60), flow.submit('odd', 5).result(60)") == ((1, 2), (5,))
    error = loaded.fail("flow.declare(odd, 'odd', signature='x=0, y=1')\nflow.submit('odd', y=1).result(60)")
    assert str(error) == "'x' is missing before 'y': the arguments are passed by position"
    assert loaded.run("import operator\nflow.declare(operator.sub)\nflow.submit('sub', b=1, a=3).result(60)") == 2
    loaded.run("flow.plug('odd', 'max.b')")
    assert loaded.run("flow.declare(odd, 'odd', signature='x, y, z').task.version") == 3


def test_an_unknown_option_names_the_nearest(loaded: Any) -> None:
    error = loaded.fail("ec.socket(retrys=2)(lambda x: x)")
    assert "no option 'retrys'; did you mean 'retries'?" in str(error)


def test_a_socket_that_could_never_run_is_refused(loaded: Any) -> None:
    error = loaded.fail("%%ec_socket -p one --cpus 1 --threads 2\ndef f(x): return x")
    assert isinstance(error, DeclarationError)
    assert "2 CPUs" in str(error)
    assert loaded.run("list(ec.flow().sockets)") == []


def test_a_heavy_captured_value_warns(loaded: Any) -> None:
    loaded.run("import numpy as np\nbig = np.zeros(1 << 18)")
    with pytest.warns(UserWarning, match=r"task 'f' carries 'big' \(2\.0 MiB\)"):
        loaded.run("%%ec_socket\ndef f(): return big.sum()")


def test_a_second_notebook_takes_a_name_with_a_warning_that_names_both(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded.run("flow = ec.flow('shared')")
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/first.ipynb")
    loaded.run("flow.declare(lambda x: 1, 'f')")
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/second.ipynb")
    with pytest.warns(UserWarning, match=r"'f' was registered by 'first\.ipynb', and from now on by 'second\.ipynb'"):
        loaded.run("flow.declare(lambda x: 2, 'f')")
    assert loaded.run("flow['f'].task.client") == "second.ipynb"
    loaded.run("flow.declare(lambda x: 3, 'f')")


def test_a_captured_value_bound_anew_marks_the_socket_until_the_cell_is_run_again(loaded: Any) -> None:
    loaded.run("k = 3")
    loaded.run("%%ec_socket\ndef f(x): return x * k")
    stale = "ec.flow()['f'].task.stale"
    assert loaded.run(stale) == []
    loaded.run("k = 4")
    assert loaded.run(stale) == ["k"]
    assert "stale: k" in loaded.run("repr(ec.flow().status())")
    assert "socket f, task v1, stale k" in loaded.run("repr(ec.flow().tree())")
    loaded.run("k = 3")
    assert loaded.run(stale) == []
    loaded.run("k = [4]")
    loaded.run("%%ec_socket\ndef f(x): return x * k[0]")
    assert loaded.run(stale) == []
    loaded.run("k = [4]  # bound anew, but to its equal")
    assert loaded.run(stale) == []
    assert loaded.run("ec.flow().submit('f', 2).result(60)") == 8


def test_a_function_defined_later_marks_the_socket_that_uses_it(loaded: Any) -> None:
    loaded.run("%%ec_socket\ndef even(n): return n == 0 or odd(n - 1)")
    loaded.run("def odd(n): return n != 0 and even(n - 1)")
    assert loaded.run("ec.flow()['even'].task.stale") == ["odd"]
    loaded.run("%%ec_socket\ndef even(n): return n == 0 or odd(n - 1)")
    assert loaded.run("ec.flow()['even'].task.stale") == []
    assert loaded.run("ec.flow().submit('even', 10).result(60)") is True


def test_a_module_beside_the_notebook_is_there_for_the_task(loaded: Any, notebook_folder: Path) -> None:
    (notebook_folder / "beside_us.py").write_text("def double(x):\n    return 2 * x\n")
    loaded.run("%%ec_socket\ndef f(x):\n    import beside_us\n    return beside_us.double(x)")
    assert loaded.run("ec.flow().submit('f', 4).result(60)") == 8


@pytest.fixture
def modules(loaded: Any, notebook_folder: Path) -> Iterator[Path]:
    """A folder of modules elsewhere, which the notebook has put on its path, and a flow that lies in a third place."""
    source = notebook_folder / "project" / "src"
    source.mkdir(parents=True)
    before = set(sys.modules), list(sys.path)
    (source / "inner_of_ours.py").write_text("def two(): return 2\n")
    (source / "helper_of_ours.py").write_text("import inner_of_ours\ndef f(x): return x * inner_of_ours.two()\n")
    loaded.run(f"import sys, importlib\nsys.path.insert(0, {str(source)!r})")
    loaded.run("flow = ec.flow('m', folder='elsewhere/flow')")
    yield source
    for name in set(sys.modules) - before[0]:
        if name.endswith("_of_ours"):
            del sys.modules[name]
    sys.path[:] = before[1]


HELPED = {
    "module": "import helper_of_ours\n@flow.socket\ndef g(x): return helper_of_ours.f(x)",
    "function": "from helper_of_ours import f\n@flow.socket\ndef g(x): return f(x)",
    "import inside": "@flow.socket\ndef g(x):\n    import helper_of_ours\n    return helper_of_ours.f(x)",
    "task itself": "import helper_of_ours\nflow.declare(helper_of_ours.f, 'g')",
}


@pytest.mark.own_engine
@pytest.mark.parametrize("how", HELPED)
def test_a_module_on_the_notebooks_path_is_there_and_an_edited_one_marks_and_comes_with_the_next_run(
    loaded: Any, modules: Path, how: str
) -> None:
    loaded.run(HELPED[how])
    assert loaded.run("flow.submit('g', 3).result(60)") == 6
    loaded.run(HELPED[how])
    assert loaded.run("flow['g'].task.version, flow['g'].task.stale") == (1, [])
    # a comment is no change; what a module imports is one of its own
    (modules / "inner_of_ours.py").write_text("# one\ndef two(): return 2\n")
    loaded.run("1")
    assert loaded.run("flow['g'].task.stale") == []
    (modules / "inner_of_ours.py").write_text("def two(): return 5\n")
    loaded.run("1")
    assert loaded.run("flow['g'].task.stale") == ["inner_of_ours"]
    loaded.run(HELPED[how])
    assert loaded.run("flow['g'].task.version, flow['g'].task.stale") == (2, [])
    assert loaded.run("flow.submit('g', 3).result(60)") == 15


@pytest.mark.own_engine
def test_refresh_brings_edited_modules_and_rebound_values_to_the_notebooks_tasks(loaded: Any, modules: Path) -> None:
    loaded.run(HELPED["module"] + "\nk = 1\n@flow.socket\ndef h(): return k\n@flow.socket\ndef other(): return 0")
    assert loaded.run("flow.submit('g', 3).result(60)") == 6
    (modules / "helper_of_ours.py").write_text("def f(x): return x * 7\n")
    loaded.run("importlib.reload(helper_of_ours)\nk = 2")
    assert loaded.run("[s.name for s in flow.refresh()]") == ["g", "h"]
    assert loaded.run("flow.submit('g', 3).result(60), flow.submit('h').result(60)") == (21, 2)
    assert loaded.run("flow.refresh()") == []


def test_variables_set_in_the_notebook_reach_tasks_declared_afterwards(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EC_TEST_SETTING", raising=False)
    loaded.run("import os\nflow = ec.flow()")
    cell = "@flow.socket\ndef f(): return os.environ.get('EC_TEST_SETTING')"
    loaded.run(cell)
    assert loaded.run("flow.submit('f').result(60)") is None
    monkeypatch.setenv("EC_TEST_SETTING", "a")
    assert loaded.run("flow.submit('f').result(60)") is None
    loaded.run(cell + "\n@flow.socket\ndef late(): return os.environ['EC_TEST_SETTING']")
    assert loaded.run("flow.submit('f').result(60), flow.submit('late').result(60)") == ("a", "a")
    monkeypatch.delenv("EC_TEST_SETTING")
    loaded.run(cell)
    assert loaded.run("flow.submit('f').result(60), flow.submit('late').result(60)") == (None, "a")


def test_a_flow_is_named_after_its_notebook_and_its_folder_is_private(
    loaded: Any, notebook_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook_folder / "my flights.ipynb"))
    assert loaded.run("ec.flow().name") == "my_flights"
    folder = notebook_folder / ".ec_jupyter" / "my_flights"
    assert loaded.run("ec.flow().folder") == folder.resolve()
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    assert isinstance(loaded.fail("ec.flow('a/b')"), DeclarationError)


def test_a_socket_may_be_given_its_name_by_word_and_tells_all_its_options(loaded: Any) -> None:
    loaded.run(
        "flow = ec.flow()\n@ec.socket(name='x', processor='p', cpus=2, timeout=3, join='zip', wait=9)\n"
        "def f(a): return a"
    )
    loaded.run("@flow.socket(name='y', key='value % 2')\ndef f(a, b): return a")
    options = loaded.run("flow['x'].options")
    # a signature is the task's: its arguments tell it
    assert options.keys() == SocketOptions.__annotations__.keys() - {"signature"}
    assert {"processor": "p", "cpus": 2, "timeout": 3, "join": "zip", "wait": 9}.items() <= options.items()
    assert loaded.run("flow['y'].options")["key"] == "value % 2"
    loaded.run("flow.declare(f, 'z', **{k: v for k, v in flow['x'].options.items() if v is not None})")
    assert loaded.run("flow['z'].options == flow['x'].options")
