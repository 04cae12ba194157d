"""Pages of an episode for `marl replay`: spend against traffic, bids, positions, and the journey mix where users have one."""

from __future__ import annotations

from typing import Any

import numpy as np

FEW = 12
"""Advertisers that get a line and a place in the legend each."""
STAGES = ("unaware", "aware", "considering", "intent", "converted")


def draw(history: Any, figure: Any) -> None:
    """The page of either mode: spend against traffic and multipliers; in advertising also positions and, with journeys, users by stage."""
    p = history.params
    rich, journeys = bool(p.advertising), bool(p.advertising and p.journeys)
    rows = 2 + rich + journeys
    figure.set_size_inches(10.0, 2.8 * rows + 0.8)
    figure.suptitle(f"{history.title}\n{p.n_agents} advertisers, {p.format}, {p.slots} positions")
    axes = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
    _spend(history, axes[0])
    _bids(history, axes[1])
    if rich:
        _positions(history, axes[2])
    if journeys:
        _stages(history, axes[3])
    axes[-1].set(xlabel="tick")
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.margins(x=0)
        ax.title.set_fontsize("medium")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def spend_shares(history: Any) -> Any:
    """Share of its budget that each advertiser has spent [T + 1, A], of its episode's spend where it has no budget."""
    spent = np.concatenate([np.zeros((1, history.reward.shape[1])), np.cumsum(-history.paid("cost"), axis=0)])
    p = history.params
    whole = p.purses() / (p.coin if p.advertising else 1e6 * p.auctions_per_tick) if p.limited else np.maximum(spent[-1], 1e-12)
    return spent / whole


def _spend(history: Any, ax: Any) -> None:
    """Cumulative spend of each advertiser over its budget, the traffic's share beside it."""
    p = history.params
    ticks, traffic = np.arange(history.ticks + 1), np.append(0.0, np.cumsum(p.schedule())[: history.ticks] / p.schedule().sum())
    names, shares = history.names(), spend_shares(history)
    for a in range(len(names)):
        ax.plot(ticks, shares[:, a], linewidth=1.0, alpha=0.9, label=names[a] if len(names) <= FEW else None)
    ax.plot(ticks, traffic, color="black", linestyle="--", linewidth=1.2, label="traffic")
    ax.set(ylabel="share", title="Spend over budget against traffic" if p.limited else "Spend against traffic", ylim=(0, 1.03))


def _bids(history: Any, ax: Any) -> None:
    """What is bid: the multiplier, the mean of several, or the bid in $."""
    group = next(iter(history.groups.values()))
    columns = [name for name in group.action if name.startswith("multiplier") or name == "bid"]
    bids = np.mean([history.did(name) for name in columns], axis=0)
    marker = "o" if history.ticks == 1 else ""
    for name, column in zip(history.names(), bids.T):
        ax.plot(np.arange(history.ticks), column, linewidth=1.0, marker=marker, label=name if bids.shape[1] <= FEW else None)
    ax.set(ylabel="$" if columns == ["bid"] else "bid over value", title="Bids", ylim=(0, None))


def _positions(history: Any, ax: Any) -> None:
    """Share of each advertiser's exposures in each position over the episode so far, averaged over advertisers."""
    place = history.state["place"].astype(np.float64)  # [T, A, L]
    mean = place.sum(1) / np.maximum(place.sum((1, 2)), 1)[:, None]
    ax.stackplot(np.arange(len(mean)), mean.T, labels=[f"position {j + 1}" for j in range(mean.shape[1])], alpha=0.8, linewidth=0)
    ax.set(ylabel="share of exposures", title="Positions, episode so far", ylim=(0, 1))


def _stages(history: Any, ax: Any) -> None:
    """Users by stage, over all segments and advertisers."""
    pool = history.state["pool"].astype(np.float64).sum((1, 2))  # [T, stages]
    mix = pool / pool.sum(1, keepdims=True)
    ax.stackplot(np.arange(len(mix)), mix[:, 1:].T, labels=STAGES[1:], alpha=0.8, linewidth=0)
    ax.set(ylabel="share of users", title="Journeys: users that are aware and more", ylim=(0, None))
