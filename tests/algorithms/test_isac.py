"""ISAC by hand: densities and gradients of its rows, its targets and losses, its temperature, its random rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.algorithm.modelfree.discrete_sac import DiscreteSAC
from tianshou.algorithm.modelfree.sac import SAC
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, TanhTransform, TransformedDistribution

from algorithms import settings
from algorithms.isac import ISAC, ChoiceSAC, MixedSAC, RowSAC
from marl.errors import UserError
from marl.team import Part, random_baseline, seen
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.crossing import CROSSING
from tests.lanes import Lanes, lanes, part_of, rows_of
from tests.payday import PAYDAY


class Told(nn.Module):
    """An actor that says the same of every row: means, log deviations, logits."""

    def __init__(self, like: Any, parameters: list[float]) -> None:
        super().__init__()
        self.columns, self.free, self.observed, self.masked = like.columns, like.free, like.observed, like.masked
        self.told = nn.Parameter(torch.tensor(parameters))

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        return self.told.expand(len(obs), -1), state


def made(part: Part, told: list[float] | None = None, **given: Any) -> Any:
    torch.manual_seed(2)
    learner = ISAC(settings.ISAC(**{"hidden": [5], **given}), part, 10)
    if told is not None:
        learner.policy.actor = Told(learner.policy.actor, told)
    learner.policy.is_within_training_step = True
    return learner


# ---- rows ----------------------------------------------------------------------------------------------------------


def test_the_log_density_of_continuous_columns_is_torchs() -> None:
    """The tanh of a normal, column by column; also where tanh saturates and 1 - tanh^2 is 0 in float32."""
    policy = made(part_of("continuous"), [0.3, -1.0, math.log(0.5), math.log(2.0)]).policy
    out = policy(seen(torch.zeros(500, 2)))
    mean, std = torch.tensor([0.3, -1.0], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    inner = out.act.double().abs().max(-1).values < 0.999
    squashed = TransformedDistribution(Normal(mean, std), [TanhTransform()])
    expected = squashed.log_prob(out.act.double()[inner]).sum(-1)
    assert inner.sum() > 300
    assert out.log_prob.squeeze(1)[inner].tolist() == pytest.approx(expected.tolist(), abs=2e-3)
    far = made(part_of("continuous"), [12.0, -30.0, -5.0, -5.0]).policy(seen(torch.zeros(50, 2)))
    # log p = -log s - log sqrt(2 pi) - z^2/2 - 2 log 2 + 2 |x|, in which only z^2/2, of mean 1/2, is not known
    known = 2 * (5.0 - 0.5 * math.log(2 * math.pi) - 2 * math.log(2.0)) + 2 * (12.0 + 30.0)
    assert float(far.log_prob.detach().mean()) == pytest.approx(known - 1.0, abs=0.8)


def test_the_density_of_a_row_integrates_to_one() -> None:
    """exp(log_prob) is a density over (-1, 1): the mean of 1/density over draws is the length of the interval."""
    policy = made(part_of("line"), [0.2, math.log(0.7)]).policy
    out = policy(seen(torch.zeros(400_000, 2)))
    inner = out.act.squeeze(1).abs() < 0.95
    assert float(((-out.log_prob.detach()).exp().squeeze(1) * inner).mean()) == pytest.approx(1.9, rel=0.02)


def test_a_hybrid_row_is_a_tanh_column_and_one_hot_segments() -> None:
    """In units: a choice of three, a log column, a choice of two, a linear column, each as often as the parameters say."""
    told = [0.5, -0.5, -8.0, -8.0, 1.0, 0.0, -1.0, 0.5, -0.5]
    policy = made(part_of("hybrid"), told).policy
    out = policy(seen(torch.zeros(30_000, 2)))
    assert policy.row_width == out.act.shape[1] == 2 + 3 + 2
    segments = out.act[:, 2:].detach()
    assert torch.allclose(segments, segments.round(), atol=1e-6)
    assert (segments[:, :3].sum(-1) - 1).abs().max() < 1e-5
    shares = [*torch.softmax(torch.tensor(told[4:7]), -1).tolist(), *torch.softmax(torch.tensor(told[7:]), -1).tolist()]
    assert segments.mean(0).tolist() == pytest.approx(shares, abs=0.012)
    units = policy.map_action(out.act)
    assert (units[:, 0] == segments[:, :3].argmax(-1).numpy()).all()
    assert (units[:, 2] == segments[:, 3:].argmax(-1).numpy()).all()
    assert units[:, 1] == pytest.approx(np.full(30_000, 100.0 ** math.tanh(0.5)), rel=2e-2)
    assert units[:, 3] == pytest.approx(np.full(30_000, 4.0 + 2.0 * math.tanh(-0.5)), rel=2e-2)


def test_the_entropy_of_a_hybrid_row_has_its_exact_value_and_gradient() -> None:
    """E[log pi] of the discrete columns is sum p log p; a drawn choice's log p would have this mean, and a gradient of 0."""
    told = [0.0, 0.0, -1.0, -1.0, 1.0, 0.0, -1.0, 0.5, -0.5]
    learner = made(part_of("hybrid"), told)
    out = learner.policy(seen(torch.zeros(100_000, 2)))
    out.log_prob.mean().backward()
    found = learner.policy.actor.told.grad
    exact = torch.tensor(told, requires_grad=True)
    entropy = Categorical(logits=exact[4:7]).entropy() + Categorical(logits=exact[7:]).entropy()
    (-entropy).backward()
    assert exact.grad is not None
    assert found[4:].tolist() == pytest.approx(exact.grad[4:].tolist(), abs=1e-5)
    plain = made(part_of("continuous"), told[:4]).policy(seen(torch.zeros(100_000, 2))).log_prob.mean()
    assert float((out.log_prob.mean() - plain).detach()) == pytest.approx(-float(entropy.detach()), abs=0.02)


def test_the_mode_is_taken_outside_a_training_step() -> None:
    for table in ("hybrid", "choice"):
        policy, rows = made(part_of(table)).policy, rows_of(part_of(table), 200)
        assert not torch.equal(policy(seen(rows)).act, policy(seen(rows)).act)
        policy.is_within_training_step = False
        assert torch.equal(policy(seen(rows)).act, policy(seen(rows)).act)
    told = made(part_of("hybrid"), [0.5, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 0.0]).policy
    told.is_within_training_step = False
    assert told(seen(torch.zeros(1, 2))).act[0].tolist() == pytest.approx([math.tanh(0.5), 0.0, 0, 1, 0, 1, 0])


@pytest.mark.parametrize("table", ["discrete", "hybrid", "choice"])
@pytest.mark.parametrize("random", [False, True])
def test_illegal_choices_are_never_taken(table: str, random: bool) -> None:
    """Neither by the policy nor while rows are drawn at random; legal ones all are."""
    part = part_of(table, masked=True)
    policy, rows = made(part).policy, rows_of(part, 3_000)
    with torch.no_grad():
        units = policy.map_action(policy.random_action(rows) if random else policy(seen(rows)).act)
    begin = part.group.width
    for u, column in enumerate(part.group.action.values()):
        k = getattr(column, "k", 0)
        legal = rows[:, begin : begin + k].numpy()
        begin += k
        if k:
            assert (legal[np.arange(3_000), units[:, u].astype(int)] == 1).all()
            free = legal.sum(1) == k
            assert set(units[free, u]) == set(range(k))


def test_illegal_choices_have_no_gradient() -> None:
    part = part_of("hybrid", masked=True)
    learner, rows = made(part), rows_of(part, 500)
    actor, caught = learner.policy.actor, []
    inner = actor.net.forward
    actor.net.forward = lambda x: caught.append(inner(x)) or caught[-1].retain_grad() or caught[-1]
    learner._actor_loss(rows, learner.policy(seen(rows))).backward()
    gradient = caught[0].grad[:, 4:]
    assert (gradient[rows[:, 2:] == 0] == 0).all()
    assert (gradient[rows[:, 2:] == 1] != 0).float().mean() > 0.6


@pytest.mark.parametrize("table", ["continuous", "hybrid"])
def test_random_rows_are_uniform_within_the_space(table: str) -> None:
    part = part_of(table)
    policy = made(part).policy
    units = policy.map_action(policy.random_action(torch.zeros(20_000, 2)))
    for u, column in enumerate(part.group.action.values()):
        if hasattr(column, "k"):
            assert np.bincount(units[:, u].astype(int)) / 20_000 == pytest.approx(np.full(column.k, 1 / column.k), abs=0.015)
            continue
        low, high, x = column.low, column.high, units[:, u]
        share = np.log(x / low) / np.log(high / low) if column.scale == "log" else (x - low) / (high - low)
        assert (share.min(), share.max(), share.mean()) == pytest.approx((0.0, 1.0, 0.5), abs=0.01)
        assert share.std() == pytest.approx(12**-0.5, rel=0.02)


@pytest.mark.parametrize("table", ["hybrid", "choice"])
def test_an_agent_without_a_legal_choice_does_something(table: str) -> None:
    """An agent that left may see a mask of zeros: nothing it does counts, and nothing may fail on it."""
    part = part_of(table, masked=True)
    policy, rows = made(part).policy, torch.zeros(4, part.width)
    for raw in (policy.random_action(rows), policy(seen(rows)).act):
        assert np.isfinite(policy.map_action(raw.detach())).all()
    assert np.isfinite(random_baseline(part)(None, rows.numpy(), np.random.default_rng(0))).all()


# ---- which algorithm -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "cls", "parent"),
    [("continuous", RowSAC, SAC), ("discrete", MixedSAC, SAC), ("hybrid", MixedSAC, SAC), ("choice", ChoiceSAC, DiscreteSAC)],
)
def test_discrete_columns_have_their_expectation(table: str, cls: type, parent: type) -> None:
    learner = made(part_of(table))
    assert type(learner) is cls
    assert isinstance(learner, parent)


# ---- targets and losses --------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A critic of known weights: of the row, or of the row and the action; for each choice where there are several."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights))

    def forward(self, obs: Any, act: Any = None, info: Any = None) -> Tensor:
        rows = torch.as_tensor(obs)
        return (rows if act is None else torch.cat([rows, torch.as_tensor(act)], -1)) @ self.weight


def with_critics(learner: Any, first: list[list[float]], second: list[list[float]]) -> None:
    """Replace the two target networks by linear ones."""
    learner.critic_old, learner.critic2_old = Linear(first), Linear(second)


def played(game: Any, ticks: int, **given: Any) -> tuple[Lanes, Any, Any]:
    """Lanes, their learner and buffer after some ticks."""
    here = lanes(game, "isac", **given)
    here.collect(ticks)
    (name,) = here.plan
    return here, here.team.learners[name], here.buffers[name]


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_targets_by_hand(end: str, n_step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sum of up to n rewards to an end or the newest row, then gamma^m (min Q' - alpha log pi) where it is not terminated."""
    _, learner, buffer = played(VectorGame(PAYDAY, 2, n_agents=2, horizon=4, end=end), 10, gamma=0.9, alpha=0.3, n_step=n_step)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # a' is at the mean
    learner.policy.actor = Told(learner.policy.actor, [0.7, -1.0])
    with_critics(learner, [[1.0], [4.0], [2.0]], [[3.0], [-1.0], [2.0]])
    learner.policy.is_within_training_step = True
    index = np.array([lane * buffer.rows + t for lane in range(4) for t in range(10)])
    returns = learner._preprocess_batch(buffer[index], buffer, index).returns.flatten().tolist()
    log_pi = 1.0 - 0.5 * math.log(2 * math.pi) - math.log(1 - math.tanh(0.7) ** 2)
    for lane in range(4):
        who = (lane // 2 + 1) / 2
        for t in range(10):
            last = min(t + n_step - 1, 3 + 4 * (t // 4), 9)
            reward = sum(0.9**i * (20 * who + (t + i) % 4) for i in range(last - t + 1))
            left = 1 - (last % 4 + 1) / 4
            q = min(who + 4 * left, 3 * who - left) + 2 * math.tanh(0.7)
            value = 0.0 if end == "terminated" and last % 4 == 3 else q - 0.3 * log_pi
            assert returns[10 * lane + t] == pytest.approx(reward + 0.9 ** (last - t + 1) * value, rel=1e-5)


def test_targets_of_one_choice_are_exact() -> None:
    """sum_a p_a min Q'_a + alpha H, without a draw."""
    _, learner, buffer = played(VectorGame(CROSSING, 2), 3, gamma=0.9, alpha=0.5)
    learner.policy.actor = Told(learner.policy.actor, [0.2, -0.4])
    with_critics(learner, [[1.0, 5.0]], [[2.0, 4.0]])
    buffer._lanes["terminated"][:] = False
    index = np.arange(3)
    p = torch.softmax(torch.tensor([0.2, -0.4]), 0).tolist()
    value = p[0] * 1.0 + p[1] * 4.0 - 0.5 * sum(x * math.log(x) for x in p)
    found = learner._preprocess_batch(buffer[index], buffer, index).returns.flatten().tolist()
    assert found == pytest.approx((buffer.rew[index] + 0.9 * value).tolist(), rel=1e-5)


def expected(learner: Any, rows: Tensor, drawn: Any, *critics: Any) -> Tensor:
    """[N, 1] min Q of what was drawn; of Discrete columns the mean over them of sum_k p_k min Q(.., k, ..), in plain loops."""
    columns, free = learner.policy.actor.columns, learner.policy.actor.free
    if not columns.choices:
        return torch.min(*(q(rows, drawn.act) for q in critics))
    total, begin = torch.zeros(len(rows), 1), 0
    for k in columns.choices:
        for choice in range(k):
            act = drawn.act.clone()
            act[:, free + begin : free + begin + k] = torch.eye(k)[choice]
            p = drawn.chances[:, begin + choice : begin + choice + 1]
            total += p * torch.min(*(q(rows, act) for q in critics)) / len(columns.choices)
        begin += k
    return total


@pytest.mark.parametrize("table", ["continuous", "discrete", "hybrid"])
def test_an_update_descends_the_two_losses_of_the_paper(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Critics: mean (Q - y)^2; actor: mean alpha log pi - min Q. What reaches the optimisers, recomputed from the same draws."""
    part = part_of(table)
    learner = made(part, alpha=0.3)
    rows = rows_of(part, 32)
    with torch.no_grad():
        act = learner.policy.random_action(rows)
    caught: list[float] = []
    for optimiser in (learner.critic_optim, learner.critic2_optim, learner.policy_optim):
        monkeypatch.setattr(optimiser, "step", lambda loss: caught.append(loss.item()))
    batch = seen(rows)
    batch.__dict__.update(act=act, returns=torch.linspace(-1.0, 1.0, 32)[:, None])
    torch.manual_seed(8)
    told = learner._update_with_batch(batch)
    torch.manual_seed(8)
    with torch.no_grad():
        drawn = learner.policy(seen(rows))
        errors = [((q(rows, act) - batch.returns) ** 2).mean().item() for q in (learner.critic, learner.critic2)]
        least = expected(learner, rows, drawn, learner.critic, learner.critic2)
        actor = (0.3 * drawn.log_prob - least).mean().item()
    assert caught == pytest.approx([*errors, actor], rel=1e-5)
    assert told.actor_loss == pytest.approx(actor, rel=1e-5)


# ---- the temperature -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "target", "rises"), [(PAYDAY, 5.0, True), (PAYDAY, -9.0, False), (CROSSING, 1.0, True), (CROSSING, 0.0, False)]
)
def test_the_temperature_rises_where_entropy_is_below_its_target(game: Any, target: float, rises: bool) -> None:
    here, learner, _ = played(VectorGame(game, 4), 8, target_entropy=target)
    assert learner.alpha.value == 1.0
    for _ in range(5):
        here.update()
    assert (learner.alpha.value > 1.0) == rises
    assert learner.alpha.value != 1.0


def test_a_given_temperature_stays() -> None:
    here, learner, _ = played(VectorGame(PAYDAY, 4), 8, alpha=0.25)
    here.update()
    assert learner.alpha.value == 0.25


def test_the_target_entropy_is_within_what_masks_allow() -> None:
    """Half the log of the legal choices of a Discrete column, on the mean over a batch; -1 a continuous column."""
    learner = made(part_of("hybrid", masked=True))
    rows = torch.zeros(4, 2 + 5)
    legal = torch.tensor([[1, 0, 0, 1, 1], [1, 1, 0, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])  # the last has left
    rows[:, 2:] = legal
    learner.alpha.aim(rows)
    logs = (math.log(2) + math.log(3)) / 4 + 2 * math.log(2) / 4
    assert learner.alpha._target_entropy == pytest.approx(-2.0 + 0.5 * logs)
    assert made(part_of("hybrid")).alpha._target_entropy == pytest.approx(-2.0 + 0.5 * math.log(6))
    fixed = made(part_of("hybrid", masked=True), target_entropy=0.5)
    fixed.alpha.aim(rows)
    assert fixed.alpha._target_entropy == 0.5
    assert made(part_of("continuous")).alpha._target_entropy == -2.0


def test_updates_aim_the_temperature() -> None:
    here = lanes(VectorGame(BAZAAR, 4, horizon=6, best_cost=3), "isac")
    here.collect(1)
    here.update()
    for name, learner in here.team.learners.items():
        whole = sum(0.5 * math.log(k) for k in learner.policy.actor.columns.choices) - len(learner.policy.actor.columns.continuous)
        aimed = learner.alpha._target_entropy
        assert aimed < whole - 0.1 if name == "seller" else aimed == pytest.approx(whole)


# ---- warm-up -------------------------------------------------------------------------------------------------------


def test_rows_are_random_and_nothing_is_learned_until_the_warm_up_is_over() -> None:
    """`warm_up` rows of the part: here 24 of 2 copies x 3 agents, which 4 ticks make."""
    here = lanes(VectorGame(PAYDAY, 2, n_agents=3, horizon=5), "isac", warm_up=24)
    learner: Any = here.team.learners["worker"]
    with torch.no_grad():
        for p in learner.policy.actor.parameters():
            p.zero_()
        learner.policy.actor.net[-1].bias[:] = torch.tensor([20.0, -20.0])  # acts 1 as soon as it is asked
    before = [p.detach().clone() for p in learner.parameters()]
    for tick in range(6):
        assert (here.update().get_loss_stats_dict() == {}) == (tick < 4)
        here.collect(1)
    acts = here.buffers["worker"].act.reshape(6, -1)[:, :6]
    assert (np.abs(acts[:, :4]) < 1.0).all()
    assert len(np.unique(acts[:, :4])) == 24
    assert acts[:, 4:] == pytest.approx(np.ones((6, 2)), abs=0.02)
    assert any(not torch.equal(p, q) for p, q in zip(before, learner.parameters()))


def test_a_replay_below_the_warm_up_is_refused() -> None:
    """Else updates would never begin."""
    with pytest.raises(UserError, match=r"algorithm.warm_up = 500 rows: legal range is \[0, 200\], algorithm.replay"):
        lanes(VectorGame(PAYDAY), "isac", warm_up=500)
