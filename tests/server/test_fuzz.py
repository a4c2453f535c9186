"""Whatever comes in, the server answers in one line, and the flow goes on."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ec_jupyter.client.commands import _CHANGES, _OPS

TEXTS = st.sampled_from(
    ["add_two", "double", "kind", "x", "one", "value", "main", "result", "", "é", "\x00", "a" * 300, "1", "[1"]
)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.integers(-2, 9) | st.floats(allow_nan=False) | TEXTS
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
FIELDS = [
    "socket", "sockets", "processors", "processor", "source", "target", "argument", "arguments", "on", "map", "gather",
    "cycle", "name", "to", "cpus", "force", "positions", "text", "party", "run", "tag", "arrival", "request", "result",
    "id", "ids", "state", "limit", "newest", "by", "json",
]  # fmt: skip
ARGS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5)
CHANGES = st.lists(
    st.builds(lambda op, rest: {**rest, "op": op}, st.sampled_from([*_CHANGES, "socket", "when"]), ARGS) | VALUES,
    max_size=3,
)
COMMANDS = st.one_of(
    st.fixed_dictionaries({"op": st.sampled_from(sorted(_OPS)) | VALUES, "args": ARGS | VALUES}),
    st.fixed_dictionaries({"op": st.just("edit"), "args": st.fixed_dictionaries({"changes": CHANGES | VALUES})}),
)
SUBMITS = st.fixed_dictionaries({}, optional={"arguments": ARGS | VALUES, "id": VALUES})
CALLS = st.one_of(
    st.tuples(st.just(("commands",)), COMMANDS | VALUES),
    st.tuples(st.just(("sockets", "add_two")), SUBMITS | VALUES),
    st.tuples(st.just(("sockets", "~é")), SUBMITS),
)


def test_no_body_ends_in_a_fault_of_the_server_or_the_engine(web: Any, flow: Any) -> None:
    process = flow._client.engine_pid

    @settings(max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(CALLS)
    def play(call: tuple[tuple[str, ...], Any]) -> None:
        parts, body = call
        status, said = web("flows", "sums", *parts, body=json.dumps(body))
        assert status in (200, 202, 400, 404, 409), (status, said, parts, body)
        if status >= 400:
            assert said["error"], (parts, body)
            assert "\n" not in said["error"]

    play()
    flow.close()
    web.flows.changed()
    assert web.good("flows")["flows"][0]["running"]
    # the same engine, and it works
    from ec_jupyter.client import probe

    assert probe.ask(flow.folder)["engine"] == process
