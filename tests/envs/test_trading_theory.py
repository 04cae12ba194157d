"""Closed forms of trading against figures of the literature and against independent computation."""

from __future__ import annotations

import numpy as np
import pytest

from envs.trading import theory
from envs.trading.kyle import KyleParams, known
from envs.trading.theory import ExecutionLaw, MakerLaw

PAPER = ExecutionLaw(1e6, 5.0, 5, 0.95, 0.0625, 2.5e-7, 2.5e-6, 1e-6)


def test_inventory_quotes() -> None:
    assert theory.total_spread(0.1, 2.0, 1.5, 0.0) == pytest.approx(1.2908, abs=5e-5)
    assert theory.total_spread(0.1, 2.0, 1.5, 1.0) == pytest.approx(1.6908, abs=5e-5)
    mean = np.mean([theory.total_spread(0.1, 2.0, 1.5, 1 - t) for t in np.arange(200) / 200])
    assert mean == pytest.approx(1.4918, abs=5e-5)
    bid, ask = theory.inventory_depths(3, 0.1, 2.0, 1.5, 0.5)
    middle = 100 + (float(ask) - float(bid)) / 2
    assert middle == pytest.approx(theory.reservation_price(100, 3, 0.1, 2.0, 0.5))
    assert bid + ask == pytest.approx(theory.total_spread(0.1, 2.0, 1.5, 0.5))
    neutral = theory.inventory_depths(0, 1e-8, 2.0, 1.5, 1.0)
    assert neutral[0] == pytest.approx(1 / 1.5, rel=1e-6)


@pytest.mark.parametrize("law", [MakerLaw(10.0, 1.5, 0.02, 0.01, 6), MakerLaw(50.0, 100.0, 1e-5, 1e-3, 10)])
def test_maker_values_solve_their_equation(law: MakerLaw) -> None:
    """dh/dt = phi q^2 - rate/(k e) sum over both sides of exp(k (h(q +- 1) - h(q))), h(T) = -alpha q^2, by small steps backwards."""
    q = np.arange(-law.limit, law.limit + 1.0)
    h, steps = -law.terminal * q**2, 40_000
    for _ in range(steps):
        up, down = np.exp(law.decay * np.diff(h)), np.exp(-law.decay * np.diff(h))
        gain = np.append(up, 0.0) + np.insert(down, 0, 0.0)
        h = h + (-law.running * q**2 + law.rate / (law.decay * np.e) * gain) / steps
    assert theory.maker_values(law, 1.0) == pytest.approx(h, rel=2e-3, abs=1e-6)
    bid, ask = theory.maker_depths(theory.maker_values(law, 1.0), law.decay)
    assert bid[:-1] == pytest.approx(ask[1:][::-1]) and np.isinf(bid[-1]) and np.isinf(ask[0])
    assert (np.diff(bid[:-1]) > 0).all()


def test_a_maker_without_penalties_quotes_one_over_k() -> None:
    bid, ask = theory.maker_depths(theory.maker_values(MakerLaw(10.0, 1.5, 0.0, 0.0, 60), 1.0), 1.5)
    assert (bid[60], ask[60]) == (pytest.approx(1 / 1.5), pytest.approx(1 / 1.5))


def test_the_schedule_of_the_paper() -> None:
    x = theory.efficient_holdings(PAPER)
    assert x / 1e6 == pytest.approx([1, 0.5420, 0.2899, 0.1479, 0.0621, 0], abs=5e-5)
    mean, variance = theory.shortfall(x, PAPER)
    assert (mean, variance**0.5) == (pytest.approx(911_227, abs=1), pytest.approx(603_431, abs=1))
    assert mean + 1e-6 * variance == pytest.approx(1.27536e6, abs=5)
    even = theory.shortfall(np.linspace(1e6, 0, 6), PAPER)
    assert (even[0], even[1] ** 0.5, even[0] + 1e-6 * even[1]) == (
        pytest.approx(662_500),
        pytest.approx(1_040_673, abs=1),
        pytest.approx(1.74550e6, abs=5),
    )
    assert theory.shortfall(np.array([1e6, 0, 0, 0, 0, 0]), PAPER)[0] == pytest.approx(2_562_500)


@pytest.mark.parametrize("aversion", [0.0, 1e-7, 1e-6, 1e-5])
def test_no_schedule_is_better(aversion: float) -> None:
    """The inner holdings solve the first-order conditions of E + lambda V, a tridiagonal system."""
    law = PAPER._replace(aversion=aversion)
    pull = law.net_temporary / law.tau
    system = np.diag(np.full(4, 2 * pull + aversion * law.sigma**2 * law.tau)) - pull * (np.eye(4, k=1) + np.eye(4, k=-1))
    best = np.linalg.solve(system, [pull * law.shares, 0, 0, 0])
    assert theory.efficient_holdings(law)[1:-1] == pytest.approx(best)


@pytest.mark.parametrize(
    ("sold", "costs", "total"),
    [
        ([1.0], [1.0], 1.0),
        ([1.0, 0.0], [1.0874, -0.0691], 1.0184),
        ([0.5, 0.5], [0.5092, 0.5092], 1.0184),
        ([1.0, 0, 0, 0, 0], [1.1396], None),
        ([0.1] * 10, [0.11069], 1.1069),
    ],
)
def test_liquidation_games(sold: list[float], costs: list[float], total: float | None) -> None:
    found = theory.nash_costs(sold, 1.0, 0.5, 1.0)
    assert found[: len(costs)] == pytest.approx(costs, abs=6e-5)
    assert total is None or found.sum() == pytest.approx(total, abs=5e-5)
    assert theory.cooperative_cost(sold, 1.0, 0.5, 1.0) == 1.0
    rates = theory.discrete_nash(sold, 1.0, 0.5, 1.0, 200)
    closed = theory.nash_rates(sold, 1.0, 0.5, 1.0, (np.arange(200) + 0.5) / 200)
    assert np.abs(rates - closed).max() < 0.01 * np.abs(closed).max()
    assert theory.liquidation_costs(rates, 1.0, 0.5, 1.0) == pytest.approx(found, abs=2e-3)


def test_nobody_gains_by_another_schedule() -> None:
    generator = np.random.default_rng(0)
    rates = theory.discrete_nash([0.7, 0.3], 1.0, 0.5, 1.0, 20)
    before = theory.liquidation_costs(rates, 1.0, 0.5, 1.0)
    for trader in (0, 1):
        for _ in range(50):
            other = rates.copy()
            change = generator.normal(size=20)
            other[trader] += 0.1 * (change - change.mean())
            assert theory.liquidation_costs(other, 1.0, 0.5, 1.0)[trader] > before[trader]


KYLE = {
    1: (0.3333, 1.5, 3),
    2: (0.3143, 1.0607, 1.4142),
    5: (0.2485, 0.6708, 0.4472),
    10: (0.1917, 0.4743, 0.1725),
    100: (0.066, 0.15, 0.006),
}


@pytest.mark.parametrize("informed", KYLE)
def test_kyle(informed: int) -> None:
    impact, intensity, profit = theory.kyle(informed, 2.0, 3.0)
    assert (impact, intensity, profit) == pytest.approx(KYLE[informed], abs=6e-5)
    slope = informed * intensity * 4.0 / ((informed * intensity) ** 2 * 4.0 + 9.0)  # of the value on the flow
    assert slope == pytest.approx(impact)
    response = (1 - impact * (informed - 1) * intensity) / (2 * impact)  # of one informed to the others
    assert response == pytest.approx(intensity)
    assert intensity * (1 - impact * informed * intensity) * 4.0 == pytest.approx(profit)


@pytest.mark.parametrize(
    ("auctions", "left", "first", "profit"),
    [
        (1, 0.5, 0.5, 0.501),
        (2, 0.346, 0.6529, 0.619),
        (4, 0.2206, 0.7648, 0.727),
        (20, 0.0612, 0.9152, 0.905),
        (100, 0.0138, 0.9745, 0.972),
    ],
)
def test_kyle_in_periods(auctions: int, left: float, first: float, profit: float) -> None:
    found = theory.kyle_periods(auctions, 1.0, 1.0)
    assert found.left == pytest.approx(left, abs=6e-5)
    assert found.impact[0] == pytest.approx(first, abs=6e-5)
    variance, gained = 1.0, 0.0
    for impact, intensity in zip(found.impact, found.intensity):
        assert impact == pytest.approx(intensity * variance / (intensity**2 * variance + 1 / auctions), rel=1e-6)  # regression
        gained += intensity * (1 - impact * intensity) * variance
        variance *= 1 - impact * intensity
    assert gained == pytest.approx(found.profit, rel=1e-6)
    assert found.profit == pytest.approx(profit, abs=7e-3)  # the figure is of a simulation of 200,000 runs, standard error .0023


def test_kyle_in_periods_as_numpy_finds_the_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bit of the answer is that of `numpy.roots` and 200 halvings."""

    def slow(cubic: float, square: float, alpha: float) -> float:
        roots = np.roots([cubic, square, -alpha, 0.5])
        return float(roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0) & (1 - alpha * roots.real > 0)].min())

    settings = [(2, 1.0, 1.0), (7, 4.0, 9.0), (9, 1e-6, 1e6), (5, 1e6, 1e-6)]
    fast = [theory.kyle_periods(*setting) for setting in settings]
    monkeypatch.setattr(theory, "_slope", slow)
    for quick, setting in zip(fast, settings):
        auctions, variance, noise = setting
        dt, low, high = 1.0 / auctions, 1e-12 * variance, variance
        for _ in range(200):
            middle = np.sqrt(low * high)
            above = theory._backward(middle, auctions, noise, dt)[0] > variance
            low, high = (low, middle) if above else (middle, high)
        _, impact, intensity, profit = theory._backward(low, auctions, noise, dt)
        assert (quick.left, quick.profit) == (low, profit)
        np.testing.assert_array_equal(quick.impact, impact)
        np.testing.assert_array_equal(quick.intensity, intensity * dt)


def test_the_most_auctions_of_a_round_take_no_longer_than_they_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a process, and no halving after the last bit is found; impact in continuous time is constant, s0 / su."""
    calls, backward = [], theory._backward
    monkeypatch.setattr(theory, "_backward", lambda *given: calls.append(1) or backward(*given))
    params = KyleParams(auctions=1_000, value_sd=2.0, noise_sd=3.0)
    impact = params.tables()["equilibrium_impact"]
    assert impact[500] == pytest.approx(2.0 / 3.0, rel=0.01)
    assert 40 < len(calls) < 75
    assert params.answer[0] is impact and known(params)["left"] < 0.01


def test_portfolios() -> None:
    drift, covariance = np.array([0.08, 0.05]), np.array([[0.04, 0.01], [0.01, 0.02]])
    kelly = theory.kelly_weights(drift, covariance)
    top = theory.growth(kelly, drift, covariance)
    assert top == pytest.approx(drift @ np.linalg.inv(covariance) @ drift / 2)
    for change in ([0.1, 0], [-0.1, 0], [0, 0.1], [0, -0.1]):
        assert theory.growth(kelly + change, drift, covariance) < top
    assert theory.markowitz_weights(drift, covariance, 4.0) == pytest.approx(kelly / 4)
