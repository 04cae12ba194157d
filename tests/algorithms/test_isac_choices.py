"""ISAC's expectation over Discrete columns: its target and its gradient by enumeration, and bandits with known soft optima."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.utils.torch_utils import policy_within_training_step
from torch import Tensor, nn

from algorithms import settings
from algorithms.isac import ISAC, alternatives
from marl.copies import Group
from marl.game import Column, Discrete
from marl.replay import LaneBuffer
from marl.team import Part, seen
from tests.algorithms.test_isac import expected, made
from tests.lanes import part_of, rows_of


def test_no_gradient_passes_a_drawn_choice() -> None:
    """It would be the critic's slope between corners, where it has seen nothing."""
    learner = made(part_of("hybrid"), [0.0, 0.0, 0.0, 0.0, 0.4, 0.1, -0.3, 0.0, 0.0])
    out = learner.policy(seen(torch.zeros(50, 2)))
    out.act.square().sum().backward()
    assert (learner.policy.actor.told.grad[:2] != 0).all()
    assert (learner.policy.actor.told.grad[4:] == 0).all()


@pytest.mark.parametrize("table", ["hybrid", "discrete"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_target_takes_the_expectation_over_choices(table: str, masked: bool) -> None:
    """V(o') = the mean over the Discrete columns of sum_k p_k min Q'(.., k, ..) - alpha log pi; an illegal choice's Q' counts nothing."""
    part = part_of(table, masked)
    learner, rows = made(part, alpha=0.3), rows_of(part, 40)
    with torch.no_grad():
        drawn = learner.policy(seen(rows))
        found = learner._target_q_compute_value(seen(rows), drawn)
        known = expected(learner, rows, drawn, learner.critic_old, learner.critic2_old) - 0.3 * drawn.log_prob
    assert found.shape == (40, 1)
    assert torch.allclose(found, known, atol=1e-5)
    assert masked == bool((drawn.chances == 0).any())


def test_the_alternatives_of_a_row() -> None:
    act = torch.tensor([[0.3, -0.2, 0.0, 1.0, 0.0, 0.0, 1.0]])
    told = alternatives(act, 2, [3, 2])[0, :, 2:].tolist()
    assert told == [[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 1, 0, 1, 0], [0, 1, 0, 0, 1]]
    assert (alternatives(act, 2, [3, 2])[0, :, :2] == act[:, :2]).all()


class Corners(nn.Module):
    """Q(a) = worth[k, l] (1 + x y) - (x - .3)^2 at one-hot corners, with any slope between them: wrong by 50 sum_i a_i (1 - a_i)."""

    def __init__(self, worth: Tensor, free: int) -> None:
        super().__init__()
        self.worth, self.free = worth, free

    def forward(self, obs: Any, act: Any = None, info: Any = None) -> Tensor:
        k, l = act[:, self.free :].split(self.worth.shape, -1)
        paid = torch.einsum("nk,nl,kl->n", k, l, self.worth) + 50.0 * (act[:, self.free :] * (1.0 - act[:, self.free :])).sum(-1)
        if self.free:
            paid = paid * (1.0 + act[:, 0] * act[:, 1]) - (act[:, 0] - 0.3).square()
        return paid.unsqueeze(1)


@pytest.mark.parametrize("table", ["discrete", "hybrid"])
def test_the_actors_gradient_is_that_of_the_expected_value(table: str) -> None:
    """Against alpha log pi - sum_kl p_k q_l Q(x, k, l), all choices enumerated, at the same x."""
    told = [*([0.4, -0.6, -1.0, -0.5] if table == "hybrid" else []), 1.0, 0.0, -1.0, 0.5, -0.5]
    learner, rows = made(part_of(table), told, alpha=0.3), torch.zeros(100_000, 2)
    free = learner.policy.actor.free
    learner.critic = learner.critic2 = Corners(torch.tensor([[1.0, -0.5], [0.2, 2.0], [-1.0, 0.3]]), free)
    drawn = learner.policy(seen(rows))
    loss = learner._actor_loss(rows, drawn)
    (found,) = torch.autograd.grad(loss, learner.policy.actor.told, retain_graph=True)
    exact = 0.3 * drawn.log_prob.flatten()
    for k in range(3):
        for l in range(2):
            corner = torch.cat([drawn.act[:, :free], torch.eye(3)[k].expand(100_000, 3), torch.eye(2)[l].expand(100_000, 2)], -1)
            exact = exact - drawn.chances[:, k] * drawn.chances[:, 3 + l] * learner.critic(rows, corner).flatten()
    (right,) = torch.autograd.grad(exact.mean(), learner.policy.actor.told)
    assert found.tolist() == pytest.approx(right.tolist(), abs=0.006)
    assert float(loss.detach()) == pytest.approx(float(exact.detach().mean()), abs=0.02)
    assert float(right.abs().max()) > 0.05


def soft_value(worth: np.ndarray[Any, Any], p: Any, q: Any, alpha: float) -> float:
    """E[worth] + alpha H of a product policy."""
    return float(p @ worth @ q - alpha * (p @ np.log(p) + q @ np.log(q)))


def soft_optimum(worth: np.ndarray[Any, Any], alpha: float) -> tuple[Any, Any]:
    """(p, q) of the best such value: each the softmax of what it meets, from twenty starts."""
    chance, found = np.random.default_rng(0), []
    for _ in range(20):
        q = chance.dirichlet(np.ones(worth.shape[1]))
        for _ in range(300):
            p = np.exp(worth @ q / alpha) / np.exp(worth @ q / alpha).sum()
            q = np.exp(p @ worth / alpha) / np.exp(p @ worth / alpha).sum()
        found.append((soft_value(worth, p, q, alpha), p, q))
    return max(found, key=lambda x: x[0])[1:]


@pytest.mark.parametrize("matrix", range(5))
def test_two_choices_come_to_the_soft_optimum_whatever_the_critic_says_between_them(matrix: int) -> None:
    """Gradient steps of the actor alone, at alpha .2, on a critic that is exact at the six actions."""
    worth = np.random.default_rng(matrix).uniform(-1, 1, (3, 2))
    learner, rows = made(part_of("discrete"), [0.0] * 5, alpha=0.2), torch.zeros(256, 2)
    learner.critic = learner.critic2 = Corners(torch.tensor(worth, dtype=torch.float32), 0)
    told = learner.policy.actor.told
    steps = torch.optim.Adam([told], lr=0.05)
    for k in range(300):
        steps.param_groups[0]["lr"] = 0.05 * (1 - k / 300)
        steps.zero_grad()
        learner._actor_loss(rows, learner.policy(seen(rows))).backward()
        steps.step()
    p, q = (torch.softmax(x, 0).tolist() for x in told.detach().split([3, 2]))
    right = soft_optimum(worth, 0.2)
    assert p == pytest.approx(right[0].tolist(), abs=0.02)
    assert q == pytest.approx(right[1].tolist(), abs=0.02)


# ---- bandits with a soft optimum in closed form ----------------------------------------------------------------------


def bandit(table: Mapping[str, Column | Discrete], pay: Any, updates: int, **given: Any) -> tuple[Any, list[Any]]:
    """(the learner, the probabilities of each Discrete column) after so many updates from 4,000 uniform rows of one tick."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    part = Part("all", Group("all", 0, 1, {"x": Column(-1.0, 1.0)}, dict(table)), 0, 1, False)
    learner = ISAC(settings.ISAC(**{"hidden": [32, 32], "lr": 3e-3, **given}), part, updates)
    buffer = LaneBuffer(1, 4_000, 1, part.width, learner.policy.row_width, fields=(), keep_next=True, seed=0)
    act = learner.policy.random_action(torch.zeros(4_000, 1)).numpy()
    still, ends = np.zeros((4_000, 1, 1), np.float32), np.ones((3, 4_000, 1), np.bool_)
    ends[1] = False
    buffer.write({"obs": still, "act": act[:, None], "rew": pay(act)[:, None], "obs_next": still}, ends, None)
    with policy_within_training_step(learner.policy):
        for _ in range(updates):
            learner.update(buffer, sample_size=128)
        p = learner.policy(seen(torch.zeros(1, 1))).chances[0].detach()
    return learner, [x.numpy() for x in p.split(learner.policy.actor.columns.choices)]


@pytest.mark.slow
def test_a_mixed_bandit_is_learned_to_its_soft_optimum() -> None:
    """Each column's worth adds: pi = softmax(worth / alpha) of each, and the numbers' means where they pay most."""
    first, second = np.array([1.0, 0.5, -1.0]), np.array([0.0, 0.4])

    def pay(act: Any) -> Any:
        off = (act[:, 0] - 0.3) ** 2 + (act[:, 1] + 0.2) ** 2
        return first[act[:, 2:5].argmax(1)] + second[act[:, 5:].argmax(1)] - 2.0 * off

    table = {"a": Column(-1.0, 1.0), "b": Column(-1.0, 1.0), "c": Discrete(3), "d": Discrete(2)}
    learner, (p, q) = bandit(table, pay, 1_500, alpha=0.5)
    assert p.tolist() == pytest.approx([0.721, 0.265, 0.013], abs=0.025)
    assert q.tolist() == pytest.approx([0.310, 0.690], abs=0.025)
    learner.policy.is_within_training_step = False
    assert learner.policy(seen(torch.zeros(1, 1))).act[0].tolist() == pytest.approx([0.3, -0.2, 1, 0, 0, 0, 1], abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("matrix", "alpha"), [*((k, 0.2) for k in range(5)), (0, None), (4, None)])
def test_the_mode_of_two_choices_is_the_best_product_policys(matrix: int, alpha: float | None) -> None:
    """3 x 2 actions that pay uniform numbers, at a temperature of .2 and at the learned one: E + alpha H comes near the best."""
    worth = np.random.default_rng(matrix).uniform(-1, 1, (3, 2))
    found, (p, q) = bandit(
        {"a": Discrete(3), "b": Discrete(2)}, lambda act: worth[act[:, :3].argmax(1), act[:, 3:].argmax(1)], 800, lr=6e-3, alpha=alpha
    )
    reached = found.alpha.value
    right = soft_optimum(worth, reached)
    assert worth[p.argmax(), q.argmax()] == worth[right[0].argmax(), right[1].argmax()]
    assert soft_value(worth, p, q, reached) > soft_value(worth, *right, reached) - 0.03
