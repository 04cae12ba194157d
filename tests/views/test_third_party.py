"""A learner that knows only PettingZoo trains on the view: Stable-Baselines3 through SuperSuit, installed apart from us."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRST = ("torch==2.13.0",)
THEN = (
    "stable-baselines3==2.9.2", "supersuit==3.11.0", "pettingzoo==1.27.0", "gymnasium==1.4.0", "numba==0.68.1", "numpy==2.4.6",
    "pillow==13.0.0",
)  # fmt: skip
"""Versions that work together; torch goes first, or a plain requirement of it brings another build."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new virtual environment with the third party's libraries and without our package."""
    folder = tmp_path_factory.mktemp("third_party") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    for wanted in (FIRST, THEN):
        done = subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return interpreter


def test_stable_baselines_learns_to_bid_the_truth_in_a_second_price_auction(python: Path) -> None:
    """Truthful bidding, a multiple of 1, is dominant there (Vickrey 1961); the policy begins near 0."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", "tests.views.third_party", "second_price_two", "16000"]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["losses"] and all(math.isfinite(value) for value in found["losses"].values())
    assert found["before"]["bid"] < 0.3 and 0.8 < found["after"]["bid"] < 1.2, found
