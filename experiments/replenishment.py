"""`marl replenishment`: what daily demand costs on days that nobody was trained or tuned on, under scripted policies and runs.

Levels of base stock, (s, S) and moving averages are searched on the training days by the rules themselves (`envs.supply_chain.tuning`),
item by item; learners are runs of `experiment=supply_chain_log`, those of one algorithm seeds of one row. All replay the held-out days
from the first to the last, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import tables
from experiments.cli import parser
from experiments.compose import Setup, compose
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.evaluate import Evaluation

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
    from marl.vector import VectorGame

    assert setup.game is not None
    game = VectorGame(setup.game, 1, held_out(setup))
    plan = parts(game, "group")
    return _played(game, plan, {name: scripted(game, part, baseline, 0) for name, part in plan.items()})


def learned_row(setup: Setup, path: str) -> tuple[str, list[float]]:
    """(algorithm, the same) of a run's last policies: which were best was judged by one item. Raises UserError for another setting."""
    from experiments.stored import loaded
    from marl.vector import VectorGame

    own, run, *_ = loaded(path, "last", games=("supply_chain_log",))
    if own.params != setup.params:
        other = [k for k, v in asdict(own.params).items() if v != asdict(setup.params)[k]]  # type: ignore[call-overload]
        raise UserError(f"--run {path}: its env.{other[0]} differs, runs of one setting stand in one table")
    assert own.game is not None
    return own.config["algorithm"]["name"], _played(VectorGame(own.game, 1, held_out(own)), run.plan, run.policies)


def _played(game: Any, plan: Mapping[str, Any], policies: Mapping[str, Any]) -> list[float]:
    from marl.evaluate import play

    game.reset(0)
    found: Evaluation = play(game, plan, policies)
    return [float(found.metrics[0, :, found.metric_names.index(name)].mean()) for name in SHOWN]


def lines_of(setup: Setup, runs: Sequence[str]) -> list[tables.Line]:
    """The table: a row for each scripted policy, then for the runs of each algorithm, of the same setting. Raises UserError."""
    lines = [tables.Line(name, [scripted_row(setup, name)]) for name in BASELINES]
    return lines + tables.learners(learned_row(setup, path) for path in runs)


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("replenishment")
    options.add_argument("overrides", nargs="*", metavar="key=value", help="of experiment=supply_chain_log: env.trace=FILE ...")
    options.add_argument(
        "--run", action="append", default=[], metavar="RUN", help="a run whose learners stand beside; of one algorithm: seeds of a row"
    )
    options.add_argument("-o", "--output", type=Path, help="write the table here as Markdown")
    given = options.parse_intermixed_args(list(arguments))
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
