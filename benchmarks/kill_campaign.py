"""Kills client, engine and workers at random moments, over and over, and compares with a model.

``python benchmarks/kill_campaign.py --kills 1000``: each campaign is a flow of its own with 25 kills.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.crash.campaign import Campaign

EACH = 25


def main() -> int:
    """Run campaigns until there were enough kills; 1 at the first that differs from the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="how many in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first campaign")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    seed = options.seed
    while total.total() < options.kills:
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="ec_kills_"))
        campaign = Campaign(folder / "notebook", seed)
        try:
            campaign.run(min(EACH, options.kills - total.total()))
        except BaseException:
            print(f"seed {seed} differs from the model; its flow is kept in {folder}")
            raise
        finally:
            campaign.close()
        total += campaign.kills
        requests = campaign.requests
        shutil.rmtree(folder)
        print(
            f"seed {seed}: {dict(campaign.kills)}, {requests} requests, all once, {time.monotonic() - began:.1f} s",
            flush=True,
        )
        seed += 1
    print(f"{total.total()} kills {dict(total)}: nothing lost, nothing twice, every pair right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
