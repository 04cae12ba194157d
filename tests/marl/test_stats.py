"""Aggregates and intervals: by hand, against rliable and SciPy, and by how often an interval holds the truth."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from marl import stats
from marl.errors import UserError

SCORES = np.random.default_rng(3).normal(0.7, 0.4, (10, 6))
OTHERS = np.random.default_rng(4).normal(0.5, 0.4, (7, 6))
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 4)), elements=st.floats(-1e3, 1e3))


def test_aggregates_by_hand() -> None:
    x = np.array([[0.0, 0.5], [1.0, 1.5], [2.0, -8.0], [0.25, 100.0]])
    assert stats.mean(x) == np.sum(x) / 8
    assert stats.iqm(x) == (0.25 + 0.5 + 1.0 + 1.5) / 4
    assert stats.optimality_gap(x) == (1.0 + 0.5 + 9.0 + 0.75) / 8
    assert stats.optimality_gap(x, target=2.0) == (2.0 + 1.5 + 1.0 + 0.5 + 10.0 + 1.75) / 8
    assert stats.performance_profile(x, [-9.0, 0.5, 1.0, 100.0]).tolist() == [1.0, 4 / 8, 3 / 8, 0.0]


def test_improvement_counts_ties_half() -> None:
    assert stats.probability_of_improvement(np.array([[1.0], [2.0]]), np.array([[1.0], [0.0], [3.0]])) == (0.5 + 1 + 0 + 1 + 1 + 0) / 6
    assert stats.probability_of_improvement(SCORES, SCORES) == 0.5


@given(TABLES)
def test_improvement_is_complementary(x: np.ndarray) -> None:
    y = x[::-1] + 0.5
    assert math.isclose(stats.probability_of_improvement(x, y) + stats.probability_of_improvement(y, x), 1.0)


@given(TABLES)
def test_trimmed_mean_is_scipys(x: np.ndarray) -> None:
    assert math.isclose(stats.iqm(x), scipy.stats.trim_mean(x, 0.25, axis=None), rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("statistic", [stats.mean, stats.iqm, stats.optimality_gap])
def test_statistics_take_all_draws_at_once(statistic: stats.Statistic) -> None:
    stack = np.stack([SCORES, SCORES[::-1] ** 2, SCORES - 1])
    assert statistic(stack) == pytest.approx([statistic(x) for x in stack], rel=1e-12)


@pytest.fixture(scope="module")
def rliable() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("rliable")
        return importlib.import_module("rliable.library"), importlib.import_module("rliable.metrics")


def test_aggregates_are_rliables(rliable: tuple[Any, Any]) -> None:
    library, metrics = rliable
    assert stats.mean(SCORES) == pytest.approx(metrics.aggregate_mean(SCORES), rel=1e-12)
    assert stats.iqm(SCORES) == pytest.approx(metrics.aggregate_iqm(SCORES), rel=1e-12)
    assert stats.optimality_gap(SCORES) == pytest.approx(metrics.aggregate_optimality_gap(SCORES), rel=1e-12)
    ours = stats.probability_of_improvement(SCORES, OTHERS)
    assert ours == pytest.approx(metrics.probability_of_improvement(SCORES, OTHERS), rel=1e-12)
    levels = np.linspace(-0.5, 2.0, 11)
    assert stats.performance_profile(SCORES, levels) == pytest.approx([library.run_score_deviation(SCORES, t) for t in levels], abs=1e-12)


def test_intervals_are_rliables(rliable: tuple[Any, Any]) -> None:
    """Two bootstraps of 10,000 draws: the ends agree to a tenth of the width."""
    library, metrics = rliable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, theirs = library.get_interval_estimates({"a": SCORES}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=3_000)
    ours = stats.interval(stats.iqm, SCORES, seed=0, draws=10_000)
    low, high = theirs["a"][:, 0]
    assert ours.low == pytest.approx(low, abs=0.1 * (high - low))
    assert ours.high == pytest.approx(high, abs=0.1 * (high - low))


def test_strata_are_tasks() -> None:
    """Tasks of different difficulty whose runs agree have an interval without width: runs are never moved between tasks."""
    x = np.tile([0.0, 5.0, 9.0], (4, 1))
    assert stats.interval(stats.mean, x, seed=1) == pytest.approx((14 / 3, 14 / 3, 14 / 3))


def test_interval_depends_on_the_seed_alone() -> None:
    first = stats.interval(stats.iqm, SCORES, seed=5)
    assert first == stats.interval(stats.iqm, SCORES, seed=np.random.default_rng(5))
    assert first != stats.interval(stats.iqm, SCORES, seed=6)
    assert first.low < first.point < first.high


def test_interval_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    one = stats.interval(stats.mean, SCORES, seed=2, draws=200)
    monkeypatch.setattr(stats, "CHUNK", 7 * SCORES.size)
    assert stats.interval(stats.mean, SCORES, seed=2, draws=200) == one


def test_profile_has_a_band() -> None:
    levels = np.linspace(-1.0, 3.0, 41)
    band = stats.bootstrap(lambda x: stats.performance_profile(x, levels), SCORES, seed=0, draws=500)
    assert band.point.shape == band.low.shape == band.high.shape == (41,)
    assert (band.low <= band.point).all()
    assert (band.point <= band.high).all()
    assert (np.diff(band.point) <= 0).all()


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bootstrap_holds_the_truth_as_often_as_it_says(confidence: float) -> None:
    """500 exponential samples of 60: the percentile interval's coverage is its confidence, less a known small shortfall."""
    random = np.random.default_rng(0)
    samples = random.exponential(1.0, (500, 60))
    held = [i.low <= 1.0 <= i.high for i in (stats.interval(stats.mean, x, seed=random, draws=400, confidence=confidence) for x in samples)]
    assert confidence - 0.06 < np.mean(held) < confidence + 0.03


@pytest.mark.parametrize("n", [3, 5])
def test_student_holds_the_truth_with_few_seeds(n: int) -> None:
    """As often as it says, where a bootstrap holds it in 72 % and 84 % of cases."""
    samples = np.random.default_rng(1).normal(2.0, 3.0, (4_000, n))
    held = [i.low <= 2.0 <= i.high for i in map(stats.student_interval, samples)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)
    held = [i.low <= 2.0 <= i.high for i in (stats.interval(stats.mean, x, seed=0, draws=200) for x in samples[:1_000])]
    assert np.mean(held) == pytest.approx({3: 0.72, 5: 0.84}[n], abs=0.04)


@pytest.mark.parametrize(("n", "m", "least"), [(3, 3, 0.95), (5, 5, 0.94), (10, 10, 0.94), (10, 5, 0.94)])
def test_a_ratio_of_means_holds_the_truth_with_few_seeds(n: int, m: int, least: float) -> None:
    """Steps to a goal, gamma distributed with a deviation of half their mean: theirs are three times ours."""
    random = np.random.default_rng(2)
    ours, theirs = random.gamma(4.0, 0.25, (2_000, n)), random.gamma(4.0, 0.75, (2_000, m))
    held = [i.low <= 3.0 <= i.high for i in map(stats.ratio_interval, ours, theirs)]
    assert least - 0.012 < np.mean(held) < 0.985


def test_a_ratio_by_hand() -> None:
    """x 10, 14, y 30, 42: both errors (2 / 12)^2 = 1 / 36, two degrees of freedom, t = 4.303."""
    found = stats.ratio_interval([10.0, 14.0], [30.0, 42.0])
    half = scipy.stats.t.ppf(0.975, 2) * math.sqrt(2.0 / 36.0)
    assert found == pytest.approx((3.0, 3.0 * math.exp(-half), 3.0 * math.exp(half)))
    assert stats.ratio_interval([5.0, 5.0], [10.0, 10.0]) == (2.0, 2.0, 2.0)
    for x, y in (([5.0], [1.0, 2.0]), ([1.0, 2.0], [-1.0, 0.0]), ([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0])):
        with pytest.raises(UserError, match=r"steps have shapes .*: \[runs\] with at least 2 runs and a mean above 0"):
            stats.ratio_interval(x, y, name="steps")


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 9, 10, 31, 100, 1001])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_student_quantile_is_scipys(freedom: int, confidence: float) -> None:
    assert stats.student_quantile(confidence, freedom) == pytest.approx(scipy.stats.t.ppf(0.5 + 0.5 * confidence, freedom), rel=1e-9)


def test_pairs_are_resampled_together() -> None:
    """Seeds that move both learners alike cancel in the pairs and would not apart."""
    luck = np.random.default_rng(2).normal(0.0, 10.0, 12)
    x, y = luck + 1.0, luck + np.tile([0.1, -0.1], 6)
    difference = stats.paired_difference(x, y, seed=0)
    assert difference.point == pytest.approx(1.0)
    assert difference.high - difference.low < 0.15
    assert difference.low <= 1.0 <= difference.high


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "has shape"),
        ([[]], "has shape"),
        ([[[1.0]]], "has shape"),
        ([[1.0, 2.0], [3.0]], "rows of equal length"),
        (["a", "b"], "rows of equal length"),
        ([1.0, math.nan], "= nan: a finite number"),
        ([1.0, math.inf], "= inf: a finite number"),
        ([1.0], "needs at least 2"),
    ],
)
def test_bad_values_are_refused_by_name(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^returns.*{message}"):
        stats.interval(stats.mean, values, seed=0, name="returns")


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="confidence = 95"):
        stats.interval(stats.mean, SCORES, seed=0, confidence=95)
    with pytest.raises(UserError, match="confidence = 0"):
        stats.student_interval([1.0, 2.0], confidence=0)
    with pytest.raises(UserError, match="draws = 0"):
        stats.interval(stats.mean, SCORES, seed=0, draws=0)
    with pytest.raises(UserError, match="6 and 5 tasks"):
        stats.interval(stats.probability_of_improvement, SCORES, OTHERS[:, :5], seed=0)
    with pytest.raises(UserError, match="pairs are expected"):
        stats.paired_difference([1.0, 2.0], [1.0, 2.0, 3.0], seed=0)
    with pytest.raises(UserError, match=r"has shape \(1,\)"):
        stats.student_interval([1.0])
