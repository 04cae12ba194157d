"""Value-based learning with memory: targets and losses against a plain walk through the lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from algorithms.recurrent_values import n_step_targets
from envs.classic.memory import MEMORY
from marl.vector import VectorGame
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes
from tests.riddles import SHELF

GAMMA = 0.9
FORM: dict[str, Any] = {"hidden": [6], "memory_width": 4, "memory_length": 3, "gamma": GAMMA, "sequence": 4, "burn_in": 2, "batch": 24}


def collected(name: str, memory: str, game: Any = None, ticks: int = 30, **given: Any) -> Lanes:
    """Episodes of four ticks in a ring; target networks differ from those that learn, and all look at their input."""
    here = lanes(game or VectorGame(MEMORY, 3, n_agents=2, cues=3, delay=3), name, memory=memory, **{**FORM, **given})
    (learner,) = here.team.learners.values()
    for net in (learner.policy.model, learner.model_old):
        for p in net.parameters():
            p.data += 0.5 * torch.randn_like(p)
    here.collect(ticks)
    return here


def one(here: Lanes) -> tuple[Any, Any]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return learner, buffer


def walked(net: Any, s: Any, following: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """(values of each learned row, of what follows it), each [M, K] a tick, one step after the other; no gradient through burn-in."""
    state, values, after = s.state, [], []
    rows = following.view(len(s.rows), -1, following.shape[-1])
    for t in range(s.rows.shape[1]):
        state = torch.where(s.reset[:, t : t + 1], torch.zeros_like(state), state)
        state = state.detach() if t <= s.burn_in else state
        q, state = net(s.rows[:, t], state)
        if t >= s.burn_in:
            values.append(q)
            after.append(net(rows[:, t - s.burn_in], state)[0].detach())
    return values, after


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("memory", ["gru", "lstm", "attention"])
def test_idqn_by_a_walk_through_its_slices(memory: str, steps: int, double: bool) -> None:
    """Targets, loss and gradient step; rewards are made large, so that they matter."""
    here = collected("idqn", memory, double=double, n_step=steps, target=1_000, dueling=memory == "gru")
    learner, buffer = one(here)
    buffer._meta.rew[:] = np.random.default_rng(0).standard_normal(buffer.maxsize)
    batch, index = buffer.sample(24)
    s, act = batch.slices.to("cpu"), torch.from_numpy(batch.act[:, 0]).long().view(6, 4)
    model, old = learner.policy.model, learner.model_old.module
    values, now = walked(model, s, torch.from_numpy(batch.obs_next))
    _, then = walked(old, s, torch.from_numpy(batch.obs_next))
    expected = np.zeros((6, 4))
    for m in range(6):
        for t in range(4):
            ahead, discount = 0.0, 1.0
            for k in range(t, min(t + steps, 4)):
                row = index.reshape(6, 4)[m, k]
                ahead += discount * float(buffer.rew[row])
                discount *= GAMMA
                last = k == min(t + steps, 4) - 1 or buffer.done[row]
                if last and not buffer.terminated[row]:
                    best = int((now if double else then)[k][m].argmax())
                    ahead += discount * float(then[k][m, best])
                if last:
                    break
            expected[m, t] = ahead
    assert buffer.terminated.any()
    processed = learner._preprocess_batch(batch, buffer, index)
    assert processed.returns.view(6, 4).numpy() == pytest.approx(expected, abs=1e-4)
    taken = torch.stack(values, 1).gather(2, act.unsqueeze(2)).squeeze(2)
    loss = (torch.from_numpy(expected).float() - taken).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    direct = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    learner.optim._optim.zero_grad()
    found = learner._update_with_batch(processed)
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-4)
    for p, gradient in zip(model.parameters(), direct, strict=True):
        assert p.grad is not None and gradient is not None
        assert torch.allclose(p.grad, gradient, atol=1e-4)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_mixtures_by_a_walk_through_their_slices(name: str, double: bool) -> None:
    here = collected(name, "gru", double=double, standardise=False, reward="team_sum")
    learner, buffer = one(here)
    batch, index = buffer.sample(24)
    s = batch.slices.to("cpu")
    following = torch.from_numpy(batch.obs_next).flatten(0, 1)
    values, now = walked(learner.policy.model, s, following)
    _, then = walked(learner.model_old.module, s, following)

    def members(rows: list[Tensor]) -> Tensor:
        """[n, N, K] of [n M, K] a tick."""
        return torch.stack(rows, 1).view(2, 24, -1)

    chosen = (members(now) if double else members(then)).argmax(2, keepdim=True)
    ahead = members(then).gather(2, chosen).squeeze(2)
    goes_on = torch.from_numpy(~batch.terminated.all(0))
    act = torch.from_numpy(batch.act).long()
    taken = members(values).gather(2, act).squeeze(2)
    with torch.no_grad():
        mixed = learner.mixer_old(ahead * goes_on, torch.from_numpy(batch.state_next))
        y = torch.from_numpy(buffer.paid(index)) + GAMMA * goes_on * mixed
    loss = (y - learner.mixer(taken, torch.from_numpy(batch.state))).square().mean()
    assert not bool(goes_on.all())
    found = learner._update_with_batch(learner._preprocess_batch(batch, buffer, index))
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-4)


def test_n_steps_end_with_the_episode_and_with_the_slice() -> None:
    """One slice of five rows: the second ends an episode at its horizon, the fourth for good."""
    reward, bootstrap = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]]), torch.tensor([[100.0, 200.0, 300.0, 400.0, 500.0]])
    terminated = torch.tensor([[False, False, False, True, False]])
    done = torch.tensor([[False, True, False, True, False]])
    assert n_step_targets(reward, terminated, done, bootstrap, 0.5, 1).tolist() == [[51.0, 102.0, 154.0, 8.0, 266.0]]
    for steps in (2, 3, 9):
        assert n_step_targets(reward, terminated, done, bootstrap, 0.5, steps).tolist() == [[52.0, 102.0, 8.0, 8.0, 266.0]]


def test_a_truncated_episode_is_bootstrapped_from_its_own_last_observation() -> None:
    """The next row in the ring begins another episode and would give another value."""
    here = collected("idqn", "gru", VectorGame(MEMORY, 2, n_agents=1, cues=3, delay=3), target=1_000, burn_in=0, sequence=8)
    learner, buffer = one(here)
    buffer._meta.truncated[:] = buffer._meta.done
    buffer._meta.terminated[:] = False
    batch, index = buffer.sample(16)
    ended = buffer.done[index]
    assert ended.any()
    s = batch.slices.to("cpu")
    _, now = walked(learner.policy.model, s, torch.from_numpy(batch.obs_next))
    _, then = walked(learner.model_old.module, s, torch.from_numpy(batch.obs_next))
    best = torch.stack(now, 1).flatten(0, 1).argmax(1, keepdim=True)
    value = torch.stack(then, 1).flatten(0, 1).gather(1, best).squeeze(1).numpy()
    found = learner._preprocess_batch(batch, buffer, index).returns.numpy()
    assert found == pytest.approx(batch.rew + GAMMA * value, abs=1e-5)


def test_rows_of_a_member_that_left_are_in_no_error() -> None:
    """Whatever stands in them, and in what its copy's reward holds after nobody is left."""
    losses = []
    for ghost in (0.0, 1e4):
        game = VectorGame(BRANCHES, 4)
        here = collected("idqn", "gru", game, ticks=20, sequence=2, burn_in=1, target=1_000)
        (buffer,) = here.buffers.values()
        gone = np.zeros(buffer.maxsize, np.bool_)
        gone[1::3] = True
        buffer.alive[gone], buffer._all_alive = False, False
        buffer._meta.rew[gone] = ghost
        losses.append([here.update().get_loss_stats_dict() for _ in range(3)])
        assert all(np.isfinite(list(row.values())).all() for row in losses[-1])
    assert losses[0] == losses[1]


def test_the_mask_forbids_in_targets_too() -> None:
    here = collected("idqn", "gru", VectorGame(SHELF, 4), target=1_000)
    learner, buffer = one(here)
    batch, index = buffer.sample(24)
    s = batch.slices.to("cpu")
    with torch.no_grad():
        values = learner.policy.model(s)[0]
    legal = torch.from_numpy(buffer.obs[index][:, 1:] > 0.5)
    assert (~legal).any()
    assert float(values[~legal].max()) < -1e8 < float(values[legal].min())
    assert bool(legal.gather(1, torch.from_numpy(buffer.act[index]).long()).all())


def test_exploring_at_random_moves_the_memory_on() -> None:
    """Before the warm-up is over nobody asks the network, and its states are those it would have had."""
    here = lanes(VectorGame(MEMORY, 3, n_agents=2, cues=3, delay=3), "idqn", memory="gru", warm_up=1_000, replay=2_000, **FORM)
    learner, buffer = one(here)
    here.collect(11)
    assert int(learner.policy.acted) == 11 * 6
    (recall,) = here.collector._recalls.values()
    state = torch.zeros(6, 4)
    for t in range(11):
        rows = torch.from_numpy(buffer._lanes["obs"][:, :, t].swapaxes(0, 1).reshape(6, -1))
        state = learner.policy.advance(rows, torch.zeros(6, 4) if t % 4 == 0 else state)
    assert torch.allclose(recall.state, state, atol=1e-6)
