"""A kill campaign: client, engine and workers are killed at random moments, and the flow is compared with a model."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from ec_jupyter import sleep
from tests.crash.flowkit import Flow, gone, kill, wait_until
from tests.crash.submitter import KEPT, SOCKETS

FED = ("left", "right", "pair", "meet", "caught", "even", "nap", "woken", "tens")
REPOSITORY = Path(__file__).parents[2]


def echo(x: int) -> int:
    return x


async def left(x: int) -> tuple[str, int]:
    """Beside others of its kind."""
    await asyncio.sleep(0.001 * (x % 5))
    return ("left", x)


def right(x: int) -> tuple[str, int]:
    return ("right", x)


def pair(one: Any, two: Any) -> tuple[Any, Any]:
    return (one, two)


def flaky(x: int, folder: str) -> int:
    """Every seventh raises, the first time."""
    if x % 7 == 0 and not os.path.exists(f"{folder}/flaky-{x}"):
        open(f"{folder}/flaky-{x}", "w").close()
        raise ValueError(f"try {x} again")
    return x


def failing(x: int) -> int:
    """Every eleventh raises."""
    if x % 11 == 0:
        raise ValueError(f"never {x}")
    return x


async def dying(x: int, folder: str) -> int:
    """Every fiftieth ends its process, the first time, and with it calls beside it."""
    await asyncio.sleep(0.001)
    if x % 50 == 49 and not os.path.exists(f"{folder}/dying-{x}"):
        open(f"{folder}/dying-{x}", "w").close()
        os._exit(5)
    return x


def two(x: int) -> Iterator[int]:
    """Yields one even number and one odd."""
    yield x
    yield x + 1


def marking(x: int, file: str) -> int:
    """Notes on the disk that it has run, for its request goes."""
    with open(file, "a") as marks:
        marks.write(f"{x}\n")
    return x


def tick() -> None:
    """Called by itself."""


def caught(error: Any) -> int:
    return int(error.arguments["x"])


TICK_SECONDS = 10.0
"""How long the last tick may be past on a busy machine: a second, and what an engine takes to start."""

MOST_TRIES = 10
"""How often somebody is looked for to be killed, for each kill."""


class Campaign:
    """One flow and its deaths.

    Parameters
    ----------
    folder : Path
        An empty folder of its own.
    seed : int
        Decides who is killed and when.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.notebook = folder.resolve()
        self.folder = self.notebook / ".ec_jupyter" / "main"
        self.folder.mkdir(parents=True)
        (self.notebook / "once").mkdir()
        self.kills: Counter[str] = Counter()
        self.requests = 0
        self._submitter: subprocess.Popen[bytes] | None = None
        self._moment = threading.Event()

    # -- the flow --------------------------------------------------------------
    def wire(self) -> None:
        """A diamond, strangers, retries, failures, deaths, calls that overlap, a sleep, a schedule, runs that go."""
        flow = Flow(self.folder)
        for name in ("root", "a", "b"):
            flow.socket(echo, name, keep="forever")
        for function, options in (
            (left, {"limit": 20, "concurrent": 8}), (right, {"priority": 3}), (pair, {"limit": 5}),
            (flaky, {"retries": 2, "backoff": 0.01, "rate": "500/s", "keep": "forever"}),
            (failing, {"keep": "forever"}), (dying, {"keep": "forever", "concurrent": 8}), (caught, {}),
        ):  # fmt: skip
            flow.socket(function, **options)
        flow.socket(pair, "meet")
        flow.socket(two, keep="forever")
        flow.socket(echo, "even")
        for name in ("flaky", "dying"):
            flow.fix(f"{name}.folder", str(self.notebook / "once"))
        for source, target in (
            ("root", "left.x"), ("root", "right.x"), ("left", "pair.one"), ("right", "pair.two"),
            ("a", "meet.one"), ("b", "meet.two"),
        ):  # fmt: skip
            flow.plug(source, target)
        flow.plug("failing", "caught.error", on="error")
        flow.socket(sleep(0.2), "nap")
        flow.socket(echo, "woken")
        flow.plug("root", "nap.value")
        flow.plug("nap", "woken.x")
        flow.socket(tick, keep="forever")
        flow.edit({"op": "schedule", "socket": "tick", "every": 1.0, "missed": "all"})
        self.first = flow.query("schedules")["next"]["tick"]
        # ten calls have the same argument, and most of them the result of an earlier one
        flow.socket(echo, "tens", cache="always")
        flow.plug("root", "tens.x", pick=lambda x: x // 10)
        # each yield is looked at by a worker of its own
        flow.plug("two", "even.x", when=lambda x: x % 2 == 0)
        # what goes is whole, and has run before
        flow.socket(echo, "after")
        for name, keep in KEPT.items():
            flow.socket(marking, name, keep=keep or False)
            flow.fix(f"{name}.file", str(self.notebook / "once" / name))
            flow.plug(name, "after.x")
        flow.ask("keep", seconds=0.0, failed=0.0)
        flow.client.close()

    # -- the deaths ------------------------------------------------------------
    def run(self, kills: int) -> None:
        """Kill that many, then let the flow come to its end and compare it with the model."""
        self.wire()
        # a slow machine may have no engine yet when one is to be killed
        for _ in range(MOST_TRIES * kills):
            if self.kills.total() == kills:
                break
            self._submit()
            # not to wait for anything: only so that deaths come at moments nobody chose
            self._moment.wait(self.random.random() * 0.8)
            self._kill(self.random.choices(("client", "engine", "worker"), (3, 4, 3))[0])
        (self.folder.parent / "enough").touch()
        self._submit()
        assert self._submitter is not None
        assert self._submitter.wait(180) == 0, "the client did not find its engine again"
        self.compare()

    def _submit(self) -> None:
        if self._submitter is not None and self._submitter.poll() is not None:
            assert self._submitter.returncode in (0, -9), f"the client ended with {self._submitter.returncode}"
            self._submitter = None
        if self._submitter is None:
            command = [sys.executable, "-m", "tests.crash.submitter", str(self.folder)]
            self._submitter = subprocess.Popen(
                command, cwd=self.notebook, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
            )

    def engine(self) -> int | None:
        """The engine's pid, from the lock it holds."""
        words = (self.folder / "engine.lock").read_text().split()
        with suppress(psutil.Error, IndexError):
            process = psutil.Process(int(words[1]))
            if str(self.folder) in process.cmdline():
                return process.pid
        return None

    def _kill(self, who: str) -> None:
        assert self._submitter is not None
        victim: int | None = self._submitter.pid
        if who != "client":
            victim = self.engine()
        if who == "worker" and victim is not None:
            with suppress(psutil.Error):
                workers = psutil.Process(victim).children(recursive=True)
                victim = self.random.choice(workers).pid if workers else None
        if victim is not None:
            self.kills[who] += 1
            if who == "client":
                self._submitter.kill()
                self._submitter.wait()
            else:
                kill(victim)

    def close(self) -> None:
        """Leave no process behind."""
        if self._submitter is not None and self._submitter.poll() is None:
            self._submitter.kill()
            self._submitter.wait()
        pid = self.engine()
        if pid is not None:
            kill(pid)

    # -- the model -------------------------------------------------------------
    def compare(self) -> None:
        """Everything that was promised has happened once, and nothing else has."""
        n = int((self.folder.parent / "promised").read_text())
        flow = Flow(self.folder)
        flow.edit({"op": "unschedule", "name": "tick"})
        ended = time.time()
        left_over = flow.drained()
        flow.ask("gc")
        pid = flow.engine
        workers = [w.pid for w in flow.workers()]
        found = {name: self._results(flow, name) for name in (*SOCKETS, *FED)}
        flow.stop()
        for process in (pid, *workers):
            gone(process)
        wait_until(lambda: not self._lodgers())
        with closing(sqlite3.connect(self.folder / "flow.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            self.requests = self._compare_runs(db, n, self._compare_ticks(db, ended))
            self._compare_arrivals(db)
            self._compare_kept(db, n)
            pairs = self._pairs(db)
        model = self._model(n, pairs)
        for name, wanted in model.items():
            lost, extra = Counter(wanted) - Counter(found[name]), Counter(found[name]) - Counter(wanted)
            assert (lost, extra) == ({}, {}), f"{name}: lost {lost}, too many {extra}"
        assert (left_over["waiting"], left_over["failed"]) == (0, len(range(0, n, 11)))
        assert "CRITICAL" not in (self.folder / "engine.log").read_text()

    @staticmethod
    def _results(flow: Flow, name: str) -> list[Any]:
        if name == "two":
            rows = [flow.row(r["id"]) for r in flow.requests(socket=name, state="done")]
            return sorted(tuple(flow.client.load(v) for v in row["values"]) for row in rows)
        return sorted(flow.results(name))

    @staticmethod
    def _model(n: int, pairs: list[tuple[int, int]]) -> dict[str, list[Any]]:
        every = list(range(n))
        return {
            "root": every, "a": every, "b": every, "flaky": every, "dying": every,
            "failing": [i for i in every if i % 11],
            "caught": [i for i in every if i % 11 == 0],
            "left": [("left", i) for i in every],
            "right": [("right", i) for i in every],
            "nap": every, "woken": every, "tens": sorted(i // 10 for i in every),
            "pair": [(("left", i), ("right", i)) for i in every],
            "meet": sorted(pairs),
            "two": [(i, i + 1) for i in every],
            "even": sorted(i + i % 2 for i in every),
        }  # fmt: skip

    def _compare_ticks(self, db: sqlite3.Connection, ended: float) -> int:
        """A call for each tick and no other, however long nobody was there; how many."""
        rows = db.execute("SELECT submit_id FROM run WHERE submit_id LIKE 'schedule %' ORDER BY submit_id").fetchall()
        times = [datetime.fromisoformat(text.split()[2]).timestamp() for (text,) in rows]
        assert [round(at - self.first) for at in times] == list(range(len(times)))
        assert ended - times[-1] < TICK_SECONDS
        return len(times)

    @staticmethod
    def _compare_runs(db: sqlite3.Connection, n: int, ticks: int) -> int:
        found = [i for (i,) in db.execute("SELECT submit_id FROM run WHERE submit_id NOT LIKE 'schedule %' ORDER BY 1")]
        ids = [i for i in found if i.partition("-")[0] not in KEPT]
        assert ids == sorted(f"{name}-{i}" for i in range(n) for name in SOCKETS)
        twice = db.execute(
            "SELECT run, socket, count(*) FROM request GROUP BY run, socket, tag HAVING count(*) > 1"
        ).fetchall()
        assert twice == []
        states = dict(db.execute("SELECT state, count(*) FROM request GROUP BY state"))
        caught = len(range(0, n, 11))
        kept = 2 * (len(found) - len(ids))
        assert states == {"done": (len(SOCKETS) + 8) * n + ticks + kept, "failed": caught, "skipped": n}
        return sum(states.values())

    def _compare_kept(self, db: sqlite3.Connection, n: int) -> None:
        """Of runs that are not to stay the newest are there, whole, and all have run."""
        query = (
            "SELECT json_extract(s.record, '$.name') AS name, r.run FROM request r JOIN socket s ON s.id = r.socket "
            "WHERE name IN ('after', 'brief', 'fleeting') AND r.state = 'done'"
        )
        runs: dict[str, list[int]] = {"after": [], **{name: [] for name in KEPT}}
        for name, run in db.execute(query):
            runs[name].append(run)
        assert sorted(runs.pop("after")) == sorted(run for some in runs.values() for run in some)
        assert {name: len(some) for name, some in runs.items()} == {name: min(keep, n) for name, keep in KEPT.items()}
        for name in KEPT:
            marks = (self.notebook / "once" / name).read_text().split()
            assert {int(text) for text in marks} == set(range(n))

    @staticmethod
    def _compare_arrivals(db: sqlite3.Connection) -> None:
        taken = Counter(
            arrival
            for (text,) in db.execute("SELECT arguments FROM request")
            for _, _, arrivals in json.loads(text).values()
            for arrival in arrivals
            if arrival > 0
        )
        assert [a for a, n in taken.items() if n > 1] == []
        used = [a for (a,) in db.execute("SELECT id FROM arrival WHERE state = 'used' AND mark IS NULL")]
        assert sorted(taken) == sorted(used)

    @staticmethod
    def _pairs(db: sqlite3.Connection) -> list[tuple[int, int]]:
        """Who meets whom: the first with the first, in order of acceptance."""
        order = {
            name: [
                int(i.split("-")[1])
                for (i,) in db.execute("SELECT submit_id FROM run WHERE submit_id LIKE ? || '-%' ORDER BY id", (name,))
            ]
            for name in ("a", "b")
        }
        return list(zip(order["a"], order["b"], strict=True))

    def _lodgers(self) -> list[int]:
        """Processes that live in the campaign's folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd() == str(self.notebook):
                    found.append(process.pid)
        return found
