"""Parameters of the supply chain, what follows from them, and the tables that the rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from typing import Any, ClassVar

import numpy as np

from envs.supply_chain import layout, units
from envs.supply_chain.data import SYNTHETIC, part_of
from envs.supply_chain.layout import MOST, MOST_LEAD, TOPOLOGIES, Network
from marl.errors import UserError
from marl.game import F8, I8
from marl.params import Params, choice, data_file, derived, param, text

ACTIONS = ("delta", "level", "quantity")
DELTA, LEVEL, QUANTITY = range(3)
UNITS = ("means", "deviations")
TIMINGS = ("before", "after")
BEFORE, AFTER = range(2)
UNMET = ("backlog", "lost")
BACKLOG, LOST = range(2)
RATIONINGS = ("proportional", "priority", "learned")
PROPORTIONAL, PRIORITY, LEARNED = range(3)
DEMANDS = ("constant", "uniform", "poisson", "negative_binomial", "normal", "ar1", "trace")
CONSTANT, UNIFORM, POISSON, NEGATIVE_BINOMIAL, NORMAL, AR1, TRACE = range(7)
FORECASTS = ("moving", "ses", "holt_winters", "croston", "sba", "ar")
MOVING, SES, HOLT_WINTERS, CROSTON, SBA, AR = range(6)
MILLI = 1_000
"""Whole parts of a unit of money in which prices are counted, so that transfers are exact."""
BUSIEST = 500.0
"""Largest mean of a counted demand in a tick."""


@dataclass(frozen=True)
class SupplyChainParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ("links", "out", "nodes", "rates", "each", "opening", "size", "cycle", "series")

    n_agents: int = param(6, 1, 128, "nodes", "one agent each")
    horizon: int = param(100, 1, 1_000_000, "ticks")
    warm_up: int = param(0, 0, 1_000_000, "ticks", "from the beginning, that metrics leave out")
    continuing: bool = param(False, 0, 1, "", "the horizon only cuts a chain that goes on, and is not seen")
    topology: str = choice("generated", TOPOLOGIES, "generated: layers by seed; links: as given; parallel: all buy from the outside")
    fan: int = param(2, 1, 128, "nodes", "buyers of a node in divergent, suppliers of one in assembly networks")
    tiers: int = param(3, 1, 16, "layers", "of a generated network")
    retailers: int = param(2, 1, 128, "nodes", "in the first layer of a generated network")
    sources: int = param(2, 1, 8, "suppliers", "of a node at most, in a generated network")
    network: int = param(0, 0, 2**31, "", "seed of the generated network and of numbers given as ranges")
    links: str = text("", "rows of buyer and supplier, parted by /; suppliers have higher numbers")
    assemble: bool = param(False, 0, 1, "", "a unit takes one of each supplier's, as in assembly networks; else orders are split")
    products: int = param(2, 1, 16, "products")
    columns_for: int = param(0, 0, 16, "products", "that have columns; 0: those that there are")
    parts: int = param(1, 1, 10_000, "whole parts of a unit", "in which units are counted")
    lead: str = text("2", "ticks from shipment to receipt, one number, one a node or a range; 0 only from the outside")
    lead_noise: int = param(0, 0, 8, "ticks", "that a shipment takes more, at most: uniformly drawn")
    pipeline_for: int = param(0, 0, 24, "ticks", "of shipments under way that have columns at least")
    lag: str = text("0", "ticks from an order to its arrival at the supplier, one number, one a node or a range")
    timing: str = choice("before", TIMINGS, "orders do not see the tick's demand and incoming orders, or do")
    action: str = choice("level", ACTIONS, "what is chosen: units beyond the last demand, an order-up-to level, or a quantity")
    unit: str = choice("deviations", UNITS, "that orders are counted in: standard deviations of demand from what is usual, or mean demands")
    reach: float = param(0.0, 0.0, 100.0, "of `unit`", "largest delta or quantity; largest level, of the demand that it covers; 0: as fits")
    grid: int = param(5, 2, 101, "points", "of the grid of actions of value-based learners, over all that can be chosen")
    choose_sources: bool = param(False, 0, 1, "", "agents weigh their suppliers; else orders are split equally")
    rationing: str = choice("proportional", RATIONINGS, "how a supplier shares what falls short; priority: to the first buyers first")
    expedite: bool = param(False, 0, 1, "", "agents choose which share of what leaves for them comes in one tick, at a cost")
    pricing: bool = param(False, 0, 1, "", "agents set what their buyers pay, up to twice the price")
    capacity: float = param(0.0, 0.0, 1e3, "mean demands", "that a node ships in a tick at most, over all products; 0: no limit")
    volume: float = param(0.0, 0.0, 1e4, "mean demands", "that a node stores at most, by volume; what is more is scrapped; 0: no limit")
    sizes: str = text("1", "volume of a unit: one whole number or one a product")
    supply_low: float = param(0.0, 0.0, 1e3, "mean demands of all", "that the outside ships in a tick: uniformly drawn from here")
    supply_high: float = param(0.0, 0.0, 1e3, "mean demands of all", "to here; 0: no limit")
    unmet: str = choice("backlog", UNMET, "what becomes of customers' demand that is not met at once")
    demand: str = choice("poisson", DEMANDS, "law of customers' demand; uniform: on whole numbers from 0 to twice the mean")
    demand_mean: str = text("8", "units a tick and retailer: one number or one a product")
    demand_sd: float = param(1.0, 0.0, 1e6, "units", "of normal demand; of the shock of ar1")
    demand_cv: float = param(1.2, 0.01, 10.0, "of the mean", "standard deviation of negative binomial demand")
    persistence: float = param(0.5, -0.99, 0.99, "", "of ar1: what a deviation from the mean keeps in a tick")
    uneven: float = param(0.0, 0.0, 0.9, "share of the mean", "by which retailers' means differ at most")
    correlation: float = param(0.0, 0.0, 1.0, "", "of demands of one tick, by a common normal factor")
    amplitude: float = param(0.0, 0.0, 1.0, "share of the mean", "of the season of demand")
    period: int = param(7, 2, 1_000, "ticks", "of the season")
    regime: float = param(1.0, 0.0, 100.0, "of the mean", "demand in the other regime; 1: there is none")
    regime_length: float = param(20.0, 1.0, 1e6, "ticks", "mean length of the other regime")
    calm_length: float = param(40.0, 1.0, 1e6, "ticks", "mean time between")
    step_at: int = param(0, 0, 1_000_000, "tick", "from which means are others; 0: never")
    step_to: float = param(1.0, 0.0, 100.0, "of the mean", "from then on")
    trace: str = data_file(
        SYNTHETIC,
        "daily demand",
        "path of daily demand, see envs.supply_chain.data; synthetic: a built-in small one",
        read=("demand", "trace"),
    )
    split: str = choice("train", ("train", "test"), "part of the trace; train begins at any day, test at its first")
    holdout: float = param(0.27, 0.01, 0.9, "share of the trace's days", "the last ones, kept for split test")
    disruption: float = param(0.0, 0.0, 1.0, "chance a tick", "of a node to fail: it ships nothing")
    outage: float = param(8.0, 1.0, 1e6, "ticks", "mean length")
    closure_at: int = param(0, 0, 1_000_000, "tick", "from which the outside ships nothing")
    closure: int = param(0, 0, 1_000_000, "ticks", "for so long; 0: never")
    holding: str = text("0.02", "cost a unit and tick of stock: one number or one a node")
    penalty: str = text("0.08", "cost a unit and tick owed to customers or buyers, a unit lost: one number or one a node")
    transit: float = param(0.0, 0.0, 1e3, "of the supplier's holding cost", "of units on their way from another node")
    fixed: float = param(0.0, 0.0, 1e6, "cost an order", "and product")
    expedite_cost: float = param(0.02, 0.0, 1e6, "cost a unit", "that is expedited")
    scrap_cost: float = param(0.02, 0.0, 1e6, "cost a unit", "that is scrapped")
    revenue: float = param(0.0, 0.0, 1e6, "money a unit", "that a customer gets")
    price: str = text("0", "money a unit that a node's buyers pay: one number or one a node")
    raw_price: float = param(0.0, 0.0, 1e4, "money a unit", "that the outside is paid")
    cooperation: float = param(0.0, 0.0, 1.0, "", "weight of the team's mean in the reward: 0 one's own, 1 the team's")
    initial: str = text("auto", "units in stock at the beginning: one number or one a node; auto: a mean demand")
    in_transit: str = text("auto", "units in each tick of shipments and orders under way at the beginning; auto: a mean demand")
    levels: str = text("", "local order-up-to levels of the baseline base_stock, units, one a node; empty: by newsvendors")
    window_short: int = param(4, 1, 1_000, "ticks", "of the short demand average")
    window: int = param(13, 1, 1_000, "ticks", "of the long one, and of the forecast moving")
    forecast: str = choice("moving", FORECASTS, "who forecasts a node's demand of the next tick")
    smoothing: float = param(0.2, 0.0, 1.0, "", "of forecasts: weight of the last demand")
    trend: float = param(0.05, 0.0, 1.0, "", "of holt_winters: weight of the last change")
    seasonal: float = param(0.1, 0.0, 1.0, "", "of holt_winters: weight of the last season")
    share_forecasts: bool = param(False, 0, 1, "", "all see the forecasts of customers' demand downstream, and echelon positions")

    def validate(self) -> None:
        name = type(self).__name__
        if self.warm_up >= self.horizon:
            raise UserError(f"{name}.warm_up = {self.warm_up} ticks: legal is below the horizon of {self.horizon}")
        if self.window_short > self.window:
            raise UserError(f"{name}.window_short = {self.window_short} ticks: legal is up to window = {self.window}")
        if self.supply_low > self.supply_high:
            raise UserError(f"{name}.supply_low = {self.supply_low}: legal is up to supply_high = {self.supply_high}")
        if 0 < self.columns_for < self.products:
            raise UserError(f"{name}.columns_for = {self.columns_for}: legal are 0 and numbers from products = {self.products}")
        self._check_demand(name)
        self._check_leads(name)
        self.tables()  # refuses what a text says wrongly

    def _check_demand(self, name: str) -> None:
        mean = self.product_mean
        peak = mean.max() * (1 + self.uneven) * (1 + self.amplitude) * max(1.0, self.regime) * max(1.0, self.step_to)
        if self.demand in ("poisson", "negative_binomial") and peak > BUSIEST:
            raise UserError(f"{name}.demand_mean = {self.demand_mean!r}: {peak:g} units in a peak's tick, legal are up to {BUSIEST:g}")
        least = mean[mean > 0].min(initial=np.inf) * (1 - self.uneven)
        if self.demand == "negative_binomial" and self.demand_cv**2 * least <= 1:
            raise UserError(f"{name}.demand_cv = {self.demand_cv}: legal is above {least**-0.5:.4g}, a Poisson demand's of the least mean")

    def _check_leads(self, name: str) -> None:
        n, net = self.n_agents, self.layout
        leads, _ = self.leads
        for e in range(len(net.buyer)):
            if leads[net.buyer[e]] == 0 and net.up[e] < n:
                raise UserError(
                    f"{name}.lead = {self.lead!r}: node {net.buyer[e]} buys from node {net.up[e]}, legal is from 1; 0 is from the outside"
                )

    @property
    def layout(self) -> Network:
        """Nodes and links."""
        retailers = min(self.retailers, self.n_agents)
        return layout.network(
            self.topology, self.n_agents, self.fan, self.tiers, self.sources, retailers, self.network, self.links, bool(self.assembles)
        )

    @derived
    def assembles(self) -> int:
        return int(self.assemble or self.topology == "assembly")

    @derived
    def link_count(self) -> int:
        return len(self.layout.buyer)

    @derived
    def most_sources(self) -> int:
        """Suppliers that have a column of weights."""
        if self.topology == "generated":
            return self.sources
        return int(np.diff(self.layout.first).max())

    @derived
    def most_buyers(self) -> int:
        """Buyers that have a column of weights."""
        return max(1, int(np.diff(self.layout.out_first)[:-1].max()))

    @derived
    def shown(self) -> int:
        """Products that have columns."""
        return self.columns_for or self.products

    @derived
    def slots(self) -> int:
        """Ticks of the ring of shipments."""
        return max(layout.largest(self.lead) + self.lead_noise, self.pipeline_for) + 1

    @derived
    def wires(self) -> int:
        """Ticks of the ring of orders."""
        return layout.largest(self.lag) + 1

    @derived
    def ration_column(self) -> int:
        """First action column of the weights of buyers."""
        return self.shown + (self.most_sources if self.choose_sources else 0)

    @derived
    def fast_column(self) -> int:
        """Action column of the expedited share."""
        return self.ration_column + (self.most_buyers if self.rationing == "learned" else 0)

    @derived
    def price_column(self) -> int:
        """Action column of the price."""
        return self.fast_column + int(self.expedite)

    @derived
    def quiet(self) -> float:
        """Action below which nothing is ordered."""
        return units.quiet_below(self)

    @derived
    def expedite_milli(self) -> int:
        """Thousandths of money for a unit that is expedited."""
        return round(self.expedite_cost * MILLI)

    @derived
    def season_slots(self) -> int:
        """Seasonal terms of a forecast."""
        return self.period if self.forecast == "holt_winters" else 1

    @derived
    def log_outage(self) -> float:
        """Logarithm of the chance that an outage goes on for one more tick; 0 where it lasts one."""
        return log1p(-1 / self.outage) if self.outage > 1 else 0.0

    @derived
    def replay_days(self) -> int:
        """Days of the replayed part of the trace; 1 without one."""
        return len(self._series()) if self.demand == "trace" else 1

    @derived
    def days_before(self) -> int:
        """Days of the trace before the replayed part."""
        return len(self.training) if self.demand == "trace" and self.split == "test" else 0

    @derived
    def wanders(self) -> int:
        """1 where episodes begin at a random day of the trace."""
        return int(self.demand == "trace" and self.split == "train")

    @derived
    def deepest(self) -> int:
        """Most links from customers to a node, at least one."""
        return max(1, int(self.layout.depth.max()))

    @derived
    def outside_mean(self) -> float:
        """Raw units that all customers' mean demands take in a tick, in parts."""
        net = self.layout
        buyers = net.buyer[net.up == self.n_agents]
        count = np.diff(net.first)[buyers]
        return float((self.flow[buyers].sum(1) / (1 if self.assembles else count)).sum() * self.parts)

    @property
    def product_mean(self) -> F8:
        """Mean demand of a retailer [P], units a tick."""
        return layout.numbers("demand_mean", self.demand_mean, self.products, 0, MOST, self.network)

    def _retailers(self) -> I8:
        """Nodes that nobody buys from."""
        return np.flatnonzero(np.diff(self.layout.out_first)[: self.n_agents] == 0)

    def _series(self) -> F8:
        """Units a day [T, retailers x P] of the part of the trace."""
        return part_of(self.trace, len(self._retailers()) * self.products, self.holdout, self.split == "test", self.mark("trace"))

    @property
    def training(self) -> F8:
        """Units a day [T, retailers x P] of the trace's first days."""
        return part_of(self.trace, len(self._retailers()) * self.products, self.holdout, False, self.mark("trace"))

    @property
    def mean(self) -> F8:
        """Customers' mean demand [N, P], units a tick; a trace's is of its training part."""
        mean, at = np.zeros((self.n_agents, self.products)), self._retailers()
        if self.demand == "trace":
            mean[at] = self.training.mean(0).reshape(len(at), self.products)
            return mean
        spread = np.random.default_rng([self.network, self.n_agents]).uniform(-1, 1, (len(at), 1))
        mean[at] = self.product_mean * (1 + self.uneven * spread)
        return mean

    @property
    def flow(self) -> F8:
        """Mean demand that passes through each node [N, P], units a tick; at least a part, so that it can be divided by."""
        return np.maximum(self.layout.share @ self.mean, 1 / self.parts)

    def tables(self) -> Mapping[str, Any]:
        """links [E, WAY], out [E], nodes [N + 1, AT], rates [N + 1, RATE], each [N, P, EACH], opening [N, P, OPENING], cycle
        [period, CYCLE], columns as in envs.supply_chain.layout; size [P], volume of a unit; series [T, retailers x P], the trace in parts.
        """
        net, flow = self.layout, self.flow
        size, whole = layout.whole("sizes", self.sizes, self.products, 1_000, 0), np.rint(flow * self.parts)
        angle = 2 * np.pi * np.arange(self.period) / self.period
        series = np.rint(self._series() * self.parts) if self.demand == "trace" else np.zeros((1, 1))
        leads, lags = self.leads
        opening = [self._beginning(name, whole, getattr(self, name)) for name in ("initial", "in_transit")]
        return {
            "links": np.stack([net.buyer, net.up, leads[net.buyer], lags[net.buyer]], axis=1),
            "out": net.out,
            "nodes": self._nodes(flow, size),
            "rates": np.vstack([np.stack([*self.costs, self.cover], axis=1), np.zeros((1, 3))]),
            "each": self._each(flow),
            "opening": np.stack(opening, axis=2),
            "size": size,
            "cycle": np.stack([np.sin(angle), np.cos(angle), 1 + self.amplitude * np.sin(angle)], axis=1),
            "series": series.astype(np.int64),
        }

    def _each(self, flow: F8) -> F8:
        """The table `each`."""
        unit, usual = units.scale_of(self)
        return np.stack([flow, self.mean, unit * flow, usual * flow], axis=2) * self.parts

    def _nodes(self, flow: F8, size: I8) -> I8:
        """The table `nodes`, the outside in its last row."""
        n, net = self.n_agents, self.layout
        price = np.append(layout.numbers("price", self.price, n, 0, 1e4, self.network), self.raw_price)
        retail = np.full(n + 1, -1)
        retail[self._retailers()] = np.arange(len(self._retailers()))
        limits = [np.append(np.rint(x * self.parts), 0) for x in (self.capacity * flow.sum(1), self.volume * (flow * size).sum(1))]
        columns = [
            np.append(net.first[:-1], 0), np.append(net.first[1:], 0), net.out_first[:-1], net.out_first[1:], np.append(net.depth, 0),
            np.append(net.weight, 1), retail, *limits, np.rint(price * MILLI),
        ]  # fmt: skip
        return np.stack(columns, axis=1).astype(np.int64)

    @property
    def leads(self) -> tuple[I8, I8]:
        """Ticks of shipments to and of orders by each node [N]."""
        lead, lag = (layout.whole(k, getattr(self, k), self.n_agents, MOST_LEAD, self.network) for k in ("lead", "lag"))
        return lead, lag

    @property
    def cover(self) -> F8:
        """Ticks of demand that an order-up-to level of each node covers [N], at least one."""
        lead, lag = self.leads
        return np.asarray(np.maximum(lead + lag + self.lead_noise / 2 + (self.timing == "before"), 1.0))

    @property
    def costs(self) -> tuple[F8, F8]:
        """Of a unit on hand and of a unit owed at each node [N]."""
        hold, short = (layout.numbers(k, getattr(self, k), self.n_agents, 0, MOST, self.network) for k in ("holding", "penalty"))
        return hold, short

    def _beginning(self, name: str, usual: F8, given: str) -> I8:
        """Parts at the beginning [N, P]."""
        if given == "auto":
            return usual.astype(np.int64)
        each = layout.numbers(name, given, self.n_agents, 0, MOST, self.network)
        return np.repeat(np.rint(each * self.parts).astype(np.int64)[:, None], self.products, axis=1)
