"""A flow behind a Jupyter server, from any Python program; values are what JSON can say."""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ec_jupyter.client.texts import skipped_text
from ec_jupyter.client.waits import Deadline
from ec_jupyter.errors import (
    ArgumentsError,
    FlowNotFoundError,
    RemoteError,
    RequestCancelledError,
    RequestSkippedError,
    TaskError,
    from_wire,
)
from ec_jupyter.flow.states import ENDED

# seconds for which the server is asked to wait at a time; less than what lies between cuts a silent connection for
LONG_POLL = 30.0
SLACK = 15.0  # seconds that an answer may take beyond what the server was asked to wait
Row = dict[str, Any]


def connect(address: str, *, token: str | None = None, timeout: float = 60.0) -> RemoteFlow:
    """A flow on a Jupyter server, to be given work and looked at over HTTP.

    Parameters
    ----------
    address : str
        Of the flow: ``"http://localhost:8888/ec/flows/sums"``. What it is called there, ``GET ec/flows`` tells.
    token : str, optional
        The server's.
    timeout : float
        Seconds that an answer may take.

    Returns
    -------
    RemoteFlow
        Nothing of it stays open.

    Raises
    ------
    ArgumentsError
        It is no address of a flow.
    FlowNotFoundError
        The server has none there; the text names those it has.
    RemoteError
        The server cannot be reached, or does not let us in.
    """
    parts = urlsplit(address.rstrip("/"))
    base, found, key = parts.path.rpartition("/ec/flows")
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
        raise ArgumentsError(f"{address!r} is no address of a flow, such as http://localhost:8888/ec/flows/sums")
    server = Server(f"{parts.scheme}://{parts.netloc}{base if found else parts.path}", token, timeout)
    known = [row["key"] for row in server.ask("GET", "ec/flows")["flows"]]
    if key.strip("/") not in known:
        rest = f"there are {', '.join(known)}" if known else "there is none"
        raise FlowNotFoundError(f"no flow {key.strip('/')!r} at {server.base}/ec/flows; {rest}")
    return RemoteFlow(server, key.strip("/"))


class Server:
    """Asks a Jupyter server, and takes its answers apart."""

    def __init__(self, base: str, token: str | None, timeout: float) -> None:
        self.base, self.timeout = base, timeout
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"token {token}"} if token else {})

    def ask(self, verb: str, path: str, body: Row | None = None, *, waits: float = 0.0, **query: Any) -> Row:
        """The answer to a question.

        Raises
        ------
        EcError
            What the server refused, as the class that it names.
        RemoteError
            It cannot be reached, or says nothing that can be read.
        """
        given = urlencode({name: value for name, value in query.items() if value is not None})
        address = f"{self.base}/{path}{f'?{given}' if given else ''}"
        try:
            data = None if body is None else json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentsError(f"values for a flow behind a server are what JSON can say: {error}") from None
        asked = urllib.request.Request(address, data, self._headers, method=verb)
        try:
            with urllib.request.urlopen(asked, timeout=self.timeout + waits) as answer:
                return _read(answer.read(), address)
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.read(), error.code, address) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise RemoteError(f"{self.base} cannot be reached ({reason})") from None


def _read(data: bytes, address: str) -> Row:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RemoteError(f"what answers at {address} is no Jupyter server with ec_jupyter")
    return found


def _refused(data: bytes, status: int, address: str) -> Exception:
    try:
        said = json.loads(data)
        text, kind = str(said["error"]), str(said["type"])
    except (ValueError, KeyError, TypeError):
        hint = ": is the token right?" if status in (401, 403) else ""
        return RemoteError(f"{address} is refused with {status}{hint}")
    # said in JSON's words, and read by who writes Python
    text = re.sub(r'"(\w+)": true\b', r"\1=True", text)
    return from_wire({"type": kind, "message": text}) if kind.endswith("Error") else RemoteError(text)


class RemoteFlow:
    """A flow behind a Jupyter server; made by `ec_jupyter.connect`.

    Attributes
    ----------
    key : str
        What the server calls it.
    """

    def __init__(self, server: Server, key: str) -> None:
        self._server, self.key = server, key

    def _ask(self, verb: str, path: str, body: Row | None = None, *, waits: float = 0.0, **query: Any) -> Row:
        return self._server.ask(verb, f"ec/flows/{self.key}/{path}".rstrip("/"), body, waits=waits, **query)

    def submit(
        self,
        socket: str,
        /,
        *values: Any,
        id: str | None = None,
        partial: bool = False,
        delay: float | str | None = None,
        at: float | str | None = None,
        priority: int = 0,
        callback: str | None = None,
        **arguments: Any,
    ) -> RemoteRequest:
        """One call of a socket; it is on the disk of the flow when this returns.

        Parameters
        ----------
        socket : str
            What to call.
        *values, **arguments
            Its arguments, as far as JSON can say them.
        id : str, optional
            The same id at the same socket again is the same request: a submit that was cut off may be repeated.
        partial : bool
            Arguments are missing on purpose.
        delay, at : optional
            Start it so much later, or then.
        priority : int
            Calls of its run go before others, from -100 to 100.
        callback : str, optional
            An address that is told of its end, by a POST from the flow's engine.

        Raises
        ------
        SocketNotFoundError, ArgumentsError
            There is no such socket, or it has no such arguments, or lacks some; nothing was submitted.
        RemoteError
            The server cannot be reached; whether anything was submitted is not known.
        """
        given = {**dict(self._positional(socket, values)), **arguments}
        body = {"arguments": given, "id": id, "partial": partial, "delay": delay, "at": at}
        body |= {"priority": priority, "callback": callback}
        said = {name: value for name, value in body.items() if value not in (None, False)}
        answer = self._ask("POST", f"sockets/{quote(socket, safe='')}", said)
        return RemoteRequest(self, int(answer["id"]))

    def _positional(self, socket: str, values: tuple[Any, ...]) -> list[tuple[str, Any]]:
        """Names of arguments that were given by position."""
        if not values:
            return []
        known = self.wiring()["sockets"].get(socket, {}).get("task", {}).get("signature", ())
        names = [one["name"] for one in known if one["kind"].startswith("POSITIONAL")]
        if len(names) < len(values):
            raise ArgumentsError(f"{socket!r} takes {len(names)} arguments by position, not {len(values)}")
        return list(zip(names, values, strict=False))

    def request(self, id: int) -> RemoteRequest:
        """The request of that number.

        Raises
        ------
        RequestNotFoundError
            The flow has none.
        """
        found = RemoteRequest(self, id)
        found.row()
        return found

    def result(self, request: RemoteRequest | int, timeout: float | None = None) -> Any:
        """What a request came to; see `RemoteRequest.result`."""
        one = request if isinstance(request, RemoteRequest) else RemoteRequest(self, request)
        return one.result(timeout)

    def requests(
        self, socket: str | None = None, *, state: str | None = None, run: int | None = None, limit: int = 100
    ) -> list[Row]:
        """Rows of the newest requests, oldest of them first; of a flow that runs."""
        found = self._ask("GET", "requests", socket=socket, state=state, run=run, limit=limit)["rows"]
        return list(reversed(found))

    def waiting(self, socket: str | None = None) -> list[Row]:
        """Rows of what has arrived and waits for the rest of its call, or for a person; of a flow that runs."""
        return list(self._ask("GET", "waiting", socket=socket)["rows"])

    def wiring(self) -> Row:
        """Sockets with their arguments, plugs, processors and nodes; of a flow that runs."""
        return self._ask("GET", "")

    def answer(self, request: RemoteRequest | int, value: Any, *, by: str | None = None) -> None:
        """Answer what a request asks a person; the answer is its result, once."""
        self._ask("POST", f"requests/{_number(request)}/answer", {"answer": value, "by": by})

    def retry(self, *requests: RemoteRequest | int) -> list[int]:
        """Run failed requests again; the numbers of those that do."""
        return list(self._command("retry", requests)["ids"])

    def cancel(self, *requests: RemoteRequest | int) -> int:
        """Cancel what has not ended; how many that were."""
        return int(self._command("cancel", requests)["cancelled"])

    def _command(self, op: str, requests: tuple[RemoteRequest | int, ...]) -> Row:
        return self._ask("POST", "commands", {"op": op, "args": {"ids": [_number(one) for one in requests]}})

    def __repr__(self) -> str:
        return f"<flow {self.key!r} at {self._server.base}>"


class RemoteRequest:
    """A request of a flow behind a server.

    Attributes
    ----------
    id : int
        Its number.
    """

    def __init__(self, flow: RemoteFlow, id: int) -> None:
        self._flow, self.id = flow, id

    def row(self) -> Row:
        """What is known of it now: its ``state``, ``attempt``, times, ``error``."""
        return self._flow._ask("GET", f"requests/{self.id}")

    @property
    def state(self) -> str:
        """Its state now."""
        return str(self.row()["state"])

    def result(self, timeout: float | None = None) -> Any:
        """What it came to, as JSON says it; blocks until it has ended.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait.

        Raises
        ------
        TaskError, RequestCancelledError, RequestSkippedError
            It has none; the traceback of a failure is a note of the error.
        EngineLostError
            The flow does not run, so that nothing can be waited for; a submit starts it.
        RemoteError
            JSON cannot say it; the text shows it.
        TimeoutError
            It has not ended after `timeout` seconds; it goes on.
        """
        deadline = Deadline(timeout)
        while True:
            left = min(LONG_POLL, math.inf if deadline.left is None else deadline.left)
            row = self._flow._ask("GET", f"requests/{self.id}", waits=left + SLACK, wait=round(left, 3))
            if row["state"] in ENDED:
                return _value(row)
            if not row["running"]:
                raise from_wire({"type": "EngineLostError", "message": f"the flow of request {self.id} does not run"})
            if deadline.over:
                raise TimeoutError(f"request {self.id} has not ended after {timeout:g} s; it goes on")

    def __repr__(self) -> str:
        return f"<request {self.id} of {self._flow!r}>"


def _number(request: RemoteRequest | int) -> int:
    return request.id if isinstance(request, RemoteRequest) else request


def _value(row: Row) -> Any:
    where, error = f"request {row['id']} of {row['socket']!r}", row.get("error") or {}
    if row["state"] == "cancelled":
        raise RequestCancelledError(f"{where} was cancelled")
    if row["state"] == "skipped":
        raise RequestSkippedError(f"{where} was skipped: {skipped_text(row)}")
    if row["state"] == "failed":
        failure = TaskError(f"{where}: {error.get('type', 'error')}: {error.get('message', 'it failed')}")
        if error.get("traceback"):
            failure.add_note(error["traceback"].rstrip())
        raise failure
    if "result" not in row:
        shown = row.get("problem") or (row.get("preview") or {}).get("text")
        raise RemoteError(f"the result of {where} is nothing that JSON can say: {shown}")
    return row["result"]
