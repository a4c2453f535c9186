"""What happened to a request, in sentences, from what is on record. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ec_jupyter.client.texts import clock_text, error_line, missing, seconds_text, skipped_text

Row = Mapping[str, Any]

MOST = 5  # requests of one kind that are named one by one


def sentences(row: Row, attempts: Sequence[Row], nodes: Sequence[Row], edges: Sequence[Sequence[Any]]) -> list[str]:
    """The story of a request.

    `row`: its record, as the question for requests gives it. `attempts`: its attempts that did not end it, oldest
    first. `nodes`, `edges`: its lineage, as the question for that gives it.
    """
    around = {int(one["id"]): one for one in nodes}
    came = [(int(source), str(argument)) for source, target, argument in edges if target == row["id"]]
    went = [(int(target), str(argument)) for source, target, argument in edges if source == row["id"]]
    return [
        _began(row, came, around),
        *(_attempt(one) for one in attempts),
        *_ended(row),
        *_went(went, around),
    ]


def _began(row: Row, came: Sequence[tuple[int, str]], around: Mapping[int, Row]) -> str:
    name, at = f"Request {row['id']} of {row['socket']!r}", clock_text(row["created"])
    if not came:
        if row["run"] == row["id"]:
            return f"{name} was submitted at {at}."
        return f"{name} was made at {at}, in run {row['run']}."
    by_name: dict[str, list[int]] = {}
    for source, argument in came:
        by_name.setdefault(argument, []).append(source)
    parts = [f"{argument!r} came from {_requests(sources, around)}" for argument, sources in by_name.items()]
    return f"{name} was made at {at}, in run {row['run']}: {_listed(parts)}."


def _requests(some: Sequence[int], around: Mapping[int, Row]) -> str:
    sockets = dict.fromkeys(repr(around[one]["socket"]) for one in some if one in around)
    of = f" of {_listed(list(sockets))}" if sockets else ""
    if len(some) > MOST:
        return f"{len(some)} requests{of}"
    return f"request{'' if len(some) == 1 else 's'} {_listed([str(one) for one in some])}{of}"


def _attempt(attempt: Row) -> str:
    began = f" began at {clock_text(attempt['started'])}" if attempt["started"] else ""
    after = f" after {seconds_text(attempt['seconds'])}" if attempt["seconds"] is not None else ""
    error = attempt["error"] or {}
    on = f" on {error['node']!r}" if error.get("node") else ""
    why = f": {error_line(error)}" if error else ""
    verb = "was lost" if attempt["state"] == "lost" else f"{attempt['state'] or 'ended'}"
    return f"Attempt {attempt['attempt']}{began}{on}{' and' if began else ''} {verb}{after}{why}."


def _ended(row: Row) -> Iterator[str]:
    ended = clock_text(row["finished"])
    match row["state"]:
        case "waiting":
            yield from _waits(row)
        case "queued":
            # it takes the result of a call alike, or waits for the file of a value
            yield f"It is queued, and {'waits for another call' if row['behind'] else 'a worker has not begun it yet'}."
        case "delayed":
            yield f"It waits for its time, {clock_text(row['due'])}."
        case "asked":
            yield "It waits for a person to answer."
        case "running":
            yield f"{_run(row)}, and runs for {seconds_text(row['seconds'])} now."
        case "done":
            took = f", after {seconds_text(row['seconds'])}" if row["started"] else ""
            yield f"{_run_and(row)}was done at {ended}{took}."
        case "failed":
            yield f"{_run_and(row)}failed at {ended}: {error_line(row['error'])}."
            yield f"Its arguments are kept: %ec_retry {row['id']} runs it again, %ec_debug {row['id']} opens it here."
        case "skipped":
            yield f"It was skipped at {ended}: {skipped_text(row)}."
        case state:
            yield f"It was {state} at {ended}; %ec_retry {row['id']} runs it again."


def _waits(row: Row) -> Iterator[str]:
    name, states = row["socket"], {argument: part["state"] for argument, part in row["waits"].items()}
    has = [argument for argument, state in states.items() if state in ("arrived", "stranded")]
    lacks = _named(missing({"arguments": row["waits"]})) or "other arguments"
    yield f"It waits for {lacks}; it has {_named(has) or 'none'}."
    gone = _named([argument for argument in has if states[argument] == "stranded"])
    if gone:
        yield f"{name!r} takes no {gone} any more; a version that does lets it run."
        yield f"flow.supply({name!r}, run={row['run']}, ...) gives what it lacks, flow.cancel({row['id']}) gives it up."


def _named(names: Sequence[str]) -> str:
    return _listed([repr(name) for name in names])


def _run_and(row: Row) -> str:
    run = _run(row)
    return f"{run} and " if run else "It "


def _run(row: Row) -> str:
    """Where the last attempt ran, as the beginning of a sentence; empty where no worker had it."""
    if not row["started"]:
        return ""
    waited = max(0.0, float(row["started"]) - float(row["created"]))
    version = f" with version {row['version']} of its task" if row["version"] else ""
    first = row["attempt"] <= 1
    after = f", {seconds_text(waited)} after that," if first and waited >= 0.001 else ""
    return f"Attempt {row['attempt']} began at {clock_text(row['started'])}{after} on {row['node']!r}{version}"


def _went(went: Sequence[tuple[int, str]], around: Mapping[int, Row]) -> Iterator[str]:
    if not went:
        return
    if len(went) > MOST:
        states: dict[str, int] = {}
        for target, _ in went:
            state = str(around[target]["state"]) if target in around else "unknown"
            states[state] = states.get(state, 0) + 1
        yield f"{len(went)} requests came of it: {_listed([f'{n} {state}' for state, n in states.items()])}."
        return
    for target, argument in went:
        one = around.get(target)
        if one is not None:
            yield f"It went to {argument!r} of {one['socket']!r}: request {target}, {one['state']}."


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""
