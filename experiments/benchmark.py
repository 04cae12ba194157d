"""`marl benchmark`: speeds as ratios to plain references inside one run, and which of the bounds hold.

The references (a plain-Python twin of the auction, plain torch loops) live beside the tests, so this runs in a checkout.
Ratios are medians over turns in alternation, in processor time where both sides use one thread; start-up and memory are
read off processes of their own.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments import tables
from experiments.cli import parser
from marl.errors import UserError

HEAD = ["what", "ours / plain", "lowest", "highest", "at least", "ours, a CPU second", ""]
RATES = ["what", "a CPU second", "at least", ""]
STARTS = ["what", "processor", "wall", "memory", "at most", ""]
HELP, FIRST_STEP, MEMORY = 1.0, 10.0, 1.5
"""Bounds: seconds of `marl --help`, seconds of a run of one update on a warm cache, GiB of a run of 4,096 lanes x 128 ticks.

Seconds are judged by the processor's time, which is the wait on an idle machine.
"""
LARGE = ["env=auction", "env.n_agents=8", "n_envs=512", "algorithm=ippo", "algorithm.rollout=128", "total_steps=65536"]
SMALL = ["env=auction", "algorithm=ippo", "n_envs=8", "algorithm.rollout=16", "total_steps=128"]


def references(name: str) -> Any:
    """A module of tests.speed, from the checkout that is the working folder. Raises UserError outside one."""
    here = str(Path.cwd())
    if here not in sys.path and Path("tests/speed").is_dir():  # a console script's path has its own folder instead
        sys.path.insert(0, here)
    try:
        return importlib.import_module(f"tests.speed.{name}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "tests":
            raise UserError(
                "marl benchmark compares with references that live beside the tests: run it at the root of a checkout"
            ) from error
        raise


def ratios(quick: bool) -> list[Callable[[], Any]]:
    """The comparisons, in order: rules, then learning at each number of lanes."""
    rules, learning = references("rules"), references("learning")
    lanes = [8, 64] if quick else list(learning.COLLECT)
    by_lanes = [(kind, n) for kind in (learning.collection, learning.training, learning.updating) for n in lanes]
    spread = references("spread")
    lanes_rows = [lambda kind=kind, n=n: kind(n) for kind, n in by_lanes]
    allocation = references("allocation")
    clusters = [lambda n=n: allocation.cluster(n) for n in allocation.SIZES]
    supply = references("supply")
    chains = [*(lambda n=n: supply.supply(n) for n in supply.SIZES), supply.reset]
    return [rules.rules, rules.view, rules.threads, *clusters, *chains, references("trading").book, *lanes_rows, spread.mappo, spread.qmix]


def rates() -> list[list[str]]:
    """Rows of games alone, at their sizes, and beside peers' published rates."""
    classic, supply, trading = references("classic"), references("supply"), references("trading")
    sized = [references("allocation"), references("auctions"), supply, trading]
    turns = [(classic, name) for name in classic.BOUNDS] + [(rows, size) for rows in sized for size in rows.SIZES]
    found = [*(rows.raw(size) for rows, size in turns), *supply.peers(), trading.peer()]
    return [[r.name, f"{r.rate:,.0f} {r.unit}", f"{r.at_least:,.0f}", verdict(r.holds)] for r in found]


def measured(program: str, arguments: Sequence[str]) -> tuple[float, float, float]:
    """(processor seconds, wall seconds, GiB of resident memory at its peak) of a Python program as a process of its own."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise UserError(
            f"benchmark: {arguments[0]} {' '.join(arguments[1:])} failed: {process.stderr.read().decode() if process.stderr else ''}"
        )
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 2**20


def starts() -> list[list[str]]:
    """Rows of start-up and memory."""
    command = "import sys; from experiments.cli import main; sys.exit(main(sys.argv[1:]))"
    with tempfile.TemporaryDirectory() as folder:

        def train(name: str, settings: Sequence[str]) -> tuple[float, float, float]:
            plain = ["evaluation.episodes=2", "evaluation.every=1000000", f"run_dir={Path(folder) / name}"]
            return measured(command, ["train", *settings, *plain])

        shown = measured(command, ["--help"])
        train("warm", SMALL)
        first, large = train("small", SMALL), train("large", LARGE)
    return [
        ["marl --help", *_read(shown), f"{HELP:g} s", verdict(shown[0] <= HELP)],
        ["marl train, a whole run of one update, warm cache", *_read(first), f"{FIRST_STEP:g} s", verdict(first[0] <= FIRST_STEP)],
        ["marl train, 4,096 lanes x 128 ticks", *_read(large), f"{MEMORY:g} GiB", verdict(large[2] <= MEMORY)],
    ]


def _read(cost: tuple[float, float, float]) -> list[str]:
    return [f"{cost[0]:.2f} s", f"{cost[1]:.2f} s", f"{cost[2]:.2f} GiB"]


def verdict(holds: bool) -> str:
    """How a row ends."""
    return "holds" if holds else "FALLS SHORT"


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code, 0 whatever holds: a busy machine is no error."""
    options = parser("benchmark")
    options.add_argument("--quick", action="store_true", help="8 and 64 lanes alone, no start-up and no memory")
    quick = options.parse_args(arguments).quick
    began = [] if quick else starts()  # first: a child's peak counts its parent's memory at the fork
    import torch

    torch.set_num_threads(1)
    rows = []
    for turn in ratios(quick):
        r = turn()
        rate = f"{r.rate:,.0f} {r.unit}"
        rows.append([r.name, f"{r.median:.2f}", f"{r.low:.2f}", f"{r.high:.2f}", f"{r.at_least:g}", rate, verdict(r.holds)])
        print(f"{r.name}: {r.median:.2f}", file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    raw = rates()
    print(tables.table(HEAD, rows))
    print("\n" + tables.table(RATES, raw))
    if began:
        print("\n" + tables.table(STARTS, began))
    every = [*rows, *raw, *began]
    short = [row[0] for row in every if row[-1] != "holds"]
    print(f"\n{len(every) - len(short)} of {len(every)} hold" + (f"; short: {', '.join(short)}" if short else ""))
    print(f"{os.cpu_count()} cores, load {load:.1f}: the two-thread row and the rates mean something on an idle machine only")
    return 0
