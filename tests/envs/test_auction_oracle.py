"""The compiled auction against its plain-Python twin on the same draws, step for step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

import envs
from envs.auction.params import AuctionParams
from tests.envs.addressed import draws_of
from tests.envs.auction_oracle import Auction

CONFIGURATIONS = 240


def configuration(number: int) -> dict[str, Any]:
    """A random setting: mode, format, law, reserve, budget, traffic and sizes."""
    g = np.random.default_rng(number)
    mode = str(g.choice(["uniform_ipv", "uniform_ipv", "asym_uniform", "pacing", "market", "market"]))
    chosen: dict[str, Any] = {
        "mode": mode,
        "n_agents": {"asym_uniform": 2, "pacing": 1}.get(mode, int(g.integers(1, 7))),
        "horizon": int(g.integers(1, 7)),
        "auctions_per_tick": int(g.choice([1, 2, 5, 16])),
        "format": "second" if mode == "pacing" else str(g.choice(["first", "second", "all_pay"])),
        "law": str(g.choice(["uniform", "lognormal", "lognormal_table"])),
    }
    if mode != "pacing":
        chosen["reserve"] = float(g.choice([0.0, 0.0, 0.3, 0.8]))
    if g.random() < 0.6:
        chosen["budget"] = float(g.uniform(0.001, 0.3) * chosen["horizon"] * chosen["auctions_per_tick"])
    return chosen


def actions_for(g: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Any:
    """Multipliers, sometimes of coarse steps and sometimes 0 or extreme."""
    kind = g.integers(4)
    if kind == 0:
        return g.choice([low, high, 0.5, 1.0], shape)
    return np.round(g.uniform(low, high, shape), 1 if kind == 1 else 15)


@pytest.mark.parametrize("block", range(4))
def test_equals_the_twin(block: int) -> None:
    for number in range(block * CONFIGURATIONS // 4, (block + 1) * CONFIGURATIONS // 4):
        compare(number)


def compare(number: int) -> None:
    game = envs.make("auction", 1, **configuration(number))
    g = np.random.default_rng(number + 10_000)
    game.reset(number)
    low, high = (0.1, 4.0) if game.params.mode == "market" else (0.0, 1.5)
    for episode in range(2):
        twin = Auction(game.params, draws_of(int(game.world.key[0]), episode))
        seen, _ = twin.reset()
        np.testing.assert_allclose(game.obs[0], list(seen.values()), rtol=2e-6, atol=2e-6, err_msg=str((number, game.params)))
        for _ in range(game.params.horizon):
            action = actions_for(g, game.action.shape, low, high)
            game.step(action)
            seen, reward, over, _, _ = twin.step(dict(zip(twin.agents, action[0])))
            np.testing.assert_allclose(game.final_obs[0], list(seen.values()), rtol=1e-5, atol=1e-5, err_msg=str((number, game.params)))
            np.testing.assert_allclose(game.components[0, :, 0], list(reward.values()), rtol=1e-12, atol=1e-15, err_msg=str(number))
            assert bool(game.status[0]) == all(over.values())
            assert not game.residual.any()
        money = 1e6 * game.params.horizon * game.params.auctions_per_tick
        np.testing.assert_allclose(game.metrics[0, :, game.metric_names.index("spend")] * money, twin.spent, rtol=1e-12)
        np.testing.assert_allclose(game.metrics[0, :, game.metric_names.index("value")] * money, twin.won, rtol=1e-12)


def test_ties_are_compared() -> None:
    """Values of a narrow law tie often, so that the comparison covers the tie-break: each bidder wins about a third."""
    game = envs.make("auction", 1, mode="market", law="lognormal_table", sigma=0.01, value_mean=0.001, n_agents=3, budget=1e6, horizon=1)
    wins = np.zeros(3)
    for seed in range(40):
        game.reset(seed)
        twin = Auction(game.params, draws_of(int(game.world.key[0])))
        twin.reset()
        game.step(np.ones((1, 3, 1)))
        twin.step(dict.fromkeys(twin.agents, (1.0,)))
        assert [int(x) for x in game.metrics[0, :, 2] * 32e6 + 0.5] == twin.won
        wins += twin.tick_wins
    assert wins.sum() == 40 * 32
    assert np.all(np.abs(wins / wins.sum() - 1 / 3) < 4 * np.sqrt(2 / 9 / wins.sum()))


def test_the_future_does_not_reach_back() -> None:
    """Other draws from tick 3 on change nothing that is seen or paid before, and do change what comes after."""
    for kind in ({}, {"auctions_per_tick": 1}, {"mode": "uniform_ipv", "format": "all_pay"}):
        game = envs.make("auction", 1, horizon=6, **kind)
        game.reset(5)
        mine, other = draws_of(int(game.world.key[0])), draws_of(99)
        twin = Auction(game.params, lambda t, purpose, shape, a=mine, b=other: (a if t < 3 else b)(t, purpose, shape))
        twin.reset()
        for t in range(6):
            game.step(np.full(game.action.shape, 0.8))
            seen, reward, _, _, _ = twin.step(dict.fromkeys(twin.agents, (0.8,)))
            same = np.allclose(list(reward.values()), game.components[0, :, 0], atol=1e-12)
            assert same == (t < 3)
            if t < 3:
                columns = 14  # the value of the coming auction, where it is seen, is that tick's own
                np.testing.assert_allclose(game.final_obs[0, :, :columns], np.array(list(seen.values()))[:, :columns], rtol=1e-5, atol=1e-5)


def test_twin_is_a_pettingzoo_environment() -> None:
    parallel_api_test(Auction(AuctionParams(n_agents=3, horizon=4, auctions_per_tick=5)), num_cycles=20)
