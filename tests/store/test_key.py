"""Client and engine prove to each other that they know the flow's key before anything else is said."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ec_jupyter.client import probe
from ec_jupyter.client.client import Client
from ec_jupyter.client.launch import running
from ec_jupyter.engine.address import ADDRESS, KEY, Proof, connect, make_key, socket_path
from ec_jupyter.engine.folder import Folder
from ec_jupyter.engine.store import make_folder
from ec_jupyter.wire import FrameReader, Header, encode


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client of an engine that ends with the test."""
    folder = tmp_path / ".ec_jupyter" / "main"
    folder.parent.mkdir()
    client = Client.open(folder, "main", linger=5.0, cpus=1)
    yield client
    client.ask("stop")
    client.close()


def said(path: Path, *frames: Header) -> list[Header]:
    """What an engine answers to frames until it hangs up, or has answered them all."""
    reader, answers = FrameReader(), []
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        line.connect(str(path))
        # who hangs up early does so in the middle of what is sent, or of what is read; its answers come first
        with suppress(ConnectionError):
            for frame in frames:
                line.sendall(encode(frame))
            line.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while data := line.recv(1 << 16):
                answers += [header for header, _ in reader.feed(data)]
    return answers


def where(client: Client) -> Path:
    path = socket_path(client.folder)
    assert path is not None
    return path


def test_the_key_is_a_file_that_its_owner_alone_can_read(client: Client) -> None:
    state = (client.folder / KEY).stat()
    assert stat.S_IMODE(state.st_mode) == 0o600
    assert stat.S_IMODE(client.folder.stat().st_mode) == 0o700
    assert len((client.folder / KEY).read_bytes()) == 32


@pytest.mark.parametrize("kind", ["hello", "probe", "stop", "submit"])
def test_an_engine_does_nothing_for_who_has_not_proved_that_it_knows_the_key(client: Client, kind: str) -> None:
    (answer,) = said(where(client), {"k": kind, "n": 1, "client": "x", "protocol": 1})
    assert answer["k"] == "error"
    assert "proof" in answer["error"]["message"]
    client.ask("ping")


def test_who_has_another_key_is_refused(client: Client) -> None:
    with Folder(client.folder) as folder:
        wrong = Proof(bytes(32), folder.identity)
    first, *_, last = said(where(client), wrong.question(), {"k": "proof", "proof": "0" * 64}, {"k": "probe", "n": 1})
    assert first["k"] == "proof"
    assert last["error"]["message"] == "the client does not know the flow's key"


def test_a_large_frame_of_a_stranger_is_refused_before_it_is_read(client: Client) -> None:
    (answer,) = said(where(client), {"k": "prove", "number": "1" * 100_000})
    assert "limit" in answer["error"]["message"]


class FalseEngine:
    """Listens where an engine would, and knows another key."""

    def __init__(self, path: Path, key: bytes, identity: str) -> None:
        self.heard: list[Header] = []
        self._key, self._identity = key, identity
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        line, _ = self._listener.accept()
        reader, proof = FrameReader(), Proof(self._key, self._identity)
        with line:
            while data := line.recv(1 << 16):
                for header, _ in reader.feed(data):
                    self.heard.append(header)
                    if header["k"] == "prove":
                        line.sendall(encode(proof.answer(header)))

    def close(self) -> None:
        self._thread.join(30)
        self._listener.close()


def test_a_client_tells_a_false_engine_nothing_and_starts_the_flows_own(tmp_path: Path) -> None:
    place = tmp_path / ".ec_jupyter" / "main"
    make_folder(place)
    with Folder(place) as folder:
        make_key(folder, anew=True)
        folder.write(ADDRESS, os.fsencode(tmp_path / "false"))
        false = FalseEngine(tmp_path / "false", bytes(32), folder.identity)
    client = Client.open(place, "main", linger=5.0, cpus=1)
    false.close()
    assert [header["k"] for header in false.heard] == ["prove"]
    assert client.engine_pid not in (0, os.getpid())
    client.ask("stop")
    client.close()


def test_a_probe_believes_no_false_engine(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Folder(tmp_path) as folder:
        make_key(folder, anew=True)
        folder.write(ADDRESS, os.fsencode(tmp_path / "false"))
        false = FalseEngine(tmp_path / "false", bytes(32), folder.identity)
    assert probe.ask(tmp_path) is None
    false.close()


def test_the_engine_of_a_flow_is_not_that_of_its_copy(client: Client, tmp_path: Path) -> None:
    """Key and address are copied with the folder, and yet they prove nothing there."""
    copy = tmp_path / "copy"
    shutil.copytree(client.folder, copy)
    assert (copy / KEY).read_bytes() == (client.folder / KEY).read_bytes()
    assert socket_path(copy) == socket_path(client.folder)
    assert not running(copy)
    assert running(client.folder)


def test_a_key_that_is_a_link_is_not_followed(client: Client, tmp_path: Path) -> None:
    (client.folder / KEY).replace(tmp_path / KEY)
    (client.folder / KEY).symlink_to(tmp_path / KEY)
    assert connect(client.folder, 1.0) is None
    (tmp_path / KEY).replace(client.folder / KEY)
    assert running(client.folder)


def test_an_address_that_is_a_link_is_not_followed(client: Client, tmp_path: Path) -> None:
    (tmp_path / ADDRESS).symlink_to(client.folder / ADDRESS)
    assert socket_path(tmp_path) is None
