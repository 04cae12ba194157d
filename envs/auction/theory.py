"""Closed forms of single-slot auctions. Values are independent U[0, 1] and figures are per auction, unless said.

Sources: V Vickrey 1961, "Counterspeculation, auctions, and competitive sealed tenders"; M Myerson 1981, "Optimal auction
design"; K Krishna, "Auction Theory", 2nd ed. 2010, chapters 2 to 5. Letters below refer to these.
"""

from __future__ import annotations

from math import exp, gamma, sqrt
from typing import NamedTuple

import numpy as np

from marl.game import F8

UNIT = (np.arange(200_000) + 0.5) / 200_000
"""Midpoints that cut [0, 1] into equal cells: a mean over them is the midpoint rule."""


def revenue(n: int, reserve: float = 0.0) -> float:
    """Seller's expected revenue in first and second price with n symmetric bidders (M, K 2.5): the same in both.

    2n/(n+1) (1 - r^(n+1)) - (1 - r^n); without a reserve (n-1)/(n+1), and then the all-pay auction earns it too.
    """
    return 2 * n / (n + 1) * (1 - reserve ** (n + 1)) - (1 - reserve**n)


def welfare(n: int, reserve: float = 0.0) -> float:
    """Expected value of the buyer where the highest value above `reserve` wins: n/(n+1) (1 - r^(n+1))."""
    return n / (n + 1) * (1 - reserve ** (n + 1))


def surplus(n: int, reserve: float = 0.0) -> float:
    """Expected value minus price of one of n symmetric bidders; 1/(n(n+1)) without a reserve."""
    return (welfare(n, reserve) - revenue(n, reserve)) / n


def sale_probability(n: int, reserve: float) -> float:
    """Chance that some value reaches the reserve: 1 - r^n."""
    return 1 - reserve**n


def all_pay_reserve(n: int, reserve: float) -> float:
    """The value from which one bids in an all-pay auction where a bid below `reserve` is none: v* with v*^n = r (K 3.2, M).

    The bidder at v* wins only against lower values, so v* v*^(n-1) = r; the outcome is second price's with reserve v*.
    """
    return float(reserve ** (1 / n))


def first_price_bid(n: int, value: F8 | float, reserve: float = 0.0) -> F8:
    """Equilibrium bid (V, K 2.3, 2.5): (n-1)/n v + r^n / (n v^(n-1)) from v = r on, below it none (0)."""
    v = np.asarray(value, np.float64)
    safe = np.maximum(v, max(reserve, 1e-300))
    return np.where((v >= reserve) & (v > 0), (n - 1) / n * v + reserve**n / (n * safe ** (n - 1)), 0.0)


def all_pay_bid(n: int, value: F8 | float, reserve: float = 0.0) -> F8:
    """Equilibrium bid of the all-pay auction (K 3.2): (n-1)/n v^n + r/n from `all_pay_reserve` on, below it none (0)."""
    v = np.asarray(value, np.float64)
    return np.where(v >= all_pay_reserve(n, reserve), (n - 1) / n * v**n + reserve / n, 0.0)


def second_price_utility(multiplier: float, n: int = 2) -> float:
    """Utility of bidding `multiplier` times the value in second price against n - 1 truthful rivals.

    E[v m^(n-1) - (n-1)/n m^n] with m = min(a v, 1), as the highest rival value has density (n-1) x^(n-2) (V).
    For n = 2 and a <= 1: (a - a^2/2)/3. Above 1 one pays more than the value where one would else have lost.
    """
    a, c = multiplier, min(1.0, 1 / multiplier) if multiplier > 0 else 1.0
    below = (a ** (n - 1) - (n - 1) / n * a**n) * c ** (n + 1) / (n + 1)
    return below + (1 - c * c) / 2 - (n - 1) / n * (1 - c)


def first_price_shading_utility(n: int, multiplier: float) -> float:
    """Utility where all n bidders bid `multiplier` times their value in first price: (1-a)/(n+1)."""
    return (1 - multiplier) / (n + 1)


def first_price_exploitability(n: int, multiplier: float) -> float:
    """What one of n bidders gains by its best response where all others bid `multiplier` a > 0 times their value.

    The best bid is min((n-1)/n v, a), as a wins for sure. With c = min(1, n a/(n-1)) it earns
    ((n-1)/(n a))^(n-1) c^(n+1) / (n (n+1)) + (1-c^2)/2 - a (1-c).
    """
    a = multiplier
    c = min(1.0, n * a / (n - 1))
    best = ((n - 1) / (n * a)) ** (n - 1) * c ** (n + 1) / (n * (n + 1)) + (1 - c * c) / 2 - a * (1 - c)
    return best - first_price_shading_utility(n, a)


def asymmetric_bid(width: float, rival: float, value: F8 | float) -> F8:
    """Equilibrium bid in first price of U[0, width] against U[0, rival] (K 4.3; Griesmer, Levitan and Shubik 1967).

    Inverse bid v = 2b/(1 + k b^2), k = 1/width^2 - 1/rival^2, hence b = (1 - sqrt(1 - k v^2))/(k v); written without
    the division by k, v/(1 + sqrt(1 - k v^2)), it holds for equal widths too. Both stop at w1 w2/(w1 + w2).
    """
    v = np.asarray(value, np.float64)
    k = 1 / width**2 - 1 / rival**2
    return v / (1 + np.sqrt(np.maximum(0.0, 1 - k * v * v)))


def asymmetric_top(width: float, rival: float) -> float:
    """The bid of both highest values: w1 w2/(w1 + w2)."""
    return width * rival / (width + rival)


def asymmetric_first_price(w1: float, w2: float) -> dict[str, float]:
    """Revenue, each bidder's surplus and chance of winning, welfare and efficiency in first price at equilibrium (K 4.3).

    By quadrature over each bidder's value (midpoint rule): a bid b beats the rival with probability phi(b)/width.
    """
    own, other = asymmetric_bid(w1, w2, w1 * UNIT), asymmetric_bid(w2, w1, w2 * UNIT)
    win_1 = _inverse(w2, w1, own) / w2
    win_2 = _inverse(w1, w2, other) / w1
    value_1, value_2 = float(np.mean(w1 * UNIT * win_1)), float(np.mean(w2 * UNIT * win_2))
    paid_1, paid_2 = float(np.mean(own * win_1)), float(np.mean(other * win_2))
    total = value_1 + value_2
    return {
        "revenue": paid_1 + paid_2,
        "surplus_0": value_1 - paid_1,
        "surplus_1": value_2 - paid_2,
        "win_rate_0": float(np.mean(win_1)),
        "win_rate_1": float(np.mean(win_2)),
        "welfare": total,
        "efficiency": total / asymmetric_welfare(w1, w2),
    }


def _inverse(width: float, rival: float, bid: F8) -> F8:
    """The value at which U[0, width] against U[0, rival] bids `bid`: 2b/(1 + k b^2)."""
    return 2 * bid / (1 + (1 / width**2 - 1 / rival**2) * bid * bid)


def asymmetric_second_price_revenue(w1: float, w2: float) -> float:
    """Mean of the lower of U[0, w1] and U[0, w2]: with w the smaller and W the larger, w/2 - w^2/(6 W)."""
    low, high = min(w1, w2), max(w1, w2)
    return low / 2 - low * low / (6 * high)


def asymmetric_welfare(w1: float, w2: float) -> float:
    """Mean of the higher of U[0, w1] and U[0, w2]: the two means less the mean of the lower."""
    return (w1 + w2) / 2 - asymmetric_second_price_revenue(w1, w2)


def pacing_multiplier(rho: float) -> float:
    """Best multiplier in second price on v ~ U[0, 1] against a price ~ U[0, 1] with `rho` to spend an auction.

    lambda = 1/(1 + mu), mu = max(0, sqrt(1/(6 rho)) - 1): the multiplier that spends rho, lambda^2/6, at most 1. Fluid
    limit of many auctions (Balseiro and Gur 2019, "Learning in repeated auctions with budgets", section 3).
    """
    return min(1.0, sqrt(6 * rho))


def pacing_utility(multiplier: float) -> float:
    """Utility an auction of a multiplier up to 1 in the setting of `pacing_multiplier`: lambda/3 - lambda^2/6."""
    return multiplier / 3 - multiplier**2 / 6


def pacing_spend(multiplier: float) -> float:
    """Spend an auction of a multiplier up to 1 in the setting of `pacing_multiplier`: lambda^2/6."""
    return multiplier**2 / 6


def symmetric_pacing_multiplier(n: int, rho: float) -> float:
    """Equilibrium multiplier of n symmetric bidders in second price with `rho` each to spend an auction.

    1/(1 + mu), mu = max(0, (n-1)/(n(n+1) rho) - 1), in the fluid limit: the truthful spend (n-1)/(n(n+1)) shrinks in
    proportion (Balseiro, Besbes and Weintraub 2015, "Repeated auctions with budgets in ad exchanges"). First price and
    all-pay have the same multiplier on top of their equilibrium bid: a binding budget turns v into v/(1 + mu).
    """
    return min(1.0, rho * n * (n + 1) / (n - 1))


def envy_free_bids(value: F8, exposure: F8) -> F8:
    """Locally envy-free bids in GSP that pay what VCG charges (Edelman, Ostrovsky and Schwarz 2007, theorem 1), [n].

    value [n] falls, exposure [K] falls, K < n or fewer bidders than positions. b_k = r b_{k+1} + (1 - r) v_k with
    r = x_k / x_{k-1} for positions k = 2 .. K, in order from below; without a position one bids the value, and the first its value.
    """
    bids = np.array(value, np.float64)
    slots = min(len(exposure), len(bids))
    for k in range(slots - 1, 0, -1):
        ratio = exposure[k] / exposure[k - 1]
        bids[k] = ratio * (bids[k + 1] if k + 1 < len(bids) else 0.0) + (1 - ratio) * value[k]
    return bids


def vcg_payments(value: F8, exposure: F8) -> F8:
    """What each position pays under VCG at truthful bids [K]: sum over lower positions j of (x_{j-1} - x_j) v_j (the same, section II)."""
    slots = min(len(exposure), len(value))
    falls = np.append(exposure[:slots], 0.0)
    behind = np.append(value, np.zeros(slots + 1))
    return np.array([sum((falls[j - 1] - falls[j]) * behind[j] for j in range(k + 1, slots + 1)) for k in range(slots)])


def soft_floor_bid(n: int, value: F8 | float, soft: float) -> F8:
    """Equilibrium bid of n symmetric bidders under a soft floor without a reserve (Zeithammer 2019): (n-1)/n v below it, else v.

    Types up to n/(n-1) soft bid as in first price, which keeps them below the floor; all above bid their value. The allocation is
    efficient, hence the revenue that of second price.
    """
    v = np.asarray(value, np.float64)
    first = (n - 1) / n * v
    return np.where(first < soft, first, v)


class Pacing(NamedTuple):
    """A first-price pacing equilibrium of n bidders and m divisible goods."""

    multiplier: F8  # [n] of the values, up to 1
    price: F8  # [m] of a whole good
    share: F8  # [n, m] of each good


def first_price_pacing(value: F8, budget: F8, rounds: int = 100_000) -> Pacing:
    """The first-price pacing equilibrium (Conitzer et al. 2022, "Pacing equilibrium in first price auction markets"), value [n, m].

    It is the equilibrium of a quasi-linear Fisher market, which proportional response finds (Gao and Kroer 2020, "First-order
    methods for large-scale market equilibrium computation"): bidder i spends B_i over goods and leftover in proportion to v_ij x_ij and
    what it kept. The multiplier is B_i over utility and leftover, at most 1.
    """
    _n, m = value.shape
    spent, kept = np.repeat(budget[:, None] / (m + 1), m, 1), budget / (m + 1)
    for _ in range(rounds):
        share = spent / np.maximum(spent.sum(0), 1e-300)
        gained = value * share
        whole = gained.sum(1) + kept
        before = spent
        spent, kept = budget[:, None] * gained / whole[:, None], budget * kept / whole
        if np.abs(spent - before).max() < 1e-13:
            break
    price = spent.sum(0)
    share = spent / np.maximum(price, 1e-300)
    whole = (value * share).sum(1) + kept
    return Pacing(np.minimum(budget / whole, 1.0), price, share)


def seen_by(age: float, mean: float, shape: float = 1.0) -> float:
    """Share of conversions seen by `age` after the click (Chapelle 2014, "Modeling delayed feedback in display advertising").

    1 - exp(-age/mean) under the exponential law; with shape k Weibull's, 1 - exp(-(age/scale)^k) with scale = mean/Gamma(1 + 1/k).
    """
    return 1 - exp(-((age * gamma(1 + 1 / shape) / mean) ** shape))


def converts_yet(rate: float, age: float, mean: float) -> float:
    """Chance that a click without a conversion by `age` will convert yet: p e^(-age/mean) / (1 - p + p e^(-age/mean)) (Chapelle 2014)."""
    left = rate * exp(-age / mean)
    return left / (1 - rate + left)
