"""Attribution and delays: the page's known answers, and what always holds of credit."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.auction import attribution, theory
from envs.auction.params import ATTRIBUTIONS


def credit(kind: str, age: Any, half_life: float = 7.0) -> Any:
    out = np.zeros(len(age))
    attribution.weights(ATTRIBUTIONS.index(kind), len(age), np.asarray(age, np.float64), half_life, out)
    return out


def shapley(worth: Any, n: int) -> list[float]:
    return [attribution.shapley_value(np.asarray(worth, np.float64), 2**n - 1, i) for i in range(n)]


def by_orders(worth: Any, n: int) -> Any:
    """Shapley values by their definition: what each adds, averaged over all orders."""
    found = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        there = 0
        for i in order:
            found[i] += worth[there | 1 << i] - worth[there]
            there |= 1 << i
    return found / len(orders)


def test_credit_of_the_page() -> None:
    assert credit("time_decay", [14.0, 7.0, 0.0]) == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert credit("position", [3.0, 2.0, 1.0]) == pytest.approx([0.4, 0.2, 0.4])
    assert credit("position", [3.0, 2.0, 1.0, 0.0]) == pytest.approx([0.4, 0.1, 0.1, 0.4])
    assert credit("last", [3.0, 2.0]) == pytest.approx([0, 1])
    assert credit("linear", [3.0, 2.0]) == pytest.approx([0.5, 0.5])
    assert len(credit("linear", [])) == 0
    assert shapley([0, 0.1, 0.2, 0.5], 2) == pytest.approx([0.2, 0.3])
    p = [0.1, 0.2, 0.3]
    noisy_or = [1 - np.prod([1 - p[i] for i in range(3) if s >> i & 1]) for s in range(8)]
    assert shapley(noisy_or, 3) == pytest.approx([0.077, 0.162, 0.257], abs=5e-4)


@given(st.integers(0, 2**32))
@settings(max_examples=150)
def test_what_always_holds_of_credit(seed: int) -> None:
    """Weights are at least 0 and sum to 1; Shapley: definition, efficiency, null player, symmetry, additivity."""
    g = np.random.default_rng(seed)
    n, count = int(g.integers(1, 5)), int(g.integers(1, 9))
    age = np.sort(g.uniform(0, 40, count))[::-1]
    for kind in ("last", "linear", "time_decay", "position"):
        out = credit(kind, age, float(g.uniform(0.5, 20)))
        assert (out >= 0).all() and out.sum() == pytest.approx(1)
    first, second = (np.append(0.0, g.random(2**n - 1)) for _ in range(2))
    assert shapley(first, n) == pytest.approx(by_orders(first, n))
    assert sum(shapley(first, n)) == pytest.approx(first[-1])
    assert shapley(first + second, n) == pytest.approx(np.add(shapley(first, n), shapley(second, n)))
    null = np.array([first[s & ~1] for s in range(2**n)])
    assert shapley(null, n)[0] == pytest.approx(0)
    same = np.array([first[bin(s).count("1")] for s in range(2**n)])
    assert np.ptp(shapley(same, n)) == pytest.approx(0, abs=1e-12)
    channel, out = g.integers(0, n, count).astype(np.float64), np.zeros(count)
    attribution.by_channel(first, count, channel, out)
    assert (out >= 0).all() and out.sum() == pytest.approx(1)


def test_delays_of_the_page() -> None:
    """Chapelle 2014: what is seen by an age, and what an unseen conversion is still worth."""
    assert [theory.seen_by(e, 3.0) for e in (1, 3, 7, 14)] == pytest.approx([0.2835, 0.6321, 0.9030, 0.9906], abs=5e-5)
    assert [theory.seen_by(e, 7.0) for e in (1, 3, 7, 14)] == pytest.approx([0.1331, 0.3486, 0.6321, 0.8647], abs=5e-5)
    assert theory.converts_yet(0.1, 3.0, 3.0) == pytest.approx(0.03927, abs=5e-6)
    g = np.random.default_rng(0)
    converts, delay = g.random(400_000) < 0.1, g.exponential(3.0, 400_000)
    unseen = ~converts | (delay > 3.0)
    assert converts[unseen].mean() == pytest.approx(theory.converts_yet(0.1, 3.0, 3.0), abs=1.5e-3)
