"""The command ``ec``, which is ``jupyter ec`` as well, and what all of its commands have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import get_completion_class

from ec_jupyter.cli import acting, agents, looking, scripts
from ec_jupyter.cli.output import FAILED, LATE
from ec_jupyter.client.texts import in_words_of
from ec_jupyter.errors import EcError
from ec_jupyter.version import VERSION


class Refused(click.ClickException):
    """What could not be done, in one line."""

    exit_code = FAILED


class Late(click.ClickException):
    """What has not come in time."""

    exit_code = LATE


class Commands(click.Group):
    """Commands whose errors are told in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command that was given."""
        try:
            return super().invoke(ctx)
        except EcError as error:
            raise Refused(in_words_of(str(error), option="--{}", flag="--{}")) from None
        except TimeoutError as error:
            raise Late(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="ec")
def ec() -> None:
    """Flows of ec_jupyter: look at them, give them work, stop and start them.

    FLOW is a flow's name, in the folder that holds its notebook; elsewhere the folder and the name (work/flights), as
    'ec list' shows them. What only looks starts no engine.

    Exit codes: 0 done, 1 refused, 2 not understood, 3 a request that was waited for has failed, 4 timeout,
    130 interrupted.
    """


@ec.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a SHELL complete commands, flows and sockets: eval "$(ec completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ec, {}, "ec", "_EC_COMPLETE").source())


_COMMANDS: tuple[Callable[..., Any], ...] = (*looking.COMMANDS, *acting.COMMANDS, *scripts.COMMANDS, *agents.COMMANDS)
for _command in _COMMANDS:
    ec.add_command(_command)  # type: ignore[arg-type]


def main() -> None:
    """``ec``, and ``jupyter ec``."""
    ec(prog_name="ec" if "jupyter" not in sys.argv[0].rpartition("/")[2] else "jupyter ec", complete_var="_EC_COMPLETE")
