"""`marl train -m`: a run for every combination of values, each in a process of its own, and their table.

One that is refused, raises or is killed leaves the others theirs, and the table says why it has no row. The same command on the same
`run_dir` runs what is missing: what is done is not run again, what was interrupted goes on where it was. The combinations of the basic
sweeper and the launchers basic (one at a time) and joblib (`hydra.launcher.n_jobs` at a time) run here; sweepers that search (Optuna, Ax,
Nevergrad) and other launchers are Hydra's own, and get the score of each run, or its return where there is no score.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from experiments import pool, sweep_run, tables
from experiments.cli import complain
from experiments.compose import composed, in_folder, refused, resolve, session
from experiments.processes import Teller
from experiments.run_folder import write
from experiments.sweep_run import Value, job
from experiments.trust import chosen
from marl.errors import UserError

__all__ = ["job", "multirun"]
COLUMNS = ("last score", "last return", "last step", "best score", "best return", "best step")
"""Of a run in the sweep's table: its last policies, and its best where it has one, on episodes that chose neither."""
FOLDER = "run_dir='runs/${now:%Y%m%d-%H%M%S}-${drawn:}-sweep'"
OURS = ("basic", "joblib")
"""Launchers whose work is done here."""
FAILED = "failed"
"""How a run ended that was not refused and has no result."""


def multirun(overrides: Sequence[str]) -> int:
    """Run all combinations, or what is missing of them, and print the table. Returns the exit code; raises UserError for refused runs.

    The exit code is 1 where a run raised or was killed.
    """
    parsed = _parsed(overrides)
    sweeper, launcher = (_choice(parsed, f"hydra/{name}") for name in ("sweeper", "launcher"))
    hydras = [o.get_key_element() for o in parsed if o.get_key_element().startswith("hydra.sweeper.")]
    root = _root(overrides, parsed)
    if sweeper == "basic" and launcher in OURS and not hydras:
        rows, ended = _here(parsed, root), None
    else:
        rows, ended = _by_hydra(overrides, parsed, root)
    if not rows and ended is not None:
        raise refused(ended) from ended
    return _told(rows, root, ended)


def _told(rows: Sequence[Mapping[str, Any]], root: Path, ended: Exception | None) -> int:
    """Print the table and, at its end, what failed; returns the exit code."""
    lost = [row for row in rows if "error" in row]
    shown = [[row["run"], *(row.get(column) for column in COLUMNS), row["folder"]] for row in rows]
    why = [[row.get("error")] for row in rows] if lost else [[] for _ in rows]
    print(tables.table(["run", *COLUMNS, "folder", *(["why not"] if lost else [])], [a + b for a, b in zip(shown, why)]))
    said = "; ".join(f"{row['run']}: {row['error']}".removeprefix(": ") for row in lost)
    crashed = [row for row in lost if row["ended"] == FAILED]
    if not crashed and ended is None:
        if lost:
            raise UserError(f"{len(lost)} of {len(rows)} runs refused: {said}")
        return 0
    text = f"{len(lost)} of {len(rows)} runs failed: {said}" if lost else f"the sweep ended early: {type(ended).__name__}: {ended}"
    complain(UserError(f"{text}; the same command with run_dir={root} runs what is missing"))
    return 1


# ---- combinations ---------------------------------------------------------------------------------------------------


def _parsed(overrides: Sequence[str]) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return list(OverridesParser.create().parse_overrides(list(overrides)))


def _choice(parsed: Sequence[Any], group: str) -> str:
    """What was chosen of one of Hydra's own groups."""
    named = [override for override in parsed if override.key_or_group == group]
    if named and named[-1].is_sweep_override():
        raise UserError(f"{group}: one for the whole sweep is expected")
    return str(named[-1].value()) if named else "basic"


def _root(overrides: Sequence[str], parsed: Sequence[Any]) -> Path:
    """The sweep's folder. Raises UserError."""
    fixed = [line for line, override in zip(overrides, parsed) if not override.is_sweep_override()]
    if any(override.is_sweep_override() and override.key_or_group == "run_dir" for override in parsed):
        raise UserError("run_dir: one folder for the whole sweep is expected, each run has its own in it; a comma is written in quotes")
    named = any(override.key_or_group == "run_dir" for override in parsed)
    try:
        found = str(composed([*fixed, *([] if named else [FOLDER])]).run_dir)
    except Exception as error:
        raise refused(error) from error
    if not found.strip():
        raise UserError(f"run_dir = {found!r}: the path of a folder is expected")
    return Path(found)


def combinations(parsed: Sequence[Any]) -> list[list[str]]:
    """The overrides of every run, in the order of Hydra's basic sweeper: the last key runs fastest. Raises UserError."""
    values: dict[str, list[str]] = {}
    for override in parsed:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [override.input_line]
        elif override.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            searching = "a sweeper that searches draws from it (hydra/sweeper=optuna)"
            raise UserError(f"override {override.input_line!r}: the basic sweeper takes values, as in 1e-4,1e-3 or range(0,5); {searching}")
    return [list(lines) for lines in product(*values.values())]


def _names(runs: Sequence[Sequence[str]]) -> list[str]:
    """What each run is called: its overrides that not all have."""
    shared = set.intersection(*map(set, runs)) if len(runs) > 1 else set(runs[0])
    return [" ".join(line for line in lines if line not in shared) for lines in runs]


# ---- runs of the basic sweeper --------------------------------------------------------------------------------------


def _here(parsed: Sequence[Any], root: Path) -> list[dict[str, Any]]:
    """Rows of all combinations, after what is missing of them has been run. Raises UserError for what no run could be composed of."""
    runs = combinations(parsed)
    own = [[line for line in lines if not line.startswith(("hydra/", "hydra.", "run_dir="))] for lines in runs]
    jobs = _jobs(next(iter(runs)))
    configs = [
        composed([*lines, in_folder(root / str(i))]) for i, lines in enumerate(own)
    ]  # a mistyped key ends the sweep before it begins
    rows = [{"run": name, "folder": str(root / str(i))} for i, name in enumerate(_names(runs))]
    missing = []
    for i, config in enumerate(configs):
        try:
            setup = resolve(config)
            chosen(setup.config)
            sweep_run.check(setup, root / str(i))
            found = sweep_run.done(setup, root / str(i))
        except UserError as error:
            rows[i] |= {"error": str(error), "ended": "refused"}
            (root / str(i)).mkdir(parents=True, exist_ok=True)
        else:
            rows[i] |= found or {}
            missing += [i] if found is None else []
    _write_record(runs[0], root)
    _run([(i, own[i], root / str(i)) for i in missing], rows, jobs)
    return rows


def _run(tasks: Sequence[tuple[int, list[str], Path]], rows: list[dict[str, Any]], jobs: int) -> None:
    """Run what is missing, `jobs` at a time, and put what came of it into the rows."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    alone, tellers = jobs == 1, dict[int, Teller]()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def hear(task: tuple[int, list[str], Path], *told: Any) -> None:
        name = rows[task[0]]["run"] or "run"
        if not told:
            tellers[task[0]] = Teller(name, "return", say)
            say(f"{name}: starts in {task[2]}")
        elif not alone:
            tellers[task[0]](*told)

    def over(task: tuple[int, list[str], Path], why: str, found: Any, left: int) -> None:
        row = {"ended": FAILED, "error": why} if found is None else found
        rows[task[0]] |= row
        tellers[task[0]].ended(f"failed: {row['error']}" if "error" in row else "", left)

    pool.run(tasks, min(jobs, max(1, len(tasks))), partial(sweep_run.work, alone), hear, over, "forkserver")


def _jobs(lines: Sequence[str]) -> int:
    """How many runs at a time the launcher is for: one, or joblib's n_jobs, where -1 is one a core. Raises UserError."""
    found: Any = composed([line for line in lines if not line.startswith("run_dir=")], hydra=True).hydra.launcher
    if "n_jobs" not in found:
        return 1
    given, cores = int(found.n_jobs), os.cpu_count() or 1
    if given == 0:
        raise UserError("hydra.launcher.n_jobs = 0: legal are whole numbers but 0, -1 is one for every core")
    return given if given > 0 else max(1, cores + 1 + given)


def _write_record(lines: Sequence[str], root: Path) -> None:
    """Hydra's record of a sweep: its configuration."""
    from omegaconf import OmegaConf

    root.mkdir(parents=True, exist_ok=True)
    kept = [line for line in lines if not line.startswith("run_dir=")]
    write(root / "multirun.yaml", OmegaConf.to_yaml(composed([*kept, in_folder(root)], hydra=True)))


# ---- other sweepers and launchers -----------------------------------------------------------------------------------


def _by_hydra(overrides: Sequence[str], parsed: Sequence[Any], root: Path) -> tuple[list[dict[str, Any]], Exception | None]:
    """(rows of the runs that Hydra's sweeper made, what ended it early)."""
    from hydra.core.global_hydra import GlobalHydra

    lines = [line for line, override in zip(overrides, parsed) if override.key_or_group != "run_dir"]
    ended, batches = None, None
    with session():
        hydra: Any = GlobalHydra.instance().hydra
        try:
            batches = hydra.multirun("train", job, [*lines, in_folder(root)], with_log_configuration=False)
        except Exception as error:
            ended = error
    found = [ret.return_value for batch in batches or [] for ret in batch]  # a sweeper that searches returns nothing
    rows = [value.row for value in found if isinstance(value, Value)] or sweep_run.recorded(root)
    if rows:
        names = _names([row["overrides"] for row in rows])
        rows = [{**row, "run": name} for row, name in zip(rows, names)]
    return rows, ended
