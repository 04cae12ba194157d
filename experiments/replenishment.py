"""`marl replenishment`: what daily demand costs on days that nobody was trained or tuned on, under scripted policies and runs.

Levels of base stock, (s, S) and moving averages are searched on the training days by the rules themselves (`envs.supply_chain.tuning`),
item by item. Learners are runs of `experiment=supply_chain_log` in the table's setting, but for `FREE`, the part of the file;
all items of a row play as the run was trained to. Runs that differ in their seed alone are seeds of one row. All replay the held-out days
from the first to the last, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import scoring, seating, tables
from experiments.cli import load_modules, parser
from experiments.compose import Setup, compose
from experiments.entrants import Entrant, by_row, check_there, entrants
from marl import notice
from marl.errors import UserError

FREE = ("split",)
"""Parameters in which a run's training may differ from the table, which is of the held-out days in any case."""
BASELINES = {
    "pass_through": "orders what was sold the day before",
    "base_stock": "up to fixed levels, tuned",
    "reorder": "(s, S), tuned",
    "moving_average": "up to the average of the last days and a safety stock, tuned",
}
SHOWN = ("cost", "holding", "shortage", "ordering", "fill_rate", "stockout_days", "bullwhip", "mase")
HEAD = """# Supply chain: real daily demand

Made by `marl replenishment`; do not edit. Costs are those of a day and item, means over items. Policies named tuned have their levels
from the training days, the first part of the file, item by item; learners were trained on the same days and play their last policies:
the mean over seeds with Student's 95 % interval. All meet the same held-out days, which come later in the year.
"""


def held_out(setup: Setup) -> Any:
    """The run's setting on the held-out days, from the first to the last. Raises UserError for another game."""
    if setup.game is None or setup.game.name != "supply_chain_log":
        raise UserError(f"env = {setup.config['env']['name']!r}: legal is supply_chain_log")
    p: Any = setup.params
    test = replace(p, split="test")
    return replace(test, horizon=test.replay_days, warm_up=0)


def scripted_row(setup: Setup, baseline: str) -> list[float]:
    """Means over items of the table's metrics where everybody plays a baseline."""
    from marl.team import parts, scripted

    notice.at(baseline)
    sample = _copies(setup, 1)
    plan = parts(sample, "group")
    return _played(setup, (plan, {name: scripted(sample, part, baseline, 0) for name, part in plan.items()}))


def learned_row(setup: Setup, own: Entrant) -> list[float]:
    """The same of a run's last policies: which were best was judged by one item."""
    return _played(setup, seating.team_seats(own, own.load(), _copies(setup, 1), 0))


def _copies(setup: Setup, n: int) -> Any:
    """Copies of the held-out days."""
    from marl.vector import VectorGame

    assert setup.game is not None
    return VectorGame(setup.game, n, held_out(setup))


def _played(setup: Setup, seats: seating.Seats) -> list[float]:
    from marl.evaluate import evaluate

    found = evaluate(lambda n: _copies(setup, n), *seats, 1, scoring.episodes_of(0))
    return [float(found.metrics[0, :, found.metric_names.index(name)].mean()) for name in SHOWN]


def lines_of(setup: Setup, runs: Sequence[str]) -> list[tables.Line]:
    """The table: a row for each scripted policy, then for the runs of each configuration, of the same setting. Raises UserError."""
    assert setup.params is not None
    own = entrants(runs, "last", ("supply_chain_log",), setup.params, FREE)
    rows = by_row(own, lambda run: run.algorithm if run.rivals is None else f"{run.algorithm}, one item among {run.rivals}")
    lines = [tables.Line(name, [scripted_row(setup, name)]) for name in BASELINES]
    found = {label: [learned_row(setup, run) for run in seeds] for label, seeds in rows.items()}
    return lines + [tables.Line(label, values, learners=True) for label, values in found.items()]


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("replenishment")
    options.add_argument("overrides", nargs="*", metavar="key=value", help="of experiment=supply_chain_log: env.trace=FILE ...")
    options.add_argument(
        "--run", action="append", default=[], metavar="RUN", help="a run whose learners stand beside; of one configuration: seeds of a row"
    )
    options.add_argument("-o", "--output", type=Path, help="write the table here as Markdown")
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    check_there(given.run)
    setup = compose(["experiment=supply_chain_log", *given.overrides])
    rows = [line.cells() for line in lines_of(setup, given.run)]
    print(tables.table(["policy", *SHOWN], rows))
    if given.output is not None:
        p: Any = held_out(setup)
        days = f"{p.replay_days} held-out days, {len(p.training)} training days, {p.n_agents} items, lead {p.lead}"
        costs = f"a unit on hand costs {p.holding}, one owed {p.penalty}, an order {p.fixed:g}"
        named = "\n".join(f"- `{name}`: {said}" for name, said in BASELINES.items())
        given.output.parent.mkdir(parents=True, exist_ok=True)
        body = f"{Path(p.trace).name}: {days}; {costs}.\n\n{tables.markdown(['policy', *SHOWN], rows)}\n\n{named}\n"
        given.output.write_text(f"{HEAD}\n{body}")
    return 0
