"""Closed forms and exact algorithms of inventory theory.

Sources: N Arrow, Harris and Marschak 1951, in Snyder and Shen 2019, "Fundamentals of Supply Chain Theory", 4.3; E Harris 1913;
Z Zheng and Federgruen 1991, "Finding optimal (s, S) policies is about as simple as evaluating a single policy"; C Clark and Scarf 1960,
"Optimal policies for a multi-echelon inventory problem"; S Shang and Song 2003, "Newsvendor bounds and heuristic for optimal policies in
serial supply chains"; P Zipkin 2008, "Old and new methods for lost-sales inventory systems"; B Chen, Drezner, Ryan and Simchi-Levi 2000,
"Quantifying the bullwhip effect in a simple supply chain"; L Lee, Padmanabhan and Whang 1997, "Information distortion in a supply
chain: the bullwhip effect". Letters below refer to these. Costs are a tick's: h a unit on hand, p a unit short.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import erf, exp, lgamma, log, pi, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

F8 = npt.NDArray[np.float64]
STANDARD = NormalDist()
FINE = 0.01
"""Width of the grid on which Clark and Scarf's functions are tabulated, standard deviations of a tick's demand."""


class Level(NamedTuple):
    """An order-up-to level and the mean cost of a tick under it."""

    level: float
    cost: float


class Reorder(NamedTuple):
    """Order up to `upto` where at most `point` is there; the mean cost of a tick."""

    point: int
    upto: int
    cost: float


class Serial(NamedTuple):
    """A serial system's echelon and local levels, downstream first, and its mean cost of a tick."""

    echelon: tuple[float, ...]
    local: tuple[float, ...]
    cost: float


def newsvendor(h: float, p: float, mean: float, sd: float) -> Level:
    """Normal demand: S = mean + z sd with Phi(z) = p/(p + h), cost (h + p) phi(z) sd (N)."""
    z = STANDARD.inv_cdf(p / (p + h))
    return Level(mean + z * sd, (h + p) * exp(-z * z / 2) / sqrt(2 * pi) * sd)


def base_stock(h: float, p: float, mean: float, sd: float, lead: int) -> Level:
    """Orders before demand that take `lead` ticks cover lead + 1 demands: the newsvendor of their sum (N)."""
    return newsvendor(h, p, (lead + 1) * mean, sqrt(lead + 1) * sd)


def poisson_law(mean: float, tail: float = 1e-13) -> F8:
    """P(D = k), [K], up to where less than `tail` remains; sums to 1."""
    count = int(mean + 12 * sqrt(mean) + 30)
    law = np.array([exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(count)]) if mean > 0 else np.array([1.0])
    law = law[: int(np.searchsorted(np.cumsum(law), 1 - tail)) + 1]
    return np.asarray(law / law.sum())


def mismatch(h: float, p: float, law: F8, levels: npt.ArrayLike) -> F8:
    """E[h (y - D)^+ + p (D - y)^+] at whole levels y [n] for the law of D [K]."""
    gap = np.asarray(levels, np.float64)[:, None] - np.arange(len(law))
    return np.asarray((np.where(gap > 0, h * gap, -p * gap) * law).sum(1))


def discrete_newsvendor(h: float, p: float, law: F8) -> Level:
    """The least S with F(S) >= p/(p + h), and its cost, for the law of whole demands [K] (N)."""
    level = int(np.searchsorted(np.cumsum(law), p / (p + h) - 1e-12))
    return Level(level, float(mismatch(h, p, law, [level])[0]))


def poisson_newsvendor(h: float, p: float, mean: float) -> Level:
    """The newsvendor with Poisson demand."""
    return discrete_newsvendor(h, p, poisson_law(mean))


def eoq(fixed: float, h: float, demand: float) -> float:
    """Harris's order quantity sqrt(2 K D / h) (E)."""
    return sqrt(2 * fixed * demand / h)


def reorder_cost(h: float, p: float, fixed: float, law: F8, point: int, upto: int) -> float:
    """Cost of a tick under (s, S), orders before demand and there at once: (K + sum m(j) G(S - j)) / sum m(j), j < S - s (Z, 2)."""
    m = np.zeros(upto - point)
    chance = np.concatenate([law, np.zeros(max(0, len(m) - len(law)))])
    for j in range(len(m)):
        m[j] = ((1.0 if j == 0 else 0.0) + float(chance[1 : j + 1] @ m[j - 1 :: -1][:j] if j else 0.0)) / (1 - chance[0])
    stay = mismatch(h, p, law, upto - np.arange(len(m)))
    return float((fixed + m @ stay) / m.sum())


@lru_cache(maxsize=64)
def reorder(h: float, p: float, fixed: float, mean: float) -> Reorder:
    """The best (s, S) for Poisson demand and orders that are there at once, by search between bounds on S (Z, 3).

    S* lies from the newsvendor's level, where G is least, to where G exceeds the best cost found.
    """
    law = poisson_law(mean)
    best = int(poisson_newsvendor(h, p, mean).level)
    found = Reorder(best - 1, best, reorder_cost(h, p, fixed, law, best - 1, best))
    upto = best
    while upto == best or mismatch(h, p, law, [upto])[0] <= found.cost:
        for point in range(best - 1, best - 2 - int(10 * sqrt(mean) + fixed / p + mean), -1):
            cost = reorder_cost(h, p, fixed, law, point, upto)
            if cost < found.cost - 1e-12:
                found = Reorder(point, upto, cost)
        upto += 1
    return found


def echelon_rates(local: Sequence[float]) -> F8:
    """Echelon holding costs, downstream first: what a stage's rate exceeds the next one upstream."""
    rates = np.asarray(local, np.float64)
    return np.asarray(rates - np.append(rates[1:], 0.0))


@lru_cache(maxsize=32)
def clark_scarf(local: tuple[float, ...], leads: tuple[int, ...], p: float, mean: float, sd: float) -> Serial:
    """Exact levels of a serial system with normal demand, stages downstream first (C; Snyder and Shen 6.2).

    Orders follow demand, so that a lead of L covers L demands; what is under way to a stage is charged at its supplier's rate.
    C_j(y) = E[h_j (y - D_j) + C_{j-1}(min(S_{j-1}, y - D_j))], D_j the demand of L_j ticks, S_j the least y of C_j, and
    C_0(x) = (p + sum h) x^-. Functions are tabulated on a grid of a hundredth of a standard deviation.
    """
    step, rates = FINE * sd, echelon_rates(local)
    reach = sum(leads) * mean + 14 * sqrt(sum(leads)) * sd
    below = (p + float(rates.sum())) * np.maximum(0.0, -np.arange(-round(2 * reach / step), round(2 * reach / step) + 1) * step)
    y = np.arange(-round(2 * reach / step), round(2 * reach / step) + 1) * step
    levels, cost = [], 0.0
    for rate, lead in zip(rates, leads):
        spread = np.arange(-round(8 * sqrt(lead) / FINE), round(8 * sqrt(lead) / FINE) + 1) * step
        weight = np.exp(-0.5 * (spread / (sqrt(lead) * sd)) ** 2)
        value = np.convolve(rate * y + below, weight / weight.sum(), mode="same")
        value = np.interp(y - lead * mean, y, value)  # from the level after the mean demand to the one before
        inner = slice(len(spread), len(y) - len(spread))
        best = int(np.argmin(value[inner])) + len(spread)
        levels.append(float(y[best]))
        cost = float(value[best])
        below = np.where(y < y[best], value, value[best])
    local_levels = np.diff([0.0, *levels])
    return Serial(tuple(levels), tuple(float(x) for x in local_levels), cost)


def shang_song(local: Sequence[float], leads: Sequence[int], p: float, mean: float, sd: float) -> tuple[float, ...]:
    """Echelon levels as means of two newsvendors' levels (S, 3), stages downstream first, timing as in `clark_scarf`.

    Ratios (p + sum_{i>j} h_i) / (p + sum_{i>=1} h_i) and the same over (p + sum_{i>=j} h_i), demand over L_1 + .. + L_j ticks.
    """
    h, levels = echelon_rates(local), []
    for j in range(len(h)):
        ticks = sum(leads[: j + 1])
        above = p + float(h[j + 1 :].sum())
        z = [STANDARD.inv_cdf(above / (p + float(h[first:].sum()))) for first in (0, j)]
        levels.append(ticks * mean + sqrt(ticks) * sd * sum(z) / 2)
    return tuple(levels)


@lru_cache(maxsize=16)
def lost_sales(h: float, p: float, mean: float, lead: int, tolerance: float = 1e-6) -> tuple[float, Any]:
    """(mean cost of a tick, best order [x, z_1, .., z_{L-1}]) with Poisson demand, unmet demand lost, orders before demand (P).

    Relative value iteration over what is on hand x after receipts and what comes in the next L - 1 ticks. V(x, z) = c(x) +
    min over q of E V((x - D)^+ + z_1, z_2, .., q). Orders up to the newsvendor's level of one tick suffice.
    """
    law = poisson_law(mean)
    most = int(poisson_newsvendor(h, p, mean).level) + 1
    top = most * (lead + 1)
    level = np.arange(top + 1)
    cost = mismatch(h, p, law, level)
    chance = np.zeros((top + 1, top + 1))  # of what is left y from x
    for k, weight in enumerate(law):
        np.add.at(chance, (level, np.maximum(0, level - k)), weight)
    shape = (top + 1, *(most + 1,) * (lead - 1))
    value: Any = np.zeros(shape)
    while True:
        after = np.stack([_shifted(value, z) for z in range(most + 1)], axis=1)  # [y, z_1, z_2, .., q], for L = 1 [y, q]
        expected = np.tensordot(chance, after, axes=1)
        new = cost.reshape(-1, *(1,) * (lead - 1)) + expected.min(axis=-1)
        change = new - value
        value = new - new.flat[0]
        if change.max() - change.min() < tolerance:
            return float((change.max() + change.min()) / 2), expected.argmin(axis=-1)


def _shifted(value: Any, z: int) -> Any:
    """value [x, ...] at x + z, the last where it is beyond."""
    return value[np.minimum(np.arange(len(value)) + z, len(value) - 1)]


def bullwhip(cover: int, window: int, correlation: float = 0.0) -> float:
    """Variance of orders over that of AR(1) demand, order-up-to cover x the mean of `window` demands (B, 3.1).

    1 + (2 L/p + 2 L^2/p^2)(1 - rho^p), L counting the review. It is a lower bound where the safety stock moves, and exact where it is 0
    or stays.
    """
    share = cover / window
    return 1 + (2 * share + 2 * share * share) * (1 - correlation**window)


def short_of(level: F8, mean: float, sd: float) -> F8:
    """E(D - y)^+ of normal demand at levels y [n]: sd (phi(z) - z (1 - Phi(z))) (N)."""
    z = (np.asarray(level, np.float64) - mean) / sd
    beyond = 0.5 - 0.5 * np.vectorize(erf)(z / sqrt(2.0))
    return np.asarray(sd * (np.exp(-z * z / 2) / sqrt(2 * pi) - z * beyond))


class Rationing(NamedTuple):
    """Retailers who order before a supply that is drawn from [low, high] is shared in proportion to orders (L, 4)."""

    retailers: int
    mean: float
    sd: float
    h: float
    p: float
    low: float
    high: float

    def each(self) -> tuple[F8, F8]:
        """Expected cost of what one gets, at levels from 0 to ten mean demands: (levels, costs)."""
        levels = np.linspace(0.0, 10 * self.mean, 20_001)
        return levels, self.h * (levels - self.mean) + (self.h + self.p) * short_of(levels, self.mean, self.sd)

    def cost(self, own: F8, others: float, table: tuple[F8, F8] | None = None) -> F8:
        """Expected cost of a tick of orders `own` [n] beside `others` in total."""
        supply = np.linspace(self.low, self.high, 401)[:, None]
        total = own + others
        got = np.where(total <= supply, own, supply * own / np.maximum(total, 1e-12))
        found = np.interp(got, *(table or self.each()))
        weight = np.full(len(supply), 1.0)
        weight[0] = weight[-1] = 0.5
        return np.asarray(weight @ found / weight.sum())

    def response(self, others: float, table: tuple[F8, F8] | None = None) -> float:
        """The order with the least expected cost: a grid of orders up to ten mean demands, refined around the best."""
        low, high, best = 0.0, 10 * self.mean, 0.0
        for _ in range(4):
            tried = np.linspace(low, high, 101)
            best = float(tried[np.argmin(self.cost(tried, others, table))])
            width = (high - low) / 25
            low, high = max(0.0, best - width), best + width
        return best

    def equilibrium(self) -> float:
        """The order that is the best response to itself, by bisection of response(x) - x, which falls through 0 once."""
        low, high, table = 0.0, 10 * self.mean, self.each()
        for _ in range(24):
            middle = (low + high) / 2
            if self.response((self.retailers - 1) * middle, table) > middle:
                low = middle
            else:
                high = middle
        return (low + high) / 2
