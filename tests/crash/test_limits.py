"""What is bounded stays so in a real engine, over its kill as well."""

from __future__ import annotations

from tests.crash.flowkit import echo, wait_until

RATE = 25.0


def test_a_rate_holds_over_a_killed_engine(flow):
    flow.socket(echo, rate=f"{RATE:g}/s")
    flow.map("echo", [{"x": x} for x in range(20)])
    wait_until(lambda: flow.count("echo")["done"] >= 5)
    flow.kill_engine()
    flow.drained()
    starts = sorted(row["started"] for row in flow.requests(state="done"))
    assert len(starts) == 20
    # one call more than the rate alone allows may start at its very beginning
    assert starts[-1] - starts[0] >= 18 / RATE
