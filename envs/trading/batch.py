# mypy: allow-untyped-defs, allow-incomplete-defs
"""A call auction: all trade at one price.

`linear_price` is the price of Kyle's linear maker, who alone supplies what the flow asks for. `crossing` is that of a call in which quotes
stand beside the maker: the price at which the maker's linear supply (p - reference)/slope and the quotes up to it meet the flow.
"""

from __future__ import annotations

from envs.trading.impact import covers
from envs.trading.ledger import whole
from envs.trading.params import FARTHEST
from envs.trading.prices import FLOW, SIDES, effect_, lots_of, push
from envs.trading.state import LADDER, RUNGS, all_, desk_of, held_, mark_, tally_, terms_of
from envs.trading.trades import exchange, note, settle
from marl.compiled import apart, rule
from marl.rng import draw, stream


@rule
def linear_price(reference, slope, flow):
    """reference + slope x flow: millionths of a dollar, with flow in shares and slope in millionths a share."""
    return reference + whole(slope * flow)


@rule
def supplied(slope, distance):
    """Shares that the linear maker supplies at `distance` above the reference."""
    return int(distance / slope) if slope > 0.0 else 1 << 40


@apart
def crossing(w, d, b, m, slope, flow):
    """Price of the call for a flow of orders bought less sold: where the maker's supply, and the quotes on the way there, meet it.

    Quotes stand at whole ticks from the reference; those better than the price trade in full, those at it in turn.
    """
    reference, sign, need = d.mark[b, m, mark_.mid], 1 if flow > 0 else -1, abs(flow)
    first = LADDER + RUNGS if flow > 0 else LADDER
    for k in range(FARTHEST + 1):
        supply = supplied(slope, k * w.tick_size)
        if need <= supply:
            break
        need -= d.mark[b, m, first + k]
        if need <= supply:
            return reference + sign * k * w.tick_size
    return linear_price(reference, slope, sign * max(0, need))


@apart
def quote_sums(w, d, b):
    """Fill the ladders with the shares quoted at each distance."""
    for m in range(w.assets):
        for k in range(2 * RUNGS):
            d.mark[b, m, LADDER + k] = 0
    for a in range(w.n_agents):
        for j in range(w.seats):
            m = (a + j) % w.assets
            if d.held[b, a, m, held_.bid_size] > 0:
                d.mark[b, m, LADDER + d.held[b, a, m, held_.bid_at]] += d.held[b, a, m, held_.bid_size]
            if d.held[b, a, m, held_.ask_size] > 0:
                d.mark[b, m, LADDER + RUNGS + d.held[b, a, m, held_.ask_at]] += d.held[b, a, m, held_.ask_size]


@apart
def meet_quotes(w, d, b, m, flow, price, slope):
    """Quotes better than the price trade, then those at it, in turn, up to what the flow asks for beyond the maker's supply there."""
    sign, room = 1 if flow > 0 else -1, abs(flow)
    at, size = (held_.ask_at, held_.ask_size) if flow > 0 else (held_.bid_at, held_.bid_size)
    distance = sign * (price - d.mark[b, m, mark_.mid])
    for exact in range(2):
        if exact == 1:
            room = max(0, room - supplied(slope, distance))
        for i in range(w.n_agents):
            a = d.tally[b, i, tally_.turn]
            if not covers(w.assets, w.seats, a, m) or d.held[b, a, m, size] == 0:
                continue
            better = distance - d.held[b, a, m, at] * w.tick_size
            if (exact == 0 and better > 0) or (exact == 1 and better == 0):
                quantity = min(d.held[b, a, m, size], room)
                exchange(w, d, b, m, w.n_agents, a, sign * quantity, price)
                room -= quantity


@apart
def trade_batch(p, s, b):
    """The call of a tick: the world's noise and all orders at one price, against quotes and a linear maker of the world."""
    w, d = terms_of(p), desk_of(s)
    flows, sides, k = stream(s, b, FLOW), stream(s, b, SIDES), s.all[b, all_.regime]
    wanted, depth = 0.5 * p.noise * p.effect[k, effect_.flow], p.effect[k, effect_.depth]
    quote_sums(w, d, b)
    for m in range(p.assets):
        if d.mark[b, m, mark_.halted] > 0:
            continue
        bought = lots_of(wanted, draw(flows, 2 * m + 1), draw(sides, 2 * m + 1))
        noise = p.lot * (bought - lots_of(wanted, draw(flows, 2 * m), draw(sides, 2 * m)))
        flow, mid = noise + d.mark[b, m, mark_.net], d.mark[b, m, mark_.mid]
        slope = (p.permanent + p.temporary) * mid / p.lot / depth
        price = max(whole(0.5 * mid), min(crossing(w, d, b, m, slope, flow), whole(1.5 * mid)))
        if flow != 0:
            meet_quotes(w, d, b, m, flow, price, slope)
        d.mark[b, m, mark_.call] = price
        note(d, b, m, noise, price)
        push(s.law, b, m, p.permanent * flow / p.lot)
    for a in range(p.n_agents):
        for j in range(p.seats):
            m = (a + j) % p.assets
            if d.held[b, a, m, held_.order] != 0:
                settle(w, d, b, m, a, p.n_agents, d.held[b, a, m, held_.order], d.mark[b, m, mark_.call])
