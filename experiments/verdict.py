"""What the seeds of a published row come to: beside what was published, with an interval over seeds, PASS or FAIL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.published import MEAN, SESSIONS, Row
from experiments.seed_run import Outcome
from experiments.tables import number, table

SHOWN = 12
"""Values a seed that a table shows; further ones are in the recorded figures."""


@dataclass(frozen=True)
class Verdict:
    """A row's result. `values` are the units that the rule is about: a seed's mean over fresh episodes, or a session's.

    `low`, `high`: 95 % Student interval of their mean, None for one alone. `over_training`: mean over evaluations and seeds of
    the runs' own evaluations; `maximum`: the best evaluation point of the mean over seeds, which is biased upward.
    `failed`: seeds that have no value, and why. `missed`: what is asked and not so; PASS where it is empty.
    """

    row: Row
    seeds: list[int]
    values: list[float]
    mean: float | None
    low: float | None
    high: float | None
    over_training: float | None
    maximum: float | None
    best: float | None
    counts: dict[str, int]
    missed: list[str]
    failed: dict[int, str] = field(default_factory=dict)
    steps: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    commits: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything that is asked holds."""
        return not self.missed

    @property
    def speed(self) -> float | None:
        """Environment steps a second of wall clock, evaluations included."""
        return self.steps * len(self.seeds) / self.wall if self.wall else None


def mean_best(outcomes: Sequence[Outcome]) -> float | None:
    """Mean over seeds of the best checkpoints, None where a run has none."""
    found = [o.best for o in outcomes if o.best is not None]
    return sum(found) / len(found) if found and len(found) == len(outcomes) else None


def verdict(row: Row, outcomes: Sequence[Outcome], failed: Mapping[int, str]) -> Verdict:
    """The verdict over the seeds that were run; a seed that failed is one that missed."""
    from marl import stats

    values = [value for o in outcomes for value in o.units]
    mean = sum(values) / len(values) if values else None
    band = stats.student_interval(values) if len(values) > 1 else None
    points = curve(outcomes)
    counts: dict[str, int] = {}
    for o in outcomes:
        for value, n in o.counts.items():
            counts[value] = counts.get(value, 0) + n
    return Verdict(
        row, [o.seed for o in outcomes], values, mean, None if band is None else band.low, None if band is None else band.high,
        sum(y for _, y in points) / len(points) if points else None, max((y for _, y in points), default=None),
        mean_best(outcomes), counts, missed(row, values, failed), dict(failed),
        max((o.steps for o in outcomes), default=0), sum(o.wall for o in outcomes), sum(o.cpu for o in outcomes),
        sorted({o.commit for o in outcomes if o.commit is not None}),
    )  # fmt: skip


def curve(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """(step, mean over seeds) of the evaluations that all seeds have, by their order."""
    if not outcomes:
        return []
    length = min(len(o.curve) for o in outcomes)
    at = [[o.curve[i] for o in outcomes] for i in range(length)]
    return [(max(step for step, _ in points), sum(y for _, y in points) / len(points)) for points in at]


def missed(row: Row, values: Sequence[float], failed: Mapping[int, str]) -> list[str]:
    """What is asked and not so, in words with the figure."""
    said = [f"seed {seed} has no result ({why})" for seed, why in failed.items()]
    if not values:
        return [*said, "no seed has a result"]
    if row.passes.of == MEAN:
        mean = sum(values) / len(values)
        if not row.passes.holds(mean):
            said.append(f"the mean over {len(values)} is {number(mean)}, asked is {row.passes.words()}")
        return said
    good = sum(row.passes.holds(v) for v in values)
    needed = math.ceil(row.passes.share * (len(values) + len(failed)) - 1e-9)
    if good < needed:
        rest = ", ".join(number(v) for v in [v for v in values if not row.passes.holds(v)][:SHOWN])
        said.append(f"{good} of {len(values) + len(failed)} are as asked ({row.passes.words()}), {needed} are needed; the others: {rest}")
    return said


HEAD = ("row", "published", "ours, mean [95 %, t over seeds]", "asked", "verdict", "wall, all seeds", "CPU", "env steps/s")


def cells(v: Verdict) -> list[str]:
    """A verdict as a row under HEAD."""
    speed = "" if v.speed is None else f"{v.speed:,.0f}"
    said = "PASS" if v.passed else "FAIL"
    return [v.row.name, published(v.row), ours(v), v.row.passes.words(), said, clock(v.wall), clock(v.cpu), speed]


def published(row: Row) -> str:
    """The published value with its interval; a value from memory is marked."""
    half = "" if row.published.half is None else f" ± {number(float(row.published.half))}"
    return f"{number(float(row.published.value))}{half}{'' if row.published.read else ' (from memory)'}"


def ours(v: Verdict) -> str:
    """Our mean with its interval."""
    if v.mean is None:
        return "none"
    return number(v.mean) + ("" if v.low is None else f" [{number(v.low)}, {number(v.high)}]")


def clock(seconds: float) -> str:
    """`8.4 s`, `12 min` or `1 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def show(verdicts: Sequence[Verdict]) -> str:
    """A table of the rows, then per row its seeds and what missed."""
    text = [table(HEAD, [cells(v) for v in verdicts])]
    return "\n\n".join([*text, *("\n".join(details(v)) for v in verdicts)])


def details(v: Verdict) -> list[str]:
    """A row in lines: where its numbers come from, per-seed values, the figures that papers print, PASS or what missed."""
    row = v.row
    unit = "sessions" if row.kind == SESSIONS else "seeds"
    lines = [f"{row.name}: {row.title}"]
    lines.append(f"  measured: {row.measure} ({row.scale}), {row.protocol}")
    lines.append(f"  conventions: {row.conventions}; {v.steps:,} env steps a seed")
    shown = ", ".join(number(x) for x in v.values[:SHOWN]) + (", ..." if len(v.values) > SHOWN else "")
    lines.append(f"  {len(v.values)} {unit}: {shown}")
    if v.counts:
        lines.append("  outcomes of episodes: " + ", ".join(f"{value} x {n:,}" for value, n in v.counts.items()))
    if v.maximum is not None:
        lines.append(
            f"  of the evaluations during training: mean {number(v.over_training)}, maximum over points of the mean over seeds "
            f"{number(v.maximum)} (biased upward)" + ("" if v.best is None else f", best checkpoints on fresh episodes {number(v.best)}")
        )
    lines += [f"  missed: {text}" for text in v.missed]
    return [*lines, f"  {'PASS' if v.passed else 'FAIL'}"]


def content(v: Verdict) -> dict[str, Any]:
    """The verdict as plain values, without anything that the clock or the machine decides but cost."""
    same = ("passed", "seeds", "mean", "low", "high", "over_training", "maximum", "best", "counts", "missed", "steps", "commits")
    return {
        "row": v.row.name,
        "fingerprint": v.row.fingerprint,
        "values": [round(x, 6) for x in v.values],
        **{name: getattr(v, name) for name in same},
        "wall": round(v.wall),
        "cpu": round(v.cpu),
    }
