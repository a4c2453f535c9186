"""`ec.connect`: a flow behind a server, from a program without a kernel."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

import ec_jupyter as ec
from ec_jupyter import errors
from tests.listening import Address

Away = Callable[..., Any]


@pytest.fixture
def away(web: Any) -> Away:
    """Calls a function as another program would: the server works meanwhile."""
    return lambda call, *args, **given: web.loop.run_until_complete(asyncio.to_thread(call, *args, **given))


@pytest.fixture
def server(web: Any, jp_http_port: int) -> tuple[str, str]:
    """Address of the server and its token."""
    return f"http://127.0.0.1:{jp_http_port}{web.app.base_url}", web.app.identity_provider.token


@pytest.fixture
def far(away: Away, flow: Any, server: tuple[str, str]) -> ec.RemoteFlow:
    return away(ec.connect, f"{server[0]}ec/flows/sums", token=server[1])


def test_a_submit_comes_to_its_result_and_the_same_id_is_the_same_request(away: Away, far: Any) -> None:
    request = away(far.submit, "add_two", 1, two=2)
    assert away(request.result, 60) == 3
    assert away(far.result, request.id, 60) == 3
    one, same = (away(far.submit, "double", 4, id="monday") for _ in range(2))
    assert (one.id == same.id, away(same.result, 60)) == (True, 8)
    assert away(lambda: far.request(one.id).state) == "done"


def test_an_address_is_told_of_the_end_of_a_submit_that_names_it(away: Away, far: Any, wait_until: Any) -> None:
    address = Address()
    try:
        request = away(far.submit, "double", 4, callback=address.url)
        wait_until(lambda: address.told)
        assert [(one["id"], one["state"]) for one in address.told] == [(request.id, "done")]
    finally:
        address.close()


def test_what_fails_raises_with_the_traceback_of_the_task(away: Away, far: Any) -> None:
    request = away(far.submit, "double", 13)
    with pytest.raises(errors.TaskError, match=r"request \d+ of 'double': ValueError: unlucky") as failed:
        away(request.result, 60)
    assert "raise ValueError" in failed.value.__notes__[0]
    assert [row["id"] for row in away(far.requests, state="failed")] == [request.id]
    assert away(far.retry, request) == [request.id]


def test_what_waits_is_listed_and_cancelled(away: Away, far: Any, flow: Any) -> None:
    request = away(far.submit, "add_two", one=1, partial=True)
    (row,) = away(far.waiting, "add_two")
    assert (row["request"], row["arguments"]["two"]["state"]) == (request.id, "missing")
    with pytest.raises(TimeoutError, match="it goes on"):
        away(request.result, 0.05)
    assert away(far.cancel, request) == 1
    with pytest.raises(errors.RequestCancelledError):
        away(request.result, 60)
    flow.socket(ec.ask("Go on?", choices=["yes", "no"]), name="approve")
    asked = away(far.submit, "approve", 1)
    away(far.answer, asked, "yes", by="anna")
    assert away(asked.result, 60) == "yes"


def test_what_is_refused_raises_what_it_would_in_a_notebook(away: Away, far: Any, flow: Any) -> None:
    cases: list[tuple[type[Exception], str, Any]] = [
        (errors.SocketNotFoundError, "did you mean 'double'", lambda: far.submit("duble", x=1)),
        (errors.ArgumentsError, "lacks 'two'.* say partial=True", lambda: far.submit("add_two", one=1)),
        (errors.ArgumentsError, "what JSON can say", lambda: far.submit("double", x={1, 2})),
        (errors.ArgumentsError, "takes 2 arguments by position", lambda: far.submit("add_two", 1, 2, 3)),
        (errors.RequestNotFoundError, "no request 999", lambda: far.request(999)),
        (errors.RemoteError, "nothing that JSON can say", lambda: far.submit("some").result(60)),
    ]
    flow.declare(lambda: {1, 2}, "some")
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            away(call)


def test_an_address_that_leads_nowhere_is_refused_with_what_is_there(
    away: Away, flow: Any, server: tuple[str, str]
) -> None:
    base, token = server
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/ec/flows/sums"
    cases: list[tuple[type[Exception], str, str, str]] = [
        (errors.FlowNotFoundError, "no flow 'sum' at .*; there are sums", f"{base}ec/flows/sum", token),
        (errors.FlowNotFoundError, "there are sums", base, token),
        (errors.RemoteError, "is the token right", f"{base}ec/flows/sums", "wrong"),
        (errors.RemoteError, "cannot be reached", nobody, token),
        (errors.ArgumentsError, "is no address of a flow", "sums", token),
    ]
    for kind, text, address, word in cases:
        with pytest.raises(kind, match=text):
            away(ec.connect, address, token=word)
