# mypy: allow-untyped-defs, allow-incomplete-defs
"""After the trading: mids and halts, interest, margin calls and who is closed out, marks, the split of profits, rewards, metrics, audit."""

from __future__ import annotations

import math

from envs.trading.book import GRID
from envs.trading.floor import book_mid, come
from envs.trading.impact import order_price
from envs.trading.indicators import add_tick
from envs.trading.ledger import MICRO, charge, missing_cash, missing_shares, whole
from envs.trading.params import BOOK, EXECUTOR, PORTFOLIO
from envs.trading.prices import effect_
from envs.trading.state import PART, RING, all_, desk_of, form_, held_, law_, mark_, tally_, terms_of
from envs.trading.tables import cost_, metric_, reward_
from envs.trading.trades import settle
from marl.compiled import apart, rule

LOOKBACK = 20
"""Ticks over which a halt looks at the mid's move."""


@rule
def set_mids(d, law, b, book):
    """Where prices stand: between best bid and ask, or at the public price; a halted asset keeps its own."""
    for m in range(law.shape[1]):
        if d.mark[b, m, mark_.halted] == 0:
            d.mark[b, m, mark_.mid] = book_mid(d, b, m, book) if book > 0 else whole(law[b, m, law_.anchor] * MICRO)


@apart
def halt(mark, ring, b, t, most, length):
    """A halt that lasts goes on; an asset that moved more than `most` in the last ticks is halted for `length` ticks."""
    for m in range(ring.shape[1]):
        if mark[b, m, mark_.halted] > 0:
            mark[b, m, mark_.halted] -= 1
            mark[b, m, mark_.since] = 0
            continue
        mark[b, m, mark_.since] += 1
        past = ring[b, m, (t + 1 - min(LOOKBACK, mark[b, m, mark_.since])) % RING]
        if length > 0 and abs(mark[b, m, mark_.mid] / MICRO / past - 1.0) > most:
            mark[b, m, mark_.halted] = length
            mark[b, m, mark_.halts] += 1


@rule
def worth(d, form, b, a, assets, seats):
    """Equity of trader a in millionths; sets its exposure, $."""
    total, gross = d.cash[b, a], 0
    for j in range(seats):
        m = (a + j) % assets
        value = d.shares[b, a, m] * d.mark[b, m, mark_.mid]
        total += value
        gross += abs(value)
    form[b, a, form_.gross] = gross / MICRO
    return total


@rule
def pay_interest(w, d, b, a, rate):
    """On shares that are short and on cash that is."""
    short = max(0.0, -float(d.cash[b, a]))
    for j in range(w.seats):
        m = (a + j) % w.assets
        short += max(0.0, -float(d.shares[b, a, m])) * d.mark[b, m, mark_.mid]
    due = whole(rate * short)
    charge(d, b, a, due)
    d.tally[b, a, tally_.fees] -= due


@apart
def get_rid(w, d, b, a, half, slope, on_book):
    """Trade all of a's shares away: at the book, or to the world at the mid less the impact of so many shares."""
    for j in range(w.seats):
        m = (a + j) % w.assets
        quantity = -d.shares[b, a, m]
        if quantity == 0:
            continue
        if on_book:
            if d.mark[b, m, mark_.halted] == 0:
                come(w, d, b, m, a, quantity, GRID)
        else:
            mid = d.mark[b, m, mark_.mid]
            settle(w, d, b, m, a, w.n_agents, quantity, order_price(mid, quantity, half, slope * quantity * mid))


@apart
def margin(p, s, b):
    """Interest, margin calls, and the closing out of who is called. An executor's last shares go to the world, so that it is done."""
    called, w, d, depth = False, terms_of(p), desk_of(s), p.effect[s.all[b, all_.regime], effect_.depth]
    half, slope, book = whole(p.half_spread * p.tick_size), p.temporary / p.lot / depth, p.mechanism == BOOK
    for a in range(p.n_agents):
        pay_interest(w, d, b, a, p.borrow * p.year)
        equity = worth(d, s.form, b, a, p.assets, p.seats)
        if equity < p.maintenance * s.form[b, a, form_.gross] * MICRO:
            called = True
            d.tally[b, a, tally_.called] += 1
            get_rid(w, d, b, a, half, slope, book)
            if worth(d, s.form, b, a, p.assets, p.seats) <= 0:
                d.tally[b, a, tally_.broke] = 1
        if p.role[a] == EXECUTOR and s.t[b] + 1 >= p.horizon:
            get_rid(w, d, b, a, half, slope, False)
    if called:
        set_mids(d, s.law, b, p.tick_size if book else 0)


@rule
def split_profit(w, d, b, a):
    """Parts of the tick that come of the mid's move: on what was bought resting, and on all else."""
    for j in range(w.seats):
        m = (a + j) % w.assets
        move, rested = d.mark[b, m, mark_.mid] - d.mark[b, m, mark_.seen], d.held[b, a, m, held_.rested]
        d.tally[b, a, tally_.adverse] += rested * move
        d.tally[b, a, tally_.inventory] += (d.shares[b, a, m] - rested) * move
        d.held[b, a, m, held_.rested] = 0


@rule
def note_equity(form, b, a, equity, change):
    """Drawdown and moments of a trader's equity, $."""
    form[b, a, form_.mean] += change
    form[b, a, form_.square] += change * change
    form[b, a, form_.peak] = max(form[b, a, form_.peak], equity)
    form[b, a, form_.drawdown] = max(form[b, a, form_.drawdown], 1.0 - equity / form[b, a, form_.peak])


@apart
def mark_traders(p, s, b, components, cost):
    """Equity, rewards and costs of all traders."""
    w, d, last = terms_of(p), desk_of(s), s.t[b] + 1 >= p.horizon
    for a in range(p.n_agents):
        split_profit(w, d, b, a)
        before, equity = d.tally[b, a, tally_.last], worth(d, s.form, b, a, p.assets, p.seats)
        d.tally[b, a, tally_.last] = equity
        change = (equity - before) / MICRO
        note_equity(s.form, b, a, equity / MICRO, change)
        risk, held, valued, role = 0.0, 0.0, d.cash[b, a], p.role[a]
        for j in range(p.seats):
            m = (a + j) % p.assets
            money = d.shares[b, a, m] * d.mark[b, m, mark_.mid] / MICRO
            risk += (money * p.asset_sd[m]) * (money * p.asset_sd[m])
            held += money * money
            valued += d.shares[b, a, m] * whole(s.law[b, m, law_.arrival])
        if role == EXECUTOR:
            components[b, a, reward_.gain] = (valued - d.tally[b, a, tally_.valued]) / MICRO / p.unit
        elif role == PORTFOLIO:
            floor = 0.01 * p.cash_money
            components[b, a, reward_.gain] = 1_000.0 * math.log(max(floor, float(equity)) / max(floor, float(before)))
        else:
            components[b, a, reward_.gain] = change / p.unit
        d.tally[b, a, tally_.valued] = valued
        components[b, a, reward_.risk] = -p.aversion * risk / p.unit
        components[b, a, reward_.last] = -p.last_aversion * held / p.cash if last else 0.0
        cost[b, a, cost_.exposure] = s.form[b, a, form_.gross] / p.cash
        cost[b, a, cost_.broke] = d.tally[b, a, tally_.broke]


@apart
def mark_assets(law, ring, mark, b, t, lot):
    """The bar of the tick, averages and sums of all assets."""
    for m in range(ring.shape[1]):
        move = (mark[b, m, mark_.mid] - mark[b, m, mark_.seen]) / MICRO
        lots, price = mark[b, m, mark_.flow] / lot, mark[b, m, mark_.seen] / MICRO
        add_tick(law, ring, mark, b, m, t + 1)
        law[b, m, law_.variance] += 0.1 * (move / price * move / price - law[b, m, law_.variance])
        law[b, m, law_.pressure] += 0.1 * (lots - law[b, m, law_.pressure])
        off = math.log(mark[b, m, mark_.mid] / MICRO / law[b, m, law_.value])
        law[b, m, law_.gap] += off * off
        law[b, m, law_.move_flow] += move * lots
        law[b, m, law_.flow_flow] += lots * lots


@rule
def over(part, total):
    return part / total if total > 0.0 else 0.0


@apart
def measure(p, s, b, metrics):
    turnover, squares, halts = 0.0, 0.0, 0.0
    gap, slope, flows = 0.0, 0.0, 0.0
    for m in range(p.assets):
        halts += s.mark[b, m, mark_.halts] / p.assets
        gap += s.law[b, m, law_.gap] / p.assets / p.horizon
        slope += s.law[b, m, law_.move_flow]
        flows += s.law[b, m, law_.flow_flow]
    for a in range(p.n_agents):
        turnover += s.tally[b, a, tally_.turnover]
    for a in range(p.n_agents):
        share = over(float(s.tally[b, a, tally_.turnover]), turnover)
        squares += share * share
    for a in range(p.n_agents):
        own_metrics(p, s, b, a, metrics)
        metrics[b, a, metric_.mispricing] = math.sqrt(gap) / p.base_sd
        metrics[b, a, metric_.kyle_lambda] = slope / flows if flows > 0.0 else 0.0
        metrics[b, a, metric_.volume_hhi] = squares
        metrics[b, a, metric_.halts] = halts


@rule
def own_metrics(p, s, b, a, metrics):
    start = s.tally[b, a, tally_.start] / MICRO
    metrics[b, a, metric_.profit] = s.tally[b, a, tally_.last] / MICRO - start
    for i in range(len(PART)):
        metrics[b, a, metric_.pnl_spread + i] = s.tally[b, a, i] / MICRO
    metrics[b, a, metric_.turnover] = s.tally[b, a, tally_.turnover] / MICRO / start
    metrics[b, a, metric_.fill_ratio] = min(1.0, over(float(s.tally[b, a, tally_.rested]), float(s.tally[b, a, tally_.quoted])))
    metrics[b, a, metric_.drawdown] = s.form[b, a, form_.drawdown]
    mean = s.form[b, a, form_.mean] / p.horizon
    variance = s.form[b, a, form_.square] / p.horizon - mean * mean
    metrics[b, a, metric_.sharpe] = mean / math.sqrt(variance) * math.sqrt(1.0 / p.year) if variance > 1e-12 else 0.0
    lost = (s.tally[b, a, tally_.opened] - s.tally[b, a, tally_.valued]) / MICRO
    metrics[b, a, metric_.shortfall_bps] = over(lost, s.form[b, a, form_.opening]) * 1e4 if p.role[a] == EXECUTOR else 0.0
    metrics[b, a, metric_.growth] = math.log(max(1e-6, s.tally[b, a, tally_.last] / MICRO / start))
    metrics[b, a, metric_.margin_calls] = s.tally[b, a, tally_.called]


@apart
def balance(p, s, b, residual):
    """Cash and fees, and shares, sum to 0; profits are the sums of their parts; nobody holds more than the limit, best bid below ask."""
    residual[b, 0] = missing_cash(s, b)
    residual[b, 1] = missing_shares(s, b)
    residual[b, 2] = 0
    for a in range(p.n_agents):
        parts = s.tally[b, a, tally_.start] - s.tally[b, a, tally_.last]
        for i in range(len(PART)):
            parts += s.tally[b, a, i]
        residual[b, 2] += abs(parts)
    residual[b, 3] = 0
    if p.mechanism == BOOK:
        for m in range(p.assets):
            residual[b, 3] += max(0, s.mark[b, m, mark_.bid] - s.mark[b, m, mark_.ask] + 1)
