"""The draws of one copy of a compiled game, for plain-Python twins of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from marl import rng


class Address(NamedTuple):
    key: Any
    episode: Any
    t: Any


def draws_of(key: int, episode: int = 0) -> Any:
    """draws(tick, purpose, shape): the numbers of the copy with this key in row-major order."""

    def draws(tick: int, purpose: int, shape: tuple[int, ...]) -> Any:
        address = Address(np.array([key], np.uint64), np.array([episode]), np.array([tick]))
        stream = rng.stream(address, 0, purpose)
        return _row(np.uint64(stream), int(np.prod(shape))).reshape(shape)

    return draws


def _row(stream: Any, count: int) -> Any:
    with np.errstate(over="ignore"):
        words = np.uint64(stream) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * rng.GAMMA
        words = (words ^ (words >> rng.S30)) * rng.FIRST
        words = (words ^ (words >> rng.S27)) * rng.SECOND
        words = words ^ (words >> rng.S31)
    return (words >> rng.S11) * rng.UNIT
