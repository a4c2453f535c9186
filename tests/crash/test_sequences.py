"""Whatever is done to a flow, in whatever order: it opens, every view answers, and nothing accepted is lost.

``EC_SEQUENCES`` sets how many sequences are tried, ``EC_FIRST_SEQUENCE`` from which seed on.
"""

from __future__ import annotations

import os

import pytest

from tests.crash.sequences import Sequence

FIRST = int(os.environ.get("EC_FIRST_SEQUENCE", "0"))
SEEDS = int(os.environ.get("EC_SEQUENCES", "4"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_whatever_is_done_in_whatever_order_the_flow_opens_and_nothing_accepted_is_lost(flow, seed):
    sequence = Sequence(flow, seed)
    try:
        sequence.run(30)
    except BaseException as error:
        error.add_note("\n".join(sequence.done))
        raise
