"""The page that `marl replay` draws of an episode of any game."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from experiments.tables import table
from marl.game import Column

if TYPE_CHECKING:
    from marl.history import History

ACROSS = 3
LINES = 10
"""Agents that get a line each; of more, their mean and their range are drawn."""
SEEN, DONE = 15, 9
"""Most observation and action columns of a role that are drawn."""
INK = "0.25"
Array = npt.NDArray[Any]


def blank() -> Any:
    """An empty figure that is drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def ending(history: History) -> str:
    """Returns and metrics of every role as a table."""
    returns = history.reward.sum(0)
    rows = [["return", *(_mean(returns[g.lo : g.hi]) for g in history.groups.values())]]
    rows += [[name, *(_mean(history.metric(name, role)) for role in history.groups)] for name in history.metric_names]
    return table(["mean over agents", *history.groups], rows)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else 0.0


@dataclass(frozen=True)
class Panel:
    """Values [T, n] through time, a name for each of the n."""

    title: str
    unit: str
    values: Array
    names: Sequence[str]
    legend: bool = False


def generic(history: History, figure: Any) -> None:
    """Rewards, then of every role its actions and its observation columns through time; below them the metrics of the episode."""
    panels = [panel for role in history.groups for panel in _of_role(history, role)]
    across, down = min(ACROSS, len(panels)), -(-len(panels) // ACROSS)
    words = _columns(ending(history).splitlines(), across)
    heights = [0.5 + 2.4 * down, 0.4 + 0.17 * words.count("\n")]
    figure.set_size_inches(5.2 * across, sum(heights))
    top, foot = figure.subfigures(2, 1, height_ratios=heights)
    top.suptitle(history.title, fontsize="x-large")
    places = top.subplots(down, across, squeeze=False).ravel()
    for place, panel in zip(places, panels):
        lines(place, panel.values, panel.names)
        place.set_title(panel.title, fontsize="medium", loc="left")
        place.set_ylabel(_short(panel.unit), fontsize="small")
        if panel.legend:
            place.legend(fontsize="x-small", loc="upper left", ncols=2)
    for place in places[len(panels) :]:
        place.remove()
    for place in places[max(0, len(panels) - across) : len(panels)]:
        place.set_xlabel("tick")
    foot.text(0.02, 1.0, words, family="monospace", va="top", fontsize=9, color=INK)


def _of_role(history: History, role: str) -> list[Panel]:
    """Panels of a role: its rewards and what they are made of, then the columns that move."""
    group, names, head = history.groups[role], history.names(role), f"{role}: " if len(history.groups) > 1 else ""
    panels = [Panel(f"{head}reward, summed up", "", history.reward[:, group.lo : group.hi].cumsum(0), names, legend=True)]
    parts = {name: history.paid(name, role).mean(1).cumsum() for name in history.component_names}
    parts = {name: values for name, values in parts.items() if values.any()}
    if len(parts) > 1:
        title = f"{head}parts of the reward, before weights"
        panels.append(Panel(title, "mean over agents, summed up", np.stack(list(parts.values()), axis=1), list(parts), legend=True))
    done = {f"does {c}": (column, history.did(c, role)) for c, column in group.action.items()}
    seen = {f"sees {c}": (column, history.seen(c, role)[:-1]) for c, column in group.observation.items() if c != "time_left"}
    for columns, most in ((done, DONE), (seen, SEEN)):
        moving = {name: found for name, found in columns.items() if np.ptp(found[1]) > 0 or (history.ticks == 1 and columns is done)}
        kept = list(moving.items())[:most]
        panels += [Panel(head + name, _unit(column), values, names) for name, (column, values) in kept]
    return panels


def _unit(column: Any) -> str:
    return column.unit if isinstance(column, Column) else "choice"


def _short(text: str) -> str:
    """A text for an axis: two lines, cut where it is longer."""
    found = textwrap.wrap(text, 32)
    return "\n".join(found[:2]) + (" …" if len(found) > 2 else "")


def _columns(rows: Sequence[str], across: int) -> str:
    """The rows of a table under its head, side by side in so many blocks."""
    head, body = rows[:2], rows[2:]
    high, wide = -(-len(body) // across), max(map(len, rows)) + 6
    blocks = [[*head, *body[i : i + high]] for i in range(0, len(body), high)]
    return "\n".join("".join((b[i] if i < len(b) else "").ljust(wide) for b in blocks).rstrip() for i in range(high + 2))


def lines(ax: Any, values: Array, names: Sequence[str]) -> None:
    """Values [T, n] through time: a line for each of a few names, one for all where they agree, else the mean within the range."""
    ticks, n = np.arange(len(values)), values.shape[1]
    marker = "." if len(values) < 20 else ""
    if n > 1 and (values == values[:, :1]).all():
        ax.plot(ticks, values[:, 0], color=INK, linewidth=1.2, marker=marker, label="all")
    elif n <= LINES:
        for name, column in zip(names, values.T):
            ax.plot(ticks, column, linewidth=1.0, marker=marker, label=name)
    else:
        ax.fill_between(ticks, values.min(1), values.max(1), color="C0", alpha=0.2, linewidth=0, label=f"range of {n}")
        ax.plot(ticks, np.median(values, axis=1), color="C0", linewidth=0.8, linestyle=":", label="median")
        ax.plot(ticks, values.mean(1), color="C0", linewidth=1.4, marker=marker, label="mean")
    ax.grid(alpha=0.3)
    ax.margins(x=0.01)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.tick_params(labelsize="small")
