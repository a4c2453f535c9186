"""A Jupyter server in this process with the extension, over a root folder with flows that are real."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# by name: its hooks would run the coroutines of all tests in this folder on a loop of their own
from pytest_jupyter.jupyter_server import (  # noqa: F401
    echo_kernel_spec,
    http_server,
    http_server_client,
    http_server_port,
    jp_argv,
    jp_asyncio_loop,
    jp_auth_header,
    jp_base_url,
    jp_config_dir,
    jp_configurable_serverapp,
    jp_data_dir,
    jp_env_config_path,
    jp_env_jupyter_path,
    jp_environ,
    jp_fetch,
    jp_home_dir,
    jp_http_port,
    jp_kernel_dir,
    jp_logging_stream,
    jp_nbconvert_templates,
    jp_root_dir,
    jp_runtime_dir,
    jp_serverapp,
    jp_system_config_path,
    jp_system_jupyter_path,
    jp_web_app,
    jp_ws_fetch,
)
from tornado.httpclient import HTTPClientError

from ec_jupyter.client import probe
from ec_jupyter.notebook.flow import Flow, open_flow
from ec_jupyter.server.extension import SETTING
from tests.server import contract


@pytest.fixture(autouse=True)
def everybody_is_asked_who_he_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # an address that forgot to would be reported as a warning, and warnings are errors
    monkeypatch.setenv("JUPYTER_SERVER_ALLOW_UNAUTHENTICATED_ACCESS", "0")


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"ec_jupyter.server": True, "jupyter_server_terminals": False}}}


def declare(flow: Flow) -> None:
    def add_two(one: int, two: int) -> int:
        """Sum of two numbers."""
        return one + two

    def double(x):
        if x == 13:
            raise ValueError("unlucky")
        return 2 * x

    def kind(value):
        return type(value).__name__

    for task in (add_two, double, kind):
        # as of a notebook: a worker does not look for them in this module
        task.__module__ = "__main__"
        flow.declare(task, task.__name__)
    flow.plug("add_two", "double.x")


def end(flow: Flow) -> None:
    """End the flow's engine, whoever started it."""
    flow.close()
    answer = probe.ask(flow.folder)
    if answer:
        os.kill(answer["engine"], signal.SIGKILL)


@pytest.fixture
def flow(jp_root_dir: Path) -> Iterator[Flow]:  # noqa: F811
    """A flow beside the notebooks of the root: ``add_two`` plugged into ``double``, and ``kind``."""
    flow = open_flow("sums", folder=jp_root_dir / ".ec_jupyter" / "sums")
    try:
        declare(flow)
        yield flow
    finally:
        end(flow)


class Web:
    """Speaks to the server, whose loop runs while somebody waits here, and takes its answers apart."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: Any, fetch: Any, connect: Any) -> None:
        self.loop, self.app = loop, app
        self._fetch, self._connect = fetch, connect
        self._open: list[Any] = []
        self.headers: dict[str, str] = {}

    @property
    def flows(self) -> Any:
        """What the extension knows."""
        return self.app.web_app.settings[SETTING]

    def __call__(self, *parts: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and JSON of the answer, which are as the OpenAPI document says; a body makes it a POST."""
        if body is not None:
            options |= {"method": "POST", "body": body if isinstance(body, str | bytes) else json.dumps(body)}
        try:
            response = self.loop.run_until_complete(self._fetch("ec", *parts, request_timeout=60, **options))
        except HTTPClientError as error:
            if error.response is None:
                raise
            response = error.response
        self.headers = dict(response.headers)
        answer = json.loads(response.body)
        contract.check(options.get("method", "GET"), parts, options, response.code, answer)
        return response.code, answer

    def good(self, *parts: str, **options: Any) -> Any:
        """The answer to what goes well."""
        status, found = self(*parts, **options)
        assert status in (200, 202), found
        return found

    def until(self, *parts: str, claim: Callable[[Any], Any]) -> Any:
        """The first answer of which `claim` is true; within a minute."""
        for _ in range(600):
            status, found = self(*parts)
            if claim(found):
                return found
            self.loop.run_until_complete(asyncio.sleep(0.1))
        raise AssertionError(f"not so within a minute: {status} {found}")

    def live(self, key: str, **options: Any) -> Any:
        """A websocket that looks at a flow."""
        opened = self.loop.run_until_complete(self._connect("ec", "flows", key, "live", **options))
        self._open.append(opened)
        return opened

    def next(self, socket: Any, claim: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The next message of which `claim` is true; within a minute."""

        async def look() -> dict[str, Any]:
            while True:
                text = await socket.read_message()
                assert text is not None, "the server closed the websocket"
                found = json.loads(text)
                if claim(found):
                    return found

        return self.loop.run_until_complete(asyncio.wait_for(look(), 60))

    def taken_in(self, socket: Any) -> None:
        """Wait until the server has read all that was sent to it: it answers a ping after that."""
        answered = asyncio.Event()
        socket.on_pong = lambda data: answered.set()
        socket.ping()
        self.loop.run_until_complete(asyncio.wait_for(answered.wait(), 60))

    def close(self) -> None:
        for socket in self._open:
            socket.close()
        # the server sees that its pages have gone
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.flows.close()


@pytest.fixture
def web(jp_asyncio_loop: Any, jp_serverapp: Any, jp_fetch: Any, jp_ws_fetch: Any) -> Iterator[Web]:  # noqa: F811
    web = Web(jp_asyncio_loop, jp_serverapp, jp_fetch, jp_ws_fetch)
    yield web
    web.close()
