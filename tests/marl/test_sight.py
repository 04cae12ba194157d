"""Normalised observations: the moments, when they are renewed, who sees through them, and what that is good for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tianshou.algorithm import PPO
from torch import nn

import algorithms
from algorithms.recurrent import Trunk
from marl.sight import LARGEST, Sight, attach
from marl.team import parts, seen
from marl.vector import VectorGame
from tests.aim import AIM
from tests.algorithms.test_answers import learned
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.lanes import lanes
from tests.payday import PAYDAY


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.floats(-1e3, 1e3), st.integers(0, 1_000))
def test_moments_merged_batch_by_batch_are_those_of_all_rows(sizes: list[int], offset: float, seed: int) -> None:
    chance, sight = np.random.default_rng(seed), Sight(3)
    batches = [(offset + chance.standard_normal((n, 5))).astype(np.float32) for n in sizes]
    for batch in batches:
        sight.gather(batch)
    whole = np.concatenate(batches)[:, :3].astype(np.float64)
    assert float(sight.count) == len(whole)
    sight.renew()
    if len(whole):
        assert sight.mean.numpy() == pytest.approx(whole.mean(0), rel=1e-5, abs=1e-5)
        assert sight.scale.numpy() == pytest.approx(np.sqrt(whole.var(0) + 1e-8), rel=1e-4)
    else:
        assert sight.mean.tolist() == [0.0] * 3


def test_what_is_seen_by_hand() -> None:
    """Of 1, 3 and 5: mean 3, deviation sqrt(8/3). A column that never changed is 0; what lies beyond ten deviations is 10."""
    sight = Sight(2)
    sight.gather(np.array([[1.0, 7.0, 0.5], [3.0, 7.0, 0.5], [5.0, 7.0, 0.5]], np.float32))
    row = torch.tensor([[5.0, 7.0, 0.5], [1e6, 7.0, 123.0]])
    assert torch.equal(sight(row)[0], row[0])  # gathered, not shown yet
    sight.renew()
    first, second = sight(row).tolist()
    assert first == pytest.approx([2.0 / np.sqrt(8 / 3), 0.0, 0.5])
    assert second == [LARGEST, 0.0, 123.0]


def hooked(learner: Any) -> list[nn.Module]:
    return [module for module in learner.modules() if module._forward_pre_hooks]


@pytest.mark.parametrize("name", sorted(set(algorithms.ALGORITHMS) - {"hybrid"}))  # its heads read an encoder: tests.algorithms.test_hybrid
def test_every_network_of_every_algorithm_sees_through_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments are those of the rows collected. No layer but lies behind a sight, target networks' included: where the moments
    are moved far away by hand, all that the networks are given, in collection and update, is ten deviations below."""
    here = lanes(VectorGame(COMMONS, 4, n_agents=3, horizon=7), name, normalise_observations=True, agent_id=True)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    here.collect(4)
    rows = buffer.obs[buffer.sample_indices(0)][:, :2]
    sight = learner.policy.sight
    assert (sight.width, sight.mean.tolist()) == (2, [0.0, 0.0])
    here.update()
    assert sight.mean.numpy() == pytest.approx(rows.mean(0), rel=1e-4)
    behind = {layer for module in hooked(learner) for layer in module.modules()}
    assert {m for m in learner.modules() if isinstance(m, nn.Linear)} <= behind
    monkeypatch.setattr("marl.sight.renew", lambda learner: None)
    for moved in (sight, getattr(learner, "overview_sight", sight)):
        moved.mean.fill_(1e9)
    given: dict[nn.Module, list[torch.Tensor]] = {module: [] for module in hooked(learner)}
    for module, seen_by in given.items():
        module.register_forward_pre_hook(lambda _, x, seen_by=seen_by: seen_by.append(x[0]))
    for _ in range(3):
        here.collect(4)
        here.update()
    for seen_by in given.values():
        assert seen_by and all((x[..., :2] == -LARGEST).all() for x in seen_by)


@pytest.mark.parametrize("memory", ["gru", "lstm", "attention"])
@pytest.mark.parametrize("name", ["ippo", "mappo", "idqn"])
def test_what_has_memory_sees_through_it_before_it_remembers(name: str, memory: str) -> None:
    """The layers under the memory are given what the moments make of the rows, the heads above it what the memory gives."""
    own = {"rollout": 4} if name == "idqn" else {}
    here = lanes(VectorGame(COMMONS, 4, n_agents=3, horizon=7), name, normalise_observations=True, memory=memory, **own)
    (learner,) = here.team.learners.values()
    trunks = [module for module in learner.modules() if isinstance(module, Trunk)]
    assert trunks and {trunk.layers for trunk in trunks} == set(hooked(learner)) - {learner.critic if name == "mappo" else None}
    for _ in range(6):
        here.collect(4)
        here.update()
    caught: list[torch.Tensor] = []
    for trunk in trunks:
        trunk.layers.register_forward_pre_hook(lambda _, x: caught.append(x[0]))
    here.collect(4)
    assert caught and abs(float(torch.cat([x[..., 1].flatten() for x in caught]).mean())) < 1.0
    assert max(float(x.abs().max()) for x in caught) > 1.2  # time left and stock are shares, within [0, 1], in the rows


def test_nobody_sees_through_it_who_does_not_ask() -> None:
    here = lanes(VectorGame(COMMONS, 2), "qmix")
    (learner,) = here.team.learners.values()
    assert not hooked(learner) and not hasattr(learner.policy, "sight")


@pytest.mark.parametrize("name", ["ippo", "mappo"])
def test_collection_and_update_see_the_same(name: str) -> None:
    """What collection recorded is what the loss would record, in every rollout: the first ratio of an update is 1."""
    here = lanes(VectorGame(PAYDAY, 4, n_agents=2, horizon=5), name, rollout=6, normalise_observations=True, lr=1e-2)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    shown = []
    for _ in range(3):
        here.collect(6)
        batch = learner._preprocess_batch(buffer.sample(0)[0], buffer, np.arange(len(buffer)))
        obs, act = batch.obs.reshape(-1, 2), batch.act.reshape(-1, 1)
        again = learner.policy.dist_fn(learner.policy.actor(obs)[0]).log_prob(act)
        assert again.tolist() == pytest.approx(buffer.recorded["logp"].tolist(), abs=1e-5)
        shown.append(learner.policy.sight.mean.clone())
        here.update()
    assert not torch.equal(shown[0], shown[1]) and not torch.equal(shown[1], shown[2])


def test_rows_of_who_left_are_not_gathered() -> None:
    """The third worker, who shows 1, leaves after a tick of four: of the rows 2/9 fewer are its."""
    here = lanes(VectorGame(PAYDAY, 2, n_agents=3, horizon=4, leave=1), normalise_observations=True)
    here.collect(4)
    here.update()
    sight = here.team.learners["worker"].policy.sight
    assert float(sight.count) == 2 * (4 + 4 + 1)
    assert sight.mean[0].item() == pytest.approx((4 * 1 / 3 + 4 * 2 / 3 + 1) / 9)


def test_a_replays_warm_up_is_seen_by_the_first_update() -> None:
    here = lanes(VectorGame(COMMONS, 4), "idqn", normalise_observations=True, warm_up=40, replay=400)
    sight = here.team.learners["harvester"].policy.sight
    for expected in (0.0, 0.0, 48.0, 64.0):
        here.collect(1)
        if here.buffers["harvester"]._filled > 2:
            assert sight.count == len(here.buffers["harvester"])
        here.update()
        assert (sight.mean != 0).any().item() == (expected > 0)


def test_masks_and_identities_stay_as_they_are() -> None:
    """The policy of a masked game takes no illegal choice, whatever the moments are."""
    copies = VectorGame(BAZAAR, 3)
    here = lanes(copies, normalise_observations=True, agent_id=True)
    for _ in range(3):
        here.collect(4)
        here.update()
    part, policy = here.plan["buyer"], here.team.learners["buyer"].policy
    rows = torch.from_numpy(part.rows(copies.obs, copies.action_mask).reshape(-1, part.width))
    seen_rows = policy.sight(rows)
    width = part.group.width
    assert torch.equal(seen_rows[:, width:], rows[:, width:]) and not torch.equal(seen_rows[:, :width], rows[:, :width])
    dist = policy(seen(rows)).dist
    assert torch.equal(torch.cat([l > -1e8 for l in dist.log_probs], 1), rows[:, part.observed :] > 0.5)


def test_critics_of_the_state_have_moments_of_their_own() -> None:
    here = lanes(VectorGame(COMMONS, 4, n_agents=3), "mappo", normalise_observations=True)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    here.collect(4)
    states = buffer.state.reshape(-1, 6).copy()
    here.update()
    assert learner.overview_sight.mean.numpy() == pytest.approx(states.mean(0), rel=1e-4)
    assert not hasattr(learner.policy, "overview_sight")
    crowd = lanes(VectorGame(COMMONS, 4, n_agents=3), "mappo", normalise_observations=True, critic="pooled")
    assert not hasattr(next(iter(crowd.team.learners.values())), "overview_sight")


def test_an_algorithm_that_names_no_eyes_is_refused() -> None:
    class Blind(PPO):
        def __init__(self) -> None:
            nn.Module.__init__(self)

    (part,) = parts(VectorGame(AIM), "group").values()
    with pytest.raises(TypeError, match="Blind: no network of it names its eyes"):
        attach(Blind(), part)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ippo", "idqn"])
def test_what_is_far_from_0_is_learned_from(name: str, tmp_path: Path) -> None:
    """Archers who see 100 + x: the same answer as of x, and none without."""
    given: dict[str, dict[str, Any]] = {
        "ippo": {"rollout": 16, "lr": 3e-3},
        "idqn": {"warm_up": 500, "lr": 2e-3, "batch": 64, "epsilon_steps": 5_000},
    }
    found = []
    for sighted in (True, False):
        folder = tmp_path / str(sighted)
        folder.mkdir()
        how = {"normalise_observations": sighted, "params": {"offset": 100.0}}
        found.append(learned(AIM, name, folder, 20_000, **how, **given[name]))
    assert found[0] > -0.01
    assert found[1] < -0.04
