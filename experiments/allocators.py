"""`marl allocators`: every mechanism of the cluster side by side, learners of runs beside them, and a picture of an episode.

Tenants ask for everything and bid a twentieth of their credits (the baseline `steady`); all mechanisms meet the same episodes.
Runs of one algorithm under one mechanism are seeds of one row: their mean with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import envs
from experiments import tables
from experiments.cli import given_parameters, load_modules, parser
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.evaluate import Evaluation
    from marl.vector import VectorGame

SHOWN = ("slowdown_p50", "slowdown_p95", "slowdown_p99", "jain", "utilisation", "sla_missed", "utility", "envy", "fragmentation")
"""Metrics of the table."""
TENANTS = "steady"
PLACED = (
    ("drf, first fit", {"mechanism": "drf", "placement": "first_fit"}),
    ("drf, worst fit", {"mechanism": "drf", "placement": "worst_fit"}),
)
"""Rows beside the mechanisms, which place by best fit: what placement is worth."""


def act(game: VectorGame, baseline: str) -> None:
    """Write a baseline's actions of all roles into `game.action`."""
    generator = np.random.default_rng(0)
    for view in game.groups.values():
        rows = np.ascontiguousarray(view.obs).reshape(-1, view.group.width)
        chosen = game.game.baselines[baseline](game.params, rows, generator)
        view.group.cut_action(game.action)[:] = chosen.reshape(game.n_envs, view.group.n, -1)


def measured(name: str, settings: Mapping[str, Any], episodes: int, seed: int) -> list[float]:
    """Means over tenants and episodes of the table's metrics."""
    game = envs.make(name, episodes, **settings)
    game.reset(seed)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        act(game, TENANTS)
        game.tick()
    count: int = game.params.n_agents  # type: ignore[attr-defined]
    tenants = game.metrics[:, :count]
    return [float(tenants[:, :, game.metric_names.index(metric)].mean()) for metric in SHOWN]


def learned(path: str, settings: Mapping[str, Any], episodes: int, seed: int) -> tuple[str, list[float]]:
    """(algorithm and mechanism, the same means) of a run's best policies in the same episodes, under the run's own mechanism.

    Raises UserError for a run of another game.
    """
    from experiments.stored import loaded
    from marl.evaluate import play

    setup, run, *_ = loaded(path, games=("cluster", "allocation_log"))
    mechanism = setup.config["env"]["mechanism"]
    game = envs.make("allocation_log", episodes, **{**settings, "mechanism": mechanism})
    game.reset(seed)
    found: Evaluation = play(game, run.plan, run.policies)
    count: int = game.params.n_agents  # type: ignore[attr-defined]
    means = [float(found.metrics[:, :count, found.metric_names.index(metric)].mean()) for metric in SHOWN]
    return f"{setup.config['algorithm']['name']} learners, {mechanism}", means


def lines_of(name: str, settings: Mapping[str, Any], runs: Sequence[str], episodes: int, seed: int) -> list[tables.Line]:
    """The table: a row for each mechanism, for other placements, then for the runs."""
    from envs.resource_allocation.params import MECHANISMS

    own: list[tuple[str, dict[str, Any]]] = [(m, {"mechanism": m}) for m in MECHANISMS]
    lines = [tables.Line(label, [measured(name, {**settings, **choice}, episodes, seed)]) for label, choice in [*own, *PLACED]]
    return lines + tables.learners(learned(path, settings, episodes, seed) for path in runs)


def picture(overrides: Sequence[str], settings: Mapping[str, Any], path: Path) -> Path:
    """One held-out episode of `steady` tenants under dominant resource fairness, on the cluster's own page."""
    from experiments.replay import replay

    given = [f"env.{line.removeprefix('env.')}" for line in overrides]
    held = [] if any(line.startswith("env.split=") for line in given) else [f"env.split={settings['split']}"]
    replay(["env=allocation_log", *given, *held, "env.mechanism=drf"], path, baseline=TENANTS)
    return path


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    from experiments import allocation_page

    options = parser("allocators")
    options.add_argument("overrides", nargs="*", metavar="key=value", help="parameters of env=allocation_log: trace=FILE n_agents=8 ...")
    options.add_argument("--run", action="append", default=[], metavar="RUN", help="a run whose learners stand beside the mechanisms")
    options.add_argument("--episodes", type=int, default=64, help="episodes of every row (64)")
    options.add_argument("--seed", type=int, default=0, help="of the episodes (0)")
    options.add_argument("-o", "--output", type=Path, help="write the table here as Markdown, with the picture beside it")
    options.add_argument("--record", metavar="NAME", help="keep the table by that name and make docs/resource_allocation.md again")
    options.add_argument("--report", action="store_true", help="make docs/resource_allocation.md again from what is recorded, and stop")
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    if given.report:
        print(allocation_page.write_page())
        return 0
    if given.episodes < 1:
        raise UserError(f"--episodes = {given.episodes}: legal are whole numbers from 1")
    settings = parameters(given.overrides)
    lines = lines_of("allocation_log", settings, given.run, given.episodes, given.seed)
    print(tables.table(["mechanism", *SHOWN], [line.cells() for line in lines]))
    table = allocation_page.Table(given.record or "", said(given.overrides), given.episodes, SHOWN, lines)
    if given.record is not None:
        allocation_page.record(table, lambda path: picture(given.overrides, settings, path))
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        drawn = picture(given.overrides, settings, given.output.with_suffix(".png"))
        given.output.write_text(allocation_page.alone(table, drawn.name))
    return 0


def said(overrides: Sequence[str]) -> str:
    """The setting in words, a trace by its file's name."""
    pairs = [line.removeprefix("env.").partition("=") for line in overrides]
    return " ".join(f"{key}={Path(value).name if key == 'trace' else value}" for key, _, value in pairs) or "the defaults"


def parameters(overrides: Sequence[str]) -> dict[str, Any]:
    """Parameters of `allocation_log` from `key=value` texts, on the held-out part unless another is asked for. Raises UserError."""
    settings = given_parameters("allocators", overrides, split="test")
    envs.game("allocation_log").make_params(**settings)
    return settings
