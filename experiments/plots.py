"""Pictures of a run, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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


def learning_curves(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw return.png, score.png and losses.png into `folder`, each where metrics.jsonl has something for it; returns their paths."""
    drawn = []
    for name, (label, wanted) in CURVES.items():
        keys = sorted({key for row in rows for key in row if wanted(key)})
        if keys:
            drawn.append(_curves(rows, keys, label, folder / f"{name}.png"))
    return drawn


def _curves(rows: Sequence[Row], keys: Sequence[str], label: str, path: Path) -> Path:
    fig, ax = figure()
    for key in keys:
        points = [(row["step"], row[key]) for row in rows if key in row]
        ax.plot(*zip(*points), label=key, marker="." if len(points) < 50 else "", linewidth=1.5 if "evaluation" in key else 1.0)
    ax.set_xlabel("environment steps")
    ax.set_ylabel(label)
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    fig.savefig(path, dpi=120)
    return path


def bid_function(panels: Mapping[str, tuple[npt.NDArray[Any], Mapping[str, npt.NDArray[Any]], npt.NDArray[Any]]], path: Path) -> Path:
    """Learned bids over the theoretical one, a panel a game: title -> (values [N], label -> learned bids [N], theory [N])."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(4.2 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(fig)
    for ax, (title, (values, learned, theory)) in zip(np.atleast_1d(fig.subplots(1, len(panels))), panels.items()):
        ax.plot(values, theory, color="black", linestyle="--", linewidth=2, label="theory")
        for label, bids in learned.items():
            ax.plot(values, bids, linewidth=1.2, label=label)
        ax.set_title(title)
        ax.set_xlabel("value")
        ax.set_ylabel("bid")
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
    fig.savefig(path, dpi=120)
    return path
