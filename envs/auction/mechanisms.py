"""Sealed-bid auctions of 1 to 10 positions, as pure functions of numbers: they fill the arrays that they are given, nothing else.

A bidder has a bid ($ or any unit, per unit of exposure) and a weight, quality^beta; its score is bid x weight. The highest scores get the
positions in order, equal ones in an order that the seed draws uniformly (each has a random priority). Position j has exposure x_j, not
increasing in j; what a winner pays is its price per unit of exposure times the exposure. A bid below the reserve, or of nothing, is none.

Prices (Edelman, Ostrovsky and Schwarz 2007, "Internet advertising and the generalized second-price auction"; Varian 2007):
first, all_pay: the own bid (all_pay: of everybody who bids). second, gsp: what the next bidder's score is worth at the own weight, at
least the reserve; with one position that is second price. vcg: the threshold payment (Myerson 1981) at which the own allocation would
be the next one down: sum over i > j of (x_{i-1} - x_i) max(score_i/weight_j, reserve), and the reserve for what is left.
A soft floor above the reserve (Zeithammer 2019, "Soft floors in auctions") lets a bid below it pay itself, and one above at least it.
"""

from __future__ import annotations

from envs.auction.params import ALL_PAY, FIRST, VCG
from marl.compiled import rule
from marl.rng import bits


@rule
def outranks(score, a, other, holder, ties, base):
    """Whether bidder a with `score` stands before `holder` with `other`; equal scores by the words base + a, base + holder of `ties`."""
    return score > other or (score == other and bits(ties, base + a) > bits(ties, base + holder))


@rule
def place(score, a, ties, base, depth, count, scores, agents):
    """Put bidder a into the ranking of the best `depth`, of which scores [depth] and agents [depth] hold `count`; returns the new count."""
    j = count
    if count == depth:
        if not outranks(score, a, scores[depth - 1], agents[depth - 1], ties, base):
            return count
        j = depth - 1
    while j > 0 and outranks(score, a, scores[j - 1], agents[j - 1], ties, base):
        scores[j], agents[j] = scores[j - 1], agents[j - 1]
        j -= 1
    scores[j], agents[j] = score, a
    return min(count + 1, depth)


@rule
def next_price(j, count, scores, weight, reserve):
    """What the score behind position j is worth at this weight, at least the reserve."""
    return max(reserve, scores[j + 1] / weight) if j + 1 < count else reserve


@rule
def threshold_price(j, count, scores, weight, exposure, reserve):
    """VCG's payment of position j per unit of its exposure; exposure [slots], scores [slots + 1] of which `count` are there."""
    slots, total = len(exposure), 0.0
    for i in range(j + 1, count):
        below = exposure[i] if i < slots else 0.0
        total += (exposure[i - 1] - below) * max(scores[i] / weight, reserve)
    if count <= slots:
        total += exposure[count - 1] * reserve
    return total / exposure[j] if exposure[j] > 0.0 else 0.0


@rule
def price_of(format, j, bid, weight, count, scores, exposure, reserve, soft):
    """Price per unit of exposure of the winner of position j, in [0, bid]."""
    if format in (FIRST, ALL_PAY):
        return bid
    if format == VCG:
        return min(bid, threshold_price(j, count, scores, weight, exposure, reserve))
    if bid < soft:
        return bid
    return min(bid, max(soft, next_price(j, count, scores, weight, reserve)))


@rule
def clear(format, bid, weight, exposure, reserve, soft, ties, base, scores, agents, price):
    """One whole auction: bid [A], weight [A], exposure [slots] -> agents [slots + 1] by rank and price [A] per unit of exposure.

    Returns how many are ranked, one more than positions at most. `price` is 0 for whoever pays nothing; in all_pay the losers
    pay too, and a loser's price is per unit of the first position's exposure. `scores` [slots + 1] is scratch.
    """
    slots, count = len(exposure), 0
    for a in range(len(bid)):
        price[a] = 0.0
        if bid[a] > 0.0 and bid[a] >= reserve:
            count = place(bid[a] * weight[a], a, ties, base, slots + 1, count, scores, agents)
            if format == ALL_PAY:
                price[a] = bid[a]
    if format != ALL_PAY:
        for j in range(min(count, slots)):
            a = agents[j]
            price[a] = price_of(format, j, bid[a], weight[a], count, scores, exposure, reserve, soft)
    return count
