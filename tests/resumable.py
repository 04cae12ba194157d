"""A small training run as a program of its own, for tests that kill it: `python -m tests.resumable ALGORITHM FOLDER SEED [SECONDS]`.

ALGORITHM-curriculum learns among random rivals in two stages that take turns, ALGORITHM-gru (-lstm, -attention) with memory.
With SECONDS, every row waits so long, so that a kill can be aimed at a moment between two rows.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

import algorithms
from curricula import Curriculum, Stage
from marl.game import Game
from marl.schedule import Progress, Schedule
from marl.train import Run
from marl.vector import VectorGame
from tests.commons import COMMONS
from tests.lanes import paid
from tests.riddles import BARGAIN

SETTINGS: dict[str, dict[str, Any]] = {
    "ippo": {"rollout": 8, "return_scaling": True},
    "ippo_lagrangian": {"rollout": 8, "cost_limit": 5.0, "derivative": 0.1},
    "isac": {"rollout": 2, "replay": 2_000, "warm_up": 300, "batch": 64},
    "ia2c": {"rollout": 8, "return_scaling": True},
    "reinforce": {"rollout": 16},
    "idqn": {"rollout": 2, "replay": 2_000, "warm_up": 300, "batch": 64, "target": 7, "epsilon_steps": 3_000, "dueling": True},
    "rainbow": {"rollout": 2, "replay": 2_000, "warm_up": 300, "batch": 32, "target": 7, "lowest": -5.0, "highest": 60.0},
    "itd3": {"rollout": 2, "replay": 2_000, "warm_up": 300, "batch": 64, "delay": 3},
    "mappo": {"rollout": 8},
    "vdn": {"dueling": True, "rollout": 2, "replay": 2_000, "warm_up": 300, "batch": 32, "epsilon_steps": 3_000, "target": 3},
    "qmix": {
        "rollout": 2,
        "replay": 2_000,
        "warm_up": 300,
        "batch": 32,
        "epsilon_steps": 3_000,
        "standardise": True,
        "priority": 0.6,
        "n_step": 2,
    },
    "maddpg": {"rollout": 2, "replay": 2_000, "warm_up": 300, "batch": 32},
    "matd3": {"rollout": 2, "replay": 2_000, "warm_up": 300, "batch": 32, "delay": 3},
    "hybrid": {"rollout": 8, "replay": 500, "batch": 32, "target": 7, "epsilon_steps": 3_000},
}
"""What differs from the defaults, so that normalisers, warm-up and a full ring are all passed within seconds."""

MEMORIES = ("gru", "lstm", "attention")
UNREMEMBERED = ("priority", "n_step")
"""Settings that are left at their defaults with memory, whose sequences are drawn uniformly."""


def served(name: str) -> Game:
    """A game whose actions the algorithm learns."""
    return BARGAIN if algorithms.settings_of(name).serves == "mixed" else COMMONS


def stages() -> Curriculum:
    """Every evaluation that 1,000 steps have passed before leads on or back."""
    easy = Stage("easy", {"growth": 1.0}, promote=-1e9, on="return", window=1, minimum_steps=1_000)
    return Curriculum([easy, Stage("hard", {"growth": 0.125}, demote=1e9, on="return", window=1, minimum_steps=1_000)])


def main(name: str, folder: Path, seed: int, pause: float = 0.0) -> None:
    """Start the run in `folder`, or resume what stands there. Episodes of 13 ticks end within rollouts."""
    torch.set_num_threads(1)
    name, _, kind = name.partition("-")
    given = SETTINGS.get(name, {})
    if kind in MEMORIES:
        given = {key: value for key, value in given.items() if key not in UNREMEMBERED}
        given |= {"memory": kind, "memory_width": 8, "memory_length": 4, "sequence": 4}
    settings = algorithms.settings_of(name)(lr=1e-3, hidden=[16], **given)
    game, size = served(name), {"n_agents": 3}
    if game is COMMONS:
        size["horizon"] = 13
    elif kind in MEMORIES:
        size["delay"] = 2

    def watch(_: Progress) -> None:
        time.sleep(pause)

    run = Run(
        lambda stage, n: VectorGame(game, n, **size, **stage),
        algorithms.load(name),
        settings,
        Schedule(total=6_000, evaluation_every=900, evaluation_episodes=4, checkpoint_every=700),
        seed=seed,
        n_envs=4,
        folder=folder,
        reward=paid(name),
        watch=watch,
        **({"curriculum": stages(), "rivals": "random"} if kind == "curriculum" else {}),
    )
    run.resume()
    print(run.run().ended)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:]))
