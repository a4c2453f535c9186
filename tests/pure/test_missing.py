"""What a call that missed a package on a node says."""

from __future__ import annotations

from ec_jupyter.engine.stale_filter import hint
from ec_jupyter.model import Node

TRACEBACK = """Traceback (most recent call last):
  File "<socket read v1>", line 3, in read
    import obspy.core
ModuleNotFoundError: No module named 'obspy'
"""
ERROR = {"type": "ModuleNotFoundError", "message": "No module named 'obspy.core'", "traceback": TRACEBACK}


def test_a_missing_package_is_named_with_the_line_that_needs_it_and_the_option_that_ships_it():
    assert hint(ERROR, Node("hpc", "me@hpc")) == (
        "node 'hpc' has no package 'obspy', which line 3 needs (import obspy.core); "
        "%ec_node hpc --require obspy installs it there, if that is its name on PyPI"
    )


def test_what_the_node_requires_already_stays_in_the_option():
    assert '--require "numpy>=2 obspy" installs' in hint(ERROR, Node("hpc", "me@hpc", requirements=("numpy>=2",)))


def test_a_cluster_has_no_such_option():
    assert hint(ERROR, Node("dask", "tcp://there:8786", kind="dask")).endswith("where the cluster's workers run")


def test_any_other_failure_has_no_hint():
    assert hint({**ERROR, "type": "ImportError"}, Node("hpc", "me@hpc")) is None
    assert hint({**ERROR, "message": "who knows"}, Node("hpc", "me@hpc")) is None
