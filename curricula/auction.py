"""Stages of the auction: bid the value first, then learn to shade it; and the six of a whole market."""

from __future__ import annotations

from typing import Any

from curricula.stage import Stage

MARKET: dict[str, Any] = {
    "mode": "advertising", "padded": True, "sigma": 0.5, "segments": 4, "channels": 3, "creatives": 3, "horizon": 48,
    "auctions_per_tick": 64,
}  # fmt: skip
BUDGETS: dict[str, Any] = {**MARKET, "n_agents": 8, "format": "first", "traffic_swing": 0.6, "feedback": "full"}
POSITIONS: dict[str, Any] = {
    **BUDGETS, "format": "gsp", "slots": 3, "exposure": "1 .8 .6", "feedback": "winner", "budget_tightness": 0.5, "drift": 0.1,
    "cpa_low": 8.0, "cpa_high": 14.0,
}  # fmt: skip
CROWD: dict[str, Any] = {**POSITIONS, "fatigue": 2.0, "exposure": "", "slots": 6}
JOURNEYS: dict[str, Any] = {
    **CROWD, "n_agents": 16, "journeys": True, "horizon": 336, "ticks_per_day": 24, "auctions_per_tick": 128, "delay": 3.0, "window": 14.0,
    "identity": 0.7, "tracking": 0.9, "attribution": "position",
}  # fmt: skip


def formats() -> tuple[Stage, ...]:
    """Second price, where bidding one's value is dominant (Vickrey 1961), then first price, where half of it is the equilibrium.

    Two bidders with the same observations in both. Focal scores: a policy that still bids its value earns nothing in the
    second stage and scores about -.2 there, which it may; one that loses money (below -.5) goes back.
    """
    game: dict[str, Any] = {"mode": "uniform_ipv", "n_agents": 2}
    ends: dict[str, Any] = {"reference": "equilibrium", "episodes": 32}
    return (
        Stage("second_price", {**game, "format": "second"}, promote=0.9, window=3, minimum_steps=10_000, naive="random", **ends),
        Stage("first_price", {**game, "format": "first"}, demote=-0.5, window=5, minimum_steps=10_000, naive="idle", **ends),
    )


def stages() -> tuple[Stage, ...]:
    """Six: second price, first price, budgets, positions, a crowd, journeys. Columns are the same in all, 0 where a stage hides them.

    Drawn actions score 0. What scores 1 is the best shipped bidder of the stage: truth in second price, (n-1)/n of it in first price, the
    best constant where budgets are loose, pacing where they bind. Budgets of the first three are twice what truth costs: they bind
    nobody, and money has the scale of the later stages. A range (2-4 bidders, tightness 2 to .5, 16-48 bidders, delays of 3-7 days) is
    several stages.
    """
    up: dict[str, Any] = {"promote": 0.5, "minimum_steps": 10_000, "naive": "random"}
    down: dict[str, Any] = {**up, "demote": -1.0}
    ample: dict[str, Any] = {**MARKET, "feedback": "full", "budget_tightness": 2.0}
    return (
        Stage("second_price", {**ample, "n_agents": 2, "format": "second"}, reference="truthful", episodes=512, **up),
        Stage("first_price_2", {**ample, "n_agents": 2, "format": "first"}, reference="shaded", episodes=64, **down),
        Stage("first_price_4", {**ample, "n_agents": 4, "format": "first"}, reference="shaded", episodes=64, **down),
        Stage("budgets_loose", {**BUDGETS, "budget_tightness": 2.0}, reference="best_fixed", episodes=128, **down),
        Stage("budgets_tight", {**BUDGETS, "budget_tightness": 0.5}, reference="pid", episodes=128, **down),
        Stage("positions", POSITIONS, reference="pid", episodes=192, **down),
        Stage("crowd_16", {**CROWD, "n_agents": 16}, reference="pid", episodes=128, **down),
        Stage("crowd_48", {**CROWD, "n_agents": 48, "slots": 10}, reference="fixed", episodes=192, **down),
        Stage("journeys_3_days", JOURNEYS, reference="fixed", episodes=160, **down),
        Stage("journeys_7_days", {**JOURNEYS, "delay": 7.0}, reference="fixed", episodes=160, **{**down, "promote": None}),
    )
