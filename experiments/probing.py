"""`marl probe env=NAME`: whether the columns of a game can be learned, and whether its reference is one.

Agent 0 of every role is moved along each of its continuous columns while all else follows the reference (`marl.probe`); a line says what
it earns there and what is wrong. Exit code 1 where something is that the game does not declare as meant (`Game.unscaled`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import tables
from experiments.cli import parser
from experiments.compose import compose
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.probe import Scan

SHOWN = 9
"""Values of a column in the table."""


def probe(overrides: Sequence[str], episodes: int = 96) -> tuple[list[Scan], dict[str, list[str]]]:
    """(every column's scan, `role.column` -> what is wrong with it) of the game that `key=value` overrides describe. Raises UserError."""
    from experiments.build import copies_of
    from marl import probe as probing

    if episodes < 2:
        raise UserError(f"--episodes = {episodes}: legal are whole numbers from 2")
    setup = compose(overrides)
    if setup.game is None:
        raise UserError("env = 'pettingzoo': a foreign environment has no reference to probe its columns at")
    meant = setup.game.at(setup.params).unscaled
    scans, wrong = [], {}
    for found in probing.scan(partial(copies_of(setup), {}), episodes, seed=setup.config["seed"]):
        scans.append(found)
        print(f"{found.role}.{found.name}", file=sys.stderr, flush=True)
        if found.faults() and f"{found.role}.{found.name}" not in meant:
            wrong[f"{found.role}.{found.name}"] = found.faults()
    return scans, wrong


def show(scans: Sequence[Scan]) -> str:
    """A row for every column: its range, what is earned from its low to its high, by the reference, by the naive policy."""
    rows = []
    for s in scans:
        along = " ".join(tables.number(float(x)) for x in s.means[:: max(1, (len(s.means) - 1) // (SHOWN - 1))])
        span = f"[{s.column.low:g}, {s.column.high:g}] {s.column.scale}"
        ends = (float(s.reference.mean()), float(s.naive.mean()))
        rows.append([f"{s.role}.{s.name}", span, along, *ends, f"{s.near:.0%}", f"{s.flat:.0%}"])
    return tables.table(["column", "range", "return from low to high", "reference", "naive", "near the best", "flat"], rows)


def draw(scans: Sequence[Scan], path: Path) -> Path:
    """A panel for every column: return over its range, with the reference's and the naive policy's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = min(4, len(scans))
    tall = -(-len(scans) // wide)
    fig = Figure(figsize=(3.6 * wide, 2.8 * tall), layout="constrained")
    FigureCanvasAgg(fig)
    places = fig.subplots(tall, wide, squeeze=False).ravel()
    for ax, s in zip(places, scans, strict=False):
        ax.plot(s.values, s.means, marker=".", linewidth=1.2, label="constant")
        ax.axhline(s.reference.mean(), color="black", linestyle="--", linewidth=1.2, label="reference")
        ax.axhline(s.naive.mean(), color="grey", linestyle=":", linewidth=1.2, label="naive")
        ax.set(title=f"{s.role}.{s.name}", xscale="log" if s.column.scale == "log" else "linear", xlabel=s.column.unit or None)
        ax.grid(alpha=0.3)
    for ax in places[len(scans) :]:
        ax.remove()
    places[0].set_ylabel("return of agent 0")
    places[0].legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=120)
    return path


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code: 1 where a column or the reference is not as it should be."""
    options = parser("probe")
    options.add_argument("overrides", nargs="+", metavar="key=value", help="env=NAME and its parameters")
    options.add_argument("--episodes", type=int, default=96, help="episodes of every value (96)")
    options.add_argument("-o", "--output", type=Path, metavar="FILE", help="draw the returns along every column here (.png, .pdf, .svg)")
    given = options.parse_intermixed_args(list(arguments))
    if given.output is not None and given.output.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"-o {given.output}: legal endings are .png, .pdf, .svg")
    named = any(line.startswith("algorithm=") for line in given.overrides)
    setup_lines = [*given.overrides, *([] if named else ["algorithm=ippo"])]
    scans, wrong = probe(setup_lines, given.episodes)
    if not scans:
        print("no continuous column: nothing to probe")
        return 0
    print(show(scans))
    for name, faults in wrong.items():
        for fault in faults:
            print(f"{name}: {fault}")
    if given.output is not None:
        print(f"picture: {draw(scans, given.output)}")
    return 1 if wrong else 0
