"""Tasks side by side, a process each: one that raises or whose process is killed leaves the others theirs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

SHORTLY = 10.0
"""Seconds that a process has to end in when the command is interrupted; then it is killed."""
PRELOADED = ("torch", "numba", "tianshou.algorithm", "hydra", "marl.train", "envs", "algorithms")
"""What the server that forks processes imports once, where they are many."""


@dataclass
class Seat:
    """A task that runs: its process, our end of the pipe, how it ended and what it found."""

    task: Any
    process: Any
    pipe: Any
    ended: bool = False
    said: str = ""
    found: Any = None


def run(
    tasks: Sequence[Any],
    jobs: int,
    work: Callable[[Any, Any], None],
    hear: Callable[..., None],
    over: Callable[[Any, str, Any, int], None],
    method: str = "spawn",
) -> None:
    """Call `work(task, pipe)` for every task in a process of its own, `jobs` at a time.

    It sends ("progress", ...) into the pipe, which `hear(task, ...)` gets (nothing but the task when it starts), and in the end
    ("done", what it found) or ("failed", why). `over(task, why, found, left)` is told how each ended, with why = "" for a task that is
    done, and how many are left. Whatever interrupts this ends the processes: they are asked first, then killed. `method`: how processes
    start; with "forkserver" the libraries are imported once for all.
    """
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(list(PRELOADED))
    queue, seats = list(tasks), list[Seat]()
    try:
        while queue or seats:
            while queue and len(seats) < jobs:
                seats.append(_start(context, queue.pop(0), work))
                hear(seats[-1].task)
            wait([x for seat in seats for x in (seat.pipe, seat.process.sentinel)], timeout=60)
            for seat in list(seats):
                if _listen(seat, hear):
                    seats.remove(seat)
                    over(seat.task, seat.said, seat.found, len(queue) + len(seats))
    finally:
        _end(seats)


def _start(context: Any, task: Any, work: Callable[[Any, Any], None]) -> Seat:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_enter, args=(work, task, theirs, os.getcwd(), dict(os.environ)))
    process.start()
    theirs.close()
    return Seat(task, process, ours)


def _enter(work: Callable[[Any, Any], None], task: Any, pipe: Any, folder: str, variables: dict[str, str]) -> None:
    """In the new process: where and with what environment the command runs now, and not longer than it; SIGTERM ends it as Ctrl-C does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    work(task, pipe)


def _listen(seat: Seat, hear: Callable[..., None]) -> bool:
    """Take what a task tells; True once its process has ended, with why in `said` where it failed."""
    try:
        while seat.pipe.poll():
            kind, *told = seat.pipe.recv()
            if kind == "progress":
                hear(seat.task, *told)
            else:
                seat.ended = True
                seat.said, seat.found = (str(told[0]), None) if kind == "failed" else ("", told[0])
    except EOFError:
        seat.process.join()
    if seat.process.is_alive():
        return False
    seat.process.join()
    if not seat.ended:
        seat.said = f"its process {_fate(seat.process.exitcode)}"
    seat.pipe.close()
    return True


def _fate(code: int) -> str:
    """How a process ended that told nothing."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was ended by {name}" + (" (out of memory, perhaps)" if name == "SIGKILL" else "")


def _end(seats: Sequence[Seat]) -> None:
    for seat in seats:
        seat.process.terminate()
    for seat in seats:
        seat.process.join(SHORTLY)
        if seat.process.is_alive():
            seat.process.kill()
            seat.process.join()


def _end_with_parent() -> None:
    """A killed command leaves no process behind that would hold its folders."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
