"""What always holds in an auction: money adds up, budgets hold, prices are fair, the seed decides ties."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import envs
from envs.auction.params import UNLIMITED
from marl import UserError, VectorGame
from tests.envs.test_auction_oracle import configuration

FORMATS = ("first", "second", "all_pay")


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def play(game: VectorGame, action: Any, seed: int = 0) -> VectorGame:
    """One episode with an action that stays."""
    game.reset(seed)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        game.step(np.broadcast_to(action, game.action.shape))
        assert not game.residual.any()
    return game


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("budget", [1e-6, 0.37, 5.0, float("inf")])
@pytest.mark.parametrize("mode", ["uniform_ipv", "market"])
def test_money_adds_up_under_hostile_actions(mode: str, format: str, budget: float) -> None:
    game = envs.make("auction", 32, mode=mode, format=format, budget=budget, n_agents=5, horizon=6, reserve=0.2)
    generator = np.random.default_rng(1)
    game.reset(3)
    for _ in range(24):
        hostile = generator.choice([-1e300, -1, 0, 1e-9, 0.5, 1, 1.5, 4, np.inf], game.action.shape)
        game.step(np.where(generator.random(hostile.shape) < 0.5, hostile, generator.uniform(0, 4, hostile.shape)))
        assert not game.residual.any()
        world = game.world
        assert (world.left >= 0).all() and (world.spent <= game.params.purse).all()  # type: ignore[attr-defined]
        assert np.isfinite(game.obs).all() and np.isfinite(game.reward).all()
        np.testing.assert_allclose(game.components[..., 1] + game.components[..., 2], game.components[..., 0], atol=1e-12)
        assert (game.cost >= 0).all()
        table = game.groups["advertiser"].group.observation
        for i, column in enumerate(table.values()):
            assert (game.final_obs[..., i] >= column.low - 1e-6).all() and (game.final_obs[..., i] <= column.high + 1e-6).all()


def test_abstaining_costs_and_wins_nothing() -> None:
    game = play(envs.make("auction", 8, mode="uniform_ipv", n_agents=3, horizon=2), np.array([0.0, 1.0, 1.0])[:, None])
    assert (at(game, "win_rate")[:, 0] == 0).all() and (at(game, "spend")[:, 0] == 0).all()
    assert at(game, "win_rate")[:, 1:].sum(1) == pytest.approx(np.ones(8))


def test_a_lone_bidder_wins_at_the_reserve() -> None:
    game = play(envs.make("auction", 4, mode="uniform_ipv", n_agents=1, reserve=0.25, horizon=4, auctions_per_tick=500), 1.0)
    wins = at(game, "win_rate")
    assert wins == pytest.approx(np.full((4, 1), 0.75), abs=0.05)
    assert at(game, "price") == pytest.approx(np.full((4, 1), 0.25), rel=1e-12)
    free = play(envs.make("auction", 4, mode="uniform_ipv", n_agents=1, horizon=2), 1.0)
    assert (at(free, "spend") == 0).all() and (at(free, "win_rate") > 0.99).all()


def test_nothing_is_sold_below_the_reserve() -> None:
    for format in FORMATS:
        game = play(envs.make("auction", 4, mode="uniform_ipv", format=format, n_agents=3, reserve=0.6, horizon=1), 0.55)
        assert (at(game, "win_rate") == 0).all() and (at(game, "revenue") == 0).all()


@pytest.mark.parametrize("format", FORMATS)
def test_price_of_a_single_auction(format: str) -> None:
    """0 <= price <= bid; in second price the price is the rivals' best bid, whatever the winner bids, and monotone wins."""
    game = envs.make("auction", 2000, mode="uniform_ipv", format=format, n_agents=3, horizon=1, auctions_per_tick=1)
    outcomes = []
    for own in (0.6, 0.9, 1.2):
        game.reset(4)
        value = game.obs[:, :, -1].astype(np.float64).copy()
        game.step(np.broadcast_to(np.array([own, 0.9, 0.9])[:, None], game.action.shape))
        wins, spend = at(game, "win_rate").copy(), at(game, "spend").copy()
        bid = value * [own, 0.9, 0.9]
        assert (spend >= 0).all() and (spend <= bid + 1e-6).all()
        rivals = bid[:, 1:].max(axis=1)
        expected = {"first": bid[:, 0], "second": rivals, "all_pay": bid[:, 0]}[format]
        payers = np.ones(2000, bool) if format == "all_pay" else wins[:, 0] > 0
        assert spend[payers, 0] == pytest.approx(expected[payers], abs=2e-6)
        assert (wins[:, 0] > 0)[np.abs(bid[:, 0] - rivals) > 1e-5].tolist() == (bid[:, 0] > rivals)[
            np.abs(bid[:, 0] - rivals) > 1e-5
        ].tolist()
        outcomes.append((wins[:, 0], spend[:, 0]))
    for (before, paid), (after, pays) in pairwise(outcomes):
        assert (after >= before).all()  # a higher bid wins where the lower one did
        if format == "second":
            assert (paid == pays)[before > 0].all()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("n", [2, 8])
def test_symmetric_bidders_win_equally_and_nobody_wins_all(format: str, n: int) -> None:
    game = play(envs.make("auction", 64, mode="uniform_ipv", format=format, n_agents=n, horizon=1, auctions_per_tick=500), 0.7)
    share = at(game, "win_rate").mean(axis=0)
    assert np.abs(share - 1 / n).max() < 4.5 * np.sqrt((1 / n) * (1 - 1 / n) / 32_000)
    assert at(game, "win_rate").max() < 1


def test_budgets_bind_in_arrival_order() -> None:
    """Spent-out bidders are out for the rest of the tick: late auctions go to whoever still has money."""
    game = play(
        envs.make("auction", 16, mode="uniform_ipv", format="first", n_agents=2, horizon=1, budget=1.0), np.array([1.5, 0.3])[:, None]
    )
    spend = at(game, "spend") * 32
    assert (spend <= 1.0 + 1e-12).all() and spend[:, 0] == pytest.approx(np.ones(16), abs=1e-5)
    assert (at(game, "win_rate")[:, 1] > at(game, "win_rate")[:, 0]).all()
    assert (game.world.left == 1_000_000).all()  # begun anew
    rich = play(envs.make("auction", 16, mode="uniform_ipv", format="first", n_agents=2, horizon=1), np.array([1.5, 0.3])[:, None])
    assert (at(rich, "win_rate")[:, 0] > 0.6).all()
    assert rich.params.purse == UNLIMITED  # type: ignore[attr-defined]


def test_copies_do_not_depend_on_batch_or_threads() -> None:
    big, two = envs.make("auction", 80, horizon=4), envs.make("auction", 80, horizon=4, threads=2)
    one = envs.make("auction", 1, horizon=4)
    for game, first in ((big, 0), (two, 0), (one, 37)):
        game.reset(9, first)
    for t in range(6):
        action = np.random.default_rng(t).uniform(0.2, 1, big.action.shape)
        big.step(action), two.step(action), one.step(action[37:38])
        for array in ("obs", "reward", "metrics"):
            assert (getattr(big, array) == getattr(two, array)).all()
            assert (getattr(big, array)[37] == getattr(one, array)[0]).all()


def test_seeds_differ_and_repeat() -> None:
    game = envs.make("auction", 4, horizon=2)
    seen = [play(game, 0.7, seed).metrics.copy() for seed in (1, 2, 1)]
    assert (seen[0] == seen[2]).all() and (seen[0] != seen[1]).any()
    assert (seen[0][0] != seen[0][1]).any()


def test_every_setting_has_a_reference_that_bids_within_the_table() -> None:
    for number in range(150):
        game = envs.make("auction", 2, **configuration(number))
        p, rules = game.params, game.game
        game.reset(number)
        table = game.groups["advertiser"].group.action["multiplier"]
        name = rules.reference(p)  # type: ignore[misc]
        for baseline in {name, "truthful", "shaded", "paced"}:
            bids = rules.baselines[baseline](p, game.obs.reshape(-1, game.obs.shape[2]), np.random.default_rng(0))
            assert bids.shape == (2 * game.n_agents, 1) and np.isfinite(bids).all()
            assert (bids >= 0).all() and (bids <= table.high + 1e-6).all(), (baseline, p)
        assert (name == "equilibrium") == bool(rules.known(p)), p  # type: ignore[misc]
        assert all(np.isfinite(v) for v in rules.known(p).values())  # type: ignore[misc]
        for grid in rules.action_grid(p).values():  # type: ignore[misc]
            assert grid.shape == (15, 1) and grid.min() >= table.low and grid.max() <= table.high * (1 + 1e-12)
            assert np.ptp(np.diff(np.log(grid[:, 0]))) < 1e-12


def test_a_baseline_without_a_closed_form_says_so() -> None:
    game = envs.make("auction", 1, format="first")
    with pytest.raises(UserError, match="no closed form for mode 'market', format 'first'"):
        game.game.baselines["equilibrium"](game.params, game.obs[0], np.random.default_rng(0))


@pytest.mark.parametrize("preset", envs.game("auction").presets)
def test_presets_play(preset: str) -> None:
    game = envs.make("auction", 2, preset=preset)
    play(game, 0.7)
    reference = game.game.reference(game.params)  # type: ignore[misc]
    whole = {"campaign": "truthful", "campaign_small": "truthful", "journey": "truthful"}
    assert reference == ("equilibrium" if game.game is envs.game("auction") else whole.get(preset, "pid"))
