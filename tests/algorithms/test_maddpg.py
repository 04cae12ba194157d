"""MADDPG and MATD3 by hand: targets, the critics' and the actor's losses, members that left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from marl.vector import VectorGame
from tests.lanes import lanes
from tests.payday import PAYDAY

GAMMA = 0.9


def prepared(name: str, reward: str, **game: Any) -> tuple[Any, Any, Any, Any]:
    """(learner, buffer, raw batch, batch) of forty team rows; the networks are not those that they were made with."""
    here = lanes(VectorGame(PAYDAY, 2, n_agents=2, horizon=3, **game), name, gamma=GAMMA, target_noise=0.0, reward=reward, anneal=False)
    here.collect(9)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    with torch.no_grad():
        for module in (learner.policy.actor, learner.actor_old, learner.critic, learner.critic_old):
            for p in module.parameters():
                p.add_(0.5 * torch.randn_like(p))
    raw, index = buffer.sample(40)
    kept = {
        n: torch.as_tensor(raw.__dict__[n].copy()) for n in ("obs", "obs_next", "act", "rew", "terminated", "alive", "state", "state_next")
    }
    return learner, buffer, kept, learner._preprocess_batch(raw, buffer, index)


@pytest.mark.parametrize("reward", ["individual", "team_sum", "team_mean"])
@pytest.mark.parametrize("name", ["maddpg", "matd3"])
def test_targets_and_losses_by_hand(name: str, reward: str) -> None:
    learner, _, raw, batch = prepared(name, reward)
    heads = 2 if reward == "individual" else 1
    pay = raw["rew"] if reward == "individual" else raw["rew"][:1]
    assert len(learner.critic.nets) == (1 if name == "maddpg" else 2)
    with torch.no_grad():
        after = [torch.tanh(learner.actor_old.module.net(raw["obs_next"][i])) for i in range(2)]
        rows = torch.cat([raw["state_next"], *after], 1)
        low = torch.stack([net(rows) for net in learner.critic_old.module.nets]).min(0).values.T
        y = pay + GAMMA * low * ~raw["terminated"][:heads]
        now = torch.cat([raw["state"], raw["act"][0], raw["act"][1]], 1)
        error = sum(float((net(now).T - y).square().mean()) for net in learner.critic.nets)
    assert learner._targets(batch).numpy() == pytest.approx(y.numpy(), rel=1e-4, abs=1e-5)
    with torch.no_grad():
        own = [torch.tanh(learner.policy.actor.net(raw["obs"][i])) for i in range(2)]
        first = learner.critic.nets[0]
        value = [first(torch.cat([raw["state"], own[0], raw["act"][1]], 1)), first(torch.cat([raw["state"], raw["act"][0], own[1]], 1))]
        expected = -float(torch.stack([value[0][:, 0], value[1][:, heads - 1]]).mean())
    assert learner._actor_loss(batch).item() == pytest.approx(expected, rel=1e-4)
    assert learner._update_with_batch(batch).critic_loss == pytest.approx(error, rel=1e-4)


def test_a_member_that_left_acts_nothing_and_is_in_no_loss() -> None:
    """What stands in the rows of the second worker after it left changes neither target nor loss."""
    learner, _, raw, batch = prepared("maddpg", "individual", leave=1, ghost=1e6)
    gone = ~raw["alive"]
    assert gone[1].any() and not gone[0].any()
    assert (batch.act[gone] == 0).all() and (batch.reward[gone] == 0).all()
    before = learner._actor_loss(batch).item()
    batch.obs[gone] = 9.0
    assert learner._actor_loss(batch).item() == pytest.approx(before, rel=1e-5)


def test_only_the_actor_follows_its_loss_and_every_member_moves_it() -> None:
    learner, _, _, batch = prepared("maddpg", "individual")
    gradients = []
    for member in range(2):
        batch.__dict__["alive"] = torch.zeros_like(batch.alive)
        batch.alive[member] = 1.0
        gradients.append(torch.autograd.grad(learner._actor_loss(batch), learner.policy.actor.net[-1].weight)[0])
    assert all(g.abs().sum() > 0 for g in gradients) and not torch.allclose(gradients[0], gradients[1])


def test_the_actor_moves_every_delay_updates() -> None:
    here = lanes(VectorGame(PAYDAY, 2, n_agents=2, horizon=3), "matd3", delay=3)
    here.collect(9)
    (learner,), moved = here.team.learners.values(), []
    for _ in range(7):
        before = learner.policy.actor.net[-1].weight.clone()
        here.update()
        moved.append(not torch.equal(before, learner.policy.actor.net[-1].weight))
    assert moved == [True, False, False, True, False, False, True]
    assert np.isfinite(learner._last)
