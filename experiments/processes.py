"""Seeds of published rows side by side: a process each, some at a time, their progress in one place."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from experiments.published import SESSIONS, Row
from experiments.seed_run import work, worker
from marl.errors import UserError

LINES = 10
"""Lines of progress a seed."""


@dataclass
class Seat:
    """A seed that runs: its process, its end of the pipe, what was last told."""

    row: Row
    seed: int
    process: Any
    pipe: Any
    began: float
    first: int = -1
    line: int = -1
    said: str = ""
    ended: bool = False

    @property
    def name(self) -> str:
        return f"{self.row.name} seed {self.seed}"


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
    queue, failed = list(tasks), {}
    seats: list[Seat] = []
    try:
        while queue or seats:
            while queue and len(seats) < jobs:
                seats.append(_start(*queue.pop(0), root, list(modules)))
            wait([x for seat in seats for x in (seat.pipe, seat.process.sentinel)], timeout=60)
            for seat in list(seats):
                if not _listen(seat, say):
                    continue
                seats.remove(seat)
                left = f", {len(queue) + len(seats)} to go" if queue or seats else ""
                say(f"{seat.name}: {seat.said or f'done in {time.monotonic() - seat.began:,.0f} s'}{left}")
                if seat.said:
                    failed[seat.row.name, seat.seed] = seat.said
    finally:
        for seat in seats:
            seat.process.kill()
            seat.process.join()
    return failed


def _run_here(tasks: Sequence[tuple[Row, int]], root: Path, say: Callable[[str], None]) -> dict[tuple[str, int], str]:
    """Every task in this process; what is the user's to mend fails a seed, anything else is raised."""
    failed = {}
    for row, seed in tasks:
        seat = Seat(row, seed, None, None, time.monotonic())
        try:
            worker(row.kind)(row, seed, root, lambda *told, seat=seat: _progress(seat, say, *told))
        except UserError as error:
            failed[row.name, seed] = f"FAILED: {error}"
        say(f"{seat.name}: {failed.get((row.name, seed), 'done')}")
    return failed


def _start(row: Row, seed: int, root: Path, modules: list[str]) -> Seat:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(row, seed, root, modules, theirs), name=f"{row.name}-{seed}")
    process.start()
    theirs.close()
    return Seat(row, seed, process, ours, time.monotonic())


def _listen(seat: Seat, say: Callable[[str], None]) -> bool:
    """Take what a seat tells; True once its process has ended, with why in `said` where it failed."""
    try:
        while seat.pipe.poll():
            kind, *told = seat.pipe.recv()
            if kind == "progress":
                _progress(seat, say, *told)
            else:
                seat.ended, seat.said = True, f"FAILED: {told[0]}" if kind == "failed" else ""
    except EOFError:
        seat.process.join()
    if seat.process.is_alive():
        return False
    seat.process.join()
    if not seat.ended:
        seat.said = f"FAILED: its process ended with exit code {seat.process.exitcode}"
    seat.pipe.close()
    return True


def _progress(seat: Seat, say: Callable[[str], None], steps: int, total: int, value: float | None) -> None:
    now = time.monotonic()
    if seat.first < 0:
        seat.first, seat.began = steps, now
    line = LINES * steps // total
    if line > seat.line:
        speed = (steps - seat.first) / max(now - seat.began, 1e-9)
        learned = seat.row.kind != SESSIONS
        said = [f"{min(1.0, steps / total):4.0%} of {total:,} {'steps' if learned else 'sessions'}"]
        said += [f"{speed:,.0f} env steps/s"] if learned and speed else []
        said += [] if value is None else [f"{seat.row.measure} {value:.4g}"]
        say(f"{seat.name}: {', '.join(said)}")
        seat.line = line


def teller(path: Path) -> Callable[[str], None]:
    """Says a line on stderr and adds it to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        with path.open("a") as file:
            file.write(line + "\n")

    return say
