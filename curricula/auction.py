"""Stages of the auction: bid the value first, then learn to shade it."""

from __future__ import annotations

from curricula.stage import Stage


def formats() -> tuple[Stage, ...]:
    """Second price, where bidding one's value is dominant (Vickrey 1961), then first price, where half of it is the equilibrium.

    Two bidders with the same observations in both: a policy that bids its value earns nothing in the second stage, so
    its first evaluations there are low; it goes back only when it stays worse than the naive policy.
    """
    return (
        Stage("second_price", {"format": "second", "n_agents": 2}, promote=0.9, window=3, minimum_steps=10_000),
        Stage("first_price", {"format": "first", "n_agents": 2}, demote=0.0, window=10, minimum_steps=50_000),
    )
