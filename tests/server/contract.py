"""What the OpenAPI document says of an address, held against what came from there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from ec_jupyter.server.handlers import document


def template_of(parts: Sequence[str]) -> str:
    """The documented path that an address is of; the one with most words of its own."""
    fitting = [path for path in document()["paths"] if _fits(path.split("/")[2:], parts)]
    assert fitting, f"{parts} is in no document"
    return min(fitting, key=lambda path: path.count("{"))


def _fits(words: Sequence[str], parts: Sequence[str]) -> bool:
    return len(words) == len(parts) and all(w.startswith("{") or w == p for w, p in zip(words, parts, strict=True))


def check(method: str, parts: Sequence[str], asked: Mapping[str, Any], status: int, answer: Any) -> None:
    """See that an answer is one of those that the document has for its address, and that what it answers is too."""
    path = template_of(parts)
    operation = document()["paths"][path][method.lower()]
    responses = operation["responses"]
    assert str(status) in responses, f"{method} {path} answered {status}, which the document does not have: {answer}"
    found = _resolved(responses[str(status)])
    _valid(found["content"]["application/json"]["schema"], answer, f"{method} {path}: {status}")
    if status < 400:
        known = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        # a number alone keeps a browser from answering by itself
        heeded = {name for name in asked.get("params", {}) if not name.isdecimal()}
        assert heeded <= known, f"{method} {path} took what the document does not have"
        if asked.get("body") not in (None, "{}"):
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            _valid(schema, json.loads(asked["body"]), f"{method} {path}: body")


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = document()
    for word in part["$ref"].split("/")[1:]:
        found = found[word]
    return found  # type: ignore[no-any-return]


def _valid(schema: dict[str, Any], value: Any, where: str) -> None:
    errors = [f"{error.json_path}: {error.message}" for error in _validator(json.dumps(schema)).iter_errors(value)]
    assert errors == [], where


@cache
def _validator(schema: str) -> Draft202012Validator:
    # references in the schema are to the components beside it
    return Draft202012Validator({**json.loads(schema), "components": document()["components"]})
