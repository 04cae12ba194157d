# mypy: allow-untyped-defs, allow-incomplete-defs
"""What agents see and do. Units are seen in mean demands of the node, so that nodes of any size look alike."""

from __future__ import annotations

import math
from typing import Any

from envs.supply_chain.demand import season_of
from envs.supply_chain.layout import at_, cycle_, each_, way_
from envs.supply_chain.orders import LEAST_WEIGHT, position, wrapped
from envs.supply_chain.params import MILLI, SupplyChainParams
from envs.supply_chain.shipping import tariff_of
from envs.supply_chain.state import item_, link_, node_, note_
from envs.supply_chain.units import range_of
from marl.compiled import apart, rule
from marl.game import Column, Role, index, inf

OF_NODE = {
    "time_left": Column(0, 1, "share of the horizon; 1 in a chain that goes on"),
    "place": Column(0, 1, "number of the node + 1 over the number of nodes"),
    "level": Column(0, 1, "links from the customers, the longest way, over the network's most"),
    "season_sine": Column(-1, 1, "of the tick to come; of a trace, counted from its first day"),
    "season_cosine": Column(-1, 1),
    "capacity_free": Column(0, 1, "share of the capacity that the last tick left; 1 without a limit"),
    "volume_free": Column(0, 1, "share of the room; 1 without a limit"),
    "cash": Column(-inf, inf, "prices received less paid in the episode, over mean demand and horizon"),
    "up": Column(0, 1, "1 while the node ships"),
    "upstream_up": Column(0, 1, "share of suppliers that ship"),
    "price": Column(0, inf, "money a unit that suppliers ask, their mean"),
}
OF_PRODUCT = {
    "on_hand": Column(0, inf, "mean demands"),
    "position": Column(-inf, inf, "mean demands: on hand and ordered less owed"),
    "owed": Column(0, inf, "mean demands: to customers or buyers"),
    "waiting": Column(0, inf, "mean demands: owed by suppliers, and orders under way"),
    "last_in": Column(0, inf, "mean demands: orders that came in in the last tick"),
    "last_out": Column(0, inf, "mean demands: the last order"),
    "mean_short": Column(0, inf, "mean demands: average of orders that came in over the short window"),
    "mean_long": Column(0, inf, "mean demands: over the long one"),
    "cv": Column(0, inf, "standard deviation over mean of orders that came in, long window"),
    "lead": Column(0, inf, "average ticks that a shipment takes"),
    "fill": Column(0, 1, "average share of what suppliers owed that they shipped"),
    "forecast": Column(0, inf, "mean demands: orders that will come in in the next tick"),
}
SHARED = {
    "end_forecast": Column(0, inf, "mean demands: forecast of the customers' demand downstream"),
    "echelon": Column(-inf, inf, "mean demands: position, with all that is downstream less what customers are owed"),
}
UNIT = {
    ("means", "delta"): "mean demands beyond the last",
    ("means", "level"): "of the mean demand that is covered: order-up-to level",
    ("means", "quantity"): "mean demands",
    ("deviations", "delta"): "standard deviations of demand beyond the last demand",
    ("deviations", "level"): "order-up-to level: standard deviations of the demand that is covered beyond its mean",
    ("deviations", "quantity"): "standard deviations of demand beyond its mean",
}
"""Of an order, by what it is counted in and what it is."""
own_, of_, shared_ = (index(table) for table in (OF_NODE, OF_PRODUCT, SHARED))
NODE_WIDTH, FIXED = len(OF_NODE), len(OF_PRODUCT)


def width_of(p: SupplyChainParams) -> int:
    """Columns of one product."""
    return FIXED + p.slots - 1 + (len(SHARED) if p.share_forecasts else 0)


def observation(p: SupplyChainParams) -> dict[str, Column]:
    """Columns of the node, then those of each product."""
    pipeline = {f"pipeline_{i}": Column(0, inf, f"mean demands that arrive in {i} ticks") for i in range(1, p.slots)}
    each = OF_PRODUCT | pipeline | (SHARED if p.share_forecasts else {})
    return OF_NODE | {f"{name}_{k}": column for k in range(p.shown) for name, column in each.items()}


def action(p: SupplyChainParams) -> dict[str, Any]:
    """An order of each product; weights of suppliers and buyers, the expedited share and the price where these are chosen."""
    order = Column(*range_of(p), UNIT[p.unit, p.action])
    columns: dict[str, Any] = {f"order_{k}": order for k in range(p.shown)}
    if p.choose_sources:
        columns |= {f"source_{i}": Column(LEAST_WEIGHT, 1, f"weight of supplier {i}", scale="log") for i in range(p.most_sources)}
    if p.rationing == "learned":
        columns |= {f"buyer_{i}": Column(LEAST_WEIGHT, 1, f"weight of buyer {i}", scale="log") for i in range(p.most_buyers)}
    if p.expedite:
        columns["expedite"] = Column(0, 1, "share of what leaves for the node that comes in one tick")
    if p.pricing:
        columns["price"] = Column(0, 2, "of the price that the parameters name")
    return columns


def roles(p: SupplyChainParams) -> tuple[Role, ...]:
    """One agent a node."""
    return (Role("node", p.n_agents, observation(p), action(p)),)


@apart
def observe(p, s, b, obs):
    season, now = season_of(p, s, b), s.t[b] % p.slots
    closed = p.closure > 0 and p.closure_at <= s.t[b] < p.closure_at + p.closure
    each = FIXED + p.slots - 1 + (2 if p.share_forecasts else 0)
    for j in range(p.n_agents):
        obs[b, j, own_.time_left] = 1.0 if p.continuing else 1.0 - s.t[b] / p.horizon
        obs[b, j, own_.place] = (j + 1.0) / p.n_agents
        obs[b, j, own_.level] = p.nodes[j, at_.depth] / p.deepest
        obs[b, j, own_.season_sine] = p.cycle[season, cycle_.sine]
        obs[b, j, own_.season_cosine] = p.cycle[season, cycle_.cosine]
        shipped, used = 0, 0
        for k in range(p.products):
            shipped += s.item[b, j, k, item_.shipped]
            used += s.item[b, j, k, item_.stock] * p.size[k]
        obs[b, j, own_.capacity_free] = 1.0 - shipped / p.nodes[j, at_.cap] if p.nodes[j, at_.cap] > 0 else 1.0
        obs[b, j, own_.volume_free] = max(0.0, 1.0 - used / p.nodes[j, at_.room]) if p.nodes[j, at_.room] > 0 else 1.0
        flow = 0.0
        for k in range(p.products):
            flow += p.each[j, k, each_.scale]
        obs[b, j, own_.cash] = (s.node[b, j, node_.earned] - s.node[b, j, node_.paid]) / (MILLI * flow * p.horizon)
        obs[b, j, own_.up] = 1.0 if s.node[b, j, node_.down] == 0 else 0.0
        up, price, count = 0.0, 0.0, p.nodes[j, at_.last] - p.nodes[j, at_.first]
        for e in range(p.nodes[j, at_.first], p.nodes[j, at_.last]):
            i = p.links[e, way_.up]
            up += (0.0 if closed else 1.0) if i == p.n_agents else (1.0 if s.node[b, i, node_.down] == 0 else 0.0)
            price += tariff_of(p, s, b, i)
        obs[b, j, own_.upstream_up] = up / count
        obs[b, j, own_.price] = price / (count * MILLI)
        for k in range(p.products):
            observe_product(p, s, b, j, k, now, NODE_WIDTH + k * each, obs)


@rule
def observe_product(p, s, b, j, k, now, at, obs):
    inverse = 1.0 / p.each[j, k, each_.scale]
    mean = s.item[b, j, k, item_.sum_long] / p.window
    spread = max(0.0, s.item[b, j, k, item_.sum_square] / p.window - mean * mean)
    waiting, place = 0, at + FIXED
    for e in range(p.nodes[j, at_.first], p.nodes[j, at_.last]):
        waiting += s.link[b, e, k, link_.owed] + s.link[b, e, k, link_.wire]
    obs[b, j, at + of_.on_hand] = s.item[b, j, k, item_.stock] * inverse
    obs[b, j, at + of_.position] = position(s, b, j, k) * inverse
    obs[b, j, at + of_.owed] = s.item[b, j, k, item_.owed] * inverse
    obs[b, j, at + of_.waiting] = waiting * inverse
    obs[b, j, at + of_.last_in] = s.item[b, j, k, item_.came] * inverse
    obs[b, j, at + of_.last_out] = s.item[b, j, k, item_.ordered] * inverse
    obs[b, j, at + of_.mean_short] = s.item[b, j, k, item_.sum_short] / p.window_short * inverse
    obs[b, j, at + of_.mean_long] = mean * inverse
    obs[b, j, at + of_.cv] = math.sqrt(spread) / mean if mean > 0.0 else 0.0
    obs[b, j, at + of_.lead] = s.note[b, j, k, note_.lead]
    obs[b, j, at + of_.fill] = s.note[b, j, k, note_.fill]
    obs[b, j, at + of_.forecast] = s.note[b, j, k, note_.forecast] * inverse
    for i in range(p.slots - 1):
        due, slot = 0, wrapped(now + i, p.slots)
        for e in range(p.nodes[j, at_.first], p.nodes[j, at_.last]):
            due += s.pipe[b, e, k, slot]
        obs[b, j, place + i] = due * inverse
    if p.share_forecasts:
        place += p.slots - 1
        obs[b, j, place + shared_.end_forecast] = s.note[b, j, k, note_.end] * inverse
        obs[b, j, place + shared_.echelon] = (s.note[b, j, k, note_.echelon] + s.item[b, j, k, item_.coming]) * inverse
