"""Sample efficiency: how many environment steps two settings of a learner need to a goal, and their ratio with its interval.

A race is a file of `experiments/rows/races/`: a goal, our setting and theirs. A seed runs until as many evaluations in a row as
`lasting` are at the goal; its steps are those of the first of them. One that does not get there counts with the race's cap, the
longer of the two lengths. What is compared are restricted means, E[min(steps, cap)] (Royston and Parmar 2013): with censoring at
the cap alone that is a plain mean, and a censored seed of theirs makes the ratio a lower bound. Its interval is Student's over the
seeds of both sides (`marl.stats.ratio_interval`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import published, run_folder
from experiments.published import RACE, ROWS, Published, Row, Rule, built, checked, document, merged
from experiments.run_folder import RunFolder
from experiments.seed_run import OUTCOME, Outcome, Usage, begun, curve, judged, measured
from experiments.tables import number, table
from experiments.verdict import clock
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.schedule import Progress
    from marl.stats import Interval

RACES = ROWS / "races"
OURS, THEIRS = "ours", "theirs"


@dataclass(frozen=True)
class Race:
    """Two settings and a goal. `ours` and `theirs`: keys of a row, or `like` with the name of one. `every`: steps between evaluations.

    It is won where the whole interval of theirs over ours lies at or above `ratio`.
    """

    name: str
    title: str
    task: Mapping[str, Any]
    reward: str
    measure: str
    scale: str
    goal: Rule
    every: int
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    ratio: float
    minutes: float
    note: str
    episodes: int = 256
    seeds: int = 10
    lasting: int = 1

    def row(self, side: str) -> Row:
        """A side as a row of kind race. Raises UserError."""
        where, given = f"race {self.name}: {side}", dict(getattr(self, side))
        if "like" in given:
            other, rows = given.pop("like"), published.load()
            if other not in rows:
                raise UserError(f"{where}: like = {other!r}: no such row, legal are {', '.join(rows)}")
            like = {key: getattr(rows[other], key) for key in ("algorithm", "run", "steps", "time_limit")}
            given = merged(like, given)
        given["run"] = merged(given.get("run", {}), {"evaluation": {"every": self.every, "episodes": self.episodes}})
        bounds = [x for x in (self.goal.at_least, self.goal.at_most) if abs(x) < float("inf")]
        own = {key: getattr(self, key) for key in ("task", "reward", "measure", "scale", "seeds", "minutes", "note", "lasting")}
        values = {"kind": RACE, "name": f"{self.name}-{side}", "title": self.title, "passes": self.goal, **own, **given}
        values["published"] = Published(bounds[0], "the goal", read=True)
        row: Row = built(Row, values, where)
        return checked(row, where)

    @property
    def cap(self) -> int:
        """Steps that a seed counts with that does not get there."""
        return max(self.row(OURS).steps, self.row(THEIRS).steps)


def load_races(folder: Path = RACES) -> dict[str, Race]:
    """Every race by name, its file's. Raises UserError."""
    races = {}
    for path in sorted(folder.glob("*.yaml")):
        name = path.stem.replace("_", "-")
        values = {"name": name, **document(path)}
        if isinstance(values.get("goal"), Mapping):
            values["goal"] = built(Rule, values["goal"], f"{path.name}: goal")
        races[name] = built(Race, values, path.name)
        for side in (OURS, THEIRS):
            races[name].row(side)
    return races


class Reached(Exception):
    """The goal is reached: the run ends here."""


def run(row: Row, seed: int, root: Path, tell: Callable[[int, int, float | None], None]) -> Outcome:
    """Run the seed to the goal or to its end. Raises UserError."""
    from experiments.training import execute

    setup, folder, there = begun(row, seed, root)
    usage = Usage(folder.path)
    points = counted(row, folder)

    def told(progress: Progress) -> None:
        usage.note()
        value = measured(row, progress.row)
        tell(progress.steps, progress.total, value)
        if value is not None:
            points.append([progress.steps, value])
        if reached(row, points) is not None:
            raise Reached

    if reached(row, points) is None:
        try:
            execute(setup, folder, resume=there, quiet=True, told=told)
        except Reached:
            tell(row.steps, row.steps, None)
    outcome = _outcome(row, seed, points, usage, folder.read_manifest()["git"])
    run_folder.write(folder.path / OUTCOME, json.dumps(asdict(outcome)) + "\n")
    return outcome


def counted(row: Row, folder: RunFolder) -> list[list[float]]:
    """[step, value] of the evaluations that the last checkpoint covers: the run tells those behind it again."""
    from marl import checkpoint

    if not folder.last.exists():
        return []
    steps = int(checkpoint.load(folder.last)["trainer"][1])
    return [point for point in curve(row, folder) if point[0] <= steps]


def reached(row: Row, points: Sequence[Sequence[float]]) -> int | None:
    """Step of the first of `lasting` evaluations in a row that are at the goal, None where there are none.

    What is met before anything was learned is no goal: the evaluation at step 0 does not count.
    """
    first, lasted = 0, 0
    for step, value in points:
        if step == 0 or not row.passes.holds(value):
            lasted = 0
            continue
        first, lasted = (int(step), 1) if lasted == 0 else (first, lasted + 1)
        if lasted == row.lasting:
            return first
    return None


def _outcome(row: Row, seed: int, points: list[list[float]], usage: Usage, git: Mapping[str, Any] | None) -> Outcome:
    """A seed that did not get there has its last step as its unit and says so."""
    at = reached(row, points)
    spent = usage.total()
    steps = int(points[-1][0])
    return Outcome(
        row.name, seed, [float(steps if at is None else at)], 0.0, points[-1][1], {"censored": 1} if at is None else {}, [], points,
        steps, judged(row), spent["wall"], spent["cpu"], None if git is None else git["commit"],
    )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Steps to the goal by seed, None for one that did not get there, and the ratio of restricted means, theirs over ours."""

    race: Race
    ours: list[int | None]
    theirs: list[int | None]
    means: tuple[float, float]
    ratio: Interval | None
    failed: list[str]
    cpu: float

    @property
    def passed(self) -> bool:
        """Whether the whole interval of the ratio is as asked, and every seed has a result."""
        return not self.failed and self.ratio is not None and self.ratio.low >= self.race.ratio


def compare(race: Race, ours: Sequence[Outcome], theirs: Sequence[Outcome], failed: Sequence[str]) -> Comparison:
    """The race's result from the seeds of both sides."""
    from marl import stats

    steps = [[None if o.counts else int(o.units[0]) for o in side] for side in (ours, theirs)]
    capped = [[float(race.cap if s is None else s) for s in side] for side in steps]
    means = [sum(side) / len(side) if side else float("nan") for side in capped]
    enough = all(len(side) > 1 for side in capped)
    ratio = stats.ratio_interval(*capped, name=f"steps of {race.name}") if enough else None
    cpu = sum(o.cpu for o in (*ours, *theirs))
    return Comparison(race, steps[0], steps[1], (means[0], means[1]), ratio, list(failed), cpu)


HEAD = ("race", "goal", "ours, steps", "theirs, steps", "ratio [95 %]", "asked", "verdict", "CPU")


def cells(c: Comparison) -> list[str]:
    """A comparison as a row under HEAD."""
    ratio = "none" if c.ratio is None else f"{number(c.ratio.point)} [{number(c.ratio.low)}, {number(c.ratio.high)}]"
    goal = c.race.goal.words().removeprefix("mean ")
    sides = [mean_of(mean, steps) for mean, steps in zip(c.means, (c.ours, c.theirs))]
    return [c.race.name, f"{c.race.measure} {goal}", *sides, ratio, f">= {c.race.ratio:g}", "PASS" if c.passed else "FAIL", clock(c.cpu)]


def mean_of(mean: float, steps: Sequence[int | None]) -> str:
    """A side's restricted mean, and how many of its seeds are censored."""
    left = sum(s is None for s in steps)
    return f"{mean:,.0f}" + (f", {left} of {len(steps)} censored" if left else "")


def show(found: Sequence[Comparison]) -> str:
    """A table of the races, then the steps of every seed."""
    text = [table(HEAD, [cells(c) for c in found])]
    for c in found:
        lines = [f"{c.race.name}: {c.race.title}", f"  cap {c.race.cap:,} steps; {c.race.scale}"]
        lines += [f"  {side}: {steps_of(steps)}" for side, steps in ((OURS, c.ours), (THEIRS, c.theirs))]
        lines += [f"  missed: {why}" for why in c.failed]
        text.append("\n".join(lines))
    return "\n\n".join(text)


def steps_of(steps: Sequence[int | None]) -> str:
    """Steps by seed, in words."""
    return ", ".join("censored" if s is None else f"{s:,}" for s in steps)


def content(c: Comparison) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "race": c.race.name,
        "fingerprints": [c.race.row(side).fingerprint for side in (OURS, THEIRS)],
        "cap": c.race.cap,
        "means": list(c.means),
        "ratio": None if c.ratio is None else list(c.ratio),
        "cpu": round(c.cpu),
        **{name: getattr(c, name) for name in ("passed", "ours", "theirs", "failed")},
    }
