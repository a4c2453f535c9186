"""Whose flow it is and where it was made: what runs at once, what is asked for, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import cloudpickle
import pytest

import ec_jupyter as ec
from ec_jupyter.client.client import Client
from ec_jupyter.engine import trust
from ec_jupyter.engine.address import ADDRESS, KEY, connect
from ec_jupyter.engine.folder import Folder
from ec_jupyter.engine.runtime import runtime_folder, runtime_folders
from ec_jupyter.engine.store import Store, make_folder
from ec_jupyter.errors import UntrustedFlowError

NOBODY = 65534
ROOT = os.getuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A flow with one socket and a queued request of it, as its engine left it."""
    folder = tmp_path / "here" / ".ec_jupyter" / "sums"
    Store(folder).close()
    request = "INSERT INTO request (id, socket, run, state, arguments, created) VALUES (1, 1, 1, 'queued', '{}', 0)"
    with closing(sqlite3.connect(folder / "flow.db")) as db, db:
        db.execute("INSERT INTO socket (id, name, processor, task, record) VALUES (1, 'add', 'main', 1, '{}')")
        db.execute("INSERT INTO node (name) VALUES ('gpu1')")
        db.execute(request)
    return folder


@pytest.fixture
def notebook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a kernel runs in."""
    monkeypatch.chdir(folder.parent.parent)
    yield folder.parent.parent
    for flow in list(ec.notebook.flow._open.values()):
        flow.stop()
        flow.close()


AS_USER = """
import os, pickle, sys
act = pickle.load(sys.stdin.buffer)
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
print(act())
"""


def as_user(user: int, act: Callable[[], object]) -> str:
    """What `act` gives to another user of the machine, in a process of its own; tests run as root alone can."""
    command = [sys.executable, "-c", AS_USER, str(user)]
    asked = subprocess.run(command, input=cloudpickle.dumps(act), stdout=subprocess.PIPE, check=True)
    return asked.stdout.decode().strip()


@contextmanager
def another_user() -> Iterator[None]:
    """Be another user for the time of the block, as far as the other end of a socket sees."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def strange(tmp_path: Path) -> Path:
    """A folder that belongs to another user."""
    if not ROOT:
        return Path("/usr")
    place = tmp_path / "strange"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    return place


def test_a_flow_made_here_runs_without_a_word(folder: Path) -> None:
    make_folder(folder)
    trust.trusted(folder)


def test_a_copy_runs_nothing_before_the_person_says_so_once_in_words_that_say_what_will_run(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "there" / ".ec_jupyter" / "sums"
    shutil.copytree(folder, copy)
    before = sorted(path.name for path in copy.iterdir())
    with pytest.raises(UntrustedFlowError) as refused:
        make_folder(copy)
    assert str(refused.value) == (
        f"flow 'sums' was not made by you in {copy}; it came from {folder}. Opening it runs with your rights what is "
        "in it: the tasks of 1 socket (add), 1 queued request at once, programs that reach 1 node (gpu1). "
        "If you trust it, say so once: ec.flow('sums', trust=True)"
    )
    with pytest.raises(UntrustedFlowError):
        Store(copy)
    assert sorted(path.name for path in copy.iterdir()) == before
    make_folder(copy, trust=True)
    make_folder(copy)


def test_a_moved_flow_runs_without_a_word_and_is_known_at_its_new_place(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "moved"
    folder.rename(place)
    make_folder(place)
    assert json.loads((place / trust.PLACE).read_text())["path"] == str(place)


def test_a_mark_that_somebody_else_wrote_is_not_believed(folder: Path) -> None:
    with Folder(folder) as place:
        facts = trust._facts(place, folder)
    for forged in ({**facts, "signature": "0" * 64}, {"signature": None}, [], {**facts}):
        (folder / trust.PLACE).write_text(json.dumps(forged))
        with pytest.raises(UntrustedFlowError):
            make_folder(folder)


def test_the_secret_is_the_persons_alone_and_in_no_flow(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    make_folder(tmp_path / "new")
    secret = tmp_path / "state" / "ec_jupyter" / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    Store(tmp_path / "new").close()
    # another person, who has another secret
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    with pytest.raises(UntrustedFlowError):
        make_folder(tmp_path / "new")


def test_a_folder_of_somebody_else_is_no_flow_of_this_person(tmp_path: Path) -> None:
    place = strange(tmp_path)
    with Folder(place) as other, pytest.raises(UntrustedFlowError, match=r"belongs to user '\w+', not to you"):
        trust.check(other, place)


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
def test_no_flow_is_made_in_a_folder_of_flows_that_somebody_else_has(tmp_path: Path) -> None:
    above = tmp_path / ".ec_jupyter"
    above.mkdir()
    os.chown(above, NOBODY, NOBODY)
    with pytest.raises(UntrustedFlowError, match="who can put another in its place"):
        make_folder(above / "sums")
    make_folder(above / "sums", trust=True)
    make_folder(above / "sums")


@pytest.mark.skipif(not ROOT, reason="only root can give a link away")
def test_a_link_of_somebody_else_is_not_followed_to_a_flow(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / ".ec_jupyter"
    link.symlink_to(folder.parent)
    trust.check_links(link / "sums")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(UntrustedFlowError, match=r"is a link of user '\w+', who can let it lead elsewhere"):
        trust.check_links(link / "sums")


def test_in_a_notebook_trust_is_said_once(folder: Path, notebook: Path, tmp_path: Path) -> None:
    ours = notebook / ".ec_jupyter" / "came"
    shutil.copytree(folder, ours)
    with closing(sqlite3.connect(ours / "flow.db")) as db, db:
        db.execute("DELETE FROM request")
        db.execute("DELETE FROM socket")
        db.execute("DELETE FROM node")
    with pytest.raises(UntrustedFlowError, match=r"say so once: ec\.flow\('came', trust=True\)"):
        ec.flow("came")
    assert ec.flow("came", trust=True).folder == ours
    ec.flow("came").close()
    assert ec.flow("came").name == "came"


def test_a_database_that_is_a_link_is_not_opened(folder: Path, tmp_path: Path) -> None:
    (folder / "flow.db").replace(tmp_path / "else.db")
    (folder / "flow.db").symlink_to(tmp_path / "else.db")
    with pytest.raises(ec.StoreError, match="cannot be a link"):
        Store(folder)


# -- the runtime folder ----------------------------------------------------------
@pytest.mark.parametrize("taken", ["link", "file", "open to others"])
def test_where_the_name_of_the_runtime_folder_is_taken_another_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "ec_jupyter"
    (tmp_path / "else").mkdir(mode=0o700)
    if taken == "link":
        place.symlink_to(tmp_path / "else")
    elif taken == "file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    found = runtime_folder()
    assert found.parent == Path("/tmp")
    state = found.lstat()
    assert stat.S_ISDIR(state.st_mode)
    assert (state.st_uid, stat.S_IMODE(state.st_mode)) == (os.getuid(), 0o700)
    assert not list((tmp_path / "else").iterdir())


@pytest.mark.skipif(not ROOT, reason="only root can be two users")
def test_who_makes_the_runtime_folder_of_another_user_first_is_not_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    user = 40_000 + os.getpid() % 10_000
    taken = Path(f"/tmp/ec_jupyter-{user}")
    taken.mkdir(mode=0o777)
    found: list[Path] = []
    try:
        first = as_user(user, runtime_folder)
        found.append(Path(first))
        assert found[0].name.startswith(f"{taken.name}-"), first
        assert found[0].lstat().st_uid == user
        # it is found again, and with it what engines have left
        assert as_user(user, runtime_folder) == first
        assert as_user(user, lambda: [str(place) for place in runtime_folders()]) == f"['{first}']"
    finally:
        for place in (taken, *found):
            shutil.rmtree(place)


@pytest.mark.skipif(not ROOT, reason="only root can be two users")
def test_an_engine_of_another_user_is_none_of_this_person(tmp_path: Path) -> None:
    """Who listens is known before it has said anything."""
    with Folder(tmp_path) as folder, socket.socket(socket.AF_UNIX) as listener:
        folder.write(KEY, bytes(32))
        folder.write(ADDRESS, os.fsencode(tmp_path / "s"))
        listener.bind(str(tmp_path / "s"))
        with another_user():
            listener.listen()
        assert connect(tmp_path, 30.0) is None


@pytest.mark.skipif(not ROOT, reason="only root can be two users")
def test_a_client_of_another_user_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client.open(tmp_path / "flow", "flow", linger=5.0, cpus=1)
    address = Path(os.fsdecode((client.folder / ADDRESS).read_bytes()))
    monkeypatch.chdir(address.parent)
    address.parent.chmod(0o755)
    address.chmod(0o666)
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        with another_user():
            line.connect(address.name)
        with suppress(ConnectionResetError):
            assert line.recv(100) == b""
    client.ask("stop")
    client.close()
