# mypy: allow-untyped-defs, allow-incomplete-defs
"""A tick on the book: agents replace their quotes, the world brings its own to the news, orders come in a drawn order.

The world's quotes stand `half_spread` ticks and more from the public price. Bringing them there it takes what stands in their way: a quote
that has not followed the news is picked off. Agents' quotes are post-only: one that would cross rests a tick behind the other side.
"""

from __future__ import annotations

from envs.trading.book import ASK, BID, GRID, ahead, cancel, join, level_, match, near, order_, place, shift
from envs.trading.ledger import MICRO, whole
from envs.trading.prices import FLOW, SIDES, effect_, lots_of, push
from envs.trading.state import all_, desk_of, held_, law_, mark_, tally_, terms_of
from envs.trading.tables import market_
from marl.compiled import apart, rule
from marl.rng import draw, stream

MIDDLE, MARGIN = GRID // 2, 8
"""Level to which the public price is brought, and how far it may move from there before the grid moves."""
PLENTY = 1 << 40


@apart
def quote(w, d, b, m, a, side):
    """Replace the quote of agent a by what it wants, or take it away."""
    slot, mid, base = 2 * a + side, d.mark[b, m, mark_.mid], d.mark[b, m, mark_.base]
    if side == BID:
        size, at = d.held[b, a, m, held_.bid_size], mid // w.tick_size - d.held[b, a, m, held_.bid_at] - base
        at = min(at, d.mark[b, m, mark_.ask] - 1)
    else:
        size, at = d.held[b, a, m, held_.ask_size], (mid + w.tick_size - 1) // w.tick_size + d.held[b, a, m, held_.ask_at] - base
        at = max(at, d.mark[b, m, mark_.bid] + 1)
    if size <= 0 or at < 0 or at >= GRID:
        cancel(d, b, m, slot)
    else:
        place(w, d, b, m, slot, a, side, at, size)


@apart
def refresh(w, d, b, m, money, step, target, levels):
    """Bring the world's quotes to the public price `money`; take what stands in their way; fill up what is less than half."""
    world, slots = w.n_agents, d.order.shape[2]
    at = whole(money / w.tick_size) - d.mark[b, m, mark_.base]
    if at < MIDDLE - MARGIN or at > MIDDLE + MARGIN:
        shift(d, b, m, slots, at - MIDDLE)
        d.mark[b, m, mark_.base] += at - MIDDLE
        at = MIDDLE
    match(w, d, b, m, world, BID, PLENTY, at - step)
    match(w, d, b, m, world, ASK, PLENTY, at + step)
    for i in range(GRID):
        slot, side = 2 * world + i, BID if i < at else ASK
        away = at - step - i if side == BID else i - at - step
        wanted, here = target if 0 <= away < levels else 0, d.order[b, m, slot, order_.size]
        if here > 0 and (wanted == 0 or d.order[b, m, slot, order_.side] != side or 2 * here < wanted):
            cancel(d, b, m, slot)
            here = 0
        if wanted > 0 and here == 0:
            join(d, b, m, slot, world, side, i, wanted)


@apart
def come(w, d, b, m, owner, quantity, band):
    """An order for so many shares (sold where below 0) trades at once what it can within `band` ticks of the mid."""
    mid, side = d.mark[b, m, mark_.mid] // w.tick_size - d.mark[b, m, mark_.base], BID if quantity > 0 else ASK
    limit = min(GRID - 1, mid + band) if side == BID else max(0, mid - band)
    if quantity != 0:
        match(w, d, b, m, owner, side, abs(quantity), limit)


@apart
def trade_book(p, s, b):
    """Quotes of all in turn, the world's, then orders in turn, with a purchase and a sale of the noise before and behind them.

    The noise is another than who quotes for the world, so that the two meet.
    """
    w, d = terms_of(p), desk_of(s)
    for i in range(p.n_agents):
        a = d.tally[b, i, tally_.turn]
        for j in range(p.seats):
            m = (a + j) % p.assets
            for side in range(2):
                if d.mark[b, m, mark_.halted] == 0:
                    quote(w, d, b, m, a, side)
    refresh_all(p, s, b)
    for late in range(2):
        flows, sides, k = stream(s, b, FLOW), stream(s, b, SIDES), s.all[b, all_.regime]
        wanted = 0.5 * p.noise * p.effect[k, effect_.flow]
        for m in range(p.assets):
            buys = (1 if draw(sides, 2 * p.assets + m) < 0.5 else 0) == late
            lots = lots_of(wanted, draw(flows, 2 * m + (1 if buys else 0)), draw(sides, 2 * m + (1 if buys else 0)))
            if d.mark[b, m, mark_.halted] == 0:
                come(w, d, b, m, p.n_agents + 1, lots * p.lot if buys else -lots * p.lot, p.band)
        if late == 0:
            come_all(w, d, b, p.band)
    for m in range(p.assets):
        push(s.law, b, m, p.permanent * d.mark[b, m, mark_.flow] / p.lot)


@apart
def come_all(w, d, b, band):
    """The agents' orders in turn."""
    for i in range(w.n_agents):
        a = d.tally[b, i, tally_.turn]
        for j in range(w.seats):
            m = (a + j) % w.assets
            come(w, d, b, m, a, d.held[b, a, m, held_.order], band)


@apart
def refresh_all(p, s, b):
    """The world's quotes of all assets that are not halted."""
    target = whole(p.depth_shares * p.effect[s.all[b, all_.regime], effect_.depth])
    for m in range(p.assets):
        if s.mark[b, m, mark_.halted] == 0:
            money = s.law[b, m, law_.anchor] * MICRO
            refresh(terms_of(p), desk_of(s), b, m, money, max(1, int(p.half_spread)), target, p.levels)
            s.mark[b, m, mark_.flow] = 0  # who quotes for the world is nobody's flow


@rule
def book_mid(d, b, m, tick_size):
    """Half way between best bid and ask; the last mid where a side is empty."""
    bid, ask = d.mark[b, m, mark_.bid], d.mark[b, m, mark_.ask]
    if bid < 0 or ask >= GRID:
        return d.mark[b, m, mark_.mid]
    return (2 * d.mark[b, m, mark_.base] + bid + ask) * (tick_size // 2)


@apart
def book_sight(d, b, m, seen):
    """Spread in ticks, microprice less mid in ticks, imbalance of one and of three levels."""
    bid, ask = d.mark[b, m, mark_.bid], d.mark[b, m, mark_.ask]
    if bid < 0 or ask >= GRID:
        for i in range(market_.spread_ticks, market_.imbalance_3 + 1):
            seen[b, m, i] = 0.0
        return
    buyers, sellers = near(d, b, m, BID, 1), near(d, b, m, ASK, 1)
    more, others = near(d, b, m, BID, 3), near(d, b, m, ASK, 3)
    seen[b, m, market_.spread_ticks] = ask - bid
    seen[b, m, market_.imbalance_1] = (buyers - sellers) / (buyers + sellers)
    seen[b, m, market_.microprice_dev] = 0.5 * (ask - bid) * seen[b, m, market_.imbalance_1]
    seen[b, m, market_.imbalance_3] = (more - others) / (more + others)


@rule
def own_place(d, b, m, a, side):
    """Share of the shares at the level of agent a's quote that stand before it; 1 where it has none."""
    slot = 2 * a + side
    if d.level.shape[2] < GRID or d.order[b, m, slot, order_.size] == 0:
        return 1.0
    return ahead(d, b, m, slot) / d.level[b, m, d.order[b, m, slot, order_.level], level_.size]
