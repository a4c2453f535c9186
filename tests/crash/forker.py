"""A notebook whose process forks: its children and it submit to one flow. Run as a program."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from concurrent.futures import Executor
from itertools import chain
from pathlib import Path
from typing import Any

import ec_jupyter as ec

CHILDREN, EACH = 3, 20


def submit_some(first: int) -> list[int]:
    """What a child submits, and waits for."""
    flow = ec.flow(folder=sys.argv[1])
    return [request.result(60) for request in flow.map("echo", range(first, first + EACH))]


def say_why(call: Any, *arguments: Any) -> str:
    """What a call raises."""
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return f"{type(error).__name__}: {error}"
    return ""


def in_child(call: Any, *arguments: Any) -> Any:
    """What a call comes to in a bare forked child, which ends as such children do."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.write(write, json.dumps(call(*arguments)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        return json.loads(pipe.read())


def fork_and_submit(folder: Path) -> dict[str, Any]:
    """Submit from the parent while children do, and after each of them has ended."""
    flow = ec.flow(folder=folder)

    def echo(x: object) -> object:
        return x

    flow.declare(echo, "echo")
    executor: Executor = flow.executor()
    asked = flow.submit("echo", -1)
    context = multiprocessing.get_context("fork")
    with context.Pool(CHILDREN) as pool:
        given = pool.map_async(submit_some, [1000 * (n + 1) for n in range(CHILDREN)])
        mine = [flow.submit("echo", n) for n in range(EACH)]
        children = given.get(120)
    mine += [flow.submit("echo", n) for n in range(EACH, 2 * EACH)]
    found = {
        "mine": [request.result(60) for request in mine],
        "children": sorted(chain.from_iterable(children)),
        "of the parent": in_child(asked.result, 60),
        "executor": in_child(say_why, executor.submit, len, "abc"),
        "closed": in_child(flow.close),
        "after": flow.submit("echo", 7).result(60),
        "client": flow._client.id in {path.stem for path in (folder / "inbox").glob("*.log")},
    }
    found["accepted"] = len(flow.requests("echo", limit=None))
    flow.stop()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(fork_and_submit(Path(sys.argv[1]))))
