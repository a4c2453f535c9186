"""The websocket: a picture of a flow that lives, with no kernel."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from ec_jupyter.client.client import Client
from ec_jupyter.client.launch import running


def test_a_page_gets_the_wiring_and_all_numbers_and_then_what_changes(web: Any, flow: Any) -> None:
    page = web.live("sums")
    assert set(web.next(page, lambda m: m["k"] == "graph")["graph"]["sockets"]) == {"add_two", "double", "kind"}
    first = web.next(page, lambda m: m["k"] == "metrics")
    assert (first["full"], first["sockets"]["kind"]["done"]) == (True, 0)
    flow.submit("kind", 1).wait(60)
    later = web.next(page, lambda m: m["k"] == "metrics" and m["sockets"].get("kind", {}).get("done"))
    assert (later["full"], list(later["sockets"]), later["sockets"]["kind"]["done"]) == (False, ["kind"], 1)
    assert later["seq"] > first["seq"]


def test_numbers_that_come_before_an_older_answer_is_taken_are_shown(
    web: Any, flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtaken, ask, push = threading.Event(), Client.ask, Client._on_push

    def late(client: Client, kind: str, header: Any = None, *buffers: Any, **limit: Any) -> Any:
        answer = ask(client, kind, header, *buffers, **limit)
        if header == {"what": "counts"}:
            # this thread has its next turn after a call was done and the push of that came
            flow.submit("kind", 1)
            assert overtaken.wait(60)
        return answer

    def heard(client: Client, header: Any, buffers: Any) -> None:
        push(client, header, buffers)
        if header["k"] == "counts" and header["sockets"]["kind"]["done"]:
            overtaken.set()

    monkeypatch.setattr(Client, "ask", late)
    monkeypatch.setattr(Client, "_on_push", heard)
    page = web.live("sums")
    web.next(page, lambda m: m["k"] == "metrics" and m["sockets"].get("kind", {}).get("done"))


def test_a_page_hears_that_somebody_still_counts_while_nothing_changes(web: Any, flow: Any) -> None:
    page = web.live("sums")
    first = web.next(page, lambda m: m["k"] == "metrics")
    second = web.next(page, lambda m: m["k"] == "metrics" and not m["full"] and not m["sockets"])
    assert second["seq"] > first["seq"]


def test_an_edit_by_anybody_is_drawn_everywhere(web: Any, flow: Any) -> None:
    one, two = web.live("sums"), web.live("sums")
    for page in (one, two):
        web.next(page, lambda m: m["k"] == "graph")
    plug = {"op": "plug", "source": "double", "target": "kind", "argument": "value", "on": "result"}
    web.good("flows", "sums", "commands", body={"op": "edit", "args": {"changes": [plug]}})
    for page in (one, two):
        graph = web.next(page, lambda m: m["k"] == "graph")["graph"]
        assert [p["target"] for p in graph["plugs"]] == ["double", "kind"]
    flow.unplug("double", "kind.value")
    for page in (one, two):
        graph = web.next(page, lambda m: m["k"] == "graph" and m["graph"]["revision"] > 5)["graph"]
        assert [p["target"] for p in graph["plugs"]] == ["double"]


def test_a_page_drags_the_end_of_a_plug_to_another_argument(web: Any, flow: Any) -> None:
    page = web.live("sums")
    (plug,) = web.next(page, lambda m: m["k"] == "graph")["graph"]["plugs"]
    ends = {key: plug[key] for key in ("source", "target", "argument", "on")}
    change = {"op": "replug", **ends, "to_target": "kind", "to_argument": "value"}
    web.good("flows", "sums", "commands", body={"op": "edit", "args": {"changes": [change]}})
    assert [str(plug) for plug in flow.plugs] == [f"<plug {plug['source']} -> kind.value>"]
    flow.undo()


def test_a_page_that_nobody_sees_gets_no_numbers_and_all_of_them_once_it_is_seen(web: Any, flow: Any) -> None:
    hidden, seen = web.live("sums"), web.live("sums")
    for page in (hidden, seen):
        web.next(page, lambda m: m["k"] == "metrics")
    hidden.write_message('{"k": "look", "visible": false}')
    web.taken_in(hidden)
    flow.submit("kind", 1).wait(60)
    since = web.next(seen, lambda m: m["k"] == "metrics" and not m["full"] and "kind" in m["sockets"])["seq"]
    web.next(seen, lambda m: m["k"] == "metrics" and m["seq"] > since and not m["sockets"])
    hidden.write_message('{"k": "look", "visible": true}')
    whole = web.next(hidden, lambda m: m["k"] == "metrics" and m["seq"] >= since)
    assert (whole["full"], whole["sockets"]["kind"]["done"]) == (True, 1)


def test_a_picture_starts_the_next_engine_after_a_kill_and_says_so_meanwhile(web: Any, flow: Any) -> None:
    page = web.live("sums")
    said = web.next(page, lambda m: m["k"] == "engine")
    assert (said["state"], said["text"]) == ("running", "")
    web.next(page, lambda m: m["k"] == "metrics")
    first = flow._client.engine_pid
    # nobody but the picture is there
    flow.close()
    os.kill(first, signal.SIGKILL)
    said = web.next(page, lambda m: m["k"] == "engine")
    assert (said["state"], said["text"]) == ("starting", "the engine is gone, starting again")
    assert web.next(page, lambda m: m["k"] == "engine" and m["state"] == "running")
    assert web.next(page, lambda m: m["k"] == "metrics" and m["full"])
    said = web.good("flows", "sums", "sockets", "kind", body={"arguments": {"value": 1}})
    assert said["id"]
    after = web.next(page, lambda m: m["k"] == "metrics" and m["sockets"].get("kind", {}).get("done"))
    assert after["sockets"]["kind"]["done"] == 1


def test_a_picture_says_that_the_engine_was_stopped_and_starts_none(web: Any, flow: Any, wait_until: Any) -> None:
    page = web.live("sums")
    web.next(page, lambda m: m["k"] == "metrics")
    flow.stop()
    said = web.next(page, lambda m: m["k"] == "engine" and m["state"] == "stopped")
    assert said["text"] == "the engine was stopped; the next call starts it"
    # a page that comes now hears it too
    late = web.live("sums")
    assert web.next(late, lambda m: m["k"] == "engine")["state"] == "stopped"
    assert not running(flow.folder)


def test_looking_at_a_stopped_flow_does_not_start_it(web: Any, flow: Any, wait_until: Any) -> None:
    flow.stop()
    wait_until(lambda: not running(flow.folder))
    page = web.live("sums")
    # long enough for several beats of the picture
    web.until("flows", claim=lambda found: web.flows._pictures and not found["flows"][0]["running"])
    assert not running(flow.folder)
    web.good("flows", "sums", "start", body={})
    assert web.next(page, lambda m: m["k"] == "graph")["graph"]["flow"] == "sums"


def test_failed_requests_of_a_flow_that_is_looked_at_are_events_of_the_server(web: Any, flow: Any) -> None:
    events: list[dict[str, Any]] = []

    async def listener(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        events.append(data)

    web.app.event_logger.add_listener(schema_id="https://events.ec-jupyter.org/flow/v1", listener=listener)
    page = web.live("sums")
    web.next(page, lambda m: m["k"] == "metrics")
    flow.submit("double", 13)
    web.until("flows", claim=lambda _: events)
    assert events == [{"action": "failed", "key": "sums", "flow": "sums", "socket": "double", "requests": 1}]


def test_what_a_page_says_that_is_no_message_changes_nothing(web: Any, flow: Any) -> None:
    page = web.live("sums")
    web.next(page, lambda m: m["k"] == "metrics")
    for text in (
        "{",
        "[]",
        "7",
        '{"k": 3}',
        '{"k": "look"}',
        "[" * 50_000,
        '{"k": "hello"}',
        '{"k": "look", "visible": 1}',
    ):
        page.write_message(text)
    assert web.next(page, lambda m: m["k"] == "metrics" and m["full"])


def test_the_last_page_that_leaves_takes_its_picture_along(web: Any, flow: Any) -> None:
    one, two = web.live("sums"), web.live("sums")
    web.next(one, lambda m: m["k"] == "metrics")
    one.close()
    web.next(two, lambda m: m["k"] == "metrics" and not m["full"])
    assert len(web.flows._pictures) == 1
    two.close()
    web.until("flows", claim=lambda _: not web.flows._pictures)


def test_there_is_no_websocket_of_a_flow_that_is_not_there(web: Any, flow: Any) -> None:
    with pytest.raises(HTTPClientError) as refused:
        web.live("none")
    assert refused.value.code == 404


def test_a_picture_of_a_flow_that_was_deleted_and_made_again_at_its_path_comes_back_by_itself(
    web: Any, flow: Any
) -> None:
    page = web.live("sums")
    web.next(page, lambda m: m["k"] == "metrics")
    folder = flow.folder
    flow.delete(force=True)
    web.next(page, lambda m: m["k"] == "engine" and m["state"] != "running")
    again = Client.open(folder, "sums")
    try:
        assert not web.next(page, lambda m: m["k"] == "graph")["graph"]["sockets"]
        web.next(page, lambda m: m["k"] == "engine" and m["state"] == "running")
        assert web.next(page, lambda m: m["k"] == "metrics" and m["full"])["sockets"] == {}
    finally:
        again.stop()
        again.close()
