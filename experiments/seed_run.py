"""One seed of a published row, in a process of its own: an ordinary run, made or continued, then judged on fresh episodes.

Its folder is that of `marl train` with three files more: `usage.json` (what it has cost so far), `outcome.json` (what the row
compares, written last) and `output.log` (what the process printed).
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import run_folder
from experiments.published import GAIN, LEARNED, RACE, RETURNS, SESSIONS, Row
from experiments.run_folder import RunFolder
from marl.disk import claim

if TYPE_CHECKING:
    from experiments.compose import Setup
    from marl.evaluate import Evaluation
    from marl.schedule import Progress
    from marl.train import Run

OUTCOME, USAGE, OUTPUT = "outcome.json", "usage.json", "output.log"
OFTEN = 5.0
"""Seconds between two notes of what a run has cost."""
DISTINCT = 10
"""Values of an episode up to which an outcome has their counts."""


@dataclass(frozen=True)
class Outcome:
    """What one seed came to. `units` are what the row's rule is about: a run has one, its mean over fresh episodes.

    `deviation`: standard deviation over episodes. `best`: the same measure of the best checkpoint, None
    where there is none (all learn for themselves). `returns`: the measure by episode of the run's result. `curve`: [step, value] of
    each evaluation of the run. `counts`: how often each value of an episode occurred, where these are few. `judged`: what
    was measured, on how many episodes, of which checkpoint. `wall`, `cpu`: seconds, of all attempts.
    """

    row: str
    seed: int
    units: list[float]
    deviation: float
    best: float | None
    counts: dict[str, int]
    returns: list[float]
    curve: list[list[float]]
    steps: int
    judged: dict[str, Any]
    wall: float
    cpu: float
    commit: str | None


def folder_of(row: Row, seed: int, root: Path) -> RunFolder:
    """Where a seed of a row runs."""
    return RunFolder(root / row.name / f"seed-{seed}")


def judged(row: Row) -> dict[str, Any]:
    """What is measured, as an outcome states it. Sessions have no config.yaml that says how they were made."""
    asked: dict[str, Any] = {"measure": row.measure, "episodes": row.episodes, "checkpoint": row.checkpoint}
    if row.kind == SESSIONS:
        asked["recipe"] = row.fingerprint
    if row.kind == RACE:
        asked |= {"at_least": row.passes.at_least, "at_most": row.passes.at_most, "lasting": row.lasting}
    return asked


def outcome_of(row: Row, seed: int, root: Path) -> Outcome | None:
    """The outcome that is there, None where the seed has not been judged as the row asks."""
    path = folder_of(row, seed, root).path / OUTCOME
    if not path.exists():
        return None
    found = Outcome(**json.loads(path.read_text()))
    return found if found.judged == judged(row) else None


def differences(row: Row, seed: int, root: Path) -> list[str]:
    """Keys in which the run that is there differs from what the row asks; keys that it was made without count with their defaults."""
    from experiments.stored import stored

    folder = folder_of(row, seed, root)
    if not folder.config.exists():
        return []
    asked = row.setup(seed, folder.path).config
    if folder.read_manifest()["config_hash"] == run_folder.config_hash(asked):
        return []
    there, wanted = (dict(flat(x)) for x in (stored(folder).config, asked))
    return [f"{key} = {there.get(key)}, now {wanted.get(key)}" for key in sorted({*there, *wanted}) if there.get(key) != wanted.get(key)]


def flat(values: Mapping[str, Any], under: str = "") -> list[tuple[str, Any]]:
    """(key with its dots, value) of what determines a run's numbers."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if under or key not in run_folder.SAME_NUMBERS:
            found += flat(value, f"{under}{key}.") if isinstance(value, Mapping) else [(f"{under}{key}", value)]
    return found


def learn(row: Row, seed: int, root: Path, tell: Callable[[int, int, float | None], None]) -> Outcome:
    """Run the seed, or finish it, and judge it. `tell(steps, total, value)` hears how far it is. Raises UserError."""
    from experiments.training import execute

    setup, folder, there = begun(row, seed, root)
    usage = Usage(folder.path)

    def told(progress: Progress) -> None:
        usage.note()
        tell(progress.steps, progress.total, measured(row, progress.row))

    execute(setup, folder, resume=there, quiet=True, told=told)
    outcome = judge(row, seed, setup, folder, usage)
    run_folder.write(folder.path / OUTCOME, json.dumps(asdict(outcome)) + "\n")
    return outcome


def begun(row: Row, seed: int, root: Path) -> tuple[Setup, RunFolder, bool]:
    """(run, its folder, whether it is there already), the folder made where it is not."""
    folder = folder_of(row, seed, root)
    setup = row.setup(seed, folder.path)
    there = folder.config.exists()
    if there:
        os.close(claim(folder.path))  # refused while another command runs this seed
        return setup, folder, True
    return setup, run_folder.create(folder.path, setup.config), False


class Usage:
    """Seconds of all attempts at a run, kept in its folder: an attempt that is killed has been noted shortly before."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / USAGE
        self._before = json.loads(self._path.read_text()) if self._path.exists() else {"wall": 0.0, "cpu": 0.0}
        self._began, self._cpu, self._noted = time.monotonic(), time.process_time(), 0.0

    def note(self) -> None:
        """Write it down, if that was some seconds ago."""
        if time.monotonic() - self._noted >= OFTEN:
            self._noted = time.monotonic()
            run_folder.write(self._path, json.dumps(self.total()) + "\n")

    def total(self) -> dict[str, float]:
        """Wall clock and processor seconds so far."""
        wall, cpu = time.monotonic() - self._began, time.process_time() - self._cpu
        return {"wall": self._before["wall"] + wall, "cpu": self._before["cpu"] + cpu}


def judge(row: Row, seed: int, setup: Setup, folder: RunFolder, usage: Usage) -> Outcome:
    """Play the finished run's policies on fresh episodes that no evaluation of the run has seen."""
    import numpy as np

    from experiments.build import run_of

    run = run_of(setup, folder)
    found = {}
    for name in {folder.checkpoint("result"), row.checkpoint}:
        steps = run.load(f"{name}.pt")
        found[name] = compared(row, run, setup), steps
        run.close()
    own, steps = found[row.checkpoint]
    result = found[folder.checkpoint("result")][0]
    distinct, counts = np.unique(own.round(6), return_counts=True)
    few = {format(v, "g"): int(n) for v, n in zip(distinct, counts)} if len(distinct) <= DISTINCT else {}
    git = folder.read_manifest()["git"]
    spent = usage.total()
    return Outcome(
        row.name, seed, [float(own.mean())], float(own.std(ddof=1)), float(result.mean()) if "best" in found else None, few,
        [round(float(x), 6) for x in result], curve(row, folder), steps, judged(row), spent["wall"], spent["cpu"],
        None if git is None else git["commit"],
    )  # fmt: skip


def curve(row: Row, folder: RunFolder) -> list[list[float]]:
    """[step, value] of the evaluations of a run, as far as it has come."""
    from marl.track import MetricsLog, read_metrics

    if not folder.metrics.exists():
        return []
    MetricsLog(folder.metrics).close()  # removes half a row that a killed process left
    found = [(line["step"], measured(row, line)) for line in read_metrics(folder.metrics)]
    return [[int(step), value] for step, value in found if value is not None]


def compared(row: Row, run: Run, setup: Setup) -> Any:
    """[E] what the row compares, by fresh episode of the run's present policies."""
    seen = fresh(run, setup, row.episodes)
    if row.measure != GAIN:
        return values(row.measure, seen)
    own, instead = (x.returns[:, seen.learners].mean(1) for x in (seen, fresh(run, setup, row.episodes, setup.config["opponents"])))
    return (own - instead) / instead.mean()


def fresh(run: Run, setup: Setup, episodes: int, baseline: str | None = None) -> Evaluation:
    """Episodes from keys of their own: neither the run's training, nor its evaluations, nor its final report has met them.

    They are played as the run's evaluations are, greedily or drawn. With a baseline everybody plays it, on the same keys.
    """
    from experiments.build import copies_of
    from marl.evaluate import evaluate, seed_of
    from marl.team import parts, scripted

    make, seed = copies_of(setup), seed_of(run.seed, "published")
    plan, policies = run.plan, run.policies
    if baseline is not None:
        sample = make({}, 1)
        plan = parts(sample, "group")
        policies = {name: scripted(sample, part, baseline, run.seed) for name, part in plan.items()}
    return evaluate(lambda n: make({}, n), plan, policies, episodes, seed, setup.config["evaluation"]["sample"])


def values(measure: str, seen: Evaluation) -> Any:
    """[E] what the row compares, by episode."""
    if measure in RETURNS:
        return seen.returns.sum(1) if measure == "return_sum" else seen.returns.mean(1)
    return seen.metric(measure).mean(1)


def measured(row: Row, metrics: Mapping[str, float]) -> float | None:
    """The measure in a row of metrics.jsonl, None where it holds no evaluation. A sum needs the number of agents, which all learn."""
    if row.measure not in RETURNS:  # a gain is no metric: it has no curve
        return metrics.get(f"evaluation/{row.measure}")
    mean = metrics.get("evaluation/return")
    if mean is None or row.measure == "return_mean":
        return mean
    return mean * agents(row)


def agents(row: Row) -> int:
    """Agents of the row's game."""
    import envs

    game = envs.game(row.task["name"])
    given = {key: value for key, value in row.task.items() if key not in ("name", "preset", "weights")}
    params: Any = game.make_params(row.task.get("preset"), **given)
    return sum(role.count for role in game.roles(params))


def work(row: Row, seed: int, root: Path, modules: list[str], pipe: Any) -> None:
    """The process of a seed: what it prints goes to its folder, how far it is and how it ended into `pipe`."""
    import traceback

    from experiments.cli import load_modules
    from marl.errors import UserError

    folder = folder_of(row, seed, root).path
    folder.mkdir(parents=True, exist_ok=True)
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        load_modules(modules)
        worker(row.kind)(row, seed, root, lambda *told: pipe.send(("progress", *told)))
    except UserError as error:
        pipe.send(("failed", str(error)))
    except KeyboardInterrupt:
        pipe.send(("failed", "interrupted"))
    except Exception as error:
        traceback.print_exc()
        pipe.send(("failed", f"{type(error).__name__}: {error}, see {folder / OUTPUT}"))
    else:
        pipe.send(("done", ""))


WORKERS = {LEARNED: "experiments.seed_run:learn", SESSIONS: "experiments.sessions:learn", RACE: "experiments.races:run"}
"""Kind of a row -> what a seed of it does."""


def worker(kind: str) -> Callable[..., Outcome]:
    """What a seed of a row of that kind does."""
    module, _, function = WORKERS[kind].partition(":")
    found: Callable[..., Outcome] = getattr(importlib.import_module(module), function)
    return found
