"""Four stations that recorded an afternoon of small shocks, from ObsPy's own test data.

A module beside the notebook is importable in its workers, on other machines too: they fetch it when they need it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import obspy

RECORDS = {
    "UH1": "BW.UH1._.SHZ.D.2010.147.cut.slist.gz",
    "UH2": "BW.UH2._.SHZ.D.2010.147.cut.slist.gz",
    "UH3": "BW.UH3._.SHZ.D.2010.147.cut.slist.gz",
    "UH4": "BW.UH4._.EHZ.D.2010.147.cut.slist.gz",
}


def ratio(station: str, trigger: dict[str, Any]) -> obspy.Trace:
    """How much louder a station is in the short run than in the long run.

    Parameters
    ----------
    station : str
        A key of `RECORDS`.
    trigger : dict
        ``band`` (lowest and highest frequency, Hz), ``sta`` and ``lta`` (s); the rest travels along.

    Returns
    -------
    obspy.Trace
        The recursive STA/LTA ratio, with `trigger` in its ``stats``.
    """
    spec = find_spec("obspy")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the records are in the package obspy: pip install obspy")
    import obspy

    stream = obspy.read(str(Path(spec.origin).parent / "signal" / "tests" / "data" / RECORDS[station]))
    low, high = trigger["band"]
    stream.filter("bandpass", freqmin=low, freqmax=high)
    stream.trigger("recstalta", sta=trigger["sta"], lta=trigger["lta"])
    stream[0].stats.trigger = trigger
    return stream[0]


def shocks(traces: list[obspy.Trace]) -> list[tuple[str, float, list[str]]]:
    """Times at which three stations or more were loud together: hour, seconds it lasted, and who heard it."""
    import obspy
    from obspy.signal.trigger import coincidence_trigger

    trigger = traces[0].stats.trigger
    found = coincidence_trigger(None, trigger["on"], trigger["off"], obspy.Stream(traces), 3)
    return [
        (one["time"].strftime("%H:%M:%S.%f")[:-4], round(one["duration"], 2), sorted(one["stations"])) for one in found
    ]
