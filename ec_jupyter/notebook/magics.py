"""The magics: each parses its line, makes one call, and returns what the call gives."""

# IPython's decorators bear no types
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from ec_jupyter.errors import MagicUsageError
from ec_jupyter.flow.declare import JOINS
from ec_jupyter.notebook.cell import Cell
from ec_jupyter.notebook.lines import call_arguments, ends, parse, shares
from ec_jupyter.notebook.nodes import Node

if TYPE_CHECKING:
    from ec_jupyter.notebook.editor import FlowEditor
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.request import Request, Run
    from ec_jupyter.notebook.tables import Report, Table
    from ec_jupyter.notebook.views import Plug, Processor, Socket

_T = TypeVar("_T")
_SOCKET_WORDS = (
    "processor", "cpus", "threads", "retries", "backoff", "timeout", "once", "fresh", "memory", "join", "on", "hold",
    "wait", "key",
)  # fmt: skip

_flow = argument("--flow", metavar="NAME", help="another flow than the notebook's own")
_on = argument("--on", choices=["result", "error"], default="result", help="what the plug carries")
_what = argument(
    "what", nargs="?", help="number of a request, name of a socket, or a variable that holds a request or run"
)
_run = argument("--run", type=int, metavar="N", help="a run, by its number")


def open_flow(name: str | None) -> Flow:
    """The flow of that name, or the notebook's own."""
    # the first use of a flow loads what a mere %load_ext does not need
    from ec_jupyter.notebook import flow

    return flow.open_flow(name)


def show_way(name: str) -> None:
    """Tell whoever reads what the cell prints where the picture of a flow is."""
    from ec_jupyter.notebook.ownership import interactive

    if interactive():
        print(f"the picture of flow {name!r}: %ec_flow in a cell, or the panel Flows at the left of JupyterLab")  # noqa: T201


def _told(flow: Flow, made: _T) -> _T:
    """What an edit gave; what it did to what was under way is said."""
    if flow.receipt is not None and flow.receipt.text:
        print(flow.receipt.text)  # noqa: T201 - in the cell of the edit
    return made


@magics_class
class FlowMagics(Magics):
    """What a person types with one or two percent signs."""

    # -- wiring ----------------------------------------------------------------
    @no_var_expand
    @magic_arguments("%ec_socket")
    @argument("name", nargs="?", help="name of the socket; the function's own if left out")
    @argument("-p", "--processor", metavar="PROC", help="processor that owns the socket (main)")
    @argument("--cpus", type=int, metavar="N", help="CPUs of that processor, where this makes it")
    @argument("--threads", type=int, metavar="N", help="CPUs one call takes (1)")
    @argument("--retries", type=int, metavar="N", help="how often a call that raised is tried again (0)")
    @argument("--backoff", type=float, metavar="S", help="seconds before the first retry, doubled for each more (1)")
    @argument("--timeout", type=float, metavar="S", help="seconds a call may run (no limit)")
    @argument("--memory", metavar="SIZE", help="what a worker may hold while a call runs, as 512MiB or 1GB (no limit)")
    @argument("--once", action="store_true", default=None, help="fail a call whose worker died, never run it twice")
    @argument("--fresh", action="store_true", default=None, help="a process of its own for each call")
    @argument("--join", choices=JOINS, help="how values find each other (run)")
    @argument("--on", metavar="ARG,ARG", help="with --join latest: arguments whose arrivals make calls (all)")
    @argument("--hold", metavar="ARG,ARG", help="arguments whose newest value serves every later call")
    @argument("--wait", type=float, metavar="S", help="seconds a value may wait for the others of its call (no limit)")
    @argument("--key", metavar="EXPR", help="values for which this expression over `value` is equal make a call")
    @_flow
    @cell_magic
    def ec_socket(self, line: str, cell: str) -> Socket:
        """Run the cell, then make the one function it defines the task of a socket.

        The function stays a plain one that can be called by hand.

        Examples
        --------
        ::

            %%ec_socket --processor maths --cpus 2
            def add_two(one, two):
                return one + two
        """
        __tracebackhide__ = True
        given = parse(self.ec_socket, line)
        code = Cell(self.shell, f"%%ec_socket {line}".rstrip(), cell)
        task = code.task(given.name)
        space = code.run()
        options = {word: getattr(given, word) for word in _SOCKET_WORDS if getattr(given, word) is not None}
        flow = open_flow(given.flow)
        new = flow.revision == 0
        made = flow.declare(space[task], given.name or task, **options)
        if new:
            show_way(flow.name)
        return _told(flow, made)

    @no_var_expand
    @magic_arguments("ec_plug")
    @argument("source", help="socket whose results it carries")
    @argument("target", help="socket, or socket.argument")
    @argument("--map", action="store_true", help="one arrival per element of the result")
    @argument(
        "--gather", nargs="?", const=True, default=False, choices=[True, "done"],
        help="the elements of a split become one list; done: without waiting for failed ones",
    )  # fmt: skip
    @argument("--when", metavar="EXPR", help="only where this expression over `result` holds")
    @argument("--cycle", action="store_true", help="the plug may close a cycle")
    @_on
    @_flow
    @line_magic
    def ec_plug(self, line: str) -> Plug:
        """Feed what one socket gives to an argument of another.

        Examples
        --------
        ::

            %ec_plug emit_one -> add_two.one
            %ec_plug parse -> quarantine --on error
            %ec_plug split -> big --when "result > 10"
        """
        __tracebackhide__ = True
        given = parse(self.ec_plug, ends(line))
        options = {word: getattr(given, word) for word in ("on", "map", "gather", "when", "cycle")}
        flow = open_flow(given.flow)
        return _told(flow, flow.plug(given.source, given.target, **options))

    @no_var_expand
    @magic_arguments("ec_unplug")
    @argument("source", help="socket it leaves")
    @argument("target", help="socket, or socket.argument")
    @_on
    @_flow
    @line_magic
    def ec_unplug(self, line: str) -> None:
        """Take a plug away; what has arrived through it stays where it is.

        Examples
        --------
        ::

            %ec_unplug emit_one -> add_two.one
        """
        __tracebackhide__ = True
        given = parse(self.ec_unplug, ends(line))
        flow = open_flow(given.flow)
        flow.unplug(given.source, given.target, on=given.on)
        _told(flow, None)

    @no_var_expand
    @magic_arguments("ec_ask")
    @argument("name", help="name of the socket")
    @argument("prompt", help="what is asked, in quotes")
    @argument("--choices", metavar="A,B", help="the answers there are (any)")
    @argument("--about", default="value", metavar="ARG,ARG", help="arguments: values that the person is shown (value)")
    @argument("--timeout", type=float, metavar="S", help="seconds an answer may take (no limit)")
    @_flow
    @line_magic
    def ec_ask(self, line: str) -> Socket:
        """Make a socket whose calls wait for a person: the answer is their result.

        Examples
        --------
        ::

            %ec_ask approve "Publish this?" --choices yes,no
            %ec_plug draft -> approve
        """
        __tracebackhide__ = True
        from ec_jupyter.notebook.asking import ask

        given = parse(self.ec_ask, line)
        choices = None if given.choices is None else [word.strip() for word in given.choices.split(",")]
        task = ask(given.prompt, choices, given.about.replace(",", " ").split())
        options = {} if given.timeout is None else {"timeout": given.timeout}
        return open_flow(given.flow).declare(task, given.name, **options)

    @no_var_expand
    @magic_arguments("ec_processor")
    @argument("name", help="letters, digits, '_' and '-'")
    @argument("--cpus", type=int, metavar="N", help="how many CPUs' worth of its calls may run")
    @argument("--memory", metavar="SIZE", help="what a worker of it may hold, as 512MiB or 1GB")
    @argument("--affinity", type=int, nargs="+", metavar="CPU", help="CPUs of this machine its workers are bound to")
    @argument(
        "--node", action="append", metavar="NODE[:N]",
        help="where its calls run, and how many CPUs' worth of them there; once for each node",
    )  # fmt: skip
    @_flow
    @line_magic
    def ec_processor(self, line: str) -> Processor:
        """Make a processor, change it live, or look at it.

        Examples
        --------
        ::

            %ec_processor maths --cpus 2
            %ec_processor fit --node local:1 --node hpc:7
        """
        __tracebackhide__ = True
        given = parse(self.ec_processor, line)
        options = {"cpus": given.cpus, "memory": given.memory, "affinity": given.affinity, "nodes": shares(given.node)}
        return open_flow(given.flow).processor(given.name, **options)

    @no_var_expand
    @magic_arguments("ec_node")
    @argument("name", help="letters, digits, '_' and '-'")
    @argument("host", nargs="?", help="user@host, or a name that your SSH configuration knows; NAME if left out")
    @argument("--cpus", type=int, metavar="N", help="CPUs it lends (all it has)")
    @argument("--python", metavar="P", help="the Python there (python3)")
    @argument("--require", metavar="PACKAGES", help="packages its tasks need, installed there once")
    @argument("--ssh", metavar="COMMAND", help="your SSH client and its options (ssh)")
    @argument("--ask", action="store_true", default=None, help="ask here for a passphrase")
    @argument("--lease", type=float, metavar="S", help="seconds it works on when nothing is heard from here (600)")
    @argument("--remove", action="store_true", help="take it away; what runs there runs to its end")
    @_flow
    @line_magic
    def ec_node(self, line: str) -> Node | None:
        """Reach another machine over SSH and let it lend its CPUs, change it, or look at it.

        Nothing has to be installed there but python3.

        Examples
        --------
        ::

            %ec_node hpc me@host --cpus 8
            %ec_node gpu --python /opt/py/bin/python3.11 --require "numpy pandas"
            %ec_processor fit --node hpc
        """
        __tracebackhide__ = True
        given = parse(self.ec_node, line)
        flow = open_flow(given.flow)
        if given.remove:
            flow.remove(Node(flow, given.name))
            return None
        options = {word: getattr(given, word) for word in ("cpus", "python", "ask", "lease")}
        options["ssh"] = None if given.ssh is None else shlex.split(given.ssh)
        options["requirements"] = None if given.require is None else given.require.split()
        return flow.node(given.name, given.host, **options)

    @magic_arguments("ec_undo")
    @_flow
    @line_magic
    def ec_undo(self, line: str) -> str:
        """Take the last edit of the wiring back."""
        __tracebackhide__ = True
        flow = open_flow(parse(self.ec_undo, line).flow)
        return _told(flow, flow.undo())

    @magic_arguments("ec_redo")
    @_flow
    @line_magic
    def ec_redo(self, line: str) -> str:
        """Make the edit that was taken back last."""
        __tracebackhide__ = True
        flow = open_flow(parse(self.ec_redo, line).flow)
        return _told(flow, flow.redo())

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

            %ec_submit [--flow NAME] [--id ID] [--partial] SOCKET [arg=expr ...]

        ``--partial``: arguments are missing on purpose, and the request waits for them.

        Examples
        --------
        ::

            %ec_submit add_two one=1 two=x + 1
        """
        __tracebackhide__ = True
        words = line.split(maxsplit=1)
        given = Namespace(flow=None, id=None, partial=False)
        while words and words[0] in ("--flow", "--id", "--partial"):
            rest = words[1].split(maxsplit=1) if len(words) > 1 else []
            if words[0] == "--partial":
                given.partial, words = True, rest
                continue
            if not rest:
                raise MagicUsageError(f"ec_submit: {words[0]} takes a value")
            setattr(given, words[0][2:], rest[0])
            words = rest[1].split(maxsplit=1) if len(rest) > 1 else []
        if not words or words[0].startswith("-"):
            usage = "%ec_submit [--flow NAME] [--id ID] [--partial] SOCKET arg=expr ..."
            raise MagicUsageError(f"ec_submit: write {usage}")
        values, arguments = call_arguments(words[1] if len(words) > 1 else "", self._space())
        return open_flow(given.flow).submit(words[0], *values, id=given.id, partial=given.partial, **arguments)

    @magic_arguments("ec_status")
    @_flow
    @line_magic
    def ec_status(self, line: str) -> Report:
        """Counts of every socket."""
        __tracebackhide__ = True
        return open_flow(parse(self.ec_status, line).flow).status()

    @magic_arguments("ec_statistics")
    @argument("socket", nargs="?", help="of this socket only")
    @argument("--by", choices=["socket", "processor", "node"], help="of these only (all)")
    @argument("--course", action="store_true", help="a row for each half minute instead of one for the hour")
    @_flow
    @line_magic
    def ec_statistics(self, line: str) -> Table:
        """Rates, queues, times, CPUs and memory of the last hour.

        Examples
        --------
        ::

            %ec_statistics
            %ec_statistics add_two --course
        """
        __tracebackhide__ = True
        given = parse(self.ec_statistics, line)
        return open_flow(given.flow).statistics(given.socket, by=given.by, course=given.course)

    @no_var_expand
    @magic_arguments("ec_log")
    @argument("socket", nargs="?", help="of this socket's calls only")
    @argument("--level", choices=["info", "warning", "error"], help="of this level or a higher one")
    @argument("--text", metavar="TEXT", help="lines that hold this text")
    @argument("--limit", type=int, default=100, metavar="N", help="how many at most (100)")
    @_run
    @_flow
    @line_magic
    def ec_log(self, line: str) -> Table:
        """The newest lines of the log: output, failures, deaths, retries, edits and notices.

        Examples
        --------
        ::

            %ec_log add_two --level warning
            %ec_log --text "out of memory"
        """
        __tracebackhide__ = True
        given = parse(self.ec_log, line)
        options = {"run": given.run, "level": given.level, "text": given.text, "limit": given.limit}
        return open_flow(given.flow).log(given.socket, **options)

    @magic_arguments("ec_requests")
    @argument("socket", nargs="?", help="of this socket only")
    @argument("--state", help="in this state only")
    @argument("--by", choices=["id", "started"], default="id", help="order")
    @argument("--limit", type=int, default=1000, metavar="N", help="how many at most (1000)")
    @_run
    @_flow
    @line_magic
    def ec_requests(self, line: str) -> Table:
        """The newest requests."""
        __tracebackhide__ = True
        given = parse(self.ec_requests, line)
        options = {"state": given.state, "run": given.run, "by": given.by, "limit": given.limit}
        return open_flow(given.flow).requests(given.socket, **options)

    @magic_arguments("ec_waiting")
    @argument("socket", nargs="?", help="at this socket only")
    @_flow
    @line_magic
    def ec_waiting(self, line: str) -> Table:
        """Values that wait for the other arguments of their call."""
        __tracebackhide__ = True
        given = parse(self.ec_waiting, line)
        return open_flow(given.flow).waiting(given.socket)

    @magic_arguments("ec_wait")
    @argument("--timeout", type=float, metavar="S", help="seconds to wait")
    @_flow
    @line_magic
    def ec_wait(self, line: str) -> Report:
        """Wait until nothing is queued or running; tells what is left. Interrupting it leaves the flow alone."""
        __tracebackhide__ = True
        given = parse(self.ec_wait, line)
        return open_flow(given.flow).wait(given.timeout)

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
        flow = open_flow(name)
        request = self._target(Namespace(what=words[0], flow=name))
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
    @magic_arguments("ec_pause")
    @argument("names", nargs="*", metavar="NAME", help="sockets or processors; all if left out")
    @_flow
    @line_magic
    def ec_pause(self, line: str) -> None:
        """Go on accepting requests, start none."""
        __tracebackhide__ = True
        given = parse(self.ec_pause, line)
        open_flow(given.flow).pause(*given.names)

    @magic_arguments("ec_resume")
    @argument("names", nargs="*", metavar="NAME", help="sockets or processors; all if left out")
    @_flow
    @line_magic
    def ec_resume(self, line: str) -> None:
        """Start requests again, in order."""
        __tracebackhide__ = True
        given = parse(self.ec_resume, line)
        open_flow(given.flow).resume(*given.names)

    @magic_arguments("ec_cancel")
    @_what
    @_run
    @_flow
    @line_magic
    def ec_cancel(self, line: str) -> int:
        """Cancel what has not ended; how many requests that was."""
        __tracebackhide__ = True
        given = parse(self.ec_cancel, line)
        return open_flow(given.flow).cancel(self._target(given))

    @magic_arguments("ec_retry")
    @_what
    @argument("--all", action="store_true", help="all that have failed")
    @_run
    @_flow
    @line_magic
    def ec_retry(self, line: str) -> list[Request]:
        """Run failed requests again: same arguments, newest code."""
        __tracebackhide__ = True
        given = parse(self.ec_retry, line)
        return open_flow(given.flow).retry(None if given.all else self._target(given))

    @magic_arguments("ec_replay")
    @argument("what", nargs="?", help="number of a request, or a variable that holds a request or run")
    @argument("--from", dest="from_", metavar="SOCKET", help="only this socket and what it feeds")
    @_run
    @_flow
    @line_magic
    def ec_replay(self, line: str) -> Run:
        """Run again, as a new run, what came of a request or run; the originals stay."""
        __tracebackhide__ = True
        given = parse(self.ec_replay, line)
        return open_flow(given.flow).replay(self._target(given), from_=given.from_)

    @magic_arguments("ec_debug")
    @argument("what", nargs="?", help="number of a request, or a variable that holds one")
    @_flow
    @line_magic
    def ec_debug(self, line: str) -> dict[str, Any]:
        """The very arguments of a call, loaded in this kernel."""
        __tracebackhide__ = True
        given = parse(self.ec_debug, line)
        return open_flow(given.flow).recall(self._target(given))

    @magic_arguments("ec_stop")
    @_flow
    @line_magic
    def ec_stop(self, line: str) -> None:
        """End the flow's engine at once, if one runs; everything stays on disk."""
        __tracebackhide__ = True
        from ec_jupyter.notebook.flow import stop_flow

        stop_flow(parse(self.ec_stop, line).flow)

    # -- reading ---------------------------------------------------------------
    def _space(self) -> dict[str, Any]:
        return self.shell.user_ns if self.shell is not None else vars(sys.modules["__main__"])

    def _target(self, given: Namespace) -> Any:
        """Request, run or socket that a line names."""
        if getattr(given, "run", None) is not None:
            return open_flow(given.flow).run(given.run)
        if given.what is None:
            raise MagicUsageError("say which: the number of a request, a variable that holds one, or --run N")
        if given.what.isdecimal():
            return int(given.what)
        held = self._space().get(given.what)
        return held if hasattr(held, "flow") and hasattr(held, "id") else given.what
