"""The pricing duopoly: its prices against published ones and against their definitions, and its rules against plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import envs
from envs.classic.bertrand import BERTRAND, BertrandParams, grid, monopoly_price, nash_price


def earns(p: BertrandParams, prices: list[float]) -> list[float]:
    """Profit of each firm, from the definition."""
    weight = [math.exp((p.quality - x) / p.mu) for x in prices]
    whole = sum(weight) + math.exp(p.outside / p.mu)
    return [(x - p.cost) * w / whole for x, w in zip(prices, weight)]


def test_published_prices_and_profits() -> None:
    """The baseline of Calvano et al.: 1.47293 and 1.92498 $, .22293 and .33749 $ a tick."""
    known = BERTRAND.known(BertrandParams())  # type: ignore[misc]
    expected = {"nash_price": 1.47293, "nash_profit": 0.22293, "monopoly_price": 1.92498, "monopoly_profit": 0.33749, "price": 1.47293}
    assert known == pytest.approx(expected, abs=6e-6)


def test_of_the_published_grid_two_prices_are_equilibria_near_the_known_one() -> None:
    p = BertrandParams()
    prices = [float(x) for x in grid(p)]
    stable = [x for x in prices if max(earns(p, [other, x])[0] for other in prices) <= earns(p, [x, x])[0]]
    assert stable == pytest.approx([1.4665, 1.5052], abs=1e-4)
    assert all(abs(x / nash_price(p) - 1) < 1 / 40 for x in stable)


@pytest.mark.parametrize("given", [{}, {"n_agents": 3}, {"mu": 0.6, "quality": 1.5}, {"outside": -1.0, "cost": 0.2, "n_agents": 5}])
def test_no_firm_gains_alone_at_equilibrium_and_none_together_at_monopoly(given: dict[str, Any]) -> None:
    p = BertrandParams(**given)
    x, y, n = nash_price(p), monopoly_price(p), p.n_agents
    others = np.linspace(p.cost, y + 2, 2001)
    assert max(earns(p, [float(other), *[x] * (n - 1)])[0] for other in others) <= earns(p, [x] * n)[0] + 1e-12
    assert max(sum(earns(p, [float(other)] * n)) for other in others) <= sum(earns(p, [y] * n)) + 1e-12
    assert x < y and earns(p, [y] * n)[0] == pytest.approx(p.monopoly_profit) and earns(p, [x] * n)[0] == pytest.approx(p.nash_profit)


@pytest.mark.parametrize("n", [2, 4])
def test_the_rules_are_the_definition(n: int) -> None:
    game = envs.make("bertrand", 6, n_agents=n, horizon=20)
    game.reset(0)
    prices, generator, total = grid(game.params), np.random.default_rng(0), np.zeros((6, n))
    assert len(np.unique(game.obs)) > 5 and np.isin(game.obs, prices.astype(np.float32)).all()
    for t in range(20):
        action = generator.integers(0, 15, game.action.shape)
        game.step(action)
        asked = prices[action[..., 0]]
        np.testing.assert_allclose(game.reward, [earns(game.params, row.tolist()) for row in asked], rtol=1e-6)
        for a in range(n):
            np.testing.assert_allclose(game.final_obs[:, a], np.c_[asked[:, a], np.delete(asked, a, 1)], rtol=1e-6)
        total += game.reward
        assert (game.status == (2 if t == 19 else 0)).all()
    np.testing.assert_allclose(game.metrics[..., 0], total / 20, rtol=1e-5)


def test_the_grid_reaches_beyond_both_prices() -> None:
    prices = grid(BertrandParams())
    way = 1.92498 - 1.47293
    assert len(prices) == 15 and prices[[0, -1]] == pytest.approx([1.47293 - way / 10, 1.92498 + way / 10], abs=1e-5)


@pytest.mark.parametrize(("name", "collusion"), [("nash", 0.0), ("monopoly", 1.0)])
def test_baselines_ask_the_price_of_the_grid_that_is_nearest(name: str, collusion: float) -> None:
    game = envs.make("bertrand", 1, m=601, horizon=4)
    game.reset(0)
    for _ in range(4):
        game.step(BERTRAND.baselines[name](game.params, game.obs[0], np.random.default_rng(0))[None])
    assert game.metrics[0, 0, 2] == pytest.approx(collusion, abs=5e-3)
    assert game.metrics[0, 0, 1] == pytest.approx({"nash": 1.47293, "monopoly": 1.92498}[name], abs=1e-3)
