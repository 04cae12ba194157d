# mypy: allow-untyped-defs, allow-incomplete-defs
"""The market: agents of several roles trade assets on one ledger, on a book, in a call, or against a price that they move.

A tick: 1 regime, values, public prices, signals; 2 quotes are replaced; 3 orders and the world's noise trade in a drawn order; 4 mids and
halts; 5 interest and margin; 6 who is called is closed out; 7 marks; 8 all see. Every draw is of its own tick, so that nothing shown before
depends on it. Trades have two sides; the world's side is row A of the ledger.
"""

from __future__ import annotations

import math

from envs.trading import accounts
from envs.trading.batch import trade_batch
from envs.trading.book import open_book
from envs.trading.floor import MIDDLE, book_sight, own_place, refresh_all, trade_book
from envs.trading.impact import trade_impact
from envs.trading.indicators import look, open_indicators
from envs.trading.ledger import MICRO, clear, endow, whole
from envs.trading.orders import take_orders
from envs.trading.params import BATCH, BOOK, EXECUTOR, INFORMED, PORTFOLIO, SWITCHING
from envs.trading.prices import OFFSET, PARENT, advance, effect_
from envs.trading.state import ALL, FORM, HELD, LAW, MARK, RING, TALLY, all_, desk_of, form_, held_, law_, mark_, tally_
from envs.trading.tables import GLOBAL, MARKET, OWN, global_, market_, own_
from marl.compiled import apart, rule
from marl.game import RUNNING, TERMINATED
from marl.rng import draw, stream, uniform

WIDTH, OWN_WIDTH, MARKET_WIDTH = len(GLOBAL), len(OWN), len(MARKET)
HIGHEST_LEVERAGE = 100.0
"""Largest leverage that is shown."""


@apart
def begin(p, s, b):
    clear(s, b)
    spare = p.replay_ticks - 1 - p.horizon
    for i in range(len(ALL)):
        s.all[b, i] = 0
    s.all[b, all_.regime] = 0 if p.regime == SWITCHING else p.regime
    s.all[b, all_.offset] = int(uniform(s, b, OFFSET, 0) * (spare + 1)) if p.split == 0 and spare > 0 else 0
    for m in range(p.assets):
        price = p.opening_price[m] * p.closes[s.all[b, all_.offset], m]
        open_asset(s.mark, s.law, b, m, price, p.asset_sd[m], p.tick_size if p.mechanism == BOOK else 0)
        if p.mechanism == BOOK:
            open_book(desk_of(s), b, m, p.slots)
    if p.mechanism == BOOK:
        refresh_all(p, s, b)
    for m in range(p.assets):
        s.mark[b, m, mark_.seen] = s.mark[b, m, mark_.mid]
        s.law[b, m, law_.arrival] = s.mark[b, m, mark_.mid]
        open_indicators(s.law, s.ring, b, m, s.mark[b, m, mark_.mid] / MICRO)
    open_traders(p, s, b)
    see_market(p, s, b)


@rule
def open_asset(mark, law, b, m, price, sd, tick_size):
    """Prices at the beginning, on the grid of the book where there is one."""
    for i in range(len(MARK)):
        mark[b, m, i] = 0
    for i in range(len(LAW)):
        law[b, m, i] = 0.0
    law[b, m, law_.value] = law[b, m, law_.anchor] = price
    law[b, m, law_.variance] = sd * sd
    mark[b, m, mark_.mid] = whole(price * MICRO)
    if tick_size > 0:
        middle = whole(price * MICRO / tick_size)
        mark[b, m, mark_.base], mark[b, m, mark_.mid] = middle - MIDDLE, middle * tick_size


@apart
def open_traders(p, s, b):
    """Cash for all; executors have the shares that they must sell, or owe those that they must buy and have their worth in cash."""
    sides = stream(s, b, PARENT)
    for a in range(p.n_agents):
        for i in range(len(TALLY)):
            s.tally[b, a, i] = 0
        for i in range(len(FORM)):
            s.form[b, a, i] = 0.0
        for u in range(p.action_columns):
            s.late[b, a, 0, u] = s.late[b, a, 1, u] = s.late[b, a, 2, u] = 0.0
        endow(s, b, a, p.n_agents, 0, p.cash_money, 0)
        for m in range(p.assets):
            for i in range(len(HELD)):
                s.held[b, a, m, i] = 0
        for j in range(p.seats):
            m = (a + j) % p.assets
            mid = s.mark[b, m, mark_.mid]
            if p.role[a] == EXECUTOR:
                parent = p.parent_shares if draw(sides, a * p.assets + m) < 0.5 else -p.parent_shares
                s.held[b, a, m, held_.parent], s.held[b, a, m, held_.entry] = parent, parent * mid
                endow(s, b, a, p.n_agents, m, max(0, -parent) * mid, parent)
                s.form[b, a, form_.opening] += p.parent_shares * mid / MICRO
        equity = accounts.worth(desk_of(s), s.form, b, a, p.assets, p.seats)
        s.tally[b, a, tally_.start] = s.tally[b, a, tally_.last] = s.tally[b, a, tally_.opened] = s.tally[b, a, tally_.valued] = equity
        s.form[b, a, form_.peak] = equity / MICRO


@rule
def step(p, s, b, action, components, cost):
    advance(p, s, b)
    take_orders(p, s, b, action)
    if p.mechanism == BOOK:
        trade_book(p, s, b)
    elif p.mechanism == BATCH:
        trade_batch(p, s, b)
    else:
        trade_impact(p, s, b)
    accounts.set_mids(desk_of(s), s.law, b, p.tick_size if p.mechanism == BOOK else 0)
    accounts.halt(s.mark, s.ring, b, s.t[b], p.halt_move, p.halt_length)
    accounts.margin(p, s, b)
    accounts.mark_assets(s.law, s.ring, s.mark, b, s.t[b], p.lot)
    accounts.mark_traders(p, s, b, components, cost)
    see_market(p, s, b)
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@apart
def see_market(p, s, b):
    """Fill `seen` [B, M, C] with what all see of each asset."""
    unit, seen, d = 1.0 / p.base_sd, s.seen, desk_of(s)
    for m in range(p.assets):
        t = int(s.law[b, m, law_.bars]) - 1
        now = s.ring[b, m, t % RING]
        seen[b, m, market_.return_1] = (now / s.ring[b, m, max(0, t - 1) % RING] - 1.0) * unit
        seen[b, m, market_.return_5] = (now / s.ring[b, m, max(0, t - 5) % RING] - 1.0) * unit / math.sqrt(5.0)
        seen[b, m, market_.return_20] = (now / s.ring[b, m, max(0, t - 20) % RING] - 1.0) * unit / math.sqrt(20.0)
        seen[b, m, market_.realised_vol] = math.sqrt(s.law[b, m, law_.variance]) * unit
        if p.mechanism == BOOK:
            book_sight(d, b, m, seen)
        else:
            depth = p.effect[s.all[b, all_.regime], effect_.depth]
            seen[b, m, market_.spread_ticks] = 2.0 * p.half_spread / math.sqrt(depth)
            seen[b, m, market_.microprice_dev] = seen[b, m, market_.imbalance_1] = seen[b, m, market_.imbalance_3] = 0.0
        seen[b, m, market_.signed_flow] = s.law[b, m, law_.pressure]
        if p.indicators:
            look(s.law, s.ring, b, m, t, p.base_sd, seen, MARKET_WIDTH)


@apart
def observe(p, s, b, obs):
    crowd, left = math.log(p.n_agents) / math.log(128.0), 1.0 - s.t[b] / p.horizon
    each = p.market_columns + OWN_WIDTH
    for a in range(p.n_agents):
        equity, gross = s.tally[b, a, tally_.last] / MICRO, s.form[b, a, form_.gross]
        obs[b, a, global_.time_left] = left
        obs[b, a, global_.equity] = equity / p.cash
        obs[b, a, global_.leverage] = min(HIGHEST_LEVERAGE, gross / equity) if equity > 0.0 else HIGHEST_LEVERAGE
        obs[b, a, global_.margin_buffer] = (equity - p.maintenance * gross) / p.cash
        obs[b, a, global_.agents] = crowd
        obs[b, a, global_.role] = p.role[a] / 4.0
        for j in range(p.seats):
            m, at = (a + j) % p.assets, WIDTH + j * each
            for i in range(p.market_columns):
                obs[b, a, at + i] = s.seen[b, m, i]
            told = 0.0
            if p.role[a] == INFORMED:
                told = math.log(s.law[b, m, law_.value] * MICRO / s.mark[b, m, mark_.mid]) / p.base_sd + s.law[b, m, law_.signal]
            limit = p.parent_shares if p.role[a] == EXECUTOR else p.limit_shares
            see_own(desk_of(s), b, a, m, obs, at + p.market_columns, limit, MICRO * p.unit)
            obs[b, a, at + p.market_columns + own_.private_signal] = told
        if p.role[a] == PORTFOLIO:
            obs[b, a, WIDTH + p.seats * each] = (a % p.assets) / p.assets


@rule
def see_own(d, b, a, m, obs, at, limit, unit):
    shares, mid = d.shares[b, a, m], d.mark[b, m, mark_.mid]
    obs[b, a, at + own_.inventory] = shares / limit
    obs[b, a, at + own_.queue_bid] = own_place(d, b, m, a, 0)
    obs[b, a, at + own_.queue_ask] = own_place(d, b, m, a, 1)
    obs[b, a, at + own_.unrealised] = (shares * mid - d.held[b, a, m, held_.entry]) / unit
    obs[b, a, at + own_.parent_left] = min(1.0, max(-1.0, shares / limit)) if d.held[b, a, m, held_.parent] != 0 else 0.0
