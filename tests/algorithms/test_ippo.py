"""IPPO by hand: its distribution, its returns, its minibatches, its loss and the gradient of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tianshou.algorithm import PPO
from torch.distributions import Categorical, Normal

from algorithms import settings
from algorithms.ippo import IPPO
from algorithms.networks import Columns, Product
from algorithms.onpolicy import Rows
from marl.replay import LaneBuffer
from marl.team import Part, seen
from marl.vector import VectorGame
from tests.algorithms.test_tianshou_399 import gae_returns
from tests.lanes import TABLES, lanes, part_of, rows_of
from tests.payday import PAYDAY


def made(part: Part, **given: Any) -> IPPO:
    torch.manual_seed(1)
    learner = IPPO(settings.IPPO(**{"hidden": [5], "anneal": False, **given}), part, 10)
    with torch.no_grad():  # the small last layer of a new network would hide what depends on the row
        for layer in learner.policy.actor.net:
            for p in layer.parameters():
                p.add_(0.5 * torch.randn_like(p))
    return learner


# ---- the distribution ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("table", TABLES)
def test_log_probability_and_entropy_are_torchs(table: str, masked: bool) -> None:
    """The sum over columns of torch's own Normal and Categorical, in the order of the table."""
    part = part_of(table, masked)
    actor, rows = made(part).policy.actor, rows_of(part, 64)
    dist: Product = actor.distribution(actor(rows)[0])
    row = dist.sample()
    out, free, mask = actor.net(rows[:, :2]), len(actor.columns.continuous), rows[:, 2:]
    log_prob, entropy, at = torch.zeros(64), torch.zeros(64), free
    for j, u in enumerate(actor.columns.continuous):
        normal = Normal(out[:, j], actor.log_std.exp()[j])
        log_prob, entropy = log_prob + normal.log_prob(row[:, u]), entropy + normal.entropy()
    for u, k in zip(actor.columns.discrete, actor.columns.choices):
        logits = out[:, at : at + k]
        if masked:
            logits = logits.masked_fill(mask[:, at - free : at - free + k] == 0, -float("inf"))
        choice, at = Categorical(logits=logits), at + k
        log_prob, entropy = log_prob + choice.log_prob(row[:, u]), entropy - torch.special.xlogy(choice.probs, choice.probs).sum(-1)
    assert dist.log_prob(row).tolist() == pytest.approx(log_prob.tolist(), abs=2e-5)
    assert dist.entropy().tolist() == pytest.approx(entropy.tolist(), abs=2e-5)


@pytest.mark.parametrize("table", ["discrete", "hybrid"])
def test_illegal_choices_are_never_taken_and_get_no_gradient(table: str) -> None:
    part = part_of(table, masked=True)
    actor, rows = made(part).policy.actor, rows_of(part, 4_000)
    parameters = actor(rows)[0].detach().requires_grad_()
    dist = actor.distribution(parameters)
    (dist.log_prob(dist.sample()).sum() + dist.entropy().sum()).backward()
    assert parameters.grad is not None
    at = len(actor.columns.continuous)
    illegal = rows[:, 2:] == 0
    assert (parameters.grad[:, at:][illegal] == 0).all()
    assert (parameters.grad[:, at:][~illegal] != 0).float().mean() > 0.6  # a choice without a rival has none
    for row in (dist.sample(), dist.mode):
        begin = 0
        for u, k in zip(actor.columns.discrete, actor.columns.choices):
            assert (rows[:, 2 + begin :][torch.arange(4_000), row[:, u].long()] == 1).all()
            begin += k


def test_samples_have_the_frequencies_and_moments_of_the_parameters() -> None:
    part = part_of("hybrid")
    actor, row = made(part).policy.actor, torch.full((40_000, 2), 0.3)
    with torch.no_grad():
        dist = actor.distribution(actor(row)[0])
    taken = dist.sample().numpy()
    for u, l in zip(actor.columns.discrete, dist.log_probs):
        shares = np.bincount(taken[:, u].astype(int), minlength=l.shape[1]) / len(taken)
        assert shares == pytest.approx(l[0].exp().numpy(), abs=0.012)
    for j, u in enumerate(actor.columns.continuous):
        assert taken[:, u].mean() == pytest.approx(float(dist.centre[0, j]), abs=0.015)
        assert taken[:, u].std() == pytest.approx(float(dist.log_std[j].detach().exp()), rel=0.02)


def test_a_policy_explores_within_a_training_step_and_takes_the_mode_outside() -> None:
    part = part_of("hybrid")
    policy, rows = made(part).policy, rows_of(part, 50)
    policy.is_within_training_step = False
    first, second = (policy(seen(rows)) for _ in range(2))
    assert torch.equal(first.act, second.act)
    assert torch.equal(first.act[:, 1], first.dist.centre[:, 0])
    assert torch.equal(first.act[:, 0], first.dist.log_probs[0].argmax(-1).float())
    policy.is_within_training_step = True
    assert not torch.equal(policy(seen(rows)).act, policy(seen(rows)).act)


# ---- units ---------------------------------------------------------------------------------------------------------


def test_columns_map_linearly_and_geometrically() -> None:
    columns = Columns(TABLES["hybrid"])
    raw = np.array([[2, -1.0, 0, -1.0], [1, 0.0, 1, 0.0], [0, 1.0, 1, 1.0], [0, 0.5, 0, 0.5], [0, -7.0, 0, 7.0]], np.float32)
    expected = [[2, 0.01, 0, 2], [1, 1, 1, 4], [0, 100, 1, 6], [0, 10, 0, 5], [0, 0.01, 0, 6]]
    assert columns.to_units(raw) == pytest.approx(np.array(expected), rel=1e-12)
    plain = Columns(TABLES["continuous"]).to_units(np.array([[-1.0, 0.5], [0.0, 3.0]], np.float32))
    assert plain.tolist() == [[0.0, 0.5], [5.0, 1.0]]


def test_deviation_in_units_is_half_of_one_raw_deviation_to_either_side() -> None:
    columns = Columns(TABLES["hybrid"])
    found = columns.deviation(np.array([[0.0, 0.9]]), np.array([[0.5, 0.2]]))
    assert found == pytest.approx(np.array([[(10.0 - 0.1) / 2, (6.0 - 5.4) / 2]]))


# ---- returns -------------------------------------------------------------------------------------------------------


def filled(chance: np.random.Generator, agents: int, copies: int, ticks: int) -> tuple[LaneBuffer, LaneBuffer]:
    """The same random rollout for IPPO (cuts and a tail) and for Tianshou's PPO (every row's next observation)."""
    ours, theirs = (LaneBuffer(agents, copies, ticks, 2, 1, fields=("logp",), keep_next=keep, seed=0) for keep in (False, True))
    obs = chance.standard_normal((copies, agents, 2)).astype(np.float32)
    for _ in range(ticks):
        reward, led_to = chance.standard_normal((copies, agents)), chance.standard_normal((copies, agents, 2)).astype(np.float32)
        terminated, cut = chance.random((copies, agents)) < 0.15, chance.random((copies, agents)) < 0.15
        ended = np.stack([terminated, cut & ~terminated, terminated | cut])
        row = {"obs": obs, "act": np.zeros((copies, agents, 1)), "rew": reward}
        ours.write({**row, "logp": reward}, ended, None)
        theirs.write({**row, "obs_next": led_to}, ended, None)
        if ended[1].any():
            ours.write_cut(ended[1], led_to)
        restarted = chance.standard_normal(led_to.shape).astype(np.float32)
        obs = np.where(ended[2][:, :, None], restarted, led_to)
    ours.write_tail(obs)
    return ours, theirs


def batch_of(learner: IPPO, buffer: LaneBuffer) -> Any:
    return learner._preprocess_batch(*_sampled(buffer))


def _sampled(buffer: LaneBuffer) -> tuple[Any, LaneBuffer, Any]:
    batch, indices = buffer.sample(0)
    return batch, buffer, indices


@pytest.mark.parametrize("scaling", [False, True])
def test_returns_and_advantages_are_tianshous_own(scaling: bool) -> None:
    """Over rollouts in a row, so that the running deviation of returns is passed on."""
    chance, part = np.random.default_rng(4), part_of("continuous")
    ours, theirs = (made(part, gamma=0.9, gae_lambda=0.8, return_scaling=scaling) for _ in range(2))
    for _ in range(3):
        mine, full = filled(chance, 2, 3, 7)
        found = batch_of(ours, mine)
        expected: Any = PPO._add_returns_and_advantages(theirs, *_sampled(full))
        for name in ("returns", "adv"):
            assert getattr(found, name).tolist() == pytest.approx(getattr(expected, name).tolist(), rel=2e-5, abs=2e-5), name
        assert (ours.ret_rms.mean, ours.ret_rms.var) == pytest.approx((theirs.ret_rms.mean, theirs.ret_rms.var), rel=1e-5)
    assert (ours.ret_rms.var != 1.0) == scaling


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(0, 1_000))
def test_returns_are_those_of_a_loop_by_hand(agents: int, copies: int, ticks: int, seed: int) -> None:
    learner = made(part_of("continuous"), gamma=0.9, gae_lambda=0.8)
    mine, full = filled(np.random.default_rng(seed), agents, copies, ticks)
    found = batch_of(learner, mine).returns.numpy().reshape(-1, ticks)
    value, following = (learner._values(obs).reshape(-1, ticks) for obs in (full.obs, full.obs_next))
    for lane, (reward, gone, over) in enumerate(zip(*(x.reshape(-1, ticks) for x in (full.rew, full.terminated, full.done)))):
        assert found[lane] == pytest.approx(gae_returns(reward, value[lane], following[lane], gone, over), rel=1e-4, abs=1e-4)


# ---- minibatches ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 45), st.booleans(), st.booleans())
def test_minibatches_cover_all_rows_once(n: int, size: int, shuffle: bool, merge: bool) -> None:
    """The remainder joins the last minibatch, or is one of its own; without shuffling the order stays."""
    rows = Rows.of(obs=torch.arange(n), adv=10 * torch.arange(n))
    batches = list(rows.split(size, shuffle=shuffle, merge_last=merge))
    order = torch.cat([b.obs for b in batches]).tolist()
    assert sorted(order) == list(range(n))
    assert shuffle or order == list(range(n))
    assert all((b.adv == 10 * b.obs).all() for b in batches)
    lengths = [len(b) for b in batches]
    assert all(x == min(size, n) for x in lengths[:-1])
    assert min(size, n) <= lengths[-1] < 2 * size if merge else 1 <= lengths[-1] <= size


def test_an_update_makes_as_many_minibatches_of_all_lanes_as_asked() -> None:
    here = lanes(VectorGame(PAYDAY, 4, n_agents=3), rollout=8, minibatches=6)
    here.collect(8)
    assert here.update(repeat=3)._agent_id_to_stats["worker"].gradient_steps == 18


# ---- the loss ------------------------------------------------------------------------------------------------------


def prepared(learner: IPPO, part: Part, n: int = 12) -> Rows:
    """Rows with probability ratios on both sides of the clip, and advantages of both signs, in float64."""
    learner.double()
    rows = rows_of(part, n).double()
    with torch.no_grad():
        dist = learner.policy.actor.distribution(learner.policy.actor(rows)[0])
        act = dist.sample()
        ratio = torch.linspace(0.55, 1.6, n, dtype=torch.float64)
        adv = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).repeat(n)[:n] * torch.linspace(1.0, 2.0, n, dtype=torch.float64)
        fields = {"obs": rows, "act": act, "adv": adv, "returns": 3.0 * adv + 1.0, "logp_old": dist.log_prob(act) - ratio.log()}
    return Rows.of(**fields)


def loss_of(learner: IPPO, batch: Rows) -> tuple[torch.Tensor, Any]:
    """(the loss that reaches the optimiser in one minibatch of all rows, statistics); no step is taken."""
    caught: list[torch.Tensor] = []
    step, learner.optim.step = learner.optim.step, caught.append  # type: ignore[method-assign]
    try:
        told = learner._update_with_batch(batch, None, 1)
    finally:
        learner.optim.step = step  # type: ignore[method-assign]
    assert len(caught) == 1
    return caught[0], told


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("table", TABLES)
def test_the_loss_is_the_equation(table: str, masked: bool) -> None:
    """-mean min(r A, clip(r, .8, 1.2) A) + .5 mean (R - V)^2 - .01 mean H, with A normalised over the minibatch."""
    part = part_of(table, masked)
    learner = made(part, clip=0.2, value=0.5, entropy=0.01)
    batch = prepared(learner, part)
    loss, told = loss_of(learner, batch)
    ratio, adv = np.linspace(0.55, 1.6, 12), batch.adv.numpy()
    normal = (adv - adv.mean()) / adv.std(ddof=1)
    with torch.no_grad():
        dist = learner.policy.actor.distribution(learner.policy.actor(batch.obs)[0])
        value, entropy = learner.critic(batch.obs).squeeze(1).numpy(), float(dist.entropy().mean())
    actor = -np.minimum(ratio * normal, np.clip(ratio, 0.8, 1.2) * normal).mean()
    critic = ((batch.returns.numpy() - value) ** 2).mean()
    assert (told.actor_loss.mean, told.vf_loss.mean, told.ent_loss.mean) == pytest.approx((actor, critic, entropy), rel=1e-6)
    assert loss.item() == pytest.approx(actor + 0.5 * critic - 0.01 * entropy, rel=1e-6)


@pytest.mark.parametrize("table", TABLES)
def test_the_gradient_is_that_of_finite_differences(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Central differences of every parameter of both networks, in float64 (Tianshou rounds ratios to float32)."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    part = part_of(table, masked=table != "continuous")
    learner = made(part, entropy=0.01)
    batch = prepared(learner, part)
    loss_of(learner, batch)[0].backward()
    step, checked = 1e-6, 0
    for p in learner.parameters():
        flat, gradient = p.data.view(-1), p.grad.view(-1)
        for i in range(len(flat)):
            ends = []
            for sign in (1.0, -1.0):
                flat[i] += sign * step
                ends.append(loss_of(learner, batch)[0].item())
                flat[i] -= sign * step
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient[i]), rel=1e-4, abs=2e-6)
            checked += 1
    assert checked > 30


def test_the_first_minibatch_has_ratio_one() -> None:
    """What collection recorded is what the same parameters say: the first actor loss is minus the mean normalised advantage, 0."""
    here = lanes(VectorGame(PAYDAY, 8, n_agents=2), rollout=16)
    here.collect(16)
    learner: Any = here.team.learners["worker"]
    batch = batch_of(learner, here.buffers["worker"])
    dist = learner.policy.actor.distribution(learner.policy.actor(batch.obs)[0])
    assert dist.log_prob(batch.act).tolist() == pytest.approx(batch.logp_old.tolist(), abs=1e-5)
    assert loss_of(learner, batch)[1].actor_loss.mean == pytest.approx(0.0, abs=1e-6)


# ---- settings ------------------------------------------------------------------------------------------------------


def test_the_learning_rate_falls_to_nothing_over_the_run() -> None:
    here = lanes(VectorGame(PAYDAY, 2), rollout=4, lr=0.1, hidden=[2])
    rates = []
    for _ in range(100):
        rates.append(here.team.learners["worker"].optim._optim.param_groups[0]["lr"])
        here.collect(4)
        here.update()
    assert rates == pytest.approx([0.1 * (1 - k / 100) for k in range(100)])
