"""Joins the server: addresses under ``/ec``, and one kind of event."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.utils import url_path_join

from ec_jupyter.client.flow_index import PATTERN
from ec_jupyter.server import agents, handlers, live
from ec_jupyter.server.flows import EVENTS, Flows

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

SETTING = handlers.SETTING


def load(app: ServerApp) -> None:
    """Add the extension to a server."""
    flows = app.web_app.settings[SETTING] = Flows(Path(app.root_dir), _emitter(app))
    # the server has no word for extensions of this form when it stops; its process ends right after
    atexit.register(_close, weakref.ref(flows))
    base = url_path_join(app.web_app.settings["base_url"], "ec")
    served = [*routes(), (".*", handlers.NothingHandler)]
    app.web_app.add_handlers(".*$", [(url_path_join(base, path), handler) for path, handler in served])  # type: ignore[no-untyped-call]


def routes() -> list[tuple[str, type]]:
    """Patterns of the addresses under ``/ec``, and who answers there; `openapi.yaml` describes each."""
    socket, request = r"([^/]+)", r"([0-9]{1,18})"
    return [
        ("openapi.json", handlers.DocumentHandler),
        ("flows", handlers.FlowsHandler),
        (f"flows/{PATTERN}", handlers.FlowHandler),
        (f"flows/{PATTERN}/(start|stop)", handlers.LifeHandler),
        (f"flows/{PATTERN}/(rename|duplicate|clear|delete)", handlers.ManageHandler),
        (f"flows/{PATTERN}/commands", handlers.CommandsHandler),
        (f"flows/{PATTERN}/(statistics|log|requests|waiting)", handlers.LookHandler),
        (f"flows/{PATTERN}/sockets/{socket}", handlers.SocketHandler),
        (f"flows/{PATTERN}/requests/{request}", handlers.RequestHandler),
        (f"flows/{PATTERN}/requests/{request}/answer", handlers.AnswerHandler),
        (f"flows/{PATTERN}/mcp", agents.AgentHandler),
        (f"flows/{PATTERN}/live", live.LiveHandler),
        (f"flows/{PATTERN}/events", live.EventsHandler),
    ]


def _emitter(app: ServerApp) -> Callable[[dict[str, Any]], object]:
    """Takes the data of an event to whoever listens to the server's."""
    logger = app.event_logger
    if logger is None:
        return lambda data: None
    logger.register_event_schema(resources.files("ec_jupyter.server").joinpath("events/flow.yaml").read_text())
    return lambda data: logger.emit(schema_id=EVENTS, data=data)


def _close(flows: weakref.ref[Flows]) -> None:
    found = flows()
    if found is not None:
        found.close()
