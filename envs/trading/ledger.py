# mypy: allow-untyped-defs, allow-incomplete-defs
"""Who has what: cash in millionths of a dollar, whole shares. Every trade has two sides, so nothing is made and nothing lost.

States that are kept here have cash [B, A + 1], shares [B, A + 1, M] and fees [B]. Row A is the world: exogenous flow, what endows traders
and what lends to them. It begins with the negative of what the traders have, so that cash and fees, and the shares of each asset, sum to
exactly 0 on every step.
"""

from __future__ import annotations

from marl.compiled import rule

MICRO = 1_000_000
"""Whole parts of a dollar. A price is so many of them a share."""


@rule
def whole(x):
    """The nearest whole number, halves away from 0."""
    return int(x + 0.5) if x >= 0.0 else -int(0.5 - x)


@rule
def endow(s, b, a, world, m, cash, shares):
    """Give trader a cash and shares of asset m, which the world owes."""
    s.cash[b, a] += cash
    s.cash[b, world] -= cash
    s.shares[b, a, m] += shares
    s.shares[b, world, m] -= shares


@rule
def clear(s, b):
    """Nobody has anything."""
    s.fees[b] = 0
    for a in range(s.cash.shape[1]):
        s.cash[b, a] = 0
        for m in range(s.shares.shape[2]):
            s.shares[b, a, m] = 0


@rule
def deal(s, b, buyer, seller, m, quantity, price):
    """The buyer gets so many shares of asset m for price x quantity."""
    s.shares[b, buyer, m] += quantity
    s.shares[b, seller, m] -= quantity
    s.cash[b, buyer] -= quantity * price
    s.cash[b, seller] += quantity * price


@rule
def charge(s, b, a, amount):
    """Trader a pays a fee, or has a rebate where it is negative."""
    s.cash[b, a] -= amount
    s.fees[b] += amount


@rule
def missing_cash(s, b):
    """Sum of cash and fees: 0."""
    total = s.fees[b]
    for a in range(s.cash.shape[1]):
        total += s.cash[b, a]
    return total


@rule
def missing_shares(s, b):
    """Sum over assets of how far their shares are from summing to 0."""
    off = 0
    for m in range(s.shares.shape[2]):
        total = 0
        for a in range(s.cash.shape[1]):
            total += s.shares[b, a, m]
        off += abs(total)
    return off
