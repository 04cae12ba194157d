"""Agents that leave and choices that are masked, on-policy: who is in which mean, by hand, and a game in which leaving is the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marl.vector import VectorGame
from tests.algorithms.test_answers import learned
from tests.algorithms.test_tianshou_399 import gae_returns
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY
from tests.sacrifice import LEAVES, SACRIFICE, STAYS

GAMMA, LAMBDA = 0.9, 0.8  # those of gae_returns


def prepared(here: Lanes) -> tuple[Any, Any, Any]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return learner, buffer, learner._preprocess_batch(buffer.sample(0)[0], buffer, np.arange(len(buffer)))


def without_values(learner: Any) -> None:
    with torch.no_grad():
        for p in learner.critic.parameters():
            p.zero_()


@pytest.mark.parametrize("name", ["ippo", "ia2c", "mappo"])
def test_the_return_of_who_left_is_the_teams(name: str) -> None:
    """Two workers earn 10 + t and 20 + t; the second leaves after tick 0 of three. The team: 30, 11, 12, so 53, 23 and 12 are
    still to come; the second has 53 at its only tick. A ghost's pay in its later rows is nobody's. Undiscounted, without values."""
    how = {"gamma": 1.0, "gae_lambda": 1.0, **({"normalise_values": False} if name == "mappo" else {})}
    here = lanes(VectorGame(PAYDAY, 2, n_agents=2, horizon=3, leave=1, ghost=1e6), name, rollout=3, reward="team_sum", **how)
    without_values(next(iter(here.team.learners.values())))
    here.collect(3)
    _, _, batch = prepared(here)
    if name == "mappo":
        assert batch.returns.tolist() == [[53.0, 23.0, 12.0] * 2]
        assert batch.adv.view(2, 2, 3)[1, :, 0].tolist() == batch.adv.view(2, 2, 3)[0, :, 0].tolist()
    else:
        assert batch.returns.tolist() == [53.0, 23.0, 12.0] * 2 + [53.0] * 2
    alone = lanes(VectorGame(PAYDAY, 2, n_agents=2, horizon=3, leave=1, ghost=1e6), name, rollout=3, **how)
    without_values(next(iter(alone.team.learners.values())))
    alone.collect(3)
    _, buffer, batch = prepared(alone)
    found = batch.returns[batch.alive == 1] if name == "mappo" else batch.returns
    assert found.tolist() == [33.0, 23.0, 12.0] * 2 + [20.0] * 2
    assert buffer.alive.reshape(2, 2, 3)[1].tolist() == [[True, False, False]] * 2


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_values_of_who_left_are_those_of_who_is_there(end: str) -> None:
    """GAE over the values of three workers, of whom the third leaves after two of four ticks; rollouts of six cut an episode."""
    copies = VectorGame(PAYDAY, 2, n_agents=3, horizon=4, leave=2, ghost=1e6, end=end)
    here = lanes(copies, rollout=6, reward="team_sum", gamma=GAMMA, gae_lambda=LAMBDA)
    here.collect(6)
    learner: Any = here.team.learners["worker"]
    with torch.no_grad():
        for p in learner.critic.parameters():
            p.add_(0.5 * torch.randn_like(p))
    learner, _, batch = prepared(here)

    def value(k: int, t: int, there: int) -> float:
        each = [learner.critic(torch.tensor([[(a + 1) / 3, 1 - t / 4]])).item() for a in range(there)]
        return each[k] if k < there else sum(each) / there

    ticks, there = [0, 1, 2, 3, 0, 1], [3, 3, 2, 2, 3, 3]
    after = [(1, 3), (2, 2), (3, 2), (4, 2), (1, 3), (2, 2)]
    pay = np.array([sum(10.0 * (a + 1) + t for a in range(n)) for t, n in zip(ticks, there)])
    over = np.array([False, False, False, True, False, False])
    expected = []
    for k in range(3):
        v, following = (np.array([value(k, *x) for x in where]) for where in (zip(ticks, there), after))
        returns = gae_returns(pay, v, following, over & (end == "terminated"), over)
        expected += [returns[[k < n for n in there]]] * 2
    assert batch.returns.tolist() == pytest.approx(np.concatenate(expected).tolist(), rel=1e-4)


def test_ippos_loss_has_no_row_of_who_left() -> None:
    """Six rows of two players in three ticks, of whom the first is gone after one: four are in the mean and deviation of the
    advantage, in the surrogate, in the value's error and in the entropy, which is made to differ from row to row."""
    copies = VectorGame(SACRIFICE, 1)
    here = lanes(copies, rollout=3, entropy=0.3, value=0.7, clip=0.2, minibatches=1, lr=0.0, gamma=GAMMA, gae_lambda=LAMBDA)
    learner: Any = here.team.learners["player"]
    with torch.no_grad():
        for p in learner.policy.actor.parameters():
            p.add_(0.5 * torch.randn_like(p))
        learner.policy.actor.net[-1].bias[1] += 20.0  # the first leaves at once
    here.collect(3)
    _, buffer, batch = prepared(here)
    assert buffer.alive.reshape(2, 3).tolist() == [[True, False, False], [True, True, True]]
    kept = np.flatnonzero(buffer.alive)
    obs, act = torch.from_numpy(buffer.obs[kept]), torch.from_numpy(buffer.act[kept])
    assert torch.equal(batch.obs, obs)
    with torch.no_grad():
        dist = learner.policy.dist_fn(learner.policy.actor(obs)[0])
        ratio = (dist.log_prob(act) - batch.logp_old).exp()
        advantage = (batch.adv - batch.adv.mean()) / (batch.adv.std() + 1e-8)
        actor = -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        error = (batch.returns - learner.critic(obs).flatten()).square().mean()
        entropy = dist.entropy()
    assert len(entropy) == 4
    told = here.update().get_loss_stats_dict()
    assert told["player/ent_loss"] == pytest.approx(float(entropy.mean()), rel=1e-5)
    assert told["player/vf_loss"] == pytest.approx(float(error), rel=1e-5)
    assert told["player/loss"] == pytest.approx(float(actor + 0.7 * error - 0.3 * entropy.mean()), rel=1e-4)


@pytest.mark.parametrize("name", ["ippo", "mappo", "ia2c"])
def test_entropy_and_choices_are_over_what_the_mask_leaves(name: str) -> None:
    """In branches the first player has one choice at first; all else is even: 0 and thrice log 2, of which the mean is .75 log 2.

    Without the mask it is log 2. A choice that is forbidden is never taken."""
    for masked, share in ((1, 0.75), (0, 1.0)):
        here = lanes(VectorGame(BRANCHES, 8, masked=masked), name, rollout=8, lr=0.0)
        learner: Any = here.team.learners["player"]
        with torch.no_grad():
            for p in learner.policy.actor.net[-1].parameters():
                p.zero_()
        here.collect(8)
        (buffer,) = here.buffers.values()
        first = buffer.act.reshape(2, 8, 8)[0][:, ::2]
        assert set(np.unique(first)) == ({0.0} if masked else {0.0, 1.0})
        assert set(np.unique(buffer.act.reshape(2, 8, 8)[1])) == {0.0, 1.0}
        assert here.update().get_loss_stats_dict()["player/ent_loss"] == pytest.approx(share * np.log(2.0), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["ippo", "mappo", "ia2c"])
def test_the_first_leaves_for_the_team(name: str, seed: int, tmp_path: Path) -> None:
    """13 for the team, 6.5 a player; who is only paid while it is there stays, and the team has 6."""
    assert 2.0 * learned(SACRIFICE, name, tmp_path, 6_000, seed, reward="team_sum", rollout=6, lr=5e-3) == LEAVES


@pytest.mark.slow
def test_the_first_stays_for_itself(tmp_path: Path) -> None:
    assert 2.0 * learned(SACRIFICE, "ippo", tmp_path, 6_000, rollout=6, lr=5e-3) == STAYS
