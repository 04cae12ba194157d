"""What hindsight is for: rows of bits that a learner at random never turns into the goal (Andrychowicz et al. 2017)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import algorithms
import envs
from marl.schedule import Schedule
from marl.train import Run

BITS = 12
LEARNING: dict[str, Any] = {
    "hidden": [128], "gamma": 0.98, "lr": 1e-3, "batch": 128, "updates": 4, "warm_up": 500, "target": 50, "epsilon_end": 0.1,
    "epsilon_steps": 10_000,
}  # fmt: skip


def reached(hindsight: float, folder: Path) -> float:
    """Share of 256 evaluation episodes that ended at the goal, after 24,000 env steps. By chance one in 4,096 rows is the goal."""
    torch.set_num_threads(1)
    run = Run(
        lambda stage, n: envs.make("bit_flip", n, bits=BITS, horizon=BITS),
        algorithms.load("idqn"),
        algorithms.settings_of("idqn")(hindsight=hindsight, **LEARNING),
        Schedule(total=24_000, evaluation_every=24_000, checkpoint_every=24_000, evaluation_episodes=256),
        seed=0,
        n_envs=16,
        folder=folder,
    )
    run.start()
    run.run()
    return float(json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["evaluation/reached"])


@pytest.mark.slow
def test_with_hindsight_every_goal_is_reached(tmp_path: Path) -> None:
    assert reached(4.0, tmp_path) > 0.95


@pytest.mark.slow
def test_without_it_none_is_with_the_same_budget(tmp_path: Path) -> None:
    assert reached(0.0, tmp_path) < 0.05
