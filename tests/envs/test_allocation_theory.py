"""Closed forms of shared capacity against figures of the literature and against independent computation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from envs.resource_allocation import theory

FISHERY = {"growth": 0.4, "capacity": 100.0, "catchability": 0.01, "price": 10.0, "cost": 2.0}


def best(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one peak is highest, by golden section."""
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(200):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (a, high) if f(a) < f(b) else (low, b)
    return (low + high) / 2


def test_jain() -> None:
    assert theory.jain([1, 2, 3, 4]) == pytest.approx(0.8333, abs=5e-5)
    assert theory.jain([1] + [0] * 9) == pytest.approx(0.1)
    assert theory.jain([3, 3, 3]) == 1.0
    assert theory.jain([0, 0]) == 1.0


@pytest.mark.parametrize(("alpha", "share"), [(0.5, 0.2), (1, 0.3333), (2, 0.4142), (5, 0.4654), (20, 0.4913)])
def test_alpha_fairness_on_two_links(alpha: float, share: float) -> None:
    found = theory.alpha_fair_line(alpha)
    assert found == pytest.approx(share, abs=5e-5)

    def welfare(x: float) -> float:
        u: Any = np.log if alpha == 1 else lambda y: y ** (1 - alpha) / (1 - alpha)
        return float(u(x) + 2 * u(1 - x))

    assert best(welfare, 0.05, 0.95) == pytest.approx(found, abs=1e-6)


def test_dominant_resource_fairness_of_the_paper() -> None:
    tasks = theory.drf_shares([[1, 4], [3, 1]], [9, 18])
    assert tasks == pytest.approx([3, 2])
    assert (tasks[:, None] * [[1, 4], [3, 1]] / [9, 18]).max(axis=1) == pytest.approx([2 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("servers", "load", "waits", "wait"),
    [(1, 0.8, 0.8, 4), (2, 1.6, 0.71111, 1.77778), (4, 3.2, 0.59643, 0.74554), (10, 8, 0.40918, 0.20459),
     (100, 80, 0.01965, 0.00098), (100, 95, 0.50646, 0.10129)],
)  # fmt: skip
def test_erlang_c(servers: int, load: float, waits: float, wait: float) -> None:
    assert theory.erlang_c(servers, load) == pytest.approx(waits, abs=5e-6)
    assert theory.mmc_wait(servers, load) == pytest.approx(wait, abs=5e-6)
    levels = np.arange(1, 12_000)
    weight = np.exp(np.concatenate([[0.0], np.cumsum(np.log(load) - np.log(np.minimum(levels, servers)))]))
    stationary = weight / weight.sum()
    assert stationary[servers:].sum() == pytest.approx(waits, abs=5e-6)
    mean = float((np.maximum(np.arange(12_000) - servers, 0) * stationary).sum())
    assert theory.mmc_queue(servers, load) == pytest.approx(mean, rel=1e-6)
    assert mean / load == pytest.approx(theory.mmc_wait(servers, load), rel=1e-6)  # Little's law


@pytest.mark.parametrize(("n", "ratio"), [(1, 1), (2, 0.8889), (5, 0.5556), (10, 0.3306), (50, 0.0769), (100, 0.0392)])
def test_commons(n: int, ratio: float) -> None:
    each = theory.nash_effort(n, **FISHERY)
    response = best(lambda e: theory.rent(e, (n - 1) * each, **FISHERY), 0.0, 4 * each)
    assert response == pytest.approx(each, rel=1e-6)
    assert theory.commons_response((n - 1) * each, **FISHERY) == pytest.approx(each)
    total, owner = theory.rent(n * each, 0.0, **FISHERY), theory.optimal_effort(**FISHERY)
    assert best(lambda e: theory.rent(e, 0.0, **FISHERY), 0.0, 40.0) == pytest.approx(owner, rel=1e-6)
    assert total / theory.rent(owner, 0.0, **FISHERY) == pytest.approx(theory.nash_rent_ratio(n)) == pytest.approx(ratio, abs=5e-5)


def test_commons_yield_and_stock() -> None:
    x = np.linspace(0, 100, 10_001)
    grown = 0.4 * x * (1 - x / 100)
    assert theory.sustainable_yield(0.4, 100) == pytest.approx(grown.max()) == pytest.approx(10.0)
    assert x[grown.argmax()] == 50.0
    stock = 100.0
    for _ in range(2_000):
        stock += 0.4 * stock * (1 - stock / 100) - 0.01 * 15.0 * stock
    assert theory.stock_under(15.0, 0.4, 100.0, 0.01) == pytest.approx(stock)
    assert theory.stock_under(41.0, 0.4, 100.0, 0.01) == 0.0
    assert theory.nash_effort(3, **{**FISHERY, "cost": 11.0}) == 0.0


@pytest.mark.parametrize("n", [2, 5, 10, 100])
def test_bids_for_shares(n: int) -> None:
    bid = theory.kelly_bid(n, 3.0)
    others = (n - 1) * bid
    assert best(lambda b: 3 * b / (b + others) - b, 0.0, 3.0) == pytest.approx(bid, rel=1e-5)
    assert theory.kelly_response(others, 3.0) == pytest.approx(bid)
    assert 3 / n - bid == pytest.approx(theory.kelly_payoff(n, 3.0))
    assert theory.kelly_response(4.0, 3.0) == 0.0


def test_efficiency_of_bids_for_shares() -> None:
    """The Nash bids of one user of value x and m of value slope x, found by best responses, and the worst of them."""
    many = 10_000
    for others, slope in product((1, 3, 20), (0.3, 0.5, 0.9)):
        first, each = 0.25, 0.1
        for _ in range(5_000):
            first += 0.2 * (theory.kelly_response(others * each, 1.0) - first)
            each += 0.02 * (theory.kelly_response(first + (others - 1) * each, slope) - each)
        share = first / (first + others * each)
        assert share + slope * (1 - share) == pytest.approx(theory.kelly_efficiency(others, slope), abs=1e-4)
    slopes = np.linspace(0.01, 1, 1_000)
    found = [theory.kelly_efficiency(many, slope) for slope in slopes]
    assert min(found) == pytest.approx(theory.WORST_KELLY, abs=1e-4)
    assert slopes[int(np.argmin(found))] == pytest.approx(0.5, abs=2e-3)


def test_prices_of_anarchy() -> None:
    x = np.linspace(0, 1, 100_001)
    for degree in (1.0, 2.0, 4.0):
        assert theory.pigou_anarchy(degree) == pytest.approx(1 / (x ** (degree + 1) + (1 - x)).min(), rel=1e-6)
    assert theory.pigou_anarchy() == pytest.approx(4 / 3)
    for shortcut in (False, True):
        assert theory.braess_delay(shortcut) == pytest.approx(selfish_delay(shortcut), abs=1e-6)


def selfish_delay(shortcut: bool) -> float:
    """Delay where no traveller gains by another route, by small moves from the slowest used to the fastest route."""
    routes = [("a", 1.0), ("b", 1.0)] + ([("ab", 0.0)] if shortcut else [])  # variable roads used, fixed delay
    flow = np.full(len(routes), 1 / len(routes))
    for _ in range(200_000):
        load = {road: sum(f for f, (used, _) in zip(flow, routes) if road in used) for road in "ab"}
        delay = np.array([fixed + sum(load[road] for road in used) for used, fixed in routes])
        slow, fast = int(np.where(flow > 0, delay, -1).argmax()), int(delay.argmin())
        if delay[slow] - delay[fast] < 1e-7:
            return float(delay[fast])
        moved = min(flow[slow], 0.1 * (delay[slow] - delay[fast]))
        flow[slow] -= moved
        flow[fast] += moved
    raise AssertionError("the travellers do not settle")
