"""The magics that change a flow's wiring: each parses its line, makes one edit, and returns what that gives."""

# IPython's decorators bear no types
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from ec_jupyter.flow.declare import FULL, JOINS
from ec_jupyter.flow.schedule import MISSED
from ec_jupyter.notebook.cell import Cell
from ec_jupyter.notebook.lines import chain, ends, parse, shares
from ec_jupyter.notebook.nodes import Node
from ec_jupyter.notebook.views import SOCKET_WORDS

if TYPE_CHECKING:
    from ec_jupyter.notebook.composition import Composition
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.tables import Table
    from ec_jupyter.notebook.timing import Schedule
    from ec_jupyter.notebook.views import Plug, Processor, Socket

_T = TypeVar("_T")
of_flow = argument("--flow", metavar="NAME", help="another flow than the notebook's own")
_on = argument("--on", choices=["result", "error"], default="result", help="what the plug carries")

_paused = argument("--paused", action="store_true", help="it does not tick before it is said again without this")
_schedule_name = argument("--name", help="what the schedule is called (as its socket)")
_missed = argument("--missed", choices=MISSED, help="calls for ticks in whose time no engine ran (once)")


def open_flow(name: str | None) -> Flow:
    """The flow of that name, or the notebook's own."""
    # the first use of a flow loads what a mere %load_ext does not need
    from ec_jupyter.notebook import flow

    return flow.open_flow(name)


def known_flow(name: str | None) -> Flow:
    """The flow of that name, which is there already, or the notebook's own."""
    from ec_jupyter.notebook import flow

    return flow.known_flow(name)


def flow_magic(
    method: Callable[..., _T], *, before: Callable[[str], str] = str, opens: Callable[[str | None], Flow] = open_flow
) -> Callable[[Any, str], _T]:
    """A line magic whose method gets the flow that its line names, and all else by name; `before` prepares the line."""

    @wraps(method)
    def read(self: Any, line: str) -> _T:
        __tracebackhide__ = True
        given = vars(parse(read, before(line)))
        return method(self, opens(given.pop("flow")), **given)

    vars(read).update(has_arguments=True, decorators=[of_flow, *vars(method).get("decorators", ())])
    line_magic(magic_arguments(method.__name__)(read))
    return read


arrow_magic = partial(flow_magic, before=ends)


def _told(flow: Flow, made: _T) -> _T:
    """What an edit gave; what it did to what was under way is said."""
    if flow.receipt is not None and flow.receipt.text:
        print(flow.receipt.text)  # noqa: T201 - in the cell of the edit
    return made


@magics_class
class WiringMagics(Magics):
    """Those that make, change and take away what a flow is made of."""

    @no_var_expand
    @magic_arguments("%ec_socket")
    @argument("name", nargs="?", help="name of the socket; the function's own if left out")
    @argument("-p", "--processor", metavar="PROC", help="processor that owns the socket (main)")
    @argument("--cpus", type=int, metavar="N", help="CPUs of that processor, where this makes it")
    @argument("--threads", type=float, metavar="N", help="CPUs one call takes (1), or its part of one, as 0.5")
    @argument("--concurrent", type=int, metavar="N", help="of an async def: calls that run at once in one worker (1)")
    @argument("--retries", type=int, metavar="N", help="how often a call that raised is tried again (0)")
    @argument("--backoff", type=float, metavar="S", help="seconds before the first retry, doubled for each more (1)")
    @argument("--timeout", type=float, metavar="S", help="seconds a call may run (no limit)")
    @argument("--memory", metavar="SIZE", help="what a worker may hold while a call runs, as 512MiB or 1GB (no limit)")
    @argument("--once", action="store_true", default=None, help="fail a call whose worker died, never run it twice")
    @argument("--fresh", action="store_true", default=None, help="a process of its own for each call")
    @argument("--priority", type=int, metavar="N", help="calls of a higher one start first, from -100 to 100 (0)")
    @argument("--rate", metavar="N/TIME", help="how often a call may start, as 10/s, 90/m or 1/30s (no limit)")
    @argument(
        "--cache", nargs="?", const=True, metavar="HOW",
        help="use results again, for the same arguments and code: always, or for 7d, up to 2GB, or shared by all flows",
    )  # fmt: skip
    @argument("--limit", type=int, metavar="N", help="calls and waiting values it holds before it is full (no limit)")
    @argument("--callback", metavar="URL", help="an address that is told of the end of each request, by a POST")
    @argument("--keep", metavar="HOW", help="ended runs that begin here stay for 7d, or the newest 100, or forever")
    @argument("--full", choices=FULL, help="what a full one does with more (block)")
    @argument("--join", choices=JOINS, help="how values find each other (run)")
    @argument("--on", metavar="ARG,ARG", help="with --join latest: arguments whose arrivals make calls (all)")
    @argument("--hold", metavar="ARG,ARG", help="arguments whose newest value serves every later call")
    @argument("--wait", type=float, metavar="S", help="seconds a value may wait for the others of its call (no limit)")
    @argument("--key", metavar="EXPR", help="values for which this expression over `value` is equal make a call")
    @of_flow
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
        from ec_jupyter.notebook.ownership import interactive

        given = parse(self.ec_socket, line)
        code = Cell(self.shell, f"%%ec_socket {line}".rstrip(), cell)
        task = code.task(given.name)
        space = code.run()
        options = {word: getattr(given, word) for word in SOCKET_WORDS if getattr(given, word) is not None}
        flow = open_flow(given.flow)
        new = flow.revision == 0
        made = flow.declare(space[task], given.name or task, **options)
        if new and interactive():
            where = "%ec_flow in a cell, or the panel Flows at the left of JupyterLab"
            print(f"the picture of flow {flow.name!r}: {where}")  # noqa: T201
        return _told(flow, made)

    @no_var_expand
    @arrow_magic
    @argument("source", help="socket whose results it carries")
    @argument("target", help="socket, or socket.argument")
    @argument("--map", action="store_true", help="one arrival per element of the result")
    @argument(
        "--gather", nargs="?", const=True, default=False, choices=[True, "done"],
        help="the elements of a split become one list; done: without waiting for failed ones",
    )  # fmt: skip
    @argument("--when", metavar="EXPR", help="only where this expression over `result` holds")
    @argument("--pick", metavar="PART", help="only this part: a name, or an expression over `result`")
    @argument("--cycle", action="store_true", help="the plug may close a cycle")
    @argument("--hops", type=int, metavar="N", help="with --cycle: calls in a row that may lead to one of it (10,000)")
    @_on
    def ec_plug(self, flow: Flow, source: str, target: str, **how: Any) -> Plug:
        """Feed what one socket gives to an argument of another.

        Examples
        --------
        ::

            %ec_plug emit_one -> add_two.one
            %ec_plug parse -> quarantine --on error
            %ec_plug split -> big --when "result > 10"
            %ec_plug measure.energy -> fit
            %ec_plug measure -> plot --pick "result[:100]"
        """
        return _told(flow, flow.plug(source, target, **how))

    @no_var_expand
    @partial(flow_magic, before=chain)
    @argument("sockets", nargs="+", metavar="SOCKET", help="socket, or socket.argument; two or more")
    @argument("--group", metavar="NAME", help="a group to put them into, which the picture folds to one card")
    def ec_pipeline(self, flow: Flow, sockets: list[str], group: str | None) -> Composition:
        """Plug each socket into the next one.

        Examples
        --------
        ::

            %ec_pipeline load -> clean -> report.table
            %ec_pipeline load -> clean --group intake
        """
        from ec_jupyter.notebook.composition import pipeline

        return _told(flow, pipeline(*sockets, flow=flow, group=group))

    @flow_magic
    @argument("name", help="letters, digits, '_' and '-'")
    @argument("sockets", nargs="+", metavar="SOCKET", help="sockets; they leave the group that they were in")
    def ec_group(self, flow: Flow, name: str, sockets: list[str]) -> None:
        """Put sockets into a group, which the picture shows as a frame and folds to one card.

        Examples
        --------
        ::

            %ec_group intake load clean
        """
        flow.group(name, *sockets)

    @flow_magic
    @argument("name", help="name of the group")
    @argument("sockets", nargs="*", metavar="SOCKET", help="sockets to take out of it; all, if left out")
    def ec_ungroup(self, flow: Flow, name: str, sockets: list[str]) -> None:
        """Take sockets out of a group, or dissolve it; the sockets stay.

        Examples
        --------
        ::

            %ec_ungroup intake clean
            %ec_ungroup intake
        """
        flow.ungroup(name, *sockets)

    @no_var_expand
    @arrow_magic
    @argument("source", help="socket it leaves")
    @argument("target", help="socket, or socket.argument")
    @_on
    def ec_unplug(self, flow: Flow, source: str, target: str, on: str) -> None:
        """Take a plug away; what has arrived through it stays where it is.

        Examples
        --------
        ::

            %ec_unplug emit_one -> add_two.one
        """
        flow.unplug(source, target, on=on)
        _told(flow, None)

    @no_var_expand
    @flow_magic
    @argument("name", help="name of the socket")
    @argument("prompt", help="what is asked, in quotes")
    @argument("--choices", metavar="A,B", help="the answers there are (any)")
    @argument("--about", default="value", metavar="ARG,ARG", help="arguments: values that the person is shown (value)")
    @argument("--timeout", type=float, metavar="S", help="seconds an answer may take (no limit)")
    def ec_ask(
        self, flow: Flow, name: str, prompt: str, choices: str | None, about: str, timeout: float | None
    ) -> Socket:
        """Make a socket whose calls wait for a person: the answer is their result.

        Examples
        --------
        ::

            %ec_ask approve "Publish this?" --choices yes,no
            %ec_plug draft -> approve
        """
        from ec_jupyter.notebook.unworked import ask

        offered = None if choices is None else [word.strip() for word in choices.split(",")]
        task = ask(prompt, offered, about.replace(",", " ").split())
        return flow.declare(task, name) if timeout is None else flow.declare(task, name, timeout=timeout)

    @no_var_expand
    @flow_magic
    @argument("name", help="name of the socket")
    @argument("time", help="how long its calls wait, as 90s, 5m, 2h or 1d")
    def ec_sleep(self, flow: Flow, name: str, time: str) -> Socket:
        """Make a socket whose calls wait, without a CPU, and pass on what they got.

        Examples
        --------
        ::

            %ec_sleep cool_off 2d
            %ec_plug draft -> cool_off
            %ec_plug cool_off -> publish
        """
        from ec_jupyter.notebook.unworked import sleep

        return _told(flow, flow.declare(sleep(time), name))

    @no_var_expand
    @flow_magic
    @argument("name", help="letters, digits, '_' and '-'")
    @argument("--cpus", type=int, metavar="N", help="how many CPUs' worth of its calls may run")
    @argument("--memory", metavar="SIZE", help="what a worker of it may hold, as 512MiB or 1GB")
    @argument("--affinity", type=int, nargs="+", metavar="CPU", help="CPUs of this machine its workers are bound to")
    @argument(
        "--node", action="append", metavar="NODE[:N]",
        help="where its calls run, and how many CPUs' worth of them there; once for each node",
    )  # fmt: skip
    @argument("--weight", type=float, metavar="W", help="its share of the turns where calls wait for CPUs (1)")
    def ec_processor(self, flow: Flow, name: str, node: list[str] | None, **how: Any) -> Processor:
        """Make a processor, change it live, or look at it.

        Examples
        --------
        ::

            %ec_processor maths --cpus 2
            %ec_processor fit --node local:1 --node hpc:7
        """
        return flow.processor(name, nodes=shares(node), **how)

    @no_var_expand
    @flow_magic
    @argument("name", help="letters, digits, '_' and '-'")
    @argument("host", nargs="?", help="user@host, or a name that your SSH configuration knows; NAME if left out")
    @argument("--cpus", type=int, metavar="N", help="CPUs it lends (all it has)")
    @argument("--python", metavar="P", help="the Python there (python3)")
    @argument("--require", metavar="PACKAGES", help="packages its tasks need, installed there once")
    @argument("--ssh", metavar="COMMAND", help="your SSH client and its options (ssh)")
    @argument("--ask", action="store_true", default=None, help="ask here for a passphrase")
    @argument("--lease", type=float, metavar="S", help="seconds it works on when nothing is heard from here (600)")
    @argument("--remove", action="store_true", help="take it away; what runs there runs to its end")
    def ec_node(
        self, flow: Flow, name: str, host: str | None, require: str | None, ssh: str | None, remove: bool, **how: Any
    ) -> Node | None:
        """Reach another machine over SSH and let it lend its CPUs, change it, or look at it.

        Nothing has to be installed there but python3.

        Examples
        --------
        ::

            %ec_node hpc me@host --cpus 8
            %ec_node gpu --python /opt/py/bin/python3.11 --require "numpy pandas"
            %ec_processor fit --node hpc
        """
        if remove:
            flow.remove(Node(flow, name))
            return None
        how["ssh"] = None if ssh is None else shlex.split(ssh)
        how["requirements"] = None if require is None else require.split()
        return flow.node(name, host, **how)

    @no_var_expand
    @flow_magic
    @argument("period", help="from one call to the next, as 90s, 5m, 2h or 1d")
    @argument("socket", help="what to call, without arguments")
    @_schedule_name
    @_missed
    @_paused
    def ec_every(self, flow: Flow, period: str, socket: str, **how: Any) -> Schedule:
        """Call a socket again and again.

        Examples
        --------
        ::

            %ec_every 5m poll
            %ec_every 1d report --missed skip
        """
        return _told(flow, flow.every(period, socket, **how))

    @no_var_expand
    @flow_magic
    @argument("line", help="minute, hour, day, month and weekday, in quotes")
    @argument("socket", help="what to call, without arguments")
    @argument("--zone", help="time zone of the line, as Europe/Berlin (this machine's)")
    @_schedule_name
    @_missed
    @_paused
    def ec_cron(self, flow: Flow, line: str, socket: str, **how: Any) -> Schedule:
        """Call a socket at the times that a line of cron names.

        Examples
        --------
        ::

            %ec_cron "0 6 * * 1-5" report
            %ec_cron "*/15 8-18 * * *" poll --zone Europe/Berlin
        """
        return _told(flow, flow.cron(line, socket, **how))

    @flow_magic
    @argument("name", help="name of the schedule: its socket's, if it was given none")
    def ec_unschedule(self, flow: Flow, name: str) -> None:
        """Take a schedule away; what it has called goes on."""
        flow.unschedule(name)
        _told(flow, None)

    @flow_magic
    def ec_schedules(self, flow: Flow) -> Table:
        """Schedules, with the next tick of each."""
        return flow.schedules

    @flow_magic
    def ec_undo(self, flow: Flow) -> str:
        """Take the last edit of the wiring back."""
        return _told(flow, flow.undo())

    @flow_magic
    def ec_redo(self, flow: Flow) -> str:
        """Make the edit that was taken back last."""
        return _told(flow, flow.redo())
