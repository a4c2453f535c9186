"""What is shown of a value: what a worker makes of it, what is taken of that, and how a still picture draws it."""

from __future__ import annotations

import base64
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from ec_jupyter.client.drawing import svg
from ec_jupyter.client.seen import KEPT_BYTES, Seen, checked, displayed
from ec_jupyter.nodes.worker.look import look
from ec_jupyter.nodes.worker.rich import MIMES
from tests.attacks import ATTACKS, Html, Svg, Worded
from tests.pure.test_still_picture import wiring

DRAWN = {"svg", "title", "g", "rect", "text", "tspan", "path", "circle", "polyline", "image"}


def shown(value: Any) -> dict[str, Any]:
    facts, *pieces = look(value, rich=True)
    return {**json.loads(facts), "size": 1, "look": checked("".join(pieces))}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (41, set()), (None, set()), (True, set()), (1.5, set()), ("text", {"plain"}), ({"a": 1}, {"table"}),
        ([{"a": 1}], {"table"}), (list(range(20)), {"array"}), ([1, 2], set()), (["a"] * 20, set()), ({}, set()),
        (Html("<b>x</b>"), {"data"}), (Html("x" * 100_000), {"note"}), (object(), set()), (Html, set()),
    ],
)  # fmt: skip
def test_each_kind_of_value_is_shown_in_its_own_way(value: Any, kind: set[str]) -> None:
    assert set(shown(value)["look"]) == kind


def test_of_several_representations_the_best_that_fits_is_taken() -> None:
    class Several:
        def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
            return {
                "application/javascript": "alert(1)", "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
                "image/svg+xml": "x" * 100_000, "text/html": "<b>x</b>", "text/plain": "x",
            }  # fmt: skip

        def _repr_png_(self) -> bytes:
            return b"png"

    assert shown(Several())["look"] == {"data": {"image/png": base64.b64encode(b"png").decode()}}


def test_what_is_no_number_is_a_gap_in_a_line() -> None:
    array = shown([1.0, float("nan"), float("inf"), *range(8)])["look"]["array"]
    assert array["points"][:4] == [1.0, None, None, 0.0]


def test_a_large_table_is_cut_to_what_may_travel() -> None:
    rows = [{f"column {at}": "x" * 500 for at in range(60)} for _ in range(1000)]
    table = shown(rows)["look"]["table"]
    assert table["shape"] == [1000, 60]
    assert len(json.dumps(table)) <= 64 * 1024


@pytest.mark.parametrize(
    "said",
    [
        "", "{", "[1]", "null", "[" * 100_000, '{"data": {"application/javascript": "alert(1)"}}', '{"data": [1]}',
        '{"data": {"image/png": "\\" onerror=\\"alert(1)"}}', '{"table": {"rows": 3}}', '{"array": {"shape": [1]}}',
        '{"table": {"rows": [[1]], "shape": ["<b>"]}}', '{"plain": 3}', '{"note": ["x"]}',
    ],
)  # fmt: skip
def test_a_worker_that_a_value_has_taken_over_can_say_nothing_else(said: str) -> None:
    assert checked(said) == {}
    assert displayed(said)["look"] == {}


def test_what_is_kept_for_the_still_picture_is_bounded_and_the_oldest_goes() -> None:
    seen = Seen()
    for at in range(200):
        seen.keep(f"s{at}", {"text": "x", "type": "str", "look": {"plain": "x" * 10_000}})
    assert len(json.dumps(seen.looks)) < KEPT_BYTES + 10_000
    assert "s199" in seen.looks
    assert "s0" not in seen.looks
    seen.keep("large", {"text": "its text", "type": "str", "look": {"plain": "x" * 100_000}})
    assert seen.looks["large"] == {"text": "its text", "type": "str", "look": {}}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("dress", [str, Html, Svg, Worded, lambda text: {text: text}, lambda text: [{text: text}]])
def test_a_value_is_text_or_inside_an_image_of_the_still_picture(attack: str, dress: Any) -> None:
    seen = {"add": shown(dress(attack))}
    for element in ElementTree.fromstring(svg(wiring(), "f", seen=seen)).iter():
        assert element.tag.rpartition("}")[2] in DRAWN
        assert not any(name.lower().startswith("on") for name in element.attrib)
        assert element.attrib.get("href", "data:image/").startswith("data:image/")


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        (41, ">41<"), ("a" * 300, "a" * 20), ({"times": 2}, ">times<"), ([{"word": "a"}], ">word<"),
        (list(range(20)), "<polyline "), (Html("<b>x</b>"), "Html"),
        (Svg("<svg/>"), 'href="data:image/svg+xml;base64,'),
    ],
)  # fmt: skip
def test_last_values_are_on_the_cards_of_the_still_picture(value: Any, drawn: str) -> None:
    assert drawn not in svg(wiring(), "f")
    assert drawn in svg(wiring(), "f", seen={"add": shown(value)})


def test_the_worker_and_the_client_know_the_same_kinds() -> None:
    from ec_jupyter.client import seen

    assert seen.MIMES == MIMES
