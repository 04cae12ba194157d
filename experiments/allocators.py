"""`marl allocators`: every mechanism of the cluster side by side, learners of runs beside them, and a picture of an episode.

Tenants ask for everything and bid a twentieth of their credits (the baseline `steady`); all mechanisms meet the same episodes, which
trained nobody and chose no policy. Of a run everybody plays as it was trained to, under the run's own mechanism. Runs that differ in their
seed alone are seeds of one row: their mean with its 95 % interval; unlike ones have rows of their own.

A run's cluster and trace are the table's but for `FREE`: the mechanism, which is the row's, the part of the trace and how much of it is
replayed, and what is measured. Where all tenants share one policy, the table may have more or fewer of them than its training had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import envs
from experiments import scoring, seating, tables
from experiments.cli import given_parameters, load_modules, nothing_more, parser
from experiments.entrants import Entrant, by_row, check_there, entrants
from marl import notice
from marl.errors import UserError

SHOWN = ("slowdown_p50", "slowdown_p95", "slowdown_p99", "jain", "utilisation", "sla_missed", "utility", "envy", "fragmentation")
"""Metrics of the table."""
TENANTS = "steady"
PLACED = (
    ("drf, first fit", {"mechanism": "drf", "placement": "first_fit"}),
    ("drf, worst fit", {"mechanism": "drf", "placement": "worst_fit"}),
)
"""Rows beside the mechanisms, which place by best fit: what placement is worth."""


FREE = ("mechanism", "split", "horizon", "warm_up", "alpha", "n_agents")
"""Parameters in which a run's training may differ from the table; another number of tenants needs a policy that all share."""


def means(name: str, settings: Mapping[str, Any], seats: seating.Seats, episodes: int, seed: int) -> list[float]:
    """Means over tenants and episodes of the table's metrics, where these play."""
    from marl.evaluate import evaluate

    notice.at(str({"mechanism": name, **settings}["mechanism"]))
    found = evaluate(lambda n: envs.make(name, n, **settings), *seats, episodes, scoring.episodes_of(seed))
    tenants = found.metrics[:, found.roles["tenant"]]
    return [float(tenants[:, :, found.metric_names.index(metric)].mean()) for metric in SHOWN]


def measured(name: str, settings: Mapping[str, Any], episodes: int, seed: int) -> list[float]:
    """The same where everybody plays `TENANTS`."""
    from marl.team import parts, scripted

    sample = envs.make(name, 1, **settings)
    plan = parts(sample, "group")
    return means(name, settings, (plan, {key: scripted(sample, part, TENANTS) for key, part in plan.items()}), episodes, seed)


def learned(own: Entrant, settings: Mapping[str, Any], episodes: int, seed: int) -> list[float]:
    """The same of a run's best policies, under the run's own mechanism."""
    there = {**settings, "mechanism": own.params.mechanism}  # type: ignore[attr-defined]
    sample = envs.make("allocation_log", 1, **there)
    return means("allocation_log", there, seating.team_seats(own, own.load(), sample, seed), episodes, seed)


def label(own: Entrant, tenants: int) -> str:
    """Algorithm, mechanism, and what else a row of the run has to say: rivals, another number of tenants in training."""
    p: Any = own.params
    who = "learners" if own.rivals is None else f"learner of role tenant among {own.rivals}"
    number = "" if p.n_agents == tenants else f", trained with {p.n_agents} tenants"
    return f"{own.algorithm} {who}, {p.mechanism}{number}"


def lines_of(name: str, settings: Mapping[str, Any], runs: Sequence[str], episodes: int, seed: int) -> list[tables.Line]:
    """The table: a row for each mechanism, for other placements, then for the runs."""
    from envs.resource_allocation.params import MECHANISMS

    p: Any = envs.game(name).make_params(**settings)
    rows = by_row(entrants(runs, "result", ("cluster", "allocation_log"), p, FREE), lambda run: label(run, p.n_agents))
    own: list[tuple[str, dict[str, Any]]] = [(m, {"mechanism": m}) for m in MECHANISMS]
    lines = [tables.Line(label, [measured(name, {**settings, **choice}, episodes, seed)]) for label, choice in [*own, *PLACED]]
    found = {said: [learned(run, settings, episodes, seed) for run in seeds] for said, seeds in rows.items()}
    return lines + [tables.Line(said, values, learners=True) for said, values in found.items()]


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
    options.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="RUN",
        help="a run whose learners stand beside the mechanisms; of one configuration: seeds of a row",
    )
    options.add_argument("--episodes", type=int, default=64, help="episodes of every row (64)")
    options.add_argument("--seed", type=int, default=0, help="of the episodes (0)")
    options.add_argument("-o", "--output", type=Path, help="write the table here as Markdown, with the picture beside it")
    options.add_argument("--record", metavar="NAME", help="keep the table by that name and make docs/resource_allocation.md again")
    options.add_argument("--report", action="store_true", help="make docs/resource_allocation.md again from what is recorded, and stop")
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    check_there(given.run)
    if given.report:
        nothing_more("--report", given.overrides)
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
