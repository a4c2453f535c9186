"""Records that travel in columns are the records that were sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ec_jupyter.wire import packed, unpacked


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{"id": 1, "error": None}],
        [{"id": 1, "names": ["x"]}, {"id": 2, "names": ["x"]}],
        [{"state": "done"}, {"state": "done"}, {"state": "done"}],
        [{"id": 1, "error": None}, {"id": 2, "error": {"type": "ValueError"}}, {"id": 3, "error": None}],
    ],
)
def test_records_come_out_of_a_frame_as_they_went_in(records: list[dict[str, Any]]) -> None:
    columns = {name: [record[name] for record in records] for name in (records[0] if records else ["id"])}
    assert unpacked(json.loads(json.dumps(packed(columns)))) == records


def test_what_all_records_have_is_written_once() -> None:
    assert json.dumps(packed({"id": [1, 2], "socket": ["double", "double"]})).count("double") == 1
