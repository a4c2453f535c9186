"""How many calls a node is to have: those its slots run, and enough to keep them busy until more can arrive."""

from __future__ import annotations

from ec_jupyter.nodes.durations import SHORT_SECONDS, Durations
from ec_jupyter.nodes.local.answers import short_ahead
from ec_jupyter.nodes.local.processes import TROUBLE_SECONDS
from ec_jupyter.nodes.ssh.transport import clock

PREFETCH = 64  # calls of a slot that may be on their way, at most
FAR_SECONDS = 1.0  # calls this long wait here, not there: another node may have a CPU for them sooner


class Prefetch(Durations):
    """Learns how long calls of each processor take on one node."""

    def __init__(self) -> None:
        super().__init__()
        self._not_before: dict[str, float] = {}

    def troubled(self, processor: str) -> None:
        """Its workers do not start; none for some time."""
        self._not_before[processor] = clock() + TROUBLE_SECONDS

    def calls(self, processor: str, cpus: int, round_trip: float) -> int:
        """How many calls to have there in all."""
        if clock() < self._not_before.get(processor, 0.0):
            return 0
        seconds = self.get(processor)
        if seconds is None:
            return 2 * cpus
        ahead = min(PREFETCH, int(round_trip / seconds))
        if seconds <= SHORT_SECONDS:
            return cpus * (short_ahead(seconds) + ahead)
        # the slower a call and the nearer the node, the less is gained by one that waits there
        return cpus * ((1 if seconds > max(FAR_SECONDS, 20 * round_trip) else 2) + ahead)
