"""Raw speed of classic games, one thread, 1,024 copies, the actions drawn anew for every tick."""

from __future__ import annotations

import numpy as np

import envs
from marl.game import Discrete
from tests.speed.measure import Rate, rate

COPIES, TICKS = 1_024, 200
BOUNDS = {"spread": 5.0e6, "foraging": 2.0e6}
"""Env steps a CPU second, at least."""


def raw(name: str) -> Rate:
    """Ticks of all copies with uniform choices of every agent."""
    copies = envs.make(name, COPIES)
    copies.reset(0)
    generator = np.random.default_rng(0)
    ((column,),) = (view.group.action.values() for view in copies.groups.values())
    assert isinstance(column, Discrete)

    def play() -> None:
        for _ in range(TICKS):
            copies.step(generator.integers(column.k, size=copies.action.shape, dtype=np.int32).astype(np.float64))

    return rate(f"{name}, {COPIES:,} copies, actions drawn", play, float(TICKS * COPIES), unit="env steps", at_least=BOUNDS[name])
