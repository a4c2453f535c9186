"""ec_jupyter as one of the systems of the peers' harness; `benchmarks/run.py` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from base import Adapter

Function = Callable[..., Any]


class EcJupyter(Adapter):
    """Each call a durable request; chains and joins are plugs, which the engine follows by itself."""

    kind = "durable"
    dists = ("loky", "cloudpickle")
    durable = True
    note = "one flow, durability 'process' (SQLite WAL, NORMAL): survives kill -9 of any process"

    # -- life cycle --
    def configure(self, scratch: str, workers: int = 2) -> None:
        """Attach to the flow in `scratch`; starts its engine where none runs."""
        import ec_jupyter as ec

        self.flow = ec.flow("bench", folder=self.folder(scratch))
        self.flow.processor("bench", cpus=workers)
        self.names: dict[Any, str] = {}
        self.wired: set[tuple[str, ...]] = set()

    def folder(self, scratch: str) -> Path:
        """Where the flow lies."""
        return Path(scratch) / ".ec_jupyter" / "bench"

    def start(self, workers: int, scratch: str) -> None:
        self.configure(scratch, workers)

    def stop(self) -> None:
        self.flow.stop()
        self.flow.close()

    def start_broker(self, scratch: str) -> None:
        """Nothing: the queue is a file, and the engine that serves it starts with the workers."""

    def start_workers(self, workers: int, scratch: str) -> subprocess.Popen[bytes]:
        """The engine and, as its children, the workers: killed together."""
        folder = self.folder(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "ec_jupyter.engine", str(folder), "--cpus", str(workers), "--linger", "600"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=scratch,
            env=dict(os.environ),
        )

    # -- calls --
    def socket(self, function: Function, name: str = "") -> str:
        """The socket of a function, registered when it is first asked for."""
        key = (function, name)
        if key not in self.names:
            self.names[key] = name or function.__name__
            self.flow.declare(function, self.names[key], processor="bench")
        return self.names[key]

    def submit(self, fn: Function, *args: Any) -> Any:
        return self.flow.submit(self.socket(fn), *args)

    def map_bulk(self, fn: Function, items: Iterable[Any]) -> list[Any]:
        return [request.result(120) for request in self.flow.map(self.socket(fn), items)]

    # -- flows --
    def wire_chain(self, fns: Sequence[Function]) -> tuple[str, str]:
        """First and last socket of the chain, each stage plugged into the next."""
        names = tuple(self.socket(fn, f"chain_{at}_{fn.__name__}") for at, fn in enumerate(fns))
        if names not in self.wired:
            for source, target in pairwise(names):
                self.flow.plug(source, target)
            self.wired.add(names)
        return names[0], names[-1]

    def wire_join(self, fns: Sequence[Function]) -> tuple[str, str]:
        """First and last socket of the diamond."""
        source, left, right, add_two = names = tuple(self.socket(fn, f"join_{fn.__name__}") for fn in fns[:4])
        if names not in self.wired:
            self.flow.plug(source, left)
            self.flow.plug(source, right)
            self.flow.plug(left, f"{add_two}.one")
            self.flow.plug(right, f"{add_two}.two")
            self.wired.add(names)
        return source, add_two

    def gather(self, requests: Sequence[Any], last: str) -> list[Any]:
        """What the runs of these requests came to at the last socket."""
        self.flow.wait(timeout=240)
        return self.flow.results(last, limit=len(requests))

    def chain(self, fns: Sequence[Function], items: Iterable[Any]) -> list[Any]:
        first, last = self.wire_chain(fns)
        return self.gather([self.flow.submit(first, x) for x in items], last)

    def chain_bulk(self, fns: Sequence[Function], items: Iterable[Any]) -> list[Any]:
        first, last = self.wire_chain(fns)
        return self.gather(self.flow.map(first, items), last)

    def join(self, fns: Sequence[Function], items: Iterable[Any]) -> list[Any]:
        first, last = self.wire_join(fns)
        return self.gather([self.flow.submit(first, x) for x in items], last)

    def join_bulk(self, fns: Sequence[Function], items: Iterable[Any]) -> list[Any]:
        first, last = self.wire_join(fns)
        return self.gather(self.flow.map(first, items), last)
