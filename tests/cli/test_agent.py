"""A flow for an agent, over standard streams: asked with the SDK's own client."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.client.tools import json_type
from tests.cases import each_of

mcp = pytest.importorskip("mcp")


def agent(*words: str) -> Any:
    """An agent that is given the flow ``sums``."""
    code = "from ec_jupyter.cli.main import main; main()"
    parameters = mcp.StdioServerParameters(
        command=sys.executable, args=["-c", code, "mcp", "sums", *words], cwd=Path.cwd()
    )
    return mcp.Client(mcp.stdio_client(parameters))


async def said(client: Any, tool: str, /, **arguments: Any) -> Any:
    """What a tool comes to that does what it is to do."""
    found = await client.call_tool(tool, arguments)
    assert not found.is_error, found.content
    return found.structured_content


async def test_sockets_are_tools_with_their_types_and_docstrings(place: Path) -> None:
    async with agent("--allow", "submit") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    add = tools["call_add_two"]
    assert add.description.startswith("Sum of two numbers.")
    assert add.input_schema["properties"] == {"one": {"type": "integer"}, "two": {"type": "integer"}}
    assert add.input_schema["required"] == ["one", "two"]
    assert tools["call_approve"].description.startswith("Asks a person: Go on?")
    assert not add.annotations.read_only_hint
    assert tools["status"].annotations.read_only_hint
    assert "edit" not in tools


async def test_a_submit_gives_a_number_at_once_and_the_result_later(place: Path) -> None:
    async with agent("--allow", "submit") as client:
        request = (await said(client, "call_add_two", one=20, two=1))["request"]
        row = await said(client, "request", request=request, wait=50)
        assert (row["state"], row["result"]) == ("done", 21)
        failed = (await said(client, "submit", socket="double", arguments={"x": 13}))["request"]
        row = await said(client, "request", request=failed, wait=50)
        assert (row["state"], row["error"]["message"]) == ("failed", "unlucky")
        assert "raise ValueError" in row["error"]["traceback"]
        assert (await said(client, "retry", ids=[failed]))["ids"] == [failed]
        some = (await said(client, "submit", socket="add_two", arguments={"one": 1}, partial=True))["request"]
        waiting = {row["request"]: row for row in (await said(client, "waiting"))["waiting"]}
        assert waiting[some]["missing"] == ["two"]
        assert await said(client, "cancel", ids=[some]) == {"cancelled": 1}
        sockets = {row["socket"]: row for row in (await said(client, "status"))["sockets"]}
        assert sockets["add_two"]["done"] >= 1
        assert some in [row["id"] for row in (await said(client, "requests"))["requests"]]
        assert "adds 20 1" in str(await said(client, "log", socket="add_two"))


async def test_an_agent_that_may_only_look_can_do_nothing_else(place: Path) -> None:
    async with agent() as client:
        tools = (await client.list_tools()).tools
        assert all(tool.annotations.read_only_hint for tool in tools)
        before = (await said(client, "requests"))["requests"]
        for tool, arguments in (("call_double", {"x": 1}), ("submit", {"socket": "double"}), ("undo", {})):
            found = await client.call_tool(tool, arguments)
            assert found.is_error
            assert f"no tool '{tool}' is allowed" in found.content[0].text
        assert (await said(client, "requests"))["requests"] == before
        assert "arguments" in (await said(client, "wiring"))["sockets"]["double"]


async def test_an_edit_is_made_where_that_is_allowed_and_taken_back(place: Path) -> None:
    plug = {"op": "plug", "source": "add_two", "target": "double", "argument": "x"}
    async with agent("--allow", "submit,edit") as client:
        await said(client, "edit", changes=[plug])
        assert [p["target"] for p in (await said(client, "wiring"))["plugs"]] == ["double"]
        await said(client, "undo")
        assert (await said(client, "wiring"))["plugs"] == []
        await said(client, "edit", changes=[{"op": "group", "name": "sums", "sockets": ["double"]}])
        assert (await said(client, "wiring"))["sockets"]["double"]["group"] == "sums"
        await said(client, "undo")


async def test_what_cannot_be_done_is_told_in_one_line(place: Path) -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("call_double", {"x": 1, "y": 1}, "'y' was unexpected"),
        ("call_add_two", {"one": "x", "two": 2}, "'x' is not of type 'integer'"),
        ("submit", {"socket": "duble"}, "did you mean 'double'?"),
        ("request", {"request": 999999}, "no request 999999"),
        ("request", {}, "'request' is a required property"),
    ]
    async with agent("--allow", "submit") as client:
        for tool, arguments, text in cases:
            found = await client.call_tool(tool, arguments)
            assert found.is_error
            assert text in found.structured_content["error"]
            assert "\n" not in found.structured_content["error"]


def test_what_may_be_allowed_is_named(shell: Any) -> None:
    assert "allow takes submit and edit, not 'all'" in shell.refused("mcp", "sums", "--allow", "all")


@each_of(
    ("text", "schema"),
    [
        ("int", {"type": "integer"}),
        ("list[float]", {"type": "array", "items": {"type": "number"}}),
        ("str | None", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("Optional[bool]", {"anyOf": [{"type": "boolean"}, {"type": "null"}]}),
        ("Literal['a', 'b']", {"enum": ["a", "b"]}),
        ("np.ndarray | int", {}),
        ("dict[str, int]", {"type": "object"}),
        ("not valid(", {}),
        (None, {}),
    ],
)
def test_an_annotation_is_a_schema_where_json_has_one(text: str | None, schema: dict[str, Any]) -> None:
    assert json_type(text) == schema
