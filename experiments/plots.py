"""Pictures of a run, drawn without a display."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from marl.track import Row

CURVES = {
    "return": ("return an episode", lambda key: key.endswith("return")),
    "score": ("score: naive 0, reference 1", lambda key: key.endswith("score")),
    "losses": ("loss", lambda key: key.startswith("loss/") and not key.endswith("/gradient_steps")),
}
"""Picture -> its axis, and which keys of metrics.jsonl it shows."""
CURVED = 12
"""Curves that are drawn one by one, with a place in the legend each."""


def figure(width: float = 7.0, height: float = 4.0) -> tuple[Any, Any]:
    """An empty figure and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots()


def count_steps(ax: Any) -> None:
    """Name the horizontal axis, with thousands and millions as k and M."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    ax.set_xlabel("environment steps")
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(6))


def told_apart(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """Keys whose curves differ: a lone role's is the whole's, and is drawn once, under the shorter name."""
    seen: dict[tuple[float | None, ...], str] = {}
    for key in sorted(keys, key=len):
        seen.setdefault(tuple(row.get(key) for row in rows), key)
    return sorted(seen.values())


def learning_curves(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw return.png, score.png and losses.png into `folder`, each where metrics.jsonl has something for it; returns their paths."""
    drawn = []
    for name, (label, wanted) in CURVES.items():
        keys = told_apart(rows, list({key for row in rows for key in row if wanted(key)}))
        if keys:
            drawn.append(_curves(rows, keys, label, folder / f"{name}.png"))
    return drawn


def _curves(rows: Sequence[Row], keys: Sequence[str], label: str, path: Path) -> Path:
    fig, ax = figure()
    kinds = {key: [key] for key in keys} if len(keys) <= CURVED else alike(keys)
    for kind, members in kinds.items():
        points = [(row["step"], [row[m] for m in members if m in row]) for row in rows if any(m in row for m in members)]
        steps, means = [step for step, _ in points], [sum(found) / len(found) for _, found in points]
        (line,) = ax.plot(
            steps, means, label=kind, marker="." if len(points) < 50 else "", linewidth=1.5 if "evaluation" in kind else 1.0
        )  # fmt: skip
        if len(members) > 1:
            ends = [min(found) for _, found in points], [max(found) for _, found in points]
            ax.fill_between(steps, *ends, color=line.get_color(), alpha=0.2, linewidth=0)
    count_steps(ax)
    ax.set_ylabel(label)
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    fig.savefig(path, dpi=120)
    return path


def alike(keys: Sequence[str]) -> dict[str, list[str]]:
    """Keys of numbered agents by what is left without the number: each is drawn as a mean within its range, with how many they are."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(re.sub(r"_\d+(?=/)", "", key), []).append(key)
    return {f"{kind} (mean and range of {len(members)})" if len(members) > 1 else kind: members for kind, members in found.items()}


Bids = tuple[npt.NDArray[Any], Mapping[str, npt.NDArray[Any]], npt.NDArray[Any]]
"""(values [N], label -> learned bids [N], bids of theory [N])."""
Points = Sequence[tuple[float, float]]


def bid_functions(panels: Mapping[str, Bids], curves: Mapping[str, Mapping[str, Points]], theory: Mapping[str, float], path: Path) -> Path:
    """Learned bids over the theoretical ones, a panel a game, and a panel of the multipliers (step, multiplier) while they learned."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(4.0 * (len(panels) + 1), 3.6), layout="constrained")
    FigureCanvasAgg(fig)
    *places, last = fig.subplots(1, len(panels) + 1)
    for ax, (title, (values, learned, best)) in zip(places, panels.items()):
        for label, bids in learned.items():
            ax.plot(values, bids, linewidth=1.5, label=label)
        ax.plot(values, best, color="black", linestyle="--", linewidth=1.5, label="equilibrium")
        ax.set(title=title, xlabel="value", ylabel="bid")
        ax.legend(fontsize="small")
    for number, (game, runs) in enumerate(curves.items()):
        for i, points in enumerate(runs.values()):
            last.plot(*zip(*points), color=f"C{number}", linewidth=1.0, label=game if i == 0 else None)
        last.axhline(theory[game], color="black", linestyle="--", linewidth=1.5, label="equilibrium" if number == 0 else None)
    count_steps(last)
    last.set(title="learning", ylabel="mean bid over value")
    last.legend(fontsize="small")
    for ax in (*places, last):
        ax.grid(alpha=0.3)
    fig.savefig(path, dpi=120)
    return path
