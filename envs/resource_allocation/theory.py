"""Closed forms of shared capacity: queues, commons, bids for shares, fairness.

Sources: E Erlang 1917, in Kleinrock 1975, "Queueing Systems I", 3.8; G Gordon 1954 and Schaefer 1957, in Clark 1990,
"Mathematical Bioeconomics", chapters 1, 2 and 5; K Kelly 1997, "Charging and rate control for elastic traffic"; T Tullock 1980,
"Efficient rent seeking"; J Johari and Tsitsiklis 2004, "Efficiency loss in a network resource allocation game"; M Mo and
Walrand 2000, "Fair end-to-end window-based congestion control"; R Roughgarden and Tardos 2002, "How bad is selfish routing?";
D Ghodsi et al. 2011, "Dominant resource fairness". Letters below refer to these.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt


def jain(shares: npt.ArrayLike) -> float:
    """Jain's index (sum x)^2 / (n sum x^2) of shares [n] (Jain, Chiu and Hawe 1984): 1 where all are equal, 1/n for one hog.

    Where nobody has anything all are equal: 1.
    """
    x = np.asarray(shares, np.float64)
    square = float((x * x).sum())
    return float(x.sum()) ** 2 / (len(x) * square) if square > 0 else 1.0


def alpha_fair_line(alpha: float, links: int = 2) -> float:
    """Share x0 of the long flow where it crosses `links` unit links, each shared with one short flow, under alpha-fairness (M).

    Maximises u(x0) + L u(1 - x0), u' = x^-alpha: x0^-alpha = L (1 - x0)^-alpha, hence x0 = 1/(1 + L^(1/alpha)).
    alpha = 1 is proportional, alpha to infinity max-min fairness.
    """
    return float(1 / (1 + links ** (1 / alpha)))


def drf_shares(demand: npt.ArrayLike, capacity: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Tasks [n] of tenants with task demands [n, R] under dominant resource fairness, divisible tasks, all demands positive (D, 4).

    Dominant shares are equal until a resource is full, which stops all: s = min over r of C_r / sum over a of d_ar / max_r(d_ar/C_r).
    """
    d, c = np.asarray(demand, np.float64), np.asarray(capacity, np.float64)
    dominant = (d / c).max(axis=1)
    share = float((c / (d / dominant[:, None]).sum(axis=0)).min())
    return np.asarray(share / dominant)


def erlang_b(servers: int, load: float) -> float:
    """Chance that all of `servers` are busy in M/M/c/c at offered load a = lambda/mu: B_k = a B_{k-1} / (k + a B_{k-1}) (E)."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Chance that an arrival has to wait in M/M/c at offered load a < c: B / (1 - (a/c)(1 - B)), B Erlang's B (E)."""
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked))


def mmc_wait(servers: int, load: float, rate: float = 1.0) -> float:
    """Mean wait in M/M/c with service rate mu of each server: C / (mu (c - a)) (E)."""
    return erlang_c(servers, load) / (rate * (servers - load))


def mmc_queue(servers: int, load: float) -> float:
    """Mean number that wait in M/M/c: C a/(c - a), by Little's law (E)."""
    return erlang_c(servers, load) * load / (servers - load)


def sustainable_yield(growth: float, capacity: float) -> float:
    """Largest harvest a tick that logistic growth r x (1 - x/K) replaces: r K/4, at the stock K/2 (G)."""
    return growth * capacity / 4


def stock_under(effort: float, growth: float, capacity: float, catchability: float) -> float:
    """Stock that total effort E leaves in the long run: r (1 - x/K) = q E, x = K (1 - q E/r), none above E = r/q (G)."""
    return max(0.0, capacity * (1 - catchability * effort / growth))


def break_even(price: float, cost: float, capacity: float, catchability: float) -> float:
    """c/(p q K): the share of the capacity at which a unit of effort earns what it costs (G)."""
    return cost / (price * catchability * capacity)


def rent(own: float, others: float, growth: float, capacity: float, catchability: float, price: float, cost: float) -> float:
    """What effort `own` earns a tick in the long run beside the others' total: (p q x(E) - c) e (G)."""
    return (price * catchability * stock_under(own + others, growth, capacity, catchability) - cost) * own


def nash_effort(n: int, growth: float, capacity: float, catchability: float, price: float, cost: float) -> float:
    """Effort of each of n who each maximise their own long-run rent: (r/q)(1 - c/(p q K))/(n + 1), Cournot's game (G, chapter 5).

    With a cost above what the full stock pays nobody harvests: 0.
    """
    return max(0.0, growth / catchability * (1 - break_even(price, cost, capacity, catchability)) / (n + 1))


def optimal_effort(growth: float, capacity: float, catchability: float, price: float, cost: float) -> float:
    """Total effort with the largest long-run rent, that of a sole owner: half of the open-access effort (G)."""
    return nash_effort(1, growth, capacity, catchability, price, cost)


def nash_rent_ratio(n: int) -> float:
    """Total rent at the Nash efforts over the sole owner's: 4n/(n + 1)^2."""
    return 4 * n / (n + 1) ** 2


def commons_response(others: float, growth: float, capacity: float, catchability: float, price: float, cost: float) -> float:
    """Effort with the largest own long-run rent beside the others' total: half of what they leave of the open-access effort."""
    open_access = growth / catchability * (1 - break_even(price, cost, capacity, catchability))
    return max(0.0, (open_access - others) / 2)


def kelly_bid(n: int, value: float) -> float:
    """Nash bid of each of n who value the whole at V and split it in proportion to bids, which are paid: (n-1)V/n^2 (K, T)."""
    return (n - 1) * value / n**2


def kelly_payoff(n: int, value: float) -> float:
    """What each keeps there: V/n - (n-1)V/n^2 = V/n^2 (T)."""
    return value / n**2


def kelly_response(others: float, value: float) -> float:
    """Bid with the largest V b/(b + B) - b against the others' total B > 0: sqrt(V B) - B, at least 0 (T)."""
    return max(0.0, sqrt(value * others) - others)


def kelly_efficiency(others: int, slope: float) -> float:
    """Welfare at the Nash bids over the optimum where one user values share x at x and each of `others` at slope x, slope <= 1 (J).

    Nash (J, theorem 1): U_i'(d_i) (1 - d_i) is the same for all, 1 - d = slope (1 - (1 - d)/others) with the first user's
    share d. The optimum is 1, all to the first. With many others 1 - d = slope, and the least efficiency is 3/4, at slope 1/2.
    """
    rest = slope / (1 + slope / others)  # 1 - d
    return (1 - rest) + slope * rest


WORST_KELLY = 3 / 4
"""Least efficiency of proportional sharing with linear values at Nash bids that price what is anticipated (J, theorem 3)."""


def pigou_anarchy(degree: float = 1.0) -> float:
    """Selfish over optimal delay with a road of delay 1 and one of delay x^d: 1 / (1 - d (d+1)^(-(d+1)/d)); 4/3 for d = 1 (R)."""
    return float(1 / (1 - degree * (degree + 1) ** (-(degree + 1) / degree)))


def braess_delay(shortcut: bool) -> float:
    """Delay of one unit of selfish traffic on Braess's network, roads x and 1 in series twice: 3/2, with a free shortcut 2 (R)."""
    return 2.0 if shortcut else 1.5
