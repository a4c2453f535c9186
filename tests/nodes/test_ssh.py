"""A node over SSH: the user's own client against a server of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ec_jupyter.errors import (
    DeclarationError,
    EcError,
    HostKeyError,
    HostUnreachableError,
    NodeStartError,
    SshAuthError,
)
from ec_jupyter.nodes.ssh.openssh import OPTIONS, Ssh
from tests.nodes.far import FarRig, ended, kill, ready, tree
from tests.nodes.rig import number_in, wait_until
from tests.nodes.sshd import ROOT, Sshd, free_port, keygen
from tests.nodes.tasks import add, hold, mark

REPOSITORY = Path(__file__).parents[2]
SHELLS = [path for name in ("sh", "bash", "dash", "zsh", "csh", "tcsh", "fish") if (path := shutil.which(name))]


@pytest.fixture
def rig(far: FarRig, sshd: Sshd) -> FarRig:
    far.login = sshd.login
    return far


async def refused(rig: FarRig, kind: type[EcError], match: str, login: Ssh) -> None:
    agent = await rig.begin(login=login)
    with pytest.raises(kind, match=match) as caught:
        await ready(agent)
    assert "\n" not in str(caught.value)
    assert agent.state == "down"
    assert agent.facts()["error"] == str(caught.value)


async def test_node_over_ssh_runs_calls_and_leaves_nothing(rig: FarRig, sshd: Sshd) -> None:
    agent = await rig.start()
    agent.processor("main", 2)
    call = rig.call(add, {"one": b"x" * 100_000, "two": b"y" * 100_000})
    await rig.run(agent, call)
    assert rig.result(call.request) == b"x" * 100_000 + b"y" * 100_000
    pids, place = tree(rig.host_pid(agent)), rig.place(agent)
    await agent.close()
    await ended(pids)
    await wait_until(lambda: not sshd.pids() and not place.exists())


async def test_unknown_host_key_is_refused_and_not_added(rig: FarRig, sshd: Sshd) -> None:
    sshd.known.write_text("")
    await refused(rig, HostKeyError, "key of host 'node' is not known; try 'ssh .* node' in a terminal", sshd.login())
    assert sshd.known.read_text() == ""


async def test_changed_host_key_is_refused(rig: FarRig, sshd: Sshd) -> None:
    keygen(sshd.folder / "other")
    sshd.known.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'other.pub').read_text()}")
    await refused(rig, HostKeyError, "another key than before", sshd.login())


async def test_key_the_host_does_not_know_is_refused(rig: FarRig, sshd: Sshd) -> None:
    sshd.authorized.write_text("")
    await refused(rig, SshAuthError, "does not let us in; .*ask=True", sshd.login())


async def test_passphrase_is_not_asked_for_unless_wanted(rig: FarRig, sshd: Sshd) -> None:
    keygen(sshd.folder / "user", "open sesame")
    sshd.authorized.write_text((sshd.folder / "user.pub").read_text())
    await refused(rig, SshAuthError, "does not let us in", sshd.login())


async def test_passphrase_given_to_the_question_of_ssh_lets_us_in(rig: FarRig, sshd: Sshd) -> None:
    keygen(sshd.folder / "user", "open 'se$ame\" ü")
    sshd.authorized.write_text((sshd.folder / "user.pub").read_text())
    asked = []

    async def ask(question: str) -> str:
        asked.append(question)
        return "open 'se$ame\" ü"

    await rig.start(login=sshd.login(ask=ask))
    assert len(asked) == 1
    assert str(sshd.folder / "user") in asked[0]


async def test_question_nobody_answers_ends_the_login(rig: FarRig, sshd: Sshd) -> None:
    keygen(sshd.folder / "user", "open sesame")

    async def ask(question: str) -> None:
        return None

    await refused(rig, SshAuthError, "does not let us in", sshd.login(ask=ask))


async def test_host_where_nobody_listens_is_unreachable(rig: FarRig, sshd: Sshd) -> None:
    sshd.host("shut", Port=str(free_port()))
    await refused(rig, HostUnreachableError, "host 'shut' refuses: no SSH server", sshd.login("shut"))


async def test_host_of_no_known_name_is_unreachable(rig: FarRig, sshd: Sshd) -> None:
    await refused(rig, HostUnreachableError, "no host of the name 'nowhere.invalid'", sshd.login("nowhere.invalid"))


async def test_host_without_that_python_says_what_to_give(rig: FarRig, sshd: Sshd) -> None:
    await refused(rig, NodeStartError, "has no 'python3.99'.*give python=\"", sshd.login(python="python3.99"))


async def test_python_that_breaks_is_told_with_its_last_line(rig: FarRig, sshd: Sshd) -> None:
    script = sshd.folder / "python"
    script.write_text("#!/bin/sh\necho 'libc is too old' >&2\nexit 3\n")
    script.chmod(0o755)
    await refused(rig, NodeStartError, "ended with code 3: libc is too old", sshd.login(python=str(script)))


async def test_client_that_is_not_there_is_told(rig: FarRig) -> None:
    await refused(rig, NodeStartError, "'/nonexistent/ssh' cannot be run", Ssh("node", client=["/nonexistent/ssh"]))


@pytest.mark.parametrize("host", ["", "-oProxyCommand=evil", "a b", "a\nb"])
def test_host_that_ssh_would_take_for_something_else_is_refused(host: str) -> None:
    with pytest.raises(DeclarationError, match="is no host"):
        Ssh(host)


def test_host_keys_cannot_be_switched_off() -> None:
    with pytest.raises(DeclarationError, match="host keys are always checked"):
        Ssh("node", client=["ssh", "-o", "StrictHostKeyChecking=no"])
    assert OPTIONS["StrictHostKeyChecking"] == "yes"


async def test_host_behind_another_is_reached_as_the_configuration_says(rig: FarRig, sshd: Sshd) -> None:
    sshd.host("inner", ProxyCommand=f"ssh -F {sshd.config} -o BatchMode=yes -W %h:%p node")
    agent = await rig.start(login=sshd.login("inner"))
    assert agent.state == "up"


@pytest.mark.skipif(not ROOT, reason="makes users")
@pytest.mark.parametrize("shell", SHELLS)
async def test_any_login_shell_will_do_however_much_it_says(rig: FarRig, sshd: Sshd, shell: str) -> None:
    home = sshd.folder / "a home's place"
    home.mkdir()
    for name in (".bashrc", ".cshrc", ".tcshrc", ".zshenv"):
        (home / name).write_text('echo "Have you heard?"\n')
    (home / ".config" / "fish").mkdir(parents=True)
    (home / ".config" / "fish" / "config.fish").write_text('echo "Have you heard?"\n')
    sshd.user(f"ec{os.getpid()}", shell, home)
    subprocess.run(["chown", "-R", f"ec{os.getpid()}", str(home)], check=True)
    agent = await rig.start(login=sshd.login(f"ec{os.getpid()}", python="python3"))
    agent.processor("main", 1)
    call = rig.call(add, {"one": 1, "two": 2})
    await rig.run(agent, call)
    assert rig.result(call.request) == 3
    assert list((home / ".cache" / "ec_jupyter").glob("*.zip"))


@pytest.mark.skipif(not ROOT, reason="makes users")
async def test_user_whose_home_is_not_theirs_works_without_it(rig: FarRig, sshd: Sshd) -> None:
    home = sshd.folder / "home"
    sshd.user(f"ec{os.getpid()}", "/bin/sh", home)
    shutil.chown(home, "root")
    home.chmod(0o755)
    agent = await rig.start(login=sshd.login(f"ec{os.getpid()}", python="python3"))
    assert agent.state == "up"
    assert not list(home.iterdir())


async def test_killed_client_comes_back_to_the_agent_it_left(rig: FarRig, sshd: Sshd) -> None:
    agent = await rig.start()
    agent.processor("main", 1)
    gate = rig.gate()
    call = rig.call(hold, {"gate": str(gate), "x": 5})
    agent.assign("main", [call])
    await rig.ear.until(lambda: call.request in rig.ear.begun)
    host = rig.host_pid(agent)
    before = set(sshd.pids())
    kill(client_of(sshd))
    await rig.ear.until(lambda: agent.state == "away")
    gate.open()
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    assert rig.result(call.request) == 5
    assert rig.host_pid(agent) == host
    # the login that started it has ended, though the agent lives
    await wait_until(lambda: not before & set(sshd.pids()))


async def test_killed_agent_is_known_to_be_dead_at_the_next_login(rig: FarRig) -> None:
    agent = await rig.start()
    agent.processor("main", 1)
    path = rig.folder / "pid"
    call = rig.call(mark, {"path": str(path)})
    agent.assign("main", [call])
    await wait_until(lambda: number_in(path))
    pids = tree(rig.host_pid(agent))
    kill(pids[0])
    await rig.ear.until(lambda: rig.ear.gone == [call.request])
    await ended(pids)
    assert "up" in rig.ear.states[1:]
    assert rig.ear.killed_under == {call.request: False}


async def test_agent_that_ended_with_its_login_after_a_cut_is_held_against_no_call(rig: FarRig, sshd: Sshd) -> None:
    agent = await rig.start()
    agent.processor("main", 1)
    path = rig.folder / "pid"
    call = rig.call(mark, {"path": str(path)})
    agent.assign("main", [call])
    await wait_until(lambda: number_in(path))
    host = rig.host_pid(agent)
    # as where KillUserProcesses=yes: the line is cut, and the host ends what the login has started
    kill(client_of(sshd))
    kill(host)
    await rig.ear.until(lambda: rig.ear.gone == [call.request])
    assert rig.ear.killed_under == {}


ENGINE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import cloudpickle
from ec_jupyter.nodes.ssh.openssh import Ssh
from tests.nodes import tasks
from tests.nodes.far import FarRig
cloudpickle.register_pickle_by_value(tasks)

async def main():
    rig = FarRig(Path({folder!r}), Path({folder!r}))
    rig.login = lambda: Ssh("node", python=sys.executable, client=["ssh", "-F", {config!r}])
    agent = await rig.start(2)
    agent.processor("main", 1)
    call = rig.call(tasks.hold, dict(gate=str(rig.folder / "gate"), x=5))
    agent.assign("main", [call])
    await rig.ear.until(lambda: rig.ear.begun)
    print(rig.host_pid(agent), call.request, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_killed_engine_leaves_no_login_and_the_next_gets_the_result(rig: FarRig, sshd: Sshd) -> None:
    gate = rig.gate()
    rig.values.rmdir()
    code = ENGINE.format(root=str(REPOSITORY), folder=str(rig.folder), config=str(sshd.config))
    engine = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert engine.stdout is not None
    host, request = map(int, engine.stdout.readline().split())
    client = client_of(sshd)
    engine.kill()
    engine.wait()
    engine.stdout.close()
    await ended([client])
    await wait_until(lambda: not sshd.pids())
    gate.open()
    rig.epoch = 8
    agent = rig.make(2)
    agent.adopt({request: (1, "main")})
    await agent.start()
    await rig.ear.until(lambda: request in rig.ear.outcomes)
    assert rig.result(request) == 5
    assert rig.host_pid(agent) == host


def client_of(sshd: Sshd) -> int:
    """The `ssh` process of this test's node."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"ssh" and str(sshd.config).encode() in words:
            return int(path.parent.name)
    raise AssertionError("no ssh runs")


def test_command_holds_nothing_a_shell_could_take_for_its_own() -> None:
    from ec_jupyter.nodes import bundle

    code = bundle.command(b"x" * 6000)
    assert len(code) < 90
    assert not set(code) & set("'\"\\$!`\n&|<>*?~#{}")
    assert sys.version_info >= (3, 11)
