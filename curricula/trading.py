"""Stages of the market: from two calm assets against a price that moves to fifteen on a book, slow and switching. All with desks of two."""

from __future__ import annotations

from typing import Any

from curricula.stage import Stage


def _each(n: int) -> dict[str, int]:
    """n agents of each role."""
    return {"market_makers": n, "executors": n, "informed": n, "momentum": n}


DESK: dict[str, Any] = {"desk": 2, "horizon": 200, "news": 0.2}
"""A fifth of the news is public at once, so that there is something to know: for the informed, and in the past of prices for momentum."""
IMPACT: dict[str, Any] = {**DESK, "mechanism": "impact"}
BOOK: dict[str, Any] = {**DESK, "mechanism": "book", "volatility": 0.45, "correlation": 0.3, "jumps": 0.01, "half_spread": 2.0}
BASIC: dict[str, Any] = {**IMPACT, **_each(1), "assets": 2, "volatility": 0.10, "half_spread": 0.5}
MULTI: dict[str, Any] = {**IMPACT, **_each(2), "assets": 5, "volatility": 0.20, "correlation": 0.3, "half_spread": 1.0}
VOLATILE: dict[str, Any] = {**BOOK, **_each(4), "assets": 8, "noise": 4.0}
CRISIS: dict[str, Any] = {**BOOK, **_each(8), "assets": 10, "noise": 6.0, "crash": 1.0, "maintenance": 0.10}
MASTER: dict[str, Any] = {**BOOK, **_each(16), "assets": 15, "noise": 6.0, "depth": 20.0, "regime": "switching", "latency": 2}
"""Spreads are such that a move of the value is worth coming for, and noise and depth such that makers live among many who know more."""

JUDGED: dict[str, Any] = {"reference": "house", "naive": "idle"}


def stages() -> tuple[Stage, ...]:
    """Basic, multi, volatile, crisis, master. The house scores 1, the naive of each role 0, in the mean of the roles.

    In the crisis, at a tick that is drawn, volatility is four times, correlation .8 and depth .3 of what they were, and equity must be
    a tenth of the exposure. Counts of agents are those of the stages, whatever the run's.
    """
    up: dict[str, Any] = {"promote": 0.5, "minimum_steps": 20_000}
    return (
        Stage("basic", BASIC, **JUDGED, episodes=512, **up),
        Stage("multi", MULTI, **JUDGED, episodes=448, demote=-0.5, **up),
        Stage("volatile", VOLATILE, **JUDGED, episodes=256, demote=-0.5, **up),
        Stage("crisis", CRISIS, **JUDGED, episodes=160, demote=-0.5, **up),
        Stage("master", MASTER, **JUDGED, episodes=320, demote=-0.5, minimum_steps=20_000),
    )


def demo() -> tuple[Stage, ...]:
    """The executors of the game's preset `demo` in a calm, a volatile and a switching market. Naive are drawn actions, which earn more than
    a sale at once; the middle of all columns scores .75, so that no less than .9 leads on."""
    each: dict[str, Any] = {"reference": "house", "naive": "random", "episodes": 48, "minimum_steps": 20_000}
    return (
        Stage("calm", {"regime": "calm"}, promote=0.9, **each),
        Stage("volatile", {"regime": "volatile"}, promote=0.9, demote=-0.5, **each),
        Stage("switching", {"regime": "switching"}, demote=-0.5, **each),
    )
