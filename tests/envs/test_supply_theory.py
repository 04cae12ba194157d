"""Inventory theory: the figures of the literature, and each algorithm against a second way to the same number."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from envs.supply_chain import theory

SERIAL = ((7.0, 4.0, 2.0), (1, 1, 2), 37.12, 5.0, 1.0)
"""Snyder and Shen 2019, example 6.1, downstream first."""


def test_newsvendors() -> None:
    level, cost = theory.newsvendor(0.18, 0.70, 50, 8)
    assert level == pytest.approx(56.60395592743389, abs=1e-9) and cost == pytest.approx(1.9976051931766445, abs=1e-9)
    whole = theory.poisson_newsvendor(1, 4, 20)
    assert whole.level == 24 and whole.cost == pytest.approx(6.438003702, abs=1e-8)
    costs = theory.mismatch(1, 4, theory.poisson_law(20), np.arange(60))
    assert costs.argmin() == whole.level and costs.min() == pytest.approx(whole.cost)


def test_base_stock_and_order_quantity() -> None:
    level, cost = theory.base_stock(1, 9, 5, 1, 4)
    assert level == pytest.approx(27.8656, abs=1e-4) and cost == pytest.approx(3.92426, abs=1e-5)
    assert theory.eoq(8, 0.225, 1300) == pytest.approx(304.04678, abs=1e-4)


def test_reorder_point_and_level() -> None:
    best = theory.reorder(1, 4, 5, 6)
    assert (best.point, best.upto) == (4, 10) and best.cost == pytest.approx(8.034111561, abs=1e-8)
    law = theory.poisson_law(6)
    every = {(s, u): theory.reorder_cost(1, 4, 5, law, s, u) for s, u in product(range(-4, 12), range(5, 22)) if s < u}
    assert min(every, key=lambda k: every[k]) == (4, 10)
    assert theory.reorder_cost(1, 4, 5, law, 4, 10) == pytest.approx(stationary(law, 4, 10), abs=1e-9)


def stationary(law: np.ndarray, point: int, upto: int) -> float:
    """Cost of (s, S) by the stationary law of the level after ordering."""
    levels = np.arange(point + 1, upto + 1)
    move = np.zeros((len(levels), len(levels)))
    for i, y in enumerate(levels):
        for d, chance in enumerate(law):
            move[i, (upto if y - d <= point else y - d) - point - 1] += chance
    law_of = np.linalg.matrix_power(move, 400)[0]
    ordering = 5 * sum(law_of[i] * law[max(0, y - point) :].sum() for i, y in enumerate(levels))
    return float(law_of @ theory.mismatch(1, 4, law, levels) + ordering)


def test_clark_and_scarf() -> None:
    found = theory.clark_scarf(*SERIAL)
    assert found.echelon == pytest.approx((6.484, 12.028, 22.72), abs=0.02)
    assert found.local == pytest.approx((6.484, 5.544, 10.692), abs=0.02)
    assert found.cost == pytest.approx(47.665, abs=0.01)
    assert theory.shang_song(*SERIAL) == pytest.approx((6.491, 12.027, 22.634), abs=1e-3)


def test_one_stage_is_the_newsvendor() -> None:
    one = theory.clark_scarf((1.0,), (4,), 9.0, 5.0, 1.0)
    exact = theory.newsvendor(1, 9, 20, 2)
    assert one.echelon[0] == pytest.approx(exact.level, abs=0.02) and one.cost == pytest.approx(exact.cost, abs=1e-3)
    assert theory.shang_song((1.0,), (4,), 9.0, 5.0, 1.0)[0] == pytest.approx(exact.level)


def test_lost_sales() -> None:
    """Zipkin 2008, table 2, Poisson 5, h = 1, p = 4: 4.04 and 4.40."""
    assert theory.lost_sales(1, 4, 5, 1)[0] == pytest.approx(4.0407, abs=1e-4)
    cost, orders = theory.lost_sales(1, 4, 5, 2)
    assert cost == pytest.approx(4.3953, abs=1e-4)
    assert (np.diff(orders, axis=0) <= 0).all() and (np.diff(orders, axis=1) <= 0).all()  # orders fall with all that is there


def test_lost_sales_that_wait_for_nothing_are_newsvendors() -> None:
    """With next to no demand left over a tick, the base stock's cost bounds the optimum from above."""
    law = theory.poisson_law(5)
    assert theory.lost_sales(1, 4, 5, 1)[0] > theory.discrete_newsvendor(1, 4, law).cost
    assert theory.lost_sales(1, 4, 5, 2)[0] > theory.lost_sales(1, 4, 5, 1)[0]


@pytest.mark.parametrize(
    ("cover", "window", "correlation", "ratio"),
    [(1, 5, 0, 1.48), (2, 5, 0, 2.12), (3, 5, 0, 2.92), (3, 10, 0, 1.78), (3, 10, 0.5, 1.7792), (5, 20, 0.8, 1.6178)],
)
def test_bullwhip(cover: int, window: int, correlation: float, ratio: float) -> None:
    assert theory.bullwhip(cover, window, correlation) == pytest.approx(ratio, abs=5e-5)


def test_rationing_inflates_orders_and_is_the_newsvendor_without_scarcity() -> None:
    plenty = theory.Rationing(3, 10, 2, 1, 4, 200, 300)
    assert plenty.equilibrium() == pytest.approx(theory.newsvendor(1, 4, 10, 2).level, abs=0.02)
    scarce = theory.Rationing(3, 10, 2, 1, 4, 24, 60)
    order = scarce.equilibrium()
    assert order > theory.newsvendor(1, 4, 10, 2).level + 0.5
    own = np.linspace(0.5 * order, 2 * order, 301)
    assert scarce.cost(own, 2 * order).min() >= scarce.cost(np.array([order]), 2 * order)[0] - 1e-4
    two = theory.Rationing(2, 10, 2, 1, 4, 16, 40)
    assert order > two.equilibrium()  # the more rivals, the less of the scarcity is one's own
