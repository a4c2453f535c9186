"""The magics: each parses its line, makes one call, and returns what the call gives."""

# IPython's decorators bear no types
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from ec_jupyter.errors import MagicUsageError
from ec_jupyter.flow.kept import FOREVER
from ec_jupyter.notebook.lines import call_arguments, parse, submit_options
from ec_jupyter.notebook.wiring_magics import WiringMagics, flow_magic, known_flow, of_flow, open_flow

if TYPE_CHECKING:
    from ec_jupyter.notebook.editor import FlowEditor
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.request import Request, Run
    from ec_jupyter.notebook.tables import Report, Story, Table

_what = argument(
    "what", nargs="?", help="number of a request, name of a socket, or a variable that holds a request or run"
)
_run = argument("--run", type=int, metavar="N", help="a run, by its number")
# what only uses a flow makes none: a name may be mistyped
_flow_magic = partial(flow_magic, opens=known_flow)


def _seconds(text: str | None) -> str | float | None:
    """A time as a line has it: a plain number is of seconds."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _whole(text: str | int) -> str | int:
    """A whole number as a line has it; anything else is refused where it is used."""
    try:
        return int(text)
    except ValueError:
        return text


@magics_class
class FlowMagics(WiringMagics):
    """What a person types with one or two percent signs."""

    @magic_arguments("ec_flow")
    @argument("name", nargs="?", help="another flow than the notebook's own")
    @line_magic
    def ec_flow(self, line: str) -> Flow | FlowEditor:
        """Show the flow: its processors, sockets and plugs, in a notebook as a picture to wire in."""
        __tracebackhide__ = True
        flow = open_flow(parse(self.ec_flow, line).name)
        # without a kernel there is no page that could show a widget
        return flow.editor if hasattr(self.shell, "kernel") else flow

    # -- calling ---------------------------------------------------------------
    @no_var_expand
    @line_magic
    def ec_submit(self, line: str) -> Request:
        """Submit one call of a socket; it is on disk when this returns.

        ::

            %ec_submit [--flow NAME] [--id ID] [--partial] [--delay TIME | --at TIME] [--priority N]
                [--callback URL] SOCKET [arg=expr ...]

        Options may stand after the arguments as well.
        ``--partial``: arguments are missing on purpose, and the request waits for them. ``--delay``: how long it waits
        before it may start, such as ``90s``, ``5m``, ``2h`` or ``1d``; ``--at``: when, such as ``2030-01-31T06:00``.
        ``--priority``: all calls of its run go before others, from -100 to 100 (0). ``--callback``: an address that is
        told of its end, by a ``POST``.

        Examples
        --------
        ::

            %ec_submit add_two one=1 two=x + 1
            %ec_submit report --delay 2h
        """
        __tracebackhide__ = True
        how, line = submit_options(line)
        name = how.pop("flow", None)
        how |= {"delay": _seconds(how.get("delay")), "priority": _whole(how.get("priority", 0))}
        socket, *rest = line.split(maxsplit=1)
        values, arguments = call_arguments(" ".join(rest), self._space())
        return known_flow(name).submit(socket, *values, **how, **arguments)

    @_flow_magic
    def ec_status(self, flow: Flow) -> Report:
        """Counts of every socket."""
        return flow.status()

    @_flow_magic
    @argument("socket", nargs="?", help="of this socket only")
    @argument("--by", choices=["socket", "processor", "node"], help="of these only (all)")
    @argument("--course", action="store_true", help="a row for each half minute instead of one for the hour")
    def ec_statistics(self, flow: Flow, socket: str | None, by: str | None, course: bool) -> Table:
        """Rates, queues, times, CPUs and memory of the last hour.

        Examples
        --------
        ::

            %ec_statistics
            %ec_statistics add_two --course
        """
        return flow.statistics(socket, by=by, course=course)

    @no_var_expand
    @_flow_magic
    @argument("socket", nargs="?", help="of this socket's calls only")
    @argument("--level", choices=["info", "warning", "error"], help="of this level or a higher one")
    @argument("--text", metavar="TEXT", help="lines that hold this text")
    @argument("--limit", type=int, default=100, metavar="N", help="how many at most (100)")
    @_run
    def ec_log(self, flow: Flow, socket: str | None, **how: Any) -> Table:
        """The newest lines of the log: output, failures, deaths, retries, edits and notices.

        Examples
        --------
        ::

            %ec_log add_two --level warning
            %ec_log --text "out of memory"
        """
        return flow.log(socket, **how)

    @_flow_magic
    @argument("socket", nargs="?", help="of this socket only")
    @argument("--state", help="in this state only")
    @argument("--by", choices=["id", "started"], default="id", help="order")
    @argument("--limit", type=int, default=1000, metavar="N", help="how many at most (1000)")
    @_run
    def ec_requests(self, flow: Flow, socket: str | None, **how: Any) -> Table:
        """The newest requests."""
        return flow.requests(socket, **how)

    @_flow_magic
    @argument("socket", nargs="?", help="at this socket only")
    def ec_waiting(self, flow: Flow, socket: str | None) -> Table:
        """Values that wait for the other arguments of their call."""
        return flow.waiting(socket)

    @_flow_magic
    @argument("--timeout", type=float, metavar="S", help="seconds to wait")
    def ec_wait(self, flow: Flow, timeout: float | None) -> Report:
        """Wait until nothing is queued or running; tells what is left. Interrupting it leaves the flow alone."""
        __tracebackhide__ = True
        return flow.wait(timeout)

    @no_var_expand
    @line_magic
    def ec_answer(self, line: str) -> None:
        """Answer what a request asks a person.

        ::

            %ec_answer [--flow NAME] REQUEST VALUE

        VALUE is a choice as it is written, or an expression; what is neither is taken as text.

        Examples
        --------
        ::

            %ec_answer 12 yes
        """
        __tracebackhide__ = True
        words = line.split(maxsplit=1)
        name = None
        if words and words[0] == "--flow":
            name, _, line = words[-1].partition(" ") if len(words) > 1 else (None, "", "")
            words = line.split(maxsplit=1)
        if len(words) < 2:
            raise MagicUsageError("ec_answer: write %ec_answer [--flow NAME] REQUEST VALUE")
        flow = known_flow(name)
        request = self._target(flow, words[0])
        flow.answer(request, self._said(words[1].strip(), flow._choices(request)))

    def _said(self, text: str, choices: list[Any] | None) -> Any:
        """What a person typed as an answer."""
        for choice in choices or ():
            if text in (str(choice), repr(choice)):
                return choice
        try:
            return self.shell.ev(text) if self.shell is not None else eval(text, self._space())
        except Exception:  # noqa: BLE001 - whatever a text raises that is no expression: it is a text
            return text

    # -- stopping and starting -------------------------------------------------
    @_flow_magic
    @argument("names", nargs="*", metavar="NAME", help="sockets or processors; all if left out")
    def ec_pause(self, flow: Flow, names: list[str]) -> None:
        """Go on accepting requests, start none."""
        flow.pause(*names)

    @_flow_magic
    @argument("names", nargs="*", metavar="NAME", help="sockets or processors; all if left out")
    def ec_resume(self, flow: Flow, names: list[str]) -> None:
        """Start requests again, in order."""
        flow.resume(*names)

    @_flow_magic
    @_what
    @_run
    def ec_cancel(self, flow: Flow, what: str | None, run: int | None) -> int:
        """Cancel what has not ended; how many requests that was."""
        return flow.cancel(self._target(flow, what, run))

    @_flow_magic
    @_what
    @argument("--all", action="store_true", help="all that have failed")
    @_run
    def ec_retry(self, flow: Flow, what: str | None, all: bool, run: int | None) -> list[Request]:
        """Run failed requests again: same arguments, newest code."""
        return flow.retry(None if all else self._target(flow, what, run))

    @_flow_magic
    @argument("what", nargs="?", help="number of a request, or a variable that holds a request or run")
    @argument("--from", dest="from_", metavar="SOCKET", help="only this socket and what it feeds")
    @_run
    def ec_replay(self, flow: Flow, what: str | None, from_: str | None, run: int | None) -> Run:
        """Run again, as a new run, what came of a request or run; the originals stay."""
        return flow.replay(self._target(flow, what, run), from_=from_)

    @_flow_magic
    @argument("what", nargs="?", help="number of a request, or a variable that holds one")
    def ec_story(self, flow: Flow, what: str | None) -> Story:
        """What happened to a request, in sentences."""
        return flow.story(self._target(flow, what))

    @_flow_magic
    @argument("what", nargs="?", help="number of a request, or a variable that holds one")
    @argument("--arguments", action="store_true", help="only load its arguments")
    def ec_debug(self, flow: Flow, what: str | None, arguments: bool) -> dict[str, Any]:
        """Debug a call that has failed, days later and wherever it ran; gives its very arguments.

        It is called once more in this kernel, with the code that it ran, and the debugger opens where it raises. A call
        that has not failed is left alone, and so is one that would end this kernel as it ended its worker.

        Examples
        --------
        ::

            %ec_debug 12
            %ec_debug 12 --arguments
        """
        from ec_jupyter.notebook.debugging import danger

        target = self._target(flow, what)
        found = flow.recall(target)
        row = flow.request(target).row() if isinstance(target, int) else target.row()
        why = danger(row)
        if arguments or row["state"] != "failed":
            return found
        if why is not None:
            again = f"flow.debug({row['id']})"
            print(f"request {row['id']} of {row['socket']!r} is not called here, for {why}; {again} does so")  # noqa: T201
            return found
        try:
            flow.debug(row["id"])
        except Exception as error:  # noqa: BLE001 - whatever the task raises is what is looked at
            self._post_mortem(error)
        else:
            print(f"request {row['id']} of {row['socket']!r} does not fail here")  # noqa: T201
        return found

    def _post_mortem(self, error: Exception) -> None:
        from IPython.core.error import StdinNotImplementedError

        from ec_jupyter.notebook.debugging import theirs

        if self.shell is None:
            raise error
        self.shell.showtraceback((type(error), error, theirs(error.__traceback__)))
        try:
            self.shell.debugger(force=True)
        except StdinNotImplementedError:
            print("nobody can type here; %debug opens the debugger once somebody can")  # noqa: T201

    @_flow_magic
    @argument("sockets", nargs="*", help="sockets; all if none is named")
    def ec_clear_cache(self, flow: Flow, sockets: list[str]) -> dict[str, int]:
        """Forget the results that --cache has kept; calls made from then on are run."""
        return flow.clear_cache(*sockets)

    @_flow_magic
    @argument("time", nargs="?", metavar="TIME", help="those that have ended within so long: 30d; forever: all")
    @argument("--runs", type=int, metavar="N", help="so many of the newest")
    @argument("--size", metavar="SIZE", help="as many as there is room for: 2GB")
    @argument("--failed", metavar="TIME", help="those of which a call has failed, where nothing has ended for so long")
    def ec_keep(self, flow: Flow, time: str | None, failed: str | None, **how: Any) -> dict[str, float | None]:
        """Have ended runs go by themselves, the oldest first, but for these; the limits, where none is given too."""
        if {time, failed, *how.values()} != {None}:
            flow.keep(None if time == FOREVER else _seconds(time), failed=_seconds(failed), **how)
        return flow.kept()

    @_flow_magic
    @argument("--dry", action="store_true", help="only tell what would be removed")
    def ec_gc(self, flow: Flow, dry: bool) -> dict[str, int]:
        """Remove the files of values that were thrown away, and let go at once of ended runs that may; files, bytes."""
        return flow.gc(dry=dry)

    @magic_arguments("ec_stop")
    @of_flow
    @line_magic
    def ec_stop(self, line: str) -> None:
        """End the flow's engine at once, if one runs; everything stays on disk."""
        __tracebackhide__ = True
        from ec_jupyter.notebook.flow import stop_flow

        stop_flow(parse(self.ec_stop, line).flow)

    # -- reading ---------------------------------------------------------------
    def _space(self) -> dict[str, Any]:
        return self.shell.user_ns if self.shell is not None else vars(sys.modules["__main__"])

    def _target(self, flow: Flow, what: str | None, run: int | None = None) -> Any:
        """Request, run or socket that a line names."""
        if run is not None:
            return flow.run(run)
        if what is None:
            raise MagicUsageError("say which: the number of a request, a variable that holds one, or --run N")
        if what.isdecimal():
            return int(what)
        held = self._space().get(what)
        return held if hasattr(held, "flow") and hasattr(held, "id") else what


# IPython has told each class of its own alone
for kind, names in WiringMagics.magics.items():
    FlowMagics.magics[kind].update(names)
