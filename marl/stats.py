"""Statistics of runs: aggregates over runs and tasks, and their intervals.

Scores are [N runs, K tasks]. The aggregates and the stratified bootstrap follow Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice". A statistic maps [..., N, K] to [...], so that all
draws of a bootstrap go through it at once. `seed` is a seed or a Generator; equal seeds give equal intervals.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.errors import UserError
from marl.game import F8

Seed = int | np.random.Generator
Statistic = Callable[..., Any]
"""Arrays [..., N, K] -> [...], or [..., T] for a profile."""

CHUNK = 1 << 21
"""Resampled numbers held at once: bounds the memory of a bootstrap to some tens of MiB."""


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    point: float
    low: float
    high: float


class Band(NamedTuple):
    """An estimated curve and its pointwise interval, each [T]."""

    point: F8
    low: F8
    high: F8


def table(values: npt.ArrayLike, name: str = "scores") -> F8:
    """`values` as [N, K] float64, a row of N numbers as [N, 1]. Refuses by `name` what is ragged, empty or not finite."""
    try:
        x = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: rows of equal length with numbers are expected, found others ({error})") from error
    if x.ndim not in (1, 2) or x.size == 0:
        raise UserError(f"{name} has shape {x.shape}: [runs] or [runs, tasks] with at least one of each is expected")
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        raise UserError(f"{name}{[int(i) for i in bad[0]]} = {x[tuple(bad[0])]}: a finite number is expected")
    return x.reshape(len(x), -1)


def mean(x: F8) -> Any:
    """Mean over runs and tasks, [..., N, K] -> [...]."""
    return x.mean((-2, -1))


def iqm(x: F8) -> Any:
    """Interquartile mean: the mean without the lowest and the highest floor(NK / 4) of all scores, [..., N, K] -> [...]."""
    flat = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def optimality_gap(x: F8, target: float = 1.0) -> Any:
    """How far scores fall short of `target`: mean of max(0, target - x), [..., N, K] -> [...]."""
    return np.maximum(target - x, 0.0).mean((-2, -1))


def probability_of_improvement(x: F8, y: F8) -> Any:
    """P(X > Y) averaged over tasks: Mann and Whitney's U / (N M) with ties counted half, [..., N, K], [..., M, K] -> [...]."""
    above = np.sign(x[..., :, None, :] - y[..., None, :, :])
    return 0.5 + 0.5 * above.mean((-3, -2, -1))


def performance_profile(x: F8, levels: npt.ArrayLike) -> Any:
    """Share of runs whose score is above each level: mean of 1[x > level], [..., N, K], [T] -> [..., T]."""
    return (x[..., None] > np.asarray(levels, np.float64)).mean((-3, -2))


def _resampled(statistic: Statistic, groups: list[F8], draws: int, random: np.random.Generator) -> F8:
    """The statistic on `draws` resamples, [draws, ...]: each group's runs are drawn with replacement within each task."""
    size = math.prod(len(x) for x in groups) * groups[0].shape[1] * np.size(statistic(*groups))
    found, step = [], max(1, CHUNK // size)
    for low in range(0, draws, step):
        count = min(step, draws - low)
        picks = [random.integers(0, len(x), (count, *x.shape)) for x in groups]
        found.append(statistic(*(np.take_along_axis(x[None], pick, axis=1) for x, pick in zip(groups, picks))))
    return np.concatenate(found)


def ends(confidence: float) -> tuple[float, float]:
    """Percentiles of the two ends of an equal-tailed interval."""
    if not 0.0 < confidence < 1.0:
        raise UserError(f"confidence = {confidence}: legal range is (0, 1)")
    return 50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)


def bootstrap(
    statistic: Statistic, *scores: npt.ArrayLike, seed: Seed, draws: int = 2_000, confidence: float = 0.95, name: str = "scores"
) -> Band:
    """Point and percentile bootstrap interval of statistic(*scores); each of `scores` is resampled on its own."""
    groups = [table(x, name) for x in scores]
    for x in groups:
        if len(x) < 2:
            raise UserError(f"{name}: {len(x)} run, an interval needs at least 2")
        if x.shape[1] != groups[0].shape[1]:
            raise UserError(f"{name}: {groups[0].shape[1]} and {x.shape[1]} tasks, the same tasks are expected")
    if draws < 1:
        raise UserError(f"draws = {draws}: legal are whole numbers from 1")
    random = np.random.default_rng(seed)
    low, high = np.percentile(_resampled(statistic, groups, draws, random), ends(confidence), axis=0)
    return Band(np.asarray(statistic(*groups)), low, high)


def interval(
    statistic: Statistic, *scores: npt.ArrayLike, seed: Seed, draws: int = 2_000, confidence: float = 0.95, name: str = "scores"
) -> Interval:
    """`bootstrap` of a statistic that is one number: `interval(iqm, scores, seed=0)`, scores [N] or [N, K].

    Of a mean over fewer than about 30 runs it is too narrow (of 3, 72 % hold the truth where 95 % are said): `student_interval` is not.
    """
    return Interval(*map(float, bootstrap(statistic, *scores, seed=seed, draws=draws, confidence=confidence, name=name)))


def paired_difference(
    x: npt.ArrayLike, y: npt.ArrayLike, *, seed: Seed, draws: int = 2_000, confidence: float = 0.95, name: str = "scores"
) -> Interval:
    """Mean of x - y, where run n of x and run n of y share a seed: pairs are resampled together. x, y [N] or [N, K]."""
    first, second = table(x, name), table(y, name)
    if first.shape != second.shape:
        raise UserError(f"{name}: shapes {first.shape} and {second.shape}, pairs are expected")
    return interval(mean, first - second, seed=seed, draws=draws, confidence=confidence, name=name)


def joint_means(rows: F8, draws: int, random: np.random.Generator) -> F8:
    """Column means of resamples of whole rows, [N, W] -> [draws, W]: columns that belong together stay together."""
    step = max(1, CHUNK // rows.size)
    counts = [min(step, draws - low) for low in range(0, draws, step)]
    return np.concatenate([rows[random.integers(0, len(rows), (count, len(rows)))].mean(1) for count in counts])


def student_interval(x: npt.ArrayLike, *, confidence: float = 0.95, name: str = "scores") -> Interval:
    """Mean of x [N] and its Student interval, mean ± t s / sqrt(N): for few seeds, where a bootstrap is too narrow."""
    values = table(x, name)
    if values.shape[1] != 1 or len(values) < 2:
        raise UserError(f"{name} has shape {np.shape(x)}: [runs] with at least 2 runs is expected")
    ends(confidence)
    centre = float(values.mean())
    half = student_quantile(confidence, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(centre, centre - half, centre + half)


def ratio_interval(x: npt.ArrayLike, y: npt.ArrayLike, *, confidence: float = 0.95, name: str = "values") -> Interval:
    """Ratio of means, mean(y) / mean(x) of x [N] and y [M] above 0 in the mean, and its Student interval: for few seeds of two sides.

    log(mean y / mean x) ± t sqrt(e), e = s_x^2 / (N mean(x)^2) + s_y^2 / (M mean(y)^2) by the delta method, with the degrees of freedom
    of Welch 1947 for a sum of two variances, rounded down.
    """
    sides = [table(x, name), table(y, name)]
    if any(side.shape[1] != 1 or len(side) < 2 or side.mean() <= 0.0 for side in sides):
        shapes = " and ".join(f"{side.shape}, mean {side.mean():g}" for side in sides)
        raise UserError(f"{name} have shapes {shapes}: [runs] with at least 2 runs and a mean above 0 is expected of both")
    ends(confidence)
    errors = [float(side.var(ddof=1)) / len(side) / float(side.mean()) ** 2 for side in sides]
    centre, whole = float(sides[1].mean() / sides[0].mean()), sum(errors)
    if whole == 0.0:
        return Interval(centre, centre, centre)
    freedom = whole**2 / sum(e**2 / (len(side) - 1) for e, side in zip(errors, sides, strict=True))
    half = student_quantile(confidence, max(1, int(freedom + 1e-9))) * math.sqrt(whole)
    return Interval(centre, centre * math.exp(-half), centre * math.exp(half))


@functools.lru_cache
def student_quantile(confidence: float, freedom: int) -> float:
    """t with P(|T| <= t) = confidence for a whole number of degrees of freedom, by bisection of the angle atan(t / sqrt(freedom))."""
    low, high = 0.0, 0.5 * math.pi
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _student_within(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(0.5 * (low + high))


def _student_within(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan(angle)): the finite sums 26.7.3 (odd) and 26.7.4 (even) of Abramowitz and Stegun 1964."""
    odd, cosine = freedom % 2, math.cos(angle)
    steps = np.arange(2 + odd, freedom - 1 + odd, 2)
    series = 1.0 + np.cumprod((steps - 1) / steps * cosine * cosine).sum() if freedom > 1 else 0.0
    if odd:
        return float(2.0 / math.pi * (angle + math.sin(angle) * cosine * series))
    return float(math.sin(angle) * series)
