"""Team rows, and MAPPO, VDN and QMIX on them by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import algorithms
from algorithms.networks import MonotonicMixer, Sum
from marl.errors import UserError
from marl.game import Game
from marl.joint import TeamBuffer
from marl.team import parts
from marl.vector import VectorGame
from tests.algorithms.test_tianshou_399 import gae_returns
from tests.bazaar import BAZAAR
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY

GAMMA, LAMBDA = 0.9, 0.8  # those of gae_returns


def one(here: Lanes) -> tuple[Any, TeamBuffer]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    assert isinstance(buffer, TeamBuffer)
    return learner, buffer


def shaken(module: Any) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.5 * torch.randn_like(p))


# ---- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [PAYDAY, BRANCHES])
def test_states_are_those_that_were_acted_in_and_those_they_led_to(game: Game) -> None:
    """PAYDAY has no state of its own: all observations in a row."""
    copies = VectorGame(game, 3)
    name = "qmix" if game is BRANCHES else "mappo"
    here, seen = lanes(copies, name), []
    step = copies.step

    def watched(action: Any) -> None:
        before = copies.state.copy()
        step(action)
        seen.append((before, copies.final_state.copy()))

    copies.step = watched  # type: ignore[method-assign]
    here.collect(4)
    _, buffer = one(here)
    for t, (before, after) in enumerate(seen):
        assert buffer.state[:, t].tolist() == before.tolist()
        if buffer.keep_next:
            assert buffer.state_next[:, t].tolist() == after.tolist()
    assert buffer.state_tail.tolist() == copies.state.tolist()


def test_independent_learners_keep_no_state() -> None:
    assert not lanes(VectorGame(PAYDAY, 2), "ippo").buffers["worker"].central


def test_a_sample_holds_all_members_of_one_copy_at_one_tick() -> None:
    here = lanes(VectorGame(BRANCHES, 3), "qmix")
    here.collect(7)
    _, buffer = one(here)
    batch, index = buffer.sample(50)
    copy, t = index // buffer.rows, index % buffer.rows
    assert set(t) == set(range(7)) and set(copy) == {0, 1, 2}
    for name in ("obs", "act", "obs_next", "rew"):
        by_lane = getattr(buffer, name).reshape(2, 3, buffer.rows, -1)
        assert (getattr(batch, name).reshape(2, 50, -1) == by_lane[:, copy, t]).all()
    assert (batch.state == buffer.state[copy, t]).all() and (batch.state_next == buffer.state_next[copy, t]).all()


def test_a_team_is_paid_what_its_living_members_are_and_goes_on_without_one() -> None:
    """Three workers earn 10, 20, 30 at tick 0; the third leaves after a tick, and a ghost's pay is nobody's."""
    here = lanes(VectorGame(PAYDAY, 1, n_agents=3, horizon=3, leave=1, ghost=1e6), "mappo", rollout=3, reward="team_sum")
    here.collect(3)
    _, buffer = one(here)
    assert buffer.paid().tolist() == [60.0, 32.0, 34.0]
    assert buffer.over().tolist() == [False, False, True]
    assert buffer.lanes("terminated")[2].tolist() == [True, True, True]
    assert buffer.joint().unfinished_index().tolist() == [2]


def test_a_team_row_in_which_nobody_acted_is_never_drawn() -> None:
    here = lanes(VectorGame(BRANCHES, 2), "vdn")
    here.collect(10)
    _, buffer = one(here)
    buffer.lanes("alive")[0] = False
    buffer.lanes("alive")[:, 1 : 2 * buffer.rows] = False
    buffer._all_alive = False
    _, index = buffer.sample(40)
    assert set(index) == {0}


# ---- MAPPO ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize("reward", ["team_sum", "individual"])
def test_mappo_returns_by_hand(reward: str, end: str) -> None:
    """GAE on the team's reward and the critic's value of the state, which bootstraps where an episode was only cut."""
    copies = VectorGame(PAYDAY, 2, n_agents=2, horizon=3, end=end)
    here = lanes(copies, "mappo", rollout=5, reward=reward, gamma=GAMMA, gae_lambda=LAMBDA, normalise_values=False)
    here.collect(5)
    learner, buffer = one(here)
    shaken(learner.critic)
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, None)
    left = np.array([1, 2 / 3, 1 / 3, 1, 2 / 3, 1 / 3])  # at ticks 0 to 5, of which the last is the tail

    def value(time_left: float) -> np.ndarray:
        row = torch.tensor([0.5, time_left, 1.0, time_left], dtype=torch.float32)
        return learner.critic(row).detach().numpy()

    over = np.array([False, False, True, False, False])
    after = np.where(over, 0.0, left[1:])
    for k in range(1 if reward == "team_sum" else 2):
        pay = [30.0 + 2 * t if reward == "team_sum" else 10.0 * (k + 1) + t for t in (0, 1, 2, 0, 1)]
        v, following = ([float(value(x)[k]) for x in times] for times in (left[:5], after))
        expected = gae_returns(np.array(pay), v, following, over & (end == "terminated"), over)
        for copy in range(2):
            assert batch.returns[k].view(2, 5)[copy].tolist() == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("huber", [None, 0.5])
def test_mappo_loss_by_hand(huber: float | None) -> None:
    """Of five rows of members one had left: it is in no mean. Ratios are known through the recorded log-probabilities."""
    here = lanes(VectorGame(PAYDAY, 1, n_agents=2, horizon=9, leave=2), "mappo", rollout=3, huber=huber, entropy=0.3, value=0.7, clip=0.2)
    here.collect(3)
    learner, buffer = one(here)
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, None)
    ratio = torch.tensor([[1.5, 0.5, 1.1], [0.7, 1.3, 40.0]])
    fields = {name: value for name, value in batch.__dict__.items() if value is not None}
    fields["logp"] = fields["logp"] - ratio.log()
    assert fields["alive"].tolist() == [[1, 1, 1], [1, 1, 0]]
    advantage, living = fields["adv"], fields["alive"] == 1
    surrogate = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)[living].mean()
    off = (learner.critic(fields["state"]).T - fields["returns"])[living].abs().detach()
    error = 0.5 * off.square() if huber is None else torch.where(off < huber, 0.5 * off.square(), huber * (off - 0.5 * huber))
    entropy = float((learner.policy.actor.log_std + 0.5 * np.log(2 * np.pi * np.e)).sum().detach())
    loss, *rest = learner._losses(**fields)
    assert [x.item() for x in rest] == pytest.approx([-surrogate.item(), error.mean().item(), entropy], rel=1e-4)
    assert loss.item() == pytest.approx(-surrogate.item() + 0.7 * error.mean().item() - 0.3 * entropy, rel=1e-4)
    assert float(advantage[living].mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(advantage[living].std(unbiased=False)) == pytest.approx(1.0, rel=1e-4)


def test_the_critic_learns_normalised_returns_and_answers_in_their_units() -> None:
    here = lanes(VectorGame(PAYDAY, 4, n_agents=2, horizon=4), "mappo", rollout=4, reward="team_sum", gae_lambda=1.0, gamma=1.0)
    learner, buffer = one(here)
    for times in range(2):
        here.collect(4)
        batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, None)
        whole = np.array([132.0, 102.0, 70.0, 36.0])
        mean, variance = whole.mean(), whole.var()
        assert learner.moments.tolist() == pytest.approx([mean, variance, times + 1], rel=1e-5)
        assert batch.returns.view(4, 4)[0].numpy() == pytest.approx((whole - mean) / whole.std(), rel=1e-4)
    state = torch.zeros(1, 4)
    assert learner._values(state.numpy())[0, 0] == pytest.approx(learner.critic(state).item() * variance**0.5 + mean, rel=1e-5)


# ---- VDN and QMIX --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_mixture_falls_in_no_value_whatever_the_state(seed: int) -> None:
    torch.manual_seed(seed)
    mixer = MonotonicMixer(agents=4, state=3, embed=8, hypernet=16)
    for p in mixer.parameters():
        p.data.mul_(5.0)
    values, state = (3.0 * torch.randn(4, 500)).requires_grad_(), 3.0 * torch.randn(500, 3)
    mixed = mixer(values, state)
    (gradient,) = torch.autograd.grad(mixed.sum(), values)
    assert (gradient >= 0).all() and gradient.mean() > 0.1
    more = mixer(values + torch.rand(4, 500), state)
    assert (more >= mixed - 1e-4).all()


def test_the_mixture_by_hand() -> None:
    """elu(W' q + b) through two hidden units, all weights written out in numpy."""
    torch.manual_seed(0)
    mixer, q, s = MonotonicMixer(2, 3, 2, 5), torch.randn(2, 6), torch.randn(6, 3)

    def net(layers: Any, row: np.ndarray) -> np.ndarray:
        for layer in layers:
            row = (
                np.maximum(row, 0)
                if isinstance(layer, torch.nn.ReLU)
                else layer.weight.detach().numpy() @ row + layer.bias.detach().numpy()
            )
        return row

    found = mixer(q, s).detach().numpy()
    for i in range(6):
        row, values = s[i].numpy(), q[:, i].numpy()
        x = values @ np.abs(net(mixer.first, row)).reshape(2, 2) + net([mixer.bias], row)
        hidden = np.where(x > 0, x, np.expm1(x))
        assert found[i] == pytest.approx(hidden @ np.abs(net(mixer.second, row)) + net(mixer.value, row)[0], rel=1e-5)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_the_loss_of_a_mixture_by_hand(name: str, double: bool) -> None:
    here = lanes(VectorGame(BRANCHES, 4, masked=1), name, double=double, gamma=GAMMA, reward="team_mean", target=100)
    here.collect(6)
    learner, buffer = one(here)
    for module in (learner.policy.model, learner.model_old, learner.mixer_old):
        shaken(module)
    batch, index = buffer.sample(30)
    raw = {name: torch.from_numpy(batch.__dict__[name].copy()) for name in ("obs", "obs_next", "act", "state", "state_next")}
    reward, over = torch.from_numpy(buffer.rew.reshape(2, -1)[0][index]), torch.from_numpy(buffer.terminated.reshape(2, -1)[0][index])
    net, old = learner.policy.model.net, learner.model_old.module.net
    with torch.no_grad():
        taken = torch.stack([net(raw["obs"][i][:, :4]).gather(1, raw["act"][i].long()).squeeze(1) for i in range(2)])
        following = []
        for i in range(2):
            after = raw["obs_next"][i]
            mine, theirs = (f(after[:, :4]).masked_fill(after[:, 4:] == 0, -1e9) for f in (net, old))
            following.append(theirs.gather(1, (mine if double else theirs).argmax(1, keepdim=True)).squeeze(1))
        ahead = learner.mixer_old(torch.stack(following), raw["state_next"])
        y = reward + GAMMA * ahead * ~over
        expected = (y - learner.mixer(taken, raw["state"])).square().mean()
    prepared = learner._preprocess_batch(batch, buffer, index)
    assert learner._update_with_batch(prepared).loss == pytest.approx(float(expected), rel=1e-5)


def test_a_member_that_left_adds_nothing_to_the_teams_value() -> None:
    here = lanes(VectorGame(PAYDAY_GRID, 1, n_agents=2, horizon=4, leave=2, ghost=1e6), "vdn", reward="team_sum", gamma=1.0)
    here.collect(4)
    learner, buffer = one(here)
    with torch.no_grad():
        for p in learner.model_old.parameters():
            p.zero_()
        learner.model_old.module.net[-1].bias += 100.0
    batch, index = buffer.sample(200)
    target = learner._targets(learner._preprocess_batch(batch, buffer, index))
    by_tick = {int(t): float(y) for t, y in zip(index, target)}
    assert by_tick == pytest.approx({0: 230.0, 1: 132.0, 2: 112.0, 3: 13.0})


PAYDAY_GRID = Game(**{**PAYDAY.__dict__, "name": "payday_grid", "action_grid": lambda p: {"worker": np.array([[-1.0], [1.0]])}})


def test_targets_follow_at_their_pace() -> None:
    here = lanes(VectorGame(BRANCHES, 4), "qmix", target=2, tau=0.25, lr=1e-2)
    here.collect(8)
    learner, _ = one(here)
    start = learner.mixer_old.module.value[0].weight.clone()
    here.update()
    assert torch.equal(learner.mixer_old.module.value[0].weight, start)
    here.update()
    assert torch.allclose(learner.mixer_old.module.value[0].weight, 0.75 * start + 0.25 * learner.mixer.value[0].weight)


def test_sum_is_a_sum() -> None:
    assert Sum()(torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.zeros(2, 1)).tolist() == [4.0, 7.0]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("qmix", {}, "algorithm = 'qmix' for buyer, whose action is "),
        ("vdn", {"tau": 2.0}, "algorithm.tau = 2.0: legal range is [0, 1]"),
    ],
)
def test_what_cannot_be_served_is_refused(name: str, given: dict[str, Any], message: str) -> None:
    part = parts(VectorGame(BAZAAR), "group")["buyer"]
    with pytest.raises(UserError) as error:
        algorithms.load(name)(algorithms.settings_of(name)(**given), part, 10)
    assert message in str(error.value)
