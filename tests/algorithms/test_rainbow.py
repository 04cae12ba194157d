"""Rainbow by hand: the projection, the loss, noise in collection and outside, masks, n ticks on, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import algorithms
from algorithms.rainbow import NoisyHeads
from marl.errors import UserError
from marl.team import parts, seen
from marl.vector import VectorGame
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY

GAMMA = 0.5


def one(here: Lanes) -> tuple[Any, Any]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return learner, buffer


def project(mass: np.ndarray, values: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Mass at values, shared between the two atoms that enclose each in proportion to nearness: one at a time."""
    found = np.zeros(len(atoms))
    for m, v in zip(mass, np.clip(values, atoms[0], atoms[-1])):
        at = (v - atoms[0]) / (atoms[1] - atoms[0])
        low, share = int(np.floor(at)), at - np.floor(at)
        found[low] += m * (1.0 - share)
        if share:
            found[low + 1] += m * share
    return found


def test_the_projection_by_hand() -> None:
    """r = 1, gamma = 1/2 on the atoms 0, 1, 2: 1 + z / 2 is 1, 1.5 and 2. Mass (.2, .5, .3) becomes (0, .45, .55)."""
    atoms, mass = np.array([0.0, 1.0, 2.0]), np.array([0.2, 0.5, 0.3])
    assert project(mass, 1.0 + 0.5 * atoms, atoms) == pytest.approx([0.0, 0.45, 0.55])
    assert project(mass, 9.0 + 0.0 * atoms, atoms) == pytest.approx([0.0, 0.0, 1.0])
    learner, _ = one(lanes(VectorGame(BRANCHES, 2), "rainbow", atoms=3, lowest=0.0, highest=2.0))
    rows, policy = seen(torch.zeros(2, 6)), learner.policy
    told = torch.tensor([[[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]]).expand(2, 2, 3)
    policy.forward = lambda batch, **_: seen_with(batch, told)
    rows.__dict__.update(obs_next=torch.zeros(2, 6), returns=torch.tensor([[1.0, 1.5, 2.0], [9.0, 9.0, 9.0]]))
    assert learner._target_dist(rows).tolist() == [pytest.approx([0.0, 0.45, 0.55]), pytest.approx([0.0, 0.0, 1.0])]


def seen_with(batch: Any, told: torch.Tensor) -> Any:
    out = seen(batch.obs)
    out.__dict__.update(logits=told, act=torch.zeros(len(told), dtype=torch.int64))
    return out


@pytest.mark.parametrize("n_step", [1, 2])
def test_the_loss_by_hand(n_step: int) -> None:
    """On the two-step game with a mask: cross-entropy against the projected distribution of the best legal choice n ticks on."""
    given = {"n_step": n_step, "atoms": 5, "lowest": 0.0, "highest": 8.0, "noise": 0.0, "gamma": GAMMA, "priority": 0.0, "anneal": False}
    here = lanes(VectorGame(BRANCHES, 4, masked=1), "rainbow", **given)
    here.collect(6)
    learner, buffer = one(here)
    with torch.no_grad():
        for p in (*learner.policy.model.parameters(), *learner.model_old.parameters()):
            if p.requires_grad:
                p.add_(0.3 * torch.randn_like(p))
        for heads in (learner.policy.model.net, learner.model_old.net):
            for head in (heads.value, heads.advantage):
                head.sigma_W.zero_(), head.sigma_bias.zero_()
    index = np.flatnonzero(buffer.obs[:, :3].any(1))
    net, old, atoms = learner.policy.model.net, learner.model_old.net, np.linspace(0.0, 8.0, 5)
    losses = []
    with torch.no_grad():
        for row in index:
            last = int(buffer.next(np.array([row]))[0]) if n_step == 2 else row
            reward = buffer.rew[row] + (GAMMA * buffer.rew[last] if last != row else 0.0)
            power = 2 if last != row else 1
            after = torch.from_numpy(buffer.obs_next[[last]])
            values = (net(after[:, :4]) * torch.from_numpy(atoms)).sum(2).masked_fill(after[:, 4:] < 0.5, -1e9)
            mass = old(after[:, :4])[0, int(values.argmax())].numpy()
            going = 0.0 if buffer.terminated[last] else GAMMA**power
            target = project(mass, reward + going * atoms, atoms)
            p = net(torch.from_numpy(buffer.obs[[row], :4]))[0, int(buffer.act[row, 0])].numpy()
            losses.append(-(target * np.log(p + 1e-8)).sum())
    learner.policy.is_within_training_step = True
    batch = learner._preprocess_batch(buffer[index], buffer, index)
    learner._iter = 1  # the first update sets the target network
    assert learner._update_with_batch(batch).loss == pytest.approx(float(np.mean(losses)), rel=1e-4)


def test_dueling_heads_are_centred_and_sum_to_one() -> None:
    heads = NoisyHeads(4, 3, algorithms.settings_of("rainbow")(hidden=[8, 6], atoms=7))
    heads.eval()
    p = heads(torch.randn(5, 4))
    assert p.shape == (5, 3, 7) and torch.allclose(p.sum(2), torch.ones(5, 3))
    with torch.no_grad():
        heads.advantage.mu_bias += 7.0
    assert torch.allclose(heads(torch.zeros(1, 4)), heads(torch.zeros(1, 4)))


def test_weights_are_noisy_in_collection_and_still_outside() -> None:
    learner, _ = one(lanes(VectorGame(BRANCHES, 2), "rainbow", noise=3.0))
    policy, rows = learner.policy, seen(torch.randn(40, 6).abs())
    policy.is_within_training_step = True
    first, second = policy(rows).values, policy(rows).values
    assert not torch.allclose(first, second)
    policy.is_within_training_step = False
    assert torch.equal(policy(rows).values, policy(rows).values)
    with policy.learning():  # the noise of the update, the same for all its forwards
        assert torch.equal(policy(rows).values, policy(rows).values)
        assert not torch.allclose(policy(rows).values, first)
    assert not policy._learns


def test_no_illegal_choice_is_taken() -> None:
    here = lanes(VectorGame(BRANCHES, 8, masked=1), "rainbow", noise=3.0)
    here.collect(20)
    _, buffer = one(here)
    acts, begin = buffer.act.reshape(2, 8, -1)[:, :, :20], buffer.obs.reshape(2, 8, -1, 6)[:, :, :20, 0] == 1
    assert (acts[0][begin[0]] == 0).all()
    assert 0 < acts[1].mean() < 1


def test_noise_is_drawn_anew_for_every_update_and_both_networks_learn_from_it() -> None:
    here = lanes(VectorGame(BRANCHES, 4), "rainbow", target=3)
    here.collect(8)
    learner, _ = one(here)
    noise = []
    for _ in range(2):
        here.update()
        noise.append((learner.policy.model.net.value.eps_p.clone(), learner.model_old.net.value.eps_p.clone()))
    assert not torch.equal(noise[0][0], noise[1][0]) and not torch.equal(noise[0][1], noise[1][1])
    assert learner.policy.model.net.value.sigma_W.grad is not None


@pytest.mark.parametrize(
    ("game", "role", "given", "message"),
    [
        (PAYDAY, "worker", {}, "algorithm = 'rainbow' for worker, whose action is 'effort'"),
        (BRANCHES, "player", {"lowest": 3.0, "highest": 3.0}, "algorithm.lowest = 3 of the atoms: legal is below algorithm.highest = 3"),
        (BRANCHES, "player", {"atoms": 1}, "algorithm.atoms = 1: legal range is [2, 10001]"),
    ],
)
def test_what_cannot_be_served_is_refused(game: Any, role: str, given: dict[str, Any], message: str) -> None:
    part = parts(VectorGame(game), "group")[role]
    with pytest.raises(UserError) as error:
        algorithms.load("rainbow")(algorithms.settings_of("rainbow")(**given), part, 10)
    assert message in str(error.value) and "\n" not in str(error.value)
