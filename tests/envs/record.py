"""Golden trajectories: short episodes under seeded actions, kept as JSON. Rewrite them with `python -m tests.envs.record`.

A change of them is a change of the numbers that everybody's results rest on: say "new numbers" in its commit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import envs
from marl.copies import action_bounds

FOLDER = Path(__file__).parent / "golden"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "auction_market": ("auction", {"n_agents": 3, "horizon": 3, "auctions_per_tick": 8, "budget_tightness": 0.3}),
    "auction_exact": ("auction", {"n_agents": 2, "horizon": 2, "auctions_per_tick": 4, "law": "lognormal", "reserve": 0.5}),
    "auction_first": ("auction", {"n_agents": 2, "horizon": 2, "auctions_per_tick": 1, "mode": "asym_uniform", "format": "first"}),
    "auction_all_pay": ("auction", {"n_agents": 3, "horizon": 2, "auctions_per_tick": 4, "mode": "uniform_ipv", "format": "all_pay"}),
    "auction_pacing": ("auction", {"preset": "pacing", "horizon": 3, "auctions_per_tick": 8}),
    "spread": ("spread", {"horizon": 3}),
    "speaker_listener": ("speaker_listener", {"horizon": 3}),
    "foraging": ("foraging", {"size": 5, "horizon": 3}),
    "bertrand": ("bertrand", {"horizon": 3}),
    "bit_flip": ("bit_flip", {"bits": 4, "horizon": 3}),
    "warehouse": ("warehouse", {"column_height": 2, "horizon": 3}),
    "auction_log": ("auction_log", {"n_agents": 2, "horizon": 40, "budget": 1 / 8}),
    "cluster": ("cluster", {"n_agents": 3, "horizon": 3, "load": 2.0, "slack": 2.0, "outage": 0.1, "burst": 2.0}),
    "cluster_arbiter": ("cluster", {"n_agents": 2, "horizon": 3, "mechanism": "arbiter", "load": 2.0}),
    "cluster_queue": ("cluster", {"preset": "mm4", "horizon": 3, "warm_up": 0}),
    "allocation_log": ("allocation_log", {"n_agents": 3, "horizon": 3}),
    "supply_chain": ("supply_chain", {"horizon": 3, "lead_noise": 1, "disruption": 0.1, "capacity": 1.1, "expedite": True}),
    "supply_chain_beer": (
        "supply_chain",
        {
            "horizon": 3,
            "lead_noise": 1,
            "disruption": 0.1,
            "capacity": 1.1,
            "expedite": True,
            "action": "delta",
            "unit": "means",
            "holding": "1",
            "penalty": "4",
            "expedite_cost": 1.0,
        },
    ),
    "supply_chain_assembly": (
        "supply_chain",
        {"topology": "assembly", "n_agents": 3, "horizon": 3, "timing": "after", "action": "level", "parts": 10, "demand": "ar1"},
    ),
    "supply_chain_lost": ("supply_chain", {"preset": "lost_sales_2", "horizon": 3, "warm_up": 0}),
    "supply_chain_log": ("supply_chain_log", {"horizon": 3, "forecast": "holt_winters", "share_forecasts": True}),
    "commons": ("commons", {"n_agents": 3, "horizon": 3, "noise": 0.5}),
    "sharing": ("sharing", {"n_agents": 3, "horizon": 3}),
    "sharing_bids": ("sharing", {"preset": "bids_two"}),
    "trading_impact": ("trading", {"mechanism": "impact", "horizon": 3, "portfolios": 1}),
    "trading_batch": ("trading", {"mechanism": "batch", "horizon": 3, "regime": "switching", "indicators": False}),
    "trading_book": ("trading", {"mechanism": "book", "horizon": 3, "latency": 1}),
    "trading_log": ("trading_log", {"horizon": 3}),
    "quoting": ("quoting", {"horizon": 3, "n_agents": 2}),
    "liquidation": ("liquidation", {"preset": "two_sellers", "horizon": 3, "sight": "closed"}),
    "kyle": ("kyle", {"preset": "learned_maker", "rounds": 3}),
}


def trajectory(case: str, steps: int = 4) -> dict[str, Any]:
    """obs, reward and cost [steps, 2, A, ...] of two copies, and the metrics of their last finished episode, as rounded lists."""
    name, settings = CASES[case]
    game = envs.make(name, 2, **settings)
    low, high, _ = action_bounds([v.group for v in game.groups.values()], game.action.shape[2])
    generator = np.random.default_rng(7)
    shown: dict[str, list[Any]] = {"obs": [], "reward": [], "cost": []}
    game.reset(11)
    for _ in range(steps):
        game.step(low + (np.minimum(high, 1.2) - low) * generator.random(game.action.shape))
        for array, rows in shown.items():
            rows.append(_rounded(getattr(game, array)))
    return {**shown, "metrics": _rounded(game.metrics)}


def _rounded(values: Any) -> Any:
    return np.vectorize(lambda x: float(f"{x:.6g}"), otypes=[float])(values).tolist()


if __name__ == "__main__":
    for case in CASES:
        (FOLDER / f"{case}.json").write_text(json.dumps(trajectory(case)) + "\n")
