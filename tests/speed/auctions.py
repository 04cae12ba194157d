"""Raw speed of mode advertising on one thread: auctions and agent-steps a second with everything on, and a day of AuctionNet's size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import envs
from tests.speed.measure import Rate, rate

AUCTIONS, STEPS, QUOTED, TIMES = 1.0e6, 1.0e5, 11.0e3, 50
"""At least: auctions and agent-steps a CPU second. AuctionNet's whole day loop in auctions a second, and our ratio to it."""
EVERYTHING: dict[str, Any] = {
    "mode": "advertising", "format": "gsp", "n_agents": 48, "slots": 3, "exposure": "1 .8 .6", "horizon": 48, "auctions_per_tick": 480,
    "creatives": 3, "segments": 4, "channels": 3, "journeys": True, "delay": 0.5, "window": 1.0, "fatigue": 1.0, "drift": 0.1,
    "shift_rate": 0.1, "season": 0.2, "quality_power": 0.5, "attribution": "shapley", "identity": 0.8, "tracking": 0.9, "pacing": "dual",
    "feedback": "full", "cpa_low": 20.0, "cpa_high": 40.0, "traffic_swing": 0.6, "pricing": "cpc", "budget": 500.0,
}  # fmt: skip
SIZES: dict[str, tuple[dict[str, Any], int, str, float]] = {
    "auctions, 48 bidders, 3 positions": (EVERYTHING, 8, "auctions", AUCTIONS),
    "agent-steps, 48 bidders, 480 auctions a tick": (EVERYTHING, 8, "agent-steps", STEPS),
    "agent-steps, 48 bidders, 32 auctions a tick": ({**EVERYTHING, "auctions_per_tick": 32}, 32, "agent-steps", STEPS),
    "agent-steps, 128 bidders, 32 auctions a tick": ({**EVERYTHING, "n_agents": 128, "auctions_per_tick": 32}, 8, "agent-steps", STEPS),
    "a day of 500,000 auctions, 48 bidders": ({"preset": "auctionnet"}, 1, "auctions", TIMES * QUOTED),
}
"""Name -> setting, copies, what is counted, at least."""


def episode(settings: dict[str, Any], copies: int) -> tuple[Callable[[], None], float, float]:
    """(play one episode of every copy, its auctions, its agent-steps)."""
    game = envs.make("auction", copies, **settings)
    game.reset(0)
    p: Any = game.params
    game.action[:] = 0.8

    def play() -> None:
        for _ in range(p.horizon):
            game.tick()

    return play, float(copies * p.horizon * p.auctions_per_tick), float(copies * p.horizon * p.n_agents)


def raw(name: str) -> Rate:
    """Whole episodes with actions that stay."""
    settings, copies, unit, bound = SIZES[name]
    play, auctions, steps = episode(settings, copies)
    return rate(name, play, auctions if unit == "auctions" else steps, unit=unit, at_least=bound, turns=5)


def times_quoted() -> float:
    """How many times AuctionNet's quoted speed the day runs at."""
    return raw("a day of 500,000 auctions, 48 bidders").rate / QUOTED
