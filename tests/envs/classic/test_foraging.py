"""Foraging against lbforaging 2.0 on identical states and actions, what it draws at the start, and the two rules of food levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lbforaging.foraging import ForagingEnv

import envs
from envs.classic.foraging import FORAGING, LOAD, gather
from marl import UserError
from marl.vector import VectorGame

SETTINGS: dict[str, dict[str, Any]] = {
    "coop": {"preset": "8x8-2p-2f-coop"},
    "sight": {"preset": "2s-8x8-2p-2f-coop"},
    "crowd": {"size": 6, "n_agents": 5, "n_food": 3, "sight": 1, "penalty": 0.1, "max_level": 3},
    "window": {"size": 9, "n_agents": 4, "n_food": 3, "sight": 4, "max_food_level": 2, "horizon": 30},
}


def original(copies: VectorGame) -> ForagingEnv:
    p: Any = copies.params
    return ForagingEnv(
        players=p.n_agents,
        min_player_level=1,
        max_player_level=p.max_level,
        min_food_level=1,
        max_food_level=p.max_food_level or None,
        field_size=(p.size, p.size),
        max_num_food=p.n_food,
        sight=p.sight,
        max_episode_steps=p.horizon,
        force_coop=p.coop,
        penalty=p.penalty,
    )


def placed(env: ForagingEnv, copies: VectorGame, b: int) -> Any:
    """Put the original into the state of copy b at the start of an episode; returns what its agents see."""
    env.reset(seed=0)
    s = copies.world
    for a, player in enumerate(env.players):
        player.setup((int(s.row[b, a]), int(s.column[b, a])), int(s.level[b, a]), env.field_size)
    env.field[:] = 0
    env.field[s.food_row[b], s.food_column[b]] = s.food_level[b]
    env._food_spawned = env.field.sum()
    env._gen_valid_moves()
    return env._make_gym_obs()


def decide(copies: VectorGame, generator: np.random.Generator) -> np.ndarray:
    """Random moves in every other copy; in the rest agents gather, which loads food and lets them meet."""
    drawn = generator.integers(0, 6, copies.action.shape).astype(float)
    rows = copies.obs.reshape(-1, copies.obs.shape[2])
    drawn[::2] = gather(copies.params, rows, generator).reshape(drawn.shape)[::2]
    return drawn


def compare(copies: VectorGame, seed: int) -> dict[str, int]:
    """Play an episode of every copy beside an original each: all must agree. Returns how often what happened."""
    copies.reset(seed)
    originals = [original(copies) for _ in range(copies.n_envs)]
    for b, env in enumerate(originals):
        np.testing.assert_array_equal(placed(env, copies, b), copies.obs[b])
    generator, over, seen = (
        np.random.default_rng(seed),
        np.zeros(copies.n_envs, bool),
        {"loaded": 0, "eaten": 0, "cut": 0, "fined": 0, "met": 0},
    )
    for t in range(copies.params.horizon):
        action = decide(copies, generator)
        copies.step(action)
        for b in np.flatnonzero(~over):
            obs, rewards, ended, _, _ = originals[b].step(action[b, :, 0].astype(int).tolist())
            np.testing.assert_array_equal(obs, copies.final_obs[b], err_msg=f"copy {b}, tick {t}")
            np.testing.assert_allclose(copies.reward[b], rewards, rtol=1e-6)
            assert copies.components[b, 0, 1] == pytest.approx(sum(rewards))
            left = originals[b].field.sum()
            assert ended == (copies.status[b] != 0) and copies.status[b] == (1 if left == 0 else 2 if ended else 0)
            over[b] = ended
            seen["loaded"] += int(max(rewards) > 0)
            seen["eaten"] += int(left == 0)
            seen["cut"] += int(copies.status[b] == 2)
            seen["fined"] += int(min(rewards) < 0)
            seen["met"] += int(len({player.position for player in originals[b].players}) < len(rewards))
    assert over.all()
    return seen


@pytest.mark.parametrize("setting", SETTINGS)
def test_foraging_is_lbforagings(setting: str) -> None:
    seen = compare(envs.make("foraging", 24, **SETTINGS[setting]), seed=2)
    assert seen["loaded"] > 0 and seen["cut"] > 0 and (seen["eaten"] > 0 or setting == "sight"), seen
    assert (seen["fined"] > 0) == (setting == "crowd"), seen
    assert setting != "crowd" or seen["met"] > 0, "the case of two agents in one cell was not compared"


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_thousand_episodes_are_lbforagings(setting: str) -> None:
    for seed in range(10):
        compare(envs.make("foraging", 100, **SETTINGS[setting]), seed)


def starts(n: int, **given: Any) -> VectorGame:
    copies = envs.make("foraging", n, **given)
    copies.reset(0)
    return copies


@pytest.mark.parametrize("setting", ["coop", "crowd", "window"])
def test_starts_are_drawn_as_lbforagings(setting: str) -> None:
    """Frequencies of food per cell, food levels, and levels and rows of agents, within five standard errors of 1,500 starts."""
    copies, n = starts(20_000, **SETTINGS[setting]), 1500
    env, p, s = original(copies), copies.params, copies.world
    ours = np.zeros((3, max(p.size**2, p.highest + 1)))
    np.add.at(ours[0], (s.food_row * p.size + s.food_column)[s.food_level > 0], 1)
    np.add.at(ours[1], s.food_level[s.food_level > 0], 1)
    np.add.at(ours[2], (s.row * p.size + s.column).reshape(-1), 1)
    theirs, strength = np.zeros_like(ours), 0
    env.reset(seed=5)
    for _ in range(n):
        env.reset()
        np.add.at(theirs[0], np.flatnonzero(env.field), 1)
        np.add.at(theirs[1], env.field[env.field > 0], 1)
        np.add.at(theirs[2], [player.position[0] * p.size + player.position[1] for player in env.players], 1)
        strength += sum(player.level for player in env.players)
    rate = ours / copies.n_envs
    assert np.all(np.abs(theirs / n - rate) < 5 * np.sqrt((rate + 1e-3) / n))
    assert strength / n == pytest.approx(s.level.sum(1).mean(), abs=0.15)


def test_the_two_rules_of_food_levels() -> None:
    """v3 draws a food's level up to the sum of the three weakest agents, v2 only below it; food that needs all has that sum."""
    for rule, apart in (("v3", 0), ("v2", 1)):
        s = starts(4000, food_levels=rule).world
        top = s.level.sum(1)
        assert (s.food_level.max(1) <= np.maximum(top - apart, 1)).all()
        assert set((top[:, None] - s.food_level)[top == 4].ravel()) == set(range(apart, 4))
    assert (starts(50, food_levels="v2", coop=True).world.food_level == starts(50, coop=True).world.level.sum(1)[:, None]).all()
    s = starts(500, n_agents=4, coop=True, max_level=5).world
    np.testing.assert_array_equal(s.food_level[:, 0], np.sort(s.level, 1)[:, :3].sum(1))


def test_food_is_shared_by_level() -> None:
    copies = starts(1, n_food=1, coop=True, max_level=5)
    s = copies.world
    first = s.level[0].tolist()
    s.row[0], s.column[0], s.food_row[0], s.food_column[0] = [3, 4], [4, 3], 4, 4
    copies.step(np.full((1, 2, 1), LOAD))
    levels = np.array(first)
    np.testing.assert_allclose(copies.reward[0], levels / levels.sum(), rtol=1e-6)
    assert copies.components[0, 0, 1] == 1 and copies.status[0] == 1 and copies.metrics[0, 0, 1] == 1


def test_the_scripted_forager_eats_all() -> None:
    copies, generator = starts(200, preset="8x8-2p-2f-coop"), np.random.default_rng(0)
    eaten = np.full(200, np.nan)
    for _ in range(50):
        copies.step(gather(copies.params, copies.obs.reshape(400, -1), generator).reshape(200, 2, 1))
        ended = (copies.status != 0) & np.isnan(eaten)
        eaten[ended] = copies.metrics[ended, 0, 1]
    assert eaten.mean() > 0.95


def test_too_many_agents_are_refused() -> None:
    with pytest.raises(UserError, match="n_agents = 13 agents: legal are at most 12, half the cells"):
        FORAGING.make_params(size=5, n_agents=13)
