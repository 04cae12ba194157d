"""MADDPG's choices by hand: draws and their gradient, masks, targets and losses over one-hot rows, members that left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.gumbel import straight_through
from marl.game import Discrete, Game, Role
from marl.team import seen
from marl.vector import VectorGame
from tests.branches import BRANCHES
from tests.lanes import lanes, part_of, rows_of
from tests.payday import OBSERVATION, PAYDAY

GAMMA = 0.9
SHIFTS = Game(
    **{**PAYDAY.__dict__, "name": "shifts", "roles": lambda p: (Role("worker", p.n_agents, OBSERVATION, {"shift": Discrete(3)}),)}
)
"""Payday, whose workers choose one of three shifts, which changes nothing."""


def policy_of(table: str, masked: bool = False) -> Any:
    """MADDPG's policy over the columns, exploring."""
    torch.manual_seed(1)
    learner = algorithms.load("maddpg")(algorithms.settings_of("maddpg")(hidden=[8]), part_of(table, masked), 10)
    shaken(learner.policy)
    learner.policy.is_within_training_step = True
    return learner.policy


def shaken(*modules: Any) -> None:
    """Other parameters than the small ones that a network is made with."""
    with torch.no_grad():
        for p in (p for module in modules for p in module.parameters()):
            p.add_(0.5 * torch.randn_like(p))


# ---- rows ----------------------------------------------------------------------------------------------------------


def test_choices_are_drawn_as_often_as_their_softmax_says() -> None:
    logits = torch.tensor([1.0, 0.0, -1.5])
    for temperature in (1.0, 0.3):  # which blurs the gradient, not the draw
        drawn = straight_through(logits.expand(60_000, 3), temperature, True)
        assert torch.allclose(drawn, drawn.round(), atol=1e-6)
        assert drawn.mean(0).tolist() == pytest.approx(torch.softmax(logits, 0).tolist(), abs=0.008)


def test_the_gradient_is_that_of_the_tempered_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a draw whose noise is known: u = .3, .9, .5."""
    u, weights = torch.tensor([[0.3, 0.9, 0.5]]), torch.tensor([1.0, -2.0, 0.5])
    monkeypatch.setattr(torch, "rand_like", lambda _: u)
    logits = torch.tensor([[0.4, 0.1, -0.3]], requires_grad=True)
    drawn = straight_through(logits, 0.5, True)
    noisy = logits.detach() - torch.log(-torch.log(u))
    assert drawn[0].argmax() == noisy[0].argmax() == 1
    (drawn[0] @ weights).backward()
    p = torch.softmax(noisy[0] / 0.5, 0)
    assert logits.grad is not None
    assert torch.allclose(logits.grad[0], p * (weights - p @ weights) / 0.5, atol=1e-6)


@pytest.mark.parametrize("table", ["choice", "discrete", "hybrid"])
def test_illegal_choices_are_never_taken_and_get_no_gradient(table: str) -> None:
    part, policy = part_of(table, True), policy_of(table, True)
    rows = rows_of(part, 400)
    illegal, free = rows[:, part.observed :] < 0.5, policy.actor.free
    taken = [policy(seen(rows)).act, policy.random_action(rows), policy.target(policy.actor, rows), policy.fresh(rows)[0]]
    policy.is_within_training_step = False
    taken.append(policy(seen(rows)).act)
    for row in taken:
        assert row.shape == (400, policy.row_width)
        assert (row[:, free:][illegal].abs() < 1e-6).all()
        assert row[:, free:].sum(1).tolist() == pytest.approx([len(policy.actor.columns.discrete)] * 400)
    parameters = policy.actor(rows)[0].detach().requires_grad_()
    (policy._row(parameters, True, 0.0) @ torch.randn(policy.row_width)).sum().backward()
    assert parameters.grad is not None
    assert (parameters.grad[:, free:][illegal] == 0).all() and (parameters.grad[:, free:][~illegal] != 0).any()


def test_rows_of_mixed_columns_are_mapped_into_their_units() -> None:
    policy = policy_of("hybrid")
    row = torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0], [-1.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0]])
    assert policy.map_action(row).tolist() == [pytest.approx([2, 1.0, 0, 6.0]), pytest.approx([0, 0.01, 1, 5.0])]


def test_choices_are_the_likeliest_outside_a_training_step() -> None:
    policy, rows = policy_of("discrete"), rows_of(part_of("discrete"), 300)
    drawn = policy(seen(rows)).act
    policy.is_within_training_step = False
    mode, (parameters, _) = policy(seen(rows)).act, policy.actor(rows)
    assert not torch.equal(drawn, mode)
    assert torch.equal(mode[:, :3].argmax(1), parameters[:, :3].argmax(1)) and torch.equal(
        mode[:, 3:].argmax(1), parameters[:, 3:].argmax(1)
    )


# ---- learning ------------------------------------------------------------------------------------------------------


def prepared(game: Game, name: str, reward: str, params: dict[str, Any], **given: Any) -> tuple[Any, Any, Any, Any]:
    """(learner, buffer, raw rows, batch) of fifty team rows under networks that are not those that they were made with."""
    here = lanes(VectorGame(game, 4, **params), name, gamma=GAMMA, reward=reward, anneal=False, **given)
    here.collect(9)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    shaken(learner.policy, learner.actor_old, learner.critic, learner.critic_old)
    raw, index = buffer.sample(50)
    kept = {k: torch.as_tensor(v.copy()) for k, v in raw.__dict__.items() if k != "info"}
    return learner, buffer, kept, learner._preprocess_batch(raw, buffer, index)


def likeliest(net: Any, rows: Tensor) -> Tensor:
    """One-hot choices of rows [N, 4 + 2] of BRANCHES, by their legal logits."""
    logits = net(rows[:, :4]).masked_fill(rows[:, 4:] == 0, -1e9)
    return torch.nn.functional.one_hot(logits.argmax(1), 2).float()


@pytest.mark.parametrize("reward", ["individual", "team_sum"])
@pytest.mark.parametrize("name", ["maddpg", "matd3"])
def test_targets_and_losses_over_choices_by_hand(name: str, reward: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same noise for every choice the likeliest legal one is drawn."""
    learner, _, raw, batch = prepared(BRANCHES, name, reward, {"masked": 1}, logit_penalty=0.3)
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))
    heads = 2 if reward == "individual" else 1
    barred = raw["obs"][:, :, 5] == 0
    assert barred.any() and not (raw["act"][:, :, 1][barred] > 0.5).any()
    with torch.no_grad():
        after = [likeliest(learner.actor_old.module.net, raw["obs_next"][i]) for i in range(2)]
        rows = torch.cat([raw["state_next"], *after], 1)
        low = torch.stack([net(rows) for net in learner.critic_old.module.nets]).min(0).values.T
        y = raw["rew"][:heads] + GAMMA * low * ~raw["terminated"][:heads]
        now = torch.cat([raw["state"], raw["act"][0], raw["act"][1]], 1)
        error = sum(float((net(now).T - y).square().mean()) for net in learner.critic.nets)
        own = [likeliest(learner.policy.actor.net, raw["obs"][i]) for i in range(2)]
        joint = [torch.cat([raw["state"], own[0], raw["act"][1]], 1), torch.cat([raw["state"], raw["act"][0], own[1]], 1)]
        value = [learner.critic.nets[0](joint[i])[:, min(i, heads - 1)] for i in range(2)]
        logits = learner.policy.actor.net(raw["obs"][:, :, :4])
        square = torch.where(barred, logits[:, :, 0].square(), logits.square().mean(2))
        expected = float(-torch.stack(value).mean() + 0.3 * square.mean())
    assert learner._targets(batch).numpy() == pytest.approx(y.numpy(), rel=1e-4, abs=1e-5)
    assert learner._actor_loss(batch).item() == pytest.approx(expected, rel=1e-4)
    assert learner._update_with_batch(batch).critic_loss == pytest.approx(error, rel=1e-4)


def test_a_member_that_left_chooses_nothing_and_is_in_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, _, raw, batch = prepared(SHIFTS, "maddpg", "individual", {"n_agents": 2, "horizon": 3, "leave": 1, "ghost": 1e6})
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))
    gone = ~raw["alive"]
    assert gone[1].any() and not gone[0].any()
    assert (batch.act[gone] == 0).all() and (batch.reward[gone] == 0).all()
    loss, target = learner._actor_loss(batch).item(), learner._targets(batch)[0]
    batch.obs[gone] = 9.0
    batch.obs_next[1][batch.alive_next[1] == 0] = -7.0
    assert learner._actor_loss(batch).item() == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(learner._targets(batch)[0], target)


@pytest.mark.parametrize("reward", ["individual", "team_mean"])
def test_standardised_rewards_have_the_moments_of_what_the_living_were_paid(reward: str) -> None:
    params = {"n_agents": 2, "horizon": 3, "leave": 1, "ghost": 1e6}
    learner, _, raw, batch = prepared(SHIFTS, "maddpg", reward, params, standardise=True)
    paid = raw["rew"][raw["alive"]] if reward == "individual" else raw["rew"][0]
    mean, std = float(paid.mean()), float(paid.numpy().std())
    assert learner.ret_rms.mean == pytest.approx(mean, rel=1e-3)
    assert batch.reward[0].numpy() == pytest.approx((raw["rew"][0].numpy() - mean) / std, rel=1e-2, abs=1e-2)
    assert np.abs(batch.reward[0].numpy()).max() < 10.0
