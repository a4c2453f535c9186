"""Whether a flow may run: its folder is where it was made, by this person, or the person has said that it may.

A flow's folder holds code, and names programs and hosts; whoever opens it runs those. So a folder that
is made here is signed with a secret of the person's, which is nowhere in a flow. What is signed is
which folder it is, not what is in it: a copy, or what came in an archive, has no such signature.
"""

from __future__ import annotations

import hmac
import json
import os
import pwd
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ec_jupyter.engine import open_lots
from ec_jupyter.engine.folder import FLOWS, Folder
from ec_jupyter.errors import StoreError, UntrustedFlowError
from ec_jupyter.nodes import bootstrap

PLACE = "flow.place"  # file in the flow's folder: which folder it is, signed
SECRET = "secret"
SECRET_BYTES = 32
_SHOWN = 6  # names in a message

Facts = dict[str, Any]


def check(folder: Folder, path: Path) -> None:
    """See whether a flow may run here. Raises UntrustedFlowError: the person has not said so; says what would."""
    signed = _signed(folder)
    if signed is not None and _same(signed, _facts(folder, path)):
        if signed["path"] != str(path) or signed["device"] != _facts(folder, path)["device"]:
            trust(folder, path)  # it was moved
    elif _fresh(folder) and _own(folder, path):
        trust(folder, path)
    else:
        raise UntrustedFlowError(_refusal(folder, path))


def trusted(path: Path) -> None:
    """As `check`, for a flow that is only looked at. Raises UntrustedFlowError: it may not run."""
    try:
        with Folder(path) as folder:
            check(folder, path)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"the flow's folder {path} cannot be read: {error.strerror}") from error


def trust(folder: Folder, path: Path) -> None:
    """Let the flow in this folder run, from now on."""
    facts = _facts(folder, path)
    folder.write(PLACE, json.dumps(facts | {"signature": _signature(facts)}).encode())


def _facts(folder: Folder, path: Path) -> Facts:
    device, _, inode = folder.identity.partition(":")
    return {"path": str(path), "device": device, "inode": inode, "owner": folder.owner}


def _same(signed: Facts, here: Facts) -> bool:
    """Whether it is the folder that was signed: moved, or on a device that has another number since the last start."""
    same = [key for key in here if signed.get(key) == here[key]]
    return {"inode", "owner"} <= set(same) and len(same) >= len(here) - 1


def _signed(folder: Folder) -> Facts | None:
    """What was signed in a folder, if it was with this person's secret."""
    found = _said(folder)
    signature = str(found.pop("signature", ""))
    good = hmac.compare_digest(signature.encode(errors="replace"), _signature(found).encode())
    return found if good else None


def _said(folder: Folder) -> Facts:
    try:
        found = json.loads(folder.read(PLACE, limit=1 << 16))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _signature(facts: Facts) -> str:
    text = json.dumps(facts, sort_keys=True)
    return hmac.new(_secret(), text.encode(), "sha256").hexdigest()


def _secret() -> bytes:
    """The person's secret; made if there is none."""
    last = ""
    for place in _states():
        try:
            with Folder(Path(bootstrap.private(place))) as folder:
                return _kept(folder)
        except OSError as error:
            last = str(error)
    raise StoreError(f"no folder for this user's secret can be made ({last}); set XDG_STATE_HOME to one of your own")


def _states() -> Iterator[str]:
    """Folders that the secret may be in, the first that can be used."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    if os.path.isabs(home) and _owner_of(os.path.expanduser("~")) in (None, os.getuid()):
        yield os.path.join(home, "ec_jupyter")
    yield os.path.join(bootstrap.base(), "state")


def _owner_of(path: str) -> int | None:
    with suppress(OSError):
        return os.stat(path).st_uid
    return None


def _kept(folder: Folder) -> bytes:
    with suppress(FileNotFoundError):
        return folder.read(SECRET)
    beside = f"{SECRET}.{os.getpid()}.{secrets.token_hex(4)}"
    folder.write(beside, secrets.token_bytes(SECRET_BYTES))
    with suppress(FileExistsError):
        # whoever is first: all sign with one
        os.link(beside, SECRET, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
    folder.remove(beside)
    return folder.read(SECRET)


def _fresh(folder: Folder) -> bool:
    """Whether nothing of a flow is in a folder, whatever else a person keeps there."""
    names = {name for name in os.listdir(folder.fd) if not name.startswith(PLACE)}
    return not any(name.startswith(("flow.", "engine.")) for name in names) and not any(
        _filled(folder, name) for name in ("values", "inbox")
    )


def _filled(folder: Folder, name: str) -> bool:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return bool(os.listdir(fd))
    finally:
        os.close(fd)


def check_links(path: Path) -> None:
    """See that no link on the way to a flow is another user's. Raises UntrustedFlowError: one is."""
    for place in (path, path.parent) if path.parent.name == FLOWS else (path,):
        if place.is_symlink() and (owner := os.lstat(place).st_uid) not in (0, os.getuid()):
            text = f"{place} is a link of {_user(owner)}, who can let it lead elsewhere at any time"
            raise UntrustedFlowError(f"{text}; open the folder itself: ec.flow(folder={str(path.resolve())!r})")


def _own(folder: Folder, path: Path) -> bool:
    """Whether a folder, and the one beside the notebook that holds it, are this person's."""
    return folder.owner == os.getuid() and stranger_above(path) is None


def stranger_above(path: Path) -> int | None:
    """The user that the folder of flows around `path` belongs to, if that could put another flow in its place."""
    if path.parent.name != FLOWS:
        return None
    owner = os.lstat(path.parent).st_uid
    return None if owner in (0, os.getuid()) else owner


# -- the words ---------------------------------------------------------------
def _refusal(folder: Folder, path: Path) -> str:
    call = repr(path.name) if path.parent.name == FLOWS else f"folder={str(path)!r}"
    return f"{_why(folder, path)}. {_what(path)} If you trust it, say so once: ec.flow({call}, trust=True)"


def _why(folder: Folder, path: Path) -> str:
    owner = stranger_above(path)
    if folder.owner != os.getuid():
        return f"flow {path.name!r} in {path} belongs to {_user(folder.owner)}, not to you"
    if owner is not None:
        return f"flow {path.name!r} in {path.parent} is in a folder of {_user(owner)}, who can put another in its place"
    origin = _said(folder).get("path")
    came = f"; it came from {origin}" if isinstance(origin, str) and origin != str(path) else ""
    return f"flow {path.name!r} was not made by you in {path}{came}"


def _user(uid: int) -> str:
    with suppress(KeyError):
        return f"user {pwd.getpwuid(uid).pw_name!r}"
    return f"user {uid}"


def _what(path: Path) -> str:
    """What would run if the flow were opened."""
    if not (path / "flow.db").exists():
        return "No database is in it."
    # without a log it can be read with no file made beside it
    how = "mode=ro" if (path / "flow.db-wal").exists() else "mode=ro&immutable=1"
    try:
        with closing(open_lots.reading(path, 2, how)) as db:
            open_lots.show(db)
            sockets = [str(name) for (name,) in db.execute("SELECT name FROM socket ORDER BY id")]
            nodes = [str(name) for (name,) in db.execute("SELECT name FROM node ORDER BY name")]
            (queued,) = db.execute("SELECT count(*) FROM request WHERE state IN ('queued', 'running')").fetchone()
    except (sqlite3.Error, ValueError):
        return "Opening it runs what it holds, with your rights; what that is cannot be read."
    requests = f"{queued} queued request{'' if queued == 1 else 's'} at once"
    parts = [f"the tasks of {_listed('socket', sockets)}", requests]
    if nodes:
        parts.append(f"programs that reach {_listed('node', nodes)}")
    return f"Opening it runs with your rights what is in it: {', '.join(parts)}."


def _listed(kind: str, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    shown = f" ({', '.join(name[:60] for name in names[:_SHOWN])}{more})" if names else ""
    return f"{len(names)} {kind}{'' if len(names) == 1 else 's'}{shown}"
