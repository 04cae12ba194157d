"""What the verdict of a row leaves beside its figures: its learning curves as a picture, and its runs in marl-eval's layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import run_folder
from experiments.plots import count_steps, figure
from experiments.published import SESSIONS, Row
from experiments.seed_run import Outcome
from experiments.verdict import Verdict, curve, ours, published

PICTURE, RUNS = "curves.png", "marl-eval.json"
SPREAD = 0.12
"""Room above and below what has to be seen, as a share of it."""


def draw(v: Verdict, outcomes: Sequence[Outcome], path: Path) -> Path:
    """Evaluations of every seed and their mean, beside what was published and what is asked; the fresh episodes stand at the end."""
    row = v.row
    fig, ax = figure(7.2, 4.4)
    for i, o in enumerate(outcomes):
        ax.plot(*zip(*o.curve), color="C0", alpha=0.35, linewidth=0.9, label="each seed" if i == 0 else None)
    points = curve(outcomes)
    ax.plot(*zip(*points), color="C0", linewidth=2.0, label=f"mean of {len(outcomes)} seeds")
    last = points[-1][0]
    if v.mean is not None:
        bars = None if v.low is None or v.high is None else [[v.mean - v.low], [v.high - v.mean]]
        ax.errorbar(
            [1.02 * last], [v.mean], yerr=bars, fmt="D", color="black", markersize=5, capsize=3, label="fresh episodes, 95 % over seeds"
        )
    _asked(row, ax.axhline, ax.axhspan)
    count_steps(ax)
    ax.set_xlim(0, 1.05 * last)
    ax.set_ylim(*_window(v, points))
    ax.set_ylabel(row.measure.replace("_", " "))
    ax.set_title(f"{row.title}: {'PASS' if v.passed else 'FAIL'}", fontsize="medium")
    return _finished(fig, ax, path)


def draw_sessions(v: Verdict, path: Path) -> Path:
    """How the sessions are distributed, beside what was published and what is asked."""
    row = v.row
    fig, ax = figure(7.2, 4.0)
    ax.hist(v.values, bins=20, color="C0", alpha=0.45, label=f"{len(v.values)} sessions")
    _asked(row, ax.axvline, ax.axvspan)
    if v.mean is not None and v.low is not None:
        ax.axvspan(v.low, v.high, color="black", alpha=0.15, linewidth=0)
        ax.axvline(v.mean, color="black", linewidth=1.4, label=f"ours {ours(v)}")
    ax.set_xlabel(row.measure)
    ax.set_ylabel("sessions")
    ax.set_title(f"{row.title}: {'PASS' if v.passed else 'FAIL'}", fontsize="medium")
    return _finished(fig, ax, path)


def _asked(row: Row, line: Any, band: Any) -> None:
    """What was published, with its interval, and what is asked, as lines that `line` and a band that `band` draws."""
    value, half = row.published.value, row.published.half
    line(value, color="C3", linewidth=1.4, label=f"published {published(row)}")
    if half is not None:
        band(value - half, value + half, color="C3", alpha=0.12, linewidth=0)
    for bound in {row.passes.at_least, row.passes.at_most} - {value, float("inf"), -float("inf")}:
        line(bound, color="C2", linestyle="--", linewidth=1.2, label=f"asked: {row.passes.words()}")


def _finished(fig: Any, ax: Any, path: Path) -> Path:
    """Grid, a legend that names everything once, the file."""
    ax.grid(alpha=0.25)
    handles, labels = ax.get_legend_handles_labels()
    named = dict(zip(labels, handles))
    ax.legend(named.values(), named.keys(), fontsize="small", loc="best", framealpha=0.9)
    fig.savefig(path, dpi=130)
    return path


def _window(v: Verdict, points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The vertical range that shows the mean from its first quarter on, what is published and what is asked; early depths may leave it."""
    row = v.row
    half = row.published.half or 0.0
    seen = [y for _, y in points[len(points) // 20 :]] + [row.published.value - half, row.published.value + half, *v.values]
    seen += [x for x in (row.passes.at_least, row.passes.at_most) if abs(x) < float("inf")]
    low, high = min(seen), max(seen)
    room = SPREAD * (high - low) or SPREAD * abs(high) or 1.0
    return low - room, high + room


def evaluated(v: Verdict, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """marl-eval's layout (Gorsane et al. 2022): {env: {task: {algorithm: {seed: {step_i, absolute_metrics}}}}}, lower-case keys.

    `return` is the row's measure. Of a run's own evaluations the mean over episodes is kept, so that their list has one number;
    the absolute metric has every fresh episode of the run's result. `elapsed_time` spreads a seed's seconds evenly over its steps.
    """
    row = v.row
    task = str(row.task["preset"] if "preset" in row.task else row.task["name"]).lower()
    runs = {f"seed_{o.seed}": _run(o) for o in outcomes}
    return {str(row.task["name"]).lower(): {task: {str(row.algorithm["name"]).lower(): runs}}}


def _run(o: Outcome) -> dict[str, Any]:
    steps = {
        f"step_{i}": {"step_count": int(step), "elapsed_time": round(o.wall * step / o.steps, 3), "return": [value]}
        for i, (step, value) in enumerate(o.curve)
    }
    return {**steps, "absolute_metrics": {"return": o.returns}}


def write(v: Verdict, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Picture and runs into the row's folder, where a seed has learned anything."""
    if v.row.kind == SESSIONS and outcomes:
        draw_sessions(v, folder / PICTURE)
    elif outcomes and all(o.curve for o in outcomes):
        draw(v, outcomes, folder / PICTURE)
        run_folder.write(folder / RUNS, json.dumps(evaluated(v, outcomes)) + "\n")
