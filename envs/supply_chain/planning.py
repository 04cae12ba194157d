"""Plans of a whole small network by linear programming, with forecasts for demand (model predictive control).

Variables of tick t: shipments x to each node, in equal parts from its suppliers, stock I, and what retailers owe, B. With L a node's lead
and lag together, I(t) - B(t) = I(t-1) - B(t-1) + due(t) + x(t - L) - d at retailers, and elsewhere I(t) = I(t-1) + due(t) + x(t - L)
less shipments to buyers; minimised is holding + shortage over the horizon. Products are planned alone: capacities and rooms are left to
the rules.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.supply_chain.params import SupplyChainParams
from envs.supply_chain.sight import FIXED, NODE_WIDTH, of_, own_, width_of
from envs.supply_chain.solver import Solver
from marl.content import remembered
from marl.errors import UserError
from marl.game import F4, F8

NODES, ROWS = 8, 512
"""Largest network, and most rows of nodes in one call, that are planned."""
BEYOND = 4
"""Ticks of the plan behind the longest way from the outside to a customer."""


class Programme(NamedTuple):
    """min cost @ v, matrix @ v = base + what is due, owed and forecast; v >= 0."""

    horizon: int
    cost: F8
    matrix: Any
    solver: Solver


@remembered(16)
def programme(p: SupplyChainParams) -> Programme:
    """The programme of one product. Raises UserError where scipy is not installed or the network is not of the kind that is planned."""
    if p.n_agents > NODES or p.assembles:
        raise UserError(f"mpc with {p.n_agents} nodes: legal are networks of up to {NODES} nodes that assemble nothing")
    try:
        from scipy.sparse import coo_array
    except ModuleNotFoundError as error:
        raise UserError("mpc: scipy is not installed, pip install 'market-marl[planning]'") from error
    net, n, (hold, short) = p.layout, p.n_agents, p.costs
    ways = (p.leads[0] + p.leads[1]).tolist()
    span = int(sum(sorted(ways, reverse=True)[: int(net.depth.max()) + 1])) + BEYOND
    cells: list[tuple[int, int, float]] = []
    stock, owed = n * span, 2 * n * span
    for j in range(n):
        retail, out = net.out_first[j] == net.out_first[j + 1], net.out[net.out_first[j] : net.out_first[j + 1]]
        buyers = [(int(net.buyer[e]), 1.0 / (net.first[net.buyer[e] + 1] - net.first[net.buyer[e]])) for e in out]
        for t in range(span):
            row = j * span + t
            cells += [(row, stock + row, 1.0)] + ([(row, stock + row - 1, -1.0)] if t else [])
            if retail:
                cells += [(row, owed + row, -1.0)] + ([(row, owed + row - 1, 1.0)] if t else [])
            cells += [(row, j * span + t - ways[j], -1.0)] if t >= ways[j] else []
            cells += [(row, buyer * span + t, share) for buyer, share in buyers]
    rows, columns, values = (np.array(x) for x in zip(*cells))
    late = np.tile(1e-6 * np.arange(span)[::-1], n)  # of equal plans the one that orders late
    cost = np.concatenate([late, np.repeat(hold, span), np.repeat(np.maximum(short, 1e-3), span)])
    matrix = coo_array((values, (rows, columns)), shape=(n * span, len(cost))).tocsr()
    return Programme(span, cost, matrix, Solver(cost, matrix))


def plans(p: SupplyChainParams, obs: F4, spare: F8) -> F8:
    """Orders of the tick [N, P], mean demands of the node, for rows of all nodes of whole copies in order. Raises UserError.

    Retailers plan for `spare` [N, P] mean demands on hand beyond the forecast: a plan for expected demand alone has no safety stock.
    """
    found = programme(p)
    place = np.rint(obs[:, own_.place] * p.n_agents).astype(np.int64) - 1
    if len(obs) % p.n_agents or (place.reshape(-1, p.n_agents) != np.arange(p.n_agents)).any():
        raise UserError("mpc plans a whole network: rows of all its nodes are expected")
    if len(obs) > ROWS:
        raise UserError(f"mpc with {len(obs) // p.n_agents} copies: legal are up to {ROWS // p.n_agents}, it takes milliseconds for each")
    seen = obs.astype(np.float64).reshape(-1, p.n_agents, obs.shape[1])
    orders, flow = np.zeros((*seen.shape[:2], p.products)), p.flow
    for copy, rows in enumerate(seen):
        for k in range(p.products):
            at = NODE_WIDTH + k * width_of(p)
            units = rows[:, at : at + width_of(p)] * flow[:, k : k + 1]
            orders[copy, :, k] = _plan(p, found, units, spare[:, k] * flow[:, k]) / flow[:, k]
    return orders.reshape(-1, p.products)


def _plan(p: SupplyChainParams, found: Programme, rows: F8, spare: F8) -> F8:
    """Units that each node orders of one product; rows [N, columns of the product] and `spare` [N] in units."""
    net, n, span = p.layout, p.n_agents, found.horizon
    due = np.zeros((n, span))
    for i in range(min(p.slots - 1, span)):
        due[:, i] += rows[:, FIXED + i]
    due[:, 0] += rows[:, of_.on_hand]
    retail = np.diff(net.out_first)[:n] == 0
    due[retail] -= rows[retail, of_.forecast][:, None]
    due[retail, 0] -= rows[retail, of_.owed] + spare[retail]
    solved = found.solver.solve(due.ravel())
    if solved is None:  # an internal node cannot ship less than nothing: no plan is infeasible but by numbers
        return np.asarray(rows[:, of_.forecast])
    return np.asarray(np.maximum(solved[: n * span].reshape(n, span)[:, 0] - rows[:, of_.waiting], 0.0))
