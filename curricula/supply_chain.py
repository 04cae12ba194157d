"""Stages of the supply chain: from a small network with Poisson demand to real demand. All with columns for ten products."""

from __future__ import annotations

from typing import Any

from curricula.stage import Stage

COLUMNS: dict[str, Any] = {"columns_for": 10, "pipeline_for": 5, "sources": 3, "action": "level", "horizon": 100}
"""Equal in all stages: columns for ten products and shipments of five ticks."""
SIMPLE: dict[str, Any] = {**COLUMNS, "n_agents": 6, "retailers": 2, "tiers": 3, "products": 3, "lead": "1"}
MEDIUM: dict[str, Any] = {
    **COLUMNS, "n_agents": 12, "retailers": 4, "tiers": 3, "products": 6, "lead": "1-3", "disruption": 0.01, "outage": 8.0, "capacity": 1.3,
}  # fmt: skip
COMPLEX: dict[str, Any] = {
    **MEDIUM, "n_agents": 36, "retailers": 12, "tiers": 4, "products": 10, "demand": "negative_binomial", "demand_cv": 1.2,
    "amplitude": 0.3, "correlation": 0.3, "lead_noise": 2, "capacity": 1.1,
}  # fmt: skip
STRESS: dict[str, Any] = {**COMPLEX, "closure_at": 30, "closure": 20, "disruption": 0.02, "regime": 1.5}
REPLAY: dict[str, Any] = {**COMPLEX, "n_agents": 12, "retailers": 3, "tiers": 3, "demand": "trace", "amplitude": 0.0, "regime": 1.0}


def stages() -> tuple[Stage, ...]:
    """Simple, medium, complex, stress (a port is closed for twenty ticks), replay. Base stock scores 1, passing orders through 0.

    The last stage replays the demand that `env.trace` names (a small synthetic file by default). Held-out networks of a stage are its
    game's trials.
    """
    up: dict[str, Any] = {"promote": 0.5, "minimum_steps": 20_000}
    return (
        Stage("simple", SIMPLE, **up),
        Stage("medium", MEDIUM, demote=-0.5, **up),
        Stage("complex", COMPLEX, demote=-0.5, **up),
        Stage("stress", STRESS, demote=-0.5, **up),
        Stage("replay", REPLAY, demote=-0.5, minimum_steps=20_000),
    )
