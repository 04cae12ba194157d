"""Seeds of published rows side by side: a process each, some at a time, their progress in one place."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments import pool
from experiments.published import SESSIONS, Row
from experiments.seed_run import work, worker
from marl.errors import UserError

LINES = 10
"""Lines of progress a task."""


@dataclass
class Teller:
    """Says how far a task is, some lines in all. `name`: of the task; `measure`: of the value that it tells; `unit`: of its progress."""

    name: str
    measure: str
    say: Callable[[str], None]
    unit: str = "steps"
    started: float = 0.0
    began: float = 0.0
    first: int = -1
    line: int = -1

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def __call__(self, steps: int, total: int, value: float | None) -> None:
        """The task has come to `steps` of `total`."""
        now = time.monotonic()
        if self.first < 0:
            self.first, self.began = steps, now
        line = LINES * steps // total
        if line <= self.line:
            return
        speed = (steps - self.first) / max(now - self.began, 1e-9)
        said = [f"{min(1.0, steps / total):4.0%} of {total:,} {self.unit}"]
        said += [f"{speed:,.0f} env steps/s"] if self.unit == "steps" and speed else []
        said += [] if value is None else [f"{self.measure} {value:.4g}"]
        self.say(f"{self.name}: {', '.join(said)}")
        self.line = line

    def ended(self, why: str, left: int) -> None:
        """The task is over, `left` are to go."""
        to_go = f", {left} to go" if left else ""
        self.say(f"{self.name}: {why or f'done in {time.monotonic() - self.started:,.0f} s'}{to_go}")


def run_all(
    tasks: Sequence[tuple[Row, int]], root: Path, jobs: int, modules: Sequence[str], say: Callable[[str], None]
) -> dict[tuple[str, int], str]:
    """Run every (row, seed), `jobs` at a time, with 0 one after another in this process; returns why some failed.

    One that fails leaves the others theirs.

    Whatever interrupts this ends its processes: what they have computed stays on disk and is continued by the next call.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if jobs == 0:
        return _run_here(tasks, root, say)
    failed: dict[tuple[str, int], str] = {}
    tellers: dict[tuple[str, int], Teller] = {}

    def hear(task: tuple[Row, int], *told: Any) -> None:
        teller = _teller(tellers, task, say)
        if told:
            teller(*told)

    def over(task: tuple[Row, int], why: str, _: Any, left: int) -> None:
        row, seed = task
        if why:
            failed[row.name, seed] = f"FAILED: {why}"
        _teller(tellers, task, say).ended(failed.get((row.name, seed), ""), left)

    pool.run(tasks, jobs, partial(_seed, root, list(modules)), hear, over)
    return failed


def _seed(root: Path, modules: list[str], task: tuple[Row, int], pipe: Any) -> None:
    work(*task, root, modules, pipe)


def _teller(known: dict[tuple[str, int], Teller], task: tuple[Row, int], say: Callable[[str], None]) -> Teller:
    row, seed = task
    unit = "sessions" if row.kind == SESSIONS else "steps"
    return known.setdefault((row.name, seed), Teller(f"{row.name} seed {seed}", row.measure, say, unit))


def _run_here(tasks: Sequence[tuple[Row, int]], root: Path, say: Callable[[str], None]) -> dict[tuple[str, int], str]:
    """Every task in this process; what is the user's to mend fails a seed, anything else is raised."""
    failed = {}
    for row, seed in tasks:
        told = _teller({}, (row, seed), say)
        try:
            worker(row.kind)(row, seed, root, told)
        except UserError as error:
            failed[row.name, seed] = f"FAILED: {error}"
        say(f"{told.name}: {failed.get((row.name, seed), 'done')}")
    return failed


def teller(path: Path) -> Callable[[str], None]:
    """Says a line on stderr and adds it to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        with path.open("a") as file:
            file.write(line + "\n")

    return say
