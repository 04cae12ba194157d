"""Scripted agents of the supply chain, who see what learners see. Quantities are in mean demands of the node, as in observations.

S Sterman 1989, "Modeling managerial behavior: misperceptions of feedback in a dynamic decision making experiment"; A Axsater and Rosling
1993, "Installation vs. echelon stock policies for multilevel inventory control".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.supply_chain import layout, theory, tuning
from envs.supply_chain.params import SupplyChainParams
from envs.supply_chain.planning import plans
from envs.supply_chain.sight import FIXED, NODE_WIDTH, action, of_, own_, shared_, width_of
from envs.supply_chain.units import deviation, scale_of
from marl.content import remembered
from marl.game import F4, F8, I8, bounds

ADJUSTS, SUPPLY_LINE = 0.36, 0.34
"""Sterman's estimates: the share of the gap that is ordered, and the weight of what is under way in it."""
SMALLEST, NEAR = 1e-9, 1e-5
"""Cost that can be divided by; mean demands by which a position in single precision may miss a level."""
FACTORS = np.linspace(-1.0, 4.0, 21)
"""Standard deviations of the demand that is covered, among which searches choose safety stocks."""


def nodes_of(p: SupplyChainParams, obs: F4) -> I8:
    """Number of the node of each row [N]."""
    return np.asarray(np.rint(obs[:, own_.place] * p.n_agents).astype(np.int64) - 1)


def column(p: SupplyChainParams, obs: F4, at: int) -> F8:
    """A column of every product [N, P]."""
    return np.asarray(obs[:, NODE_WIDTH + at :: width_of(p)][:, : p.products], np.float64)


def of(p: SupplyChainParams, obs: F4, name: str) -> F8:
    """A column of OF_PRODUCT of every product [N, P]."""
    return column(p, obs, getattr(of_, name))


def acted(p: SupplyChainParams, orders: F8) -> F8:
    """Actions [N, U] with order columns [N, P], clipped; suppliers and buyers alike, nothing expedited, usual prices."""
    columns = action(p)
    low, high = bounds(columns)
    found = np.tile([1.0 if name.startswith(("source", "buyer", "price")) else 0.0 for name in columns], (len(orders), 1))
    found[:, : p.products] = orders
    return np.asarray(np.clip(found, low, high))


def counted(p: SupplyChainParams, at: I8, orders: F8) -> F8:
    """The order columns [N, P] of nodes `at` that mean a delta, level or quantity of `orders` [N, P], mean demands."""
    unit, usual = (x[at] for x in scale_of(p))
    return np.asarray((orders - usual) / (unit * p.cover[at][:, None] if p.action == "level" else unit))


def level_of(p: SupplyChainParams, at: I8, level: F8) -> F8:
    """Actions of nodes `at` that order up to local levels [N, P], and not none where what is asked for is lower than can be said."""
    wanted = counted(p, at, level)
    return acted(p, np.maximum(wanted, p.quiet) if np.isfinite(p.quiet) else wanted)


def up_to(p: SupplyChainParams, obs: F4, level: F8) -> F8:
    """Actions that order up to local levels [N, P], whatever an action means.

    With orders after demand the tick's demand is not seen yet: `delta` and `level` add it themselves, a quantity expects the forecast.
    """
    at = nodes_of(p, obs)
    if p.action == "level":
        return level_of(p, at, level)
    gap, after = level - of(p, obs, "position"), p.timing == "after"
    if p.action == "delta":
        return acted(p, counted(p, at, gap if after else np.maximum(gap, 0.0) - of(p, obs, "last_in")))
    return acted(p, counted(p, at, np.maximum(gap + (of(p, obs, "forecast") if after else 0.0), 0.0)))


def ordering(p: SupplyChainParams, obs: F4, quantity: F8) -> F8:
    """Actions that order quantities [N, P], after demand less what of it differs from the forecast."""
    at = nodes_of(p, obs)
    if p.action == "quantity":
        return acted(p, counted(p, at, quantity))
    if p.action == "delta":
        return acted(p, counted(p, at, quantity - of(p, obs, "forecast" if p.timing == "after" else "last_in")))
    expected = of(p, obs, "forecast") if p.timing == "after" else 0.0
    return level_of(p, at, of(p, obs, "position") + quantity - expected)


def pass_through(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """Orders what was ordered of it: the naive policy."""
    if p.timing == "after" and p.action == "delta":
        return acted(p, np.zeros((len(obs), p.products)))
    if p.timing == "after" and p.action == "level":
        return level_of(p, nodes_of(p, obs), of(p, obs, "position"))
    return ordering(p, obs, of(p, obs, "last_in"))


def levels_at(p: SupplyChainParams, factor: npt.ArrayLike) -> F8:
    """Local levels [N, P], mean demands: the demand that is covered and `factor` [N] of its standard deviations."""
    f, cover = np.broadcast_to(np.asarray(factor, np.float64), (p.n_agents,)), p.cover
    return np.asarray(np.maximum(cover[:, None] + (f * np.sqrt(cover))[:, None] * deviation(p), 0.0))


@remembered(64)
def local_levels(p: SupplyChainParams) -> F8:
    """Local levels [N, P], mean demands: those of `levels`, the known optimum of one node, else the best factors that a search finds."""
    if p.levels:
        given = layout.numbers("levels", p.levels, p.n_agents, 0, layout.MOST, p.network)
        return np.asarray(given[:, None] / p.flow)
    hold, short = (float(x[0]) for x in p.costs)
    if p.n_agents == 1 and p.unmet == "backlog" and p.fixed == 0 and p.demand == "poisson":
        return np.array([[theory.poisson_newsvendor(hold, short, float(m * p.cover[0])).level for m in p.mean[0]]]) / p.flow
    if p.n_agents == 1 and p.unmet == "backlog" and p.fixed == 0 and p.demand in ("normal", "ar1"):
        return levels_at(p, theory.newsvendor(hold, short, 0, 1).level)
    return levels_at(p, tuning.once(p, _levels_of_rows, FACTORS, lambda: tuning.by_level(p, _levels_of_rows, FACTORS)))


def _levels_of_rows(p: SupplyChainParams, obs: F4, rows: F8) -> F8:
    """Base stock with a factor of each row [N, 1]."""
    at = nodes_of(p, obs)
    cover, dev = p.cover[at][:, None], deviation(p)[at]
    return up_to(p, obs, np.maximum(cover + rows * np.sqrt(cover) * dev, 0.0))


def base_stock(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """Up to fixed local levels."""
    return up_to(p, obs, local_levels(p)[nodes_of(p, obs)])


def echelon_base_stock(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """Up to fixed echelon levels, where echelon positions are shown; elsewhere up to the local levels that do the same (A)."""
    if not p.share_forecasts:
        return base_stock(p, obs, generator)
    at = FIXED + p.slots - 1 + shared_.echelon
    echelon = (p.layout.share @ (local_levels(p) * p.flow) / p.flow - late(p)[:, None])[nodes_of(p, obs)]
    return up_to(p, obs, of(p, obs, "position") + echelon - column(p, obs, at))


def late(p: SupplyChainParams) -> F8:
    """Ticks [N] by which orders from the customers reach a node later than what it sees of the echelon, the longest way."""
    net, lag, found = p.layout, p.leads[1], np.zeros(p.n_agents)
    for e in range(len(net.buyer)):
        if net.up[e] < p.n_agents:
            j = net.buyer[e]
            found[net.up[e]] = max(found[net.up[e]], found[j] + lag[j] + (p.timing == "before"))
    return found


@remembered(64)
def reorder_levels(p: SupplyChainParams) -> tuple[F8, F8]:
    """(s, S) of every node and product [N, P], mean demands: exact for one node without a lead and Poisson demand; else the best that a
    search finds of s = factor as of base stock less a tick, S - s = share of the economic order quantity."""
    hold, short = p.costs
    if p.n_agents == 1 and p.demand == "poisson" and p.cover[0] == 1 and p.fixed > 0 and p.unmet == "backlog":
        best = [theory.reorder(float(hold[0]), float(short[0]), p.fixed, float(m)) for m in p.mean[0]]
        return np.array([[b.point for b in best]]) / p.flow, np.array([[b.upto for b in best]]) / p.flow
    tried = np.array(list(product(FACTORS, (0.5, 1.0, 1.5) if p.fixed > 0 else (0.0,))))
    found = tuning.once(p, _reorder_of_rows, tried, lambda: tuning.best(p, tried, _reorder_of_rows))
    return _reorder_at(p, np.arange(p.n_agents), found)


def _reorder_at(p: SupplyChainParams, at: I8, rows: F8) -> tuple[F8, F8]:
    """(s, S) [N, P] of nodes `at` with factors and shares of the economic order quantity `rows` [N, 2]."""
    cover, dev, flow = p.cover[at][:, None], deviation(p)[at], p.flow[at]
    batch = np.sqrt(2 * p.fixed * flow / np.maximum(p.costs[0][at], SMALLEST)[:, None]) / flow
    seen = 1.0 if p.timing == "before" else 0.0  # the last demand is in the position, or the next one will be
    point = np.maximum(cover - seen + rows[:, :1] * np.sqrt(cover) * dev, 0.0)
    return point, np.maximum(point + rows[:, 1:] * batch, point + 1 / (flow * p.parts))


def _reorder_of_rows(p: SupplyChainParams, obs: F4, rows: F8) -> F8:
    return _order_at(p, obs, *_reorder_at(p, nodes_of(p, obs), rows))


def _order_at(p: SupplyChainParams, obs: F4, point: F8, level: F8) -> F8:
    """Actions that order up to `level` [N, P] where the position is at most `point` [N, P]."""
    position = of(p, obs, "position")
    due = position <= point + NEAR
    if p.action == "level":
        return acted(p, np.where(due, counted(p, nodes_of(p, obs), level), bounds(action(p))[0][0]))
    return ordering(p, obs, np.where(due, np.maximum(level - position, 0.0), 0.0))


def reorder(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """(s, S): up to S where the position is at most s, else nothing."""
    (point, level), at = reorder_levels(p), nodes_of(p, obs)
    return _order_at(p, obs, point[at], level[at])


def sterman(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """Anchors on the short average of demand and adjusts for stock, and too little for what is under way (S).

    Orders d + a (S' - (stock - owed) - b x under way), S' a mean demand more than b x what is under way on average.
    """
    net = of(p, obs, "on_hand") - of(p, obs, "owed")
    way = of(p, obs, "position") - net
    goal = 1.0 + SUPPLY_LINE * p.cover[nodes_of(p, obs)][:, None]
    wanted = of(p, obs, "mean_short") + ADJUSTS * (goal - net - SUPPLY_LINE * way)
    return ordering(p, obs, np.maximum(wanted, 0.0))


def moving_average(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """Up to the forecast over the ticks that are covered and a constant safety stock; of customers' demand where it is shared."""
    return _forecast_of_rows(p, obs, safety(p)[nodes_of(p, obs)])


def _forecast_of_rows(p: SupplyChainParams, obs: F4, rows: F8) -> F8:
    """The same with the safety stock of each row [N, P or 1], standard deviations of the demand that is covered."""
    at = nodes_of(p, obs)
    cover = p.cover[at][:, None]
    seen = column(p, obs, FIXED + p.slots - 1 + shared_.end_forecast) if p.share_forecasts else of(p, obs, "forecast")
    return up_to(p, obs, np.maximum(cover * seen + rows * np.sqrt(cover) * deviation(p)[at], 0.0))


@remembered(64)
def safety(p: SupplyChainParams) -> F8:
    """Safety stocks [N, 1] of `moving_average`: of a lone node the newsvendor's, else by search, standard deviations."""
    if p.n_agents == 1 and p.unmet == "backlog" and p.demand != "trace":
        return np.array([[theory.newsvendor(float(p.costs[0][0]), float(p.costs[1][0]), 0, 1).level]])
    return tuning.once(p, _forecast_of_rows, FACTORS, lambda: tuning.by_level(p, _forecast_of_rows, FACTORS))[:, None]


def mpc(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """The first orders of a linear programme for the whole network that takes forecasts for demand (`planning`)."""
    spare = np.maximum(local_levels(p) - p.cover[:, None], 0.0)
    return ordering(p, obs, plans(p, obs, spare))


def action_grid(p: SupplyChainParams) -> Mapping[str, npt.NDArray[Any]]:
    """`grid` orders from the least to the largest, the same for all products; all else as usual."""
    low, high = bounds(action(p))
    orders = np.linspace(low[0], high[0], p.grid)
    return {"node": acted(p, np.repeat(orders[:, None], p.products, axis=1))}
