"""Trajectories stay what they were."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.envs.record import CASES, FOLDER, trajectory


@pytest.mark.parametrize("case", CASES)
def test_trajectory_is_the_recorded_one(case: str) -> None:
    recorded, now = json.loads((FOLDER / f"{case}.json").read_text()), trajectory(case)
    for name, values in recorded.items():
        np.testing.assert_allclose(now[name], values, rtol=2e-5, atol=1e-9, err_msg=f"{case}: {name}")
