"""Closed forms against the compiled rules: within 4.5 standard errors over some 10^5 to 10^6 auctions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.auction import theory
from marl import VectorGame

SIGMAS = 4.5


def simulate(game: VectorGame, baseline: str | None = None, actions: Any = None, seed: int = 0) -> Any:
    """Metrics [B, A, M] of an episode in which all follow a baseline, or actions [A, 1] that stay."""
    game.reset(seed)
    generator = np.random.default_rng(seed)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        if baseline is None:
            game.step(np.broadcast_to(actions, game.action.shape))
        else:
            rows = game.obs.reshape(-1, game.obs.shape[2])
            game.step(game.game.baselines[baseline](game.params, rows, generator).reshape(game.action.shape))
        assert not game.residual.any()
    return game.metrics


def agrees(sample: Any, expected: float, slack: float = 0.0) -> None:
    """The mean of independent `sample` [B] is `expected` within 4.5 standard errors and `slack`; and the error is small."""
    error = float(np.std(sample) / np.sqrt(len(sample)))
    assert abs(float(np.mean(sample)) - expected) <= SIGMAS * error + slack + 2e-6, (np.mean(sample), expected, error)
    assert error < 0.01


def column(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def one_tick(n: int, format: str, auctions: int, copies: int, **more: Any) -> VectorGame:
    return envs.make("auction", copies, mode="uniform_ipv", n_agents=n, format=format, horizon=1, auctions_per_tick=auctions, **more)


def check_known(game: VectorGame, names: tuple[str, ...], slack: float = 0.0) -> None:
    known = game.game.known(game.params)  # type: ignore[misc]
    for name in names:
        agrees(column(game, name).mean(axis=1), known[name], slack)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize("format", ["first", "second"])
def test_symmetric_equilibrium(n: int, format: str) -> None:
    game = one_tick(n, format, 500, 400)
    simulate(game, "equilibrium")
    check_known(game, ("revenue", "surplus", "welfare", "win_rate", "multiplier"))
    agrees(column(game, "revenue")[:, 0], theory.revenue(n))


@pytest.mark.parametrize(("n", "reserve"), [(2, 0.0), (3, 0.0), (5, 0.0), (10, 0.0), (2, 0.25), (3, 0.1)])
def test_all_pay_equilibrium(n: int, reserve: float) -> None:
    game = one_tick(n, "all_pay", 1, 200_000 // n, reserve=reserve)
    simulate(game, "equilibrium")
    check_known(game, ("revenue", "surplus", "welfare", "win_rate"))


@pytest.mark.parametrize(("n", "reserve"), [(2, 0.25), (2, 0.5), (3, 0.5), (5, 0.5)])
@pytest.mark.parametrize("format", ["first", "second"])
def test_reserve(n: int, reserve: float, format: str) -> None:
    game = one_tick(n, format, 1, 200_000 // n, reserve=reserve)
    simulate(game, "equilibrium")
    check_known(game, ("revenue", "surplus", "welfare", "win_rate"))
    agrees(column(game, "win_rate").sum(axis=1), theory.sale_probability(n, reserve))


@pytest.mark.parametrize(("n", "a"), [(2, 0.5), (2, 0.8), (2, 1.2), (2, 1.5), (4, 0.7)])
def test_second_price_misbid(n: int, a: float) -> None:
    game = one_tick(n, "second", 500, 400)
    simulate(game, actions=np.array([a] + [1.0] * (n - 1))[:, None])
    agrees(column(game, "surplus")[:, 0], theory.second_price_utility(a, n))


@pytest.mark.parametrize(("n", "a"), [(2, 1.0), (2, 0.75), (3, 0.8), (5, 0.9)])
def test_first_price_best_response_gains_what_theory_says(n: int, a: float) -> None:
    game = one_tick(n, "first", 1, 100_000)
    game.reset(1)
    value = game.obs[:, 0, -1].astype(np.float64)
    action = np.full(game.action.shape, a)
    action[:, 0, 0] = np.minimum((n - 1) / n * value, a) / np.maximum(value, 1e-9)
    game.step(action)
    agrees(column(game, "surplus")[:, 0], theory.first_price_exploitability(n, a) + theory.first_price_shading_utility(n, a))


@pytest.mark.parametrize(("w1", "w2"), [(1.0, 2.0), (2.0, 1.0), (1.0, 1.5)])
def test_asymmetric(w1: float, w2: float) -> None:
    settings: dict[str, Any] = {"mode": "asym_uniform", "n_agents": 2, "horizon": 1, "auctions_per_tick": 1, "w1": w1, "w2": w2}
    game = envs.make("auction", 200_000, format="first", **settings)
    simulate(game, "equilibrium")
    known = theory.asymmetric_first_price(w1, w2)
    for i in (0, 1):
        agrees(column(game, "surplus")[:, i], known[f"surplus_{i}"])
        agrees(column(game, "win_rate")[:, i], known[f"win_rate_{i}"])
    check_known(game, ("revenue", "welfare", "surplus"))
    second = envs.make("auction", 100_000, format="second", **settings)
    simulate(second, "equilibrium")
    check_known(second, ("revenue", "welfare", "surplus"))


@pytest.mark.parametrize("rho", [1 / 24, 1 / 54, 0.1])
def test_pacing(rho: float) -> None:
    """The fluid optimum is approached from below: within 1 % at 40,000 auctions, and no other multiplier does better."""
    settings: dict[str, Any] = {"mode": "pacing", "n_agents": 1, "horizon": 40, "auctions_per_tick": 1000, "rho": rho}
    game = envs.make("auction", 24, **settings)
    best = game.game.known(game.params)  # type: ignore[misc]
    for baseline in ("equilibrium", "paced"):
        simulate(game, baseline)
        surplus = column(game, "surplus").mean()
        assert 0.99 * best["surplus"] < surplus < 1.003 * best["surplus"]
        assert column(game, "budget_use").mean() > 0.985
    for factor in (0.8, 1.25):
        simulate(game, actions=np.array([[factor * best["multiplier"]]]))
        assert column(game, "surplus").mean() < 0.985 * best["surplus"]


@pytest.mark.parametrize(("n", "rho"), [(4, 0.075), (2, 1 / 12), (10, 0.03)])
@pytest.mark.parametrize("format", ["first", "second"])
def test_symmetric_pacing(n: int, rho: float, format: str) -> None:
    """All at the equilibrium multiplier spend their budgets, and nobody gains by another one (fluid limit: within 1 %)."""
    auctions, ticks = 500, 20
    game = envs.make(
        "auction",
        16,
        mode="uniform_ipv",
        n_agents=n,
        format=format,
        horizon=ticks,
        auctions_per_tick=auctions,
        budget=rho * auctions * ticks,
    )
    known = game.game.known(game.params)  # type: ignore[misc]
    shade = (n - 1) / n if format == "first" else 1.0
    assert known["multiplier"] == pytest.approx(shade * theory.symmetric_pacing_multiplier(n, rho), rel=2e-4)
    simulate(game, "equilibrium")
    assert column(game, "budget_use").mean() > 0.98
    for name in ("revenue", "surplus", "welfare"):
        assert column(game, name).mean() == pytest.approx(known[name], rel=0.02)
    own = column(game, "surplus")[:, 0].mean()
    for factor in (0.8, 1.2):
        actions = np.full((n, 1), known["multiplier"])
        actions[0] *= factor
        simulate(game, actions=actions)
        assert column(game, "surplus")[:, 0].mean() < own * 1.01


@pytest.mark.parametrize("reserve", [0.0, 0.5])
def test_market_equilibrium_spends_the_budget(reserve: float) -> None:
    game = envs.make("auction", 16, horizon=24, auctions_per_tick=300, reserve=reserve)
    simulate(game, "equilibrium")
    assert 0.98 < column(game, "budget_use").mean() <= 1
    simulate(game, "truthful")
    assert (column(game, "budget_use") > 0.999).all()
