"""Random sequences of all that a person can do to a flow, deaths of its engine among them, and what must hold after."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from ec_jupyter import out
from ec_jupyter.errors import EcError, EngineError, FrameError
from ec_jupyter.nodes.current import Part
from tests.crash.flowkit import Flow

ENDED = ("done", "skipped")
SOCKETS = ("a", "b", "c", "join")
OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {}, {}, {"wait": 0.05}, {"wait": None}, {"join": "zip"}, {"join": "latest"}, {"join": "run"}, {"retries": 1},
    {"processor": "pool", "cpus": 1}, {"once": True}, {"hold": ["one"]}, {"hold": []}, {"priority": 3},
    {"priority": -1}, {"rate": "500/s"}, {"rate": None}, {"cache": "always"}, {"cache": None}, {"limit": 2},
    {"threads": 0.5}, {"limit": 1}, {"limit": 2, "full": "drop-oldest"}, {"limit": 2, "full": "error"},
    {"limit": None, "full": "block"},
)  # fmt: skip


def echo(x):
    return x


def pair(one, two):
    return (one, two)


def lone(one, two=0, *, x=0):
    return one


def several(x):
    yield from range(2)


def broken(x):
    raise ValueError(x)


def positive(value):
    return value != 1


def twice(value):
    return [value, value]


def outputs(x):
    return out(one=x, **({} if x == 1 else {"two": [x, x]}))


def first(result):
    return Part("one")(result)


def second(result):
    return Part("two")(result)


TASKS = (echo, echo, pair, pair, lone, several, broken, outputs)


class Sequence:
    """One sequence: the same seed does the same things.

    Parameters
    ----------
    flow : Flow
        An empty flow.
    seed : int
        Which sequence.

    Attributes
    ----------
    done : list of str
        What was done so far, and how it was refused.
    """

    def __init__(self, flow: Flow, seed: int) -> None:
        self.flow, self.seed, self.random = flow, seed, random.Random(seed)
        self.done: list[str] = []
        self.accepted: list[int] = []
        self.lives = 1
        self.doings: list[Callable[[], Any]] = [
            *[self.declare] * 5, *[self.plug] * 4, *[self.submit] * 7, *[self.undo] * 5, *[self.redo] * 2,
            *[self.pause] * 2, self.resume, self.unplug, self.fix, self.unfix, self.rename, self.remove, self.place,
            self.group, self.cancel, self.cancel, self.retry, self.supply, self.discard, self.replay, self.gc,
            self.settle, self.settle, self.kill, self.look, self.tick, self.tick,
        ]  # fmt: skip

    def run(self, steps: int) -> None:
        """Do so many things; then look at everything, in this life and in the next, and work off what can be."""
        for doing in [self.declare] * 3 + [self.plug] * 2 + self.random.choices(self.doings, k=steps - 5):
            self.step(doing)
        self.check()
        self.kill()
        self.check()
        self.flow.ask("resume", sockets=[*self.sockets], processors=[*self.flow.client.topology["processors"]])
        self.flow.drained(60)
        self.check()
        self.restore()

    def step(self, doing: Callable[[], Any]) -> None:
        """Do one thing; a person's error is no fault, whatever the engine did wrong is."""
        self.done.append(doing.__name__)
        try:
            said = doing()
        except (FrameError, EngineError):
            raise
        except EcError as error:
            said = f"{type(error).__name__}: {error}"
        self.done[-1] = f"{doing.__name__} {said}"

    # -- what must hold ----------------------------------------------------------
    def check(self) -> None:
        """Every view answers, and all that was accepted is there."""
        ids = [row["id"] for row in self.look()]
        assert set(self.accepted) <= set(ids), "accepted requests are gone"
        pids = len(self.flow.pids | {self.flow.engine})
        assert pids == self.lives, f"the engine died by itself: {pids} lives for {self.lives - 1} kills"
        faults = [line for line in self.log if " CRITICAL ec_jupyter" in line or " ERROR ec_jupyter" in line]
        assert not faults, "\n".join(self.log[self.log.index(faults[0]) :][:60])

    @property
    def log(self) -> list[str]:
        return (self.flow.folder / "engine.log").read_text().splitlines()

    def look(self) -> list[dict[str, Any]]:
        """Ask all there is to ask; the requests."""
        flow = self.flow
        rows = flow.requests()
        for what in ("waiting", "counts", "tree", "rates", "statistics", "log"):
            flow.query(what)
        flow.ask("history")
        for name in self.sockets:
            flow.query("versions", socket=name)
            flow.query("results", socket=name, limit=100)
            flow.waiting(name)
        for row in rows:
            for what in ("lineage", "arguments", "result", "output", "attempts"):
                flow.query(what, id=row["id"])
            flow.query("run", id=row["run"])
        return rows

    def restore(self) -> None:
        """Take all edits back and make them again: what had ended has, with its value."""
        flow = self.flow
        before = self.ends()
        for way in ("undo", "redo"):
            for _ in range(100):
                try:
                    flow.ask(way)
                except FrameError:
                    raise
                except EcError:
                    break
            flow.drained(60)
            self.check()
        after = self.ends()
        assert before == {key: after.get(key) for key in before}, "what had ended has ended otherwise"

    def ends(self) -> dict[int, Any]:
        """State and row of the result of all that has ended, as the database has them."""
        with sqlite3.connect(f"file:{self.flow.folder / 'flow.db'}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT id, state, result FROM request WHERE state IN ('done', 'skipped')").fetchall()
        db.close()
        return {key: (state, result) for key, state, result in rows}

    # -- what is done ------------------------------------------------------------
    @property
    def sockets(self) -> dict[str, Any]:
        return dict(self.flow.client.topology["sockets"])

    def socket(self) -> str:
        return self.random.choice([*self.sockets] or list(SOCKETS))

    def port(self) -> tuple[str, str]:
        name = self.socket()
        signature = self.sockets.get(name, {}).get("task", {}).get("signature", [])
        return name, self.random.choice([p["name"] for p in signature] or ["x"])

    def request(self) -> int:
        return self.random.choice(self.accepted or [1])

    def declare(self) -> str:
        task, name = self.random.choice(TASKS), self.random.choice(SOCKETS)
        options = self.random.choice(OPTIONS)
        self.flow.socket(task, name, **options)
        return f"{task.__name__} as {name} {options}"

    def plug(self) -> str:
        (target, argument), source = self.port(), self.socket()
        options: dict[str, Any] = self.random.choice(
            [
                {}, {}, {"gather": True}, {"gather": "done"}, {"on": "error"}, {"when": positive}, {"map": True},
                {"pick": twice}, {"pick": twice, "map": True}, {"pick": first}, {"pick": second, "map": True},
                {"cycle": True, "hops": 1}, {"cycle": True, "hops": 2},
            ]
        )  # fmt: skip
        if "cycle" in options and len(self.flow.client.topology["plugs"]) > 3:
            # where many plugs are in a cycle, each hop makes many calls of one
            options = {}
        self.flow.plug(source, f"{target}.{argument}", **options)
        return f"{source} -> {target}.{argument} {options}"

    def unplug(self) -> str:
        plugs = self.flow.client.topology["plugs"]
        if plugs:
            plug = self.random.choice(plugs)
            self.flow.unplug(plug["source"], f"{plug['target']}.{plug['argument']}")
        return str(plugs)

    def submit(self) -> str:
        name = self.socket()
        signature = [p["name"] for p in self.sockets.get(name, {}).get("task", {}).get("signature", [])]
        given = [n for n in signature if self.random.random() < 0.7]
        values = self.flow.values({n: self.random.choice([1, 2, [3, 4]]) for n in given})
        how: dict[str, Any] = {"priority": self.random.choice([0, 0, 0, 0, 2, -2])}
        if self.random.random() < 0.2:
            how["at"] = time.time() + self.random.choice([-5.0, 0.05, 0.3])
        else:
            how["partial"] = self.random.random() < 0.8
        request = self.flow.client.submit([(name, values)], **how)[0]
        self.accepted.append(request)
        return f"{name} {given} = {request}"

    def undo(self) -> str:
        return str(self.flow.ask("undo")["text"])

    def redo(self) -> str:
        return str(self.flow.ask("redo")["text"])

    def pause(self) -> str:
        name = self.socket()
        if self.random.random() < 0.3:
            self.flow.ask("pause", processors=["main"])
            return "main"
        self.flow.ask("pause", sockets=[name])
        return name

    def resume(self) -> None:
        self.flow.ask("resume", sockets=[self.socket()], processors=["main"])

    def fix(self) -> str:
        name, argument = self.port()
        self.flow.fix(f"{name}.{argument}", 7)
        return f"{name}.{argument}"

    def unfix(self) -> str:
        name, argument = self.port()
        self.flow.edit({"op": "unfix", "socket": name, "argument": argument})
        return f"{name}.{argument}"

    def rename(self) -> str:
        name, to = self.socket(), self.random.choice(SOCKETS)
        self.flow.edit({"op": "rename", "name": name, "to": to})
        return f"{name} {to}"

    def remove(self) -> str:
        name = self.socket()
        self.flow.edit({"op": "remove", "name": name, "force": self.random.random() < 0.7})
        return name

    def place(self) -> str:
        """Make a processor, move a socket there, or take it away."""
        change = self.random.choice(
            [
                {"op": "processor", "name": "pool", "cpus": 2},
                {"op": "processor", "name": "pool", "weight": 5},
                {"op": "processor", "name": "main", "weight": 0.2},
                {"op": "move", "socket": self.socket(), "processor": "pool"},
                {"op": "move", "socket": self.socket(), "processor": "main"},
                {"op": "remove_processor", "name": "pool"},
            ]
        )
        self.flow.edit(change)
        return str(change)

    def group(self) -> str:
        """Put sockets into a group, take them out, or name it anew."""
        name = self.random.choice("gh")
        change = self.random.choice(
            [
                {"op": "group", "name": name, "sockets": [self.socket(), self.socket()]},
                {"op": "ungroup", "name": name, "sockets": [self.socket()]},
                {"op": "ungroup", "name": name},
                {"op": "rename_group", "name": name, "to": self.random.choice("gh")},
            ]
        )
        self.flow.edit(change)
        return str(change)

    def tick(self) -> str:
        """Have a socket called by itself, have that rest, or end it."""
        name = self.socket()
        change = self.random.choice(
            [
                {"op": "schedule", "socket": name, "every": 1.0, "missed": "all"},
                {"op": "schedule", "socket": name, "cron": "* * * * *", "paused": True},
                {"op": "unschedule", "name": name},
            ]
        )
        self.flow.edit(change)
        return str(change)

    def cancel(self) -> str:
        header = self.random.choice([{"ids": [self.request()]}, {"run": self.request()}, {"socket": self.socket()}])
        return f"{header} {self.flow.ask('cancel', **header)}"

    def retry(self) -> str:
        header = self.random.choice([{"ids": [self.request()]}, {"run": self.request()}, {"socket": self.socket()}])
        return f"{header} {self.flow.ask('retry', **header)}"

    def supply(self) -> str:
        name, argument = self.port()
        self.flow.supply(name, self.random.choice([None, self.request()]), **{argument: 5})
        return f"{name}.{argument}"

    def discard(self) -> str:
        rows = self.flow.query("waiting")["rows"]
        waiting = [a["id"] for row in rows for entry in row["arguments"].values() for a in entry["arrivals"]]
        if waiting and self.random.random() < 0.5:
            arrival = self.random.choice(waiting)
            self.flow.ask("discard", arrival=arrival)
            return f"value {arrival}"
        request = self.request()
        self.flow.ask("discard", request=request)
        return f"request {request}"

    def replay(self) -> str:
        request = self.request()
        return f"{request} {self.flow.ask('replay', request=request)}"

    def gc(self) -> None:
        self.flow.ask("gc")

    def settle(self) -> str:
        return str(self.flow.drained(60))

    def kill(self) -> None:
        self.flow.restart()
        self.lives += 1
