"""Scores of a table's rows: exact ends, what of their interval is of episodes and what of seeds, by simulation of a known score."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.scoring import gained, scored
from marl import score, stats


def test_a_row_of_one_is_the_paired_score() -> None:
    g = np.random.default_rng(3)
    luck = g.normal(0, 2, 64)
    naive, best, own = luck, luck + 5 + g.normal(0, 0.5, 64), luck + 4 + g.normal(0, 0.5, 64)
    found = scored(own[None], ("random", naive), ("pid", best), "focal_trained", 7)
    known = score.score(own, naive, best, kind="focal_trained", against=score.reference("pid", 0, best), naive_name="random", seed=7)
    assert found == known
    assert [scored(x, ("random", naive), ("pid", best), "focal_trained", 7).mean for x in (naive, best)] == [0.0, 1.0]


def test_an_interval_over_seeds_has_the_error_of_the_episodes_that_they_share() -> None:
    """A score of .8 between 0 and 10: seeds differ by .05, the luck of an episode is shared by all of them. Nominal is 95 %."""
    inside = {"joined": 0, "seeds alone": 0}
    for trial in range(300):
        g = np.random.default_rng([11, trial])
        shared = g.normal(0, 3, 24)
        naive, best = g.normal(0, 0.5, 24), 10 + g.normal(0, 0.5, 24)
        seeds = 8 + shared + g.normal(0, 0.5, (5, 1)) + g.normal(0, 0.2, (5, 24))
        found = scored(seeds, ("random", naive), ("pid", best), "focal_trained", trial)
        assert found.low is not None and found.high is not None
        alone = stats.student_interval((seeds.mean(1) - naive.mean()) / (best.mean() - naive.mean()))
        inside["joined"] += found.low <= 0.8 <= found.high
        inside["seeds alone"] += alone.low <= 0.8 <= alone.high
    assert inside["joined"] > 0.92 * 300
    assert inside["seeds alone"] < 0.75 * 300


def test_seeds_that_agree_leave_the_error_of_the_episodes() -> None:
    """And episodes without luck leave Student's of the seeds."""
    g = np.random.default_rng(5)
    naive, best, own = np.zeros(32), np.full(32, 10.0), 8 + g.normal(0, 2, 32)
    one = scored(own, ("random", naive), ("pid", best), "focal_trained", 1)
    assert scored(np.stack([own] * 3), ("random", naive), ("pid", best), "focal_trained", 1) == one
    flat = scored(np.array([[7.0] * 32, [8.0] * 32, [9.0] * 32]), ("random", naive), ("pid", best), "focal_trained", 1)
    known = stats.student_interval([0.7, 0.8, 0.9])
    assert (flat.mean, flat.low, flat.high) == pytest.approx(tuple(known))


def test_a_reference_below_the_naive_policy_gives_no_score() -> None:
    g = np.random.default_rng(1)
    found = scored(g.normal(2, 1, 32), ("no_trade", np.zeros(32)), ("house", g.normal(-3, 1, 32)), "focal_evaluated", 0)
    assert found.mean is None and "house earns" in found.reason and "less than the 0 of no_trade" in found.reason


def test_gains_are_shares_of_what_the_reference_earns() -> None:
    best = np.linspace(8, 12, 16)
    assert gained(1.1 * best, ("pid", best), 0) == pytest.approx([0.1] * 3)
    assert gained(best, ("pid", best), 0) == [0.0, 0.0, 0.0]
    assert gained(best, ("pid", best - best.mean()), 0) is None
