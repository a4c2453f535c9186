"""What is done to a flow as a whole, from the list of flows: renamed, copied, emptied, deleted."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path, PurePosixPath

from ec_jupyter.client import names, probe
from ec_jupyter.client.client import Client
from ec_jupyter.client.duplicate import duplicate
from ec_jupyter.client.flow_index import key_of
from ec_jupyter.client.launch import running
from ec_jupyter.client.outside import executable_of
from ec_jupyter.errors import DeclarationError, EcError
from ec_jupyter.server.checks import field
from ec_jupyter.server.handlers import Handler, verb_of
from ec_jupyter.server.links import CLIENT_NAME

VERBS = "rename|duplicate|clear|delete"


class ManageHandler(Handler):
    """A flow as a whole."""

    @verb_of
    async def post(self, key: str, verb: str) -> None:
        """Do it; the answer has the key of the flow that is there now, if there is one."""
        folder, body = await self.flows.folder(key), await self.body("name", "force")
        force, links = field(body, "force", bool, False), self.flows.links
        made: Path | None = folder
        if verb == "clear":
            async with links.use(folder, start=True) as client:
                await links.thread(client.ask, "clear", {"by": "picture"})
        elif verb == "duplicate":
            made = await links.thread(_copied, folder, field(body, "name", str))
        else:
            target = _target(folder, field(body, "name", str)) if verb == "rename" else None
            if await links.thread(running, folder):
                async with links.use(folder) as client:
                    left = partial(client.end_alone, f"{verb}d", force=force, hint="close it there first")
                    await links.thread(left)
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
    executable = executable_of(probe.read(folder).get("executable"))
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
