"""`standardise`: rewards less their running mean over their running deviation, however rare they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from marl.vector import VectorGame
from tests.algorithms.test_absent_values import SHIFTS
from tests.lanes import lanes


@pytest.mark.parametrize("name", ["idqn", "vdn", "qmix", "maddpg", "matd3"])
def test_a_rare_reward_keeps_its_size_beside_a_smaller_one(name: str) -> None:
    """One tick in 300 pays, 1 or 3 in turn; episodes of a tick, so that a target is the standardised reward: (r - m) / d.

    m = 2 / 300 and d = .129, so that 3 stands at 23 deviations, thrice as far as 1.
    """
    here = lanes(VectorGame(SHIFTS, 100, n_agents=2, horizon=1), name, reward="team_sum", standardise=True, replay=6_000)
    here.collect(30)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    rare = np.zeros(3_000, np.float32)
    rare[::300] = np.tile([1.0, 3.0], 5)
    buffer.rew[:] = np.tile(rare, 2)
    raw, index = buffer[np.arange(3_000)], np.arange(3_000)
    own: Any = learner
    batch = own._preprocess_batch(buffer.team_rows(index) if buffer.central else raw, buffer, index)  # type: ignore[attr-defined]
    with torch.no_grad():
        y = (own._targets(batch) if buffer.central else batch.returns).flatten().numpy()
    mean, deviation = rare.mean(), rare.std()
    assert y[[1, 0, 300]] == pytest.approx((np.array([0.0, 1.0, 3.0]) - mean) / deviation, rel=1e-3)
    assert y[300] > 20.0
