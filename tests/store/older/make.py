"""Leaves a flow with queued, waiting, failed, gathered and large values: `python make.py FOLDER`.

schema_2.tar.xz is what 0.1.0 made of it, schema_3.tar.xz what the version before small values stood in the rows of
requests did, schema_4.tar.xz the one before there were statistics, schema_5.tar.xz the one before queued requests that
are alike had one row, schema_6.tar.xz the one before those that end together did, schema_7.tar.xz the one before
runs had priorities, schema_8.tar.xz the one before processors had weights: flow.db, flow.id, inbox and values.
"""

from __future__ import annotations

import operator
import statistics
import sys

import ec_jupyter as ec


def declare(flow: ec.Flow) -> None:
    """Sockets of built-in functions alone: they are the same in every Python."""
    flow.processor("later", cpus=1)
    for task, name in ((operator.pos, "source"), (operator.neg, "negative"), (operator.add, "both")):
        flow.declare(task, name)
    flow.declare(operator.abs, "slow", processor="later")
    flow.plug("source", "negative")
    flow.plug("source", "slow")
    flow.plug("negative", "both.a")
    flow.plug("slow", "both.b")
    flow.declare(operator.truediv, "divide")
    for task, name in ((operator.mul, "many"), (operator.invert, "each"), (statistics.fmean, "mean")):
        flow.declare(task, name)
    flow.plug("many", "each", map=True)
    flow.plug("each", "mean.data", gather=True)
    flow.declare(operator.mul, "split")
    flow.declare(operator.index, "late", processor="later")
    flow.declare(statistics.median, "collect")
    flow.plug("split", "late", map=True)
    flow.plug("late", "collect.data", gather=True)
    flow.declare(operator.concat, "repeat")
    flow.declare(operator.length_hint, "size", processor="later")
    flow.plug("repeat", "size")


def run(flow: ec.Flow) -> None:
    """Requests of every kind; what is on 'later' stays queued, or its join waiting."""
    flow.submit("divide", 6, 3)
    flow.submit("divide", 1, 0)
    flow.submit("many", [1, 2, 3], 2)
    flow.submit("repeat", "a" * 1_500_000, "b" * 1_500_000)
    flow.wait()
    flow.pause("later")
    given = [flow.submit("source", n) for n in (3, 4)]
    given.append(flow.submit("split", [5, 7, 9], 1))
    flow.submit("both", 20, partial=True)
    given.append(flow.submit("repeat", "c" * 1_500_000, "d" * 1_500_000))
    for request in given:
        request.result()


if __name__ == "__main__":
    older = ec.flow("older", folder=sys.argv[1])
    declare(older)
    run(older)
    older.stop()
