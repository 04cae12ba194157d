"""The auctions of a tick of mode advertising in plain Python, written apart from the compiled ones: words of the addressed streams
to bids, sorting to positions, payments by the mechanisms' oracle, budgets one impression after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from marl import rng
from marl.rng import U
from tests.envs import mechanism_oracle
from tests.envs.addressed import Address

IMPRESSIONS, RELEVANCE, TIES, FATES = 10, 11, 12, 13


def words(key: int, tick: int, purpose: int) -> Any:
    """Number i of a stream of the copy with this key in its first episode -> its 64 bits."""
    stream = U(rng.stream(Address(np.array([key], np.uint64), np.array([0]), np.array([tick])), 0, purpose))
    return lambda i: int(rng.bits(stream, i))


def unit(word: int) -> float:
    return (word >> 11) / 2**53


class Tick:
    """What the auctions of one tick do to advertisers: spent, wins, exposures by position, clicks. Money in whole micro-dollars.

    `p` are AuctionParams without journeys, cohort, fatigue or layers, with one creative, paid by exposure; left [A].
    """

    def __init__(self, p: Any, key: int, tick: int, multipliers: Any, left: list[int]) -> None:
        self.p, self.left = p, list(left)
        n = p.n_agents
        self.spent, self.wins, self.clicks, self.place = [0] * n, [0] * n, [0] * n, np.zeros((n, p.slots), int)
        tables = p.tables()
        impression, own, tie, fate = (words(key, tick, purpose) for purpose in (IMPRESSIONS, RELEVANCE, TIES, FATES))
        for k in range(int(p.schedule()[tick])):
            word = impression(k)
            g, h = divmod(int(tables["cell_of"][word >> 54]), p.channels)
            shared = tables["shared_q"][word >> 44 & 1023]
            click = [min(1.0, tables["rate_of_click"][a, 0, g] * tables["channel_click"][h]) for a in range(n)]
            value = [click[a] * tables["rate_of_sale"][a, 0, g] * float(tables["worth"][a]) for a in range(n)]
            row = [own(k * n + a) for a in range(n)]
            seen = [shared * tables["own_q"][w >> 54] * tables["seen_q"][w >> 44 & 1023] for w in row]
            bid = [min(multipliers[a] * np.float32(value[a]) * seen[a], self.left[a]) for a in range(n)]
            weight = [(c / p.mean_click) ** p.quality_power for c in click]
            rank = [sorted(range(n), key=lambda a: -tie(k * n + a)).index(a) for a in range(n)]
            self.sell(k, bid, weight, click, rank, fate)

    def sell(self, k: int, bid: list[float], weight: list[float], click: list[float], rank: list[int], fate: Any) -> None:
        """Positions of auction k, and who pays where the ad is exposed."""
        p, x = self.p, self.p.exposures().tolist()
        winners, paid = mechanism_oracle.payments(p.format, bid, weight, x, max(p.reserve * 1e6, 1.0), p.soft_floor * 1e6, rank)
        for j, a in enumerate(winners):
            at = 8 * (k * p.slots + j)
            self.wins[a] += 1
            if unit(fate(at)) >= x[j]:
                continue
            money = min(int(paid[a] / x[j] + 1e-6), self.left[a])
            self.left[a] -= money
            self.spent[a] += money
            self.place[a, j] += 1
            self.clicks[a] += unit(fate(at + 1)) < click[a]
