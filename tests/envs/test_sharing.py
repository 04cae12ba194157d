"""What is divided once: Nash bids for shares, and who gains by a lie under which mechanism."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.resource_allocation import theory
from marl import UserError, VectorGame
from marl.trial import played

COPIES = 400


def payoffs(game: VectorGame, action: Any, seed: int = 0) -> Any:
    """Payoffs [B, A] of one tick."""
    game.reset(seed)
    game.step(np.broadcast_to(action, game.action.shape))
    assert not game.residual.any()
    return game.metrics[:, :, game.metric_names.index("payoff")].copy()


@pytest.mark.parametrize("n", [2, 5, 10, 128])
def test_nash_bids(n: int) -> None:
    deviations = np.linspace(0, 1, 1_001)
    game = envs.make("sharing", len(deviations), mechanism="bids", resources=1, n_agents=n, value=3.0)
    bid = theory.kelly_bid(n, 1.0)
    actions = np.full(game.action.shape, bid)
    actions[:, 0, 0] = deviations
    found = payoffs(game, actions)
    assert deviations[found[:, 0].argmax()] == pytest.approx(bid, abs=1e-3)
    assert found[:, 0].max() == pytest.approx(theory.kelly_payoff(n, 3.0), abs=1e-4)
    known = game.game.known(game.params)  # type: ignore[misc]
    assert (known["action"], known["payoff"]) == pytest.approx((bid, theory.kelly_payoff(n, 3.0)))


def test_nobody_bids_and_one_bids() -> None:
    game = envs.make("sharing", 1, mechanism="bids", resources=1, n_agents=3)
    assert (payoffs(game, 0.0) == 0).all()
    assert payoffs(game, np.array([1e-6, 0, 0])[:, None])[0] == pytest.approx([1 - 1e-6, 0, 0])


def gains(mechanism: str, resources: int) -> Any:
    """The most that tenant 0 gains by any of 60 drawn lies where all others say the truth, in each of 400 draws of demands [400]."""
    game = envs.make("sharing", COPIES, mechanism=mechanism, resources=resources)
    honest = payoffs(game, 1.0)[:, 0]
    generator, best = np.random.default_rng(0), np.full(COPIES, -np.inf)
    for _ in range(60):
        lies = np.ones(game.action.shape)
        lies[:, 0] = np.exp(generator.uniform(-np.log(4), np.log(4), (COPIES, resources)))
        best = np.maximum(best, payoffs(game, lies)[:, 0] - honest)
    return best


@pytest.mark.parametrize(
    ("mechanism", "resources"), [("dominant", 1), ("dominant", 2), ("dominant", 4), ("max_min", 1), ("equal_split", 3)]
)
def test_nobody_gains_by_a_lie(mechanism: str, resources: int) -> None:
    assert gains(mechanism, resources).max() <= 1e-9


@pytest.mark.parametrize("mechanism", ["dominant", "max_min", "equal_split"])
def test_what_best_reports_have_in_common(mechanism: str) -> None:
    """Reports at or above the truth earn what it earns, with several resources under DRF its multiples from 1 on; known values say so."""
    game = envs.make("sharing", COPIES, mechanism=mechanism, resources=3)
    at = {name: i for i, name in enumerate(game.metric_names)}
    honest = payoffs(game, 1.0)[:, 0]
    known = game.game.known(game.params)  # type: ignore[misc]
    generator = np.random.default_rng(1)
    lies = np.ones(game.action.shape)
    lies[:, 0] = generator.uniform(1, 4, (COPIES, 1 if mechanism == "dominant" else 3))
    assert payoffs(game, lies)[:, 0] == pytest.approx(honest, abs=1e-9)
    assert all(game.metrics[:, 0, at[name]] == pytest.approx(value, abs=1e-9) for name, value in known.items())
    for name in known:  # and what they leave out loses
        lies[:, 0] = [0.25, 0.25, 0.25] if name == "understated" else [1.0, 2.0, 4.0]
        lost = honest - payoffs(game, lies)[:, 0]
        assert lost.min() > -1e-9 and lost.mean() > 0.05, name
        assert game.metrics[:, 0, at[name]] == pytest.approx(0.75), name


def test_a_lie_pays_under_proportional_sharing() -> None:
    found = gains("proportional", 2)
    assert (found > 0.05).mean() > 0.9


def test_worth_sharing_for() -> None:
    """Under dominant resource fairness nobody does worse than with its equal share of everything, and some do better."""
    dominant, split = (payoffs(envs.make("sharing", COPIES, mechanism=m), 1.0) for m in ("dominant", "equal_split"))
    assert (dominant >= split - 1e-9).all() and (dominant > split + 0.05).mean() > 0.3


def test_everybody_lies_and_the_truth_is_no_worse_for_all() -> None:
    """Proportional sharing where all say the most is proportional sharing where all say the truth: only who lies alone gains."""
    game = envs.make("sharing", COPIES, mechanism="proportional", least=0.6)
    assert payoffs(game, 4.0) == pytest.approx(payoffs(game, 1.0))


@pytest.mark.parametrize("mechanism", ["bids", "proportional", "max_min", "dominant", "equal_split"])
def test_capacities_hold_under_hostile_reports(mechanism: str) -> None:
    game = envs.make("sharing", 16, mechanism=mechanism, resources=1 if mechanism == "bids" else 3, n_agents=6, horizon=5)
    game.reset(2)
    for _ in played(game, 30, hostile=True):
        assert not game.residual.any()
        assert (game.components[..., 0] >= 0).all() and (game.components[..., 0] <= 1 + 1e-9).all()


def test_demands_are_new_in_every_tick_and_announced() -> None:
    game = envs.make("sharing", 3, horizon=4)
    game.reset(0)
    seen = []
    for _ in range(4):
        seen.append(game.obs[:, :, 1:3].copy())
        game.step(np.ones(game.action.shape))
        assert (game.components[..., 0] <= 1 + 1e-12).all()
    assert len({x.tobytes() for x in seen}) == 4
    assert game.metrics[:, :, game.metric_names.index("action")] == pytest.approx(1.0)


def test_one_good_is_bid_for() -> None:
    with pytest.raises(UserError, match=r"SharingParams.resources = 2 with mechanism = 'bids': legal is 1"):
        envs.make("sharing", 1, mechanism="bids", resources=2)
