"""A trajectory does not depend on how many copies are stepped beside it, nor on how many threads step them."""

from __future__ import annotations

import hashlib
from typing import Any

import numba
import numpy as np
import pytest

import envs
from marl.vector import VectorGame

COPIES, COPY, TICKS = 64, 37, 500
THREADS = pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was given one thread")


def trajectory(game: VectorGame, first: int, rows: slice) -> str:
    """Digest of all that the named copies show over `TICKS` ticks under actions that depend on copy and tick alone."""
    game.reset(seed=11, first=first)
    low, high = game._low, game._high
    digest = hashlib.sha256()
    for tick in range(TICKS):
        draws = np.stack([np.random.default_rng((first + b, tick)).random(low.shape) for b in range(game.n_envs)])
        game.step(low + (high - low) * (1.2 * draws - 0.1))
        shown: list[Any] = [game.obs, game.final_obs, game.reward, game.components, game.cost, game.status, game.alive, game.metrics]
        for array in shown:
            digest.update(np.ascontiguousarray(array[rows]).tobytes())
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(envs.GAMES))
def test_one_copy_equals_copy_37_of_64(name: str) -> None:
    alone = trajectory(envs.make(name, 1), COPY, slice(0, 1))
    among = trajectory(envs.make(name, COPIES), 0, slice(COPY, COPY + 1))
    print(f"{name}: B=1 {alone[:16]}, copy {COPY} of B={COPIES} {among[:16]}")
    assert alone == among


@THREADS
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(envs.GAMES))
def test_two_threads_equal_one(name: str) -> None:
    one, two = (trajectory(envs.make(name, 2 * COPIES, threads=n), 0, slice(None)) for n in (1, 2))
    print(f"{name}: one thread {one[:16]}, two {two[:16]}")
    assert one == two
