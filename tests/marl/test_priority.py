"""Prioritised replay: the sum tree and the sampler against plain Python, weights by hand, what is written, dead rows, resume."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from marl.priority import EPSILON, Priorities, PrioritisedBuffer, PrioritisedTeamBuffer, SumTree
from marl.vector import VectorGame
from tests.branches import BRANCHES
from tests.lanes import lanes
from tests.payday import PAYDAY


def cumulative(leaves: list[float], mass: float) -> int:
    """The oracle: walk along the leaves until their sum exceeds the mass."""
    total = 0.0
    for i, leaf in enumerate(leaves):
        total += leaf
        if mass < total:
            return i
    return max(i for i, leaf in enumerate(leaves) if leaf)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 100])
def test_the_tree_finds_what_a_walk_along_the_leaves_finds(size: int) -> None:
    chance = random.Random(size)
    tree, leaves = SumTree(size), [0.0] * size
    for _ in range(30):
        index = [chance.randrange(size) for _ in range(chance.randint(1, 2 * size))]
        value = [float(chance.choice([0, 0, 1, 2, 5])) for _ in index]
        tree[np.array(index)] = np.array(value)
        for i, x in zip(index, value):
            leaves[i] = x
        assert tree.leaves.tolist() == leaves and tree.total == sum(leaves)
        if not tree.total:
            continue
        mass = [chance.random() * tree.total for _ in range(50)] + [0.0]
        assert tree.find(np.array(mass)).tolist() == [cumulative(leaves, m) for m in mass]
        assert tree.leaves[tree.find(np.full(3, tree.total))].min() > 0  # a mass that rounding pushed to the end


def test_a_tree_is_a_function_of_its_leaves() -> None:
    """Whatever the order in which they were set: so a resumed run draws what the whole one does."""
    generator, tree, other = np.random.default_rng(0), SumTree(1_000), SumTree(1_000)
    for _ in range(50):
        tree[generator.integers(1_000, size=64)] = generator.random(64) ** 3
    other.leaves[:] = tree.leaves
    other.rebuild()
    assert (other._nodes == tree._nodes).all()


def test_rows_are_drawn_in_proportion_to_their_priority_one_from_each_share() -> None:
    priorities, generator = Priorities(6, alpha=0.5), np.random.RandomState(0)
    priorities.begin(np.arange(5), None)
    priorities.update(np.arange(5), np.array([0.0, 1.0, -4.0, 9.0, 16.0]))
    p = (np.array([0.0, 1.0, 4.0, 9.0, 16.0]) + EPSILON) ** 0.5
    found = priorities.draw(20_000, generator)
    counts = np.bincount(found, minlength=6)
    assert counts[5] == 0 and np.abs(counts[:5] - 20_000 * p / p.sum()).max() <= 2  # a share's ends alone are left to chance
    assert (np.diff(found) >= 0).all()
    state = np.random.RandomState(3)
    expected = [cumulative([*p.tolist(), 0.0], (i + u) / 50 * float(p.sum())) for i, u in enumerate(state.random_sample(50))]
    assert priorities.draw(50, np.random.RandomState(3)).tolist() == expected


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_by_hand(beta: float) -> None:
    """w_i = (n P(i))^-beta / max_j w_j over the draw."""
    priorities = Priorities(4, alpha=1.0)
    priorities.begin(np.arange(4), None)
    priorities.update(np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]))
    p = (np.array([1.0, 2.0, 3.0, 4.0]) + EPSILON) / (10.0 + 4 * EPSILON)
    w = (4 * p) ** -beta
    index = np.array([1, 3, 3, 2])
    assert priorities.weights(index, beta) == pytest.approx(w[index] / w[index].max(), rel=1e-6)


def test_new_rows_have_the_largest_error_seen_and_those_of_who_left_none() -> None:
    here = lanes(VectorGame(PAYDAY_GRID, 2, n_agents=2, horizon=4, leave=2), "idqn", priority=1.0, replay=24)
    here.collect(4)
    (buffer,) = here.buffers.values()
    assert isinstance(buffer, PrioritisedBuffer) and buffer.rows == 6

    def leaves() -> Any:
        return buffer.priorities._tree.leaves.reshape(2, 2, 6)

    assert (leaves()[0, :, :4] == 1.0).all() and (leaves()[1, :, :2] == 1.0).all()
    assert not leaves()[1, :, 2:4].any() and not leaves()[:, :, 4:].any()
    buffer.update_weight(np.array([0]), np.array([7.0]))
    here.collect(3)  # an episode begins, and the ring wraps over the row that was wrong
    assert (leaves()[:, :, 4:] == 7.0 + EPSILON).all() and (leaves()[:, :, 0] == [[7.0 + EPSILON] * 2, [0.0] * 2]).all()
    assert set(np.flatnonzero(~buffer.alive)).isdisjoint(buffer.sample(500)[1])


def test_team_rows_are_drawn_by_one_priority_each() -> None:
    here = lanes(VectorGame(PAYDAY_GRID, 2, n_agents=2, horizon=4, leave=2), "qmix", priority=1.0)
    here.collect(4)
    (buffer,) = here.buffers.values()
    assert isinstance(buffer, PrioritisedTeamBuffer)
    held = np.array([0, 1, 2, 3, buffer.rows, buffer.rows + 1, buffer.rows + 2, buffer.rows + 3])
    buffer.update_weight(held, np.array([0.0, 0, 0, 0, 3.0, 0, 0, 1.0]))
    counts = np.bincount(buffer.sample(4_000)[1], minlength=buffer.rows + 4)
    assert counts[buffer.rows] == pytest.approx(3_000, abs=2) and counts[buffer.rows + 3] == pytest.approx(1_000, abs=2)


@pytest.mark.parametrize("name", ["idqn", "vdn", "qmix", "rainbow"])
def test_an_update_weighs_errors_and_leaves_them_as_priorities(name: str) -> None:
    here = lanes(VectorGame(BRANCHES, 4), name, priority=0.7, beta=0.4, batch=12, anneal=False)
    here.collect(6)
    (buffer,) = here.buffers.values()
    drawn: list[Any] = []
    sample, update = buffer.sample, buffer.update_weight
    buffer.sample = lambda n: drawn.append(sample(n)) or drawn[-1]
    buffer.update_weight = lambda index, error: drawn.append((index, error)) or update(index, error)
    for _ in range(3):
        here.update()
    (_, index), (same, error) = drawn[-2:]
    assert (index == same).all()
    last = dict(zip(index.tolist(), error.abs().tolist()))
    leaves = buffer.priorities._tree.leaves
    assert leaves[list(last)] == pytest.approx((np.array(list(last.values())) + EPSILON) ** 0.7, rel=1e-5)
    assert len(set(leaves[leaves > 0].round(6).tolist())) > 3


def test_the_weighted_loss_of_a_dqn_by_hand() -> None:
    here = lanes(VectorGame(BRANCHES, 4), "idqn", priority=0.6, beta=0.4, anneal=False)
    here.collect(6)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    held = buffer.sample_indices(0)
    buffer.update_weight(held, np.linspace(0.1, 2.0, len(held)))
    learner._iter = 25  # of 100 updates: beta = .4 + .6 / 4
    raw, index = buffer.sample(10)
    batch = learner._preprocess_batch(raw, buffer, index)
    p = buffer.priorities._tree.leaves[index]
    w = (p / p.min()) ** -0.55
    taken = learner.policy.model(batch.obs)[0].gather(1, batch.act[:, None]).squeeze(1).detach().numpy()
    expected = float((w * (batch.returns.flatten().numpy() - taken) ** 2).mean())
    learner.policy.is_within_training_step = True
    assert learner._update_with_batch(batch).loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["idqn", "qmix"])
def test_a_restored_buffer_draws_what_the_whole_one_does(name: str) -> None:
    here, other = (lanes(VectorGame(BRANCHES, 4), name, priority=0.6, seed=seed) for seed in (0, 1))
    here.collect(6)
    for _ in range(4):
        here.update()
    (buffer,), (restored,) = here.buffers.values(), other.buffers.values()
    restored.load_state_dict(buffer.state_dict())
    assert (restored.sample(30)[1] == buffer.sample(30)[1]).all()
    assert (restored.priorities._tree._nodes == buffer.priorities._tree._nodes).all()


PAYDAY_GRID = type(PAYDAY)(**{**PAYDAY.__dict__, "name": "payday_grid", "action_grid": lambda p: {"worker": np.array([[-1.0], [1.0]])}})
