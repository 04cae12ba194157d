"""Pages of an episode for `marl replay`: a cluster's utilisation, queues and dominant shares through time; a commons' stock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from envs.resource_allocation import theory

if TYPE_CHECKING:
    from marl.history import History

FEW = 12
"""Tenants that get a line and a place in the legend each."""
CROWD = "0.6"


def cluster(history: History, figure: Any) -> None:
    """Utilisation beside nodes that are down, waiting jobs and dominant shares by tenant, then Jain's index, price and carbon."""
    p: Any = history.params
    figure.set_size_inches(11.0, 11.5)
    figure.suptitle(f"{history.title}\n{_setting(history)}", fontsize="large")
    use, queues, shares, signals = figure.subplots(4, 1, sharex=True, height_ratios=[1, 1.2, 1.2, 0.9])
    ticks, names = np.arange(history.ticks + 1), history.names("tenant")
    colours = [f"C{a % 10}" for a in range(len(names))] if len(names) <= FEW else _spectrum(len(names))

    down = history.seen("outage")[:, 0]
    if down.any():
        use.fill_between(ticks, down, color="0.8", step="post", linewidth=0, label="nodes down, share")
    for r in range(p.resources):
        use.plot(ticks, history.seen(f"utilisation_{r}")[:, 0], linewidth=1.2, label=f"resource {r}")
    use.set(ylabel="share in use", ylim=(0, 1.03), title="Utilisation")

    waiting = sum(history.seen(f"queue_{k}") for k in range(p.classes)) * p.queue_limit
    queues.stackplot(ticks, np.asarray(waiting).T, colors=colours, labels=names, alpha=0.85, linewidth=0)
    queues.set(ylabel="waiting jobs", title="Queues, one on the other", ylim=(0, None))

    _shares(history, shares, ticks, colours)
    if len(names) > FEW:
        said = f"{len(names)} tenants,\nby their number\nfrom dark to light"
        queues.text(1.01, 0.95, said, transform=queues.transAxes, va="top", fontsize=8)
    _signals(history, signals, ticks)
    for ax in (use, queues, shares, signals):
        ax.grid(alpha=0.3)
        ax.margins(x=0)
        ax.title.set_fontsize("medium")
    for ax in (use, shares, signals):
        ax.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _shares(history: History, ax: Any, ticks: Any, colours: Any) -> None:
    """Dominant shares: a line for each of a few tenants, of many their mean, the middle eight tenths and the range."""
    held, names = history.seen("dominant_share"), history.names("tenant")
    if len(names) <= FEW:
        for column, colour, name in zip(held.T, colours, names):
            ax.plot(ticks, column, color=colour, linewidth=1.1, alpha=0.9, label=name)
    else:
        ax.fill_between(ticks, held.min(1), held.max(1), color="C0", alpha=0.15, linewidth=0, label="all tenants")
        low, high = np.quantile(held, [0.1, 0.9], axis=1)
        ax.fill_between(ticks, low, high, color="C0", alpha=0.3, linewidth=0, label="eight of ten")
        ax.plot(ticks, held.mean(1), color="C0", linewidth=1.3, label="mean")
    ax.axhline(1 / len(names), color="black", linestyle="--", linewidth=1.0, label="equal split")
    ax.set(ylabel="largest share of a resource", title="Dominant shares", ylim=(0, None))


def _signals(history: History, ax: Any, ticks: Any) -> None:
    """What all see: Jain's index, what is bid, the carbon intensity where it changes."""
    ax.plot(ticks, history.seen("jain")[:, 0], color="C2", linewidth=1.3, label="Jain's index of\naverage shares")
    others = (("price", "C3", "credits bid, over\ntheir maximum"), ("carbon", "0.4", "carbon intensity,\nover its maximum"))
    for name, colour, said in others:
        values = history.seen(name)[:, 0]
        if np.ptp(values) > 0:
            ax.plot(ticks, values / values.max(), color=colour, linewidth=0.8, label=said)
    ax.set(xlabel="tick", ylabel="share", title="Signals that all see", ylim=(0, 1.05))


def _setting(history: History) -> str:
    """The mechanism and what came of it."""
    p: Any = history.params
    found = {name: float(history.metric(name)[0]) for name in ("slowdown_p95", "jain", "utilisation")}
    return (
        f"{p.mechanism} over {p.n_agents} tenants, {p.n_nodes} nodes: slowdown p95 {found['slowdown_p95']:.2f}, "
        f"Jain {found['jain']:.3f}, utilisation {found['utilisation']:.2f}"
    )


def _spectrum(n: int) -> list[tuple[float, float, float]]:
    """Colours for many tenants: one hue from dark to light, so that neighbours differ little and ends much."""
    shade = np.linspace(0.0, 1.0, n)
    return [(0.10 + 0.75 * x, 0.20 + 0.60 * x, 0.45 + 0.35 * x) for x in shade.tolist()]


def commons(history: History, figure: Any) -> None:
    """The stock, efforts beside those of the optimum, of Nash and of open access, and what the users earn together."""
    p: Any = history.params
    figure.set_size_inches(9.0, 8.5)
    figure.suptitle(f"{history.title}\n{p.n_agents} users, rent over the sole owner's {float(history.metric('rent_ratio')[0]):.3f}")
    stock, efforts, rents = figure.subplots(3, 1, sharex=True)
    ticks, names = np.arange(history.ticks), history.names()
    marker = "o" if history.ticks == 1 else ""
    stock.plot(np.arange(history.ticks + 1), history.seen("stock")[:, 0], color="C2", marker=marker)
    stock.axhline(0.5, color="black", linestyle=":", linewidth=1.0, label="largest sustainable yield")
    left = theory.break_even(p.price, p.cost, p.capacity, p.catchability)
    stock.axhline(left, color="C3", linestyle=":", linewidth=1.0, label="open access")
    stock.set(ylabel="share of capacity", title="Stock", ylim=(0, 1.05))
    for name, column in zip(names, history.did("effort").T):
        efforts.plot(ticks, column, linewidth=1.0, marker=marker, color=CROWD if len(names) > FEW else None, label=name)
    for level, said in ((0.5, "optimum"), (p.n_agents / (p.n_agents + 1), "Nash"), (1.0, "open access")):
        efforts.axhline(level, color="black", linestyle="--", linewidth=0.8)
        efforts.text(1.005, level, said, transform=efforts.get_yaxis_transform(), fontsize=8, va="center")
    efforts.set(ylabel="in equal splits of open access", title="Efforts", ylim=(0, None))
    rents.plot(ticks, history.reward.sum(1), color="C0", marker=marker, label="all users")
    rents.axhline(p.best_rent, color="black", linestyle="--", linewidth=0.8, label="sole owner, long run")
    rents.axhline(theory.nash_rent_ratio(p.n_agents) * p.best_rent, color="black", linestyle=":", linewidth=0.8, label="Nash, long run")
    rents.set(ylabel="$ a tick", title="Rent", xlabel="tick")
    for ax in (stock, efforts, rents):
        ax.grid(alpha=0.3)
        ax.title.set_fontsize("medium")
    stock.legend(fontsize="x-small")
    rents.legend(fontsize="x-small")
    if len(names) <= FEW:
        efforts.legend(fontsize="x-small", ncols=2)
