"""CPUs and memory as the operating system sees them: affinity, thread limits, resident bytes."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
"""What numeric libraries read when they load; a person's own setting of one is left alone."""

_SETTERS = {
    "OPENBLAS_NUM_THREADS": (
        "openblas",
        tuple(f"{head}openblas_set_num_threads{tail}" for head in ("", "scipy_") for tail in ("", "64_", "_64")),
    ),
    "MKL_NUM_THREADS": ("mkl_rt", ("MKL_Set_Num_Threads",)),
    "BLIS_NUM_THREADS": ("blis", ("bli_thread_set_num_threads",)),
    "OMP_NUM_THREADS": ("omp", ("omp_set_num_threads",)),
}
"""By setting: what names of libraries hold that have such a setting, and the functions that change it later."""

Pins = tuple[int, ...]


def available() -> list[int]:
    """CPUs this process may run on, in order; empty where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return []


def thread_limits(threads: float) -> dict[str, str]:
    """Environment that keeps numeric libraries to `threads` threads."""
    count = str(max(1, math.ceil(threads)))
    return {name: count for name in THREAD_LIMITS if name not in os.environ}


def limit(threads: int, names: Collection[str]) -> None:
    """Keep numeric libraries, loaded or not yet, to so many threads; `names`: the settings that are ours to change."""
    os.environ.update(dict.fromkeys(names, str(max(1, threads))))
    with suppress(OSError), open("/proc/self/maps") as file:
        loaded = {line.split()[-1] for line in file if ".so" in line}
        for name in _SETTERS.keys() & set(names):
            word, functions = _SETTERS[name]
            for path in [path for path in loaded if word in os.path.basename(path)]:
                _call(path, functions, max(1, threads))


def _call(path: str, functions: Iterable[str], number: int) -> None:
    """Call what a loaded library has of these functions."""
    import ctypes

    library = ctypes.CDLL(path)
    for name in functions:
        function = getattr(library, name, None)
        if function is not None:
            function(ctypes.c_int(number))


def pin(cpus: Sequence[int]) -> None:
    """Bind this process, and the threads it will start, to `cpus`; nothing where that cannot be."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def move(pid: int, cpus: Sequence[int]) -> None:
    """Bind a process that runs, with all its threads, to `cpus`; nothing where that cannot be."""
    with suppress(OSError):  # it has ended meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                os.sched_setaffinity(int(thread), cpus)


def plan(
    wanted: Mapping[str, tuple[Sequence[int], str | Sequence[int]]], cpus: Sequence[int]
) -> dict[tuple[str, int], Pins]:
    """Which CPUs each slot is bound to; a slot that is not named is bound to none.

    `wanted`: by processor: its slots, and ``"auto"`` or the CPUs the user named. `cpus`: CPUs the node lends.
    ``"auto"`` binds only where every slot gets a CPU of its own: a slot that waits for *its* CPU while another is free
    wastes the node.
    """
    pins: dict[tuple[str, int], Pins] = {}
    taken: set[int] = set()
    loose: list[tuple[str, int]] = []
    for name, (slots, affinity) in wanted.items():
        if isinstance(affinity, str):
            loose.extend((name, slot) for slot in slots)
            continue
        taken.update(affinity)
        pins.update({(name, slot): tuple(affinity) for slot in slots})
    free = [cpu for cpu in cpus if cpu not in taken]
    if len(loose) <= len(free):
        pins.update({slot: (cpu,) for slot, cpu in zip(loose, free, strict=False)})
    return pins


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants; 0 once it is gone."""
    return sum(map(_resident, _family(pid)))


def used_by(pid: int) -> tuple[float, int]:
    """CPU seconds that a process and its descendants have used so far, and their resident memory; 0 once it is gone."""
    ticks = os.sysconf("SC_CLK_TCK")
    family = _family(pid)
    return sum(map(_ticks, family)) / ticks, sum(map(_resident, family))


def _family(pid: int) -> list[int]:
    found, pids = [], [pid]
    while pids:
        one = pids.pop()
        found.append(one)
        with suppress(OSError):  # ended meanwhile
            pids.extend(_children(one))
    return found


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError), open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _ticks(pid: int) -> int:
    """Clock ticks of a process and of those of its children that have ended."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:
        # its name may hold anything
        return sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found.extend(int(child) for child in file.read().split())
    return found


def cpu_count() -> int:
    """CPUs this process may use: affinity, cgroup quota and loky's own limit respected."""
    import loky

    return max(1, int(loky.cpu_count()))


def boot_id() -> str:
    """Which start of the machine this is; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def memory() -> list[int] | None:
    """Bytes used and in all; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    # tens of MiB: what changes all the time need not be told all the time
    total = kib["MemTotal"] << 10
    return [(total - (kib["MemAvailable"] << 10)) >> 26 << 26, total]
