"""Pictures of a run, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from marl.track import Row

CURVES = {
    "return": ("return an episode", lambda key: key.endswith("return")),
    "score": ("score: naive 0, reference 1", lambda key: key.endswith("score")),
    "losses": ("loss", lambda key: key.startswith("loss/")),
}
"""Picture -> its axis, and which keys of metrics.jsonl it shows."""


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
    for key in keys:
        points = [(row["step"], row[key]) for row in rows if key in row]
        ax.plot(*zip(*points), label=key, marker="." if len(points) < 50 else "", linewidth=1.5 if "evaluation" in key else 1.0)
    count_steps(ax)
    ax.set_ylabel(label)
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    fig.savefig(path, dpi=120)
    return path


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


def allocation(history: Mapping[str, npt.NDArray[Any]], path: Path) -> Path:
    """An episode of the cluster through time: utilisation [T, R] over nodes that are down, queues and dominant shares [T, A]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9.0, 7.0), layout="constrained")
    FigureCanvasAgg(fig)
    use, queues, shares = fig.subplots(3, 1, sharex=True)
    ticks = range(len(history["utilisation"]))
    use.fill_between(ticks, history["down"], color="0.85", step="mid", label="nodes down")
    for r, column in enumerate(history["utilisation"].T):
        use.plot(ticks, column, linewidth=1.2, label=f"resource {r}")
    use.set(ylabel="utilisation", ylim=(0, 1.02))
    colours = [f"C{a % 10}" for a in range(history["queues"].shape[1])]
    labels = [f"tenant {a}" for a in range(len(colours))]
    queues.stackplot(ticks, history["queues"].T, colors=colours, labels=labels, alpha=0.8)
    queues.set(ylabel="waiting jobs")
    for a, column in enumerate(history["shares"].T):
        shares.plot(ticks, column, color=colours[a], linewidth=1.0, alpha=0.8, label=labels[a])
    shares.axhline(1 / len(colours), color="black", linestyle="--", linewidth=1.0, label="equal split")
    shares.set(ylabel="dominant share", xlabel="tick", ylim=(0, None))
    for ax in (use, queues, shares):
        ax.grid(alpha=0.3)
    use.legend(fontsize="small", loc="lower right")
    if len(colours) <= 16:
        shares.legend(fontsize="x-small", loc="upper right", ncols=3)
    fig.savefig(path, dpi=120)
    return path
