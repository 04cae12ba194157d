"""A target of spend per conversion or value over spend as a goal: what is paid, what is seen, what hindsight makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.auction.state import own_
from marl.check import check_game
from marl.errors import UserError
from marl.hindsight import HindsightBuffer
from tests.lanes import lanes

SMALL: dict[str, Any] = {
    "preset": "train", "horizon": 12, "auctions_per_tick": 64, "sale_rate": 0.5, "click_low": 0.2, "click_high": 0.4, "sale_value": 2.0,
}  # fmt: skip
CPA: dict[str, Any] = {**SMALL, "pay": "target_cpa", "cpa_low": 0.5, "cpa_high": 3.0, "target_band": 0.3}
ROAS: dict[str, Any] = {**SMALL, "pay": "target_roas", "roas_target": 1.5, "target_band": 0.3}


@pytest.mark.parametrize("given", [CPA, ROAS])
def test_a_tick_off_the_target_costs_one(given: dict[str, Any]) -> None:
    """By the accounts of the episode: spend over conversions seen, or value over spend."""
    copies = envs.make("auction", 64, **given)
    copies.reset(0)
    chance, met = np.random.default_rng(0), 0
    for _ in range(11):
        copies.step(chance.uniform(0.3, 1.2, (64, 8, 1)))
        spend, value, sales = (copies.world.own[:, :, column] for column in (own_.spent, own_.won, own_.seen))
        worth = copies.params.land.worth * 1e6
        if given is CPA:
            found, asked = spend / (np.maximum(sales, 1) * worth), np.linspace(0.5e6, 3.0e6, 8) / worth
        else:
            found, asked = np.divide(value, spend, out=np.zeros(spend.shape), where=spend > 0), np.full(8, 1.5)
        found = np.minimum(found, 10.0)
        far = np.abs(found - asked) > 0.3 * asked
        unclear = np.abs(np.abs(found - asked) - 0.3 * asked) < 1e-5
        assert (copies.reward == np.where(far, -1.0, 0.0))[~unclear].all()
        assert copies.obs[:, :, -2] == pytest.approx(found, rel=1e-5) and copies.obs[:, :, -1] == pytest.approx(asked + 0 * found, rel=1e-6)
        met += int((~far).sum())
    assert 64 < met < 64 * 8 * 11 - 64


@pytest.mark.parametrize("given", [CPA, ROAS])
def test_goals_keep_the_contract(given: dict[str, Any]) -> None:
    check_game("auction", only="goal", **given)


def test_a_campaign_may_have_a_target_too() -> None:
    given = {"preset": "campaign", "auctions_per_tick": 64, "horizon": 6, "pay": "target_roas", "roas_target": 1.0}
    check_game("auction", only="goal", **given)
    assert list(envs.make("auction", 1, **given).groups["advertiser"].group.observation)[-2:] == ["target_reached", "target_wanted"]


@pytest.mark.parametrize("name", ["idqn", "isac"])
def test_hindsight_takes_what_was_reached_for_the_target(name: str) -> None:
    """An episode ends when its time is over, whatever its target was; rows of the same tick are then on target."""
    here = lanes(envs.make("auction", 4, **CPA), name, hindsight=4.0, replay=4_000)
    here.collect(30)
    (buffer,) = here.buffers.values()
    assert isinstance(buffer, HindsightBuffer)
    batch, index = buffer.sample(2_000)
    was = buffer[index]
    moved = batch.obs[:, -1] != was.obs[:, -1]
    assert 0.6 < moved.mean() < 0.9
    assert (batch.terminated == was.terminated).all() and was.terminated.any() and (batch.done == was.done).all()
    on = np.abs(batch.obs_next[:, -2].astype(float) - batch.obs_next[:, -1]) <= 0.3 * batch.obs_next[:, -1]
    assert (batch.rew == on - 1.0).all()
    assert batch.rew[moved].mean() > was.rew[moved].mean() + 0.2
    here.update()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pay": "target_cpa"}, "pay = 'target_cpa' without a target: legal with cpa_low and cpa_high above 0"),
        ({"pay": "target_roas"}, "pay = 'target_roas' without a target: legal with roas_target above 0"),
        ({"pay": "target_roas", "roas_target": 1.0, "team_share": 0.5}, "team_share = 0.5 with pay = 'target_roas': legal is 0"),
    ],
)
def test_a_goal_without_a_target_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        envs.make("auction", 1, preset="train", **given)
