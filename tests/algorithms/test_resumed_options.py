"""Options that carry something from update to update: a run that is broken and resumed under each is the whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import algorithms
from algorithms.settings import Replayed
from marl.schedule import Schedule
from tests.marl.test_resume import assert_equal_runs
from tests.marl.test_run import broken, done

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("ippo", {"entropy": 0.1, "entropy_end": 0.0}),
    ("ippo", {"entropy": 0.1, "entropy_target": 0.5}),
    ("mappo", {"entropy": 0.1, "entropy_target": 0.5}),
    ("ippo", {"log_std_end": -3.0}),
    ("mappo", {"log_std_end": -3.0}),
    ("ippo", {"cvar": 0.3, "cvar_episodes": 5}),
    ("mappo", {"cvar": 0.3, "cvar_episodes": 5}),
    *((name, {"normalise_observations": True}) for name in ("ippo", "mappo", "isac", "qmix", "maddpg")),
    ("ippo", {"memory": "gru", "normalise_observations": True, "cvar": 0.3, "entropy": 0.1, "entropy_target": 0.5}),
    ("mappo", {"critic": "pooled"}),
    ("mappo", {"critic": "attention", "heads": 2}),
    ("ippo_lagrangian", {"cost_limit": 0.1, "proportional": 0.5, "derivative": 0.5, "return_scaling": True}),
]


@pytest.mark.parametrize(("name", "own"), OPTIONS, ids=lambda x: x if isinstance(x, str) else "-".join(x))
def test_a_broken_run_is_the_whole_run(name: str, own: dict[str, Any], tmp_path: Path) -> None:
    epoch = 256 if issubclass(algorithms.settings_of(name), Replayed) else 8  # steps: off-policy 128 ticks, on-policy a rollout
    plan = Schedule(8 * epoch, evaluation_every=3 * epoch, evaluation_episodes=4, checkpoint_every=2 * epoch)
    given = {"schedule": plan, "name": name, "own": own}
    done(tmp_path / "whole", **given)
    broken(tmp_path / "broken", [epoch, 3 * epoch, 5 * epoch], **given)
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")
