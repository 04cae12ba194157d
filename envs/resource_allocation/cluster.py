"""The games `cluster` and `allocation_log`: tenants of one cluster, with synthetic arrivals or those of a real trace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from envs.resource_allocation import accounts, baselines, rules
from envs.resource_allocation.layout import MOST_RESOURCES
from envs.resource_allocation.params import ARRIVALS, ClusterParams
from envs.resource_allocation.state import ClusterState
from marl.errors import UserError
from marl.game import Game, Picture, Role
from marl.params import choice

QUEUE: dict[str, Any] = {
    "n_agents": 1, "arrivals": "events", "mechanism": "fcfs", "demand": "1", "work": "1", "value": "1", "queue_limit": 2048,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "mm1": {**QUEUE, "nodes": "1 1", "load": 0.8, "horizon": 20_000, "warm_up": 2_000},
    "mm4": {**QUEUE, "nodes": "4 1", "load": 0.8, "horizon": 20_000, "warm_up": 2_000},
    "mm100": {**QUEUE, "nodes": "1 100", "load": 0.95, "horizon": 40_000, "warm_up": 15_000},
    "cloud": {
        "nodes": "6 32 128 0 / 2 64 256 8", "demand": "2 8 0 / 8 64 0 / 8 32 2", "work": "4 8 16", "value": "1 3 8", "load": 0.9,
        "mechanism": "proportional_share", "burst": 3.0, "outage": 0.002, "repair": 20.0, "slack": 4.0,
    },
    "smart_grid": {
        "n_agents": 16, "nodes": "4 60", "demand": "1 / 3 / 7", "work": "2 6 12", "value": "1 2 4", "load": 0.95, "mechanism": "max_min",
        "amplitude": 0.6, "carbon": 0.4, "carbon_price": 0.2, "slack": 3.0, "horizon": 192,
    },
    "workforce": {
        "n_agents": 6, "nodes": "3 4 1 0 / 2 1 3 2 / 1 0 1 4", "demand": "1 0 0 / 1 1 0 / 0 1 1 / 0 0 2", "work": "2 4 6 8",
        "value": "1 2 3 4", "load": 0.85, "mechanism": "priority", "affinity": 0.5, "slack": 2.0, "service": "fixed",
    },
    "job_shop": {
        "n_agents": 5, "nodes": "3 1 0 0 0 / 2 0 1 0 0 / 2 0 0 1 0 / 1 0 0 0 1", "demand": "1 0 0 0 / 0 1 0 0 / 0 0 1 0 / 0 0 0 1",
        "work": "6 4 4 2", "value": "2 1 1 1", "load": 0.8, "mechanism": "srpt", "placement": "first_fit", "slack": 5.0,
        "outage": 0.005, "repair": 8.0,
    },
    "capacity_planning": {
        "n_agents": 8, "mechanism": "arbiter", "load": 1.05, "burst": 2.5, "burst_length": 40.0, "quiet_length": 120.0, "common": True,
        "slack": 4.0, "amplitude": 0.3, "horizon": 400,
    },
    "bidding": {"mechanism": "proportional_share", "load": 1.0, "slack": 4.0},
}  # fmt: skip


def roles(p: ClusterParams) -> tuple[Role, ...]:
    """Tenants, and with mechanism `arbiter` the arbiter, who sees all of them and weighs them."""
    tenants = Role("tenant", p.n_agents, accounts.tenant_columns(p), baselines.tenant_action(p))
    if p.mechanism != "arbiter":
        return (tenants,)
    return (tenants, Role("arbiter", 1, accounts.arbiter_columns(p), baselines.arbiter_action(p)))


HELD = "a cap binds below what a tenant's jobs hold together: from there on, half of the range, asking for more changes nothing, as is best"
"""Why half of a request's range is flat."""

CLUSTER = Game(
    "cluster",
    version=1,
    params=ClusterParams,
    state=ClusterState,
    roles=roles,
    begin=rules.begin,
    step=rules.step,
    observe=accounts.observe,
    measure=accounts.measure,
    metrics=accounts.METRICS,
    reward=accounts.REWARD,
    cost=accounts.COST,
    balance=accounts.balance,
    audit=accounts.AUDIT,
    baselines={
        "idle": baselines.idle,
        "ask_for_all": baselines.ask_for_all,
        "steady": baselines.steady,
        "shaded": baselines.shaded,
        "urgent": baselines.urgent,
        "equal_split": baselines.equal_split,
        "green": baselines.green,
    },
    reference=lambda p: "urgent",
    unscaled={f"tenant.request_{r}": HELD for r in range(MOST_RESOURCES)},
    known=baselines.known,
    action_grid=baselines.action_grid,
    picture=Picture("envs.resource_allocation.page:cluster"),
    presets=PRESETS,
    citation="Ghodsi et al. 2011, Dominant resource fairness: fair allocation of multiple resource types, NSDI",
)


@dataclass(frozen=True)
class AllocationLogParams(ClusterParams):
    """The cluster's, with the requests of a trace for its arrivals."""

    arrivals: str = choice("trace", ARRIVALS, "requests of a file; legal is trace alone")

    def validate(self) -> None:
        super().validate()
        if self.arrivals != "trace":
            raise UserError(f"AllocationLogParams.arrivals = {self.arrivals!r}: legal is 'trace', the game cluster has the others")


def trials(p: AllocationLogParams) -> dict[str, AllocationLogParams]:
    """The held-out end of the trace, at the load of training and at one fifth more."""
    held = replace(p, split="test")
    return {"held out": held, "held out, a fifth more load": replace(held, load=1.2 * p.load)}


ALLOCATION_LOG = replace(CLUSTER, name="allocation_log", params=AllocationLogParams, presets={}, trials=trials, known=None)
