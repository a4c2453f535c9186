"""What a command says: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ec_jupyter.client.texts import aligned, cell_text

Row = Mapping[str, Any]

FAILED = 1  # exit code of what could not be done; click's own for a command that cannot be read is 2
UNDONE = 3  # exit code of who waited for requests of which not all are done
LATE = 4  # exit code of who waited longer than the timeout
STOPPED = 130  # exit code of who was interrupted, as shells have it


class Stopped(click.ClickException):
    """A wait that was interrupted."""

    exit_code = STOPPED


@contextmanager
def going_on(what: str, again: str) -> Iterator[None]:
    """Tell who interrupts a wait that what was waited for goes on, and how to wait again."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(f"the wait ended, {what}; {again} waits again") from None


json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON on one line.")


def tell(answer: Any, text: object = "", *, as_json: bool = True) -> None:
    """Print JSON, or the text that says it to people."""
    click.echo(json.dumps(answer, ensure_ascii=False, default=str) if as_json else text)


def tell_rows(
    rows: Sequence[Row], columns: Sequence[str], *, as_json: bool, shown: Callable[[Any], Row] = dict
) -> None:
    """Print rows as JSON, or as a table of what each is `shown` as."""
    tell(rows) if as_json else table([shown(row) for row in rows], columns)


def table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print rows under the names of their columns."""
    cells = [[cell_text(row.get(column)) for column in columns] for row in rows]
    click.echo("\n".join(aligned(columns, cells)) if rows else "(none)")
