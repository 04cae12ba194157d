"""Rows of kind `sessions`: tabular Q-learners (`algorithms.tabular`) on a game whose players act at once and see the last tick.

A seed is `episodes` sessions that share nothing. What they play for is read off the compiled game: a copy for every joint action.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from experiments import run_folder
from experiments.published import Row
from experiments.seed_run import OUTCOME, Outcome, Usage, folder_of, judged
from marl.errors import UserError

if TYPE_CHECKING:
    from algorithms.tabular import Sessions, Tabular
    from marl.vector import VectorGame

NAME = "tabular"
MEASURES = ("collusion",)


def parts(row: Row) -> tuple[dict[str, Any], Tabular]:
    """Parameters of the row's game with its preset, and the settings of its learners. Raises UserError."""
    import envs
    from algorithms.tabular import Tabular

    algorithm, given = dict(row.algorithm), {key: value for key, value in row.task.items() if key != "name"}
    if algorithm.pop("name") != NAME:
        raise UserError(f"row {row.name}: algorithm.name = {row.algorithm['name']!r}: legal for sessions is {NAME}")
    if row.measure not in MEASURES or row.measure not in envs.game(row.task["name"]).metrics:
        raise UserError(f"row {row.name}: measure = {row.measure!r}: legal for sessions are {', '.join(MEASURES)}, where the game has it")
    try:
        return given, Tabular(**{**algorithm, "limit": row.steps})
    except TypeError as error:
        raise UserError(f"row {row.name}: algorithm: {error}") from error


def payoff(game: VectorGame, m: int) -> npt.NDArray[np.float64]:
    """[m, ..., m, A] what one tick pays for every joint action. The game has a copy for each: m^A."""
    agents = game.n_agents
    joint = np.stack(np.meshgrid(*[np.arange(float(m))] * agents, indexing="ij"), -1).reshape(-1, agents, 1)
    game.reset(0)
    game.step(joint)
    paid: npt.NDArray[np.float64] = game.components.sum(2, dtype=np.float64).reshape(*[m] * agents, agents)
    return paid


def learn(row: Row, seed: int, root: Path, tell: Callable[[int, int, float | None], None]) -> Outcome:
    """Play the seed's sessions; a seed that was interrupted begins again. Raises UserError."""
    import envs
    from algorithms import tabular

    given, settings = parts(row)
    folder = folder_of(row, seed, root)
    folder.path.mkdir(parents=True, exist_ok=True)
    usage = Usage(folder.path)
    tell(0, row.episodes, None)
    one: Any = envs.make(row.task["name"], 1, **given).params
    game = envs.make(row.task["name"], one.m**one.n_agents, **given)
    found = tabular.play(payoff(game, one.m), settings, row.episodes, seed)
    index = collusion(found, one)
    tell(row.episodes, row.episodes, float(index.mean()))
    outcome = _outcome(row, seed, found, index, usage)
    run_folder.write(folder.path / OUTCOME, json.dumps(asdict(outcome)) + "\n")
    return outcome


def collusion(found: Sessions, params: Any) -> npt.NDArray[np.float64]:
    """[N] index of collusion: mean profit, 0 at the equilibrium of one tick and 1 at monopoly."""
    profit = found.rewards.mean(1)
    index: npt.NDArray[np.float64] = (profit - params.nash_profit) / (params.monopoly_profit - params.nash_profit)
    return index


def _outcome(row: Row, seed: int, found: Sessions, index: npt.NDArray[np.float64], usage: Usage) -> Outcome:
    """Steps are ticks of all sessions; sessions that reached the limit without converging are counted."""
    git = run_folder.git_state(Path(__file__).parent)
    left = int((~found.converged).sum())
    spent = usage.total()
    return Outcome(
        row.name, seed, [float(x) for x in index], float(index.std(ddof=1)), float(index.mean()),
        {"not converged": left} if left else {}, [round(float(x), 6) for x in index], [], int(found.ticks.sum()), judged(row),
        spent["wall"], spent["cpu"], None if git is None else git["commit"],
    )  # fmt: skip
