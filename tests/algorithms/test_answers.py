"""Every algorithm learns a known answer in a minute of one core: archers aim, and two players take branches (tests.aim, tests.branches).

The best archer looks at x and loses 0, one that does not look 1/12. The best branch is worth 7 to a sum of values, 8 to whoever
sees that both must take part, and 8 is each player's own best where the safe branch pays nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

import algorithms
from marl.game import Game
from marl.schedule import Schedule
from marl.train import Run
from marl.vector import VectorGame
from tests.aim import AIM
from tests.branches import BRANCHES

LIMIT = 60.0
"""Seconds of one core in which an answer is learned."""
REPLAYED: dict[str, Any] = {"warm_up": 500, "lr": 2e-3, "batch": 64, "anneal": True}
ROLLED: dict[str, Any] = {"rollout": 4, "lr": 5e-3}
AIMED: dict[str, dict[str, Any]] = {
    "ippo": {"rollout": 16, "lr": 3e-3},
    "ia2c": ROLLED,
    "reinforce": {"rollout": 8, "lr": 5e-3},
    "isac": REPLAYED,
    "itd3": REPLAYED,
    "idqn": {**REPLAYED, "epsilon_steps": 5_000},
    "rainbow": {**REPLAYED, "updates": 2, "noise": 0.1, "lowest": -1.0, "highest": 0.0},
    "mappo": {"rollout": 16, "lr": 3e-3},
    "maddpg": REPLAYED,
    "matd3": REPLAYED,
}
"""What differs from the defaults where archers aim; the best of eleven arrows misses by .0008 on average, squared."""


def learned(
    game: Game,
    name: str,
    folder: Path,
    steps: int,
    seed: int = 0,
    params: dict[str, Any] | None = None,
    reward: str = "individual",
    **given: Any,
) -> float:
    """Mean return of the last policies over 256 evaluation episodes, after so many env steps; asserts that these took under `LIMIT`."""
    torch.set_num_threads(1)
    began = time.process_time()
    run = Run(
        lambda stage, n: VectorGame(game, n, **(params or {})),
        algorithms.load(name),
        algorithms.settings_of(name)(hidden=[32, 32], gamma=0.99, **given),
        Schedule(total=steps, evaluation_every=steps, checkpoint_every=steps, evaluation_episodes=256),
        seed=seed,
        n_envs=16,
        folder=folder,
        reward=reward,
    )
    run.start()
    run.run()
    seconds = time.process_time() - began
    print(f"{name} on {game.name}: {seconds:.1f} s")
    assert seconds < LIMIT
    return float(run.judge(256).evaluation.by_episode.mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", AIMED)
def test_archers_learn_to_aim(name: str, tmp_path: Path) -> None:
    """A policy that does not look at x loses 1/12 = .083 at best; exploration and the temperature leave some of that."""
    assert learned(AIM, name, tmp_path, 20_000, **AIMED[name]) > -0.01


EXPLORED: dict[str, Any] = {"warm_up": 500, "lr": 5e-3, "batch": 64, "epsilon_end": 1.0, "tau": 0.05, "anneal": True}
"""Every choice is tried as often as any other, whatever is learned, so that both answers are exact."""
MIXED = {"vdn": 7.0, "qmix": 8.0}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("name", "answer"), MIXED.items())
def test_a_monotonic_mixture_takes_the_branch_that_a_sum_cannot_value(name: str, answer: float, seed: int, tmp_path: Path) -> None:
    """VDN 7, QMIX 8 (Rashid et al. 2018, the two-step game)."""
    assert learned(BRANCHES, name, tmp_path, 10_000, seed, reward="team_mean", **EXPLORED) == answer


FOUND: dict[str, dict[str, Any]] = {
    "ippo": {"rollout": 8, "lr": 3e-3},
    "ia2c": ROLLED,
    "mappo": {"rollout": 8, "lr": 3e-3, "reward": "team_mean"},
    "idqn": {**REPLAYED, "epsilon_steps": 4_000},
    "rainbow": {**REPLAYED, "lowest": 0.0, "highest": 10.0},
    "maddpg": REPLAYED,
    "matd3": REPLAYED,
    "isac": {**REPLAYED, "alpha": 0.05},
    "reinforce": {"rollout": 8, "lr": 5e-3},
}
ANSWERED = {*AIMED, *MIXED, *FOUND}
"""Algorithms that are asked here."""
ELSEWHERE = {"ippo_lagrangian": "tests/algorithms/test_lagrangian.py", "hybrid": "tests/algorithms/test_hybrid.py"}
"""Those whose answer is that of another problem -> the tests that ask for it."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "given"), FOUND.items())
def test_the_others_find_the_branch_that_pays_where_the_safe_one_does_not(name: str, given: dict[str, Any], tmp_path: Path) -> None:
    """With nothing on the safe branch choice 1 is each agent's best whatever the other does: 8."""
    assert learned(BRANCHES, name, tmp_path, 10_000, params={"safe": 0.0}, **given) == 8.0
