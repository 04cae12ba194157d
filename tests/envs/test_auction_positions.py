"""Several positions and fixed values in the modes with known answers: GSP, VCG, soft floors, the first-price pacing equilibrium."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.auction.laws import positions_spend, truthful_spend
from marl import UserError, VectorGame


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def played(multiplier: Any, copies: int = 4, **settings: Any) -> VectorGame:
    """One episode with multipliers [A] or one for all."""
    game = envs.make("auction", copies, **settings)
    game.reset(0)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        game.step(np.broadcast_to(np.reshape(multiplier, (-1, 1)), game.action.shape))
        assert not game.residual.any()
    return game


@pytest.mark.parametrize(
    ("preset", "truthful", "free"),
    [("position_gsp", 1000.0, 800.0), ("position_vcg", 800.0, None), ("position_ten", 25.775, 19.159)],
)
def test_positions_of_the_page(preset: str, truthful: float, free: float | None) -> None:
    """Revenue of truthful bids, and of the locally envy-free ones, which are the reference in GSP."""
    game = played(1.0, preset=preset)
    assert at(game, "revenue")[:, 0] == pytest.approx(np.full(4, truthful), rel=2e-5)
    assert at(game, "efficiency") == pytest.approx(np.ones((4, game.n_agents)))
    known = game.game.known(game.params)  # type: ignore[misc]
    rows = game.obs.reshape(-1, game.obs.shape[2])
    bids = game.game.baselines["equilibrium"](game.params, rows, np.random.default_rng(0)).reshape(4, -1)
    settled = played(bids[0], preset=preset)
    assert at(settled, "revenue")[:, 0] == pytest.approx(np.full(4, free if free else truthful), rel=2e-5)
    assert known["revenue" if game.params.format == "vcg" else "envy_free_revenue"] == pytest.approx(free if free else truthful, rel=2e-5)


def test_the_first_price_pacing_equilibrium_of_the_page() -> None:
    """v = (2, 1), B = (.5, 1): at multipliers (.5, 1) both bid 1, halve the good, and spend .5 each."""
    game = played([0.5, 1.0], copies=32, preset="fppe")
    assert at(game, "revenue").mean() == pytest.approx(1.0, abs=0.01)
    assert at(game, "win_rate").mean(0) == pytest.approx([0.5, 0.5], abs=0.01)
    rows = game.obs.reshape(-1, game.obs.shape[2])
    bids = game.game.baselines["equilibrium"](game.params, rows, np.random.default_rng(0))
    assert bids[:2, 0] == pytest.approx([0.5, 1.0], abs=1e-3)


def test_who_is_paced_in_a_first_price_market_of_two_gains_by_pacing_further_alone() -> None:
    """So that pacing is no answer for bidders who learn for themselves: the richer, at .6, wins the rest once the other is out."""
    settled, alone = (at(played([0.5, high], copies=32, preset="fppe"), "surplus").mean(0)[1] for high in (1.0, 0.6))
    assert settled == pytest.approx(0.0, abs=1e-9) and alone > 0.1


@pytest.mark.parametrize("format", ["second", "gsp", "vcg"])
def test_formats_agree_with_one_position(format: str) -> None:
    settings = {"mode": "uniform_ipv", "n_agents": 3, "horizon": 2, "reserve": 0.3, "exposure": "1"}
    game, plain = played(0.8, format=format, **settings), played(0.8, format="second", **{**settings, "exposure": ""})
    assert at(game, "spend") == pytest.approx(at(plain, "spend"), abs=1e-6)
    assert at(game, "value") == pytest.approx(at(plain, "value"), abs=1e-6)


@pytest.mark.parametrize("format", ["first", "gsp", "vcg", "all_pay"])
@pytest.mark.parametrize("budget", [0.5, float("inf")])
def test_money_adds_up_under_hostile_actions(format: str, budget: float) -> None:
    game = envs.make("auction", 8, mode="market", format=format, budget=budget, slots=4, n_agents=5, horizon=6, reserve=0.2)
    generator = np.random.default_rng(1)
    game.reset(3)
    for _ in range(18):
        game.step(generator.choice([-1e300, 0, 1e-9, 0.5, 1, 4, np.inf], game.action.shape))
        assert not game.residual.any()
        assert (game.world.left >= 0).all() and np.isfinite(game.obs).all()
        assert (game.metrics[:, :, game.metric_names.index("efficiency")] <= 1 + 1e-12).all()


@pytest.mark.parametrize("format", ["first", "gsp", "vcg"])
def test_expected_truthful_spend_is_what_is_spent(format: str) -> None:
    """By order statistics, in market mode with three positions; with one position it is the plain formula."""
    settings: dict[str, Any] = {"mode": "market", "format": format, "slots": 3, "n_agents": 5, "horizon": 4, "auctions_per_tick": 500}
    game = played(1.0, copies=16, budget=1e6, **settings)
    p: Any = game.params
    assert at(game, "spend").mean() == pytest.approx(p.truthful_spend, rel=0.02)
    q = p.value_quantiles()
    for kind in ("first", "second"):
        for n in (1, 2, 5):
            assert positions_spend(q, n, kind, np.ones(1), 0.4) == pytest.approx(truthful_spend(q, n, kind, 0.4), rel=1e-9)


def test_illegal_positions_are_refused() -> None:
    for settings, said in (
        ({"slots": 2, "exposure": "1 2"}, "it may not rise"),
        ({"slots": 2, "exposure": "1"}, "2 numbers are expected"),
        ({"exposure": "x"}, "numbers in"),
        ({"mode": "position", "n_agents": 2}, "legal are 3"),
        ({"n_agents": 2, "budgets": "1"}, "2 numbers are expected"),
        ({"slots": 11}, "legal range is"),
    ):
        with pytest.raises(UserError, match=said):
            envs.game("auction").make_params(**settings)
