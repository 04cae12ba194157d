"""How far a learned policy is from the game's known answer, and which recipe of this tree is made to find it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.compose import Setup
    from marl.evaluate import Evaluation
    from marl.game import Game

NEAR = 0.05
"""Share of the known answer by which a learned metric may differ before the summary says so."""
RECIPES = Path(__file__).parent / "conf" / "experiment"
SIZES = 3
"""Parameters by which a recipe may differ from a run and still be named for it, with their values."""


def distances(game: Game, params: Any, evaluation: Evaluation) -> dict[str, tuple[float, float, bool]]:
    """Metric -> (learned, known, whether they differ by more than NEAR of the known) where the game knows its answer.

    A known value belongs to the metric of its name, in the mean over learning agents, or, as `name_i`, to that of agent i. `return`
    is the return.
    """
    at = game.at(params)
    known = {} if at.known is None else at.known(params)
    found = {}
    for name, answer in known.items():
        learned = _learned(name, evaluation)
        if learned is not None:
            found[name] = (learned, float(answer), abs(learned - float(answer)) > NEAR * max(abs(float(answer)), 1e-9))
    return found


def _learned(name: str, evaluation: Evaluation) -> float | None:
    """The mean of what a known value is about; None where no metric is of that name or its agent does not learn."""
    if name == "return":
        return float(evaluation.by_episode.mean())
    if name in evaluation.metric_names:
        return float(evaluation.metric(name).mean())
    metric, _, number = name.rpartition("_")
    if metric not in evaluation.metric_names or not number.isdigit() or int(number) >= len(evaluation.learners):
        return None
    if not evaluation.learners[int(number)]:
        return None
    return float(evaluation.metrics[:, int(number), evaluation.metric_names.index(metric)].mean())


def recipe(setup: Setup) -> str | None:
    """The words after `marl train` of the experiment that is nearest to a run's game: without curriculum, different in few parameters."""
    from experiments.compose import compose

    assert setup.game is not None
    best: tuple[int, str] | None = None
    for name in _experiments(setup.game.name):
        own = compose([f"experiment={name}"])
        if own.config["curriculum"]["name"] is not None or own.config["opponents"] != setup.config["opponents"]:
            continue
        differ = [f.name for f in fields(own.params) if getattr(own.params, f.name) != getattr(setup.params, f.name)]  # type: ignore[arg-type]
        if len(differ) <= SIZES and (best is None or len(differ) < best[0]):
            best = (len(differ), f"experiment={name}" + "".join(f" env.{key}={getattr(setup.params, key)}" for key in differ))
    return None if best is None else best[1]


def _experiments(game: str) -> list[str]:
    """Names of the experiments on a game: those that choose it, and those that are built on these."""
    texts = {path.stem: path.read_text().splitlines() for path in sorted(RECIPES.glob("*.yaml"))}
    found = [name for name, lines in texts.items() if f"  - override /env: {game}" in lines]
    return found + [name for name, lines in texts.items() if any(f"  - {base}" in lines for base in found)]
