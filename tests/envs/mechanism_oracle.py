"""Auctions of several positions in plain Python, by other routes than the compiled ones: sorting, allocation as a function of the bid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Numbers = Sequence[float]


def ranking(bid: Numbers, weight: Numbers, reserve: float, rank: Sequence[int]) -> list[int]:
    """Bidders by score; equal scores by `rank` [A], a random order of the bidders."""
    taking = [a for a in range(len(bid)) if bid[a] > 0 and bid[a] >= reserve]
    return sorted(taking, key=lambda a: (-bid[a] * weight[a], rank[a]))


def exposure_of(a: int, own: float, bid: Numbers, weight: Numbers, exposure: Numbers, reserve: float, rank: Sequence[int]) -> float:
    """What exposure bidder a gets by bidding `own`."""
    order = ranking([own if i == a else b for i, b in enumerate(bid)], weight, reserve, rank)
    return exposure[order.index(a)] if a in order[: len(exposure)] else 0.0


def threshold_payment(a: int, bid: Numbers, weight: Numbers, exposure: Numbers, reserve: float, rank: Sequence[int]) -> float:
    """Myerson's payment: own bid x exposure less the area under the exposure as a function of the bid, a staircase with known steps."""
    steps = sorted({0.0, reserve, bid[a], *(bid[i] * weight[i] / weight[a] for i in range(len(bid)) if i != a)})
    steps = [x for x in steps if x <= bid[a]]
    area = sum(
        (high - low) * exposure_of(a, (low + high) / 2, bid, weight, exposure, reserve, rank) for low, high in itertools.pairwise(steps)
    )
    return bid[a] * exposure_of(a, bid[a], bid, weight, exposure, reserve, rank) - area


def harm(a: int, bid: Numbers, weight: Numbers, exposure: Numbers, rank: Sequence[int]) -> float:
    """Vickrey, Clarke and Groves without a reserve: what the others lose by a's presence, in scores, per unit of a's weight."""

    def others(order: list[int]) -> float:
        return sum(x * bid[i] * weight[i] for x, i in zip(exposure, order) if i != a)

    order = ranking(bid, weight, 0.0, rank)
    return (others([i for i in order if i != a]) - others(order)) / weight[a]


def payments(
    format: str, bid: Numbers, weight: Numbers, exposure: Numbers, reserve: float, soft: float, rank: Sequence[int]
) -> tuple[list[int], list[float]]:
    """(winners in order of position, payment of each bidder)."""
    order = ranking(bid, weight, reserve, rank)
    winners, paid = order[: len(exposure)], [0.0] * len(bid)
    for j, a in enumerate(winners):
        after = order[j + 1] if j + 1 < len(order) else None
        following = reserve if after is None else max(reserve, bid[after] * weight[after] / weight[a])
        if format == "vcg":
            paid[a] = threshold_payment(a, bid, weight, exposure, reserve, rank)
        elif format in ("first", "all_pay") or bid[a] < soft:
            paid[a] = bid[a] * exposure[j]
        else:
            paid[a] = max(soft, following) * exposure[j]
    if format == "all_pay":
        for a in order[len(exposure) :]:
            paid[a] = bid[a] * exposure[0]
    return winners, paid
