"""DQN and TD3 by hand: targets, losses, exploration under masks, epsilon, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.choices import Choices
from algorithms.networks import Dueling
from marl.copies import Group
from marl.errors import UserError
from marl.game import Column, Discrete
from marl.team import Part, parts, seen
from marl.vector import VectorGame
from tests.aim import AIM
from tests.bazaar import BAZAAR
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY

GAMMA = 0.9


def one(here: Lanes) -> tuple[Any, Any]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return learner, buffer


def shaken(module: Any) -> None:
    """Other parameters than the small ones that it was made with."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.5 * torch.randn_like(p))


# ---- DQN -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("double", [True, False])
def test_dqn_targets_and_loss_by_hand(double: bool) -> None:
    here = lanes(VectorGame(BRANCHES, 4, masked=1), "idqn", double=double, gamma=GAMMA, anneal=False)
    here.collect(6)
    learner, buffer = one(here)
    shaken(learner.policy.model), shaken(learner.model_old)
    net, old = learner.policy.model.net, learner.model_old.module.net
    row = torch.from_numpy(buffer.obs.copy()), torch.from_numpy(buffer.obs_next.copy())
    index = np.flatnonzero(buffer.obs[:, :3].any(1))  # rows that are filled
    with torch.no_grad():
        barred = row[1][:, 4:] == 0
        mine, theirs = (q(row[1][:, :4]).masked_fill(barred, -1e9) for q in (net, old))
        chosen = theirs.gather(1, mine.argmax(1, keepdim=True)).squeeze(1) if double else theirs.max(1).values
        y = torch.from_numpy(buffer.rew) + GAMMA * chosen * ~torch.from_numpy(buffer.terminated)
        taken = net(row[0][:, :4]).gather(1, torch.from_numpy(buffer.act).long()).squeeze(1)
    learner.policy.is_within_training_step = True
    batch = learner._preprocess_batch(buffer[index], buffer, index)
    assert batch.returns.flatten().tolist() == pytest.approx(y[index].tolist(), rel=1e-5)
    learner._iter = 1  # the first update sets the target network
    assert learner._update_with_batch(batch).loss == pytest.approx(float((y - taken)[index].square().mean()), rel=1e-5)


def test_the_target_network_is_set_every_so_many_updates() -> None:
    here = lanes(VectorGame(BRANCHES, 4), "idqn", target=3)
    here.collect(8)
    learner, _ = one(here)

    def same() -> bool:
        pairs = zip(learner.policy.model.parameters(), learner.model_old.parameters())
        return all(torch.equal(p, q) for p, q in pairs)

    found = []
    for _i in range(7):
        before = [p.clone() for p in learner.policy.model.parameters()]
        here.update()
        found.append(all(torch.equal(p, q) for p, q in zip(before, learner.model_old.parameters())))
    assert found == [True, False, False, True, False, False, True]
    assert not same()


def test_no_illegal_choice_is_explored_taken_or_bootstrapped_from() -> None:
    here = lanes(VectorGame(BRANCHES, 8, masked=1), "idqn", epsilon_end=1.0)
    with torch.no_grad():
        here.team.learners["player"].policy.model.net[-1].bias[1] = 50.0
    here.collect(20)
    _, buffer = one(here)
    acts, begin = buffer.act.reshape(2, 8, -1)[:, :, :20], buffer.obs.reshape(2, 8, -1, 6)[:, :, :20, 0] == 1
    assert (acts[0][begin[0]] == 0).all()
    assert 0 < acts[1].mean() < 1
    rows = torch.tensor([[1.0, 0, 0, 0, 1, 0], [1.0, 0, 0, 0, 1, 1]])
    policy = here.team.learners["player"].policy
    policy.is_within_training_step = False
    assert policy(seen(rows)).act.tolist() == [0, 1]


def test_epsilon_falls_with_env_steps_whoever_acts() -> None:
    here = lanes(VectorGame(BRANCHES, 4), "idqn", epsilon=0.8, epsilon_end=0.2, epsilon_steps=48)
    policy = here.team.learners["player"].policy
    assert policy.epsilon == 0.8
    here.collect(6)
    assert policy.epsilon == pytest.approx(0.5)
    here.collect(12)
    assert policy.epsilon == pytest.approx(0.2)
    policy.is_within_training_step = False
    policy(seen(torch.ones(100, 6)))
    assert int(policy.acted) == 2 * 4 * 18


def test_a_grid_makes_choices_of_continuous_columns() -> None:
    policy = lanes(VectorGame(AIM, 2), "idqn").team.learners["archer"].policy
    assert policy.map_action(torch.tensor([0, 4, 10])).tolist() == [[0.0], [0.4], [1.0]]


def test_a_row_of_a_grid_is_legal_where_all_its_choices_are() -> None:
    table: dict[str, Column | Discrete] = {"a": Discrete(2), "x": Column(0.0, 1.0), "b": Discrete(3)}
    grid = np.array([[0, 0.5, 2], [1, 0.1, 0], [1, 0.9, 2]])
    part = Part("all", Group("all", 0, 1, {"o": Column(0, 1)}, table), 0, 1, True, grid=grid)
    assert Choices(part).needs.tolist() == [[0, 4], [1, 2], [1, 4]]
    learner = algorithms.load("idqn")(algorithms.settings_of("idqn")(), part, 10)
    rows = torch.tensor([[0.3, 0, 1, 1, 1, 1], [0.3, 1, 1, 0, 1, 1]])
    assert learner.policy.model.legal(rows).tolist() == [[False, True, True], [True, False, True]]


def test_dueling_heads_share_the_value_and_centre_the_advantages() -> None:
    net, rows = Dueling(4, 3, [8, 6], "tanh", 1.0), torch.randn(5, 4)
    q = net(rows)
    assert torch.allclose(q.mean(1, keepdim=True), net.value(net.trunk(rows)), atol=1e-6)
    with torch.no_grad():
        net.advantage.bias += 7.0
    assert torch.allclose(net(rows), q, atol=1e-5)


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("name", ["idqn", "vdn", "qmix"])
def test_who_explores_by_epsilon_may_have_dueling_heads(name: str, memory: str) -> None:
    for dueling in (False, True):
        here = lanes(VectorGame(BRANCHES, 2, masked=1), name, dueling=dueling, memory=memory, reward="team_sum")
        assert isinstance(one(here)[0].policy.model.net, Dueling) == dueling


# ---- TD3 -----------------------------------------------------------------------------------------------------------


def test_td3_targets_and_losses_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """y = r + gamma min Q'(o', clip(mu'(o') + clip(e))) with the noise e known: .9 clipped to .5."""
    here = lanes(VectorGame(PAYDAY, 2, n_agents=2, horizon=3), "itd3", gamma=GAMMA, target_noise=0.9, noise_clip=0.5, delay=1, anneal=False)
    here.collect(5)
    learner, buffer = one(here)
    for net in (learner.critic_old, learner.critic2_old, learner.actor_old, learner.policy.actor):
        shaken(net)
    index = np.flatnonzero(buffer.obs.any(1))
    row, after, act, reward = (torch.from_numpy(x[index]) for x in (buffer.obs, buffer.obs_next, buffer.act, buffer.rew))
    with torch.no_grad():
        target = (torch.tanh(learner.actor_old.module.net(after)) + 0.5).clamp(-1, 1)
        low = torch.min(*(c.module.net(torch.cat([after, target], 1)) for c in (learner.critic_old, learner.critic2_old)))
        y = reward + GAMMA * low.squeeze(1) * ~torch.from_numpy(buffer.terminated[index])
        errors = [(c.net(torch.cat([row, act], 1)).squeeze(1) - y).square().mean() for c in (learner.critic, learner.critic2)]
    monkeypatch.setattr(torch, "randn", lambda size, **_: torch.ones(size))
    learner.policy.is_within_training_step = True
    batch = learner._preprocess_batch(buffer[index], buffer, index)
    assert batch.returns.flatten().tolist() == pytest.approx(y.tolist(), rel=1e-5)
    seen_actions: list[Tensor] = []
    learner.critic.register_forward_hook(lambda _m, args, _out: seen_actions.append(args[1].detach()))
    found = learner._update_with_batch(batch)
    assert (found.critic1_loss, found.critic2_loss) == pytest.approx([float(e) for e in errors], rel=1e-5)
    assert torch.equal(seen_actions[0], act)


def test_td3_explores_within_its_columns_and_acts_without_noise_outside() -> None:
    policy = lanes(VectorGame(AIM, 2), "itd3", noise=3.0).team.learners["archer"].policy
    rows = torch.rand(200, 1)
    policy.is_within_training_step = True
    act = policy(seen(rows)).act
    assert act.abs().max() == 1.0 and act.std() > 0.5
    policy.is_within_training_step = False
    assert torch.equal(policy(seen(rows)).act, policy.actor(rows)[0])


# ---- what cannot be served -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "game", "role", "message"),
    [
        ("idqn", PAYDAY, "worker", "algorithm = 'idqn' for worker, whose action is 'effort', a continuous quantity in ["),
        ("idqn", BAZAAR, "buyer", "2 columns: it learns a single Discrete column or an action_grid, legal there are ippo"),
        ("itd3", BRANCHES, "player", "'move', one of 2 choices: it learns only continuous columns, legal there are ippo,"),
    ],
)
def test_columns_that_cannot_be_served_are_refused_by_name(name: str, game: Any, role: str, message: str) -> None:
    part = parts(VectorGame(game), "group")[role]
    with pytest.raises(UserError) as error:
        algorithms.load(name)(algorithms.settings_of(name)(), part, 10)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
