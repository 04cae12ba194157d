"""Pages of an episode for `marl replay`: the book through time, inventories and profits of a market; schedules; quotes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from envs.trading.ledger import MICRO
from envs.trading.state import HELD, MARK, PART, TALLY

if TYPE_CHECKING:
    from marl.history import History

FEW = 12
"""Agents that get a line and a place in the legend each."""


def market(history: History, figure: Any) -> None:
    """Of asset 0: the book (or the agents' quotes) under the mid through time; then holdings, profits, and what profits are made of."""
    p: Any = history.params
    figure.set_size_inches(11.0, 12.0)
    figure.suptitle(f"{history.title}\n{_setting(history)}", fontsize="large")
    book, held, profit, parts = figure.subplots(4, 1, height_ratios=[1.8, 1.1, 1.1, 0.8])
    ticks = np.arange(history.ticks)
    _prices(history, book, ticks)
    shares, worth = history.state["shares"][:, : p.n_agents, 0], history.state["tally"][:, : p.n_agents]
    start, last = TALLY.index("start"), TALLY.index("last")
    gains = (worth[:, :, last] - worth[:, :, start]) / MICRO
    several = len(history.agents) <= FEW
    for a, name in enumerate(history.agents):
        line: dict[str, Any] = {"linewidth": 1.1} if several else {"linewidth": 0.5, "alpha": 0.4, "color": f"C{p.tables()['role'][a]}"}
        if several:
            line["label"] = name
        if (p.seats == p.assets) or (0 - a) % p.assets < p.seats:
            held.step(ticks, shares[:, a] / p.lot, where="post", **line)
        profit.plot(ticks, gains[:, a], **line)
    held.set(ylabel="lots", title="Holdings of asset 0")
    profit.set(ylabel="$", title="Profits", xlabel="tick")
    _parts(history, parts)
    for ax in (book, held, profit):
        ax.margins(x=0)
        ax.grid(alpha=0.3)
    if several:
        profit.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _prices(history: History, ax: Any, ticks: Any) -> None:
    """Shares at each price of the book as shades, bids blue and asks red, with the mid; off the book the quotes of agents as points."""
    p: Any = history.params
    marks = history.state["mark"][:, 0]
    mid = marks[:, MARK.index("mid")] / p.tick_size
    low, high = int(mid.min()) - 20, int(mid.max()) + 21
    if history.state["level"].shape[2] > 1:
        depth = np.full((history.ticks, high - low), np.nan)
        for t in ticks:
            base, best = marks[t, MARK.index("base")] - low, marks[t, MARK.index("ask")]
            for k, size in enumerate(history.state["level"][t, 0, :, 2]):
                if size > 0 and 0 <= base + k < high - low:
                    depth[t, base + k] = -size if k < best else size
        top = np.nanquantile(np.abs(depth), 0.95)
        ax.imshow(
            depth.T, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest",
            extent=(-0.5, history.ticks - 0.5, (low - 0.5) * p.tick_size / MICRO, (high - 0.5) * p.tick_size / MICRO),
        )  # fmt: skip
    else:
        quotes = history.state["held"][:, :, 0]
        for kind, sign, colour in (("bid", -1, "C0"), ("ask", 1, "C3")):
            at, size = (quotes[:, :, HELD.index(f"{kind}_{column}")] for column in ("at", "size"))
            t, a = np.nonzero(size > 0)
            ax.scatter(t, (mid[t] + sign * at[t, a]) * p.tick_size / MICRO, s=2, color=colour, alpha=0.4)
    ax.plot(ticks, mid * p.tick_size / MICRO, color="black", linewidth=1.0, label="mid")
    halted = marks[:, MARK.index("halted")] > 0
    if halted.any():
        ax.fill_between(ticks, 0, 1, where=halted, transform=ax.get_xaxis_transform(), color="0.6", alpha=0.3, linewidth=0, label="halted")
    ax.set(ylabel="$", title="Asset 0: shares bid for (blue) and offered (red), and the mid")
    ax.legend(fontsize="x-small", loc="upper left")


def _parts(history: History, ax: Any) -> None:
    """A bar for each part of the profit, mean by role."""
    width = 0.8 / len(history.groups)
    for i, role in enumerate(history.groups):
        values = [history.metric(f"pnl_{name}", role).mean() for name in PART]
        ax.bar(np.arange(len(PART)) + i * width, values, width, label=role)
    ax.set_xticks(np.arange(len(PART)) + 0.4 - width / 2, PART)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(ylabel="$", title="Parts of the profit, mean of each role")
    ax.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _setting(history: History) -> str:
    p: Any = history.params
    found = history.metrics[:, history.metric_names.index("mispricing")].mean()
    return f"mechanism {p.mechanism}, {p.assets} assets, regime {p.regime}; mispricing {found:.2f} standard deviations of a tick"


def quoting(history: History, figure: Any) -> None:
    """The mid with the first maker's quotes, its inventory, its wealth."""
    figure.set_size_inches(11.0, 8.0)
    figure.suptitle(history.title, fontsize="large")
    price, held, paid = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    ticks, mid = np.arange(history.ticks), history.state["mid"] / MICRO
    price.plot(ticks, mid, color="black", linewidth=1.0, label="mid")
    price.plot(ticks, mid - history.did("bid_depth")[:, 0], color="C0", linewidth=0.7, label="bid")
    price.plot(ticks, mid + history.did("ask_depth")[:, 0], color="C3", linewidth=0.7, label="ask")
    price.set(ylabel="$", title="Quotes")
    held.step(ticks, history.state["shares"][:, 0, 0], where="post", linewidth=1.0)
    held.set(ylabel="shares", title="Inventory")
    paid.plot(ticks, np.cumsum(history.reward[:, 0]), linewidth=1.0)
    paid.set(ylabel="$", xlabel="tick", title="Profit less penalties, so far")
    price.legend(fontsize="x-small", loc="upper left")
    for ax in (price, held, paid):
        ax.margins(x=0)
        ax.grid(alpha=0.3)


def liquidation(history: History, figure: Any) -> None:
    """What is left to sell beside the known schedule, and the price."""
    from envs.trading.liquidation import equilibrium
    from envs.trading.theory import efficient_holdings

    p: Any = history.params
    figure.set_size_inches(10.0, 7.0)
    figure.suptitle(history.title, fontsize="large")
    left, price = figure.subplots(2, 1, sharex=True)
    held = history.state["shares"][:, : p.n_agents, 0]
    for a, name in enumerate(history.agents[:FEW]):
        left.step(np.arange(history.ticks), held[:, a], where="mid", linewidth=1.0, label=name)
    if p.n_agents == 1:
        known, said = efficient_holdings(p.law)[:-1], "Almgren and Chriss"
    elif p.aversion == 0:
        known, said = p.sold[0] * p.shares - np.cumsum(equilibrium(p)[0])[:-1] * p.shares * p.tau, "Nash, the first one's"
        known = np.insert(known, 0, p.sold[0] * p.shares)
    else:
        known, said = p.sold[0] * p.shares * np.linspace(1, 0, history.ticks + 1)[:-1], "even"
    left.plot(known, color="black", linestyle="--", linewidth=1.0, label=said)
    left.set(ylabel="shares", title="Left to sell")
    left.legend(fontsize="x-small", loc="upper right")
    price.plot(history.state["mid"] / MICRO, color="black", linewidth=1.0)
    price.set(ylabel="$", xlabel="tick", title="Mid")
    for ax in (left, price):
        ax.margins(x=0)
        ax.grid(alpha=0.3)
