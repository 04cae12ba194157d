"""The commons against the textbook: long-run rents, best responses, the dynamics that lead there, and the account of the stock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.resource_allocation import theory
from marl import UserError, VectorGame
from marl.trial import played


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def play(game: VectorGame, effort: Any) -> VectorGame:
    """One episode of efforts [A] or one number that stay."""
    game.reset(0)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        game.step(np.broadcast_to(np.reshape(effort, (1, -1, 1)), game.action.shape))
        assert not game.residual.any()
    return game


@pytest.mark.parametrize("n", [1, 2, 5, 10, 50, 100])
def test_long_run_rents_are_the_textbooks(n: int) -> None:
    game = envs.make("commons", 1, mode="steady", horizon=1, n_agents=n)
    known = game.game.known(game.params)  # type: ignore[misc]
    for effort, rent in ((known["nash_effort"], known["nash_rent"]), (known["optimal_effort"], known["optimal_rent"]), (1.0, 0.0)):
        play(game, effort)
        assert at(game, "rent") == pytest.approx(np.full((1, n), rent), abs=2e-5)
    play(game, known["nash_effort"])
    p: Any = game.params
    lost = n * p.price * 1e-6 / p.best_rent  # a harvest is whole millionths of a unit, rounded down
    assert at(game, "rent_ratio")[0, 0] == pytest.approx(4 * n / (n + 1) ** 2, abs=2 * lost)
    assert at(game, "jain")[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("n", [2, 5])
def test_nobody_gains_by_leaving_the_equilibrium_and_everybody_by_leaving_the_optimum(n: int) -> None:
    deviations = np.linspace(0, 2, 201)
    game = envs.make("commons", len(deviations), mode="steady", horizon=1, n_agents=n)
    for others, best in ((n / (n + 1), n / (n + 1)), (0.5, 0.25 * (n + 1))):
        efforts = np.full(game.action.shape, others)
        efforts[:, 0, 0] = deviations
        game.reset(0)
        game.step(efforts)
        assert deviations[at(game, "rent")[:, 0].argmax()] == pytest.approx(best, abs=0.011)
        p = game.params
        response = theory.commons_response((n - 1) * others * p.unit, **p.fishery) / p.unit  # type: ignore[attr-defined]
        assert response == pytest.approx(best)


@pytest.mark.parametrize("effort", [0.0, 0.5, 0.8, 1.3])
def test_constant_efforts_lead_to_the_long_run(effort: float) -> None:
    dynamic = play(envs.make("commons", 1, horizon=2_000), effort)
    steady = play(envs.make("commons", 1, mode="steady", horizon=1), effort)
    assert dynamic.final_obs[0, 0, 1] == pytest.approx(at(steady, "stock")[0, 0], abs=1e-4)
    assert dynamic.reward[0] == pytest.approx(steady.reward[0], abs=1e-3)


def test_greed_empties_the_commons_and_pays_nothing() -> None:
    game = play(envs.make("commons", 1, n_agents=10, catchability=0.5, price=1.0, growth=0.3, cost=0.1, horizon=200), 2.0)
    assert at(game, "collapse").all() and (at(game, "rent_ratio") < 0.1).all()
    modest = play(envs.make("commons", 1, n_agents=10, catchability=0.5, price=1.0, growth=0.3, cost=0.1, horizon=200), 0.5)
    assert not at(modest, "collapse").any() and (at(modest, "total_rent") > 3 * np.abs(at(game, "total_rent"))).all()


def test_harvests_beyond_the_stock_shrink_in_proportion() -> None:
    game = envs.make("commons", 1, n_agents=2, catchability=1.0, growth=1.0, price=1.0, cost=0.0, capacity=50.0)
    game.reset(0)
    game.step([[[2.0], [1.0]]])  # q E = 2 x 1/2 + 1/2 = 1.5 of the stock
    assert game.world.harvest[0].tolist() == pytest.approx([50e6 * 2 / 3, 50e6 / 3], abs=1)
    assert 0 <= game.world.stock[0] <= 1 and not game.residual.any()


@pytest.mark.parametrize("settings", [{}, {"noise": 1.0, "growth": 1.0}, {"mode": "steady"}, {"opening": 0.0}])
def test_the_stock_adds_up_under_hostile_actions(settings: dict[str, Any]) -> None:
    game = envs.make("commons", 16, n_agents=3, horizon=40, **settings)
    game.reset(1)
    for _ in played(game, 90, hostile=True):
        assert not game.residual.any()
        assert (game.world.stock >= 0).all() and (game.world.stock <= game.params.whole).all()  # type: ignore[attr-defined]


def test_noise_is_drawn_around_the_mean() -> None:
    game = envs.make("commons", 4_000, noise=0.8, opening=0.5, horizon=1)
    game.reset(3)
    game.step(np.zeros(game.action.shape))
    grown = game.final_obs[:, 0, 1] - 0.5
    assert grown.mean() == pytest.approx(0.1, abs=4.5 * grown.std() / np.sqrt(4_000))
    assert grown.min() == pytest.approx(0.02, abs=2e-3) and grown.max() == pytest.approx(0.18, abs=2e-3)


def test_a_cost_that_nobody_pays_is_refused() -> None:
    with pytest.raises(UserError, match=r"CommonsParams.cost = 10.0 \$: legal is below price x catchability x capacity = 10 \$"):
        envs.make("commons", 1, cost=10.0)
