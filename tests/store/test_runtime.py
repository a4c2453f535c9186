"""What engines that were killed have left: the next one of the same person takes it away, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from ec_jupyter.client.client import Client
from ec_jupyter.engine.address import ADDRESS, socket_path
from ec_jupyter.engine.runtime import OWNER, Runtime, _process, last_calls, sweep
from tests.crash.flowkit import gone, kill, socket_change, wait_until

SHARED = Path("/dev/shm")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime folder of this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "ec_jupyter"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], Client]]:
    """Opens flows with a worker that runs; their engines end with the test."""
    clients: list[Client] = []

    def open_flow(name: str) -> Client:
        client = Client.open(tmp_path / "flows" / name, name, linger=5.0, cpus=1)
        clients.append(client)
        change, blob = socket_change(lambda x: x, "echo")
        client.ask("edit", {"changes": [change]}, [blob])
        work(client)
        return client

    yield open_flow
    for client in clients:
        client.close()
        kill(client.engine_pid)


def work(client: Client) -> None:
    (request,) = client.submit([("echo", {"x": client.dump(1)})])
    assert client.finished(request).result(60)["state"] == "done"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("e-*"))


def semaphores(pid: int) -> list[Path]:
    return list(SHARED.glob(f"sem.loky-{pid}-*"))


def kill_all(pid: int) -> None:
    """End an engine and all it has started, as what ends a container or a machine's memory does."""
    os.kill(pid, signal.SIGSTOP)
    processes = psutil.Process(pid).children(recursive=True)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    kill(pid)
    for process in processes:
        gone(process.pid)


def test_what_a_killed_engine_has_left_is_taken_away_by_the_next_one_of_any_flow(
    folder: Path, opened: Callable[[str], Client]
) -> None:
    dead = opened("dead")
    (name,) = left(folder)
    pid = dead.engine_pid
    kill_all(pid)
    assert left(folder) == [name]
    assert any((folder / name).iterdir())
    assert semaphores(pid)
    opened("next")
    wait_until(lambda: name not in left(folder) and not semaphores(pid))


def test_what_ran_in_a_killed_engine_is_known_to_the_next_one_of_its_flow_though_another_took_all_away(
    folder: Path, opened: Callable[[str], Client], tmp_path: Path
) -> None:
    def waits(x: str) -> None:
        Path(x).with_suffix(".begun").touch()
        open(x).close()

    os.mkfifo(tmp_path / "pipe")
    dead = opened("dead")
    (name,) = left(folder)
    change, blob = socket_change(waits)
    dead.ask("edit", {"changes": [change]}, [blob])
    (request,) = dead.submit([("waits", {"x": dead.dump(str(tmp_path / "pipe"))})])
    wait_until((tmp_path / "pipe.begun").exists)
    # nobody is left who would start the next one
    dead.close()
    kill_all(dead.engine_pid)
    opened("next")
    wait_until(lambda: name not in left(folder))
    assert last_calls(dead.folder) == {request: False}


def test_an_engine_that_ends_as_it_should_leaves_nothing(folder: Path, opened: Callable[[str], Client]) -> None:
    client = opened("one")
    pid = client.engine_pid
    client.ask("stop")
    gone(pid)
    assert left(folder) == []
    assert not (client.folder / ADDRESS).exists()
    wait_until(lambda: not semaphores(pid))


def test_what_engines_that_live_have_stays(folder: Path, opened: Callable[[str], Client]) -> None:
    clients = [opened("one"), opened("two")]
    stopped = clients[0].engine_pid
    os.kill(stopped, signal.SIGSTOP)
    before, kept = left(folder), [semaphores(client.engine_pid) for client in clients]
    assert sweep([folder]) == 0
    os.kill(stopped, signal.SIGCONT)
    assert left(folder) == before
    assert all(kept)
    assert [semaphores(client.engine_pid) for client in clients] == kept
    for client in clients:
        work(client)
        assert socket_path(client.folder) is not None


def test_no_engine_that_starts_while_others_sweep_loses_its_folder(folder: Path) -> None:
    over, made, trouble = threading.Event(), [], []

    def make() -> None:
        for _ in range(100):
            made.append(Runtime())

    def tidy() -> None:
        while not over.is_set():
            if sweep([folder]):
                trouble.append("one that lives was taken away")

    sweepers = [threading.Thread(target=tidy) for _ in range(2)]
    makers = [threading.Thread(target=make) for _ in range(3)]
    for thread in (*sweepers, *makers):
        thread.start()
    for thread in makers:
        thread.join(60)
    over.set()
    for thread in sweepers:
        thread.join(60)
    assert not trouble
    assert len(made) == 300
    assert all(runtime.there for runtime in made)
    for runtime in made:
        runtime.close()


def abandoned(folder: Path, **facts: Any) -> Path:
    """A folder as an engine has left it that wrote such facts about itself."""
    runtime = Runtime()
    (runtime.folder / OWNER).write_text(json.dumps(_process(os.getpid()) | facts))
    os.close(runtime._fd)
    return runtime.folder


def test_another_process_that_has_the_number_of_a_dead_engine_keeps_its_semaphores(folder: Path) -> None:
    """Numbers of processes come again: what tells them apart is when they started."""
    mine = SHARED / f"sem.loky-{os.getpid()}-test"
    mine.touch()
    try:
        place = abandoned(folder, started="1")
        assert sweep([folder]) == 0
        assert mine.exists()
        assert place.exists()
        other = abandoned(folder, boot="another start of the machine")
        assert sweep([folder]) == 1
        assert mine.exists()
        assert not other.exists()
    finally:
        mine.unlink()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1'])
def test_a_folder_whose_engine_died_while_it_made_it_is_taken_away(folder: Path, text: str) -> None:
    place = abandoned(folder)
    (place / OWNER).write_text(text)
    assert sweep([folder]) == 1
    assert not place.exists()


def test_what_is_no_engines_folder_is_left_alone(folder: Path, tmp_path: Path) -> None:
    Runtime().close()
    (folder / "other").mkdir()
    (folder / "e-link0000").symlink_to(tmp_path)
    assert sweep([folder]) == 0
    assert (folder / "other").exists()
    assert tmp_path.exists()
