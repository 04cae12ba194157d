# mypy: allow-untyped-defs, allow-incomplete-defs
"""Impact: orders are met by the world at the mid, half of the spread and a temporary impact of all orders away; they move it for good.

Quotes meet the world's noise alone: of the makers with the nearest quote the first in turn, the less likely the farther it is,
exp(-decay x ticks) (Avellaneda and Stoikov 2008).
"""

from __future__ import annotations

import math

from envs.trading.ledger import whole
from envs.trading.params import FARTHEST
from envs.trading.prices import FLOW, MET, SIDES, effect_, lots_of, push
from envs.trading.state import all_, desk_of, held_, mark_, tally_, terms_of
from envs.trading.trades import exchange, note, settle
from marl.compiled import apart, rule
from marl.rng import draw, stream


@rule
def covers(assets, seats, a, m):
    """Whether asset m is on the desk of agent a."""
    return (m - a + assets * 128) % assets < seats


@rule
def order_price(mid, quantity, half, moved):
    """Price of an order: half of the spread and the impact `moved` (of all orders, bought above 0) from the mid, within half of it."""
    price = whole(min(max(mid + moved, 0.5 * mid), 1.5 * mid))
    return max(1, price + (half if quantity > 0 else -half))


@apart
def meet_noise(w, d, b, m, side, quantity, luck, decay):
    """The world's noise that sells (side 0) meets the best bid, that buys (1) the best ask."""
    best, maker = FARTHEST + 1, -1
    at, size = (held_.bid_at, held_.bid_size) if side == 0 else (held_.ask_at, held_.ask_size)
    for i in range(w.n_agents):
        a = d.tally[b, i, tally_.turn]
        if covers(w.assets, w.seats, a, m) and d.held[b, a, m, size] > 0 and d.held[b, a, m, at] < best:
            best, maker = d.held[b, a, m, at], a
    sign = -1 if side == 0 else 1
    if maker >= 0 and luck < math.exp(-decay * best):
        price = max(1, d.mark[b, m, mark_.mid] + sign * best * w.tick_size)
        exchange(w, d, b, m, w.n_agents, maker, sign * min(quantity, d.held[b, maker, m, size]), price)
    note(d, b, m, sign * quantity, d.mark[b, m, mark_.mid])


@apart
def trade_impact(p, s, b):
    """All orders and the noise of a tick."""
    w, d = terms_of(p), desk_of(s)
    flows, sides, met, k = stream(s, b, FLOW), stream(s, b, SIDES), stream(s, b, MET), s.all[b, all_.regime]
    wanted, depth = 0.5 * p.noise * p.effect[k, effect_.flow], p.effect[k, effect_.depth]
    half = whole(p.half_spread * p.tick_size / math.sqrt(depth))
    for m in range(p.assets):
        if d.mark[b, m, mark_.halted] > 0:
            continue
        for side in range(2):
            lots = lots_of(wanted, draw(flows, 2 * m + side), draw(sides, 2 * m + side))
            if lots > 0:
                meet_noise(w, d, b, m, side, lots * p.lot, draw(met, 2 * m + side), p.decay)
            push(s.law, b, m, p.permanent * (lots if side == 1 else -lots))
        push(s.law, b, m, p.permanent * d.mark[b, m, mark_.net] / p.lot)
    for a in range(p.n_agents):
        for j in range(p.seats):
            m = (a + j) % p.assets
            quantity = d.held[b, a, m, held_.order]
            if quantity != 0:
                mid = d.mark[b, m, mark_.mid]
                moved = p.temporary * d.mark[b, m, mark_.net] / p.lot / depth * mid
                settle(w, d, b, m, a, p.n_agents, quantity, order_price(mid, quantity, half, moved))
