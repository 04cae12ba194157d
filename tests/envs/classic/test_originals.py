"""The originals of the classic games by the way in for anybody's environment: equal to our copies tick for tick, and trained on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import envs
import experiments
from marl.external import ExternalCopies
from marl.track import read_metrics
from marl.tuples import TupleEnv
from marl.vector import VectorGame
from tests.envs.classic import test_foraging as foraging
from tests.envs.classic import test_warehouse as warehouse


class Placed(gymnasium.Env):
    """An original that every reset puts into the state of copy b of its compiled twin."""

    def __init__(self, copies: VectorGame, b: int) -> None:
        self.copies, self.b = copies, b
        first = foraging.original(copies) if copies.name == "foraging" else warehouse.placed(copies, b)
        self.action_space, self.observation_space = first.action_space, first.observation_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        if self.copies.name == "foraging":
            self.original: Any = foraging.original(self.copies)
            return foraging.placed(self.original, self.copies, self.b), {}
        self.original = warehouse.placed(self.copies, self.b)
        return tuple(self.original._make_obs(agent) for agent in self.original.agents), {}

    def step(self, action: Any) -> Any:
        if self.copies.name == "warehouse":
            self.original.np_random.tick, self.original.np_random.count = self.t, 0
        self.t += 1
        return self.original.step([int(a) for a in action])


@pytest.mark.parametrize(
    ("name", "module", "given"),
    [
        ("foraging", foraging, {"preset": "8x8-2p-2f-coop"}),
        ("foraging", foraging, {"size": 5, "n_food": 1, "n_agents": 2, "horizon": 20}),
        ("warehouse", warehouse, {"preset": "tiny-2ag", "horizon": 60}),
    ],
)
def test_an_original_among_external_copies_is_its_compiled_twin(name: str, module: Any, given: dict[str, Any]) -> None:
    """On equal actions to the end of the first episode: observations, rewards, and how it ended. Copies that ended go on alone."""
    ours = envs.make(name, 8, **given)
    ours.reset(3)
    numbers = iter(range(8))
    horizon = ours.params.horizon
    theirs = ExternalCopies(lambda: TupleEnv(partial(Placed, ours, next(numbers)), name, horizon), 8)
    theirs.reset(0)
    np.testing.assert_array_equal(theirs.obs, ours.obs)
    assert [isinstance(e.env.action_space, spaces.Tuple) for e in theirs._envs] == [True] * 8
    generator, going, paid = np.random.default_rng(1), np.ones(8, bool), 0.0
    for _ in range(horizon):
        action = module.decide(ours, generator)
        ours.step(action)
        theirs.step(action)
        np.testing.assert_array_equal(theirs.final_obs[going], ours.final_obs[going])
        np.testing.assert_allclose(theirs.reward[going], ours.reward[going], rtol=1e-6)
        np.testing.assert_array_equal(theirs.status[going], ours.status[going])
        paid += float(ours.reward[going].sum())
        going &= ours.status == 0
    assert not going.any()
    assert paid > 0.0 or name == "warehouse"


SPREAD = {"env.factory": "mpe2.simple_spread_v3:parallel_env"}
FORAGING = {
    "env.factory": "marl.tuples:parallel_env",
    "env.kwargs": {"name": "lbforaging:Foraging-5x5-2p-1f-coop-v3", "horizon": 50, "fresh": True},
}
WAREHOUSE = {"env.factory": "marl.tuples:parallel_env", "env.kwargs": {"name": "rware:rware-tiny-2ag-v2", "horizon": 500}}
REPLAYED: dict[str, Any] = {"gamma": 0.9, "lr": 1e-3, "rollout": 1, "warm_up": 2_000, "epsilon_steps": 8_000}
ROLLED: dict[str, Any] = {"gamma": 0.9, "lr": 2e-3, "rollout": 25, "epochs": 8, "entropy": 0.003}


def trained(
    folder: Path, env: dict[str, Any], name: str, steps: int, reward: str, settings: dict[str, Any], episodes: int = 64
) -> list[float]:
    """Mean return an agent of a run's evaluations: the first untrained, the last at the end."""
    given = {**env, **{f"algorithm.{key}": value for key, value in settings.items()}}
    evaluation = {"every": steps, "episodes": episodes}
    experiments.train(
        "pettingzoo", name, run_dir=folder, total_steps=steps, n_envs=16, reward=reward, sharing="group", evaluation=evaluation, **given
    )
    return [row["evaluation/return"] for row in read_metrics(folder / "metrics.jsonl") if "evaluation/return" in row]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "reward", "settings"),
    [
        ("ippo", 20_000, "individual", ROLLED),
        ("vdn", 24_000, "team_sum", {**REPLAYED, "batch": 64, "standardise": True}),
        ("qmix", 24_000, "team_sum", {**REPLAYED, "batch": 64, "standardise": True}),
    ],
)
def test_mpe2s_spread_is_learned(name: str, steps: int, reward: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Agents that stand still lose 25.2 each (reproduction's R = -226 less the constant -75, over two and three)."""
    first, last = trained(tmp_path / "run", SPREAD, name, steps, reward, settings)
    assert first < -26.0
    assert last > -23.0


@pytest.mark.slow
def test_lbforaging_is_learned(tmp_path: Path) -> None:
    """All food is half a point each; agents that move at random find a tenth of it."""
    given = {**REPLAYED, "updates": 2, "batch": 128, "warm_up": 1_000, "epsilon_steps": 10_000}
    first, last = trained(tmp_path / "run", FORAGING, "vdn", 24_000, "team_sum", given)
    assert first < 0.1
    assert last > 0.25


@pytest.mark.slow
def test_rware_is_trained_on(tmp_path: Path) -> None:
    """Its reward is too rare to be learned in a test: the run ends, and nobody is paid for what was not delivered."""
    returns = trained(tmp_path / "run", WAREHOUSE, "ippo", 8_000, "individual", {**ROLLED, "rollout": 50}, episodes=4)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert {row["train/length"] for row in rows if "train/length" in row} == {500.0}
    assert min(returns) >= 0.0
    assert all(np.isfinite(row["loss/agent/loss"]) for row in rows if "loss/agent/loss" in row)
