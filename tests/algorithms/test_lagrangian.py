"""PPO-Lagrangian by hand: what costs, what the multiplier does with it, the advantage, the refusals, and a known optimum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import algorithms
from algorithms import settings
from algorithms.ippo_lagrangian import IPPOLagrangian, Multiplier
from marl.errors import UserError
from marl.schedule import Schedule
from marl.team import parts
from marl.track import read_metrics
from marl.train import Run
from marl.vector import VectorGame
from tests.aim import AIM
from tests.algorithms.test_tianshou_399 import gae_returns
from tests.haste import HASTE, best
from tests.lanes import Lanes, lanes
from tests.loan import LOAN
from tests.payday import PAYDAY

GAMMA, LAMBDA = 0.9, 0.8  # those of gae_returns


def rolled(ticks: int, **given: Any) -> tuple[Lanes, Any, Any]:
    """Three workers, of whom the third leaves after two of four ticks; an hour costs t / 2 at tick t."""
    copies = VectorGame(PAYDAY, 2, n_agents=3, horizon=4, leave=2)
    here = lanes(copies, "ippo_lagrangian", gamma=GAMMA, gae_lambda=LAMBDA, rollout=ticks, **given)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return here, learner, buffer


def prepared(learner: Any, buffer: Any) -> Any:
    batch, index = buffer.sample(0)
    return learner._preprocess_batch(batch, buffer, index)


def test_costs_of_whole_episodes_by_hand() -> None:
    """0 + .5 + 1 + 1.5 = 3 for who stays, 0 + .5 for who leaves; a rollout of three ticks ends the short episodes alone."""
    here, learner, buffer = rolled(3, cost_limit=0.0)
    here.collect(3)
    assert buffer.cost.reshape(3, 2, 3)[0].tolist() == [[0.0, 0.5, 1.0]] * 2
    prepared(learner, buffer)
    assert learner.multiplier.cost == pytest.approx(0.5)
    here.collect(3)
    prepared(learner, buffer)
    assert learner.multiplier.cost == pytest.approx((2 * 3.0 + 0.5) / 3)  # the next episodes' short ones have ended as well


def test_the_multiplier_by_hand() -> None:
    """A limit of 2: costs of 3, 5, 1 and 0 in the mean; integral gain .1, proportional .5, derivative .2."""
    s = settings.IPPOLagrangian(cost_limit=2.0, multiplier=0.3, multiplier_lr=0.1, proportional=0.5, derivative=0.2)
    m, seen = Multiplier(s, 2.0), []
    assert m.cost is None
    for costs in ([2.0, 4.0], [5.0], [], [1.0], [0.0, 0.0]):
        m.observe(np.array(costs))
        seen.append(m.value)
    assert seen == pytest.approx([0.5 + 0.4, 1.5 + 0.7 + 0.4, 2.6, -0.5 + 0.6, 0.0])
    assert float(m.state[1]) == pytest.approx(0.4)


def test_the_multiplier_is_never_negative_and_comes_back_at_once() -> None:
    """While the limit is kept the integral stays at 0: it does not have to be worked off."""
    m = Multiplier(settings.IPPOLagrangian(multiplier_lr=0.1), 2.0)
    for _ in range(50):
        m.observe(np.array([0.0]))
    assert m.value == 0.0
    m.observe(np.array([3.0]))
    assert m.value == pytest.approx(0.1)


@pytest.mark.parametrize("cost_gamma", [1.0, 0.7])
def test_the_advantage_by_hand(cost_gamma: float) -> None:
    """A_R - m A_C, each by GAE with its own critic and discount; rows of who had left are dropped."""
    here, learner, buffer = rolled(4, cost_limit=1.0, multiplier=2.0, multiplier_lr=0.4, cost_gamma=cost_gamma)
    here.collect(4)
    for critic in (learner.critic, learner.cost_critic):
        with torch.no_grad():
            for p in critic.parameters():
                p.add_(0.3 * torch.randn_like(p))
    rows = prepared(learner, buffer)
    multiplier = 2.0 + 0.4 * ((4 * 3.0 + 2 * 0.5) / 6 - 1.0)
    assert learner.multiplier.value == pytest.approx(multiplier)
    kept = buffer.alive.reshape(6, 4)
    done = buffer.done.reshape(6, 4)
    expected, cost_returns = [], []
    for lane in range(6):
        advantages = []
        for paid, critic, gamma in ((buffer.rew, learner.critic, GAMMA), (buffer.cost[:, 0], learner.cost_critic, cost_gamma)):
            value = learner._values(buffer.obs, critic).reshape(6, 4)[lane]
            following = np.append(value[1:], 0.0)
            returns = gae_returns(paid.reshape(6, 4)[lane], value, following, done[lane], done[lane], gamma)
            advantages.append(returns - value)
        expected += list((advantages[0] - multiplier * advantages[1])[kept[lane]])
        cost_returns += list(returns[kept[lane]])
    assert rows.adv.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert rows.cost_returns.tolist() == pytest.approx(cost_returns, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_a_late_cost_is_whole_at_the_choice_that_made_it(end: str) -> None:
    """What the last of 20 ticks costs, in the first: 1 where the loan was taken, .9^19 under a discount of .9; a cut ends costs too."""
    for cost_gamma, due in ((1.0, 1.0), (0.9, 0.9**19)):
        copies = VectorGame(LOAN, 16, end=end)
        here = lanes(copies, "ippo_lagrangian", gamma=0.9, gae_lambda=1.0, rollout=20, cost_limit=0.5, cost_gamma=cost_gamma)
        (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
        here.collect(20)
        rows = prepared(learner, buffer)
        taken = buffer.act.reshape(16, 20)[:, 0]
        assert 0 < taken.sum() < 16
        assert rows.cost_returns.reshape(16, 20)[:, 0].tolist() == pytest.approx((due * taken).tolist(), abs=1e-5)


def test_at_a_multiplier_of_nothing_the_policy_is_ippos() -> None:
    """To the bit, after two updates: the cost's critic is beside the loss, not in it."""
    found = []
    for name, own in (("ippo", {}), ("ippo_lagrangian", {"cost_limit": 1e9})):
        here = lanes(VectorGame(PAYDAY, 2), name, minibatches=1, **own)
        torch.manual_seed(7)
        actor = here.team.learners["worker"].policy.actor
        with torch.no_grad():
            for p in [*actor.parameters(), *here.team.learners["worker"].critic.parameters()]:
                p.copy_(torch.randn_like(p))
        for k in range(2):
            torch.manual_seed(k)
            here.collect(4)
            torch.manual_seed(k)
            here.update()
        found.append(torch.cat([p.detach().flatten() for p in actor.parameters()]))
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_the_costs_critic_learns_what_costs() -> None:
    here, _, _ = rolled(4, cost_limit=1e9, lr=1e-2, anneal=False, epochs=4)
    losses = []
    for _ in range(30):
        here.collect(4)
        told = here.update(repeat=4).get_loss_stats_dict()
        losses.append(told["worker/cost_vf_loss"])
    assert losses[-1] < 0.2 * losses[0]
    assert told["worker/multiplier"] == 0.0
    assert told["worker/episode_cost"] == pytest.approx((4 * 3.0 + 2 * 0.5) / 6)


@pytest.mark.parametrize(
    ("game", "given", "message"),
    [
        (AIM, {"cost_limit": 1.0}, "algorithm = 'ippo_lagrangian' for archer: the game has no cost columns to limit; ippo needs none"),
        (PAYDAY, {}, "algorithm.cost_limit is not given: legal is a number, the mean of hours an episode and agent"),
        (PAYDAY, {"cost_limit": 1.0, "cost": "days"}, "algorithm.cost = 'days': legal are hours, or null for their sum"),
    ],
)
def test_what_cannot_be_limited_is_refused(game: Any, given: dict[str, Any], message: str) -> None:
    (part,) = parts(VectorGame(game), "group").values()
    with pytest.raises(UserError) as error:
        IPPOLagrangian(settings.IPPOLagrangian(**given), part, 10)
    assert str(error.value) == message


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_multiplier_of_a_late_cost_is_what_it_would_earn(gamma: float, tmp_path: Path) -> None:
    """tests.loan: 1, whatever the discount of rewards, at a mean cost of the limit; means over the last half of the run."""
    torch.set_num_threads(1)
    own = {"rollout": 20, "gae_lambda": 1.0, "cost_limit": 0.5, "multiplier_lr": 0.03, "proportional": 1.0, "entropy": 0.03, "lr": 1e-3}
    run = Run(
        lambda stage, n: VectorGame(LOAN, n),
        algorithms.load("ippo_lagrangian"),
        settings.IPPOLagrangian(**own, gamma=gamma, hidden=[16], anneal=False),
        Schedule(200 * 640, evaluation_every=200 * 640, checkpoint_every=200 * 640, evaluation_episodes=16),
        seed=0,
        n_envs=32,
        folder=tmp_path,
    )
    run.start()
    run.run()
    told = [m for m in read_metrics(tmp_path / "metrics.jsonl") if "loss/debtor/multiplier" in m][100:]
    assert np.mean([m["loss/debtor/multiplier"] for m in told]) == pytest.approx(1.0, abs=0.15)
    assert np.mean([m["loss/debtor/episode_cost"] for m in told]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1 / 3, 0.75])
def test_the_constrained_optimum_is_found(limit: float, tmp_path: Path) -> None:
    """tests.haste: return, cost and multiplier in closed form. Unconstrained, the return would be 2 at a cost of 4."""
    torch.set_num_threads(1)
    given = {"cost_limit": limit, "gamma": 1.0, "rollout": 16, "lr": 3e-3, "hidden": [32, 32]}
    run = Run(
        lambda stage, n: VectorGame(HASTE, n),
        algorithms.load("ippo_lagrangian"),
        settings.IPPOLagrangian(**given),
        Schedule(60_000, evaluation_every=60_000, checkpoint_every=60_000, evaluation_episodes=256),
        seed=0,
        n_envs=32,
        folder=tmp_path,
    )
    run.start()
    run.run()
    found = run.judge(1_024).evaluation
    earned, price = best(limit, 4)
    assert found.costs.mean() == pytest.approx(limit, rel=0.1)
    assert found.by_episode.mean() == pytest.approx(earned, rel=0.05)
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert last["loss/driver/multiplier"] == pytest.approx(price, rel=0.1)
