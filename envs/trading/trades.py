# mypy: allow-untyped-defs, allow-incomplete-defs
"""What a trade does to the accounts of its two sides: cash, shares, fees, and the parts of the profit. `d` is a `Desk`, `w` the `Terms`.

Equity is cash + shares x mid. Its change in a tick is split exactly, in whole millionths of a dollar: what is bought is entered against the
mid that all had seen, `seen`. The distance of the price from it is `spread` for who rested and `impact` for who came; the mid's move within
the tick is `adverse` on what was bought resting and `inventory` on everything else that is held; `fees` are fees, rebates and interest.
"""

from __future__ import annotations

from envs.trading.ledger import charge, deal, whole
from envs.trading.state import held_, mark_, tally_
from marl.compiled import apart, rule


@rule
def enter(w, d, b, a, m, quantity, price, fee, rests):
    """Book quantity (below 0: sold) of asset m at `price` millionths with trader a, who pays `fee` of the notional."""
    notional = abs(quantity) * price
    paid = whole(fee * notional)
    charge(d, b, a, paid)
    edge = quantity * (d.mark[b, m, mark_.seen] - price)
    d.tally[b, a, tally_.fees] -= paid
    d.tally[b, a, tally_.turnover] += notional
    if rests:
        d.tally[b, a, tally_.spread] += edge
        d.held[b, a, m, held_.rested] += quantity
        d.tally[b, a, tally_.rested] += abs(quantity)
    else:
        d.tally[b, a, tally_.impact] += edge
    before = d.shares[b, a, m] - quantity
    entry = d.held[b, a, m, held_.entry]
    if before * quantity >= 0:  # entry: what the shares at hand cost
        d.held[b, a, m, held_.entry] = entry + quantity * price
    elif abs(quantity) < abs(before):
        d.held[b, a, m, held_.entry] = entry + whole(float(entry) * quantity / before)
    else:
        d.held[b, a, m, held_.entry] = (before + quantity) * price


@rule
def note(d, b, m, quantity, price):
    """Somebody came for so many shares and had them at `price`: flow, volume, range of the tick."""
    d.mark[b, m, mark_.flow] += quantity
    d.mark[b, m, mark_.volume] += abs(quantity)
    d.mark[b, m, mark_.traded] += abs(quantity) * price
    d.mark[b, m, mark_.high] = max(d.mark[b, m, mark_.high], price)
    d.mark[b, m, mark_.low] = min(d.mark[b, m, mark_.low], price)


@apart
def exchange(w, d, b, m, comes, rests, quantity, price):
    """`comes` buys quantity (sells where below 0) of `rests` at `price`. Who is at or behind the last agent is the world."""
    world = w.n_agents
    one, two = min(comes, world), min(rests, world)
    deal(d, b, one, two, m, quantity, price)
    if one < world:
        enter(w, d, b, one, m, quantity, price, w.taker_fee, False)
    if two < world:
        enter(w, d, b, two, m, -quantity, price, w.maker_fee, True)


@apart
def settle(w, d, b, m, comes, rests, quantity, price):
    """An exchange that the tick's flow and volume count."""
    exchange(w, d, b, m, comes, rests, quantity, price)
    note(d, b, m, quantity, price)


@rule
def trade(w, d, b, m, comes, rests, quantity, level):
    """A trade on the book, at a level of its grid."""
    settle(w, d, b, m, comes, rests, quantity, (d.mark[b, m, mark_.base] + level) * w.tick_size)
