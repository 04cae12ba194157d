# mypy: allow-untyped-defs, allow-incomplete-defs
"""Orders: what actions mean, and their way to the suppliers.

`delta`: last demand + x; `level`: up to a local level, nothing where the inventory position is above it; `quantity`: as it is. What x
counts is in the columns `unit` and `usual` of p.each: mean demands, or standard deviations of demand (`units`). The inventory position
is stock + all that is ordered and not on hand - all that is owed. Before demand, last demand and position are of the end of the last
tick; after demand, the tick's incoming orders count, of buyers as well, who have lower numbers and order first.
"""

from __future__ import annotations

import math

from envs.supply_chain.layout import at_, each_, rate_, way_
from envs.supply_chain.params import AFTER, BEFORE, DELTA, LEVEL
from envs.supply_chain.state import item_, link_
from marl.compiled import inlined, rule

LEAST_WEIGHT = 0.01
"""Smallest weight of a supplier or buyer."""


@inlined
def wrapped(slot, slots):
    """The slot of a ring that is meant by one less than a whole turn too far: the remainder, without its division."""
    return slot - slots if slot >= slots else slot


@inlined
def position(s, b, j, k):
    """Inventory position, parts."""
    return s.item[b, j, k, item_.stock] + s.item[b, j, k, item_.coming] - s.item[b, j, k, item_.owed]


@inlined
def quantity(p, s, b, j, k, x):
    """Parts that node j orders of product k by action x."""
    if p.action == DELTA:
        return max(0, s.item[b, j, k, item_.came] + math.floor(x * p.each[j, k, each_.unit] + 0.5))
    usual = p.each[j, k, each_.usual]
    if p.action == LEVEL:
        if x < p.quiet:
            return 0
        return max(0, math.floor(x * p.each[j, k, each_.unit] * p.rates[j, rate_.cover] + usual + 0.5) - position(s, b, j, k))
    return max(0, math.floor(x * p.each[j, k, each_.unit] + usual + 0.5))


@rule
def place(p, s, b, j, now, action):
    """The orders of node j leave: to each supplier of an assembler, else split by the weights of suppliers in cumulated whole parts."""
    first, last = p.nodes[j, at_.first], p.nodes[j, at_.last]
    total = float(last - first)
    if p.choose_sources:
        total = 0.0
        for e in range(first, last):
            total += max(LEAST_WEIGHT, action[b, j, p.shown + e - first])
    for k in range(p.products):
        q = quantity(p, s, b, j, k, action[b, j, k])
        s.item[b, j, k, item_.ordered] = q
        s.item[b, j, k, item_.coming] += q
        reached, given = 0.0, 0
        for e in range(first, last):
            reached += max(LEAST_WEIGHT, action[b, j, p.shown + e - first]) if p.choose_sources else 1.0
            upto = q if e == last - 1 else int(q * (reached / total))
            part = q if p.assembles else upto - given
            given = upto
            s.wire[b, e, k, wrapped(now + p.links[e, way_.lag], p.wires)] += part
            s.link[b, e, k, link_.wire] += part


@rule
def deliver(p, s, b, i, now):
    """Orders that are due arrive at supplier i, the outside included. Customers' demand arrives at retailers."""
    for k in range(p.products):
        came = 0
        for c in range(p.nodes[i, at_.out_first], p.nodes[i, at_.out_last]):
            e = p.out[c]
            due = s.wire[b, e, k, now]
            s.wire[b, e, k, now] = 0
            s.link[b, e, k, link_.wire] -= due
            s.link[b, e, k, link_.placed] = due
            s.link[b, e, k, link_.owed] += due
            came += due
        if i < p.n_agents:
            came += s.item[b, i, k, item_.asked] if p.nodes[i, at_.retail] >= 0 else 0
            s.item[b, i, k, item_.came] = came
            s.item[b, i, k, item_.owed] += came


@rule
def order(p, s, b, action):
    """All orders of the tick: placed by all and then delivered, or with orders after demand node by node, from the customers up.

    One loop for both, with one place for each of the two: they are inlined.
    """
    now = s.t[b] % p.wires
    for turn in range(2 * p.n_agents + 1):
        first = turn < p.n_agents if p.timing == BEFORE else turn % 2 == 1
        i = turn // 2 if p.timing == AFTER else turn if first else turn - p.n_agents
        if first:
            place(p, s, b, i, now, action)
        else:
            deliver(p, s, b, i, now)
