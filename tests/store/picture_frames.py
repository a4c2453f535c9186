"""What a picture is sent, made by the engine's and the client's own code of a flow in memory.

`python -m tests.store.picture_frames` writes it anew for the front end's compiler to hold against `types.ts`.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from ec_jupyter.client import commands, scene
from ec_jupyter.client.client import Client
from ec_jupyter.client.seen import Seen
from ec_jupyter.flow.measures import STEP, Point
from tests.store.memoryflow import MemoryFlow

Frames = dict[str, Any]

WRITTEN = Path(__file__).parents[2] / "labextension/tests/frames.ts"
TYPES = {
    "graph": "Graph",
    "metrics": "Metrics & { sockets: Record<string, Required<SocketCounts>> }",
    "preview": "Answer & Shown",
    "log": "Answer & Told",
    "statistics": "Answer & Statistics",
    "refused": "Answer",
}
"""Those of `types.ts`, and of the panels."""

FAILED = 4
"""The request that fails in this flow, and in the one behind the page."""


class _Asked:
    """The client of a flow in memory, as a page's commands use one."""

    connected, name = True, "words"

    def __init__(self, flow: MemoryFlow) -> None:
        self._client, self.seen = flow.client, Seen()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def row(self, request: int) -> Any:
        return Client.row(self, request)  # type: ignore[arg-type]


def load(path: str) -> str:
    return path


def count(text: str, least: int = 0) -> int:
    return len(text) // (len(text) > least)


def join(one: int, two: int) -> int:
    return one + two


def poll() -> None:
    """Called by itself."""


def shape(value: Any) -> Any:
    """The fields of a frame, all the way down; lists by what their first has."""
    if isinstance(value, dict):
        return {key: shape(of) for key, of in value.items()}
    return [shape(one) for one in value[:1]] if isinstance(value, list | tuple) else None


def written() -> Frames:
    """The frames that the front end's compiler sees."""
    parts = WRITTEN.read_text().split(" = sent(")[1:]
    return dict(zip(TYPES, (json.loads(part[: part.index(");\n")]) for part in parts), strict=True))


def write(made: Frames) -> None:
    """Write them."""
    lines = [
        "/** Made by tests/store/picture_frames.py: an engine sends what types.ts says, or tsc fails. */\n",
        "import type { Statistics } from '../src/editor/panels/course';",
        "import type { Told } from '../src/editor/panels/pages';",
        "import type { Answer, Graph, Metrics, Shown, SocketCounts } from '../src/editor/types';\n",
        "const sent = <Type>(frame: Type): Type => frame;\n",
    ]
    for name, of in TYPES.items():
        lines.append(f"// prettier-ignore\nexport const {name}: {of} = sent({json.dumps(made[name], indent=1)});\n")
    WRITTEN.write_text("\n".join(lines))


OPS: dict[str, dict[str, Any]] = {
    "requests": {"limit": 10, "met": True},
    "beside": {"socket": "count"},
    "waiting": {"socket": "join"},
    "history": {},
    "versions": {"socket": "count"},
    "runs": {"limit": 10},
    "way": {"id": 1},
    "lineage": {"id": 2},
    "timeline": {"limit": 10},
    "since": {},
    "request": {"id": FAILED},
    "preview": {"socket": "load", "rich": True},
    "log": {"limit": 10},
    "statistics": {"pulse": True},
}


def frames(folder: Path) -> Frames:
    """By name: the wiring, the numbers, and the answer to each command that a picture looks with."""
    flow = MemoryFlow(folder)
    for function in (load, count, join):
        flow.socket(function)
    flow.plug("load", "count.text")
    flow.plug("count", "join.one")
    flow.socket(poll)
    flow.edit({"op": "schedule", "socket": "poll", "every": 300.0})
    flow.submit("load", path="a text")
    flow.submit("load", path="")
    flow.drained()
    store = flow.client.engine.core.store
    store.write("add_output", (FAILED, "stdout", "dividing\n", time.time()))
    store.write("put_statistic", (int(time.time()) // STEP * STEP - 2 * STEP, "socket", "1", Point(3).text()))
    # an engine reads the hour before it when it begins
    flow.restart()
    client: Any = _Asked(flow)
    made: Frames = {
        "graph": scene.graph(client.topology, client.name),
        "metrics": scene.metrics(flow.query("counts"), None, 1),
        **{op: commands.answer(client, op, args) for op, args in OPS.items()},
        "past": commands.answer(client, "past", {"time": time.time()}),
        "refused": commands.answer(client, "edit", {"changes": [{"op": "remove", "name": "none"}]}),
    }
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(frames(Path(folder) / "flow"))
