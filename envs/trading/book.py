# mypy: allow-untyped-defs, allow-incomplete-defs
"""A limit order book on a grid of 64 ticks: the best price first, then the oldest order at it; trades at the resting order's price.

Orders stand in slots, which belong to their owners: owner a has slot 2a for its bid and 2a + 1 for its ask, the world one slot a level
behind these. A level is a queue, linked both ways, of orders of one side, since the book is never crossed or locked: a bid always lies
below every ask. A cut of the size keeps an order's place; an increase or another price sends it to the back of a queue. An order never
meets one of its own owner: that one is cancelled, and the next is met.

`level` [B, M, 64, 3] and `order` [B, M, slots, 6] of a `Desk` hold it, columns `bid` and `ask` of its `mark` the best levels.
"""

from __future__ import annotations

from envs.trading.state import mark_
from envs.trading.trades import trade
from marl.compiled import apart, rule
from marl.game import index

GRID = 64
"""Levels of the grid."""
BID, ASK = 0, 1
LEVEL = ("head", "tail", "size")
"""Of a level: the slots of its oldest and newest order (-1 without), shares at it."""
ORDER = ("owner", "side", "level", "size", "after", "before")
"""Of a slot: who, BID or ASK, level, shares (0: no order), the slots that stand next behind and before it in its queue (-1: none)."""
level_, order_ = index(dict.fromkeys(LEVEL)), index(dict.fromkeys(ORDER))


@apart
def open_book(d, b, m, slots):
    """No orders."""
    for i in range(GRID):
        d.level[b, m, i, level_.head] = d.level[b, m, i, level_.tail] = -1
        d.level[b, m, i, level_.size] = 0
    for i in range(slots):
        d.order[b, m, i, order_.size] = 0
    d.mark[b, m, mark_.bid], d.mark[b, m, mark_.ask] = -1, GRID


@apart
def cancel(d, b, m, slot):
    """Take the order of a slot out of its queue, where there is one."""
    if d.order[b, m, slot, order_.size] == 0:
        return
    at, after, before = d.order[b, m, slot, order_.level], d.order[b, m, slot, order_.after], d.order[b, m, slot, order_.before]
    d.level[b, m, at, level_.size] -= d.order[b, m, slot, order_.size]
    d.order[b, m, slot, order_.size] = 0
    if before < 0:
        d.level[b, m, at, level_.head] = after
    else:
        d.order[b, m, before, order_.after] = after
    if after < 0:
        d.level[b, m, at, level_.tail] = before
    else:
        d.order[b, m, after, order_.before] = before
    if before < 0 and after < 0:
        emptied(d, b, m, d.order[b, m, slot, order_.side])


@rule
def emptied(d, b, m, side):
    """Move the best price of a side, whose level may have emptied, to the next one that has orders."""
    if side == BID:
        at = d.mark[b, m, mark_.bid]
        while at >= 0 and d.level[b, m, at, level_.size] == 0:
            at -= 1
        d.mark[b, m, mark_.bid] = at
    else:
        at = d.mark[b, m, mark_.ask]
        while at < GRID and d.level[b, m, at, level_.size] == 0:
            at += 1
        d.mark[b, m, mark_.ask] = at


@apart
def join(d, b, m, slot, owner, side, at, size):
    """Put an order of a free slot at the back of the queue of level `at`, which must not cross the other side."""
    last = d.level[b, m, at, level_.tail]
    d.order[b, m, slot, order_.owner], d.order[b, m, slot, order_.side] = owner, side
    d.order[b, m, slot, order_.level], d.order[b, m, slot, order_.size] = at, size
    d.order[b, m, slot, order_.after], d.order[b, m, slot, order_.before] = -1, last
    if last < 0:
        d.level[b, m, at, level_.head] = slot
    else:
        d.order[b, m, last, order_.after] = slot
    d.level[b, m, at, level_.tail] = slot
    d.level[b, m, at, level_.size] += size
    if side == BID:
        d.mark[b, m, mark_.bid] = max(d.mark[b, m, mark_.bid], at)
    else:
        d.mark[b, m, mark_.ask] = min(d.mark[b, m, mark_.ask], at)


@apart
def match(w, d, b, m, owner, side, size, limit):
    """Trade up to `size` shares against the other side, no worse than level `limit`; returns the shares that are left."""
    other = 1 - side
    while size > 0:
        at = d.mark[b, m, mark_.bid + other]
        if (side == BID and (at > limit or at >= GRID)) or (side == ASK and (at < limit or at < 0)):
            break
        slot = d.level[b, m, at, level_.head]
        rests = d.order[b, m, slot, order_.owner]
        if rests == owner:
            cancel(d, b, m, slot)
            continue
        quantity = min(size, d.order[b, m, slot, order_.size])
        trade(w, d, b, m, owner, rests, quantity if side == BID else -quantity, at)
        size -= quantity
        if quantity == d.order[b, m, slot, order_.size]:
            cancel(d, b, m, slot)
        else:
            d.order[b, m, slot, order_.size] -= quantity
            d.level[b, m, at, level_.size] -= quantity
    return size


@apart
def place(w, d, b, m, slot, owner, side, at, size):
    """A limit order of a slot: what crosses is traded, the rest stands. It replaces the slot's order: a cut in place, else anew."""
    here = d.order[b, m, slot, order_.size]
    if here > 0 and d.order[b, m, slot, order_.level] == at and d.order[b, m, slot, order_.side] == side and 0 < size <= here:
        d.order[b, m, slot, order_.size] = size
        d.level[b, m, at, level_.size] += size - here
        return
    cancel(d, b, m, slot)
    rest = match(w, d, b, m, owner, side, size, at)
    if rest > 0:
        join(d, b, m, slot, owner, side, at, rest)


@apart
def shift(d, b, m, slots, by):
    """Move the grid up by so many ticks (down where negative): orders keep price and place, those that leave it are cancelled."""
    for i in range(slots):
        to = d.order[b, m, i, order_.level] - by
        if d.order[b, m, i, order_.size] > 0 and (to < 0 or to >= GRID):
            cancel(d, b, m, i)
    for i in range(slots):
        d.order[b, m, i, order_.level] -= by
    for k in range(GRID):
        to = k if by > 0 else GRID - 1 - k
        source = to + by
        inside = 0 <= source < GRID
        for c in range(len(LEVEL)):
            empty = 0 if c == level_.size else -1
            d.level[b, m, to, c] = d.level[b, m, source, c] if inside else empty
    d.mark[b, m, mark_.bid] = max(-1, d.mark[b, m, mark_.bid] - by) if d.mark[b, m, mark_.bid] >= 0 else -1
    d.mark[b, m, mark_.ask] = min(GRID, d.mark[b, m, mark_.ask] - by) if d.mark[b, m, mark_.ask] < GRID else GRID


@apart
def ahead(d, b, m, slot):
    """Shares that stand before a slot's order at its level."""
    total, at = 0, d.order[b, m, slot, order_.before]
    while at >= 0:
        total += d.order[b, m, at, order_.size]
        at = d.order[b, m, at, order_.before]
    return total


@rule
def near(d, b, m, side, levels):
    """Shares at the best `levels` levels of a side."""
    total, best = 0, d.mark[b, m, mark_.bid + side]
    for i in range(levels):
        at = best - i if side == BID else best + i
        total += d.level[b, m, at, level_.size] if 0 <= at < GRID else 0
    return total
