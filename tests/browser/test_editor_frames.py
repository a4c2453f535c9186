"""The flow in memory behind the page says nothing that an engine would not say."""

from __future__ import annotations

from typing import Any

from tests.store.picture_frames import OPS, frames

# the same as the engine's flow has done: two runs, one of which waits, while the other has failed
LIKE = """async ops => { const {Flow} = await import('./flow.js');
    const flow = new Flow({flow: 'words', revision: 0, processors: {}, sockets: {}, plugs: [], nodes: []});
    const edit = (...changes) => flow.command('edit', {changes});
    edit({op: 'processor', name: 'main', cpus: null, nodes: {}});
    flow.graph.nodes = [{name: 'local', cpus: 2, state: 'up'}];
    const port = (name, required = true) =>
        ({name, kind: 'POSITIONAL_OR_KEYWORD', required, default: null, annotation: null});
    flow.declare('load', [port('path')]); flow.declare('count', [port('text'), port('least', false)]);
    flow.declare('join', [port('one'), port('two')]);
    edit({op: 'plug', source: 'load', target: 'count', argument: 'text'});
    edit({op: 'plug', source: 'count', target: 'join', argument: 'one'});
    flow.finish(flow.request('load', 'running', {path: 'a'}).id, 'a');
    flow.finish(flow.request('count', 'running', {text: 'a'}, {run: 1, met: {text: [1]}}).id, 1);
    flow.finish(flow.request('load', 'running', {path: ''}).id, '');
    flow.fail('count', 'ValueError', 'no', {text: ''}, {run: 3});
    flow.arrive('join', 'one', 1);
    const said = {graph: flow.graph, metrics: flow.metrics()};
    for (const [op, args] of Object.entries({...ops, past: {time: Date.now() / 1000}}))
        said[op] = {ok: true, ...flow.command(op, args)};
    return JSON.parse(JSON.stringify(said)) }"""

NAMED = {
    "sockets",
    "processors",
    "plugs",
    "arguments",
    "counts",
    "arrived",
    "newest",
    "met",
    "values",
    "lacks",
    "lists",
}
"""What is by a name of the flow's, not by a field's."""


def kinds(value: Any, at: str = "", found: dict[str, set[str]] | None = None) -> dict[str, set[str]]:
    """By place of a field, as in 'requests.rows[].state': the JSON types it has there."""
    found = {} if found is None else found
    found.setdefault(at, set()).add("float" if type(value) is int else type(value).__name__)
    if isinstance(value, dict):
        named = at.rsplit(".", maxsplit=1)[-1] in NAMED
        for key, of in value.items():
            kinds(of, f"{at}{{}}" if named else f"{at}.{key}", found)
    elif isinstance(value, list):
        for one in value:
            kinds(one, f"{at}[]", found)
    return found


def test_fields_of_the_flow_behind_the_page_are_those_that_an_engine_sends(editor_page, tmp_path):
    sent = kinds(frames(tmp_path / "flow"))
    fake = kinds(editor_page().page.evaluate(LIKE, OPS))
    assert sorted(place for place in fake if place not in sent) == []
    free = {"NoneType"}
    differ = {at: (had, sent[at]) for at, had in fake.items() if had - free and sent[at] - free and not had & sent[at]}
    assert differ == {}
