"""The magics that change a flow's wiring: each parses its line, makes one edit, and returns what that gives."""

# IPython's decorators bear no types
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeVar

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from ec_jupyter.flow.declare import JOINS
from ec_jupyter.notebook.cell import Cell
from ec_jupyter.notebook.lines import ends, parse, shares
from ec_jupyter.notebook.nodes import Node

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.views import Plug, Processor, Socket

_T = TypeVar("_T")
_SOCKET_WORDS = (
    "processor", "cpus", "threads", "retries", "backoff", "timeout", "once", "fresh", "memory", "join", "on", "hold",
    "wait", "key",
)  # fmt: skip

of_flow = argument("--flow", metavar="NAME", help="another flow than the notebook's own")
_on = argument("--on", choices=["result", "error"], default="result", help="what the plug carries")


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
class WiringMagics(Magics):
    """Those that make, change and take away what a flow is made of."""

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
    @of_flow
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
    @of_flow
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
    @of_flow
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
    @of_flow
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
    @of_flow
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
    @of_flow
    @line_magic
    def ec_undo(self, line: str) -> str:
        """Take the last edit of the wiring back."""
        __tracebackhide__ = True
        flow = open_flow(parse(self.ec_undo, line).flow)
        return _told(flow, flow.undo())

    @magic_arguments("ec_redo")
    @of_flow
    @line_magic
    def ec_redo(self, line: str) -> str:
        """Make the edit that was taken back last."""
        __tracebackhide__ = True
        flow = open_flow(parse(self.ec_redo, line).flow)
        return _told(flow, flow.redo())
