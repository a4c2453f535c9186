"""The half of a flow that lets time act: schedules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from ec_jupyter.client import service
from ec_jupyter.client.client import Client
from ec_jupyter.client.texts import clock_text
from ec_jupyter.errors import ScheduleNotFoundError, by_name
from ec_jupyter.flow.rows import View
from ec_jupyter.notebook.edits import Editor
from ec_jupyter.notebook.ownership import interactive
from ec_jupyter.notebook.parts import Named, Part, check_own
from ec_jupyter.notebook.tables import Table

_REBOOT = (
    "schedules of this flow go on without a notebook, and after a reboot once somebody uses the flow; "
    "the shell command 'ec install-service' lets them start with the machine"
)
_COLUMNS = ["name", "socket", "when", "missed", "next"]


class Schedule(Named):
    """What calls a socket by itself, at its times.

    Parameters
    ----------
    flow : Flow
        Where it is.
    name : str
        What it is called.
    """

    flow: Any
    _kind, _missing = "schedules", ScheduleNotFoundError

    @property
    def socket(self) -> str:
        """Name of the socket that it calls."""
        return str(self._record["socket"])

    @property
    def when(self) -> str:
        """When it ticks, in words: ``every 5m``, ``cron 0 6 * * 1-5``."""
        return str(self._record["text"])

    @property
    def missed(self) -> str:
        """What becomes of ticks in whose time no engine ran: ``once``, ``all`` or ``skip``."""
        return str(self._record["missed"])

    @property
    def paused(self) -> bool:
        """Whether it does not tick."""
        return bool(self._record["paused"])

    @property
    def next(self) -> float | None:
        """Wall clock of its next tick; None while it is paused."""
        if self.paused:
            return None
        times = self.flow._client.ask("query", {"what": "schedules"})[0]["next"]
        return float(by_name(times, self.name, ScheduleNotFoundError))

    def pause(self) -> None:
        """Have it tick no more until it is resumed; what it has called goes on."""
        self._put(paused=True)

    def resume(self) -> None:
        """Have it tick again from now on; nobody is called for the ticks in between."""
        self._put(paused=False)

    def _put(self, *, paused: bool) -> None:
        words = ("name", "socket", "every", "cron", "zone", "missed")
        self.flow._editor.change("schedule", **{word: self._record[word] for word in words}, paused=paused)

    def remove(self) -> None:
        """Take it away; as `Flow.unschedule`."""
        self.flow.unschedule(self)

    def __repr__(self) -> str:
        if self.name not in self._known:
            return f"<schedule {self.name}, taken away>"
        return f"<schedule {self.name}: {self.when}>"


def _say_what_a_reboot_does() -> None:
    if interactive():
        print(_REBOOT)  # noqa: T201 - in the cell that makes the first schedule


class Timing:
    """What `Flow` can do with time."""

    if TYPE_CHECKING:
        _client: Client
        _editor: Editor

        @property
        def _wiring(self) -> View: ...

        def _socket(self, target: Any) -> str: ...

    def every(
        self,
        period: float | str | timedelta,
        socket: str | Part | Callable[..., Any],
        *,
        name: str | None = None,
        missed: str | None = None,
        paused: bool = False,
    ) -> Schedule:
        """Call a socket again and again, without arguments: the first time one period from now.

        Parameters
        ----------
        period : float, str or timedelta
            From one call to the next: seconds, or ``"90s"``, ``"5m"``, ``"2h"``, ``"1d"``; at least 1 s.
        socket : str, Socket or function
            What to call. Its arguments have defaults, or are fixed (`fix`).
        name : str, optional
            What the schedule is called; as the socket, if left out. The same name again changes the schedule.
        missed : {"once", "all", "skip"}, optional
            What becomes of ticks in whose time no engine ran: one call makes up for all of them, each has its own (the
            newest thousand), or none has. ``once`` if left out.
        paused : bool
            It does not tick before it is resumed (`Schedule.resume`), or said again without this.

        Raises
        ------
        DeclarationError
            An option is none, or the socket needs an argument; nothing has changed.

        Notes
        -----
        A tick makes one request, whatever is killed when. The engine stays while there is a schedule, and starts again
        with the next use of the flow after a reboot; ``ec install-service`` has it start by itself.
        """
        return self._schedule(socket, name, every=period, missed=missed, paused=paused)

    def cron(
        self,
        line: str,
        socket: str | Part | Callable[..., Any],
        *,
        zone: str | None = None,
        name: str | None = None,
        missed: str | None = None,
        paused: bool = False,
    ) -> Schedule:
        """Call a socket at the times that a line of cron names; else as `every`.

        Parameters
        ----------
        line : str
            Minute, hour, day, month and weekday: ``"0 6 * * 1-5"`` is at six from Monday to Friday.
        socket : str, Socket or function
            What to call.
        zone : str, optional
            Time zone of the line, such as ``"Europe/Berlin"``; this machine's if left out. A tick in an hour that
            daylight saving leaves out comes right after it, and one in an hour that comes twice comes once.
        name, missed, paused
            As for `every`.

        Raises
        ------
        DeclarationError
            An option is none, or the socket needs an argument; nothing has changed.
        """
        return self._schedule(socket, name, cron=line, zone=zone, missed=missed, paused=paused)

    def _schedule(self, socket: str | Part | Callable[..., Any], name: str | None, **options: Any) -> Schedule:
        end = self._socket(socket)
        new = not self._wiring["schedules"] and not service.installed(self._client.folder)
        given = {word: value for word, value in options.items() if value is not None}
        with self._editor.edit() as edit:
            edit.add("schedule", socket=end, **({} if name is None else {"name": name}), **given)
            if new:
                edit.after(_say_what_a_reboot_does)
        return Schedule(cast(Any, self), name or end)

    def unschedule(self, schedule: str | Schedule) -> None:
        """Take a schedule away; what it has called goes on.

        Raises
        ------
        ScheduleNotFoundError
            There is none of that name.
        """
        check_own(cast(Any, self), [schedule])
        name = schedule.name if isinstance(schedule, Schedule) else schedule
        self._editor.change("unschedule", name=name)

    @property
    def schedules(self) -> Table:
        """A table of its schedules, with the next tick of each; items are `Schedule`."""
        rows = self._wiring["schedules"]
        times = self._client.ask("query", {"what": "schedules"})[0]["next"] if rows else {}
        table = [
            {
                "name": row["name"], "socket": row["socket"], "when": row["text"], "missed": row["missed"],
                "next": clock_text(times.get(row["name"])),
            }
            for row in rows
        ]  # fmt: skip
        return Table(table, _COLUMNS, items=[Schedule(cast(Any, self), row["name"]) for row in rows])
