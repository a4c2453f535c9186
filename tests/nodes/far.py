"""Nodes for tests: an agent in another process, behind a pipe or an SSH server of the test's own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ec_jupyter.errors import EcError, NodeStartError, from_wire
from ec_jupyter.model import Node
from ec_jupyter.nodes import bootstrap
from ec_jupyter.nodes.ssh.agent import RemoteAgent
from ec_jupyter.nodes.ssh.login import LOGIN_SECONDS, Login, last_line
from tests.nodes.rig import Rig, gone, wait_until

ROOT = Path(__file__).parents[2]
BEAT = 0.3
"""Seconds between signs of life: what is cut is noticed in a second."""


class FarRig(Rig):
    """Nodes under test, each with its engine's end."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        super().__init__(folder, runtime)
        self.values.mkdir()
        self.epoch = 7
        self.login: Callable[[], Login] = here

    async def start(self, cpus: int = 2, **options: Any) -> Any:
        """A node that is up."""
        agent = await self.begin(cpus, **options)
        await ready(agent)
        return agent

    async def begin(self, cpus: int | None = 2, **options: Any) -> RemoteAgent:
        """A node that is being started."""
        agent = self.make(cpus, **options)
        await agent.start()
        return agent

    def make(self, cpus: int | None = 2, *, name: str = "far", login: Login | None = None, **options: Any) -> Any:
        """A node that is not started yet."""
        beats = {"heartbeat": BEAT, **{word: options.pop(word) for word in ("heartbeat", "idle") if word in options}}
        record = Node(name, "", cpus, **{"lease": 30.0, **options})
        agent = RemoteAgent(record, self.ear, self.home(self.epoch), login or self.login(), **beats)
        self.ear.agents[name] = agent
        self.agents.append(agent)
        return agent

    async def finish(self) -> None:
        """End the nodes, also those that are away just now."""
        places = {self.place(agent) for agent in self.agents}
        for agent in self.agents:
            await agent.close()
        for place in places:
            with suppress(AssertionError, FileNotFoundError):  # it has ended
                kill(pid_of(place))
            shutil.rmtree(place, ignore_errors=True)
            Path(f"{place}.lock").unlink(missing_ok=True)

    def facts(self, agent: RemoteAgent) -> dict[str, Any]:
        return agent.facts()

    def used(self, agent: RemoteAgent) -> float:
        return agent.facts()["used"]

    def pids(self, agent: RemoteAgent) -> list[int]:
        return [pid for pid in self.ear.pids if pid and not gone(pid)]

    def place(self, agent: RemoteAgent) -> Path:
        """The node's own folder."""
        return Path(bootstrap.base()) / agent._session._orders["key"]

    def host_pid(self, agent: RemoteAgent) -> int:
        """The process that runs the node's agent."""
        return pid_of(self.place(agent))


class Pipe:
    """A Python on this machine, without any login."""

    seconds = LOGIN_SECONDS

    def __init__(self, python: str = sys.executable, env: Mapping[str, str] | None = None) -> None:
        self.host = "localhost"
        self.python = python
        self._env = dict(os.environ) if env is None else dict(env)

    async def command(self, code: str) -> tuple[list[str], Mapping[str, str]]:
        """The Python itself."""
        return [self.python, "-c", code], self._env

    def explain(self, code: int | None, errors: str, said: str) -> EcError:
        """The last line it said."""
        return NodeStartError(f"{shlex.quote(self.python)} ended with code {code}: {last_line(errors or said)}")

    async def close(self) -> None:
        """Nothing is left of it."""


async def ready(agent: RemoteAgent) -> None:
    """Wait for the end of the first login; raises what it failed with."""
    await wait_until(lambda: agent.state != "starting")
    facts = agent.facts()
    if facts["error"] is not None:
        raise from_wire({"type": facts["type"], "message": facts["error"]})


def here() -> Pipe:
    """A bare Python on this machine: it finds our package in what travels alone, and the tests beside it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return Pipe(env=env)


def pid_of(place: Path) -> int:
    """Who holds the lock of an agent's folder."""
    inode = os.stat(f"{place}.lock").st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    raise AssertionError(f"nobody holds {place}.lock")


def tree(pid: int) -> list[int]:
    """A process and all that descends from it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            todo.extend(int(child) for child in task.read_text().split())
    return found


async def ended(pids: list[int], seconds: float = 60.0) -> None:
    """Wait until these are no more."""
    await wait_until(lambda: all(gone(pid) for pid in pids), seconds)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
