"""Statistics outlive the engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.crash.flowkit import Flow, echo, kill, wait_until


def ended(flow: Flow, of: str) -> int:
    """Calls that the last hour has, by sockets, processors or nodes."""
    reply, _ = flow.client.ask("query", {"what": "statistics", "by": of})
    return sum(row["ended"] for row in reply["rows"])


def saved(flow: Flow) -> int:
    """The same on disk."""
    with closing(sqlite3.connect(flow.folder / "flow.db")) as db:
        texts = db.execute("SELECT json_extract(text, '$[0]') FROM statistic WHERE kind = 'socket'")
        return sum(n for (n,) in texts)


def test_what_a_killed_engine_had_done_is_in_the_statistics_of_the_next(flow: Flow) -> None:
    flow.socket(echo)
    flow.map("echo", [{"x": n} for n in range(300)])
    flow.drained()
    wait_until(lambda: saved(flow) == 300)
    kill(flow.engine)
    flow.client.ask("ping")
    assert [ended(flow, of) for of in ("socket", "processor", "node")] == [300] * 3
    flow.submit("echo", x=1)
    flow.drained()
    assert [ended(flow, of) for of in ("socket", "processor", "node")] == [301] * 3
