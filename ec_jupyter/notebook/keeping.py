"""The part of a flow that says what stays of it on the disk, and lets go of the rest."""

from __future__ import annotations

from datetime import timedelta

from ec_jupyter.client.client import Client
from ec_jupyter.flow.options import KEEP, checked_kind


class Keeping:
    """What `Flow` can do about what has ended."""

    _client: Client

    def keep(
        self, time: str | float | timedelta | None = None, *, runs: int | None = None, size: str | int | None = None,
        failed: str | float | timedelta | None = None,
    ) -> None:  # fmt: skip
        """Have ended runs go by themselves, the oldest first; what is not limited here stays for good.

        A run goes as a whole, with its requests, values and output, once all of it was done, skipped or cancelled and
        one of the limits is passed. It stays while something of it waits, while a replay of it is there, or a call of
        another run that took one of its values; so does what came to an argument that is held, or joins by ``latest``.
        One of which a call has failed stays as well, but for `failed`. Runs that begin at a socket with ``keep=``
        follow that in place of `time` and `runs`. `gc` lets go at once of what may; `kept` tells the limits.

        Parameters
        ----------
        time : str, float or timedelta, optional
            Those that have ended within so long: ``"30d"``, or seconds.
        runs : int, optional
            So many of the newest.
        size : str or int, optional
            As many as there is room for in so much of database and values: ``"2 GB"``, or bytes.
        failed : str, float or timedelta, optional
            Those of which a call has failed, where nothing has ended for so long: nobody has retried it. Whatever the
            other limits say, these go then.

        Raises
        ------
        DeclarationError
            One of them is none of that; nothing has changed.
        """
        given = {"time": time, "runs": runs, "size": size, "failed": failed}
        read = {word: KEEP[word](value, "flow.keep", word) for word, value in given.items()}
        self._client.ask("keep", {"seconds": read.pop("time"), "bytes": read.pop("size"), **read})

    def kept(self) -> dict[str, float | None]:
        """What `keep` was told last: ``time``, ``failed`` in seconds, ``runs``, ``size`` in bytes; None: no limit."""
        limits = self._client.ask("keep", {"only": True})[0]["keep"]
        return {"time": limits["seconds"], "runs": limits["runs"], "size": limits["bytes"], "failed": limits["failed"]}

    def size(self) -> int:
        """Bytes of the flow on the disk: of its database, as far as that is in use, and of its values."""
        return int(self._client.ask("keep", {"only": True})[0]["bytes"])

    def gc(self, *, dry: bool = False) -> dict[str, int]:
        """Remove the files of values that were thrown away, and what killed calls left; how many, and their bytes.

        What a request came to or was called with stays, as long as `keep` keeps the request. With `dry` nothing is
        removed: it tells what would be.
        """
        reply, _ = self._client.ask("gc", {"dry": checked_kind(dry, "dry", bool)}, timeout=None)
        return {"files": reply["files"], "bytes": reply["bytes"]}

    def clear(self) -> None:
        """Empty the flow: every request and waiting value goes, the wiring stays."""
        self._client.ask("clear", {"by": "code"}, timeout=None)
