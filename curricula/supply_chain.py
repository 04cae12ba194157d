"""Stages of the supply chain: from a small network with Poisson demand to real demand. All with columns for ten products."""

from __future__ import annotations

from typing import Any

from curricula.stage import Stage

COLUMNS: dict[str, Any] = {"columns_for": 10, "pipeline_for": 5, "sources": 3, "action": "level", "horizon": 100}
"""Equal in all stages: columns for ten products and shipments of five ticks."""
OUTAGES = 0.012
"""Of a tick: about one outage of some node in an episode, whatever the number of nodes. A node that fails itself once an episode leaves a
network that ships 1.3 times its mean demand with debts that it never works off: chance pays for all that is earned."""
SIMPLE: dict[str, Any] = {**COLUMNS, "n_agents": 6, "retailers": 2, "tiers": 3, "products": 3, "lead": "1"}
MEDIUM: dict[str, Any] = {
    **COLUMNS, "n_agents": 12, "retailers": 4, "tiers": 3, "products": 6, "lead": "1-3", "disruption": OUTAGES / 12, "outage": 8.0,
    "capacity": 2.0, "holding": "0.005", "penalty": "0.02",
}  # fmt: skip
COMPLEX: dict[str, Any] = {
    **MEDIUM, "n_agents": 36, "retailers": 12, "tiers": 4, "products": 10, "demand": "negative_binomial", "demand_cv": 1.2,
    "amplitude": 0.3, "correlation": 0.3, "lead_noise": 2, "disruption": OUTAGES / 36, "capacity": 1.5, "holding": "0.0005",
    "penalty": "0.002",
}  # fmt: skip
STRESS: dict[str, Any] = {**COMPLEX, "closure_at": 30, "closure": 20, "disruption": 2 * OUTAGES / 36, "regime": 1.5, "capacity": 2.0}
REPLAY: dict[str, Any] = {
    **COMPLEX, "n_agents": 12, "retailers": 3, "tiers": 3, "disruption": OUTAGES / 12, "demand": "trace", "amplitude": 0.0, "regime": 1.0,
}  # fmt: skip
"""Costs of a unit go down as there are more of them, so that a tick costs an agent about as much in all stages."""


def stages() -> tuple[Stage, ...]:
    """Simple, medium, complex, stress (a port is closed for twenty ticks), replay. Base stock scores 1, the better
    of passing orders through and of drawn ones 0: of what the first node earns beside base stock.

    The last stage replays the demand that `env.trace` names (a small synthetic file by default). Held-out networks of a stage are its
    game's trials.
    """
    ends: dict[str, Any] = {"reference": "base_stock", "minimum_steps": 20_000}
    up: dict[str, Any] = {**ends, "promote": 0.75}
    return (
        Stage("simple", SIMPLE, naive="random", episodes=64, **up),
        Stage("medium", MEDIUM, naive="pass_through", episodes=256, demote=-0.5, **up),
        Stage("complex", COMPLEX, naive="random", episodes=64, demote=-0.5, **up),
        Stage("stress", STRESS, naive="random", episodes=192, demote=-0.5, **up),
        Stage("replay", REPLAY, naive="pass_through", episodes=64, demote=-0.5, **ends),
    )
