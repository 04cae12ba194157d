"""Who left and what is barred, for learners of values: choices in targets, members in mixtures, rows in losses; IQL's settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from marl.game import Discrete, Game, Role
from marl.vector import VectorGame
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes
from tests.payday import OBSERVATION, PAYDAY

SHIFTS = Game(
    **{**PAYDAY.__dict__, "name": "shifts", "roles": lambda p: (Role("worker", p.n_agents, OBSERVATION, {"shift": Discrete(3)}),)}
)
"""Payday, whose workers choose one of three shifts, which changes nothing."""
LEAVING = {"n_agents": 2, "horizon": 4, "leave": 2, "ghost": 1e6}
VALUES = ("idqn", "rainbow", "vdn", "qmix", "maddpg", "matd3")


def one(here: Lanes) -> tuple[Any, Any]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return learner, buffer


def parameters(here: Lanes) -> torch.Tensor:
    learner, _ = one(here)
    return torch.cat([p.detach().flatten() for p in learner.parameters()])


@pytest.mark.parametrize("name", VALUES)
def test_nothing_is_learned_from_what_stands_in_rows_of_who_left(name: str) -> None:
    """Two runs that differ in the pay and the observations of the member that had left, after its last row, end the same."""
    ends = []
    for ghost in (0.0, 1e6):
        here = lanes(VectorGame(SHIFTS, 4, **{**LEAVING, "ghost": ghost}), name, batch=12, lr=1e-2, anneal=False)
        for _ in range(6):
            here.collect(4)
            _, buffer = one(here)
            gone = ~buffer.alive
            assert gone.any()
            for rows in (buffer.obs, buffer.obs_next):
                rows[gone] = 7.0 if ghost else 0.0
            here.update()
        ends.append(parameters(here))
    assert torch.equal(*ends)


def test_rows_of_who_acted_are_learned_from() -> None:
    """The other side of the test above: it would see a row that is read."""
    ends = []
    for ghost in (0.0, 7.0):
        here = lanes(VectorGame(SHIFTS, 4, **LEAVING), "idqn", batch=12, lr=1e-2, anneal=False)
        here.collect(4)
        _, buffer = one(here)
        buffer.obs[buffer.alive] = ghost
        here.update()
        ends.append(parameters(here))
    assert not torch.equal(*ends)


@pytest.mark.parametrize("name", ["vdn", "qmix", "maddpg"])
def test_a_member_that_leaves_after_a_row_has_no_following_value(name: str) -> None:
    """What the target networks say of it in the row in which it left, and later, is in no target."""
    here = lanes(VectorGame(SHIFTS, 4, **LEAVING), name, batch=40)
    here.collect(8)
    learner, buffer = one(here)
    raw, index = buffer.sample(40)
    batch = learner._preprocess_batch(raw, buffer, index)
    gone = batch.alive_next[1] == 0
    torch.manual_seed(3)
    before = learner._targets(batch)
    assert gone.any() and not gone.all()
    batch.obs_next[1][gone] = 50.0
    torch.manual_seed(3)
    after = learner._targets(batch)
    assert torch.equal(before, after)
    batch.obs_next[0] = 50.0  # that of who goes on is
    torch.manual_seed(3)
    assert not torch.equal(learner._targets(batch), before)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("name", ["idqn", "vdn", "qmix", "maddpg", "matd3"])
def test_no_target_rests_on_a_barred_choice(name: str, double: bool) -> None:
    """However highly both networks think of choice 1, where it is barred after every row it is in no target."""
    given = {"double": double} if name in ("idqn", "vdn", "qmix") else {}
    here = lanes(VectorGame(BRANCHES, 4, masked=1), name, **given)
    here.collect(8)
    learner, buffer = one(here)
    index = buffer.sample(60)[1]
    targets = []
    for barred, bias in ((True, 0.0), (True, 1e3), (False, 1e3)):
        buffer.obs_next[:, 4:] = [1.0, float(not barred)]
        with torch.no_grad():
            for last in biases(learner, name):
                last[1] = bias
        batch = learner._preprocess_batch(buffer[index] if name == "idqn" else buffer.team_rows(index), buffer, index)
        torch.manual_seed(0)
        targets.append(batch.returns.flatten() if name == "idqn" else learner._targets(batch))
    assert torch.equal(targets[0], targets[1])
    assert not torch.equal(targets[0], targets[2])


def biases(learner: Any, name: str) -> list[torch.Tensor]:
    """Of the last layers that value or choose, of both networks."""
    if name in ("maddpg", "matd3"):
        return [learner.policy.actor.net[-1].bias, learner.actor_old.module.net[-1].bias]
    return [learner.policy.model.net[-1].bias, learner.model_old.module.net[-1].bias]


# ---- IQL as published is a preset of idqn --------------------------------------------------------------------------


def test_a_dqn_learns_standardised_rewards_with_a_soft_target_and_bounded_gradients() -> None:
    here = lanes(VectorGame(SHIFTS, 4, n_agents=2, horizon=4), "idqn", reward="team_sum", standardise=True, tau=0.25, target=1, lr=1e-2)
    here.collect(8)
    learner, buffer = one(here)
    raw, index = buffer.sample(200)
    mean, std = float(raw.rew.mean()), float(raw.rew.std())
    assert set(raw.rew.tolist()) == {30.0, 32.0, 34.0, 36.0}
    batch = learner._preprocess_batch(raw, buffer, index)
    over = buffer.terminated[index]
    assert batch.returns.flatten()[over].tolist() == pytest.approx([(36.0 - mean) / std] * int(over.sum()), rel=1e-3)
    last = learner.policy.model.net[-1]
    old, start = learner.model_old.module.net[-1].weight.clone(), last.weight.clone()
    here.update()
    assert torch.equal(learner.model_old.module.net[-1].weight, 0.25 * start + 0.75 * old)
    moved = last.weight.clone()
    here.update()
    assert torch.allclose(learner.model_old.module.net[-1].weight, 0.25 * moved + 0.75 * old)


def test_gradients_of_a_dqn_are_bounded_where_it_is_asked() -> None:
    sizes = []
    for bound in (None, 1e-3):
        here = lanes(VectorGame(SHIFTS, 4, n_agents=2, horizon=4), "idqn", gradient_norm=bound)
        here.collect(8)
        here.update()
        learner, _ = one(here)
        sizes.append(sum(float(p.grad.square().sum()) for p in learner.policy.model.parameters()) ** 0.5)
    assert sizes[0] > 1.0 and sizes[1] == pytest.approx(1e-3, rel=1e-3)
