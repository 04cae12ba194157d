"""`marl evaluate RUN`: a run's policies on fixed seeds, beside the baselines."""

from __future__ import annotations

import json
from argparse import BooleanOptionalAction
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import tables
from experiments.cli import load_modules, parser
from experiments.compose import Setup
from experiments.run_folder import RunFolder, find, write
from experiments.stored import take, to_play
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.train import Run

CHECKPOINTS = ("result", "best", "last")
"""Of which result is the run's best where it has one, else its last."""


def evaluate(
    run: str | Path, episodes: int = 256, checkpoint: str = "result", best_response: int = 0, sample: bool | None = None
) -> dict[str, Any]:
    """Play `episodes` episodes with the policies of a run's checkpoint; returns the report, and writes it to evaluation.json.

    `best_response`: environment steps for which best responses of every role are trained, to the policies as they draw and to their
    modes; the report then has what each gains, a lower bound of the exploitability. 0: none is trained. `sample`: whether policies
    draw from their distributions or act at their mode; None: as the run's evaluations did. Raises UserError.
    """
    if best_response < 0:
        raise UserError(f"best_response = {best_response} steps: legal are whole numbers from 0, 0 trains none")
    check_asked(episodes, checkpoint)
    folder = find(Path(run))
    setup = to_play(folder)
    found, played = report(setup, folder, episodes, checkpoint, sample)
    if best_response:
        exploited(setup, folder, played, found, best_response, episodes)
    return found


def check_asked(episodes: int, checkpoint: str) -> None:
    """Raise UserError for what no evaluation can be."""
    if not isinstance(episodes, int) or episodes < 2:
        raise UserError(f"episodes = {episodes}: legal are whole numbers from 2, an interval needs two")
    if checkpoint not in CHECKPOINTS:
        raise UserError(f"checkpoint = {checkpoint!r}: legal are {', '.join(CHECKPOINTS)}")


def exploited(setup: Setup, folder: RunFolder, run: Run, found: dict[str, Any], steps: int, episodes: int) -> None:
    """Put into a report, and write it again, what best responses of `steps` env steps gain over the run's policies.

    Role -> way (`marl.exploit.attacked`) -> the gain with its interval, beside what the policy is paid itself.
    """
    import algorithms
    from marl.exploit import attacked

    gains = attacked(run, algorithms.load(setup.config["algorithm"]["name"]), steps, episodes)
    found["exploitability"] = {role: {way: asdict(gain) for way, gain in own.items()} for role, own in gains.items()}
    write(folder.evaluation, json.dumps(found, indent=2) + "\n")


def report(setup: Setup, folder: RunFolder, episodes: int, checkpoint: str, sample: bool | None = None) -> tuple[dict[str, Any], Run]:
    """The report of a run's checkpoint, written to evaluation.json, and the run that holds its policies.

    Where the game has trials (held-out settings), the report has each of them beside the run's own setting.
    """
    from experiments.build import copies_of, run_of
    from experiments.known import distances, recipe
    from marl.sample import reasons

    run = run_of(setup, folder)
    name, step = take(run, folder, checkpoint)
    sample = run.schedule.evaluation_sample if sample is None else sample
    beside = _beside(setup, folder, name, episodes, sample)
    verdict = run.judge(episodes, sample)
    found = {"checkpoint": name, "step": step, "sample": sample, "certain": reasons(run.policies), **verdict.report(run.seed)}
    found["checkpoints"] = {name: _short(found), **beside}
    found["learners"] = int(verdict.evaluation.learners.sum())
    if setup.game is not None:
        setup = replace(setup, params=replace(setup.params, **run.stage_params))  # type: ignore[type-var]
        found["stage"] = run.stage
        known = distances(setup, verdict.evaluation)
        found["known"] = {metric: asdict(distance) for metric, distance in known.items()}
        found["recipe"] = recipe(setup) if any(distance.far for distance in known.values()) else None
        for trial, params in {} if setup.game.trials is None else setup.game.trials(setup.params).items():  # type: ignore[union-attr]
            elsewhere = partial(copies_of(replace(setup, params=params)), {})
            found.setdefault("trials", {})[trial] = run.judge(episodes, sample, make=elsewhere).report(run.seed)
    write(folder.evaluation, json.dumps(found, indent=2) + "\n")
    return found, run


def _beside(setup: Setup, folder: RunFolder, name: str, episodes: int, sample: bool) -> dict[str, Any]:
    """What the run's other checkpoint comes to on the same episodes, where it has one of another step."""
    from experiments.build import run_of

    other = {"best": "last", "last": "best"}[name]
    if not (folder.path / f"{other}.pt").exists():
        return {}
    run = run_of(setup, folder)
    _, step = take(run, folder, other)
    return {other: _short({"step": step, **run.judge(episodes, sample, baselines=False).report(run.seed)})}


def _short(found: Mapping[str, Any]) -> dict[str, Any]:
    """Step, return and scores of a report."""
    return {key: found[key] for key in ("step", "return", "score", "scores", "together")}


def show(found: Mapping[str, Any], speed: float | None = None) -> str:
    """A report as text."""
    text = [tables.summary(found, speed)]
    text += [f"\ntrial {name}\n{tables.summary(trial)}" for name, trial in found.get("trials", {}).items()]
    return "\n".join([*text, *tables.drawn(found)])


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("evaluate")
    options.add_argument("runs", metavar="RUN", nargs="+", help="run folder; several, of one game, with --ensemble")
    options.add_argument("--episodes", type=int, default=256, help="episodes to play (256)")
    options.add_argument(
        "--checkpoint", default="result", help="result, best or last (result: the best where the run has one, else the last)"
    )
    options.add_argument("--sample", action=BooleanOptionalAction, help="policies draw, or act at their mode (as the run's evaluations)")
    options.add_argument("--best-response", type=int, metavar="STEPS", help="train best responses of every role, print their gains")
    options.add_argument("--ensemble", metavar="KIND", help="the runs act as one: mean, vote or uncertainty (weighted by its inverse)")
    options.add_argument("--weights", type=float, nargs="+", metavar="W", help="of the members, in their order (equal)")
    options.add_argument("--temperature", type=float, metavar="T", help="of a softmax over a member's values, in units of reward (1)")
    options.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the report of an ensemble goes, as JSON")
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    if given.ensemble is not None:
        print(_together(given))
        return 0
    for name in ("weights", "temperature", "output"):
        if getattr(given, name) is not None:
            raise UserError(f"--{name}: goes with --ensemble, the report of one run is in its evaluation.json")
    if len(given.runs) > 1:
        raise UserError(f"RUN = {', '.join(given.runs)}: one run is expected, or --ensemble mean|vote|uncertainty")
    print(show(evaluate(given.runs[0], given.episodes, given.checkpoint, given.best_response or 0, given.sample)))
    return 0


def _together(given: Any) -> str:
    """The runs as an ensemble: its report as text."""
    from experiments.ensembles import Asked, command

    if given.best_response is not None:
        raise UserError(f"--best-response {given.best_response}: is trained against one run, not against an ensemble")
    if given.sample:
        raise UserError("--sample: an ensemble combines what its members do to one action, there is nothing to draw from")
    temperature = 1.0 if given.temperature is None else given.temperature
    return command(given.runs, Asked(given.ensemble, given.weights, temperature, given.output), given.episodes, given.checkpoint)
