"""Flows from files, and files from flows."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType

import click

from ec_jupyter.cli.acting import drain
from ec_jupyter.cli.flows import client_of, flow_argument
from ec_jupyter.cli.output import FAILED
from ec_jupyter.client import names, recipe
from ec_jupyter.client.client import clients
from ec_jupyter.client.commands import command
from ec_jupyter.client.drawing import svg
from ec_jupyter.errors import EcError


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1)
@click.option("--detach", is_flag=True, help="Leave its flows to work, and do not wait for them.")
@click.option("--timeout", type=click.FloatRange(0), help="Seconds to wait; exit code 4 after that.")
def run(file: Path, arguments: tuple[str, ...], detach: bool, timeout: float | None) -> None:
    """Run a FILE.py whose functions are sockets, as the cells of a notebook are, and wait for what it submits.

    The flow that it does not name is called as the file is, in this folder: @ec.socket, ec.flow().
    """
    names.be_script(file)
    sys.argv = [str(file), *arguments]
    sys.path[0] = str(file.absolute().parent)
    try:
        runpy.run_path(str(file), run_name="__main__")
    except EcError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the file raises is shown as its own
        traceback.print_exception(error.with_traceback(_theirs(error.__traceback__, str(file))))
        raise SystemExit(FAILED) from None
    for client in () if detach else clients():
        drain(client, timeout, as_json=False)


def _theirs(frames: TracebackType | None, file: str) -> TracebackType | None:
    """A traceback from the file on; nothing of one that is no Python."""
    while frames is not None and frames.tb_frame.f_code.co_filename != file:
        frames = frames.tb_next
    return frames


@click.command()
@flow_argument
@click.option(
    "--script", "kind", flag_value="script", help="A script that makes the flow, and runs without a notebook."
)
@click.option("--wiring", "kind", flag_value="wiring", help="The wiring as JSON, for ec.load.")
@click.option("--svg", "kind", flag_value="svg", help="The picture as it is now.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
def export(flow: Path, kind: str | None, output: Path | None) -> None:
    """Write down the wiring of a flow that runs, as the code of one cell, or its picture."""
    with client_of(flow, start=False) as client:
        if kind == "svg":
            counts, _ = client.ask("query", {"what": "counts"})
            text = svg(client.topology, client.name, counts)
        elif kind == "script":
            text = recipe.script(client.topology, client.name)
        else:
            text = command(client, "save" if kind == "wiring" else "code")["text"]
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise click.FileError(str(output), error.strerror) from None


COMMANDS = (run, export)
