"""Tombstones that waited to know what can still come, decided once something of their party has ended."""

from __future__ import annotations

import sqlite3

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.suspects import PARTY
from ec_jupyter.flow.tag import from_text


def settle(core: Core) -> None:
    """Decide them; that reads the disk, so it writes first.

    Raises sqlite3.OperationalError: the disk takes nothing; another time.
    """
    touched, core.touched = core.touched, set()
    while touched := touched.intersection(core.joins.undecided):
        try:
            core.journal.commit()
        except sqlite3.OperationalError:
            core.touched |= touched
            raise
        for party in touched:
            core.suspects.begin(PARTY, party)
            found = core.store.rows("unfinished_of_party", {"party": party})
            rows = [(socket, from_text(tag), state) for socket, tag, state in found]
            failed = [(socket, tag) for socket, tag, state in rows if state == "failed"]
            tokens = [(socket, tag) for socket, tag, _ in rows] + core.evaluation.tokens(party)
            core.joins.settle(party, tokens, failed)
        core.suspects.end()
        if not core.absorb():
            return
