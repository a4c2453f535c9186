"""What several rings use: a folder that is the notebook's, an IPython shell, waiting with a bound."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tests.bounds import bounded
from tests.sharing import clean, leave_empty

REPOSITORY = Path(__file__).parents[1]

# engines and kernels start in folders of their own, and have to find the package under test
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
# engines, workers and kernels start by the thousand: each would compile anew all that it imports
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(REPOSITORY / "build" / "bytecode"))
# a shell that begins this beside others (&) has it ignore Ctrl-C, and with it all that tests start and interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# the notebook that this process may itself have been started from has no say
os.environ.pop("JPY_SESSION_NAME", None)

# how long an example takes says how busy the machine is
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def own_ipython_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["IPYTHONDIR"] = str(tmp_path_factory.mktemp("ipython"))
    os.environ["JUPYTER_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="session")
def lock_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cpus")
    return (str(folder / str(number)) for number in itertools.count())


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> None:
    """A shell that ends collects garbage: let it look through what its test has made, not through all modules."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_cpus(lock_folders: Iterator[str]) -> None:
    """Flows of a test share the CPUs with each other; with nobody else's, nor with what another test has left."""
    os.environ["EC_CPUS_SHARED"] = next(lock_folders)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    with bounded(f"the set-up of {item.nodeid}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with bounded(f"the call of {item.nodeid}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    with bounded(f"the end of {item.nodeid}"):
        return (yield)


def pytest_unconfigure() -> None:
    # who keeps this process from ending, a thread or a child, is shown; then it ends
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)


def _wait_until(claim: Callable[[], Any], seconds: float = 60.0) -> Any:
    """First true value of `claim`; fails after `seconds`."""
    tick, end = threading.Event(), seconds / 0.02
    while not (found := claim()):
        assert (end := end - 1) > 0, f"not so within {seconds} s"
        tick.wait(0.02)
    return found


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """A function that waits, with a bound, until a claim holds."""
    return _wait_until


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a module whose tests share an engine: it is marked ``shared_engine``."""
    folder = tmp_path_factory.mktemp("shared").resolve()
    yield folder
    for flow in folder.glob(".ec_jupyter/*/"):
        importlib.import_module("ec_jupyter.client.launch").stop(flow, flow.name)


@pytest.fixture
def engine_mark(request: pytest.FixtureRequest) -> pytest.Mark | None:
    """The ``shared_engine`` of a test that has no engine of its own."""
    return None if request.node.get_closest_marker("own_engine") else request.node.get_closest_marker("shared_engine")


@pytest.fixture
def notebook_folder(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, engine_mark: pytest.Mark | None
) -> Path:
    """An empty folder that is this process's: a notebook's flows lie beside it."""
    folder: Path = request.getfixturevalue("shared_folder" if engine_mark else "tmp_path")
    monkeypatch.chdir(folder)
    return folder


class Shell:
    """An IPython shell in this process, whose cells fail loudly."""

    def __init__(self) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        InteractiveShell.clear_instance()
        self.ip = InteractiveShell.instance(config=config)
        self.names: dict[str, Any] = self.ip.user_ns

    def run(self, cell: str) -> Any:
        """Value of a cell that runs well."""
        result = self.ip.run_cell(cell)
        result.raise_error()
        return result.result

    def fail(self, cell: str) -> BaseException:
        """The error of a cell that does not."""
        result = self.ip.run_cell(cell)
        assert not result.success, f"the cell ran well: {cell}"
        return result.error_in_exec or result.error_before_exec

    def completions(self, text: str, cell: str | None = None) -> list[str]:
        """What completes `text`, the beginning of `cell`."""
        with provisionalcompleter():
            return [c.text for c in self.ip.Completer.completions(cell or text, len(text))]


@pytest.fixture
def shell(notebook_folder: Path) -> Iterator[Shell]:
    """A fresh shell, without the extension."""
    main = sys.modules["__main__"]
    hook = sys.displayhook, sys.excepthook
    shell = Shell()
    yield shell
    # what the shell does at the interpreter's end: now, and not once more then
    shell.ip.atexit_operations()
    atexit.unregister(shell.ip.atexit_operations)
    InteractiveShell.clear_instance()
    sys.modules["__main__"] = main
    sys.displayhook, sys.excepthook = hook


@pytest.fixture
def loaded(shell: Shell, notebook_folder: Path, engine_mark: pytest.Mark | None) -> Iterator[Shell]:
    """A shell with the extension; its flows' engines end with it, but for those that the tests of a module share."""
    shell.run("%load_ext ec_jupyter\nimport ec_jupyter as ec")
    yield shell
    flows = sys.modules.get("ec_jupyter.notebook.flow")
    shared = ("main", *engine_mark.args) if engine_mark else ()
    for flow in list(flows._open.values()) if flows else ():
        if engine_mark and flow.folder.parent == notebook_folder / ".ec_jupyter" and flow.name in shared:
            leave_empty(flow, engine_mark.kwargs)
        else:
            flow.stop()
            flow.close()
    shell.run("%unload_ext ec_jupyter")
    if engine_mark:
        clean(notebook_folder, shared)


class Gate:
    """A place where tasks stand until the test lets them on: a pipe they read, one line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        # both ends: neither opening it nor letting somebody on ever blocks the test
        self._end = os.open(path, os.O_RDWR)

    def open(self, calls: int = 1) -> None:
        """Let as many calls pass."""
        os.write(self._end, b"\n" * calls)

    def close(self) -> None:
        """Whoever stands there is woken by the end of the pipe; who comes later finds an empty file."""
        beside = self.path.with_suffix(".open")
        beside.touch()
        os.replace(beside, self.path)
        os.close(self._end)


@pytest.fixture
def gate(notebook_folder: Path) -> Iterator[Gate]:
    """A gate that a task passes with ``os.read(os.open('gate', os.O_RDONLY), 1)``."""
    gate = Gate(notebook_folder / "gate")
    yield gate
    gate.close()
