"""The game of a cue to remember: whoever has memory answers right, whoever has none as often as it guesses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.classic.memory import MEMORY
from tests.algorithms.test_answers import learned

CUES = 3
GAME: dict[str, Any] = {"cues": CUES, "delay": 4}
PLAIN: dict[str, Any] = {"lr": 3e-3, "memory_width": 32, "memory_length": 8}
ROLLED: dict[str, Any] = {**PLAIN, "rollout": 18, "sequence": 9, "entropy": 0.01}
"""Episodes of five ticks in sequences of nine: what is asked for is mostly shown before the sequence, or before the rollout."""
REPLAYED: dict[str, Any] = {
    **PLAIN,
    "rollout": 4,
    "batch": 320,
    "sequence": 8,
    "burn_in": 4,
    "warm_up": 1_000,
    "replay": 20_000,
    "epsilon_steps": 6_000,
}
LEARNERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "ippo": ("ippo", ROLLED, 15_000),
    "mappo": ("mappo", ROLLED, 15_000),
    "idqn": ("idqn", {**REPLAYED, "target": 50}, 12_000),
    "qmix": ("qmix", {**REPLAYED, "tau": 0.02, "reward": "team_mean"}, 15_000),
}
CASES = [
    ("ippo", "gru"),
    ("ippo", "lstm"),
    ("ippo", "attention"),
    ("mappo", "gru"),
    ("idqn", "gru"),
    ("idqn", "attention"),
    ("qmix", "gru"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("who", "memory"), CASES)
def test_the_cue_is_remembered(who: str, memory: str, tmp_path: Path) -> None:
    name, given, steps = LEARNERS[who]
    assert learned(MEMORY, name, tmp_path, steps, params=GAME, memory=memory, **given) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("who", ["ippo", "idqn"])
def test_without_memory_it_is_guessed(who: str, tmp_path: Path) -> None:
    """1 / cues at best, but for the noise of 256 episodes: three standard errors."""
    name, given, steps = LEARNERS[who]
    noise = 3.0 * np.sqrt((CUES - 1) / CUES**2 / 256)
    assert learned(MEMORY, name, tmp_path, steps, params=GAME, memory="none", **given) < 1 / CUES + noise
