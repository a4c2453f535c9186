"""The flow that the pictures show: a year's end of flights."""

from __future__ import annotations

import time
from pathlib import Path

from ec_jupyter.notebook.flow import Flow, open_flow

DAYS = [f"{airport} 2013-12-{day}" for day in range(20, 32) for airport in ("EWR", "JFK", "LGA")]
"""The weather of the last one is missing: three calls fail, three values wait."""


def day(key: str) -> str:
    """One airport's day."""
    return key


def flights_of(key: str) -> list[str]:
    """Flights that left on a day."""
    time.sleep(0.01)
    return [key] * 3


def weather_of(key: str) -> dict[str, float]:
    """The weather of a day's hours."""
    if key.endswith("31"):
        raise LookupError(f"no weather of {key[:3]} on {key[4:]}")
    return {"visibility": 10.0}


def join_day(flights: list[str], weather: dict[str, float], murky: float = 3.0) -> dict[str, int]:
    """Flights of a day that left in murky air."""
    return {"flights": len(flights), "murky": int(weather["visibility"] < murky)}


def store(row: dict[str, int]) -> int:
    """Keep a row."""
    time.sleep(0.4)
    return row["flights"]


def quarantine(failure: object) -> str:
    """What could not be read."""
    return str(failure)


def make_flow(folder: Path) -> Flow:
    """The flights flow, with its last days on the way."""
    flow = open_flow("flights", folder=folder / ".ec_jupyter" / "flights")
    flow.processor("main", cpus=1)
    flow.processor("cpu", cpus=2)
    flow.processor("db", cpus=1)
    homes = {join_day: "cpu", store: "db"}
    for task in (day, flights_of, weather_of, join_day, store, quarantine):
        task.__module__ = "__main__"
        flow.declare(task, task.__name__, processor=homes.get(task, "main"))
    with flow.edit():
        flow.plug("day", "flights_of.key")
        flow.plug("day", "weather_of.key")
        flow.plug("flights_of", "join_day.flights")
        flow.plug("weather_of", "join_day.weather")
        flow.plug("join_day", "store.row")
        flow.plug("weather_of", "quarantine.failure", on="error")
    return flow


def other_flows(folder: Path) -> list[Flow]:
    """Neighbours for the panel."""
    flows = []
    for name in ("stations", "night-run"):
        flow = open_flow(name, folder=folder / "work" / ".ec_jupyter" / name)
        flow.declare(day, "read")
        flow.map("read", range(12))
        flow.wait()
        flows.append(flow)
    flows[-1].stop()
    return flows
