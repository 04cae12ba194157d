"""The page of an episode for `marl replay`: the network with its flows and stocks, what is on hand and owed, the bullwhip through time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from envs.supply_chain.state import ITEM, LINK

if TYPE_CHECKING:
    from marl.history import History

FEW = 12
"""Nodes that get a line each."""


def page(history: History, figure: Any) -> None:
    """Left the network, customers at the bottom; right stocks, what is owed, and orders by level beside customers' demand."""
    p: Any = history.params
    figure.set_size_inches(13.0, 9.0)
    cost, fill = history.metric("network_cost")[0], history.metric("fill_rate")[p.tables()["nodes"][:-1, 6] >= 0].mean()
    figure.suptitle(
        f"{history.title}\n{p.n_agents} nodes, {p.products} products: cost of a tick {cost:.4g}, customers' fill rate {fill:.3f}",
        fontsize="large",
    )
    grid = figure.add_gridspec(3, 2, width_ratios=[1.0, 1.25], hspace=0.06, wspace=0.06)
    _network(history, figure.add_subplot(grid[:, 0]))
    stock, owed, orders = (figure.add_subplot(grid[i, 1]) for i in range(3))
    _lines(history, stock, "stock", "On hand")
    _lines(history, owed, "owed", "Owed to buyers and customers")
    _bullwhip(history, orders)
    for ax in (stock, owed, orders):
        ax.grid(alpha=0.3)
        ax.margins(x=0)
        ax.title.set_fontsize("medium")
    orders.set(xlabel="tick")


def units(history: History, name: str) -> Any:
    """A column of ITEM summed over products, [T, N] units; what counts a tick is that of the tick before."""
    return history.state["item"][..., ITEM.index(name)].sum(2) / history.params.parts


def places(p: Any) -> Any:
    """Where nodes stand [N + 1, 2]: as high as they are far from the customers, side by side; the outside on top."""
    depth = np.append(p.layout.depth, p.layout.depth.max() + 1)
    found = np.zeros((len(depth), 2))
    found[:, 1] = depth
    for level in range(int(depth.max()) + 1):
        here = np.flatnonzero(depth == level)
        found[here, 0] = (np.arange(len(here)) + 0.5) / len(here)
    return found


def _network(history: History, ax: Any) -> None:
    """Nodes as large as their mean stock, coloured by fill rate; links as wide as their mean shipments."""
    p: Any = history.params
    at, net = places(p), p.layout
    sent = history.state["link"][1:, :, :, LINK.index("sent")].sum(2).mean(0) if history.ticks > 1 else np.ones(len(net.buyer))
    for e, (j, i) in enumerate(zip(net.buyer, net.up)):
        (x, y), (to_x, to_y) = at[i], at[j]
        width = 0.4 + 5.0 * sent[e] / max(sent.max(), 1e-9)
        ax.annotate("", (to_x, to_y), (x, y), arrowprops={"arrowstyle": "-|>", "lw": width, "color": "0.65", "shrinkA": 8, "shrinkB": 12})
    stock, fill = units(history, "stock").mean(0), history.metric("fill_rate")
    size = 150 + 1_200 * stock / max(stock.max(), 1e-9)
    dots = ax.scatter(at[:-1, 0], at[:-1, 1], s=size, c=fill, cmap="RdYlGn", vmin=0.0, vmax=1.0, edgecolors="black", zorder=3)
    ax.scatter(*at[-1], s=200, marker="s", color="0.85", edgecolors="black", zorder=3)
    ax.annotate("outside", at[-1], xytext=(0, 12), textcoords="offset points", ha="center", fontsize=8)
    if p.n_agents <= 2 * FEW:
        for j in range(p.n_agents):
            ax.annotate(f"{j}", at[j], ha="center", va="center", fontsize=8, zorder=4)
    ax.figure.colorbar(dots, ax=ax, orientation="horizontal", pad=0.06, label="fill rate", shrink=0.8)
    ax.set(
        title="Network: size mean stock, width mean shipments",
        yticks=range(int(at[-1, 1]) + 1),
        ylabel="links from the customers",
        xticks=[],
    )
    ax.set_xlim(-0.08, 1.08)
    ax.title.set_fontsize("medium")


def _lines(history: History, ax: Any, name: str, title: str) -> None:
    """A line for each of a few nodes; of many the mean of each level."""
    values, p = units(history, name), history.params
    if p.n_agents <= FEW:
        for j in range(p.n_agents):
            ax.plot(values[:, j], linewidth=1.1, label=f"node {j}")
    else:
        for level in range(int(p.layout.depth.max()) + 1):
            ax.plot(values[:, p.layout.depth == level].mean(1), linewidth=1.2, label=f"level {level}, mean")
    ax.set(ylabel="units", title=title, ylim=(0, None))
    ax.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _bullwhip(history: History, ax: Any) -> None:
    """Orders of all nodes of a level, in units of their mean, beside customers' demand: they swing the more, the farther up."""
    p: Any = history.params
    ordered, came = units(history, "ordered")[1:], units(history, "came")[1:]
    retail = p.tables()["nodes"][:-1, 6] >= 0
    demand = came[:, retail].sum(1)
    if not len(demand):
        ax.set(title="Orders: one tick shows none")
        return
    for level in range(int(p.layout.depth.max()), -1, -1):
        orders = ordered[:, p.layout.depth == level].sum(1)
        ratio = (orders.std() / max(orders.mean(), 1e-9)) ** 2 / max((demand.std() / max(demand.mean(), 1e-9)) ** 2, 1e-9)
        said = f"level {level}" + (f": {ratio:.2f} x the\nvariance of demand" if demand.std() > 0 else "")
        ax.plot(orders / max(orders.mean(), 1e-9), linewidth=0.9, label=said)
    ax.plot(demand / max(demand.mean(), 1e-9), color="black", linewidth=1.4, label="customers' demand")
    ax.set(ylabel="over the mean", title="Orders through time: the bullwhip")
    ax.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
