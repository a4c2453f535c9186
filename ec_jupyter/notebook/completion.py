"""Completion on the lines of our magics: options, sockets, processors, arguments."""

# IPython's decorators bear no types
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
from __future__ import annotations

import re
import sys
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from ec_jupyter.client.recipe import grouped
from ec_jupyter.notebook.lines import SUBMIT_OPTIONS, options_of

_MAGIC = re.compile(r"\s*(?:\w+\s*=\s*)?%{1,2}(ec_\w+)\s+(.*)", re.DOTALL)
_PROCESSOR = ("-p", "--processor")


@context_matcher()
def complete(context: CompletionContext) -> SimpleMatcherResult:
    """What may stand at the cursor, where its line is one of our magics'."""
    before = context.text_until_cursor.splitlines()[-1] if context.text_until_cursor else ""
    found = _MAGIC.fullmatch(before)
    if not found:
        return {"completions": []}
    fragment = re.split(r"\s|->", found[2])[-1]
    words = _words(found[1], found[2], fragment)
    matches = [SimpleCompletion(text=word, type="param") for word in words if word.startswith(fragment)]
    return {"completions": matches, "matched_fragment": fragment, "suppress": True}


def _words(magic: str, line: str, fragment: str) -> list[str]:
    if fragment.startswith("-"):
        return _options(magic)
    topology = _topology()
    before = line[: len(line) - len(fragment)].split()
    if (before and before[-1] == "--node") or magic == "ec_node":
        return sorted(row["name"] for row in topology.get("nodes", ()))
    if (before and before[-1] in _PROCESSOR) or magic == "ec_processor":
        return sorted(topology.get("processors", ()))
    if magic == "ec_unschedule":
        return sorted(row["name"] for row in topology.get("schedules", ()))
    sockets = topology.get("sockets", {})
    if (before and before[-1] == "--group") or (magic in ("ec_group", "ec_ungroup") and not before):
        return sorted(grouped(sockets))
    if magic == "ec_submit" and before and before[0] in sockets:
        return [f"{name}=" for name in _arguments(sockets[before[0]])]
    if magic in ("ec_plug", "ec_unplug", "ec_pipeline") and "." in fragment:
        socket = fragment.rpartition(".")[0]
        record = sockets.get(socket, {})
        known = _arguments(record) if before or "->" in line else record.get("task", {}).get("outputs", ())
        return [f"{socket}.{name}" for name in known]
    processors = topology.get("processors", ()) if magic in ("ec_pause", "ec_resume") else ()
    return sorted([*sockets, *processors])


def _options(magic: str) -> list[str]:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    function = shell.find_cell_magic(magic) or shell.find_line_magic(magic) if shell else None
    if hasattr(function, "parser"):
        return options_of(function)
    return list(SUBMIT_OPTIONS) if magic == "ec_submit" else []


def _arguments(record: dict[str, Any]) -> list[str]:
    return [p["name"] for p in record.get("task", {}).get("signature", ()) if not p["kind"].startswith("VAR_")]


def _topology() -> dict[str, Any]:
    """Of the notebook's own flow, if it is open: a completion opens nothing."""
    flow = sys.modules.get("ec_jupyter.notebook.flow")
    found = flow.opened() if flow else None
    return found._client.topology if found else {}
