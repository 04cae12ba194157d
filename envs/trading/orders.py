# mypy: allow-untyped-defs, allow-incomplete-defs
"""From actions to orders: latency, limits of holdings and exposure, parent orders, target weights, whose turn it is."""

from __future__ import annotations

from envs.trading.ledger import MICRO, whole
from envs.trading.params import EXECUTOR, IDLE, MARKET_MAKER, PORTFOLIO
from envs.trading.prices import TURN
from envs.trading.state import form_, held_, mark_, tally_
from marl.compiled import apart, rule
from marl.rng import draw, stream


@rule
def distance(x, farthest):
    """Ticks from the mid of a quote, -1 where there is none."""
    return int(x + 0.5) if x < farthest + 0.5 else -1


@rule
def amount(x, most):
    """Shares of an order: none up to IDLE, from there the cube of the share of the way to 1, of `most`; below 0 they are sold."""
    u = (abs(x) - IDLE) / (1.0 - IDLE)
    if u <= 0.0:
        return 0
    return whole(u * u * u * most) if x > 0.0 else -whole(u * u * u * most)


@rule
def wish(held, b, a, m, bid, ask, size, order):
    """Write what agent a wants: quotes at `bid` and `ask` for `size` shares, and an order."""
    held[b, a, m, held_.order] = order
    held[b, a, m, held_.bid_at], held[b, a, m, held_.ask_at] = bid, ask
    held[b, a, m, held_.bid_size] = size if bid >= 0 else 0
    held[b, a, m, held_.ask_size] = size if ask >= 0 else 0


@rule
def shown(x, most):
    """Shares of a quote: the cube of what is said, of `most`, so that small quotes have as much of the range as large ones."""
    return whole(x * x * x * most)


@apart
def read(late, held, b, a, j, m, role, shares, farthest, most):
    """Write what the action says of seat j: of makers two offsets, size and order; of executors one offset, on the side of what is left
    to trade, size and order; of others an order."""
    if role == MARKET_MAKER:
        x = 4 * j
        bid, ask = distance(late[b, a, 0, x], farthest), distance(late[b, a, 0, x + 1], farthest)
        wish(held, b, a, m, bid, ask, shown(late[b, a, 0, x + 2], most), amount(late[b, a, 0, x + 3], most))
    elif role == EXECUTOR:
        x = 3 * j
        at, size, order = distance(late[b, a, 0, x], farthest), shown(late[b, a, 0, x + 1], most), amount(late[b, a, 0, x + 2], most)
        if shares > 0:
            wish(held, b, a, m, -1, at, size, -order)
        else:
            wish(held, b, a, m, at, -1, size, order)
    else:
        wish(held, b, a, m, -1, -1, 0, amount(late[b, a, 0, j], most))


@rule
def restrain(held, b, a, m, bought, sold):
    """Cut quotes and order to the shares that may be bought and sold at most; returns the order."""
    most_bought, most_sold = max(0, bought), max(0, sold)
    order = min(max(held[b, a, m, held_.order], -most_sold), most_bought)
    bid = min(held[b, a, m, held_.bid_size], most_bought - max(0, order))
    ask = min(held[b, a, m, held_.ask_size], most_sold - max(0, -order))
    held[b, a, m, held_.order] = order
    held[b, a, m, held_.bid_size] = bid if order >= 0 else 0  # who comes for shares offers none, so that nobody meets itself
    held[b, a, m, held_.ask_size] = ask if order <= 0 else 0
    return order


@rule
def target_order(weight, wealth, mid, shares, most):
    """Shares toward a target weight of the wealth, both in millionths."""
    return min(max(whole(weight * max(0.0, wealth) / mid) - shares, -most), most)


@apart
def take_orders(p, s, b, action):
    """All orders and quotes of the tick, and whose turn is when (Fisher and Yates)."""
    draws, held, last = stream(s, b, TURN), s.held, s.t[b] + 1 >= p.horizon
    for i in range(p.n_agents):
        s.tally[b, i, tally_.turn] = i
    for i in range(p.n_agents - 1, 0, -1):
        j = int(draw(draws, i) * (i + 1))
        s.tally[b, i, tally_.turn], s.tally[b, j, tally_.turn] = s.tally[b, j, tally_.turn], s.tally[b, i, tally_.turn]
    for a in range(p.n_agents):
        remember(p.latency, p.action_columns, s.late, b, a, action)
        equity, role = s.tally[b, a, tally_.last], p.role[a]
        full = s.form[b, a, form_.gross] > p.leverage * equity / MICRO
        for j in range(p.seats):
            m = (a + j) % p.assets
            shares = s.shares[b, a, m]
            read(s.late, held, b, a, j, m, role, shares, p.farthest, p.order_shares)
            if role == PORTFOLIO:
                order = target_order(s.late[b, a, 0, j], float(equity), s.mark[b, m, mark_.mid], shares, p.order_shares)
                wish(held, b, a, m, -1, -1, 0, order)
            bought, sold = p.limit_shares - shares, p.limit_shares + shares
            if full or role == EXECUTOR:  # nothing but less exposure; a parent order is worked off and never past its end
                bought, sold = min(bought, -shares), min(sold, shares)
            if last and role == EXECUTOR:
                held[b, a, m, held_.order] = -shares
            if s.tally[b, a, tally_.broke] > 0 or s.mark[b, m, mark_.halted] > 0:
                bought = sold = 0
            s.mark[b, m, mark_.net] += restrain(held, b, a, m, bought, sold)
            s.tally[b, a, tally_.quoted] += held[b, a, m, held_.bid_size] + held[b, a, m, held_.ask_size]


@rule
def remember(latency, columns, late, b, a, action):
    """Row 0 of `late` becomes what agent a does now: what it said a modulo (latency + 1) ticks ago; behind it stands what it said since."""
    behind, given = a % (latency + 1), action.shape[2]
    for u in range(min(columns, given)):
        if behind == 0:
            late[b, a, 0, u] = action[b, a, u]
        elif behind == 1:
            late[b, a, 0, u] = late[b, a, 1, u]
            late[b, a, 1, u] = action[b, a, u]
        else:
            late[b, a, 0, u] = late[b, a, 1, u]
            late[b, a, 1, u] = late[b, a, 2, u]
            late[b, a, 2, u] = action[b, a, u]
