"""Stages of the auction: bid the value first, then learn to shade it."""

from __future__ import annotations

from curricula.stage import Stage


def formats() -> tuple[Stage, ...]:
    """Second price, where bidding one's value is dominant (Vickrey 1961), then first price, where half of it is the equilibrium.

    Two bidders with the same observations in both. Focal scores: a policy that still bids its value earns nothing in the
    second stage and scores about -.2 there, which it may; one that loses money (below -.5) goes back.
    """
    game = {"mode": "uniform_ipv", "n_agents": 2}
    return (
        Stage("second_price", {**game, "format": "second"}, promote=0.9, window=3, minimum_steps=10_000),
        Stage("first_price", {**game, "format": "first"}, demote=-0.5, window=5, minimum_steps=10_000),
    )
