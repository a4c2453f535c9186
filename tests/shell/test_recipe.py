"""A flow written down and made again: as the code of a cell, and as a file."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.errors import DeclarationError
from ec_jupyter.notebook.loading import load
from ec_jupyter.notebook.notes import FlowWarning
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine("first")

CELLS = [
    "import math, statistics as st\nfrom functools import wraps\nSCALE = 3\nflow = ec.flow('first')",
    "@ec.socket('read', flow=flow, retries=2, timeout=5)\ndef load(x: int, *, deep=False) -> list:\n"
    "    'Reads.'\n    # a comment\n    return [x] * SCALE",
    "def half(x):\n    return math.floor(x / 2)\n\ndef plain(f):\n    @wraps(f)\n    def inner(*args, **names):\n"
    "        return f(*args, **names)\n    return inner\n\n@ec.socket(flow=flow, processor='maths', cpus=2)\n"
    "@plain\ndef mean(one, two=1):\n    return st.mean([half(one), two])",
    "flow.declare(lambda x, y: x + y, 'add', processor='maths')",
    "def fact(n):\n    return n * fact(n - 1) if n > 1 else 1\nflow.declare(fact)",
    "def bad(error):\n    return str(error)\nflow.declare(bad, 'broken', once=True)",
    "flow.processor('wide', cpus=1, memory=10 ** 9); flow.processor('maths', cpus=1)",
    "flow.plug('read', 'mean.one', map=True)\nflow.plug('mean', 'add.x', gather='done')",
    "LIMIT = 100\nflow.plug('add', 'read', cycle=True, when='result > LIMIT')\nflow.plug('mean', 'broken', on='error')",
    "flow.fix('add', y={'a': [1, 'x', None]})",
    "flow.place(read=(10, 20.5), add=(500, 0))",
    "flow.note('units:\\n\"m/s\"', (900, 40.5))",
    "flow.group('sums', 'mean', 'add'); flow.group('aside', 'broken')",
    "flow.pause('broken', 'maths')",
    "LIMIT = SCALE = 99",
]
NEVER = ("id", "source", "file", "sha256", "version", "client", "written", "stale")


def shape(topology: dict[str, Any]) -> dict[str, Any]:
    """A wiring without what differs between two flows that are wired alike."""
    sockets = {}
    for name, record in topology["sockets"].items():
        task = {key: value for key, value in record["task"].items() if key not in NEVER}
        # the same function has another pickle in another file
        key = record["key"] and {k: v for k, v in record["key"].items() if k != "sha256"}
        sockets[name] = {**{k: v for k, v in record.items() if k != "id"}, "task": task, "key": key}
    plugs = [json.dumps({k: v for k, v in plug.items() if k != "id"}, sort_keys=True) for plug in topology["plugs"]]
    notes = [{k: v for k, v in note.items() if k != "id"} for note in topology["notes"]]
    return {"sockets": sockets, "processors": topology["processors"], "plugs": sorted(plugs), "notes": notes}


@pytest.fixture
def built(loaded: Any) -> Any:
    """A shell with a flow that uses everything a wiring can have."""
    for cell in CELLS:
        loaded.run(cell)
    return loaded


def fresh(built: Any) -> None:
    """Let the shell forget all names, as a restarted kernel does."""
    built.ip.reset(new_session=True)
    built.run("import ec_jupyter as ec")


def test_the_exported_cell_makes_the_same_wiring_in_a_fresh_kernel_and_flow(built: Any) -> None:
    text = built.run("flow.to_code()")
    before = built.run("flow._client.topology")
    assert text.startswith("import ec_jupyter as ec\n\nflow = ec.flow('first')\n")
    fresh(built)
    built.run(text.replace("'first'", "'second'"))
    after = built.run("flow._client.topology")
    assert shape(after) == shape(before)
    assert built.run("flow.to_code()") == text.replace("'first'", "'second'")


def test_the_exported_cell_works_where_nothing_else_is_defined(built: Any) -> None:
    text = built.run("flow.to_code()")
    fresh(built)
    built.run(text.replace("'first'", "'second'"))
    built.run("flow.resume()")
    assert built.run("flow.submit('fact', 5).result(60)") == 120
    assert built.run("flow.submit('mean', one=5).result(60)") == 1.5


def test_the_notebooks_own_flow_is_opened_as_that(loaded: Any) -> None:
    loaded.run("%%ec_socket\ndef f(x): return x")
    text = loaded.run("ec.flow().to_code()")
    assert text == "import ec_jupyter as ec\n\nflow = ec.flow()\n\n@flow.socket\ndef f(x): return x\n"


def test_a_saved_flow_can_be_loaded_and_loading_again_changes_nothing(built: Any, tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    built.run(f"flow.save({str(path)!r})")
    before = built.run("flow._client.topology")
    fresh(built)
    built.run(f"flow = ec.load({str(path)!r}, 'third')")
    assert shape(built.run("flow._client.topology")) == shape(before)
    revision = built.run("flow.revision")
    built.run(f"again = ec.load({str(path)!r}, 'third')")
    assert built.run("again is flow")
    assert built.run("flow.revision") == revision
    copy = tmp_path / "copy.json"
    built.run(f"flow.save({str(copy)!r})")
    assert json.loads(copy.read_text()) == json.loads(path.read_text()) | {"name": "third"}
    built.run("flow.resume()")
    assert built.run("flow.submit('mean', one=5).result(60)") == 1.5


def test_a_duplicate_has_the_same_wiring_works_by_itself_and_is_one_edit(built: Any) -> None:
    built.run("flow.submit('mean', one=5)")
    built.run("twin = flow.duplicate('twin')")
    assert shape(built.run("twin._client.topology")) == shape(built.run("flow._client.topology"))
    assert built.run("(twin.name, len(twin.requests()), len(twin.history()))") == ("twin", 0, 1)
    built.run("twin.resume()")
    assert built.run("twin.submit('fact', 5).result(60)") == 120
    assert built.run("twin.submit('mean', one=5).result(60)") == 1.5
    assert "there is a flow 'twin' already" in str(built.fail("flow.duplicate('twin')"))
    built.run("twin.delete()")
    built.run("flow.fix('add', y='x' * 100_000)")
    assert "fixed value of add.y is in the file" in str(built.fail("flow.duplicate('twin')"))
    assert not built.run("flow.folder.with_name('twin').exists()")


def test_loading_is_one_edit_which_one_undo_takes_back(built: Any, tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    built.run(f"flow.save({str(path)!r})")
    fresh(built)
    built.run(f"flow = ec.load({str(path)!r}, 'third')")
    assert len(built.run("flow.history()")) == 1
    assert sorted(built.run("flow.sockets")) == sorted(json.loads(path.read_text())["sockets"])
    built.run("flow.undo()")
    assert built.run("(dict(flow.sockets), dict(flow.plugs))") == ({}, {})


def test_a_file_whose_last_plug_cannot_be_leaves_the_flow_as_it_was(built: Any, tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    document = json.loads(built.run("flow.to_json()"))
    document["plugs"].append({"source": "fact", "target": "nobody.x"})
    path.write_text(json.dumps(document))
    fresh(built)
    error = built.fail(f"ec.load({str(path)!r}, 'third')")
    assert "nobody" in str(error)
    assert built.run("flow = ec.flow('third')\ndict(flow.sockets), len(flow.history())") == ({}, 0)


def test_loading_touches_no_name_of_the_notebook(built: Any, tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    built.run(f"flow.save({str(path)!r})")
    fresh(built)
    known = set(built.names)
    built.run(f"ec.load({str(path)!r}, folder={str(tmp_path / 'there')!r})")
    assert {name for name in set(built.names) - known if not name.startswith("_")} == set()


def test_a_function_in_a_traceback_shows_its_lines_after_loading(built: Any, tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    built.run("flow.resume()\n@ec.socket(flow=flow)\ndef fails(x):\n    return 1 / x")
    built.run(f"flow.save({str(path)!r})\nflow = ec.load({str(path)!r}, 'third')\nflow.resume()")
    error = built.run("flow.submit('fails', 0).exception(60)")
    assert "return 1 / x" in str(error.__notes__)


@each_of(
    ("text", "says"),
    [
        ("", "is no saved flow: "),
        ("[1, 2]", "is no saved flow: it does not begin"),
        ('{"format": "ec_jupyter flow", "version": 7}', "saved by another version: format 7, not 2"),
        ('{"format": "ec_jupyter flow", "version": 2}', "is no saved flow: its 'name' is no str"),
    ],
)
def test_what_is_no_saved_flow_is_refused_in_one_line(loaded: Any, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "flow.json"
    path.write_text(text)
    error = loaded.fail(f"ec.load({str(path)!r})")
    assert isinstance(error, DeclarationError)
    assert says in str(error)
    assert "\n" not in str(error)


def test_a_file_that_is_not_there_is_named(loaded: Any) -> None:
    error = loaded.fail("ec.load('nowhere.json')")
    assert (type(error), str(error)) == (
        DeclarationError,
        "nowhere.json cannot be read: No such file or directory",
    )


ODD = [None, True, -1, 1e308, 2**70, "", "x", "\ud800", "a" * 400, [], [1, 2], ["a", "b"], {}, {"": None}, {"a": 1}]
JUNK = [b"[", b"{", b'"', b"0", b"\0", b"\xff", b",", b"[" * 3000]


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something is in a document, as keys from its top."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from places(part, (*above, key))


def damaged(text: str, chance: random.Random) -> bytes:
    """A saved flow with something wrong: in its bytes, or in what they say."""
    if chance.random() < 0.25:
        data = bytearray(text.encode())
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data))
            data[at : at + chance.choice([0, 1, 30])] = chance.choice([b"", *JUNK])
        return bytes(data)
    document = json.loads(text)
    for _ in range(chance.randint(1, 3)):
        *above, key = chance.choice(list(places(document)))
        part = document
        for word in above:
            part = part[word]
        if chance.random() < 0.3:
            del part[key]
        elif isinstance(part, dict) and chance.random() < 0.2:
            part[chance.choice(["", "x", "name", "code"])] = part.pop(key)
        else:
            part[key] = json.loads(json.dumps(chance.choice(ODD)))
    return json.dumps(document).encode()


def test_a_damaged_saved_flow_is_loaded_or_refused_in_one_line_that_names_it(built: Any, tmp_path: Path) -> None:
    path, text = tmp_path / "flow.json", built.run("flow.to_json()")
    refused = []
    for seed in range(300):
        path.write_bytes(damaged(text, random.Random(seed)))
        try:
            with warnings.catch_warnings(action="ignore"):
                load(path, "third")
        except DeclarationError as error:
            refused.append(str(error))
    assert 150 < len(refused) < 300
    assert [said for said in refused if str(path) not in said or "\n" in said] == []


@each_of("code", ["-" * 100_000 + "1", "[" * 5_000 + "]" * 5_000])
def test_code_that_is_nested_without_end_is_refused_in_one_line(loaded: Any, tmp_path: Path, code: str) -> None:
    path = tmp_path / "flow.json"
    loaded.run("flow = ec.flow('first')\n@ec.socket(flow=flow)\ndef f(x): return x\nflow.fix('f', x=1)")
    document = json.loads(loaded.run("flow.to_json()"))
    document["sockets"]["f"]["fixed"]["x"]["code"] = code
    path.write_text(json.dumps(document))
    error = loaded.fail(f"ec.load({str(path)!r}, 'second')")
    assert isinstance(error, DeclarationError)
    assert f"{path}: the code of f.x is not Python: " in str(error)


@each_of(
    ("code", "says"),
    [
        ("def f(x) return", "the code of socket 'f' is not Python: "),
        ("def f(x=nobody): return x", "cannot be run: NameError: name 'nobody'"),
        ("def g(x): return x", "makes no function 'f'"),
    ],
)
def test_code_that_does_not_run_is_refused_and_nothing_is_made(
    loaded: Any, tmp_path: Path, code: str, says: str
) -> None:
    path = tmp_path / "flow.json"
    loaded.run("flow = ec.flow('first')\n@ec.socket(flow=flow)\ndef f(x): return x")
    document = json.loads(loaded.run("flow.to_json()"))
    document["sockets"]["f"]["task"]["code"] = code
    path.write_text(json.dumps(document))
    error = loaded.fail(f"ec.load({str(path)!r}, 'second')")
    assert isinstance(error, DeclarationError)
    assert says in str(error)
    assert not (tmp_path / ".ec_jupyter" / "second").exists()


EVERYTHING = [
    "import dataclasses, enum, functools, math, operator, datetime as dt\nflow = ec.flow('first')\nlow = 1",
    "class Mark(enum.Enum):\n    A = 1\n    B = 2",
    "@dataclasses.dataclass\nclass Point:\n    x: float\n    y: float = 0.0",
    "class Scale:\n    def __init__(self, by): self.by = by\n    def of(self, x): return x * self.by * low",
    "def scaled(x): return Scale(2).of(x)",
    "origin = Point(1.5)\n@ec.socket(flow=flow)\ndef near(p): return Point(p.x - origin.x, p.y), Mark.B",
    "low = 2\n@ec.socket(flow=flow, hold=['b'], wait=5)\ndef two(a, b=1): return scaled(a) + b",
    "low = 3\n@ec.socket(flow=flow)\ndef three(a): return a * low",
    "flow.declare(operator.neg, 'minus')\nflow.declare(len)",
    "flow.declare(functools.partial(pow, exp=2), 'square')\nflow.declare(functools.partial(scaled), 'part')",
    "flow.declare(lambda v: [v] * low, 'many', retries=1); low = 4",
    "@ec.socket(flow=flow, key='value[0] % low')\ndef pairs(one, two): return one, two",
    "def kind(value): return value['kind'], low\n@ec.socket(flow=flow, key=kind)\ndef kinds(one, two): return one",
    "@ec.socket(flow=flow, join='latest', on=['a'])\ndef newest(a, b): return a, b",
    "@ec.socket(flow=flow, join='zip')\ndef zipped(a, b): return a, b",
    "flow.plug('two', 'three', when=lambda r: r > low)\nflow.plug('three', 'many', when=math.isfinite)",
    "def odd(result): return result % 2\nflow.plug('two', 'many', when=odd)",
    "flow.plug('many', 'zipped.a', map=True)\nflow.plug('many', 'newest.a', when='len(result) > low')",
    "values = [Mark.A, math.inf, b'x', {1, 2}, (3,), 'q' * 500]",
    "flow.fix('zipped', b={'at': dt.date(2013, 1, 1), 'p': origin, 'm': values})",
    "flow.fix('newest', b=float)\nlow = -1\norigin.x = 99\ndel scaled, Scale, odd, kind",
]


def behaves(built: Any) -> list[Any]:
    """What the tasks of such a flow come to."""
    calls = [("two", 2, 1), ("three", 2), ("minus", 2), ("len", "abc"), ("square", 3), ("part", 2), ("many", 1)]
    built.run(f"here = [flow.submit(*call).result(60) for call in {calls}]")
    built.run("fixed = flow.submit('zipped', a=1).result(60)[1]")
    return [built.names["here"], repr(built.names["fixed"])]


@pytest.fixture
def everything(loaded: Any) -> Any:
    """A shell with a flow of all that can be declared, whose names stand for something else by now."""
    for cell in EVERYTHING:
        loaded.run(cell)
    return loaded


def test_all_that_can_be_declared_is_exported_as_the_workers_have_it(everything: Any) -> None:
    text = everything.run("flow.to_code()")
    before, did = everything.run("flow._client.topology"), behaves(everything)
    fresh(everything)
    everything.run(text.replace("'first'", "'second'"))
    assert shape(everything.run("flow._client.topology")) == shape(before)
    assert behaves(everything) == did
    assert everything.run("flow.to_code()") == text.replace("'first'", "'second'")


def test_all_that_can_be_declared_is_saved_as_the_workers_have_it(everything: Any, tmp_path: Path) -> None:
    path, copy = tmp_path / "flow.json", tmp_path / "copy.json"
    everything.run(f"flow.save({str(path)!r})")
    before, did = everything.run("flow._client.topology"), behaves(everything)
    fresh(everything)
    everything.run(f"flow = ec.load({str(path)!r}, 'second')")
    assert shape(everything.run("flow._client.topology")) == shape(before)
    assert behaves(everything) == did
    everything.run(f"flow.save({str(copy)!r})")
    assert json.loads(copy.read_text()) == json.loads(path.read_text()) | {"name": "second"}


@each_of(
    ("cell", "says"),
    [
        ("flow.declare(box.go, 'go')", "the task of socket 'go': a SimpleNamespace"),
        ("@flow.socket\ndef f(x): return x + box.n", "the task of socket 'f': 'box' is a SimpleNamespace"),
        ("flow.fix('g', y=box)", "the fixed value of g.y: a SimpleNamespace"),
        ("flow.plug('g', 'h', when=made(3))", "when= of plug 'g -> h.x': 'ask' in a wrapper"),
        ("@flow.socket(key=made(3))\ndef k(a, b): return a", "key= of socket 'k': 'ask' in a wrapper"),
        ("flow.declare(exec_f, 'x')", "the task of socket 'x': 'f', whose source is not known"),
    ],
)
@each_of("way", ["flow.to_code()", "flow.save('flow.json')"])
def test_what_cannot_be_written_down_is_refused_by_name(loaded: Any, cell: str, says: str, way: str) -> None:
    loaded.run("import functools, types\nflow = ec.flow('first')\nbox = types.SimpleNamespace(n=1)")
    loaded.run("def made(n):\n    def ask(r): return r > n\n    return functools.wraps(ask)(lambda r: ask(r))")
    loaded.run("space = {}; exec('def f(x): return x', space); exec_f = space['f']")
    loaded.run("class Box(types.SimpleNamespace):\n    def go(self, x): return x\n")
    loaded.run("box.go = types.MethodType(lambda self, x: x, types.SimpleNamespace(a=1))")
    loaded.run("@flow.socket\ndef g(x, y=1): return x\n@flow.socket\ndef h(x): return x")
    loaded.run(cell)
    error = loaded.fail(way)
    assert isinstance(error, DeclarationError)
    assert "flow 'first' cannot be written down: " in str(error)
    assert says in str(error)
    assert not Path("flow.json").exists()
    loaded.run("flow.undo()")


def test_a_name_that_is_not_bound_yet_is_told(loaded: Any, tmp_path: Path) -> None:
    loaded.run("flow = ec.flow('first')\n@ec.socket(flow=flow)\ndef f(x): return x + later")
    assert "# the tasks use what is defined elsewhere: later\n" in loaded.run("flow.to_code()")
    path = tmp_path / "flow.json"
    loaded.run(f"flow.save({str(path)!r})")
    fresh(loaded)
    with pytest.warns(FlowWarning, match="use what is not in it: later"):
        loaded.run(f"flow = ec.load({str(path)!r}, 'second')")


def test_a_function_is_there_before_the_one_that_uses_it(loaded: Any) -> None:
    loaded.run("flow = ec.flow('first')\ndef one(x): return x\ndef two(x): return one(x) + 1")
    loaded.run("flow.declare(two); flow.declare(one)")
    text = loaded.run("flow.to_code()")
    assert text.index("def one") < text.index("def two")
    fresh(loaded)
    loaded.run(text.replace("first", "second"))
    assert loaded.run("flow.submit('two', 1).result(60)") == 2


def test_a_renamed_socket_keeps_its_task(loaded: Any) -> None:
    loaded.run("flow = ec.flow('first')\n@ec.socket(flow=flow)\ndef f(x): return x + 1\ndef g(x): return x")
    loaded.run("flow.rename('f', 'h')")
    assert "@flow.socket('h')\ndef f(x): return x + 1\n" in loaded.run("flow.to_code()")
