"""On-policy learning with memory: what an update recomputes is what collection did, whatever ends within a rollout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tianshou.utils.torch_utils import policy_within_training_step

import algorithms
from marl.errors import UserError
from marl.opinion import opinion_of
from marl.vector import VectorGame
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY
from tests.riddles import SHELF

KINDS = ["gru", "lstm", "attention"]
SEQUENCED: dict[str, Any] = {"rollout": 6, "sequence": 3, "hidden": [8], "memory_width": 5, "memory_length": 2, "anneal": False}


def rolled(name: str, memory: str, rollouts: int = 2, **given: Any) -> Lanes:
    """Episodes of four ticks under rollouts of six: they end within sequences and go on over their ends; one worker leaves."""
    copies = VectorGame(PAYDAY, 3, **{"n_agents": 3, "horizon": 4, "end": "truncated", "leave": 2, "ghost": 50.0, **given.pop("game", {})})
    here = lanes(copies, name, memory=memory, **{**SEQUENCED, **given})
    for _ in range(rollouts):
        here.collect(6)
    return here


def one(here: Lanes) -> tuple[Any, Any]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return learner, buffer


def enlarged(learner: Any) -> None:
    """Networks whose outputs differ from row to row: an untrained head hardly looks at its input."""
    for p in learner.parameters():
        p.data += 0.5 * torch.randn_like(p)


@pytest.mark.parametrize("memory", KINDS)
def test_ratio_is_one_and_values_are_those_of_collection_at_unchanged_parameters(memory: str) -> None:
    here = rolled("ippo", memory, rollouts=0)
    learner, buffer = one(here)
    enlarged(learner)
    for _ in range(3):
        here.collect(6)
        batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
        kept = np.flatnonzero(buffer.alive)
        assert 0 < len(kept) == len(batch) < len(buffer)
        assert batch.act.numpy() == pytest.approx(buffer.act[kept])
        with torch.no_grad():
            ratio = (learner.policy(batch).dist.log_prob(batch.act) - batch.logp_old).exp()
            value = learner.critic(batch.obs).flatten()
        assert ratio.numpy() == pytest.approx(1.0, abs=1e-6)
        assert value.numpy() == pytest.approx(buffer.recorded["value"][kept], abs=1e-5)
        assert value.std() > 0.01
    assert np.abs(buffer.memory).max() > 0.1  # a rollout begins within an episode


def test_a_critic_of_costs_remembers_beside_the_others() -> None:
    here = rolled("ippo_lagrangian", "lstm", rollouts=0)
    learner, buffer = one(here)
    enlarged(learner)
    for _ in range(2):
        here.collect(6)
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
    kept = np.flatnonzero(buffer.alive)
    for critic, field in ((learner.critic, "value"), (learner.cost_critic, "cost_value")):
        found = critic(batch.obs).detach().flatten().numpy()
        assert found == pytest.approx(buffer.recorded[field][kept], abs=1e-5)
    assert buffer.stretch.width == 3 * 2 * 5
    assert not np.allclose(buffer.recorded["value"], buffer.recorded["cost_value"])


def test_ratio_is_not_one_where_the_state_at_the_beginning_is_forgotten() -> None:
    here = rolled("ippo", "gru", rollouts=0)
    learner, buffer = one(here)
    enlarged(learner)
    for _ in range(2):
        here.collect(6)
    buffer.memory[:] = 0.0
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
    ratio = (learner.policy(batch).dist.log_prob(batch.act) - batch.logp_old).exp().detach().numpy()
    assert np.abs(ratio - 1.0).max() > 1e-3


@pytest.mark.parametrize("memory", KINDS)
def test_mappo_recomputes_what_it_collected(memory: str) -> None:
    here = rolled("mappo", memory, rollouts=2, reward="team_sum")
    learner, buffer = one(here)
    enlarged(learner)
    here.collect(6)
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, None)
    fields = {name: value for name, value in batch.__dict__.items() if value is not None}
    state, slices = fields.pop("state"), fields.pop("slices")
    rows_seen = []
    for rows, seen in learner._minibatches(slices, len(state)):
        own = {name: field[:, rows] for name, field in fields.items()}
        with torch.no_grad():
            dist = learner.policy.dist_fn(learner.policy.actor(seen)[0])
            ratio = (dist.log_prob(own["act"].flatten(0, 1)).view_as(own["logp"]) - own["logp"]).exp()
        assert ratio[own["alive"] == 1].numpy() == pytest.approx(1.0, abs=1e-6)
        assert seen.rows.flatten(0, 1).numpy() == pytest.approx(buffer.lanes("obs")[:, rows].reshape(-1, 2))
        assert own["alive"].min() == 0
        rows_seen += rows.tolist()
    assert sorted(rows_seen) == list(range(len(state)))
    before = [p.clone() for p in learner.policy.actor.parameters()]
    here.update()
    assert all(bool((a != b).any()) for a, b in zip(before, learner.policy.actor.parameters()))


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_returns_bootstrap_from_the_state_of_the_episode_that_was_cut(end: str) -> None:
    """Generalised advantages by a plain loop over each lane, with the critic stepped through the true observations."""
    here = rolled("ippo", "gru", rollouts=0, gamma=0.9, gae_lambda=0.8, game={"leave": 0, "end": end})
    learner, buffer = one(here)
    enlarged(learner)
    for _ in range(2):
        here.collect(6)
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
    for lane in range(9):
        agent = lane // 3
        ticks = [(t % 4) for t in range(6, 12)]  # of the second rollout
        state, values, after = buffer.memory[agent, lane % 3, :1], [], []
        for t in ticks:
            v, state = step_critic(learner, row(agent, t), state)
            values.append(v)
            after.append(step_critic(learner, row(agent, t + 1), state)[0])
            state = np.zeros_like(state) if t == 3 else state
        expected, ahead = [], 0.0
        for i in reversed(range(6)):
            over = ticks[i] == 3
            follows = 0.0 if over and end == "terminated" else after[i]
            delta = 10.0 * (agent + 1) + ticks[i] + 0.9 * follows - values[i]
            ahead = delta + 0.9 * 0.8 * (0.0 if over else ahead)
            expected.insert(0, ahead)
        assert batch.adv.view(9, 6)[lane].tolist() == pytest.approx(expected, rel=1e-4)


def row(agent: int, t: int) -> np.ndarray[Any, Any]:
    """What a worker of three sees after t of four ticks."""
    return np.array([[(agent + 1) / 3, 1.0 - t / 4]], np.float32)


def step_critic(learner: Any, obs: Any, state: Any) -> tuple[float, Any]:
    with torch.no_grad():
        value, own = learner.critic.step(torch.from_numpy(obs), torch.from_numpy(np.array(state)))
    after = np.array(state)
    after[:, learner.critic.columns] = own.numpy()
    return float(value), after


@pytest.mark.parametrize("name", ["ippo", "ippo_lagrangian", "ia2c", "reinforce", "mappo"])
def test_every_algorithm_steps_its_memory(name: str) -> None:
    here = rolled(name, "gru")
    learner, _ = one(here)
    before = [p.clone() for p in learner.policy.actor.trunk.memory.parameters()]
    here.update(repeat=2)
    assert all(bool((a != b).any()) for a, b in zip(before, learner.policy.actor.trunk.memory.parameters()))
    assert all(bool(p.isfinite().all()) for p in learner.parameters())


def test_the_loss_reads_no_row_of_an_agent_that_left() -> None:
    """Whatever its rows hold, the update is the same."""
    found = []
    for ghost in (0.0, 1e3):
        here = rolled("ippo", "gru", rollouts=1, game={"ghost": ghost})
        here.update()
        found.append([p.detach().clone() for p in one(here)[0].parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_a_choice_that_the_mask_forbids_stays_forbidden() -> None:
    here = lanes(VectorGame(SHELF, 4), "ippo", memory="gru", **SEQUENCED)
    here.collect(6)
    learner, buffer = one(here)
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
    with policy_within_training_step(learner.policy, enabled=False):
        chance = learner.policy(batch).dist.log_probs[0].exp().detach()
    legal = torch.from_numpy(buffer.obs[:, 1:] > 0.5)
    assert (~legal).any()
    assert float(chance[~legal].max()) == 0.0
    assert chance.sum(1).numpy() == pytest.approx(1.0, abs=1e-6)


def test_a_memory_that_is_off_leaves_networks_as_they_were() -> None:
    """No state, no further field, and the classes without memory."""
    here = lanes(VectorGame(PAYDAY, 2), "ippo")
    learner, buffer = one(here)
    here.collect(4)
    assert type(buffer).__name__ == "LaneBuffer" and learner.FIELDS == ("logp",) and learner.policy.state_width == 0
    assert "memory" not in here.collector.state_dict() and "memory" not in buffer.state_dict()


def test_an_ensemble_says_that_it_does_not_remember() -> None:
    here = rolled("ippo", "gru", rollouts=0)
    with pytest.raises(UserError, match="opinion of MemoryPolicy, which has memory: legal in an ensemble are policies without"):
        opinion_of(one(here)[0].policy, torch.zeros(1, 2), 1.0)


def test_sequences_that_do_not_fill_a_rollout_are_refused() -> None:
    settings = algorithms.settings_of("ippo")(memory="gru", rollout=10, sequence=4)
    with pytest.raises(UserError, match=r"algorithm.sequence = 4 ticks: legal are divisors of algorithm.rollout = 10"):
        settings.check()
    algorithms.settings_of("ippo")(rollout=10, sequence=4).check()
    with pytest.raises(UserError, match=r"algorithm.memory = 'rnn': legal are none, gru, lstm, attention"):
        algorithms.settings_of("idqn")(memory="rnn").check()
