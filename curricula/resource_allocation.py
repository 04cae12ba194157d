"""Stages of the cluster: from a queue with four servers to real requests on a contended cluster. All with three resources and classes."""

from __future__ import annotations

from typing import Any

from curricula.stage import Stage

VALUES: dict[str, Any] = {"work": "4 6 8", "value": "1 2 3"}
BASIC: dict[str, Any] = {"n_agents": 4, "nodes": "4 1 1 1", "demand": "1 0 0 / 1 0 0 / 1 0 0", "load": 0.6, **VALUES}
MULTI: dict[str, Any] = {"n_agents": 8, "nodes": "4 8 16 1", "demand": "1 1 0 / 2 4 0 / 4 2 0", "load": 0.75, **VALUES}
BURSTY: dict[str, Any] = {
    "n_agents": 16, "nodes": "8 8 16 4", "demand": "1 1 1 / 2 4 0 / 4 2 2", "load": 0.85, "burst": 3.0, "outage": 0.005, **VALUES,
}  # fmt: skip
CONTENDED: dict[str, Any] = {**BURSTY, "n_agents": 32, "nodes": "8 8 16 4 / 4 16 16 0 / 2 4 8 8", "load": 1.05, "slack": 4.0, "purse": 6.0}
MASTER: dict[str, Any] = {
    **CONTENDED, "n_agents": 64, "arrivals": "trace", "load": 0.8, "burst": 2.0, "burst_length": 20.0, "quiet_length": 60.0,
    "carbon": 0.4, "carbon_price": 0.2,
}  # fmt: skip


def stages() -> tuple[Stage, ...]:
    """Basic, multi, bursty, contended, master. The score is that of bids by urgency against drawn actions. Seven tenths of it lead on
    (untrained networks have four in the first), half of it from the contended stage, where whoever bids as in a calm cluster
    begins at -1.5.

    Where load is beyond what the cluster does, a purse of sixty ticks' income lets tenants save for bursts. The last stage
    replays the trace that `env.trace` names (a small synthetic one by default), whose speed shifts, under a carbon signal.
    """
    own: dict[str, Any] = {"reference": "urgent", "naive": "random", "minimum_steps": 20_000}
    up: dict[str, Any] = {**own, "promote": 0.7}
    return (
        Stage("basic", BASIC, **up, episodes=32),
        Stage("multi", MULTI, demote=-0.5, **up, episodes=32),
        Stage("bursty", BURSTY, demote=-0.5, **up, episodes=32),
        Stage("contended", CONTENDED, demote=-2.0, **own, promote=0.5, episodes=160),
        Stage("master", MASTER, demote=-0.5, **own, episodes=96),
    )
