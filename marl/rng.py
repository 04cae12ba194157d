"""Randomness that is addressed, not consumed: a draw is a hash of (key of the copy, episode, tick, purpose, i).

So copy b replays alone at any batch size and thread count, a counterfactual action meets the same draws, and what
happens at tick t cannot depend on how often somebody drew before. The hash is SplitMix64 (Steele, Lea and Flood
2014, "Fast splittable pseudorandom number generators"): its finaliser over each part of the address, then its
sequence over i.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from marl.errors import UserError

U = np.uint64
GAMMA, BY_EPISODE, BY_TICK, BY_PURPOSE = U(0x9E3779B97F4A7C15), U(0xD6E8FEB86659FD93), U(0xA0761D6478BD642F), U(0xD1B54A32D192ED03)
FIRST, SECOND = U(0xBF58476D1CE4E5B9), U(0x94D049BB133111EB)
S30, S27, S31, S11 = U(30), U(27), U(31), U(11)
UNIT = 1.0 / (1 << 53)
TWO_PI = 2.0 * math.pi


@njit(inline="always")
def mix(x):
    """SplitMix64's finaliser, a bijection of 64-bit words."""
    x = (x ^ (x >> S30)) * FIRST
    x = (x ^ (x >> S27)) * SECOND
    return x ^ (x >> S31)


@njit(inline="always")
def stream_at(s, b, t, purpose):
    """The stream of copy b for `purpose` at tick t of its present episode: read it with `draw`."""
    of_episode = mix(s.key[b] + U(s.episode[b]) * BY_EPISODE)
    return mix(mix(of_episode + U(t) * BY_TICK) + U(purpose) * BY_PURPOSE)


@njit(inline="always")
def stream(s, b, purpose):
    """The stream of copy b for `purpose` at the present tick."""
    return stream_at(s, b, s.t[b], purpose)


@njit(inline="always")
def bits(stream, i):
    """64 random bits: word i of the stream."""
    return mix(stream + (U(i) + U(1)) * GAMMA)


@njit(inline="always")
def draw(stream, i):
    """Uniform on [0, 1), 53 bits: number i of the stream."""
    return (bits(stream, i) >> S11) * UNIT


@njit(inline="always")
def uniform(s, b, purpose, i):
    """Uniform on [0, 1): number i of copy b for `purpose` at the present tick."""
    return draw(stream(s, b, purpose), i)


@njit(inline="always")
def gaussian(stream, i):
    """Standard normal by Box and Muller (1958) from numbers 2i and 2i + 1 of the stream."""
    radius = math.sqrt(-2.0 * math.log(1.0 - draw(stream, 2 * i)))
    return radius * math.cos(TWO_PI * draw(stream, 2 * i + 1))


@njit(inline="always")
def normal(s, b, purpose, i):
    """Standard normal: number i of copy b for `purpose` at the present tick."""
    return gaussian(stream(s, b, purpose), i)


Address = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Key, episode and tick [B] of copies: where in their draws they stand."""
COARSE = 1 << 23
"""Parts of the unit interval in which `uniforms` lie, each in the middle of one: float32 holds them, and none is 0 or 1."""


def uniforms(address: Address, purpose: str, lo: int, hi: int, width: int) -> npt.NDArray[np.float32]:
    """Uniform numbers in (0, 1), [B, hi - lo, width]: `width` of each of the agents lo .. hi - 1, for a purpose outside the rules.

    The stream is that of `stream_at`; rules number their purposes from 0, those of others are hashes of a name.
    """
    key, episode, tick = (np.asarray(x).astype(np.uint64) for x in address)
    with np.errstate(over="ignore"):
        word: Any = mix.py_func if hasattr(mix, "py_func") else mix
        at = word(word(word(key + episode * BY_EPISODE) + tick * BY_TICK) + U(zlib.crc32(purpose.encode())) * BY_PURPOSE)
        number = (np.arange(lo, hi, dtype=np.uint64)[:, None] << U(16)) + np.arange(width, dtype=np.uint64)
        words = word(at[:, None, None] + (number + U(1)) * GAMMA)
    return (((words >> U(41)).astype(np.float64) + 0.5) / COARSE).astype(np.float32)


def _word(seed: int) -> int:
    """A seed as a 64-bit word. Raises UserError where it is no whole number."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise UserError(f"seed = {seed!r}: a whole number is expected")
    return int(seed) % (1 << 64)


def keys(seed: int, first: int, count: int) -> npt.NDArray[np.uint64]:
    """Keys of copies first .. first + count - 1 of a run with this seed, [count]."""
    copies = np.arange(first, first + count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        word: Any = mix.py_func if hasattr(mix, "py_func") else mix
        root = word(np.full(count, _word(seed), np.uint64) + GAMMA)
        return np.asarray(word(root + (copies + U(1)) * GAMMA), np.uint64)


def derive(seed: int, purpose: str) -> int:
    """A seed for another purpose (evaluation, best response) that shares no key with `seed`'s own copies."""
    with np.errstate(over="ignore"):
        word: Any = mix.py_func if hasattr(mix, "py_func") else mix
        return int(word(word(np.array([_word(seed)], np.uint64) + GAMMA) ^ U(zlib.crc32(purpose.encode())))[0] >> U(1))
