"""Flows over REST: every verb authenticates and authorizes its caller, and answers in JSON."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial, wraps
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_escape, url_path_join
from tornado import web

from ec_jupyter.client import commands, names, outside, probe, scene
from ec_jupyter.client.client import Client
from ec_jupyter.client.duplicate import duplicate
from ec_jupyter.client.flow_index import key_of
from ec_jupyter.client.launch import running
from ec_jupyter.client.waits import wake
from ec_jupyter.errors import DeclarationError, EcError, FrameError, nearest
from ec_jupyter.flow.options import later, priority_of
from ec_jupyter.flow.schema import check_query
from ec_jupyter.server.checks import Refused, check_numbers, field, only, read_object, told
from ec_jupyter.server.flows import Flows
from ec_jupyter.server.links import CLIENT_NAME, Links

SETTING = "ec_flows"
SUBMIT = ("arguments", "id", "partial", "delay", "at", "priority", "callback")  # what a submit may bring
MOST_NAME = 200  # characters in the id that a submit may bring
MOST_SECONDS = 60  # how long an answer may wait for the end of a request


def verb_of(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None] | None]:
    """A verb: for users who may, and answered in one line where an error of ours ends it."""

    @wraps(method)
    async def heeded(self: Handler, *args: str) -> None:
        self.heed()
        await method(self, *args)

    return web.authenticated(authorized(told(heeded)))


class Handler(APIHandler):
    """What all addresses of flows have in common."""

    auth_resource = "ec_flows"

    @property
    def flows(self) -> Flows:
        """The flows of this server."""
        return self.settings[SETTING]  # type: ignore[no-any-return]

    def answer(self, reply: dict[str, Any], status: int = 200) -> None:
        """Send a reply."""
        self.set_status(status)
        self.finish(json.dumps(reply))

    @property
    def who(self) -> str | None:
        """What the server calls its user."""
        user = self.current_user
        return getattr(user, "display_name", None) or getattr(user, "username", None)

    def heed(self) -> None:
        """Refuse a query with what this address does not heed, but for a token and what keeps an answer fresh."""
        path = self.request.path.removeprefix(self.base_url.rstrip("/"))
        known = next((asked for address, asked in _asked(self.request.method) if address.fullmatch(path)), ())
        for name in self.request.query_arguments:
            if name not in (*known, "token", "_xsrf") and not name.isdecimal():
                raise Refused(400, f"there is no {name}= to ask for here; {nearest(name, known)}")

    async def body(self, *fields: str) -> dict[str, Any]:
        """The JSON object that came, which has these fields alone; a large one is read off the event loop."""
        return only(await self.flows.links.thread(read_object, self.request.body), fields)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell what went wrong, in one line."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if not isinstance(error, Refused):
            super().write_error(status_code, **kwargs)
            return
        self.finish(json.dumps({"ok": False, "error": error.text, "type": error.kind, "message": error.text}))


class DocumentHandler(Handler):
    """What HTTP has, as OpenAPI says it."""

    @verb_of
    async def get(self) -> None:
        """The document."""
        self.answer(document())


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document of these addresses."""
    return yaml.safe_load(resources.files("ec_jupyter.server").joinpath("openapi.yaml").read_text())  # type: ignore[no-any-return]


@cache
def _asked(method: str | None) -> list[tuple[re.Pattern[str], list[str]]]:
    """Addresses, and what a query to them may say, as the document has it."""
    found = []
    for path, verbs in document()["paths"].items():
        given = [*verbs.get("parameters", ()), *verbs.get(str(method).lower(), {}).get("parameters", ())]
        names = [one["name"] for one in given if one.get("in") == "query"]
        found.append((re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), names))
    return found


class NothingHandler(Handler):
    """An address that nobody has."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Say so, whatever the verb, to those who may ask."""
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(403)
        raise Refused(404, f"nothing is at {self.request.path}; GET ec/openapi.json has all addresses")


class FlowsHandler(Handler):
    """All flows under the server's root."""

    @verb_of
    async def get(self) -> None:
        """Rows of them: running or not, and their counts."""
        self.answer(await self.flows.all())


class FlowHandler(Handler):
    """One flow."""

    @verb_of
    async def get(self, key: str) -> None:
        """Its wiring, with places for a picture; of a flow that runs."""
        self.answer(await self.flows.links.ask(await self.flows.folder(key), _graph))


def _graph(client: Client) -> dict[str, Any]:
    # changes of the wiring arrive before the answer: whoever edits reads their own edit
    client.ask("ping")
    return scene.graph(client.topology, client.name)


class LifeHandler(Handler):
    """Start and end of a flow's engine."""

    @verb_of
    async def post(self, key: str, verb: str) -> None:
        """Start it if none runs, or stop it if one does."""
        folder = await self.flows.folder(key)
        was = await self.flows.links.thread(running, folder)
        starts, warnings = verb == "start", []
        if starts:
            async with self.flows.links.use(folder, start=True) as client:
                # a connection that was cut a moment ago is made again once something is asked
                await self.flows.links.thread(client.ask, "ping")
                warnings = client.warnings
        elif was:
            await self.flows.links.ask(folder, Client.end)
        if starts != was:
            self.flows.changed()
            self.flows.emit({"action": "started" if starts else "stopped", "key": key, "flow": folder.name})
        self.answer({"ok": True, "running": starts, "changed": starts != was, "warnings": warnings})


# -- a flow as a whole -------------------------------------------------------------
class ManageHandler(Handler):
    """A flow as a whole."""

    @verb_of
    async def post(self, key: str, verb: str) -> None:
        """Do it; the answer has the key of the flow that is there now, if there is one."""
        folder, body = await self.flows.folder(key), await self.body("name", "force")
        force, links = field(body, "force", bool, False), self.flows.links
        made: Path | None = folder
        if verb == "clear":
            await links.ask(folder, Client.ask, "clear", {"by": "picture"}, start=True)
        elif verb == "duplicate":
            made = await links.thread(_copied, folder, field(body, "name", str))
        else:
            target = _target(folder, field(body, "name", str)) if verb == "rename" else None
            if await links.thread(running, folder):
                left = partial(Client.end_alone, what=f"{verb}d", force=force, hint="close it there first")
                await links.ask(folder, left)
            links.forget(folder)
            made = await links.thread(_moved, folder, target)
        self.flows.changed()
        # beside the one it was: only the last part of the key is another
        beside = [*key.split(":")[:-1], key_of(PurePosixPath(), made.name)] if made else []
        self.answer({"ok": True, "key": ":".join(beside) or None})


def _target(folder: Path, name: str) -> Path:
    target = folder.with_name(names.plain_name(name, "flow"))
    if target.exists():
        raise DeclarationError(f"there is a flow {name!r} already in {folder.parent.parent.name or folder.parent}")
    return target


def _copied(folder: Path, name: str) -> Path:
    """A new flow of the same wiring, stopped."""
    target = _target(folder, name)
    executable = outside.executable_of(probe.read(folder).get("executable"))
    client = Client.open(target, name, client_name=CLIENT_NAME, executable=executable)
    try:
        duplicate(folder, client)
    except EcError:
        client.end()
        client.close()
        shutil.rmtree(target)
        raise
    client.end()
    client.close()
    return target


def _moved(folder: Path, target: Path | None) -> Path | None:
    """Under its new name, or gone."""
    if target is not None:
        return folder.rename(target)
    # gone at once, and then bit by bit
    shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}")))
    return None


# -- what is in it -----------------------------------------------------------------
class CommandsHandler(Handler):
    """What the picture asks for."""

    @verb_of
    async def post(self, key: str) -> None:
        """Do what ``op`` says with ``args``."""
        folder, body = await self.flows.folder(key), await self.body("op", "args")
        op, args = field(body, "op", str), field(body, "args", dict, {})
        check_numbers(args)
        if op == "respond":
            args = {"who": self.who, **args}
        # one that was killed is followed by another, as in a notebook; one that was stopped stays so
        acts = op not in commands.LOOKS
        start = acts and await self.flows.links.thread(probe.killed, folder)
        reply = await self.flows.links.ask(folder, commands.command, op, args, start=start, attach=acts)
        self.answer({"ok": True, **reply})


_FLAGS = ("pulse", "course")


class LookHandler(Handler):
    """Statistics of the last hour, the log, requests, what waits."""

    @verb_of
    async def get(self, key: str, what: str) -> None:
        """Answer as the command of that name does; what it takes stands in the query."""
        folder = await self.flows.folder(key)
        asked = {name: _read(name, self.get_query_argument(name)) for name in self.request.query_arguments}
        check_numbers(asked)
        try:
            check_query("the query", what, asked)
        except FrameError as error:
            raise Refused(400, str(error).replace(", or None", ""), type(error).__name__) from None
        if what == "requests":
            asked["newest"] = True
        reply = await self.flows.links.ask(folder, commands.command, what, asked)
        self.answer({"ok": True, **reply})


def _read(name: str, text: str) -> Any:
    """What a word of a query says: a number, true or false, a place in the log, or the text that it is."""
    if name in _FLAGS:
        return text in ("", "1", "true")
    if name in ("older", "newer"):
        return read_object(text.encode(), f"what {name}= takes")
    return int(text) if name in ("run", "request", "limit") and text.isdecimal() else text


class SocketHandler(Handler):
    """One socket: whoever may write to the server can give it work."""

    @verb_of
    async def post(self, key: str, name: str) -> None:
        """Submit a request; the answer says that it is on disk."""
        folder, body = await self.flows.folder(key), await self.body(*SUBMIT)
        arguments, submit_id = field(body, "arguments", dict, {}), field(body, "id", str, None)
        how: dict[str, Any] = {"partial": field(body, "partial", bool, False)}
        how["at"] = later(body.get("delay"), body.get("at"), time.time())
        how |= {"priority": priority_of(body.get("priority", 0)), "callback": field(body, "callback", str, None)}
        if submit_id is not None and not 0 < len(submit_id) <= MOST_NAME:
            raise Refused(400, f"the field 'id' is to have 1 to {MOST_NAME} characters, not {len(submit_id)}")
        # the next use of a flow starts its engine, here as in a notebook
        submit = partial(outside.submit, **how)
        request = await self.flows.links.ask(folder, submit, name, arguments, submit_id, start=True)
        location = url_path_join(self.base_url, "ec/flows", url_escape(key), "requests", str(request))
        self.set_header("Location", location)
        self.answer({"ok": True, "id": request, "location": location}, 202)


class RequestHandler(Handler):
    """One request."""

    @verb_of
    async def get(self, key: str, number: str) -> None:
        """Its state; its result, as far as JSON can say it; its error."""
        folder, request = await self.flows.folder(key), int(number)
        thread, seconds = self.flows.links.thread, _seconds(self.get_query_argument("wait", "0"))
        if not await thread(running, folder):
            # looking starts nothing
            self.answer({**await thread(outside.row_at_rest, folder, request), "running": False})
            return
        async with self.flows.links.use(folder) as client:
            if seconds:
                await _ended(client, request, seconds, self.flows.links)
            self.answer({**await thread(outside.row, client, request), "running": True})


def _seconds(text: str) -> float:
    """How long an answer may wait for the end of a request."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= MOST_SECONDS:
        raise Refused(400, f"wait is to be seconds, from 0 to {MOST_SECONDS}, not {text[:40]!r}")
    return found


async def _ended(client: Client, request: int, seconds: float, links: Links) -> None:
    """Return once a request has ended, or after so many seconds; no thread waits meanwhile."""
    await links.thread(client.row, request)
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    client.finished(request).add_done_callback(lambda _: wake(loop, ended.set))
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), seconds)


class AnswerHandler(Handler):
    """What a request asks a person."""

    @verb_of
    async def post(self, key: str, number: str) -> None:
        """Answer it; the answer is its result, once."""
        folder, body = await self.flows.folder(key), await self.body("answer", "by")
        said, who = field(body, "answer", object), field(body, "by", str, None)
        respond = partial(commands.respond, by="picture")
        await self.flows.links.ask(folder, respond, int(number), said, who or self.who, start=True)
        self.answer({"ok": True})
