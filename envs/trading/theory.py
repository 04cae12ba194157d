"""Closed forms of trading: quotes, schedules, liquidation games, informed trade, portfolios.

Sources: A Avellaneda and Stoikov 2008, "High-frequency trading in a limit order book"; C Cartea, Jaimungal and Penalva 2015,
"Algorithmic and High-Frequency Trading", 10.2; X Almgren and Chriss 2000, "Optimal execution of portfolio transactions"; V Carlin, Lobo
and Viswanathan 2007, "Episodic liquidity crises"; K Kyle 1985, "Continuous auctions and insider trading"; H Holden and Subrahmanyam
1992, for several informed; M Markowitz 1952; L Kelly 1956, in Merton 1969 for several assets. Letters below refer to these.
Conservation and price-time priority have no formula: `envs.trading.ledger` and `envs.trading.book` keep them, tests hold them to a twin.
"""

from __future__ import annotations

from math import acosh, exp, log, sinh, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F8 = npt.NDArray[np.float64]


def reservation_price(mid: float, inventory: float, aversion: float, sigma: float, left: float) -> float:
    """Price at which a maker with `inventory` q is indifferent: s - q gamma sigma^2 (T - t) (A, 3.7)."""
    return mid - inventory * aversion * sigma**2 * left


def total_spread(aversion: float, sigma: float, decay: float, left: float) -> float:
    """Ask less bid of the inventory strategy: gamma sigma^2 (T - t) + (2/gamma) ln(1 + gamma/k), fills A exp(-k depth) (A, 3.9, 3.18)."""
    return aversion * sigma**2 * left + 2 / aversion * log(1 + aversion / decay)


def inventory_depths(inventory: npt.ArrayLike, aversion: float, sigma: float, decay: float, left: npt.ArrayLike) -> tuple[F8, F8]:
    """(bid, ask) distances from the mid of quotes around the reservation price; below 0 where the inventory presses (A)."""
    q, tau = np.asarray(inventory, np.float64), np.asarray(left, np.float64)
    half = (aversion * sigma**2 * tau + 2 / aversion * log(1 + aversion / decay)) / 2
    skew = q * aversion * sigma**2 * tau
    return half + skew, half - skew


class MakerLaw(NamedTuple):
    """A maker's market: orders of both kinds arrive at `rate` and fill a quote at depth d with chance exp(-decay d)."""

    rate: float
    decay: float
    running: float
    terminal: float
    limit: int


def maker_values(law: MakerLaw, left: float) -> F8:
    """h(t, q) for q = -Q .. Q, [2Q + 1]: expected rewards to come beyond cash + q S under optimal quotes (C, 10.11).

    Penalties are phi q^2 dt and alpha q_T^2. h = (1/k) ln w, w = exp(A (T - t)) z, A_qq = -phi k q^2, A beside the diagonal rate/e,
    z_q = exp(-alpha k q^2). The exponential is that of A with its diagonal raised to 0, squared again and again: all terms positive.
    """
    q = np.arange(-law.limit, law.limit + 1.0)
    beside, least = np.full(2 * law.limit, law.rate / exp(1)), law.running * law.decay * law.limit**2
    raised = np.diag(least - law.running * law.decay * q**2) + np.diag(beside, 1) + np.diag(beside, -1)
    halvings = max(0, int(np.ceil(np.log2(np.abs(raised).sum(1).max() * left + 1e-300))))
    term = power = np.eye(len(q))
    for i in range(1, 25):
        term = term @ raised * (left / 2**halvings / i)
        power = power + term
    scale = 0.0
    for _ in range(halvings):
        power = power @ power
        top = power.max()
        power, scale = power / top, 2 * scale + log(top)
    with np.errstate(divide="ignore"):  # beyond the smallest number: nothing is to be earned from there
        h = np.log(power @ np.exp(-law.terminal * law.decay * q**2)) + scale - least * left
    return np.asarray(h / law.decay)


def maker_depths(values: F8, decay: float) -> tuple[F8, F8]:
    """(bid, ask) depths 1/k - h(q +- 1) + h(q) for q = -Q .. Q; infinite where the limit forbids the trade (C, 10.12).

    Without penalties h does not depend on q and both are the risk-neutral 1/k.
    """
    step = values[1:] - values[:-1]
    bid, ask = np.full(len(values), np.inf), np.full(len(values), np.inf)
    bid[:-1], ask[1:] = 1 / decay - step, 1 / decay + step
    return bid, ask


class ExecutionLaw(NamedTuple):
    """A sale of `shares` in `steps` over `span`: volatility $/sqrt(time), fixed $/share, permanent gamma, temporary eta, aversion."""

    shares: float
    span: float
    steps: int
    sigma: float
    fixed: float
    permanent: float
    temporary: float
    aversion: float

    @property
    def tau(self) -> float:
        """Length of a step."""
        return self.span / self.steps

    @property
    def net_temporary(self) -> float:
        """eta~ = eta - gamma tau/2, what a discrete schedule pays (X, 8)."""
        return self.temporary - self.permanent * self.tau / 2


def urgency(law: ExecutionLaw) -> float:
    """kappa: 2 (cosh(kappa tau) - 1) = tau^2 lambda sigma^2 / eta~ (X, 19)."""
    return acosh(1 + law.tau**2 * law.aversion * law.sigma**2 / law.net_temporary / 2) / law.tau


def efficient_holdings(law: ExecutionLaw) -> F8:
    """Shares left at t_0 .. t_N, [N + 1]: X sinh(kappa (T - t_j)) / sinh(kappa T); evenly falling without aversion (X, 16)."""
    left = np.linspace(1.0, 0.0, law.steps + 1)
    if law.aversion == 0 or law.sigma == 0:
        return law.shares * left
    kappa = urgency(law)
    return np.array([law.shares * sinh(kappa * law.span * x) / sinh(kappa * law.span) for x in left])


def shortfall(holdings: F8, law: ExecutionLaw) -> tuple[float, float]:
    """(mean, variance) of the cost of holdings [N + 1]: gamma X^2/2 + eps sum|n| + eta~/tau sum n^2, sigma^2 tau sum x^2 (X, 4, 5)."""
    sold = -np.diff(holdings)
    mean = law.permanent * holdings[0] ** 2 / 2 + law.fixed * np.abs(sold).sum() + law.net_temporary / law.tau * (sold**2).sum()
    return float(mean), float(law.sigma**2 * law.tau * (holdings[1:] ** 2).sum())


def nash_rates(sold: npt.ArrayLike, permanent: float, temporary: float, span: float, t: npt.ArrayLike) -> F8:
    """Selling rates [n, K] at times t [K] of traders who must sell `sold` [n]: a exp(-c t) + b_i exp(k t) (V, result 1).

    k = gamma/lambda, c = (n-1)/(n+1) k, a = c/(1 - exp(-c T)) mean, b_i = k/(exp(k T) - 1) (sold_i - mean). A lone trader sells evenly.
    """
    amounts, times = np.asarray(sold, np.float64), np.asarray(t, np.float64)
    n, mean, k = len(amounts), float(amounts.mean()), permanent / temporary
    c = (n - 1) / (n + 1) * k
    a = c / (1 - exp(-c * span)) * mean if c > 0 else mean / span
    b = k / (exp(k * span) - 1) * (amounts - mean)
    return np.asarray(a * np.exp(-c * times) + b[:, None] * np.exp(k * times))


def liquidation_costs(rates: F8, permanent: float, temporary: float, span: float) -> F8:
    """Cost of each trader [n] at rates [n, K] in K even steps: gamma x all that was sold, half of the step's own, lambda x rate (V, 3)."""
    dt = span / rates.shape[1]
    total = rates.sum(0)
    before = np.cumsum(total) - total / 2
    return np.asarray((rates * (permanent * before * dt + temporary * total)).sum(1) * dt)


def nash_costs(sold: npt.ArrayLike, permanent: float, temporary: float, span: float, steps: int = 4_000) -> F8:
    """Costs [n] at the Nash rates, in the limit of many steps (V)."""
    middle = (np.arange(steps) + 0.5) * span / steps
    return liquidation_costs(nash_rates(sold, permanent, temporary, span, middle), permanent, temporary, span)


def discrete_nash(sold: npt.ArrayLike, permanent: float, temporary: float, span: float, steps: int) -> F8:
    """Rates [n, K] of the same game in K even steps: first-order conditions of all, a linear system."""
    amounts = np.asarray(sold, np.float64)
    n, dt = len(amounts), span / steps
    own = permanent * dt * (np.tril(np.ones((steps, steps)), -1) + np.eye(steps) / 2) + temporary * np.eye(steps)
    size = n * steps
    system, right = np.zeros((size + n, size + n)), np.zeros(size + n)
    system[:size, :size] = np.kron(np.ones((n, n)), own) + np.kron(np.eye(n), own.T)
    total = np.kron(np.eye(n), np.ones((steps, 1)))
    system[:size, size:], system[size:, :size], right[size:] = -total, dt * total.T, amounts
    return np.asarray(np.linalg.solve(system, right)[:size].reshape(n, steps))


def cooperative_cost(sold: npt.ArrayLike, permanent: float, temporary: float, span: float) -> float:
    """Least total cost of selling the sum evenly: X^2 (gamma/2 + lambda/T) (V)."""
    return float(np.sum(sold)) ** 2 * (permanent / 2 + temporary / span)


class KyleAnswer(NamedTuple):
    """Price a unit of flow, order a unit of (value - prior mean), profit of each informed."""

    impact: float
    intensity: float
    profit: float


def kyle(informed: int, value_sd: float, noise_sd: float) -> KyleAnswer:
    """One auction, M informed: lambda = sqrt(M) s0/((M+1) su), beta = su/(sqrt(M) s0), profit su s0/((M+1) sqrt(M)) (K for 1; H)."""
    root = sqrt(informed)
    impact = root * value_sd / ((informed + 1) * noise_sd)
    return KyleAnswer(impact, noise_sd / (root * value_sd), noise_sd * value_sd / ((informed + 1) * root))


class KylePeriods(NamedTuple):
    """N auctions: variance left at the end, impacts [N], intensities [N] an auction, the insider's expected profit."""

    left: float
    impact: F8
    intensity: F8
    profit: float


def kyle_periods(auctions: int, variance: float, noise_variance: float, span: float = 1.0) -> KylePeriods:
    """One insider in N auctions over `span`, noise of `noise_variance` a unit of time: K, theorem 2, found by bisection on what is left.

    Backwards from Sigma_N: lambda solves (1 - lambda^2 su dt/Sigma)(1 - alpha lambda) = 1/2, beta = lambda su/Sigma a unit of time,
    Sigma' = Sigma/(1 - beta lambda dt), alpha' = 1/(4 lambda (1 - alpha lambda)), delta' = delta + alpha lambda^2 su dt.
    """
    dt = span / auctions
    low, high = 1e-12 * variance, variance
    before = (0.0, 0.0)
    while (low, high) != before:  # to the last bit, after some sixty halvings
        before, middle = (low, high), sqrt(low * high)
        if _backward(middle, auctions, noise_variance, dt)[0] > variance:
            high = middle
        else:
            low = middle
    _, impact, intensity, profit = _backward(low, auctions, noise_variance, dt)
    return KylePeriods(low, impact, intensity * dt, profit)


def _backward(left: float, auctions: int, noise: float, dt: float) -> tuple[float, F8, F8, float]:
    """(prior variance, impacts [N], intensities a unit of time [N], profit) that lead to the variance `left`."""
    alpha, delta, variance = 0.0, 0.0, left
    impact, intensity = np.zeros(auctions), np.zeros(auctions)
    for n in range(auctions - 1, -1, -1):
        slope = _slope(alpha * noise * dt / variance, -noise * dt / variance, alpha)
        impact[n], intensity[n] = slope, slope * noise / variance
        delta += alpha * slope**2 * noise * dt
        variance /= 1 - float(intensity[n]) * slope * dt
        alpha = 1 / (4 * slope * (1 - alpha * slope))
    return variance, impact, intensity, alpha * variance + delta


def _slope(cubic: float, square: float, alpha: float) -> float:
    """The least x > 0 with cubic x^3 + square x^2 - alpha x + 1/2 = 0 and alpha x < 1: eigenvalues of the companion matrix.

    `numpy.roots` does the same, and takes six times as long to prepare it.
    """
    lead, rest = (cubic, [square, -alpha, 0.5]) if cubic else (square, [-alpha, 0.5])
    companion = np.zeros((len(rest), len(rest)))
    for i, coefficient in enumerate(rest):
        companion[0, i] = -coefficient / lead
        if i:
            companion[i, i - 1] = 1.0
    roots = np.linalg.eigvals(companion).tolist()
    return min(r.real for r in roots if abs(r.imag) < 1e-9 and r.real > 0 and 1 - alpha * r.real > 0)


def markowitz_weights(drift: npt.ArrayLike, covariance: npt.ArrayLike, aversion: float) -> F8:
    """Shares of wealth [M] with the largest w'mu - a/2 w'Sigma w above cash: Sigma^-1 mu / a (M)."""
    return np.asarray(np.linalg.solve(np.asarray(covariance, np.float64), np.asarray(drift, np.float64)) / aversion)


def kelly_weights(drift: npt.ArrayLike, covariance: npt.ArrayLike) -> F8:
    """Shares of wealth [M] with the fastest growth of its logarithm, rebalanced all the time: Sigma^-1 mu, aversion 1 (L)."""
    return markowitz_weights(drift, covariance, 1.0)


def growth(weights: npt.ArrayLike, drift: npt.ArrayLike, covariance: npt.ArrayLike) -> float:
    """Expected growth of log wealth a unit of time at constant weights: w'mu - w'Sigma w / 2 (L)."""
    w = np.asarray(weights, np.float64)
    return float(w @ np.asarray(drift) - w @ np.asarray(covariance) @ w / 2)
