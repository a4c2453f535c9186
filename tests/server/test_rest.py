"""Flows over REST: seen, started, stopped, edited and fed without a kernel."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError

from ec_jupyter import ask
from ec_jupyter.client import probe
from ec_jupyter.client.client import Client
from ec_jupyter.client.launch import running
from ec_jupyter.engine import open_lots

ADDRESSES = [
    ("GET", ("flows",)),
    ("GET", ("flows", "sums")),
    ("POST", ("flows", "sums", "start")),
    ("POST", ("flows", "sums", "stop")),
    ("POST", ("flows", "sums", "commands")),
    ("POST", ("flows", "sums", "rename")),
    ("POST", ("flows", "sums", "delete")),
    ("POST", ("flows", "sums", "sockets", "add_two")),
    ("GET", ("flows", "sums", "requests", "1")),
    ("GET", ("flows", "sums", "statistics")),
    ("GET", ("flows", "sums", "log")),
    ("POST", ("flows", "sums", "requests", "1", "answer")),
]


def listed(web: Any) -> dict[str, Any]:
    """Rows of all flows by key, from a look that is new."""
    web.flows.changed()
    return {row["key"]: row for row in web.good("flows")["flows"]}


def stop(flow: Any, wait_until: Any) -> None:
    flow.stop()
    wait_until(lambda: not running(flow.folder))
    # its database is let go of a moment after its socket
    wait_until(lambda: not (flow.folder / "flow.db-wal").exists())


def kill(flow: Any, wait_until: Any) -> None:
    os.kill(flow._client.engine_pid, signal.SIGKILL)
    wait_until(lambda: not running(flow.folder))


def result(web: Any, request: int) -> Any:
    """The result of a request, once it is done."""
    done = web.until("flows", "sums", "requests", str(request), claim=lambda row: row.get("state") == "done")
    return done["result"]


# -- who may -------------------------------------------------------------------
@pytest.mark.parametrize("token", ["", "token nonsense"], ids=["no token", "a wrong token"])
def test_without_the_token_nobody_gets_anything(web: Any, flow: Any, token: str) -> None:
    for verb, path in ADDRESSES:
        status, said = web(*path, body={} if verb == "POST" else None, headers={"Authorization": token})
        assert (status, "flows" in said) == (403, False), path
    with pytest.raises(HTTPClientError) as refused:
        web.live("sums", headers={"Authorization": token})
    assert refused.value.code == 403
    assert running(flow.folder)


def test_who_may_not_is_refused_though_he_is_known(web: Any, flow: Any) -> None:
    asked = []

    class Nobody(Authorizer):
        def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
            asked.append((resource, action))
            return False

    web.app.web_app.settings["authorizer"] = Nobody(parent=web.app, identity_provider=web.app.identity_provider)
    for verb, path in ADDRESSES:
        assert web(*path, body={} if verb == "POST" else None)[0] == 403, path
    with pytest.raises(HTTPClientError):
        web.live("sums")
    assert {resource for resource, _ in asked} == {"ec_flows"}
    # the last is the page's own connection
    wanted = [*("read" if verb == "GET" else "write" for verb, _ in ADDRESSES), "read"]
    assert [action for _, action in asked] == wanted


# -- the list ------------------------------------------------------------------
def test_a_flow_under_the_root_is_listed_with_what_it_does(web: Any, flow: Any) -> None:
    flow.submit("add_two", 1, 2)
    flow.submit("double", 13)
    flow.submit("add_two", one=1, partial=True)
    flow.wait(60)
    row = listed(web)["sums"]
    assert (row["running"], row["path"], row["sockets"], row["error"]) == (True, "sums", 3, None)
    assert (row["counts"]["done"], row["counts"]["failed"], row["counts"]["waiting"]) == (2, 1, 1)
    assert [node["name"] for node in row["nodes"]] == ["local"]


def test_a_stopped_flow_is_listed_with_what_its_database_says(web: Any, flow: Any, wait_until: Any) -> None:
    flow.submit("add_two", 1, 2)
    flow.submit("double", 13)
    flow.wait(60)
    stop(flow, wait_until)
    row = listed(web)["sums"]
    assert (row["running"], row["killed"], row["nodes"], row["sockets"]) == (False, False, [], 3)
    assert (row["counts"]["done"], row["counts"]["failed"]) == (2, 1)
    assert not running(flow.folder)


def test_a_flow_whose_engine_was_killed_says_so(web: Any, flow: Any, wait_until: Any) -> None:
    kill(flow, wait_until)
    assert listed(web)["sums"]["killed"]


def test_flows_are_found_in_folders_of_any_name_and_nowhere_else(
    web: Any, flow: Any, jp_root_dir: Path, tmp_path: Path, wait_until: Any
) -> None:
    stop(flow, wait_until)
    flow.close()
    outside = tmp_path / "outside" / ".ec_jupyter" / "sums"
    places = ["a/b c", "früh:spät~1", "100%", ".hidden", "node_modules/x", "venv/lib"]
    for place in [jp_root_dir / name for name in places] + [outside.parent.parent]:
        shutil.copytree(flow.folder, place / ".ec_jupyter" / "sums")
    (jp_root_dir / "venv" / "pyvenv.cfg").touch()
    (jp_root_dir / "link").symlink_to(outside.parent.parent)
    (jp_root_dir / "other").mkdir()
    (jp_root_dir / "other" / ".ec_jupyter").symlink_to(outside.parent)
    rows = listed(web)
    assert sorted(row["path"] for row in rows.values()) == sorted(
        ["sums", "a/b c/sums", "früh:spät~1/sums", "100%/sums"]
    )
    for key, row in rows.items():
        status, said = web("flows", key)
        # the right one was found: it says its name, and that it is stopped
        assert (status, "'sums' is stopped" in said["error"]) == (409, True), (key, row, said)


def test_being_listed_keeps_no_engine_alive(web: Any, jp_root_dir: Path) -> None:
    folder = jp_root_dir / ".ec_jupyter" / "short"
    Client.open(folder, "short", linger=0.5).close()
    web.until("flows", claim=lambda found: [row["running"] for row in found["flows"]] == [False])
    assert not listed(web)["short"]["killed"]


def test_what_is_not_a_flow_under_the_root_is_not_found(web: Any, flow: Any, jp_root_dir: Path, tmp_path: Path) -> None:
    keys = [
        "none", "...", "..:sums", "a:..:sums", "~2e~2e:sums", ".ec_jupyter:sums", "~2fetc", "sums~00", "link:sums",
        ":sums", "~2e:sums", "~73ums", "ü", "%00", "~ff:sums",
    ]  # fmt: skip
    shutil.copytree(flow.folder, tmp_path / "outside" / ".ec_jupyter" / "sums")
    (jp_root_dir / "link").symlink_to(tmp_path / "outside")
    for key in keys:
        for verb, path in ADDRESSES[1:]:
            parts = ["flows", key, *path[2:]]
            status, _ = web(*parts, body={"op": "undo"} if verb == "POST" else None)
            assert status == 404, parts
    assert not running(tmp_path / "outside" / ".ec_jupyter" / "sums")


# -- life ----------------------------------------------------------------------
def test_a_flow_is_stopped_and_started_and_nobody_else_starts_it(web: Any, flow: Any) -> None:
    flow.close()
    assert web.good("flows", "sums", "stop", body={}) == {"ok": True, "running": False, "changed": True, "warnings": []}
    web.until("flows", claim=lambda found: not found["flows"][0]["running"])
    for parts, body in ((("flows", "sums"), None), (("flows", "sums", "commands"), {"op": "undo"})):
        status, said = web(*parts, body=body)
        assert (status, said["error"]) == (409, "flow 'sums' is stopped; start it to go on with what is on disk")
    assert not running(flow.folder)
    assert web.good("flows", "sums", "start", body={})["changed"]
    assert running(flow.folder)
    assert not web.good("flows", "sums", "start", body={})["changed"]
    assert web.good("flows", "sums")["revision"] == 4


def test_an_engine_started_here_runs_under_the_python_its_flow_had(
    web: Any, flow: Any, wait_until: Any, tmp_path: Path
) -> None:
    stop(flow, wait_until)
    # the same Python under another name, as that of another environment would be
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexport OTHER=1\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    with sqlite3.connect(flow.folder / "flow.db") as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'executable'", (str(other),))
    db.close()
    web.good("flows", "sums", "start", body={})
    process = probe.ask(flow.folder)["engine"]
    assert b"OTHER=1" in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")


def test_a_flow_of_another_python_is_not_started(web: Any, flow: Any, wait_until: Any) -> None:
    stop(flow, wait_until)
    with sqlite3.connect(flow.folder / "flow.db") as db:
        db.execute("UPDATE task SET record = json_set(record, '$.python', '3.9')")
    db.close()
    status, said = web("flows", "sums", "start", body={})
    assert (status, said["type"]) == (409, "PythonMismatchError")
    assert said["error"].startswith("the tasks of flow 'sums' are of Python 3.9, this server runs 3.")
    assert not running(flow.folder)


def test_why_an_engine_does_not_start_is_told_in_one_line(web: Any, flow: Any, wait_until: Any) -> None:
    stop(flow, wait_until)
    (flow.folder / "flow.db").write_bytes(b"no database at all" * 1000)
    assert "database" in listed(web)["sums"]["error"]
    status, said = web("flows", "sums", "start", body={})
    assert (status, said["type"]) == (409, "StoreDamagedError")
    assert "\n" not in said["error"]


def test_engines_go_on_when_the_server_stops(web: Any, flow: Any) -> None:
    web.good("flows", "sums")
    web.flows.close()
    assert flow.submit("add_two", 1, 2).result(60) == 3


def test_a_connection_that_nobody_uses_is_closed(web: Any, flow: Any) -> None:
    web.flows.links.unused = 0
    for _ in range(3):
        web.good("flows", "sums")
    inbox = flow.folder / "inbox"
    web.until("flows", claim=lambda _: len(list(inbox.glob("*.log"))) == 1)


# -- commands ------------------------------------------------------------------
def test_an_edit_by_command_is_in_the_history_and_undone_there(web: Any, flow: Any) -> None:
    plug = {"op": "plug", "source": "double", "target": "kind", "argument": "value", "on": "result"}
    reply = web.good("flows", "sums", "commands", body={"op": "edit", "args": {"changes": [plug]}})
    assert reply["revision"] == 5
    assert flow.history()[-1]["text"] == "plug double -> kind.value"
    flow.undo()
    assert [p["source"] for p in web.good("flows", "sums")["plugs"]] == ["add_two"]


def test_what_cannot_be_done_is_refused_in_one_line(web: Any, flow: Any) -> None:
    plug = {"op": "plug", "source": "double", "target": "add_too", "argument": "one", "on": "result"}
    status, said = web("flows", "sums", "commands", body={"op": "edit", "args": {"changes": [plug]}})
    assert (status, said["ok"], said["type"]) == (404, False, "SocketNotFoundError")
    assert said["error"] == "no socket named 'add_too'; did you mean 'add_two'?"
    status, said = web("flows", "sums", "commands", body={"op": "jump"})
    assert (status, said["ok"]) == (400, False)


# -- requests ------------------------------------------------------------------
def test_a_submit_is_answered_once_it_is_on_disk_and_its_result_is_there_later(web: Any, flow: Any) -> None:
    status, said = web("flows", "sums", "sockets", "add_two", body={"arguments": {"one": 1, "two": 2}})
    assert (status, web.headers["Location"]) == (202, said["location"])
    with sqlite3.connect(flow.folder / "flow.db") as db:
        open_lots.show(db)
        assert db.execute("SELECT count(*) FROM request WHERE id = ?", (said["id"],)).fetchone() == (1,)
    db.close()
    assert said["location"].endswith(f"/ec/flows/sums/requests/{said['id']}")
    assert result(web, said["id"]) == 3


def test_json_values_arrive_at_the_task_as_python_ones(web: Any, flow: Any) -> None:
    values = [None, True, 1.5, "ü", [1, [2]], {"a": {}}, 2**80, "x" * 100_000]
    sent = [
        web.good("flows", "sums", "sockets", "kind", body={"arguments": {"value": value}})["id"] for value in values
    ]
    assert [result(web, request) for request in sent] == [type(value).__name__ for value in values]


def test_a_submit_with_an_id_is_made_once_however_often_it_is_sent(web: Any, flow: Any, wait_until: Any) -> None:
    body = {"arguments": {"x": 4}, "id": "order-7"}
    first = web.good("flows", "sums", "sockets", "double", body=body)["id"]
    kill(flow, wait_until)
    again = web.good("flows", "sums", "sockets", "double", body=body)["id"]
    assert again == first
    assert web.good("flows", "sums", "sockets", "double", body={"arguments": {"x": 4}, "id": "order-8"})["id"] != first
    assert result(web, first) == 8


def test_a_submit_that_lacks_an_argument_is_refused_unless_it_says_that_the_rest_will_come(web: Any, flow: Any) -> None:
    status, said = web("flows", "sums", "sockets", "add_two", body={"arguments": {"one": 1}})
    assert (status, said["error"].startswith("'add_two' lacks 'two'; give it, or say \"partial\": true if")) == (
        400,
        True,
    )
    request = web.good("flows", "sums", "sockets", "add_two", body={"arguments": {"one": 1}, "partial": True})["id"]
    flow.supply("add_two", run=request, two=2)
    assert result(web, request) == 3


def test_a_submit_for_later_waits_for_its_time(web: Any, flow: Any) -> None:
    where = ("flows", "sums", "sockets", "double")
    request = web.good(*where, body={"arguments": {"x": 4}, "delay": "1h"})["id"]
    assert web.good("flows", "sums", "requests", str(request))["state"] == "delayed"
    assert [row.id for row in flow.requests(state="delayed")] == [request]
    for more, text in (({"delay": "soon"}, "'delay' takes seconds"), ({"at": 1, "partial": True}, "'delay' and 'at'")):
        status, said = web(*where, body={"arguments": {"x": 4}, **more})
        assert (status, text in said["error"]) == (400, True)
    flow.cancel(request)


def test_a_submit_has_a_priority_and_is_refused_by_a_full_socket(web: Any, flow: Any) -> None:
    where = ("flows", "sums", "sockets", "few")
    flow.declare(abs, "few", limit=1, signature="x")
    request = web.good(*where, body={"arguments": {"x": -4}, "priority": 7})["id"]
    assert result(web, request) == 4
    status, said = web(*where, body={"arguments": {"x": 4}, "priority": "high"})
    assert (status, "'priority' takes a whole number from -100 to 100" in said["error"]) == (400, True)
    flow.pause("few")
    request = web.good(*where, body={"arguments": {"x": -5}})["id"]
    status, said = web(*where, body={"arguments": {"x": 6}})
    assert (status, said["error"]) == (409, "'few' is full: it holds 1 (limit=1)")
    flow.resume("few")
    assert result(web, request) == 5
    flow.remove("few", force=True)


def test_an_accepted_request_outlives_the_engine_and_is_served_by_the_next_one(
    web: Any, flow: Any, wait_until: Any
) -> None:
    flow.close()
    flow.folder.joinpath("engine.log").touch()
    said = web.good("flows", "sums", "sockets", "add_two", body={"arguments": {"one": 20, "two": 1}})
    os.kill(probe.ask(flow.folder)["engine"], signal.SIGKILL)
    wait_until(lambda: not running(flow.folder))
    web.good("flows", "sums", "start", body={})
    assert result(web, said["id"]) == 21


def test_a_stopped_flow_shows_its_requests_and_does_not_go_on(web: Any, flow: Any, wait_until: Any) -> None:
    flow.pause()
    queued = flow.submit("double", 4).id
    failed = flow.request(flow.submit("double", 13).id).id
    stop(flow, wait_until)
    row = web.good("flows", "sums", "requests", str(queued))
    assert (row["state"], row["socket"], row["running"]) == ("queued", "double", False)
    assert web("flows", "sums", "requests", "999")[0] == 404
    assert web.good("flows", "sums", "requests", str(failed))["state"] == "queued"
    assert not running(flow.folder)


def test_looking_at_a_result_starts_no_engine_and_says_what_to_do(web: Any, flow: Any, wait_until: Any) -> None:
    request = flow.submit("kind", 4).wait(60).id
    flow.close()
    for end in (signal.SIGTERM, signal.SIGKILL):
        os.kill(probe.ask(flow.folder)["engine"], end)
        wait_until(lambda: not running(flow.folder))
        row = web.good("flows", "sums", "requests", str(request))
        assert (row["state"], row["running"]) == ("done", False)
        assert row["problem"] == "flow 'sums' does not run: start it to see the result"
        assert not running(flow.folder)
        web.good("flows", "sums", "start", body={})
        assert result(web, request) == "int"


def test_no_get_starts_an_engine_over_a_connection_that_is_open_still(web: Any, flow: Any, wait_until: Any) -> None:
    request = flow.submit("kind", 4).wait(60).id
    flow.close()
    web.good("flows", "sums")
    (link,) = web.flows.links._links.values()
    os.kill(link.client.engine_pid, signal.SIGKILL)
    web.until("flows", "sums", "requests", str(request), claim=lambda row: row.get("running") is False)
    wait_until(lambda: link.client.life.state == "failed")
    for _ in range(2):
        assert web("flows", "sums") == (409, web("flows", "sums")[1])
    assert web("flows", "sums", "commands", body={"op": "history"})[0] == 409
    assert link.client.life.text == "no engine of flow 'sums' runs, and to look starts none"
    assert not running(flow.folder)
    # to act does
    web.good("flows", "sums", "commands", body={"op": "pause", "args": {}})
    assert running(flow.folder)


def test_a_get_that_an_engine_died_under_fails_and_starts_none(web: Any, flow: Any, wait_until: Any) -> None:
    flow.close()
    web.good("flows", "sums")
    (link,) = web.flows.links._links.values()
    engine = link.client.engine_pid
    os.kill(engine, signal.SIGSTOP)
    asked = web._fetch("ec", "flows", "sums", request_timeout=60)
    web.until("flows", claim=lambda _: link.client._questions)
    os.kill(engine, signal.SIGKILL)
    with pytest.raises(HTTPClientError) as refused:
        web.loop.run_until_complete(asked)
    assert refused.value.code == 409
    assert "to look starts none" in refused.value.response.body.decode()
    assert not running(flow.folder)


def test_a_flow_that_was_killed_says_how_many_calls_wait_and_how_it_goes_on(
    web: Any, flow: Any, wait_until: Any
) -> None:
    flow.pause()
    for x in range(2):
        assert flow.submit("double", x).id
    engine = flow._client.engine_pid
    flow.close()
    os.kill(engine, signal.SIGKILL)
    wait_until(lambda: not running(flow.folder))
    says = "the engine of flow 'sums' was killed; 2 calls wait"
    assert web("flows", "sums")[1]["error"] == f"{says}; start it to go on with what is on disk"
    page = web.live("sums")
    said = web.next(page, lambda m: m["k"] == "engine")
    assert (said["state"], said["text"]) == ("killed", says)
    assert not running(flow.folder)
    web.good("flows", "sums", "start", body={})
    # until it runs, the page is told each second that it was killed
    web.next(page, lambda m: m["k"] == "engine" and m["state"] == "running")


def test_a_flow_that_came_from_elsewhere_runs_nothing_whoever_looks_or_starts_it(
    web: Any, flow: Any, jp_root_dir: Path, tmp_path: Path, wait_until: Any
) -> None:
    """Its database names a program that would be the engine's Python; its mark would tell that it ran."""
    request = flow.submit("kind", 4).wait(60).id
    stop(flow, wait_until)
    place, program, marks = jp_root_dir / "came" / ".ec_jupyter" / "sums", tmp_path / "program", tmp_path / "marks"
    shutil.copytree(flow.folder, place)
    program.write_text(f"#!/bin/sh\necho ran >> {marks}\n")
    program.chmod(0o755)
    with closing(sqlite3.connect(place / "flow.db")) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'executable'", (str(program),))
        db.execute("UPDATE request SET state = 'queued'")
    (place / "engine.address").write_text(str(tmp_path / "nobody"))
    key = "came:sums"
    assert listed(web)[key]["sockets"] == 3
    assert web.good("flows", key, "requests", str(request))["state"] == "queued"
    assert web("flows", key)[0] == 409
    for parts, body in (
        (("start",), {}),
        (("sockets", "double"), {"arguments": {"x": 1}}),
        (("commands",), {"op": "undo"}),
    ):
        status, said = web("flows", key, *parts, body=body)
        assert (status, said["type"]) == (403, "UntrustedFlowError"), parts
        assert f"came from {flow.folder}" in said["error"]
        assert "the tasks of 3 sockets (" in said["error"]
        assert said["error"].endswith("say so once: ec.flow('sums', trust=True)")
    assert not running(place)
    assert not marks.exists()
    Client.open(place, "sums", trust=True, linger=0.1).close()
    assert web.good("flows", key, "start", body={})["running"]
    assert not marks.exists()


def test_a_failed_request_tells_its_error(web: Any, flow: Any) -> None:
    said = web.good("flows", "sums", "sockets", "double", body={"arguments": {"x": 13}})
    row = web.until("flows", "sums", "requests", str(said["id"]), claim=lambda row: row["state"] == "failed")
    assert (row["error"]["type"], row["error"]["message"]) == ("ValueError", "unlucky")
    assert "result" not in row


def test_a_result_that_is_no_json_is_described(web: Any, flow: Any) -> None:
    flow.declare(lambda: {1, 2}, "some")
    said = web.good("flows", "sums", "sockets", "some", body={})
    row = web.until("flows", "sums", "requests", str(said["id"]), claim=lambda row: row["state"] == "done")
    assert "result" not in row
    assert (row["preview"]["text"], row["preview"]["type"]) == ("{1, 2}", "set")


def test_a_result_that_cannot_be_shown_is_no_fault_of_its_request(web: Any, flow: Any) -> None:
    def odd():
        class Odd:
            def __reduce__(self):
                return (int, ("no number",))

        return Odd()

    flow.declare(odd, "odd")
    said = web.good("flows", "sums", "sockets", "odd", body={})
    row = web.until("flows", "sums", "requests", str(said["id"]), claim=lambda row: row["state"] == "done")
    assert "result" not in row
    assert "no number" in (row["problem"] or row["preview"]["text"])


def test_no_value_is_unpickled_in_the_server(web: Any, flow: Any, tmp_path: Path) -> None:
    mark = tmp_path / "unpickled_by"

    def bomb(path):
        class Bomb:
            def __reduce__(self):
                import os

                # whoever unpickles it writes down who he is
                return (os.system, (f"echo $PPID >> {path}",))

        return Bomb()

    flow.declare(bomb, "bomb")
    said = web.good("flows", "sums", "sockets", "bomb", body={"arguments": {"path": str(mark)}})
    row = web.until("flows", "sums", "requests", str(said["id"]), claim=lambda row: row["state"] == "done")
    assert row["preview"]["type"]
    readers = {int(line) for line in mark.read_text().split()}
    assert readers
    assert os.getpid() not in readers
    assert flow._client.engine_pid not in readers


UNREADABLE: list[tuple[tuple[str, ...], Any, int, str]] = [
    (("sockets", "add_too"), {}, 404, "did you mean 'add_two'?"),
    (("sockets", "add_two"), {"arguments": {"three": 1}}, 400, "three"),
    (("sockets", "add_two"), {"arguments": [1]}, 400, "the field 'arguments' is to be an object, not a list"),
    (("sockets", "add_two"), {"arguments": {}, "id": 7}, 400, "the field 'id' is to be a text, not a number"),
    (("sockets", "add_two"), {"id": ""}, 400, "1 to 200 characters"),
    (("sockets", "add_two"), {"callback": 7}, 400, "the field 'callback' is to be a text, not a number"),
    (("sockets", "add_two"), {"arguments": {"one": 1, "two": 2}, "callback": "ftp://x"}, 400, "by http or https"),
    (("sockets", "add_two"), {"arguments": {"one": 1, "two": 2}, "callbak": "x"}, 400, "did you mean 'callback'?"),
    (("sockets", "add_two"), {"one": 1, "two": 2}, 400, "known: arguments, at, callback, delay, id, partial, priority"),
    (("commands",), {"op": "undo", "arg": {}}, 400, "there is no field 'arg' here; did you mean 'args'?"),
    (("rename",), {"name": "x", "forced": True}, 400, "did you mean 'force'?"),
    (("sockets", "add_two"), "{", 400, "the body is no JSON"),
    (("sockets", "add_two"), "[]", 400, "the body is to be a JSON object, not a list"),
    (("sockets", "add_two"), '{"arguments": {"one": NaN}}', 400, "NaN is no JSON number"),
    (("sockets", "add_two"), b"\xff", 400, "the body is no JSON"),
    (("sockets", "add_two"), '{"a":' * 200 + "1" + "}" * 200, 400, "nested more than 100 levels deep"),
    (("sockets", "add_two"), '{"a":' * 5000 + "1" + "}" * 5000, 400, "nested more than 100 levels deep"),
    (("commands",), "[" * 100_000 + "]" * 100_000, 400, "nested more than 100 levels deep"),
    (("commands",), f'{{"op": "edit", "args": {{"changes": {"[" * 90 + "]" * 90}}}}}', 400, "cannot be read"),
    (("sockets", "add_two"), '{"arguments": {"\\ud800": 1}}', 400, "a text in it is none"),
    (("commands",), {"args": {}}, 400, "the body lacks the field 'op'"),
    (("commands",), {"op": None}, 400, "the field 'op' is to be a text, not null"),
    (("commands",), {"op": "request", "args": {"id": 2**70}}, 400, "more than 64 bits"),
    (("commands",), {"op": "requests", "args": {"limit": "x"}}, 400, "limit"),
    (("commands",), {"op": "requests", "args": {"limit": 1.5}}, 400, "limit"),
    (("commands",), {"op": "requests", "args": {"limit": -1}}, 400, "limit"),
    (("commands",), {"op": "waiting", "args": {"limit": 0}}, 400, "limit"),
]


def test_what_cannot_be_read_is_refused_in_one_line_and_the_engine_goes_on(web: Any, flow: Any) -> None:
    engine = flow._client.engine_pid
    for parts, body, status, text in UNREADABLE:
        found, said = web("flows", "sums", *parts, body=body)
        assert (found, said["ok"], "\n" in said["error"]) == (status, False, False), said
        assert text in said["error"]
    assert flow.submit("add_two", 1, 2).result(60) == 3
    assert flow._client.engine_pid == engine


def test_what_an_address_does_not_heed_in_a_query_is_refused_by_name(web: Any, flow: Any) -> None:
    request = str(flow.submit("add_two", 1, 2).wait(60).id)
    for parts, params, text in (
        (("requests",), {"sockt": "double"}, "there is no sockt= to ask for here; did you mean 'socket'?"),
        (("requests", request), {"waits": "3"}, "there is no waits= to ask for here; did you mean 'wait'?"),
        (("requests",), {"limit": "0"}, "the query: limit is to be a whole number from 1 on, not 0"),
        (("waiting",), {"limit": "-1"}, "the query: limit is to be a whole number from 1 on, not '-1'"),
        (("log",), {"level": "loud"}, "the query: level is to be 'info' or 'warning' or 'error', not 'loud'"),
        ((), {"x": "1"}, "there is no x= to ask for here; known: none"),
    ):
        found, said = web("flows", "sums", *parts, params=params)
        assert (found, said["error"]) == (400, text)
    found, said = web("flows", "sums", "sockets", "kind", body={"arguments": {"value": 1}}, params={"wait": "3"})
    assert (found, "no wait=" in said["error"], len(flow.requests("kind"))) == (400, True, 0)
    # as JupyterLab keeps a browser from answering by itself
    assert web.good("flows", "sums", "requests", request, params={"wait": "1", "1764444444": ""})["state"] == "done"


def test_what_is_at_no_address_is_told_in_one_line(web: Any, flow: Any) -> None:
    for request in ("abc", "9" * 40):
        found, said = web("flows", "sums", "requests", request)
        assert (found, said["error"].startswith("nothing is at /")) == (404, True), said
    found, said = web("flows", "sums", "log", params={"older": "3"})
    assert (found, said["error"]) == (400, "what older= takes is to be a JSON object, not a number")


# -- manners -------------------------------------------------------------------
def test_importing_the_extension_loads_nothing_heavy() -> None:
    heavy = ["ipywidgets", "anywidget", "loky", "networkx", "pandas", "IPython"]
    code = (
        "import sys, ec_jupyter.server as s; s._jupyter_server_extension_points(); before = 'tornado' in sys.modules\n"
        "import ec_jupyter.server.extension\n"
        f"print(before, [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"


def test_starts_and_stops_are_events_of_the_server(web: Any, flow: Any) -> None:
    events: list[dict[str, Any]] = []

    async def listener(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        events.append(data)

    web.app.event_logger.add_listener(schema_id="https://events.ec-jupyter.org/flow/v1", listener=listener)
    web.good("flows", "sums", "stop", body={})
    web.good("flows", "sums", "start", body={})
    web.until("flows", claim=lambda _: len(events) == 2)
    assert [(e["action"], e["key"]) for e in events] == [("stopped", "sums"), ("started", "sums")]
    json.dumps(events)


def test_statistics_and_the_log_are_read_by_address(web: Any, flow: Any, wait_until: Any) -> None:
    flow.submit("add_two", 1, 2)
    flow.submit("double", 13)
    flow.wait(60)
    found = web.good("flows", "sums", "statistics", params={"by": "socket", "pulse": "1"})["rows"]
    assert {row["name"]: row["ended"] for row in found if row["ended"]} == {"add_two": 1, "double": 2}
    assert all(sum(row["pulse"]) == row["ended"] for row in found)
    assert "course" in web.good("flows", "sums", "statistics", params={"name": "double", "course": ""})
    page = web.good("flows", "sums", "log", params={"limit": "1"})
    older = web.good("flows", "sums", "log", params={"limit": "1", "older": json.dumps(page["older"])})
    assert older["lines"][0]["time"] <= page["lines"][0]["time"]
    assert [line["level"] for line in web.good("flows", "sums", "log", params={"level": "error"})["lines"]] == ["error"]
    for wrong in ({"level": "loud"}, {"run": "x"}, {"older": "{"}, {"older": "[]"}, {"limit": str(1 << 64)}):
        assert web("flows", "sums", "log", params=wrong)[0] == 400, wrong
    stop(flow, wait_until)
    assert web("flows", "sums", "statistics")[0] == 409
    assert not running(flow.folder)


def test_a_question_is_answered_over_http_once_by_whom_the_server_knows_or_is_told(web: Any, flow: Any) -> None:
    flow.socket(ask("Approve?", choices=["yes", "no"]), name="approve")
    first, second = (flow.submit("approve", n).id for n in range(2))
    where = ("flows", "sums", "requests", str(first), "answer")
    assert web(*where, body={})[0] == 400
    status, said = web(*where, body={"answer": "perhaps"})
    assert (status, said["type"]) == (409, "AnswerError")
    assert web.good("flows", "sums", "requests", str(first))["state"] == "asked"
    assert web.good(*where, body={"answer": "yes", "by": "anna"}) == {"ok": True}
    assert result(web, first) == "yes"
    status, said = web(*where, body={"answer": "no", "by": "ben"})
    assert (status, "anna answered 'yes'" in said["error"]) == (409, True)
    web.good("flows", "sums", "commands", body={"op": "respond", "args": {"request": second, "answer": "no"}})
    assert flow.request(second).result(60) == "no"
    assert flow.request(second).output.endswith(" answered 'no'\n")
    assert web("flows", "sums", "requests", "99", "answer", body={"answer": "no"})[0] == 404


def test_a_flow_is_duplicated_emptied_renamed_and_deleted(web, flow):
    flow.submit("add_two", 1, 2).result(60)
    twin = web.good("flows", "sums", "duplicate", body={"name": "twin"})
    assert twin == {"ok": True, "key": "twin"}
    web.good("flows", "twin", "start", body={})
    there, made = web.good("flows", "sums"), web.good("flows", "twin")
    for wiring in (there, made):
        assert [(p["source"], p["target"], p["argument"]) for p in wiring["plugs"]] == [("add_two", "double", "x")]
    assert made["sockets"].keys() == there["sockets"].keys()
    assert not listed(web)["twin"]["counts"]["done"]
    assert web("flows", "sums", "duplicate", body={"name": "twin"})[0] == 400
    assert "cannot name a flow" in web("flows", "sums", "duplicate", body={"name": "../x"})[1]["error"]
    # one that a notebook uses keeps its name, unless that is wanted all the same
    status, refused = web("flows", "sums", "rename", body={"name": "other"})
    assert (status, refused["type"]) == (409, "FlowInUseError")
    web.good("flows", "sums", "clear", body={})
    assert not listed(web)["sums"]["counts"]["done"]
    assert web.good("flows", "twin", "rename", body={"name": "third"}) == {"ok": True, "key": "third"}
    assert listed(web).keys() == {"sums", "third"}
    web.good("flows", "third", "start", body={})
    assert web.good("flows", "third", "delete", body={}) == {"ok": True, "key": None}
    assert listed(web).keys() == {"sums"}
    assert not flow.folder.with_name("third").exists()
