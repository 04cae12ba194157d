# mypy: allow-untyped-defs, allow-incomplete-defs
"""Sharing: a capacity is divided once a tick by what tenants report, or by what they bid.

`bids`: a good worth V to whoever has it all is split in proportion to bids, which are paid (Kelly 1997; Tullock 1980).
Elsewhere tenant i has a job that needs d_ir, drawn in U[least, 1], of each unit resource r; it reports a multiple of each d_ir,
gets what the mechanism gives for the report, and earns the share of its job that this is good for, min(1, min_r x_ir/d_ir):
Leontief tenants (Ghodsi et al. 2011). A report is free, so that only the mechanism can make the truth pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from envs.resource_allocation import theory
from envs.resource_allocation.layout import MOST_RESOURCES
from envs.resource_allocation.mechanisms import dominant_resource_fairness, equal_split, max_min, proportional, shares_of_bids
from marl.compiled import rule
from marl.errors import UserError
from marl.game import F4, F8, RUNNING, TERMINATED, Column, Component, Game, Role, array, inf
from marl.params import Params, choice, param
from marl.rng import draw, stream

MECHANISMS = ("bids", "proportional", "max_min", "dominant", "equal_split")
BIDS, PROPORTIONAL, MAX_MIN, DOMINANT = range(4)
DEMANDS = 0
LIE = 4.0
"""Largest multiple of the true demand that is reported; its inverse is the smallest."""


@dataclass(frozen=True)
class SharingParams(Params):
    n_agents: int = param(4, 1, 1024, "tenants")
    resources: int = param(2, 1, 8, "resources", "1 with bids: one good")
    horizon: int = param(1, 1, 100_000, "ticks", "each divides anew")
    mechanism: str = choice("dominant", MECHANISMS)
    value: float = param(1.0, 1e-6, 1e6, "$", "with bids: of the whole good, to every tenant")
    least: float = param(0.1, 1e-3, 1.0, "share of a resource", "smallest demand of a job")

    def validate(self) -> None:
        if self.mechanism == "bids" and self.resources != 1:
            raise UserError(f"SharingParams.resources = {self.resources} with mechanism = 'bids': legal is 1, one good is split")


class SharingState(NamedTuple):
    """Amounts are shares of a resource."""

    demand: F8 = array("agents", "resources")  # [B, A, R] of the coming tick
    report: F8 = array("agents", "resources")  # [B, A, R] what is reported; with bids the bid
    given: F8 = array("agents", "resources")  # [B, A, R]
    asked: F8 = array("agents")  # [B, A] scratch: what is reported of one resource
    got: F8 = array("agents")  # [B, A] scratch: tasks, or what is given of one resource
    ones: F8 = array("agents")  # [B, A] 1, weights and limits
    moving: F8 = array("agents")  # [B, A] scratch
    capacity: F8 = array("resources")  # [B, R] 1
    spare: F8 = array("resources")  # [B, R] scratch
    earned: F8 = array("agents")  # [B, A] sum over ticks
    paid: F8 = array("agents")  # [B, A] sum over ticks
    acted: F8 = array("agents")  # [B, A] sum over ticks of the mean action
    held: F8 = array("agents")  # [B, A] sum over ticks of the largest share of a resource
    short: F8 = array("agents")  # [B, A] sum over ticks of the largest share by which a report falls short of the demand
    uneven: F8 = array("agents")  # [B, A] sum over ticks of 1 less the smallest over the largest ratio of report to demand


@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.ones[b, a] = 1.0
        s.earned[b, a] = s.paid[b, a] = s.acted[b, a] = s.held[b, a] = s.short[b, a] = s.uneven[b, a] = 0.0
        s.asked[b, a] = s.got[b, a] = s.moving[b, a] = 0.0
        for r in range(p.resources):
            s.report[b, a, r] = s.given[b, a, r] = 0.0
    for r in range(p.resources):
        s.capacity[b, r], s.spare[b, r] = 1.0, 1.0
    ask(p, s, b, 0)


@rule
def ask(p, s, b, ahead):
    """Draw the demands of the tick that comes, `ahead` of the one at hand."""
    draws = stream(s, b, DEMANDS)
    for a in range(p.n_agents):
        for r in range(p.resources):
            u = draw(draws, (ahead * p.n_agents + a) * p.resources + r)
            s.demand[b, a, r] = 1.0 if p.mechanism == BIDS else p.least + (1.0 - p.least) * u


@rule
def divide(p, s, b):
    """Fill `given` by the mechanism from `report`."""
    if p.mechanism == DOMINANT:
        dominant_resource_fairness(s.report[b], s.ones[b], s.capacity[b], s.spare[b], s.moving[b], s.got[b])
        for a in range(p.n_agents):
            for r in range(p.resources):
                s.given[b, a, r] = s.got[b, a] * s.report[b, a, r]
        return
    for r in range(p.resources):
        for a in range(p.n_agents):
            s.asked[b, a] = s.report[b, a, r]
        if p.mechanism == BIDS:
            shares_of_bids(s.asked[b], s.got[b])
        elif p.mechanism == PROPORTIONAL:
            proportional(s.asked[b], 1.0, s.got[b])
        elif p.mechanism == MAX_MIN:
            max_min(s.asked[b], s.ones[b], 1.0, s.got[b])
        else:
            equal_split(s.asked[b], 1.0, s.got[b])
        for a in range(p.n_agents):
            s.given[b, a, r] = s.got[b, a]


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        for r in range(p.resources):
            s.report[b, a, r] = action[b, a, r] * s.demand[b, a, r]
            s.acted[b, a] += action[b, a, r] / p.resources
        if p.mechanism != BIDS:
            compare(p, s, b, a, action)
    divide(p, s, b)
    for a in range(p.n_agents):
        done, held = 1.0, 0.0
        for r in range(p.resources):
            done = min(done, s.given[b, a, r] / s.demand[b, a, r])
            held = max(held, s.given[b, a, r])
        payment = p.value * s.report[b, a, 0] if p.mechanism == BIDS else 0.0
        components[b, a, 0] = p.value * done if p.mechanism == BIDS else done
        components[b, a, 1] = -payment
        cost[b, a, 0] = max(0.0, held - done) if p.mechanism != BIDS else 0.0
        s.earned[b, a] += components[b, a, 0]
        s.paid[b, a] += payment
        s.held[b, a] += held
    ask(p, s, b, 1)
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def compare(p, s, b, a, action):
    """Count how far a tenant's report is from the truth, or from a multiple of it."""
    least, most = action[b, a, 0], action[b, a, 0]
    for r in range(p.resources):
        least = min(least, action[b, a, r])
        most = max(most, action[b, a, r])
    s.short[b, a] += max(0.0, 1.0 - least)
    s.uneven[b, a] += 1.0 - least / most


@rule
def observe(p, s, b, obs):
    for r in range(p.resources):
        total = 0.0
        for a in range(p.n_agents):
            total += s.demand[b, a, r]
        for a in range(p.n_agents):
            obs[b, a, 1 + r] = s.demand[b, a, r]
            obs[b, a, 1 + p.resources + r] = total / p.n_agents
    for a in range(p.n_agents):
        obs[b, a, 0] = 1.0 / p.n_agents


METRICS = {
    "payoff": Column(-inf, inf, "a tick, the tenant's: share of the job done, or $ with bids"),
    "welfare": Column(-inf, inf, "a tick, sum of what tenants have before they pay"),
    "payment": Column(0, inf, "$ a tick"),
    "action": Column(0, LIE, "mean report over the true demand, or bid over the value"),
    "dominant_share": Column(0, 1 + 1e-9, "mean largest share of a resource"),
    "jain": Column(0, 1, "Jain's index of what tenants have before they pay"),
    "understated": Column(0, 1, "mean largest share by which a report falls short of the demand; 0 with bids"),
    "uneven": Column(0, 1, "mean of 1 less the smallest over the largest ratio of report to demand; 0 with bids"),
}


@rule
def measure(p, s, b, metrics):
    total, squares, ticks = 0.0, 0.0, float(p.horizon)
    for a in range(p.n_agents):
        total += s.earned[b, a]
        squares += s.earned[b, a] * s.earned[b, a]
    for a in range(p.n_agents):
        metrics[b, a, 0] = (s.earned[b, a] - s.paid[b, a]) / ticks
        metrics[b, a, 1] = total / ticks
        metrics[b, a, 2] = s.paid[b, a] / ticks
        metrics[b, a, 3] = s.acted[b, a] / ticks
        metrics[b, a, 4] = s.held[b, a] / ticks
        metrics[b, a, 5] = min(1.0, total * total / (p.n_agents * squares)) if squares > 0.0 else 1.0
        metrics[b, a, 6] = s.short[b, a] / ticks
        metrics[b, a, 7] = s.uneven[b, a] / ticks


@rule
def balance(p, s, b, residual):
    """No resource is given away more than once, but for rounding in its last places; nobody gets more than it reported."""
    residual[b, 0] = residual[b, 1] = 0.0
    for r in range(p.resources):
        given = 0.0
        for a in range(p.n_agents):
            given += s.given[b, a, r]
            over = 0.0 if p.mechanism == BIDS else s.given[b, a, r] - s.report[b, a, r]
            residual[b, 1] += over if over > 1e-9 else 0.0
        residual[b, 0] += given - 1.0 if given > 1.0 + 1e-9 else 0.0


def roles(p: SharingParams) -> tuple[Role, ...]:
    """Tenants see how many they are, their own demands and the mean of all; they report, or bid."""
    numbers = range(p.resources)
    seen = {"one_of": Column(0, 1, "1 over the number of tenants")}
    seen |= {f"demand_{r}": Column(0, 1, "own, share of the resource") for r in numbers}
    seen |= {f"mean_demand_{r}": Column(0, 1, "of all tenants, share of the resource") for r in numbers}
    bid = Column(0, 1, "share of the value", explore=0.15, explore_last=0.01)  # who meets rivals who tremble bids more than at Nash
    report = Column(1 / LIE, LIE, "reported over true demand", scale="log")
    done = {"bid": bid} if p.mechanism == "bids" else {f"report_{r}": report for r in numbers}
    return (Role("tenant", p.n_agents, seen, done),)


def idle(p: SharingParams, obs: F4, generator: np.random.Generator) -> F8:
    """Bids nothing; reports the least that can be reported."""
    return np.full((len(obs), p.resources), 0.0 if p.mechanism == "bids" else 1 / LIE)


def truthful(p: SharingParams, obs: F4, generator: np.random.Generator) -> F8:
    """Reports the demand; bids half of the value where bids are asked, as one of two would think of a rival who bids all."""
    return np.full((len(obs), 1), 0.5) if p.mechanism == "bids" else np.ones((len(obs), p.resources))


def equilibrium(p: SharingParams, obs: F4, generator: np.random.Generator) -> F8:
    """The Nash bid; the most that can be reported where capacity goes by requests; the truth where nothing else pays more."""
    if p.mechanism == "bids":
        return np.full((len(obs), 1), theory.kelly_bid(p.n_agents, 1.0))
    return np.full((len(obs), p.resources), LIE if p.mechanism == "proportional" else 1.0)


def known(p: SharingParams) -> dict[str, float]:
    """With bids: the Nash bid as a share of the value, and what each tenant keeps. Elsewhere what best reports have in common.

    The truth is one of many: whoever asks for more than it needs goes on growing after its needs are met. Under max-min and an equal
    split every report at or above the truth earns the same, `understated` 0; under dominant resource fairness every multiple of the
    truth from 1 on, `uneven` 0 as well. A learned ratio of 4 is then as good as the truth. Where capacity goes by requests the most pays
    best.
    """
    if p.mechanism == "bids":
        return {"action": theory.kelly_bid(p.n_agents, 1.0), "payoff": theory.kelly_payoff(p.n_agents, p.value)}
    if p.mechanism == "proportional":
        return {"action": LIE, "understated": 0.0, "uneven": 0.0}
    return {"understated": 0.0, "uneven": 0.0} if p.mechanism == "dominant" else {"understated": 0.0}


def action_grid(p: SharingParams) -> Mapping[str, npt.NDArray[Any]]:
    """11 bids, or 11 reports with equal ratios, the same for all resources."""
    steps = np.linspace(0.0, 1.0, 11) if p.mechanism == "bids" else np.geomspace(1 / LIE, LIE, 11)
    return {"tenant": np.repeat(steps[:, None], p.resources, axis=1)}


TOGETHER = "reports of several resources count together: a multiple of the truth is as good as the truth, one report alone is a lie"
"""Why a report that moves alone has its best at one point."""
SMALL = "the Nash bid goes with 1/n of the value, which is the range: five and more bid in its lowest fifth"
"""Why a bid of many has its best in a small part of its range."""
KELLY: dict[str, Any] = {"mechanism": "bids", "resources": 1}

SHARING = Game(
    "sharing",
    version=0,
    params=SharingParams,
    state=SharingState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward={"gain": Component(1.0, "share of the job, or $"), "payment": Component(1.0, "$")},
    cost={"waste": Column(0, 1, "largest share of a resource held beyond what the job's progress needs")},
    balance=balance,
    audit=("capacity", "report"),
    baselines={"idle": idle, "truthful": truthful, "equilibrium": equilibrium},
    reference=lambda p: "equilibrium",
    unscaled={f"tenant.report_{r}": TOGETHER for r in range(MOST_RESOURCES)} | {"tenant.bid": SMALL},
    known=known,
    action_grid=action_grid,
    presets={
        "bids_two": {**KELLY, "n_agents": 2},
        "bids_five": {**KELLY, "n_agents": 5},
        "bids_ten": {**KELLY, "n_agents": 10},
        "dominant": {},
        "proportional": {"mechanism": "proportional"},
    },
    citation="Ghodsi et al. 2011, Dominant resource fairness; Kelly 1997",
)
