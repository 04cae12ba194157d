"""Hindsight: which rows are relabelled, with what of their own episode's future, what then stands in them; draws resume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import algorithms
import envs
from marl.errors import UserError
from marl.hindsight import HindsightBuffer
from marl.team import parts
from marl.vector import VectorGame
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes

BITS = 5


def flipped(ticks: int, replay: int = 400, **given: Any) -> tuple[Lanes, HindsightBuffer]:
    here = lanes(envs.make("bit_flip", 4, bits=BITS, horizon=6), "idqn", replay=replay, hindsight=4.0, **given)
    here.collect(ticks)
    (buffer,) = here.buffers.values()
    assert isinstance(buffer, HindsightBuffer)
    return here, buffer


def ends(buffer: HindsightBuffer, row: int) -> list[int]:
    """The rows from `row` to its episode's last, by walking."""
    found = [row]
    while not buffer.done[found[-1]] and int(buffer.next(np.array(found[-1]))) != found[-1]:
        found.append(int(buffer.next(np.array(found[-1]))))
    return found


@pytest.mark.parametrize(("ticks", "replay"), [(3, 400), (20, 400), (70, 100)])
def test_goals_are_drawn_uniformly_from_what_the_episode_reached_later(ticks: int, replay: int) -> None:
    """Also where the ring has wrapped, and where an episode goes on."""
    _, buffer = flipped(ticks, replay)
    for row in buffer.sample_indices(0)[::7]:
        later = ends(buffer, int(row))
        counts = np.bincount(buffer.later(np.full(600, row)), minlength=buffer.maxsize)
        assert set(np.flatnonzero(counts)) == set(later)
        assert counts[later].min() > 600 / len(later) - 5 * np.sqrt(600 / len(later))


def test_relabelled_rows_say_what_the_game_would_have_said() -> None:
    _, buffer = flipped(40)
    batch, index = buffer.sample(2_000)
    was = buffer[index]
    goal, own = slice(BITS, None), slice(0, BITS)
    moved = (batch.obs[:, goal] != was.obs[:, goal]).any(1)
    assert 0.6 < moved.mean() < 0.8  # 4 in 5, of which some get the goal that they had
    assert (batch.obs[:, own] == was.obs[:, own]).all() and (batch.obs_next[:, own] == was.obs_next[:, own]).all()
    assert (batch.obs[:, goal] == batch.obs_next[:, goal]).all() and (batch.act == was.act).all()
    reached = (batch.obs_next[:, own] == batch.obs_next[:, goal]).all(1)
    assert (batch.rew == reached - 1.0).all() and (batch.terminated == reached).all()
    assert (batch.truncated == (was.truncated & ~reached)).all() and (
        batch.done == (batch.terminated | batch.truncated | was.truncated)
    ).all()
    assert reached.mean() > 0.2 > 5 * was.terminated.mean()
    assert (buffer[index].obs == was.obs).all()  # what is stored stays


def test_a_game_that_ended_for_another_reason_ends_under_any_goal() -> None:
    """With time limits that end games, the sixth tick is the last whatever the goal: a row of it is not bootstrapped from."""
    here, buffer = flipped(40, time_limit="terminal")
    batch, index = buffer.sample(2_000)
    was, own, goal = buffer[index], slice(0, BITS), slice(BITS, None)
    reached = (batch.obs_next[:, own] == batch.obs_next[:, goal]).all(1)
    solved = (was.obs_next[:, own] == was.obs_next[:, goal]).all(1)
    late = was.terminated & ~solved
    assert (late & ~reached).sum() > 20
    relabelled = (batch.obs[:, goal] != was.obs[:, goal]).any(1)
    assert (batch.terminated[relabelled] == (reached | late)[relabelled]).all() and not batch.truncated.any()
    assert (batch.terminated[~relabelled] == was.terminated[~relabelled]).all()
    (learner,) = here.team.learners.values()
    y = learner._preprocess_batch(batch, buffer, index).returns.flatten().numpy()
    assert y[late] == pytest.approx(batch.rew[late])


def test_targets_are_of_the_relabelled_rows() -> None:
    here, buffer = flipped(40, gamma=0.9)
    (learner,) = here.team.learners.values()
    batch, index = buffer.sample(64)
    rows = {name: batch.__dict__[name].copy() for name in ("obs_next", "rew", "terminated")}
    found = learner._preprocess_batch(batch, buffer, index).returns.flatten()
    net = learner.policy.model(rows["obs_next"])[0].detach().numpy()  # the target network is still the same
    expected = rows["rew"] + 0.9 * net.max(1) * ~rows["terminated"]
    assert found.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_sac_bootstraps_from_relabelled_rows_as_well() -> None:
    """Rows that reach their new goal are worth what they pay, whatever the critics say; the others are not."""
    here = lanes(envs.make("bit_flip", 4, bits=BITS, horizon=6), "isac", hindsight=4.0)
    here.collect(40)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    batch, index = buffer.sample(200)
    over = batch.terminated.copy()
    found = learner._preprocess_batch(batch, buffer, index).returns.flatten().detach().numpy()
    assert over.sum() > 4 * buffer.terminated[index].sum()
    assert (found[over] == 0.0).all() and (found[~over] != -1.0).all()


def test_a_restored_buffer_draws_what_the_whole_one_does() -> None:
    (_, buffer), (_, other) = flipped(40), flipped(3, seed=5)
    other.load_state_dict(buffer.state_dict())
    (a, index), (b, same) = buffer.sample(50), other.sample(50)
    assert (index == same).all() and (a.obs == b.obs).all() and (a.rew == b.rew).all()


@pytest.mark.parametrize(
    ("name", "game", "given", "reward", "message"),
    [
        (
            "idqn",
            BRANCHES,
            {},
            "individual",
            "algorithm.hindsight = 4 for player, whose game declares no goal at these env.weights: legal is 0",
        ),
        ("isac", BRANCHES, {}, "individual", "algorithm.hindsight = 4 for player, whose game declares no goal"),
        ("idqn", "bit_flip", {"n_step": 2}, "individual", "algorithm.n_step = 2 with algorithm.hindsight = 4: legal is 1"),
        ("isac", "bit_flip", {"n_step": 2}, "individual", "algorithm.n_step = 2 with algorithm.hindsight = 4: legal is 1"),
        ("idqn", "bit_flip", {"priority": 0.5}, "individual", "algorithm.hindsight = 4 with algorithm.priority = 0.5: legal is 0"),
        ("idqn", "bit_flip", {"memory": "gru"}, "individual", "algorithm.hindsight = 4 with algorithm.memory = 'gru': legal is 0"),
        ("idqn", "bit_flip", {}, "team_sum", "algorithm.hindsight = 4 with reward = 'team_sum': legal is individual"),
    ],
)
def test_hindsight_that_cannot_be_had_is_refused(name: str, game: Any, given: dict[str, Any], reward: str, message: str) -> None:
    copies = envs.make(game) if isinstance(game, str) else VectorGame(game)
    (part,) = parts(copies, "group", reward=reward).values()
    with pytest.raises(UserError) as error:
        algorithms.load(name)(algorithms.settings_of(name)(hindsight=4.0, **given), part, 10)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_other_weights_of_the_reward_leave_no_goal() -> None:
    """What the goal says is paid would not be what is."""
    assert parts(envs.make("bit_flip", weights={"ticks": 2.0}), "group")["flipper"].aims is None
    assert parts(envs.make("bit_flip"), "group")["flipper"].aims is not None
