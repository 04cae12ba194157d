"""Closed forms of the auction at figures computed independently, and against the definitions they come from."""

from __future__ import annotations

import numpy as np
import pytest

from envs.auction import theory

near = pytest.approx


@pytest.mark.parametrize(("n", "revenue", "surplus"), [(2, 0.3333, 0.1667), (3, 0.5, 0.0833), (5, 0.6667, 0.0333), (10, 0.8182, 0.00909)])
def test_symmetric(n: int, revenue: float, surplus: float) -> None:
    assert theory.revenue(n) == near(revenue, abs=5e-5) == near((n - 1) / (n + 1), abs=5e-5)
    assert theory.surplus(n) == near(surplus, abs=5e-5)
    assert theory.welfare(n) == near(n / (n + 1))
    assert n * theory.surplus(n) + theory.revenue(n) == near(theory.welfare(n))


@pytest.mark.parametrize(("a", "utility"), [(0.5, 0.1250), (0.8, 0.1600), (1, 0.1667), (1.2, 35 / 216), (1.5, 4 / 27), (2, 0.125)])
def test_second_price_misbid(a: float, utility: float) -> None:
    assert theory.second_price_utility(a) == near(utility, abs=6e-5)


def test_second_price_misbid_of_more_bidders_by_quadrature() -> None:
    v = theory.UNIT
    for n, a in ((3, 0.7), (4, 1.4), (5, 1.0), (2, 3.0)):
        m = np.minimum(a * v, 1)
        assert theory.second_price_utility(a, n) == near(float(np.mean(v * m ** (n - 1) - (n - 1) / n * m**n)), abs=1e-8)
    assert theory.second_price_utility(1.0, 5) == near(theory.surplus(5))
    assert theory.second_price_utility(0.0) == 0


@pytest.mark.parametrize(
    ("n", "a", "gap"),
    [(2, 1, 0.08333), (2, 0.75, 0.02778), (2, 0.5, 0), (3, 1, 0.03704), (3, 0.8, 0.00787), (5, 1, 0.01365), (5, 0.9, 0.00414)],
)
def test_first_price_exploitability(n: int, a: float, gap: float) -> None:
    assert theory.first_price_exploitability(n, a) == near(gap, abs=6e-6)


@pytest.mark.parametrize(("n", "a"), [(2, 0.75), (2, 0.3), (3, 0.5), (5, 0.9), (4, 0.2)])
def test_first_price_exploitability_by_search(n: int, a: float) -> None:
    values, bids = np.linspace(0, 1, 801)[1:], np.linspace(0, 1, 2001)
    best = np.max((values[:, None] - bids) * np.minimum(bids / a, 1) ** (n - 1), axis=1).mean()
    assert theory.first_price_exploitability(n, a) == near(best - (1 - a) / (n + 1), abs=1e-3)


@pytest.mark.parametrize(("n", "r", "revenue"), [(2, 0.25, 0.375), (2, 0.5, 0.41667), (3, 0.5, 0.53125), (5, 0.5, 0.67188)])
def test_reserve(n: int, r: float, revenue: float) -> None:
    assert theory.revenue(n, r) == near(revenue, abs=6e-6)
    assert theory.sale_probability(n, r) == near(1 - r**n)
    v = theory.UNIT
    paid = np.mean(theory.first_price_bid(n, v, r) * n * v ** (n - 1))
    assert theory.revenue(n, r) == near(float(paid), abs=1e-5)
    grid = np.linspace(0, 1, 101)
    assert grid[np.argmax([theory.revenue(n, x) for x in grid])] == near(0.5)


@pytest.mark.parametrize(("n", "r"), [(2, 0.0), (3, 0.1), (2, 0.25)])
def test_all_pay_bid_is_a_best_response(n: int, r: float) -> None:
    v = theory.UNIT[::400]
    bids = theory.all_pay_bid(n, v, r)
    payoff = v[:, None] * (v ** (n - 1)) - bids  # value i with the bid of value j; no bid wins only where none reaches the reserve
    payoff[:, bids == 0] = 0.0
    assert np.all(payoff.max(axis=1) <= np.diag(payoff) + 1e-5)
    paid = n * float(np.mean(theory.all_pay_bid(n, theory.UNIT, r)))
    assert paid == near(theory.revenue(n, theory.all_pay_reserve(n, r)), abs=1e-5)
    assert theory.all_pay_bid(n, 1.0) == near((n - 1) / n)


def test_asymmetric_first_price() -> None:
    found = theory.asymmetric_first_price(1, 2)
    figures = {"revenue": 0.4590, "win_rate_0": 1 / 3, "surplus_0": 0.0969, "surplus_1": 0.5069, "efficiency": 0.9811}
    for name, figure in figures.items():
        assert found[name] == near(figure, abs=6e-5), name
    top = theory.asymmetric_top(1, 2)
    b = top * theory.UNIT
    both_below = theory._inverse(1, 2, b) * theory._inverse(2, 1, b) / 2
    assert found["revenue"] == near(top * float(np.mean(1 - both_below)), abs=1e-8)  # mean of the higher bid by its law
    assert top == near(2 / 3) == near(float(theory.asymmetric_bid(1, 2, 1))) == near(float(theory.asymmetric_bid(2, 1, 2)))
    assert theory.asymmetric_bid(1, 2, 0.5) == near(0.26297, abs=5e-6)
    assert theory.asymmetric_bid(2, 1, 1.0) == near(0.43050, abs=5e-6)
    assert theory.asymmetric_second_price_revenue(1, 2) == near(5 / 12) == near(theory.asymmetric_second_price_revenue(2, 1))
    assert theory.asymmetric_welfare(1, 2) == near(1.5 - 5 / 12)


def test_asymmetric_with_equal_widths_is_symmetric() -> None:
    found = theory.asymmetric_first_price(1, 1)
    assert found["revenue"] == near(theory.revenue(2), abs=1e-8)
    assert found["surplus_0"] == near(theory.surplus(2), abs=1e-8) == near(found["surplus_1"], abs=1e-8)
    assert theory.asymmetric_bid(1, 1, 0.6) == near(0.3)


@pytest.mark.parametrize(("w", "rival"), [(1, 2), (2, 1), (1, 5)])
def test_asymmetric_bid_is_a_best_response(w: float, rival: float) -> None:
    values = np.linspace(0, w, 41)[1:]
    bids = np.linspace(0, theory.asymmetric_top(w, rival), 4001)
    wins = theory._inverse(rival, w, bids) / rival
    best = ((values[:, None] - bids) * wins).max(axis=1)
    own = theory.asymmetric_bid(w, rival, values)
    assert (values - own) * theory._inverse(rival, w, own) / rival == near(best, abs=1e-6)


@pytest.mark.parametrize(("rho", "multiplier", "utility"), [(1 / 24, 0.5, 0.125), (1 / 54, 0.3333, 0.0926), (0.1, 0.7746, 0.1582)])
def test_pacing(rho: float, multiplier: float, utility: float) -> None:
    found = theory.pacing_multiplier(rho)
    assert found == near(multiplier, abs=5e-5)
    assert theory.pacing_utility(found) == near(utility, abs=5e-5)
    assert theory.pacing_spend(found) == near(rho)
    assert theory.pacing_multiplier(1.0) == 1


@pytest.mark.parametrize(("n", "rho", "mu"), [(4, 0.075, 1), (2, 1 / 12, 1), (10, 0.03, 1.7273)])
def test_symmetric_pacing(n: int, rho: float, mu: float) -> None:
    assert 1 / theory.symmetric_pacing_multiplier(n, rho) - 1 == near(mu, abs=5e-5)
    assert theory.symmetric_pacing_multiplier(n, 1.0) == 1
