"""Statistics of addressed randomness: every axis of an address (i, tick, purpose, episode, copy, seed) must look independent."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import njit

from marl import rng

N = 1_000_000
AXES = ("i", "tick", "purpose", "episode", "copy")


class World(NamedTuple):
    key: Any
    episode: Any
    t: Any


@njit(error_model="numpy")
def words_along(s, axis, n):  # type: ignore[no-untyped-def]
    """[n] words whose addresses differ along one axis alone."""
    out = np.empty(n, np.uint64)
    for k in range(n):
        b = k if axis == 4 else 0
        s.episode[b] = k if axis == 3 else 2
        t = k if axis == 1 else 5
        stream = rng.stream_at(s, b, t, k if axis == 2 else 3)
        out[k] = rng.bits(stream, k if axis == 0 else 1)
    return out


@njit(error_model="numpy")
def mixed_words(s, episodes, ticks, purposes, numbers):  # type: ignore[no-untyped-def]
    """Words of all copies at every combination of the other coordinates."""
    copies = len(s.key)
    out = np.empty(copies * episodes * ticks * purposes * numbers, np.uint64)
    at = 0
    for b in range(copies):
        for e in range(episodes):
            s.episode[b] = e
            for t in range(ticks):
                for purpose in range(purposes):
                    stream = rng.stream_at(s, b, t, purpose)
                    for i in range(numbers):
                        out[at] = rng.bits(stream, i)
                        at += 1
    return out


@njit(error_model="numpy")
def normals(s, n):  # type: ignore[no-untyped-def]
    out = np.empty(n)
    stream = rng.stream(s, 0, 0)
    for i in range(n):
        out[i] = rng.gaussian(stream, i)
    return out


def world(copies: int, seed: int = 0) -> World:
    return World(rng.keys(seed, 0, copies), np.zeros(copies, np.int64), np.zeros(copies, np.int64))


@pytest.fixture(scope="module")
def along() -> dict[str, np.ndarray[Any, Any]]:
    return {name: words_along(world(N), axis, N) for axis, name in enumerate(AXES)}


def chi_square(counts: np.ndarray[Any, Any]) -> float:
    """Chi-square of equal cells in standard deviations of its law."""
    expected, freedom = counts.sum() / counts.size, counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))


def unit(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (words >> np.uint64(11)) * rng.UNIT


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("shift", [56, 28, 11])
def test_uniform_along_every_axis(along: dict[str, Any], axis: str, shift: int) -> None:
    """256 cells of the top, the middle and the lowest eight bits that a draw uses."""
    counts = np.bincount(((along[axis] >> np.uint64(shift)) & np.uint64(255)).astype(np.int64), minlength=256)
    assert abs(chi_square(counts)) < 5


@pytest.mark.parametrize("axis", AXES)
def test_neighbours_are_uncorrelated_and_jointly_uniform(along: dict[str, Any], axis: str) -> None:
    x = unit(along[axis])
    for lag in (1, 2, 3, 8, 64, 1000):
        assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 5 / math.sqrt(N)
    cells = (x[:-1:2] * 32).astype(np.int64) * 32 + (x[1::2] * 32).astype(np.int64)
    assert abs(chi_square(np.bincount(cells, minlength=1024))) < 5


def test_axes_are_uncorrelated_with_each_other(along: dict[str, Any]) -> None:
    """Number k along one axis says nothing about number k along another: purposes do not echo ticks, copies do not echo episodes."""
    table = np.corrcoef([unit(along[axis]) for axis in AXES])
    assert (np.abs(table - np.eye(len(AXES))) < 5 / math.sqrt(N)).all()


def test_lanes_are_uncorrelated() -> None:
    """64 copies over 20,000 ticks: 2,016 correlations, of which the largest stays within its law."""
    words = mixed_words(world(64), 1, 20_000, 1, 1).reshape(64, 20_000)
    table = np.corrcoef(unit(words)) - np.eye(64)
    assert np.abs(table).max() < 5.5 / math.sqrt(20_000)


def test_one_bit_of_an_address_changes_half_of_the_word() -> None:
    for axis in range(5):
        words = words_along(world(4096), axis, 4096)
        for bit in (1, 16, 2048):
            k = np.arange(4096) ^ bit
            changed = np.bitwise_count(words ^ words[k]).mean()
            assert abs(changed - 32) < 5 * 4 / math.sqrt(2048), (AXES[axis], bit)


BIRTHDAYS = 10_000_000


def spacings_tail(words: np.ndarray[Any, Any]) -> float:
    """Birthday spacings (Marsaglia and Tsang 2002): m birthdays in a year of n = 2^64 days repeat a Poisson number of spacings, with
    mean m^3 / (4 n) = 13.55 for m = 10^7. Returns P(at most as many as here)."""
    m = len(words)
    spacings = np.sort(np.diff(np.sort(words)))
    repeated = min(int((spacings[1:] == spacings[:-1]).sum()), 150)
    mean = m**3 / 4 / 2**64
    return sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(repeated + 1))


@pytest.mark.parametrize("kind", ["one stream", "mixed addresses"])
def test_birthday_spacings(kind: str) -> None:
    words = words_along(world(1, 7), 0, BIRTHDAYS) if kind == "one stream" else mixed_words(world(50, 7), 10, 20, 10, 100)
    assert len(words) == BIRTHDAYS and 1e-6 < spacings_tail(words) < 1 - 1e-6


def test_birthday_spacings_tell_a_weak_generator() -> None:
    """Multiples of 16 (four dead bits), and the bare counter that the hash starts from (a Weyl sequence)."""
    words = words_along(world(1, 7), 0, BIRTHDAYS)
    with np.errstate(over="ignore"):
        weyl = np.arange(BIRTHDAYS, dtype=np.uint64) * rng.GAMMA
    assert spacings_tail(words & ~np.uint64(15)) > 1 - 1e-6
    assert spacings_tail(weyl) > 1 - 1e-6


def test_normals_have_the_moments_and_the_law_of_a_normal() -> None:
    x = normals(world(1, 3), N)
    moments = [x.mean(), x.var() - 1, (x**3).mean(), (x**4).mean() - 3]
    assert (np.abs(moments) < 5 * np.sqrt(np.array([1, 2, 15, 96]) / N)).all()
    cells = np.floor(0.5 * (1 + np.vectorize(math.erf)(x[:200_000] / math.sqrt(2))) * 100).astype(np.int64)
    assert abs(chi_square(np.bincount(cells, minlength=100))) < 5
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 5 / math.sqrt(N)


def test_keys_address_the_run_and_the_copy() -> None:
    np.testing.assert_array_equal(rng.keys(5, 0, 64)[37:39], rng.keys(5, 37, 2))
    several = np.concatenate([rng.keys(seed, 0, 10_000) for seed in (-1, 0, 1, 2, 2**40, 2**63)])
    assert len(np.unique(several)) == len(several), "no run shares a copy with another, also not shifted"


def test_derived_seeds_share_no_key_with_their_run() -> None:
    purposes = [rng.derive(seed, purpose) for seed in range(50) for purpose in ("evaluation", "response", "train")]
    assert len(set(purposes)) == 150 and all(0 <= seed < 2**63 for seed in purposes)
    keys = np.concatenate([rng.keys(seed, 0, 1000) for seed in [*range(50), *purposes]])
    assert len(np.unique(keys)) == len(keys)
    assert rng.derive(3, "evaluation") == rng.derive(3, "evaluation")
