"""What a function is, and how it travels."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import cloudpickle
import pytest

from ec_jupyter.errors import TaskNotPicklableError
from ec_jupyter.nodes.surroundings import opened
from ec_jupyter.nodes.values import dump, load
from ec_jupyter.notebook.identity import identity
from ec_jupyter.notebook.shipping import ship

KINDS = {
    "function": ("def task(x): return x + k", 1, 4),
    "lambda": ("task = lambda x: x + k", 1, 4),
    "closure": ("def around(n):\n def task(x): return x + n\n return task\ntask = around(3)", 1, 4),
    "callable object": ("class C:\n def __call__(self, x): return x + k\ntask = C()", 1, 4),
    "bound method": ("class C:\n n = 3\n def add(self, x): return x + self.n\ntask = C().add", 1, 4),
    "class method": ("class C:\n @classmethod\n def add(cls, x): return x + k\ntask = C.add", 1, 4),
    "partial": ("from functools import partial\ndef add(n, x): return x + n\ntask = partial(add, 3)", 1, 4),
    "decorated": (
        "from functools import wraps\n"
        "def twice(f):\n @wraps(f)\n def inner(x): return f(f(x))\n return inner\n"
        "@twice\ndef task(x): return x + k",
        1,
        7,
    ),
    "cached": ("import functools\n@functools.lru_cache(maxsize=2)\ndef task(x): return x + k", 1, 4),
    "calls a cached one": (
        "import functools\n@functools.cache\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "def task(x): return fib(x) + k",
        10,
        58,
    ),
    "recursive pair": (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\ntask = even",
        10,
        True,
    ),
    "class": (
        "class Task:\n def __init__(self, x): self.x = x + k\n def __eq__(s, o): return s.x == o\ntask = Task",
        1,
        4,
    ),
    "dispatched by type": (
        "import functools\n@functools.singledispatch\ndef task(x): return k\n"
        "@task.register\ndef _(x: int): return x + k\n"
        "@task.register(list)\ndef _(x): return [task(one) for one in x]\ntask(None)",
        [1, "a"],
        [4, 3],
    ),
    "method dispatched by type": (
        "import functools\nclass C:\n @functools.singledispatchmethod\n def f(self, x): return 0\n"
        " @f.register\n def _(self, x: int): return x + k\ntask = lambda x: C().f(x)",
        1,
        4,
    ),
    "with a property that is cached": (
        "import functools\nclass C:\n @functools.cached_property\n def f(self): return k\n"
        "c = C()\ndef task(x): return c.f + x",
        1,
        4,
    ),
    "with a type that is another by name": (
        "import typing\nU = typing.NewType('U', int)\ndef task(x: U) -> U: return U(x + k)",
        1,
        4,
    ),
    "with classes that their base keeps": (
        "kept = {}\nclass B:\n def __init_subclass__(cls, *, key): kept.setdefault(key, []).append(cls)\n"
        "class C(B, key='c'):\n n = k\n"
        "def task(x): return kept == {'c': [C]} and x + C.n",
        1,
        4,
    ),
    "with a generic base that looks at its classes": (
        "import typing\nT = typing.TypeVar('T')\n"
        "class B(typing.Generic[T]):\n"
        " def __init_subclass__(cls, *, key, **more):\n  super().__init_subclass__(**more)\n  cls.key = key\n"
        "class C(B[int], key=k): pass\ndef task(x): return x + C.key",
        1,
        4,
    ),
    "with a data class within another": (
        "from dataclasses import dataclass\n"
        "class A:\n @dataclass\n class B:\n  x: int\ndef task(x): return repr(A.B(x + k))",
        1,
        "A.B(x=4)",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_callable_travels_and_keeps_its_meaning(shell: Any, kind: str) -> None:
    source, given, expected = KINDS[kind]
    shell.run("k = 3")
    shell.run(source)
    shipment = ship(shell.names["task"], "task")
    call = (
        "import sys; from ec_jupyter.nodes.surroundings import opened; "
        "from ec_jupyter.nodes.worker.invoke import Task; "
        "print(Task(*opened(sys.stdin.buffer.read())).function({0!r}) == {1!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", call.format(given, expected)], input=shipment.blob, capture_output=True, check=True
    )
    assert done.stdout.strip() == b"True"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_cell_run_again_is_the_same_task(shell: Any, kind: str) -> None:
    shell.run("k = 3")
    shell.run(KINDS[kind][0])
    before = ship(shell.names["task"], "task")
    shell.run("'another cell'")
    shell.run(KINDS[kind][0])
    assert ship(shell.names["task"], "task").record["identity"] == before.record["identity"]


SAME = [
    "def f(x, y=1):\n    # a comment\n\n    return x + y * k\n",
    "'a moved cell'\n\n\ndef f(x, y = 1): return (x +\n   y * k)",
    "import ec_jupyter as ec\nsocket = lambda f: f\n@socket\ndef f(x, y=1):\n    return x + y * k",
]


@pytest.mark.parametrize("text", SAME)
def test_comments_layout_position_and_our_decorator_do_not_make_another_task(shell: Any, text: str) -> None:
    shell.run("k = 3")
    shell.run("def f(x, y=1):\n    return x + y * k")
    before = identity(shell.names["f"])
    shell.run(text)
    assert identity(shell.names["f"]) == before


OTHER = {
    "its body": "def f(x, y=1):\n    return x - y * k",
    "a default": "def f(x, y=2):\n    return x + y * k",
    "an annotation": "def f(x: int, y=1):\n    return x + y * k",
    "a captured value": "k = 4\ndef f(x, y=1):\n    return x + y * k",
    "a captured function": "def k(): pass\ndef f(x, y=1):\n    return x + y * k",
    "a decorator": "import functools\n@functools.lru_cache\ndef f(x, y=1):\n    return x + y * k",
    "its kind": "async def f(x, y=1):\n    return x + y * k",
}


@pytest.mark.parametrize("what", OTHER)
def test_what_changes_the_meaning_makes_another_task(shell: Any, what: str) -> None:
    shell.run("k = 3")
    shell.run("def f(x, y=1):\n    return x + y * k")
    before = identity(shell.names["f"])
    shell.run(OTHER[what])
    assert identity(shell.names["f"]) != before


def test_a_cached_function_that_has_changed_makes_another_task(shell: Any) -> None:
    cell = "import functools\n@functools.cache\ndef inner(x): return x + {}\ndef f(x): return inner(x)"
    shell.run(cell.format(1))
    before = identity(shell.names["f"])
    shell.run(cell.format(2))
    assert identity(shell.names["f"]) != before


def test_a_value_deep_below_makes_another_task(shell: Any) -> None:
    shell.run("table = {'a': [1, (2, {3})]}\ndef inner(): return table\ndef f(): return inner()")
    before = identity(shell.names["f"])
    shell.run("table = {'a': [1, (2, {4})]}")
    assert identity(shell.names["f"]) != before


def test_the_bytes_are_the_same_in_another_kernel_and_name_the_socket(shell: Any) -> None:
    code = (
        "from tests.conftest import Shell; from ec_jupyter.notebook.shipping import ship; s = Shell(); "
        "s.run('k = 3'); s.run('def f(x):\\n    def g(): return x\\n    return g() + k'); "
        "print(ship(s.names['f'], 'f').record['sha256'])"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "12"
    }
    assert len(found) == 1
    shell.run("def f(x):\n    def g(): return x\n    return g")
    function = opened(ship(shell.names["f"], "f").blob)[0]
    assert function.__code__.co_filename == "<socket f>"
    assert function(1).__code__.co_filename == "<socket f>"


@pytest.fixture(params=["as this cloudpickle does", "anonymous"])
def any_cloudpickle(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What releases of cloudpickle do to code: keep its file name, or give it another one."""
    if request.param != "as this cloudpickle does":
        reduce = cloudpickle.Pickler.dispatch_table[CodeType]
        monkeypatch.setitem(
            cloudpickle.Pickler.dispatch_table,
            CodeType,
            lambda code: reduce(code.replace(co_filename="<dynamic-code>", co_name=code.co_name)),
        )


@pytest.mark.usefixtures("any_cloudpickle")
def test_code_keeps_its_file_name_whatever_the_pickler_does_to_it(shell: Any, tmp_path: Any) -> None:
    shell.run("class P:\n def m(self): return 1")
    shell.run("def f(): return P().m.__code__.co_filename, P()")
    blob = ship(shell.names["f"], "f").blob
    # the notebook's own class would stay as it is
    del shell.names["P"]
    function = opened(blob)[0]
    assert function.__code__.co_filename == "<socket f>"
    assert function()[0] == "<cell of m>"
    again = load(dump(function()[1], tmp_path, "value"), tmp_path)
    assert again.m.__code__.co_filename == "<cell of m>"


@pytest.mark.usefixtures("any_cloudpickle")
def test_a_process_that_gets_a_task_gets_the_text_of_all_its_cells(shell: Any) -> None:
    shell.run("'above'\ndef helper(x):\n    return 1 / x")
    shell.run("def f(x): return helper(x)")
    code = (
        "import sys, traceback; from ec_jupyter.nodes.surroundings import opened\n"
        "try: opened(sys.stdin.buffer.read())[0](0)\nexcept: traceback.print_exc()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=ship(shell.names["f"], "f").blob, capture_output=True, check=True
    )
    assert '"<cell of helper>", line 3, in helper\n    return 1 / x\n' in done.stderr.decode()


def test_lines_of_the_source_count_as_those_of_the_cell(shell: Any) -> None:
    shell.run("\n'above'\n\ndef f(x):\n    return 1 / x")
    shipment = ship(shell.names["f"], "f")
    function = opened(shipment.blob)[0]
    with pytest.raises(ZeroDivisionError) as caught:
        function(0)
    line = caught.traceback[-1].lineno
    assert shipment.record["source"].splitlines()[line].strip() == "return 1 / x"
    assert shipment.record["file"] == "<socket f>"


def test_arguments_are_records_with_kind_default_and_annotation(shell: Any) -> None:
    shell.run("def f(a, /, b: int, c='x', *rest, d, e=None, **more): pass")
    records = ship(shell.names["f"], "f").record["signature"]
    assert [(p["name"], p["required"], p["default"], p["annotation"]) for p in records] == [
        ("a", True, None, None),
        ("b", True, None, "int"),
        ("c", False, "'x'", None),
        ("rest", False, None, None),
        ("d", True, None, None),
        ("e", False, "None", None),
        ("more", False, None, None),
    ]
    assert [p["kind"] for p in records][:2] == ["POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD"]


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n yield 1",
        "async def f():\n yield 1",
        "class F:\n def __call__(self):\n  yield 1\nf = F()",
        "class F:\n def g(self):\n  yield 1\nf = F().g",
    ],
)
def test_a_generator_is_known_as_one(shell: Any, source: str) -> None:
    shell.run(source)
    assert ship(shell.names["f"], "f").record["generator"] is True


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("import threading\nlock = threading.Lock()\ndef f(): return lock", "'lock'"),
        (
            "import threading\ndef make():\n held = threading.Lock()\n def f(): return held\n return f\nf = make()",
            "'held'",
        ),
        ("import threading\ndef f(x=threading.Lock()): return x", "'x'"),
        ("import threading\nlock = threading.Lock()\ndef g(): return lock\ndef f(): return g()", "'lock'"),
    ],
)
def test_what_cannot_travel_is_named(shell: Any, source: str, named: str) -> None:
    shell.run(source)
    with pytest.raises(TaskNotPicklableError, match=named) as caught:
        ship(shell.names["f"], "f")
    assert "_thread.lock" in str(caught.value)


def test_a_task_that_uses_ipython_is_told_what_to_use_instead(shell: Any) -> None:
    shell.run("def f():\n    !ls")
    with pytest.raises(TaskNotPicklableError) as caught:
        ship(shell.names["f"], "f")
    assert str(caught.value).startswith("task 'f' has a line with ! or %, or calls get_ipython: IPython stays here")


def test_a_heavy_captured_value_is_named_with_its_size(shell: Any) -> None:
    shell.run("import numpy as np\nbig = np.zeros(1 << 20)\nsmall = 1\ndef f(): return big, small")
    (text,) = ship(shell.names["f"], "f").warnings
    assert text == "task 'f' carries 'big' (8.0 MiB) from the notebook; pass it as an argument"


def test_a_function_of_a_module_beside_the_notebook_travels_by_its_name(shell: Any, notebook_folder: Any) -> None:
    (notebook_folder / "beside.py").write_text("def f(x):\n    return x\n")
    shell.run("import sys; sys.path.insert(0, '')\nfrom beside import f")
    try:
        assert b"beside" in ship(shell.names["f"], "f").blob
    finally:
        sys.path.remove("")
        del sys.modules["beside"]


@pytest.mark.usefixtures("any_cloudpickle")
@pytest.mark.parametrize("by", [cloudpickle.dumps, lambda value: dump(value, Path(), "").data], ids=["theirs", "ours"])
def test_an_object_of_a_notebook_class_that_came_back_does_not_change_the_task(shell: Any, by: Any) -> None:
    shell.run("class P:\n def m(self): return k, 1\nk = 1\ndef f(): return P()")
    first = ship(shell.names["f"], "f")
    # it has the class by value, under the name it travelled by, and changes that class here
    pickle.loads(by(opened(first.blob)[0]()))
    assert ship(shell.names["f"], "f").record["identity"] == first.record["identity"]


CLASSES = {
    "class": "class P:\n n = 0\n def m(self): return k\np = P()",
    "data class": "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass P:\n x: int = 2\np = P()",
    "member of an enum": "import enum\nclass P(enum.Enum):\n A = 2\np = P.A",
    "error": "class P(Exception):\n def m(self): return k\np = P(2)",
    "generic": "import typing\nT = typing.TypeVar('T')\nclass P(typing.Generic[T]):\n def m(self): return k\np = P()",
    "named tuple": "import collections\nP = collections.namedtuple('P', 'x y')\np = P(k, 2)",
}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_object_is_of_the_class_of_the_notebook_after_its_cell_or_the_kernel_has_run_again(
    shell: Any, kind: str
) -> None:
    cell = f"k = 2\n{CLASSES[kind]}"
    code = (
        "import sys; from tests.conftest import Shell; import ec_jupyter.notebook.identity; "
        f"from ec_jupyter.nodes.code import by_value; s = Shell(); s.run({cell!r}); "
        "sys.stdout.buffer.write(b'--' + by_value(s.names['p']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.partition(b"--")[2]
    for _ in "12":
        shell.run(cell)
        assert type(pickle.loads(done)) is shell.names["P"]
        # what is set on it stays
        shell.names["P"].k = 1
        assert pickle.loads(done).k == 1
    shell.run(cell.replace("2", "3"))
    assert (type(pickle.loads(done)) is shell.names["P"]) == (kind == "named tuple")


def test_classes_that_a_function_makes_alike_stay_two(shell: Any) -> None:
    shell.run("def make():\n class P: pass\n return P\na, b = make(), make()")
    first, second = pickle.loads(cloudpickle.dumps((shell.names["a"](), shell.names["b"]())))
    assert type(first) is shell.names["a"] is not type(second)


@pytest.mark.parametrize("slots", ["'x'", "('x', '__y')", "('x', '__dict__')"])
def test_an_object_with_slots_comes_back_from_another_process(shell: Any, slots: str) -> None:
    shell.run(f"class P:\n __slots__ = {slots}\nclass Q(P):\n __slots__ = ('z',)")
    shell.run("def f(x):\n made = Q()\n made.x, made.z = x, 2\n return made")
    code = (
        "import sys; from ec_jupyter.nodes.surroundings import opened; from ec_jupyter.nodes.code import by_value; "
        "sys.stdout.buffer.write(by_value(opened(sys.stdin.buffer.read())[0](3)))"
    )
    blob = ship(shell.names["f"], "f").blob
    done = subprocess.run([sys.executable, "-c", code], input=blob, capture_output=True, check=True)
    back = pickle.loads(done.stdout)
    assert (type(back), back.x, back.z) == (shell.names["Q"], 3, 2)


def test_a_task_can_use_the_package_itself(shell: Any) -> None:
    shell.run("import ec_jupyter as ec\ndef f(): return ec.SKIP")
    function = opened(ship(shell.names["f"], "f").blob)[0]
    assert repr(function()) == "SKIP"
