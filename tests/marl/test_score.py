"""Scores by hand, their intervals by how often they hold the truth, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from marl.errors import UserError
from marl.score import KINDS, Reference, Score, pool, reference, score

AGAINST = Reference("truthful", 0, "digest")


def of(learned: Any, naive: Any, best: Any, **given: Any) -> Score:
    return score(learned, naive, best, **{"kind": "cooperative", "against": AGAINST, "naive_name": "random", "seed": 0, **given})


def test_by_hand() -> None:
    found = of([3.0, 5.0, 4.0], [1.0, 2.0, 3.0], [6.0, 7.0, 8.0])
    assert found.mean == (4.0 - 2.0) / (7.0 - 2.0)
    assert (found.learned, found.naive, found.reference, found.episodes) == (4.0, 2.0, 7.0, 3)
    assert found.against == AGAINST
    assert not found.reason


def test_is_not_clipped() -> None:
    luck = np.linspace(-1.0, 1.0, 20)
    assert of(luck - 3.0, luck, luck + 2.0).mean == pytest.approx(-1.5)
    assert of(luck + 5.0, luck, luck + 2.0).mean == pytest.approx(2.5)


def test_luck_of_an_episode_cancels() -> None:
    """Returns that swing by 100 with the seed, and scores that do not."""
    luck = np.random.default_rng(0).normal(0.0, 100.0, 30)
    found = of(luck + 1.0, luck, luck + 2.0)
    assert (found.low, found.mean, found.high) == pytest.approx((0.5, 0.5, 0.5))
    shuffled = of(luck + 1.0, luck[::-1], luck + 2.0)
    assert shuffled.mean is None
    assert "under 5 standard errors" in shuffled.reason


def test_reference_below_naive_is_one_only_where_the_game_says_so() -> None:
    """Else whoever loses most would score highest: a return that falls from 0 to -2 would lead on in a curriculum."""
    luck = np.linspace(-0.1, 0.1, 10)
    assert of(luck - 2.0, luck, luck - 2.0, below=True).mean == pytest.approx(1.0)
    refused = of(luck - 2.0, luck, luck - 2.0)
    assert refused.mean is None and "less than the" in refused.reason and "it is no reference here" in refused.reason


def test_interval_takes_the_references_along() -> None:
    """A learner that earns the same always still has an uncertain score: the ends of the scale are estimates."""
    naive, best = np.random.default_rng(1).normal([[0.0], [2.0]], 0.3, (2, 40))
    found = of(np.full(40, 1.0), naive, best)
    assert found.low is not None and found.mean is not None and found.high is not None
    assert found.low < found.mean < found.high
    assert found.high - found.low > 0.02
    assert found == of(np.full(40, 1.0), naive, best, seed=0)
    assert found != of(np.full(40, 1.0), naive, best, seed=1)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(7), []
    for _ in range(400):
        luck = random.normal(0.0, 2.0, 50)
        j, floor, top = (luck + at + random.normal(0.0, 1.0, 50) for at in (2.4, 0.0, 3.0))
        found = of(j, floor, top, seed=random, draws=400)
        assert found.low is not None and found.high is not None
        held.append(found.low <= 0.8 <= found.high)
    assert 0.90 < np.mean(held) < 0.98


def test_gap_of_five_standard_errors_is_the_border() -> None:
    """Differences 1 ± d on four episodes: the standard error is d / sqrt(3)."""
    for d, there in ((0.2 * math.sqrt(3) * 0.999, True), (0.2 * math.sqrt(3) * 1.001, False)):
        found = of(np.zeros(4), np.zeros(4), 1.0 + d * np.array([1.0, -1.0, 1.0, -1.0]))
        assert (found.mean is not None) == there
        assert bool(found.reason) != there


@pytest.mark.parametrize(("naive", "best"), [([1.0], [2.0]), ([1.0, 1.0], [1.0, 1.0])])
def test_without_a_gap_there_is_a_reason_and_the_returns(naive: list[float], best: list[float]) -> None:
    found = of([4.0] * len(naive), naive, best)
    assert (found.mean, found.low, found.high) == (None, None, None)
    assert (found.learned, found.naive, found.reference) == (4.0, 1.0, best[0])
    assert found.reason.startswith("gap between truthful and random is")


def test_resample_without_a_gap_is_a_reason() -> None:
    """A rare large loss: the mean gap is clear of 0, but a resample may hold the loss often enough to turn it."""
    gap = np.full(400, 1.0)
    gap[0] = -60.0
    found = of(np.zeros(400), np.zeros(400), gap, draws=50_000)
    assert found.mean is None
    assert "turns its sign" in found.reason


def test_row_is_plain_json() -> None:
    row = of([3.0, 5.0], [1.0, 2.0], [6.0, 7.0], kind="focal_evaluated").row()
    assert json.loads(json.dumps(row)) == row
    assert row["against"] == {"name": "truthful", "version": 0, "digest": "digest"}
    assert row["kind"] == "focal_evaluated"


def test_reference_digest_sees_what_matters() -> None:
    returns = np.array([1.0, 1.0 / 3.0])
    base = reference("truthful", 1, returns)
    assert base == reference("truthful", 1, np.nextafter(returns, 2.0))
    others = [reference("truthful", 2, returns), reference("shaded", 1, returns), reference("truthful", 1, returns + 1e-6)]
    assert len({base.digest, *(o.digest for o in others)}) == 4


def test_refused_by_name() -> None:
    good = [1.0, 2.0]
    with pytest.raises(UserError, match=r"returns of truthful have shape \(3,\): expected \[2 episodes\]"):
        of(good, good, [1.0, 2.0, 3.0])
    with pytest.raises(UserError, match=r"returns of random\[1\] = nan"):
        of(good, [1.0, math.nan], good)
    with pytest.raises(UserError, match="returns of the learner"):
        of([], good, good)
    with pytest.raises(UserError, match=f"kind of score = 'focal': legal are {', '.join(KINDS)}"):
        of(good, good, good, kind="focal")


def test_pool_is_runs_by_tasks() -> None:
    one, two = of([3.0, 5.0], [1.0, 2.0], [6.0, 7.0]), of([6.0, 7.0], [1.0, 2.0], [6.0, 7.0])
    assert pool([[one, two], [two, one]]).tolist() == [[0.5, 1.0], [1.0, 0.5]]


def test_pool_mixes_nothing() -> None:
    one = of([3.0, 5.0], [1.0, 2.0], [6.0, 7.0])
    with pytest.raises(UserError, match="kinds of scores to average = cooperative, focal_trained"):
        pool([[one], [replace(one, kind="focal_trained")]])
    with pytest.raises(UserError, match="kinds of scores to average = none"):
        pool([])
    with pytest.raises(UserError, match="task 0 is scored against"):
        pool([[one], [replace(one, against=replace(AGAINST, version=1))]])
    with pytest.raises(UserError, match="score of run 1, task 0 is missing: because"):
        pool([[one], [replace(one, mean=None, reason="because")]])
    with pytest.raises(UserError, match="rows of equal length"):
        pool([[one, one], [one]])
