"""Tasks that several modules of tests call; they travel by value, as a notebook's do."""

from __future__ import annotations

import os
import time


def add(one, two=10):
    return one + two


def echo(x):
    return x


def ident():
    return os.getpid()


def hold(gate, x=0):
    """Stand at a gate until it is open; see `rig.Gate`."""
    if os.path.exists(gate):
        with open(f"{gate}-{x}", "w") as file:
            file.write(f"{os.getpid()}\n")
    while os.path.exists(gate):
        time.sleep(0.005)
    return x


def mark(path):
    """Say which process this is, and stay."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(600)


def logged(log, x):
    """Leave +x where it begins and -x where it ends."""
    with open(log, "a") as file:
        file.write(f"+{x}\n")
    time.sleep(0)
    with open(log, "a") as file:
        file.write(f"-{x}\n")
    return x
