"""Parameters of the cluster, what follows from them, and the tables that the rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, log1p
from typing import Any, ClassVar

import numpy as np

from envs.resource_allocation.data import SYNTHETIC
from envs.resource_allocation.layout import Layout, Requests, cut, layout
from marl.errors import UserError
from marl.game import F8
from marl.params import Params, choice, data_file, derived, param, text

MECHANISMS = ("fcfs", "priority", "srpt", "max_min", "drf", "proportional_fair", "equal_split", "proportional_share", "arbiter")
FCFS, PRIORITY, SRPT, MAX_MIN, DRF, PROPORTIONAL_FAIR, EQUAL_SPLIT, PROPORTIONAL_SHARE, ARBITER = range(9)
PLACEMENTS = ("best_fit", "first_fit", "worst_fit")
BEST_FIT, FIRST_FIT, WORST_FIT = range(3)
ARRIVALS = ("poisson", "events", "trace")
POISSON, EVENTS, TRACE = range(3)
SERVICES = ("geometric", "fixed")
GEOMETRIC = 0
MICRO = 1_000_000
"""Whole parts of a credit in which the rules count."""
BUSIEST = 200.0
"""Most expected jobs of a tenant in a tick."""


@dataclass(frozen=True)
class ClusterParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = (
        "capacity", "total", "demand", "job_share", "worth", "mean_work", "log_stay", "mixture", "typical", "rate", "idle",
        "sine", "cosine", "intensity", "first", "kinds", "works", "owner",
    )  # fmt: skip

    n_agents: int = param(8, 1, 128, "tenants", "with mechanism arbiter there is one agent more, of a role of its own")
    horizon: int = param(200, 1, 1_000_000, "ticks")
    warm_up: int = param(0, 0, 1_000_000, "ticks", "from the beginning, that metrics leave out")
    mechanism: str = choice("proportional_share", MECHANISMS, "whose waiting job is started next")
    placement: str = choice("best_fit", PLACEMENTS, "on which node a job is started")
    nodes: str = text("4 8 16", "rows, parted by /, of: how many nodes, then units of each resource on one")
    demand: str = text("1 1 / 2 4 / 4 2", "units of each resource that a job takes, a row for each class of jobs")
    work: str = text("4 6 8", "mean ticks of work of each class of jobs")
    value: str = text("1 2 3", "of each class of jobs: utility when it is finished, and priority")
    affinity: float = param(0.0, 0.0, 1.0, "share of a tenant's jobs", "that are of the tenant's own class; the others are of any")
    load: float = param(0.75, 0.0, 20.0, "share of capacity", "expected demand on the scarcest resource")
    arrivals: str = choice("poisson", ARRIVALS, "events: one arrival or departure a tick (M/M/c); trace: requests of a file")
    service: str = choice("geometric", SERVICES, "law of work; events and traces have their own")
    burst: float = param(
        1.0, 1.0, 100.0, "of the mean rate", "rate of arrivals in bursts (MMPP), speed of a trace in them; 1: there are none"
    )
    burst_length: float = param(10.0, 1.0, 1e6, "ticks", "mean length of a burst")
    quiet_length: float = param(40.0, 1.0, 1e6, "ticks", "mean time between bursts")
    common: bool = param(False, 0, 1, "", "bursts come to all tenants together: a regime")
    amplitude: float = param(0.0, 0.0, 1.0, "share of the mean rate", "of the season of arrivals")
    period: int = param(48, 2, 100_000, "ticks", "of the season and of the carbon signal")
    trace: str = data_file(
        SYNTHETIC,
        "a trace",
        "path of a trace, see envs.resource_allocation.data; synthetic: a built-in small one",
        read=("arrivals", "trace"),
    )
    split: str = choice("train", ("train", "test"), "part of the trace that is replayed; train begins anywhere, test at its beginning")
    holdout: float = param(0.3, 0.01, 0.9, "share of the trace's requests", "the last ones, kept for split test")
    tokens: float = param(50.0, 1e-3, 1e6, "generated tokens a tick", "of a request's work")
    skew: float = param(0.0, 0.0, 4.0, "", "of a trace's requests over tenants: tenant a's share goes with (a + 1)^-skew; 0: all alike")
    queue_limit: int = param(64, 1, 4096, "jobs", "that a tenant can have waiting; more are dropped")
    slack: float = param(0.0, 0.0, 1e4, "multiples of the work", "from arrival to deadline; 0: there are none")
    late: float = param(0.5, 0.0, 1.0, "share of the value", "of a job that is finished after its deadline")
    outage: float = param(0.0, 0.0, 1.0, "chance a tick", "of a node to fail: its jobs stand still")
    repair: float = param(10.0, 1.0, 1e6, "ticks", "mean length of an outage")
    carbon: float = param(0.0, 0.0, 1.0, "share of the mean", "amplitude of the carbon intensity, highest at the season's beginning")
    carbon_price: float = param(0.0, 0.0, 1e6, "utility a tick", "for the use of the whole first resource at mean intensity")
    idle_power: float = param(0.5, 0.0, 1.0, "share of full power", "of an idle cluster")
    income: float = param(0.1, 0.0, 1e6, "credits a tick", "of each tenant")
    purse: float = param(2.0, 1e-6, 1e6, "credits", "of each tenant, at the beginning and at most")
    memory: float = param(20.0, 1.0, 1e6, "ticks", "of the averages that are seen")
    alpha: float = param(1.0, 0.0, 100.0, "", "of the alpha-fair welfare that is measured")

    def validate(self) -> None:
        name, bursting = type(self).__name__, self.burst_length / (self.burst_length + self.quiet_length)
        if self.warm_up >= self.horizon:
            raise UserError(f"{name}.warm_up = {self.warm_up} ticks: legal is below the horizon of {self.horizon}")
        if self.burst > 1 and self.burst * bursting > 1:
            raise UserError(
                f"{name}.burst = {self.burst} of the mean rate: legal is up to {1 / bursting:g}, bursts last {bursting:g} of the time"
            )
        if self.skew > 0 and self.arrivals != "trace":
            raise UserError(
                f"{name}.skew = {self.skew} with arrivals = {self.arrivals!r}: legal is 0, only a trace's requests are dealt out"
            )
        if self.arrivals == "events":
            self._check_events(name)
        elif self.arrivals == "trace":
            self._requests()
        elif self.peak > BUSIEST:
            raise UserError(f"{name}.load = {self.load}: {self.peak:.3g} jobs of a tenant in a peak's tick, legal are up to {BUSIEST:g}")

    def _check_events(self, name: str) -> None:
        for field, none in (("burst", 1.0), ("amplitude", 0.0), ("outage", 0.0), ("slack", 0.0)):
            if getattr(self, field) != none:
                raise UserError(f"{name}.{field} = {getattr(self, field)} with arrivals = 'events': legal is {none:g}, the queue is M/M/c")
        if self.classes != 1 or not 0 < self.load < 1:
            raise UserError(
                f"{name}.arrivals = 'events' with {self.classes} classes and load = {self.load}: legal is one class and a load in (0, 1)"
            )

    @property
    def layout(self) -> Layout:
        """Nodes and classes of jobs."""
        return layout(self.nodes, self.demand, self.work, self.value)

    @derived
    def n_nodes(self) -> int:
        return len(self.layout.capacity)

    @derived
    def resources(self) -> int:
        return self.layout.capacity.shape[1]

    @derived
    def classes(self) -> int:
        return len(self.layout.demand)

    @derived
    def slots(self) -> int:
        """Jobs that can run at once, at most."""
        return self.layout.slots

    @derived
    def agents(self) -> int:
        """Tenants, and the arbiter where there is one."""
        return self.n_agents + (self.mechanism == "arbiter")

    @derived
    def arrival_chance(self) -> float:
        """With arrivals `events`: the chance that the next event of M/M/c with all servers drawn on is an arrival, a/(a + c)."""
        return self.load / (self.load + 1)

    @derived
    def decay(self) -> float:
        """What an average keeps in a tick."""
        return 1 - 1 / self.memory

    @derived
    def log_repair(self) -> float:
        """Logarithm of the chance that an outage goes on for one more tick; 0 where it lasts one."""
        return log1p(-1 / self.repair) if self.repair > 1 else 0.0

    @derived
    def leaves_burst(self) -> float:
        return 1 / self.burst_length

    @derived
    def enters_burst(self) -> float:
        return 1 / self.quiet_length if self.burst > 1 else 0.0

    @derived
    def purse_money(self) -> int:
        return max(1, round(self.purse * MICRO))

    @derived
    def income_money(self) -> int:
        return round(self.income * MICRO)

    @derived
    def replay_ticks(self) -> int:
        """Ticks of the replayed part of the trace; 1 without one."""
        return len(self._requests().first) - 1 if self.arrivals == "trace" else 1

    @derived
    def wanders(self) -> int:
        """1 where episodes begin at a random tick of the trace."""
        return int(self.arrivals == "trace" and self.split == "train")

    def _requests(self) -> Requests:
        return cut(self.trace, self.holdout, self.split == "test", self.load, self.tokens, self.layout, self.mark("trace"))

    @property
    def tenant_mixture(self) -> F8:
        """Share of each class in a tenant's jobs [A, K]: its own class is its number modulo K."""
        mixture = np.full((self.n_agents, self.classes), (1 - self.affinity) / self.classes)
        mixture[np.arange(self.n_agents), np.arange(self.n_agents) % self.classes] += self.affinity
        return mixture

    @property
    def owner(self) -> F8:
        """Shares of the tenants in a trace's requests, cumulated [A]; equal ones end at whole multiples of 1/A."""
        weight = np.arange(1, self.n_agents + 1) ** -self.skew
        return np.asarray(np.cumsum(weight) / weight.sum())

    @property
    def tenant_rate(self) -> float:
        """Mean jobs of a tenant in a tick that make the load; traces and events have arrivals of their own."""
        shape = self.layout
        mean = (self.tenant_mixture.mean(0) * shape.work) @ shape.demand
        return float(self.load / (mean / shape.capacity.sum(0)).max() / self.n_agents)

    @property
    def peak(self) -> float:
        """Jobs of a tenant that are expected in the busiest tick."""
        return self.tenant_rate * self.burst * (1 + self.amplitude)

    def _rates(self) -> F8:
        """Expected jobs of a tenant at each tick of the season, in quiet and in bursts [2, P]; their mean over both is the load's."""
        bursting = self.burst_length / (self.burst_length + self.quiet_length) if self.burst > 1 else 0.0
        quiet = (1 - bursting * self.burst) / (1 - bursting)
        season = 1 + self.amplitude * np.sin(2 * np.pi * np.arange(self.period) / self.period)
        return np.maximum(self.tenant_rate * np.outer([quiet, self.burst], season), 0.0)

    def tables(self) -> Mapping[str, Any]:
        """Nodes: capacity [N, R], total [R]. Classes: demand [K, R], job_share [K, R] of total, worth, mean_work, log_stay [K].

        Tenants: mixture [A, K] cumulated, typical [A, R] units of a mean job. Season: rate and idle [2, P] (expected jobs, chance
        of none), sine, cosine, intensity [P]. Trace: first [T + 1], kinds and works [M], owner [A]: shares of tenants cumulated.
        """
        shape, rates, angle = self.layout, self._rates(), 2 * np.pi * np.arange(self.period) / self.period
        total = shape.capacity.sum(0)
        requests = self._requests() if self.arrivals == "trace" else Requests(*(np.zeros(2, np.int64),) * 3, np.zeros(1))
        return {
            "capacity": shape.capacity,
            "total": total,
            "demand": shape.demand,
            "job_share": shape.demand / total,
            "worth": shape.worth,
            "mean_work": shape.work,
            "log_stay": np.array([log(1 - 1 / w) if w > 1 else -np.inf for w in shape.work]),
            "mixture": np.cumsum(self.tenant_mixture, axis=1),
            "typical": self.tenant_mixture @ shape.demand,
            "rate": rates,
            "idle": np.exp(-rates),
            "sine": np.sin(angle),
            "cosine": np.cos(angle),
            "intensity": 1 + self.carbon * np.cos(angle),
            "first": requests.first,
            "kinds": requests.kinds,
            "works": requests.works,
            "owner": self.owner,
        }
