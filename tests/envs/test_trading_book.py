"""The compiled book against its plain-Python twin on random streams of orders, and rules of matching on cases worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.trading.book import ASK, BID, GRID, ahead, join, match, open_book, place
from envs.trading.state import LADDER, MARK, Desk, mark_
from tests.envs.book_oracle import Book
from tests.envs.book_streams import BASE, OPS, OWNERS, SLOTS, TERMS, desk, follow, play, streams


def queues(d: Desk, b: int) -> list[Any]:
    """(side, price, [(slot, size), ...]) of the compiled book, walked from head to tail."""
    found = []
    for at in range(GRID):
        head, tail, size = d.level[b, 0, at].tolist()
        queue, sides, slot, before = [], set(), head, -1
        while slot >= 0:
            _, side, level, shares, after, back = d.order[b, 0, slot].tolist()
            assert (level, back) == (at, before) and shares > 0
            queue.append((slot, shares))
            sides.add(side)
            slot, before = after, slot
        assert before == tail and sum(shares for _, shares in queue) == size and len(sides) < 2
        if queue:
            found.append((sides.pop(), int(d.mark[b, 0, mark_.base]) + at, queue))
    return sorted(found)


def compare(seed: int, copies: int) -> int:
    """Play streams on both; returns the number of trades."""
    ops, d, left = streams(seed, copies), desk(copies), np.zeros((copies, OPS), np.int64)
    play(TERMS, d, ops, left)
    assert not d.cash.sum(1).any() and not d.shares.sum(1).any()
    trades = 0
    for b in range(copies):
        book, base, lefts = follow(ops[b])
        cash, shares = [0] * (OWNERS + 1), [0] * (OWNERS + 1)
        for comes, rests, quantity, price in book.trades:
            for owner, signed in ((comes, quantity), (rests, -quantity)):
                cash[owner] -= signed * price * TERMS.tick_size
                shares[owner] += signed
            assert comes != rests
        trades += len(book.trades)
        assert d.mark[b, 0, mark_.base] == base and left[b].tolist() == lefts
        assert d.cash[b].tolist() == cash and d.shares[b, :, 0].tolist() == shares
        assert queues(d, b) == book.queues()
        check_best(d, b, book, base)
    return trades


def check_best(d: Desk, b: int, book: Book, base: int) -> None:
    bids, asks = book.side(BID), book.side(ASK)
    assert d.mark[b, 0, mark_.bid] == (bids[0].price - base if bids else -1)
    assert d.mark[b, 0, mark_.ask] == (asks[0].price - base if asks else GRID)
    assert not (bids and asks) or bids[0].price < asks[0].price
    for order in book.orders.values():
        assert ahead(d, b, 0, order.slot) == book.ahead(order.slot)


def test_equals_the_twin() -> None:
    assert compare(0, 1_500) > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_equals_the_twin_on_a_hundred_thousand_streams(seed: int) -> None:
    trades = compare(seed, 5_000)
    print(f"book: 5,000 streams of {OPS} orders, seed {seed}: {trades:,} trades alike")
    assert trades > 15_000


def stand(*orders: tuple[int, int, int, int]) -> Desk:
    """A book with these orders (owner, side, level, size), the oldest first."""
    d = desk(1)
    open_book(d, 0, 0, SLOTS)
    for owner, side, at, size in orders:
        join(d, 0, 0, 2 * owner + side, owner, side, at, size)
    return d


def test_price_then_time_at_the_resting_price() -> None:
    d = stand((0, ASK, 34, 5), (1, ASK, 33, 2), (2, ASK, 33, 2))
    assert match(TERMS, d, 0, 0, 3, BID, 8, 40) == 0
    assert d.shares[0, :, 0].tolist() == [-4, -2, -2, 8, 0, 0]
    assert d.cash[0, 3] == -50_000 * (4 * (BASE + 33) + 4 * (BASE + 34))
    assert queues(d, 0) == [(ASK, BASE + 34, [(1, 1)])]


def test_a_cut_keeps_its_place_and_an_increase_or_a_reprice_loses_it() -> None:
    for size, at, first in ((2, 33, 0), (7, 33, 1), (5, 33, 0)):
        d = stand((0, ASK, 33, 5), (1, ASK, 33, 5))
        place(TERMS, d, 0, 0, 1, 0, ASK, at, size)
        assert queues(d, 0)[0][2][0][0] == 2 * first + 1, (size, at)
    d = stand((0, ASK, 33, 5), (1, ASK, 33, 5))
    place(TERMS, d, 0, 0, 1, 0, ASK, 34, 5)
    place(TERMS, d, 0, 0, 1, 0, ASK, 33, 5)
    assert [slot for slot, _ in queues(d, 0)[0][2]] == [3, 1] and ahead(d, 0, 0, 1) == 5


def test_nobody_meets_itself_and_nothing_crosses() -> None:
    d = stand((0, ASK, 33, 5), (1, ASK, 33, 3))
    place(TERMS, d, 0, 0, 0, 0, BID, 35, 4)
    assert d.shares[0, :, 0].tolist() == [3, -3, 0, 0, 0, 0]
    assert queues(d, 0) == [(BID, BASE + 35, [(0, 1)])]


def test_limits_bind() -> None:
    d = stand((0, BID, 30, 5), (1, BID, 28, 5))
    assert match(TERMS, d, 0, 0, 2, ASK, 9, 29) == 4
    assert match(TERMS, d, 0, 0, 2, ASK, 4, 0) == 0
    assert len(MARK) == LADDER
