"""Whoever is killed, and whenever: all that was accepted happens once."""

from __future__ import annotations

import os

import pytest

from tests.crash.campaign import Campaign

KILLS = 10
CAMPAIGNS = max(3, int(os.environ.get("EC_JUPYTER_KILLS", "30")) // KILLS)


@pytest.mark.parametrize("seed", range(CAMPAIGNS))
def test_everything_accepted_happens_once_whoever_is_killed(tmp_path, seed):
    campaign = Campaign(tmp_path / "notebook", seed)
    try:
        campaign.run(KILLS)
    finally:
        campaign.close()
    assert campaign.kills.total() == KILLS
