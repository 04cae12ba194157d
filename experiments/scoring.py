"""Scores of a table's rows: between naive and reference, paired on the episodes that all rows meet, with the error of seeds on top."""

from __future__ import annotations

from dataclasses import replace
from math import hypot
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from marl.score import Score

TABLE, SEARCH = "table", "search"
"""Purposes of episodes: a table is told on others than those that trained or chose a policy, or chose a strategy's setting."""


def episodes_of(seed: int, purpose: str = TABLE) -> int:
    """The seed to evaluate with: its keys are of no run's training, evaluation or report, nor of another purpose."""
    from marl.evaluate import seed_of

    return seed_of(seed, purpose)


def scored(seeds: Any, naive: tuple[str, Any], best: tuple[str, Any], kind: str, seed: int, below: bool = False) -> Score:
    """The score of returns [S, E] of S seeds (of one: a scripted policy) between two rows (name, returns [E]) on the same E episodes.

    There is none where the reference does not beat the naive policy, unless `below`. Its interval is over episodes and seeds.
    Episodes are resampled together in all three rows (`marl.score`), so that the reference is 1 and the naive policy 0, exactly. With
    several seeds their own error, Student's, is joined to that of the episodes that they share: squared distances of the ends from the mean
    add (Zou and Donner 2008, "Construction of confidence limits about effect measures: a general approach").
    """
    from marl import score, stats

    own = np.atleast_2d(np.asarray(seeds, np.float64))
    against = score.reference(best[0], 0, best[1])
    found = score.score(own.mean(0), naive[1], best[1], kind=kind, against=against, naive_name=naive[0], seed=seed, below=below)
    if found.mean is None or found.low is None or found.high is None or len(own) < 2:
        return found
    over = stats.student_interval((own.mean(1) - found.naive) / (found.reference - found.naive))
    half = over.high - over.point
    return replace(found, low=found.mean - hypot(found.mean - found.low, half), high=found.mean + hypot(found.high - found.mean, half))


def gained(seeds: Any, best: tuple[str, Any], seed: int) -> list[float] | None:
    """What returns [S, E] are beyond the reference's, of what that earns: (mean, low, high); None where that is not clear of 0."""
    nothing = np.zeros(len(best[1]))
    found = scored(seeds, ("nothing", nothing), best, "focal_evaluated", seed, below=True)
    if found.mean is None or found.low is None or found.high is None:
        return None
    shares = [found.mean - 1, found.low - 1, found.high - 1]
    return shares if found.reference > 0 else [-shares[0], -shares[2], -shares[1]]


def told(estimate: Any) -> str:
    """`mean [low, high]` of three numbers, - where there are none."""
    from experiments.tables import interval

    if estimate is None:
        return "-"
    mean, low, high = (round(x, 9) + 0.0 for x in estimate)
    return interval({"mean": mean, "low": low, "high": high})


def of_score(found: Score) -> tuple[float, float, float] | None:
    """Mean and interval of a score, None where there is none."""
    return None if found.mean is None or found.low is None or found.high is None else (found.mean, found.low, found.high)
