"""Whatever a client says: what is wrong with it is that client's error."""

from __future__ import annotations

import math

import pytest

from ec_jupyter.errors import DeclarationError
from tests.crash.flowkit import ask, socket_change


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"k": "query", "what": "requests", "limit": "x"}, "limit is to be a whole number from 1 on, or None"),
        ({"k": "query", "what": "requests", "limit": math.nan}, "a question for 'requests': limit is to be"),
        ({"k": "ping", "more": 2**64}, "a whole number has more than 64 bits"),
        ({"k": "discard", "arrival": "3"}, "arrival is to be a whole number, or None, not '3'"),
        ({"k": "edit", "changes": [{"op": "processor", "name": "p", "cpus": 2**40}]}, "cpus= takes a whole number"),
        ({"k": "edit", "changes": [{"op": "processor", "name": "p", "cpus": 1e23}]}, "processor 'p': cpus= takes"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named_with_what_it_takes(flow, header, said):
    assert said in ask(flow, header)


def test_a_call_may_be_tried_again_more_than_a_thousand_times(flow):
    change, blob = socket_change(lambda x: 1 / 0, "a", retries=1100, backoff=0)
    flow.edit(change, blobs=[blob])
    row = flow.row(flow.submit("a", x=1))
    assert (row["state"], row["attempt"]) == ("failed", 1101)
    with pytest.raises(DeclarationError, match="retries= takes a whole number"):
        flow.edit({**change, "retries": 2**40, "blob": None})
