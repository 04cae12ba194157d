"""`marl reproduce ROW`: rerun a published result and say PASS or FAIL.

A process a seed, some at a time, each an ordinary run in a folder of its own. A seed that is finished is not run again, one
that was interrupted goes on where it was, one that fails is reported and leaves the others theirs. Exit code 1 for a FAIL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import curves, processes, published, races, recorded, run_folder
from experiments.cli import load_modules, nothing_more, parser
from experiments.published import Row, chosen
from experiments.races import OURS, THEIRS, Comparison, Race
from experiments.seed_run import differences, outcome_of
from experiments.tables import table
from experiments.verdict import Verdict, clock, content, show, verdict
from marl.errors import UserError

ROOT = Path("runs/reproduce")
VERDICT, PROGRESS = "verdict.json", "progress.log"


def reproduce(
    row: str | Row, seeds: int | Sequence[int] | None = None, jobs: int = 2, root: str | Path = ROOT, modules: Sequence[str] = ()
) -> Verdict:
    """Run what is missing of a row's seeds (a number of them, or their list; by default the row's own) and judge it. Raises UserError."""
    load_modules(modules)
    wanted = chosen([row], published.load())[0] if isinstance(row, str) else row
    return reproduce_all([wanted], seeds, jobs, Path(root), modules)[0]


def reproduce_all(
    rows: Sequence[Row], seeds: int | Sequence[int] | None = None, jobs: int = 2, root: Path = ROOT, modules: Sequence[str] = ()
) -> list[Verdict]:
    """`reproduce` for several rows, whose seeds share the `jobs` processes. Raises UserError before anything runs."""
    failed = finish(rows, seeds, jobs, root, modules)
    return [_judged(row, _seeds(row, seeds), root, failed[row.name]) for row in rows]


def race_all(
    wanted: Sequence[Race], seeds: int | Sequence[int] | None = None, jobs: int = 2, root: Path = ROOT, modules: Sequence[str] = ()
) -> list[Comparison]:
    """Run what is missing of both sides of races, and compare them. Raises UserError before anything runs."""
    sides = [(race.row(OURS), race.row(THEIRS)) for race in wanted]
    failed = finish([row for pair in sides for row in pair], seeds, jobs, root, modules)
    found = []
    for race, pair in zip(wanted, sides):
        outcomes = [[o for seed in _seeds(row, seeds) if (o := outcome_of(row, seed, root)) is not None] for row in pair]
        lost = [f"{row.name} seed {seed} has no result ({why})" for row in pair for seed, why in failed[row.name].items()]
        found.append(races.compare(race, outcomes[0], outcomes[1], lost))
        run_folder.write(root / f"{race.name}-race.json", json.dumps(races.content(found[-1]), indent=1) + "\n")
    return found


def finish(
    rows: Sequence[Row], seeds: int | Sequence[int] | None, jobs: int, root: Path, modules: Sequence[str]
) -> dict[str, dict[int, str]]:
    """Run every seed that has no outcome yet; returns by row which failed, and why. Raises UserError before anything runs."""
    if jobs < 0:
        raise UserError(f"jobs = {jobs} processes: legal are whole numbers from 0, which runs all here, one after another")
    for row in rows:
        row.check()
    tasks = [(row, seed) for row in rows for seed in _seeds(row, seeds)]
    for row, seed in tasks:
        changed = differences(row, seed, root)
        if changed:
            folder = root / row.name / f"seed-{seed}"
            raise UserError(f"{folder} was made with {'; '.join(changed)}: move it away, or name another --dir")
    missing = [(row, seed) for row, seed in tasks if outcome_of(row, seed, root) is None]
    lost = processes.run_all(missing, root, jobs, modules, processes.teller(root / PROGRESS))
    return {row.name: {seed: why for (name, seed), why in lost.items() if name == row.name} for row in rows}


def _seeds(row: Row, given: int | Sequence[int] | None) -> list[int]:
    if given is None:
        given = row.seeds
    seeds = list(range(given)) if isinstance(given, int) else sorted(set(given))
    if not seeds or min(seeds) < 0:
        raise UserError(f"seeds = {given}: a number of seeds from 1 or a list of seeds from 0 is expected")
    return seeds


def _judged(row: Row, seeds: Sequence[int], root: Path, failed: dict[int, str]) -> Verdict:
    found = [outcome_of(row, seed, root) for seed in seeds if seed not in failed]
    outcomes = [o for o in found if o is not None]
    made, folder = verdict(row, outcomes, failed), root / row.name
    folder.mkdir(parents=True, exist_ok=True)
    run_folder.write(folder / VERDICT, json.dumps(content(made), indent=1) + "\n")
    curves.write(made, outcomes, folder)
    return made


def listing(rows: Sequence[Row], contests: Sequence[Race]) -> str:
    """What there is to reproduce."""
    from experiments.verdict import published as value

    head = ["row", "published", "passes", "reward", "steps a seed", "seeds", "CPU a seed", "where"]
    lines = [[r.name, value(r), r.passes.words(), r.reward, r.steps, r.seeds, clock(60 * r.minutes), r.published.where] for r in rows]
    raced = [
        [r.name, f"{r.measure} {r.goal.words().removeprefix('mean ')}", f"theirs >= {r.ratio:g} x ours", r.seeds, r.title] for r in contests
    ]
    return f"{table(head, lines)}\n\n{table(['race (--efficiency)', 'goal', 'passes', 'seeds', ''], raced)}"


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code: 1 where a row fails."""
    options = parser("reproduce")
    options.add_argument("rows", nargs="*", metavar="ROW", help="rows of --list")
    options.add_argument("--all", action="store_true", help="every row")
    options.add_argument("--list", action="store_true", help="show the rows and stop")
    options.add_argument("--seeds", help="how many seeds, or which: 5, or 0,3,4 (the row's own number)")
    options.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes at a time (2, or 1 on one core); 0: none but this one"
    )
    options.add_argument("--efficiency", action="store_true", help="ROW names races: steps to a goal, tuned against a published setting")
    options.add_argument("--record", action="store_true", help="keep the verdicts in experiments/rows/results and make the page again")
    options.add_argument("--report", action="store_true", help="make docs/reproduction.md again from what is recorded, and stop")
    options.add_argument("--dir", type=Path, default=ROOT, help=f"where runs and verdicts go ({ROOT})")
    given = options.parse_args(list(arguments))
    load_modules(given.module)
    rows, contests = published.load(), races.load_races()
    for option in ("list", "report"):
        if getattr(given, option):
            nothing_more(f"--{option}", given.rows)
    if given.list:
        print(listing(list(rows.values()), list(contests.values())))
        return 0
    if given.report:
        print(recorded.write_page())
        return 0
    if given.all == bool(given.rows):
        raise UserError("marl reproduce: rows are expected, or --all; --list shows them")
    known = contests if given.efficiency else rows
    names = list(known) if given.all else given.rows
    how = None if given.seeds is None else _seed_list(given.seeds), given.jobs, given.dir, given.module
    passed = _race(chosen(names, contests), how, given.record) if given.efficiency else _rerun(chosen(names, rows), how, given.record)
    if given.record:
        recorded.write_page()
    return 0 if passed else 1


def _rerun(rows: Sequence[Row], how: Any, record: bool) -> bool:
    """Rerun rows and show them; whether all pass."""
    verdicts = reproduce_all(rows, *how)
    print(show(verdicts))
    for v in verdicts if record else ():
        recorded.record(v, how[2])
    return all(v.passed for v in verdicts)


def _race(wanted: Sequence[Race], how: Any, record: bool) -> bool:
    """Run races and show them; whether all pass."""
    found = race_all(wanted, *how)
    print(races.show(found))
    for c in found if record else ():
        recorded.record_race(c)
    return all(c.passed for c in found)


def _seed_list(text: str) -> int | list[int]:
    """`5` or `0,3,4`."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds = {text!r}: a number, or numbers like 0,3,4 are expected") from error
    return numbers if "," in text else numbers[0]
