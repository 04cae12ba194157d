"""Speed of the market in each mechanism, of the compiled book against its plain-Python twin, and a peer's published rate.

mbt_gym steps 1,000 independent makers at 5.7 M agent-steps a second as batched NumPy, timed on another day on one core of such a machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import envs
from envs.trading import strategies
from tests.envs.book_streams import OPS, TERMS, desk, follow, play, streams
from tests.speed.measure import Rate, Ratio, rate, ratio

FAST, BOOK, TWIN, MAKERS = 5.0e6, 1.0e6, 10.0, 5.7e6
"""At least: agent-asset-steps a second in impact and batch, on the book; times the twin's speed; the peer's agent-steps a second."""
SIZES: tuple[tuple[str, int], ...] = tuple((mechanism, n) for mechanism in ("impact", "batch", "book") for n in (4, 100))
TICKS, LANES = 50, 2_048
"""Ticks of a turn; agents x assets of all copies."""


def market(mechanism: str, agents: int) -> tuple[Callable[[], None], float]:
    """(ticks of all copies on one thread with orders and quotes of all, agent-asset-steps that they are); four assets each."""
    each = {"market_makers": agents // 4, "executors": agents // 4, "informed": agents // 4, "momentum": agents // 4}
    game = envs.make("trading", max(1, LANES // (4 * agents)), mechanism=mechanism, assets=4, desk=4, horizon=TICKS, **each)
    game.reset(0)
    generator = np.random.default_rng(0)
    for view in game.groups.values():
        action = view.group.cut_action(game.action)
        for u, name in enumerate(view.group.action):
            if "offset" in name:
                action[..., u] = generator.integers(0, 5, action.shape[:2])
            else:
                action[..., u] = 0.2 ** (1 / 3) if "quote_size" in name else strategies.said(generator.normal(0, 0.1, action.shape[:2]))

    def turn() -> None:
        for _ in range(TICKS):
            game.tick()

    return turn, float(TICKS * game.n_envs * agents * 4)


def raw(size: tuple[str, int]) -> Rate:
    """One thread."""
    mechanism, agents = size
    turn, work = market(mechanism, agents)
    return rate(
        f"market, {mechanism}, {agents} agents", turn, work, unit="agent-asset-steps", at_least=BOOK if mechanism == "book" else FAST
    )


def book() -> Ratio:
    """The same random orders on the compiled book and on the twin."""
    many, few = streams(0, 2_000), streams(0, 100)
    books, left = desk(len(many)), np.zeros(many.shape[:2], np.int64)

    def twin() -> None:
        for ops in few:
            follow(ops)

    work = float(many.shape[0] * OPS), float(few.shape[0] * OPS)
    return ratio("order book", lambda: play(TERMS, books, many, left), twin, work, unit="orders", at_least=TWIN)


def peer() -> Rate:
    """The game `quoting` with as many makers as the peer's."""
    game: Any = envs.make("quoting", 1_000)
    game.reset(0)
    game.action[:] = 0.75

    def turn() -> None:
        for _ in range(200):
            game.tick()

    return rate("quoting, 1,000 makers, beside mbt_gym's", turn, 200_000.0, unit="agent-steps", at_least=MAKERS)
