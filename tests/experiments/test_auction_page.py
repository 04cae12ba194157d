"""An episode of the auction as a page: spend against traffic, bids, positions, journeys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.auction.page import spend_shares
from experiments.replay import replay

PNG = b"\x89PNG"


@pytest.mark.parametrize(
    ("choices", "panels"),
    [
        (["env.preset=pacing_four", "env.horizon=6", "env.budget=48.0"], ("Spend over budget against traffic", "Bids")),
        (["env.preset=train", "env.horizon=6", "env.auctions_per_tick=32"], ("Positions, episode so far",)),
        (
            ["env.preset=train", "env.horizon=6", "env.auctions_per_tick=32", "env.journeys=true"],
            ("Positions, episode so far", "Journeys: users that are aware and more"),
        ),
    ],
)
def test_pages(choices: list[str], panels: tuple[str, ...], tmp_path: Path) -> None:
    found = replay(["env=auction", *choices], tmp_path / "page.png", baseline="truthful")
    assert (tmp_path / "page.png").read_bytes()[:4] == PNG
    shares = spend_shares(found)
    assert shares.shape == (7, found.reward.shape[1]) and (np.diff(shares, axis=0) >= 0).all() and shares.max() <= 1 + 1e-9
    assert shares[-1] == pytest.approx(found.metric("budget_use"), rel=1e-6)
    replay(["env=auction", *choices], tmp_path / "page.svg", baseline="truthful")
    text = (tmp_path / "page.svg").read_text()
    assert all(f"<!-- {panel} -->" in text for panel in panels)
