"""Scores: where a learner's return J stands between a naive policy (0) and a reference (1), not clipped.

score = (J - J_naive) / (J_reference - J_naive), the three measured on the same evaluation seeds, so that the luck of an
episode cancels. The interval resamples episodes and takes the references along: they are estimates as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marl import stats
from marl.errors import UserError
from marl.game import F8

KINDS = {
    "cooperative": "all learn, the return is the team's",
    "welfare": "all learn, the return is the sum of all agents'",
    "focal_trained": "one learner that was trained among the reference population",
    "focal_evaluated": "one learner that was trained among others, placed into the reference population",
}
"""What a return stands for. Scores of two kinds are never averaged."""

RESOLVED = 5.0
"""Standard errors by which the reference must differ from the naive policy."""


@dataclass(frozen=True)
class Reference:
    """What scores 1: a baseline by name, its version, and a digest of what it earned."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True)
class Score:
    """`mean` with its 95 % interval [low, high], or three times None and the `reason` why there is no score.

    `learned`, `naive` and `reference` are the mean returns J that it is made of, always there, in the game's units.
    """

    kind: str
    mean: float | None
    low: float | None
    high: float | None
    learned: float
    naive: float
    reference: float
    naive_name: str
    against: Reference
    episodes: int
    reason: str = ""

    def row(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def reference(name: str, version: int, returns: npt.ArrayLike) -> Reference:
    """A reference by its name, its version and its returns [E]; its digest reads 9 digits: another machine may differ in the last."""
    text = " ".join([name, str(version), *(f"{x:.9g}" for x in stats.table(returns, f"returns of {name}").ravel())])
    return Reference(name, version, hashlib.sha256(text.encode()).hexdigest()[:16])


def most(returns: Mapping[str, F8]) -> tuple[str, F8]:
    """Of several naive policies, by name their returns [E]: the one that scores 0, which earns most. The first of equals."""
    return max(returns.items(), key=lambda item: float(item[1].mean()))


def score(
    learned: npt.ArrayLike,
    naive: npt.ArrayLike,
    best: npt.ArrayLike,
    *,
    kind: str,
    against: Reference,
    naive_name: str,
    seed: stats.Seed,
    below: bool = False,
    draws: int = 2_000,
    confidence: float = 0.95,
) -> Score:
    """The score of returns `learned` [E] between those of the naive policy and of the reference, `naive` and `best` [E].

    Row e of the three is the same evaluation seed. A reference within five standard errors of the naive policy gives
    no score but its reason, and so does one below it: whoever loses most would score highest. `below` says that the game's
    equilibrium lies there, and is taken as it is: 1 is the reference.
    """
    if kind not in KINDS:
        raise UserError(f"kind of score = {kind!r}: legal are {', '.join(KINDS)}")
    rows = _paired([("the learner", learned), (naive_name, naive), (against.name, best)])
    j, floor, top = (float(x) for x in rows.mean(0))
    names = f"gap between {against.name} and {naive_name}"
    reason = _unresolved(rows[:, 2] - rows[:, 1], names)
    if not reason and top < floor and not below:
        reason = f"{against.name} earns {top:g}, less than the {floor:g} of {naive_name}: it is no reference here"
    drawn = stats.joint_means(rows, draws, np.random.default_rng(seed))
    gap = drawn[:, 2] - drawn[:, 1]
    if not reason and (gap * (top - floor) <= 0.0).any():
        reason = f"{names}: a resample of the episodes turns its sign, evaluate more episodes"
    if reason:
        return Score(kind, None, None, None, j, floor, top, naive_name, against, len(rows), reason)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / gap, stats.ends(confidence))
    return Score(kind, (j - floor) / (top - floor), float(low), float(high), j, floor, top, naive_name, against, len(rows))


def _paired(returns: list[tuple[str, npt.ArrayLike]]) -> F8:
    """Columns of equal length, [E, 3]."""
    columns = [stats.table(values, f"returns of {name}") for name, values in returns]
    for (name, values), column in zip(returns, columns, strict=True):
        if column.shape != (len(columns[0]), 1):
            raise UserError(
                f"returns of {name} have shape {np.shape(values)}: expected [{len(columns[0])} episodes], one for each of the learner's"
            )
    return np.concatenate(columns, axis=1)


def _unresolved(gap: F8, names: str) -> str:
    """Why the paired differences gap [E] are too close to 0 to divide by; empty where they are not."""
    if len(gap) < 2 or not gap.any():
        return f"{names} is {gap.mean():g} on {len(gap)} episodes: a gap and at least 2 episodes are needed"
    error = float(gap.std(ddof=1)) / len(gap) ** 0.5
    if abs(gap.mean()) >= RESOLVED * error:
        return ""
    return f"{names} is {gap.mean():g}, under {RESOLVED:g} standard errors of {error:g}: evaluate more episodes"


def pool(scores: Sequence[Sequence[Score]]) -> F8:
    """Mean scores of runs x tasks, [N, K], for `marl.stats`. Refuses missing scores, mixed kinds, and two references in one task."""
    kinds = sorted({s.kind for run in scores for s in run})
    if len(kinds) != 1:
        raise UserError(f"kinds of scores to average = {', '.join(kinds) or 'none'}: exactly one kind is expected")
    for task, column in enumerate(zip(*scores, strict=False)):
        for run, s in enumerate(column):
            if s.mean is None:
                raise UserError(f"score of run {run}, task {task} is missing: {s.reason}")
            if s.against != column[0].against:
                raise UserError(f"task {task} is scored against {column[0].against} and {s.against}: one reference is expected")
    return stats.table([[s.mean for s in run if s.mean is not None] for run in scores])
