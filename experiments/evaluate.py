"""`marl evaluate RUN`: a run's policies on fixed seeds, beside the baselines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import tables
from experiments.cli import parser
from experiments.compose import Setup
from experiments.run_folder import RunFolder, find, write
from experiments.stored import stored
from marl.errors import UserError

if TYPE_CHECKING:
    from experiments.players import Players


def evaluate(run: str | Path, episodes: int = 256, checkpoint: str = "best") -> dict[str, Any]:
    """Play `episodes` episodes with the policies of a run's checkpoint; returns the report, and writes it to evaluation.json.

    Raises UserError.
    """
    if episodes < 1:
        raise UserError(f"episodes = {episodes}: legal are whole numbers from 1")
    folder = find(Path(run))
    return report(stored(folder), folder, episodes, checkpoint)


def report(setup: Setup, folder: RunFolder, episodes: int, checkpoint: str) -> dict[str, Any]:
    """The report of a run's checkpoint, written to evaluation.json; with the game's trials (held-out settings) where it has some."""
    from experiments.players import load

    players = load(setup, folder, checkpoint)
    found = {"checkpoint": checkpoint, "step": players.step, **_judged(setup, players, episodes)}
    trials = {} if setup.game is None or setup.game.trials is None else setup.game.trials(setup.params)
    if trials:
        found["trials"] = {name: _judged(replace(setup, params=params), players, episodes) for name, params in trials.items()}
    write(folder.evaluation, json.dumps(found, indent=2) + "\n")
    return found


def _judged(setup: Setup, players: Players, episodes: int) -> dict[str, Any]:
    from experiments.build import copies_of
    from marl.judge import Judge

    make, seed = copies_of(setup), setup.config["seed"]
    judge = Judge(lambda n: make(players.stage, n), players.plan, episodes, seed, trained_focal=setup.config["opponents"] is not None)
    return judge.verdict(players.policies, baselines=True).report(seed)


def show(found: Mapping[str, Any], speed: float | None = None) -> str:
    """A report as text."""
    text = [tables.summary(found, speed)]
    text += [f"\ntrial {name}\n{tables.summary(trial)}" for name, trial in found.get("trials", {}).items()]
    return "\n".join(text)


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("evaluate")
    options.add_argument("run", metavar="RUN", help="run folder")
    options.add_argument("--episodes", type=int, default=256, help="episodes to play (256)")
    options.add_argument("--checkpoint", default="best", help="best or last (best)")
    given = options.parse_args(list(arguments))
    from experiments.cli import load_modules

    load_modules(given.module)
    print(show(evaluate(given.run, given.episodes, given.checkpoint)))
    return 0
