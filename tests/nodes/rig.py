"""An agent with real workers, and a listener that writes down what it is told."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ec_jupyter.nodes.agents import Home
from ec_jupyter.nodes.code import by_value
from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.nodes.values import dump, load
from ec_jupyter.wire import Block, Call, Outcome, Value

SECONDS = 60.0
"""How long a claim may take to come true on a machine that is busy with other things."""


class Ear:
    """A listener that keeps everything, and lets a test wait for a claim about it."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.begun: list[int] = []
        self.outcomes: dict[int, Outcome] = {}
        self.yields: dict[int, list[tuple[int, Value]]] = {}
        self.back: list[int] = []
        self.dead: dict[int, str] = {}
        self.printed: dict[tuple[int, str], str] = {}
        self.shown: list[tuple[int, float, float | None, str]] = []
        self.troubles: list[str] = []
        self.rooms = 0
        self.agents: dict[str, Any] = {}
        self.states: list[str] = []
        self.gone: list[int] = []
        self.killed_under: dict[int, bool] = {}
        self.stayed: set[str] = set()
        self.pids: set[int] = set()
        self._news = asyncio.Event()

    def blob(self, sha256: str) -> bytes:
        self.asked.append(sha256)
        return self.blobs[sha256]

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> None:
        self.begun.append(request)
        self._news.set()

    def finished(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            assert outcome.request not in self.outcomes, "an outcome came twice"
            self.pids.add(outcome.pid)
            self.outcomes[outcome.request] = outcome
        self._news.set()

    def after(self, effect: Callable[[], None]) -> None:
        effect()

    async def ask(self, text: str) -> str | None:
        return None

    def done(self, block: Block) -> None:
        self.finished(block.outcomes())

    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None:
        self.yields.setdefault(request, []).extend(enumerate(values, first))
        self._news.set()

    def returned(self, requests: list[int]) -> None:
        self.back.extend(requests)
        self._news.set()

    def died(self, request: int, attempt: int, text: str) -> None:
        assert request not in self.dead
        self.dead[request] = text
        self._news.set()

    def output(self, request: int, stream: str, text: str) -> None:
        self.printed[request, stream] = self.printed.get((request, stream), "") + text
        self._news.set()

    def progress(self, request: int, done: float, total: float | None, text: str) -> None:
        self.shown.append((request, done, total, text))
        self._news.set()

    def room(self, processor: str) -> None:
        self.rooms += 1
        self._news.set()

    def trouble(self, processor: str, text: str) -> None:
        self.troubles.append(text)
        self._news.set()

    def node(self, name: str) -> None:
        state = self.agents[name].state if name in self.agents else ""
        if state and self.states[-1:] != [state]:
            self.states.append(state)
        self._news.set()

    def killed(self, name: str, ran: dict[int, bool]) -> None:
        self.killed_under |= ran

    def lost(self, name: str, requests: list[int]) -> None:
        self.gone.extend(requests)
        self._news.set()

    def stays(self, file: str) -> None:
        self.stayed.add(file)
        self._news.set()

    async def until(self, claim: Callable[[], Any], seconds: float = SECONDS) -> None:
        async def wait() -> None:
            while not claim():
                self._news.clear()
                await self._news.wait()

        try:
            await asyncio.wait_for(wait(), seconds)
        except TimeoutError:
            came = f"finished {sorted(self.outcomes)[:20]}, back {self.back[:20]}, dead {self.dead}"
            raise AssertionError(f"not within {seconds} s; {came}") from None


def slots(agent: Any, processor: str = "main") -> list[Any]:
    """The slots of a processor of an agent of this machine."""
    return list(agent._pools[processor].slots)


class Gate:
    """Where the task `hold` stands, as long as it is shut."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "gate"
        self._path.touch()

    def __str__(self) -> str:
        return str(self._path)

    async def reached(self, *calls: int) -> None:
        """Wait until the calls of these `x` stand here."""
        marks = [Path(f"{self._path}-{x}") for x in calls]
        await wait_until(lambda: all(number_in(mark) for mark in marks))

    def shut(self) -> None:
        """Nobody passes."""
        self._path.touch()

    def open(self) -> None:
        """Everybody passes."""
        self._path.unlink()


class Rig:
    """An agent under test: here, one with workers on this machine."""

    deaths = 24
    """So many times a process that runs calls may be killed."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.values = folder / "values"
        self.runtime = runtime
        self.ear = Ear()
        self.agents: list[Any] = []
        self._ids = itertools.count(1)

    def home(self, epoch: int = 7) -> Home:
        """Where the engine would be."""
        return Home(str(self.folder), self.folder, self.runtime, self.folder, epoch, sync=False)

    async def start(self, cpus: int = 2, **options: Any) -> Any:
        """An agent that takes calls."""
        options = {"idle": 300.0, "workdir": self.folder, **options}
        agent = Agent(self.ear, name="local", cpus=cpus, folder=self.folder, runtime=self.runtime, epoch=7, **options)
        await agent.start()
        self.agents.append(agent)
        return agent

    def gate(self) -> Gate:
        """A gate that is shut."""
        return Gate(self.folder)

    async def finish(self) -> None:
        """End the agents; nothing of them is left."""
        for agent in self.agents:
            await agent.close()
        assert not list(self.runtime.iterdir()), "the agent left files in the runtime folder"

    def facts(self, agent: Any) -> dict[str, Any]:
        """What the engine tells of the node."""
        # found on hosts that have not the engine, as all that tests import
        from ec_jupyter.engine.member import Member

        return Member(agent.name, agent, None, known=True).facts()

    def used(self, agent: Any) -> float:
        """CPUs that are in use there."""
        return agent.busy  # type: ignore[no-any-return]

    def pids(self, agent: Any) -> list[int]:
        """Processes that calls run in, as far as the test may kill them."""
        return [slot.pid for slot in slots(agent) if slot.pid]

    def task(self, function: Any) -> str:
        blob = by_value(function)
        sha256 = hashlib.sha256(blob).hexdigest()
        self.ear.blobs[sha256] = blob
        return sha256

    def call(self, function: Any, given: dict[str, Any] | None = None, **options: Any) -> Call:
        """A call of a function; its arguments are pickled here."""
        request = next(self._ids)
        sha256 = function if isinstance(function, str) else self.task(function)
        socket = options.pop("socket", getattr(function, "__name__", "task"))
        values = [(name, "v", [self.value(value)]) for name, value in (given or {}).items()]
        attempt, skip = options.pop("attempt", 1), options.pop("skip", 0)
        arguments = options.pop("arguments", values)
        options["routes"] = tuple(options.pop("routes", ()))
        call = Call.of(request, attempt, 100 + request, arguments, task=sha256, socket=socket, **options)
        call.skip = skip
        return call

    def value(self, obj: object) -> Value:
        return dump(obj, self.values, f"in.{next(self._ids)}")

    def result(self, request: int) -> Any:
        outcome = self.ear.outcomes[request]
        assert outcome.state == "done", outcome.error
        assert outcome.value is not None
        return load(outcome.value, self.values)

    async def run(self, agent: Any, call: Call, processor: str = "main") -> Outcome:
        """What a call comes to."""
        agent.assign(processor, [call])
        await self.done([call])
        return self.ear.outcomes[call.request]

    async def done(self, calls: list[Call], seconds: float = SECONDS) -> None:
        """Wait until all of these have come to something."""
        wanted = {call.request for call in calls}
        await self.ear.until(lambda: wanted <= self.ear.outcomes.keys(), seconds)


async def wait_until(claim: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Wait for something no process tells us of, such as the end of one that is not our child."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has, too."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def session(leader: int) -> dict[int, int]:
    """The living processes of a session but its leader, and the process group of each."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group, belongs, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended just now
        if int(belongs) == leader and state != "Z" and path.parent.name != str(leader):
            found[int(path.parent.name)] = int(group)
    return found


def number_in(path: Path) -> int | None:
    """The number a task has written to a file, once it is there whole."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None
