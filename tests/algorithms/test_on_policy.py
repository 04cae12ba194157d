"""A2C and REINFORCE by hand: their losses, what leaves them out, and the gradient step that follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tianshou.utils.torch_utils import policy_within_training_step

from marl.vector import VectorGame
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY

GAMMA = 0.9


def rolled(name: str, ticks: int = 4, **given: Any) -> Lanes:
    """A rollout of two copies of three workers."""
    here = lanes(VectorGame(PAYDAY, 2, n_agents=3, horizon=4, leave=2, ghost=1e6), name, rollout=ticks, anneal=False, gamma=GAMMA, **given)
    here.collect(ticks)
    return here


def rows(here: Lanes) -> tuple[Any, Any, torch.Tensor, torch.Tensor, np.ndarray]:
    """(learner, buffer, rows of agents that acted, their actions, which those are)."""
    (buffer,), (learner,) = here.buffers.values(), here.team.learners.values()
    kept = np.flatnonzero(buffer.alive)
    return learner, buffer, torch.from_numpy(buffer.obs[kept]), torch.from_numpy(buffer.act[kept]), kept


def discounted(buffer: Any) -> np.ndarray:
    """G of every lane of a rollout of one whole episode, from what was paid while the agent was there."""
    shape = buffer.agents * buffer.copies, buffer.rows
    reward, alive, found = buffer.rew.reshape(shape), buffer.alive.reshape(shape), np.zeros(shape)
    ahead = np.zeros(shape[0])
    for t in reversed(range(shape[1])):
        ahead = np.where(alive[:, t], reward[:, t] + GAMMA * ahead, 0.0)
        found[:, t] = ahead
    return found.reshape(-1)


def test_reinforce_takes_the_discounted_sum_of_what_is_paid_to_those_who_are_there() -> None:
    here = rolled("reinforce", standardise=False)
    learner, buffer, obs, act, kept = rows(here)
    assert len(kept) == 20  # the third worker has left after two of four ticks
    with torch.no_grad():
        dist = learner.policy.dist_fn(learner.policy.actor(obs)[0])
    expected = -(dist.log_prob(act) * torch.from_numpy(discounted(buffer)[kept])).mean()
    assert here.update().get_loss_stats_dict()["worker/loss"] == pytest.approx(float(expected.detach()), rel=1e-5)


def test_reinforce_standardises_by_the_moments_of_the_returns_so_far() -> None:
    here = rolled("reinforce", standardise=True)
    learner, buffer, _, _, kept = rows(here)
    returns = discounted(buffer)[kept]
    here.update()
    assert learner.ret_rms.count == 20  # of rows in which agents acted: none of the third's, after it left
    assert float(learner.ret_rms.mean) == pytest.approx(returns.mean(), rel=1e-5)
    assert float(learner.ret_rms.var) == pytest.approx(returns.var(), rel=1e-5)


def test_a2c_loss_by_hand() -> None:
    """-E[log pi A] + c_v E[(R - V)^2] - c_e E[H], with R = G at lambda 1 where an episode is whole."""
    here = rolled("ia2c", gae_lambda=1.0, value=0.3, entropy=0.2)
    learner, buffer, obs, act, kept = rows(here)
    returns = torch.from_numpy(discounted(buffer)[kept]).float()
    with torch.no_grad():
        value = learner.critic(obs).squeeze(1)
        dist = learner.policy.dist_fn(learner.policy.actor(obs)[0])
        actor, error, entropy = -(dist.log_prob(act) * (returns - value)).mean(), (returns - value).square().mean(), dist.entropy().mean()
    found = here.update().get_loss_stats_dict()
    assert found["worker/actor_loss"] == pytest.approx(float(actor), rel=1e-4)
    assert found["worker/vf_loss"] == pytest.approx(float(error), rel=1e-4)
    assert found["worker/loss"] == pytest.approx(float(actor + 0.3 * error - 0.2 * entropy), rel=1e-4)
    assert found["worker/gradient_steps"] == 1


@pytest.mark.parametrize("name", ["ia2c", "reinforce"])
def test_the_step_follows_the_gradient_of_the_loss(name: str) -> None:
    """Finite differences of the mean log-probability, weighted by what the batch holds, for one weight of the last layer."""
    here = rolled(name)
    (buffer,), (learner,) = here.buffers.values(), here.team.learners.values()
    with policy_within_training_step(learner.policy):
        batch = learner._preprocess_batch(*reversed_sample(buffer))
    weight = batch.adv if name == "ia2c" else batch.returns
    bias = learner.policy.actor.net[-1].bias

    def loss() -> torch.Tensor:
        return -(learner.policy.dist_fn(learner.policy.actor(batch.obs)[0]).log_prob(batch.act) * weight).mean()

    (gradient,) = torch.autograd.grad(loss(), bias)
    with torch.no_grad():
        bias += 1e-2
        up = loss()
        bias -= 2e-2
        down = loss()
    assert float((up - down) / 2e-2) == pytest.approx(float(gradient), rel=1e-3)


def reversed_sample(buffer: Any) -> tuple[Any, Any, Any]:
    batch, index = buffer.sample(0)
    return batch, buffer, index


CRITICS = [("ippo", "critic"), ("mappo", "critic"), ("ia2c", "critic"), ("ippo_lagrangian", "critic"), ("ippo_lagrangian", "cost_critic")]


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize(("name", "critic"), CRITICS)
def test_a_critic_has_layers_of_its_own_where_settings_give_them(name: str, critic: str, memory: str) -> None:
    """Widths of the linear layers before a memory or the head: the policy's stay `hidden`. MAPPO's critic of the state has no memory."""

    def widths(net: Any) -> list[int]:
        layers = net.trunk.layers if hasattr(net, "trunk") else getattr(net, "net", net)
        found = [m.out_features for m in layers.modules() if isinstance(m, torch.nn.Linear)]
        return found if hasattr(net, "trunk") else found[:-1]

    limit = {"cost_limit": 1.0} if name == "ippo_lagrangian" else {}
    for own, expected in ((None, [6]), ([5, 3], [5, 3])):
        here = rolled(name, hidden=[6], critic_hidden=own, memory=memory, **limit)
        (learner,) = here.team.learners.values()
        assert widths(getattr(learner, critic)) == expected
        assert widths(learner.policy.actor) == [6]
        here.update()
