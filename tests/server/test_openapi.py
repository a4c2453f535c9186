"""What HTTP has is described, and what is described is there."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from ec_jupyter.server.extension import routes
from ec_jupyter.server.handlers import document
from tests.server import contract

VERBS = ("get", "post", "put", "patch", "delete")


def test_the_document_is_openapi_and_is_served(web: Any) -> None:
    OpenAPIV31SpecValidator(document()).validate()
    assert web.good("openapi.json") == document()


def test_every_address_is_described_with_its_verbs_and_no_other_is() -> None:
    served = {}
    for path, operations in document()["paths"].items():
        place = re.sub(r"\{\w+\}", "1", path).removeprefix("/ec/")
        (handler,) = [handler for pattern, handler in routes() if re.fullmatch(pattern, place)]
        assert {verb for verb in VERBS if verb in vars(handler)} == {verb for verb in VERBS if verb in operations}, path
        served[path] = handler
    assert set(served.values()) == {handler for _, handler in routes()}


def test_an_answer_that_is_not_as_described_fails_the_test_that_asked() -> None:
    good = {"ok": True, "id": 3, "location": "x"}
    where = ("flows", "sums", "sockets", "add_two")
    contract.check("POST", where, {"body": '{"arguments": {}}'}, 202, good)
    for status, answer, body in ((202, {**good, "id": "3"}, "{}"), (418, good, "{}"), (202, good, '{"arguments": []}')):
        with pytest.raises(AssertionError):
            contract.check("POST", where, {"body": body}, status, answer)


def test_requests_and_what_waits_are_listed(web: Any, flow: Any) -> None:
    first = flow.submit("double", 1).wait(60).id
    failed = flow.submit("double", 13).wait(60).id
    some = flow.submit("add_two", one=1, partial=True).id
    where = ("flows", "sums", "requests")
    assert [row["id"] for row in web.good(*where)["rows"]] == [some, failed, first]
    assert [row["id"] for row in web.good(*where, params={"state": "failed"})["rows"]] == [failed]
    assert [row["id"] for row in web.good(*where, params={"socket": "double", "limit": "1"})["rows"]] == [failed]
    (row,) = web.good("flows", "sums", "waiting")["rows"]
    assert (row["request"], row["arguments"]["two"]["state"]) == (some, "missing")
    assert web(*where, params={"state": "dead"})[0] == 400
    assert web(*where, params={"socket": "duble"})[0] == 404


def test_an_answer_waits_for_the_end_of_a_request_where_that_is_asked_for(web: Any, flow: Any, tmp_path: Any) -> None:
    gate = tmp_path / "gate"

    def held(path):
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        return "let on"

    flow.declare(held, "held")
    request = str(web.good("flows", "sums", "sockets", "held", body={"arguments": {"path": str(gate)}})["id"])
    where = ("flows", "sums", "requests", request)
    assert web.good(*where, params={"wait": "0.05"})["state"] in ("queued", "running")
    asked = asyncio.ensure_future(web._fetch("ec", *where, params={"wait": "50"}, request_timeout=60), loop=web.loop)
    web.good("flows", "sums", "requests")
    gate.touch()
    assert json.loads(web.loop.run_until_complete(asked).body)["result"] == "let on"
    for wrong in ("-1", "61", "soon", "nan"):
        assert web(*where, params={"wait": wrong})[0] == 400, wrong
    assert web("flows", "sums", "requests", "999", params={"wait": "1"})[0] == 404


def test_events_tell_what_the_websocket_tells(web: Any, flow: Any, jp_http_port: int) -> None:
    async def follow() -> list[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
        token = web.app.identity_provider.token
        place = f"{web.app.base_url}ec/flows/sums/events"
        asked = [f"GET {place} HTTP/1.1", "Host: localhost", f"Authorization: token {token}", "", ""]
        writer.write("\r\n".join(asked).encode())
        kinds: list[str] = []
        async for line in reader:
            word, _, rest = line.decode().strip().partition(": ")
            if word == "event":
                kinds.append(rest)
            said = json.loads(rest) if word == "data" else {}
            if said.get("k") == "metrics" and kinds.count("metrics") == 1:
                flow.submit("kind", 1)
            if said.get("k") == "metrics" and said["sockets"].get("kind", {}).get("done"):
                break
        writer.close()
        return kinds

    kinds = web.loop.run_until_complete(asyncio.wait_for(follow(), 60))
    assert {"graph", "metrics"} <= set(kinds)
    web.until("flows", claim=lambda _: not web.flows._pictures)
    assert web("flows", "none", "events")[0] == 404
