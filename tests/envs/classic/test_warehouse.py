"""The warehouse against rware 2.0 on identical states, actions and draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from rware.warehouse import Direction, RewardType, Warehouse

import envs
from envs.classic.warehouse import FORWARD, NEXT, TOGGLE, WAREHOUSE
from marl import UserError
from marl.vector import VectorGame
from tests.envs.addressed import draws_of

SETTINGS: dict[str, dict[str, Any]] = {
    "tiny": {"preset": "tiny-2ag"},
    "three": {"n_agents": 3, "column_height": 1, "shelf_columns": 1, "shelf_rows": 2, "sensor_range": 2, "requests": 1, "horizon": 300},
}


class Drawn:
    """Stands in for the original's generator: chooses by the numbers of the copy."""

    def __init__(self, key: int) -> None:
        self.numbers, self.tick, self.count = draws_of(key), 0, 0

    def choice(self, candidates: Sequence[Any]) -> Any:
        number = self.numbers(self.tick, NEXT, (4,))[self.count]
        self.count += 1
        return candidates[int(len(candidates) * number)]


def placed(copies: VectorGame, b: int) -> Warehouse:
    """An original in the state of copy b at the start of an episode."""
    p: Any = copies.params
    sizes = (p.shelf_columns, p.column_height, p.shelf_rows, p.n_agents, 0, p.sensor_range, p.requests, None, p.horizon)
    env = Warehouse(*sizes, RewardType.INDIVIDUAL)
    env.reset(seed=0)
    s = copies.world
    assert env.grid_size == (p.height, p.width) and [shelf.y * p.width + shelf.x for shelf in env.shelfs] == list(p.tables()["home"])
    for a, agent in enumerate(env.agents):
        agent.y, agent.x = divmod(int(s.cell[b, a]), p.width)
        agent.dir = list(Direction)[s.facing[b, a]]
    env.request_queue = [env.shelfs[k] for k in s.queue[b]]
    env._recalc_grid()
    env._np_random = Drawn(int(s.key[b]))  # type: ignore[assignment]
    return env


def decide(copies: VectorGame, generator: np.random.Generator) -> np.ndarray:
    """Mostly forward, so that robots meet; a shelf is lifted where one stands, and then seldom put down."""
    drawn = generator.choice(5, p=[0.05, 0.6, 0.15, 0.15, 0.05], size=copies.action.shape)
    s = copies.world
    stands = np.take_along_axis(s.shelf, s.cell, 1) > 0
    drawn[(s.load == 0) & stands & (generator.random(stands.shape) < 0.5)] = TOGGLE
    return drawn.astype(float)


def compare(copies: VectorGame, seed: int) -> dict[str, int]:
    copies.reset(seed)
    originals = [placed(copies, b) for b in range(copies.n_envs)]
    generator, seen = np.random.default_rng(seed), {"delivered": 0, "blocked": 0, "carried": 0}
    for b, env in enumerate(originals):
        np.testing.assert_array_equal([env._make_obs(agent) for agent in env.agents], copies.obs[b])
    for t in range(copies.params.horizon):
        action = decide(copies, generator)
        copies.step(action)
        for b, env in enumerate(originals):
            env.np_random.tick, env.np_random.count = t, 0
            before = [(agent.x, agent.y, agent.carrying_shelf) for agent in env.agents]
            obs, rewards, ended, _, _ = env.step(action[b, :, 0].astype(int).tolist())
            np.testing.assert_array_equal(obs, copies.final_obs[b], err_msg=f"copy {b}, tick {t}")
            np.testing.assert_array_equal(rewards, copies.reward[b])
            assert (copies.components[b, :, 1] == sum(rewards)).all()
            assert copies.status[b] == (2 if ended else 0) and ended == (t + 1 == copies.params.horizon)
            seen["delivered"] += int(sum(rewards))
            stood = [(a.x, a.y) == was[:2] for a, was in zip(env.agents, before)]
            seen["blocked"] += sum(s and m == FORWARD for s, m in zip(stood, action[b, :, 0]))
            seen["carried"] += sum(was[2] is not None and not s for was, s in zip(before, stood))
    return seen


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_warehouse_is_rwares(setting: str) -> None:
    copies = envs.make("warehouse", 6, **SETTINGS[setting])
    seen = compare(copies, seed=1)
    assert seen["blocked"] > 0 and seen["carried"] > 0 and (seen["delivered"] > 0 or setting == "tiny"), seen
    assert copies.metrics[:, 0, 1].sum() == seen["delivered"]


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_thousand_episodes_are_rwares(setting: str) -> None:
    for seed in range(20):
        compare(envs.make("warehouse", 50, **{**SETTINGS[setting], "horizon": 100}), seed)


def test_starts_are_uniform() -> None:
    copies = envs.make("warehouse", 20_000)
    copies.reset(0)
    s, p = copies.world, copies.params
    cells, shelves = np.bincount(s.cell.ravel(), minlength=p.cells), np.bincount(s.queue.ravel(), minlength=p.shelves)
    for counts in (cells, shelves, np.bincount(s.facing.ravel())):
        mean = 40_000 / len(counts)
        assert np.abs(counts - mean).max() < 5 * np.sqrt(mean)
    assert (s.cell[:, 0] != s.cell[:, 1]).all() and (s.queue[:, 0] != s.queue[:, 1]).all()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"shelf_columns": 2}, "shelf_columns = 2: legal are odd numbers"),
        ({"requests": 40}, "requests = 40 shelves: legal are at most"),
        (
            {"n_agents": 32, "column_height": 1, "shelf_columns": 1, "shelf_rows": 2, "requests": 1},
            "n_agents = 32 robots: legal are at most",
        ),
    ],
)
def test_impossible_layouts_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        WAREHOUSE.make_params(**given)
