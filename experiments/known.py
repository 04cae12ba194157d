"""How far a learned policy is from the game's known answer, and which recipe of this tree is made to find it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.compose import Setup
    from marl.evaluate import Evaluation

NEAR = 0.05
"""Share of the known answer by which a learned metric may differ before the summary says so."""
NOTHING = 1e-6
"""What a learned metric may differ from a known 0."""
RECIPES = Path(__file__).parent / "conf" / "experiment"
SIZES = 3
"""Parameters by which a recipe may differ from a run and still be named for it, with their values."""


@dataclass(frozen=True)
class Distance:
    """Of a learned metric from the known one: `far` where it differs by more than NEAR of the known and the error.

    `error` is half of the 95 % interval of the mean over episodes: what a few short ones cannot tell is not said to be missed.

    `kind` is "optimum", or "equilibrium" of agents that all learn for themselves, or "elsewhere": of the equilibrium where others follow
    a baseline, which a learner among them need not come to and so is never far from.
    """

    learned: float
    error: float
    known: float
    far: bool
    kind: str


def distances(setup: Setup, evaluation: Evaluation) -> dict[str, Distance]:
    """Distance by metric, where the game of a run, with the run's parameters and who is paid what, knows its answer.

    A known value belongs to the metric of its name, in the mean over learning agents, or, as `name_i`, to that of agent i. `return`
    is the return.
    """
    known, best = answers(setup)
    import numpy as np

    from marl import stats

    alone, among = len(evaluation.learners) == 1, setup.config["opponents"] is not None
    found = {}
    for name, answer in ((name, float(value)) for name, value in known.items()):
        played = _learned(name, evaluation)
        if played is None or not np.isfinite(played).all():
            continue
        mean = stats.student_interval(played)
        learned, error = mean.point, (mean.high - mean.low) / 2
        kind = "optimum" if alone or best.get(name) == answer else "elsewhere" if among else "equilibrium"
        far = kind != "elsewhere" and abs(learned - answer) > max(NEAR * abs(answer), NOTHING) + error
        found[name] = Distance(learned, error, answer, far, kind)
    return found


def answers(setup: Setup) -> tuple[dict[str, float], dict[str, float]]:
    """What is known of a run's game, under the names of metrics and others, and what of agents that share one reward."""
    assert setup.game is not None
    at: Any = setup.game.at(setup.params)
    best = {} if at.together is None else dict(at.together(setup.params))
    if setup.config["reward"] != "individual":
        return best, best
    return {} if at.known is None else dict(at.known(setup.params)), best


def _learned(name: str, evaluation: Evaluation) -> Any:
    """By episode [E] what a known value is about; None where no metric is of that name or its agent does not learn."""
    if name == "return":
        return evaluation.by_episode
    if name in evaluation.metric_names:
        return evaluation.metric(name).mean(1)
    metric, _, number = name.rpartition("_")
    if metric not in evaluation.metric_names or not number.isdigit() or int(number) >= len(evaluation.learners):
        return None
    if not evaluation.learners[int(number)]:
        return None
    return evaluation.metrics[:, int(number), evaluation.metric_names.index(metric)]


def recipe(setup: Setup) -> str | None:
    """The words after `marl train` of the experiment that is nearest to a run's game: without curriculum, different in few parameters."""
    from experiments.compose import compose

    assert setup.game is not None
    best: tuple[int, str] | None = None
    for name in _experiments(setup.game.name):
        own = compose([f"experiment={name}"])
        if own.game is not setup.game or own.config["curriculum"]["name"] is not None:
            continue
        if own.config["opponents"] != setup.config["opponents"]:
            continue
        differ = [f.name for f in fields(own.params) if getattr(own.params, f.name) != getattr(setup.params, f.name)]  # type: ignore[arg-type]
        if len(differ) <= SIZES and (best is None or len(differ) < best[0]):
            best = (len(differ), " ".join([f"experiment={name}", *(_word(key, getattr(setup.params, key)) for key in differ)]))
    return None if best is None else best[1]


def _word(key: str, value: Any) -> str:
    """A parameter as a word of the command line: a text of several words in quotes, for the shell and for the configuration."""
    if isinstance(value, str) and not value.replace("_", "").isalnum():
        return f"env.{key}=\"'{value}'\""
    return f"env.{key}={'null' if value is None else value}"


def _experiments(game: str) -> list[str]:
    """Names of the experiments on a game: those that choose it, and those that are built on these."""
    texts = {path.stem: path.read_text().splitlines() for path in sorted(RECIPES.glob("*.yaml"))}
    found = [name for name, lines in texts.items() if f"  - override /env: {game}" in lines]
    return found + [name for name, lines in texts.items() if any(f"  - {base}" in lines for base in found)]
