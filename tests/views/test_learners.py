"""AgileRL, RLlib and Stable-Baselines3 train on the first-price auction's view without a wrapper of ours, in environments of their own.

An environment sees the libraries of the one that runs the tests and, before them, those that its own library wants: so torch is not
installed four times. What cannot be installed is skipped with pip's reason.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = 2_000
WANTED = {
    "stable_baselines": ("stable-baselines3==2.9.2", "supersuit==3.11.0"),
    "lanes": ("stable-baselines3==2.9.2",),
    "rllib": ("ray[rllib]==2.60.0",),
    "agilerl": ("agilerl==2.58.0", "peft"),
}
"""Learner -> what is installed for it; AgileRL asks for peft when it is imported, and does not say so."""

pytestmark = pytest.mark.slow


def environment(folder: Path, wanted: tuple[str, ...]) -> Path:
    """The interpreter of a new environment with these libraries over ours; skips the test where pip refuses."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    ask = [str(interpreter), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (own / "zz_beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-warn-conflicts", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(wanted)} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return interpreter


@pytest.mark.parametrize("learner", WANTED)
def test_a_learner_trains_on_the_view_as_it_is(learner: str, tmp_path: Path) -> None:
    python = environment(tmp_path / "environment", WANTED[learner])
    given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    command = [str(python), "-m", "tests.views.learners", learner, str(STEPS)]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["steps"] >= STEPS and math.isfinite(found["loss"]), found
